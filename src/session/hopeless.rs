//! Statements that can only fail: PostgreSQL's own error for them, without asking anybody (ADR 4).
//!
//! Never turns anything into an allow. Invariant: the catalog was loaded for the statement before a name counts as
//! missing.

use countersign_policy::Analysis;
use countersign_policy::analysis::NotUnderstood;
use countersign_policy::analysis::syntax::syntax_error;
use countersign_protocol::sqlstate;

/// The error PostgreSQL would raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hopeless {
    pub(crate) sqlstate: &'static str,
    pub(crate) message: String,
}

impl Hopeless {
    /// The error of a text that its grammar rejects, or that names a relation or function that does not exist.
    pub(crate) fn of(text: &str, analysis: &Analysis) -> Option<Self> {
        let error = |sqlstate, message| Some(Self { sqlstate, message });
        match analysis.not_understood()? {
            NotUnderstood::Syntax => error(sqlstate::SYNTAX_ERROR, syntax_error(text)?),
            NotUnderstood::Relation(name) => {
                error(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
            }
            NotUnderstood::Function(name) => {
                error(sqlstate::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
            }
            NotUnderstood::Guard(_)
            | NotUnderstood::Node(_)
            | NotUnderstood::Name(_)
            | NotUnderstood::SecondReader(_)
            | NotUnderstood::Other(_) => None,
        }
    }
}
