//! Names that SQL gives to statements and cursors, and takes away again.
//!
//! Never believes more than the text says: what a change may have touched is forgotten. Invariant: a name of SQL and one of
//! the protocol are the same name.

use std::sync::Arc;

use bytes::Bytes;
use countersign_policy::Analysis;
use countersign_policy::analysis::{SessionChange, StatementAnalysis};

use super::{NameId, Portal, PreparedStatement, Statements, cut};
use crate::session::names::Generation;

/// A statement named by SQL (`PREPARE`, `DECLARE`): names of SQL and of the protocol are the same names.
pub(super) struct SqlNamed {
    /// The text that named it.
    pub(super) text: Arc<str>,
    pub(super) analysis: StatementAnalysis,
    pub(super) generation: Generation,
    pub(super) cycle: u64,
}

impl Statements {
    /// The statement that a Bind names. One that SQL prepared is known from now on as one that can be bound.
    pub(in crate::session) fn bound(&mut self, name: &[u8]) -> Option<PreparedStatement> {
        if let Some(known) = self.prepared.get(name) {
            return Some(known.clone());
        }
        let statement = self.sql_prepared.get(name)?.statement();
        let statement = PreparedStatement { id: self.next_id(), ..statement };
        self.prepared.insert(Bytes::copy_from_slice(name), statement.clone());
        Some(statement)
    }

    /// Makes a cursor that SQL declared known as a portal; whether there is one of that name.
    pub(in crate::session) fn adopt_cursor(&mut self, name: &[u8]) -> bool {
        let Some(named) = self.cursors.get(name) else { return false };
        let (statement, cycle) = (named.statement(), self.cycles_sent);
        let id = self.next_id();
        let portal = Portal {
            id,
            statement,
            bind: Bytes::new(),
            parameter_part: Bytes::new(),
            result_formats: Vec::new(),
            fields: None,
            approved: None,
            cycle,
        };
        self.portals.insert(Bytes::copy_from_slice(name), portal);
        true
    }

    /// Applies what a statement that has completed changed in the session. `text` is where the statement stands, and
    /// `generation` that of its analysis.
    pub(in crate::session) fn apply(&mut self, change: &SessionChange, text: &Arc<str>, generation: Generation) {
        let cycle = self.cycles_done;
        let named = |analysis: &StatementAnalysis| SqlNamed {
            text: Arc::clone(text),
            analysis: analysis.clone(),
            generation,
            cycle,
        };
        self.forget(change);
        match change {
            SessionChange::Prepare(name, statement) => {
                self.sql_prepared.insert(key(name), named(statement));
            }
            SessionChange::DeclareCursor(name, query) => {
                self.cursors.insert(key(name), named(query));
            }
            SessionChange::Deallocate(_)
            | SessionChange::DeallocateAll
            | SessionChange::CloseCursor(_)
            | SessionChange::DiscardAll
            | SessionChange::SearchPath
            | SessionChange::Role
            | SessionChange::Catalog
            | SessionChange::Expressions(_)
            | SessionChange::EventTrigger
            | SessionChange::Transaction
            | SessionChange::TransactionBegun
            | SessionChange::OfTheProxy
            | SessionChange::Choice(..)
            | SessionChange::Values
            | SessionChange::Reading(_) => {}
        }
    }

    /// Forgets names because of an Execute that failed. The last thing that PREPARE and DEALLOCATE do is to change their
    /// names, so they have not: they are what they were.
    pub(in crate::session) fn forget_failed(&mut self, change: &SessionChange) {
        match change {
            SessionChange::Prepare(..) | SessionChange::Deallocate(_) | SessionChange::DeallocateAll => {}
            SessionChange::DeclareCursor(..)
            | SessionChange::CloseCursor(_)
            | SessionChange::DiscardAll
            | SessionChange::SearchPath
            | SessionChange::Role
            | SessionChange::Catalog
            | SessionChange::Expressions(_)
            | SessionChange::EventTrigger
            | SessionChange::Reading(_)
            | SessionChange::Transaction
            | SessionChange::TransactionBegun
            | SessionChange::OfTheProxy
            | SessionChange::Choice(..)
            | SessionChange::Values => self.forget(change),
        }
    }

    /// Forgets every name a change concerns: what is not known is not allowed, so this is right whether or not the
    /// change took place.
    pub(in crate::session) fn forget(&mut self, change: &SessionChange) {
        match change {
            SessionChange::Prepare(name, _) | SessionChange::Deallocate(name) => {
                self.renamed(name.as_bytes());
                self.sql_prepared.remove(cut(name.as_bytes()));
                self.prepared.remove(cut(name.as_bytes()));
            }
            SessionChange::DeallocateAll => {
                self.revision = self.revision.saturating_add(1);
                self.sql_prepared.clear();
                self.forget_named();
            }
            SessionChange::DeclareCursor(name, _) | SessionChange::CloseCursor(name) => {
                self.renamed(name.as_bytes());
                self.cursors_revision = self.cursors_revision.saturating_add(1);
                self.cursors.remove(cut(name.as_bytes()));
                self.portals.remove(cut(name.as_bytes()));
            }
            SessionChange::DiscardAll => {
                self.revision = self.revision.saturating_add(1);
                self.cursors_revision = self.cursors_revision.saturating_add(1);
                self.forget_named();
                self.sql_prepared.clear();
                self.portals.clear();
                self.cursors.clear();
            }
            SessionChange::SearchPath
            | SessionChange::Role
            | SessionChange::Catalog
            | SessionChange::Expressions(_)
            | SessionChange::EventTrigger
            | SessionChange::Transaction
            | SessionChange::TransactionBegun
            | SessionChange::OfTheProxy
            | SessionChange::Choice(..)
            | SessionChange::Values
            | SessionChange::Reading(_) => {}
        }
    }

    /// DEALLOCATE ALL and DISCARD ALL leave the unnamed statement.
    fn forget_named(&mut self) {
        self.prepared.retain(|name, _| name.is_empty());
    }
}

impl SqlNamed {
    fn statement(&self) -> PreparedStatement {
        PreparedStatement {
            id: NameId::default(),
            text: Arc::clone(&self.text),
            named_by_sql: true,
            analysis: Arc::new(Analysis { statements: vec![self.analysis.clone()] }),
            generation: self.generation,
            parameter_types: Arc::default(),
            cycle: self.cycle,
        }
    }
}

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(cut(name.as_bytes()))
}
