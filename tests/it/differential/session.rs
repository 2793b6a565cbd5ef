//! What a session knows by name: prepared statements and cursors.
//!
//! Never asks the server. Invariant: it knows what the analyses of the texts that succeeded say.

use std::collections::HashMap;

use countersign_policy::analysis::{Analysis, PreparedLookup, SessionChange, StatementAnalysis};

struct Cursor {
    query: StatementAnalysis,
    is_held: bool,
}

#[derive(Default)]
pub struct Names {
    prepared: HashMap<String, StatementAnalysis>,
    cursors: HashMap<String, Cursor>,
}

impl PreparedLookup for Names {
    fn prepared(&self, name: &str) -> Option<&StatementAnalysis> {
        self.prepared.get(name)
    }

    fn cursor(&self, name: &str) -> Option<&StatementAnalysis> {
        self.cursors.get(name).map(|cursor| &cursor.query)
    }
}

impl Names {
    /// Notes that the transaction has ended; cursors WITH HOLD stay.
    pub fn transaction_ended(&mut self) {
        self.cursors.retain(|_, cursor| cursor.is_held);
    }

    /// Names may stand for other objects now: statements are planned again, cursors are not.
    pub fn mean_something_else(&mut self) {
        self.prepared.clear();
    }

    /// Takes in a text that PostgreSQL has run.
    pub fn ran(&mut self, text: &str, analysis: &Analysis) {
        for change in analysis.statements.iter().flat_map(|statement| &statement.session_changes) {
            match change {
                SessionChange::Prepare(name, inner) => {
                    self.prepared.insert(name.clone(), (**inner).clone());
                }
                SessionChange::Deallocate(name) => {
                    self.prepared.remove(name);
                }
                SessionChange::DeallocateAll => self.prepared.clear(),
                SessionChange::DeclareCursor(name, inner) => {
                    let is_held = text.to_lowercase().contains("with hold");
                    self.cursors.insert(name.clone(), Cursor { query: (**inner).clone(), is_held });
                }
                SessionChange::CloseCursor(name) => {
                    self.cursors.remove(name);
                }
                SessionChange::DiscardAll => *self = Self::default(),
                SessionChange::SearchPath
                | SessionChange::Role
                | SessionChange::Catalog
                | SessionChange::Expressions(_)
                | SessionChange::EventTrigger
                | SessionChange::TransactionBegun
                | SessionChange::Transaction
                | SessionChange::OfTheProxy
                | SessionChange::Choice(..)
                | SessionChange::Values
                | SessionChange::Reading(_) => {}
            }
        }
    }
}
