//! Whether the rows that a text writes can be counted, by its command tags, before they are there to stay.
//!
//! Never looks at what triggers, cascades and functions write. Invariant: whatever a text that can be counted has done is
//! taken back when the block that it leaves open fails, or is rolled back.

use super::{Analysis, StatementAnalysis, TransactionBound};
use crate::effect::{Effect, Effects};

/// How a text whose rows can be counted stands to transaction blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// A statement of it is BEGIN.
    pub begins: bool,
    /// Its last statement ends the block: the rows are counted before that is sent.
    pub ends: bool,
}

impl Analysis {
    /// How the rows of the text can be counted; `None` when a command tag does not tell everything that its statement
    /// writes, or when something in it could not be taken back with the rest.
    #[must_use]
    pub fn counted(&self) -> Option<Counted> {
        let (last, before) = self.statements.split_last()?;
        let ends = !before.is_empty() && is_end(last);
        let counted = if ends { before } else { self.statements.as_slice() };
        let writes = counted.iter().any(|statement| statement.rows_counted);
        let begins = counted.iter().any(|statement| statement.transaction_bound == Some(TransactionBound::Begin));
        (writes && counted.iter().all(is_fit)).then_some(Counted { begins, ends })
    }
}

fn is_end(statement: &StatementAnalysis) -> bool {
    statement.transaction_bound.is_some_and(TransactionBound::is_end)
}

/// Savepoints are not fit: a block that has failed goes on at a savepoint, and what was written before it would stay.
fn is_fit(statement: &StatementAnalysis) -> bool {
    const WRITES_NOTHING: Effects =
        Effects::of(&[Effect::Select, Effect::Show, Effect::Explain, Effect::Lock, Effect::Set]);
    if statement.not_understood.is_some() {
        return false;
    }
    match statement.transaction_bound {
        Some(TransactionBound::Begin) => true,
        Some(TransactionBound::Commit | TransactionBound::Rollback) => false,
        None => {
            let writes_nothing = statement.effects.without(WRITES_NOTHING).is_empty();
            statement.session_changes.is_empty() && (statement.rows_counted || writes_nothing)
        }
    }
}
