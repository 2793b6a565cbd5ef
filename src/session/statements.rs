//! Prepared statements, portals and cursors of a session, as the upstream has them.
//!
//! Never forwards anything. Invariant: a change made for a message that the upstream then skips is taken back
//! ([`Undo`]), so a name means here what it means upstream, or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_policy::analysis::{PreparedLookup, SessionChange, StatementAnalysis};
use countersign_policy::grant::Binding;
use countersign_policy::name::QualifiedName;
use countersign_policy::verdict::ReviewerDemand;
use countersign_policy::{Analysis, Effect};
use countersign_protocol::backend::Field;

use super::names::Generation;
use crate::review::RequestId;

/// A prepared statement made by Parse.
#[derive(Clone)]
pub(super) struct PreparedStatement {
    pub(super) text: Arc<str>,
    pub(super) analysis: Arc<Analysis>,
    /// The generation of names under which it was analysed.
    pub(super) generation: Generation,
    /// Parameter types, from Parse and then from ParameterDescription.
    pub(super) parameter_types: Vec<u32>,
    /// Columns as described; valid for `generation` only.
    pub(super) fields: Option<Described>,
}

/// Columns of a statement or portal, once described.
#[derive(Clone)]
pub(super) enum Described {
    /// It returns no rows.
    NoData,
    /// It returns these.
    Fields(Arc<[Field]>),
}

/// A portal made by Bind.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) statement: PreparedStatement,
    /// The whole Bind frame.
    pub(super) bind: Bytes,
    pub(super) result_formats: Vec<i16>,
    pub(super) fields: Option<Described>,
    /// The approval under which it started, for a portal that is continued.
    pub(super) approved: Option<Given>,
}

/// An approval that was given.
#[derive(Clone)]
pub(super) struct Given {
    /// The access request.
    pub(super) id: RequestId,
    /// The demands that were met.
    pub(super) met: Vec<ReviewerDemand>,
    /// What it is bound to.
    pub(super) binding: Binding,
}

/// How to take a change back.
pub(super) enum Undo {
    /// Nothing was changed.
    Nothing,
    /// The prepared statement of that name as it was.
    Statement(Bytes, Option<Box<PreparedStatement>>),
    /// The portal of that name as it was.
    Portal(Bytes, Option<Box<Portal>>),
}

/// All names of a session.
#[derive(Default)]
pub(super) struct Statements {
    prepared: HashMap<Bytes, PreparedStatement>,
    portals: HashMap<Bytes, Portal>,
    sql_prepared: HashMap<String, StatementAnalysis>,
    cursors: HashMap<String, StatementAnalysis>,
    /// Relations that the open transaction created, which no catalog has yet.
    created: Vec<QualifiedName>,
}

impl Statements {
    pub(super) fn prepare(&mut self, name: Bytes, statement: PreparedStatement) -> Undo {
        let before = self.prepared.insert(name.clone(), statement);
        Undo::Statement(name, before.map(Box::new))
    }

    pub(super) fn bind(&mut self, name: Bytes, portal: Portal) -> Undo {
        let before = self.portals.insert(name.clone(), portal);
        Undo::Portal(name, before.map(Box::new))
    }

    pub(super) fn close_statement(&mut self, name: &[u8]) -> Undo {
        match self.prepared.remove_entry(name) {
            Some((name, before)) => Undo::Statement(name, Some(Box::new(before))),
            None => Undo::Nothing,
        }
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) -> Undo {
        match self.portals.remove_entry(name) {
            Some((name, before)) => Undo::Portal(name, Some(Box::new(before))),
            None => Undo::Nothing,
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Statement(name, Some(before)) => {
                self.prepared.insert(name, *before);
            }
            Undo::Statement(name, None) => {
                self.prepared.remove(&name);
            }
            Undo::Portal(name, Some(before)) => {
                self.portals.insert(name, *before);
            }
            Undo::Portal(name, None) => {
                self.portals.remove(&name);
            }
        }
    }

    pub(super) fn statement(&mut self, name: &[u8]) -> Option<&mut PreparedStatement> {
        self.prepared.get_mut(name)
    }

    pub(super) fn portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    /// Portals end with their transaction.
    pub(super) fn end_portals(&mut self) {
        self.portals.clear();
    }

    /// A Query replaces the unnamed statement and the unnamed portal.
    pub(super) fn end_unnamed(&mut self) {
        self.prepared.remove(&b""[..]);
        self.portals.remove(&b""[..]);
    }

    /// Notes that a text with this analysis was forwarded in a transaction that is open, or opened by it.
    pub(super) fn note_created(&mut self, analysis: &Analysis) {
        const CREATED_MAX: usize = 1000;
        let relations = analysis.statements.iter().flat_map(|statement| &statement.relations);
        for relation in relations.filter(|relation| relation.effects.contains(Effect::Create)) {
            if self.created.len() < CREATED_MAX && !self.created.contains(&relation.name) {
                self.created.push(relation.name.clone());
            }
        }
    }

    /// No transaction is open: what was created is in the catalog, or gone.
    pub(super) fn forget_created(&mut self) {
        self.created.clear();
    }

    /// Names of SQL-prepared statements mean something else once the search path or the catalog is different.
    pub(super) fn forget_sql_prepared(&mut self) {
        self.sql_prepared.clear();
    }

    /// Applies what a statement that has completed changed in the session.
    pub(super) fn apply(&mut self, change: &SessionChange) {
        match change {
            SessionChange::Prepare(name, statement) => {
                self.sql_prepared.insert(name.clone(), (**statement).clone());
            }
            SessionChange::DeclareCursor(name, query) => {
                self.portals.remove(name.as_bytes());
                self.cursors.insert(name.clone(), (**query).clone());
            }
            SessionChange::Deallocate(_)
            | SessionChange::DeallocateAll
            | SessionChange::CloseCursor(_)
            | SessionChange::DiscardAll => self.forget(change),
            SessionChange::SearchPath | SessionChange::Role | SessionChange::Catalog | SessionChange::Transaction => {}
        }
    }

    /// Forgets every name a change concerns: what is not known is not allowed, so this is right whether or not the
    /// change took place.
    pub(super) fn forget(&mut self, change: &SessionChange) {
        match change {
            SessionChange::Prepare(name, _) | SessionChange::Deallocate(name) => {
                self.sql_prepared.remove(name);
                self.prepared.remove(name.as_bytes());
            }
            SessionChange::DeallocateAll => {
                self.sql_prepared.clear();
                self.prepared.clear();
            }
            SessionChange::DeclareCursor(name, _) | SessionChange::CloseCursor(name) => {
                self.cursors.remove(name);
                self.portals.remove(name.as_bytes());
            }
            SessionChange::DiscardAll => *self = Self::default(),
            SessionChange::SearchPath | SessionChange::Role | SessionChange::Catalog | SessionChange::Transaction => {}
        }
    }
}

impl PreparedLookup for Statements {
    fn prepared(&self, name: &str) -> Option<&StatementAnalysis> {
        self.sql_prepared
            .get(name)
            .or_else(|| self.prepared.get(name.as_bytes()).and_then(|known| known.analysis.statements.first()))
    }

    fn created(&self, schema: &str, name: &str) -> bool {
        self.created.iter().any(|created| created.name == name && (schema.is_empty() || created.schema == schema))
    }

    fn cursor(&self, name: &str) -> Option<&StatementAnalysis> {
        self.cursors.get(name).or_else(|| {
            self.portals.get(name.as_bytes()).and_then(|portal| portal.statement.analysis.statements.first())
        })
    }
}
