//! Taking back what was believed of a name because of a message that the upstream has skipped.
//!
//! Never brings back what something else has changed since. Invariant: after [`Statements::undo`], newest first, of all that
//! was skipped, names are what they were.

use bytes::Bytes;

use super::{NameId, PreparedStatement, SqlNamed, Statements};

/// How to take a change back.
pub(in crate::session) enum Undo {
    /// Nothing was changed.
    Nothing,
    /// What that name was, unless another message has changed it again.
    Statement(Bytes, NameId, Before),
    /// No portal of that name, because portals end with the transaction that failed; but perhaps the cursor of that name, which
    /// may be one WITH HOLD.
    Portal(Bytes, NameId, Option<CursorBefore>),
}

/// What a name of a prepared statement was: nothing, or one or both of these.
#[derive(Default)]
pub(in crate::session) struct Before {
    pub(super) prepared: Option<Box<PreparedStatement>>,
    pub(super) by_sql: Option<Box<SqlNamed>>,
}

/// A cursor whose name a message has taken.
pub(in crate::session) struct CursorBefore {
    cursor: Box<SqlNamed>,
    /// It is the same as long as SQL does nothing with cursors.
    revision: u64,
}

impl Statements {
    pub(super) fn take_cursor(&mut self, name: &[u8]) -> Option<CursorBefore> {
        let cursor = Box::new(self.cursors.remove(name)?);
        Some(CursorBefore { cursor, revision: self.cursors_revision })
    }

    pub(in crate::session) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Nothing => {}
            Undo::Statement(name, id, before) => {
                let now = self.prepared.get(&name).map_or(NameId::default(), |known| known.id);
                if now != id {
                    return;
                }
                self.prepared.remove(&name);
                if let Some(before) = before.prepared {
                    self.prepared.insert(name.clone(), *before);
                }
                if let Some(before) = before.by_sql {
                    self.sql_prepared.entry(name).or_insert(*before);
                }
            }
            Undo::Portal(name, id, cursor) => {
                if self.portals.get(&name).is_some_and(|known| known.id != id) {
                    return;
                }
                self.portals.remove(&name);
                if let Some(before) = cursor.filter(|before| before.revision == self.cursors_revision) {
                    self.cursors.entry(name).or_insert(*before.cursor);
                }
            }
        }
    }
}
