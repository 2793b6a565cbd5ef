//! Statements that can only fail: PostgreSQL's own error for them, without asking anybody (ADR 4 and 5).
//!
//! Never turns anything into an allow. Invariant: the catalog was loaded for the statement before a name counts as
//! missing.

use countersign_policy::analysis::NotUnderstood;
use countersign_policy::analysis::syntax::syntax_error;
use countersign_policy::{Analysis, Effect, Effects};
use countersign_protocol::sqlstate;

/// Effects of an earlier statement of a text that may make what a later one lacks.
const MAY_DEFINE: Effects = Effects::of(&[
    Effect::Create,
    Effect::Alter,
    Effect::Drop,
    Effect::Do,
    Effect::Call,
    Effect::Execute,
    Effect::FunctionCall,
    Effect::Unknown,
]);

/// The error PostgreSQL would raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hopeless {
    pub(crate) sqlstate: &'static str,
    pub(crate) message: String,
    /// Whether the upstream raises this error when it parses the text, and runs nothing before. In a text of several
    /// statements it would first complain of their number.
    pub(crate) upstream_agrees: bool,
}

impl Hopeless {
    /// The error of a text that its grammar rejects, or that names a relation or function that does not exist.
    pub(crate) fn of(text: &str, analysis: &Analysis) -> Option<Self> {
        let alone = analysis.statements.len() == 1 && !analysis.runs_when_parsed();
        let error = |sqlstate, message| Some(Self { sqlstate, message, upstream_agrees: alone });
        let mut before = analysis.statements.iter().take_while(|statement| statement.not_understood.is_none());
        if before.any(|statement| statement.effects.intersects(MAY_DEFINE)) {
            return None;
        }
        match analysis.not_understood()? {
            NotUnderstood::Syntax => {
                let message = syntax_error(text)?;
                Some(Self { sqlstate: sqlstate::SYNTAX_ERROR, message, upstream_agrees: true })
            }
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
