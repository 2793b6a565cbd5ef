//! How many rows a request returns or writes by the planner's estimate, for rules that ask (`max_rows`).
//!
//! Never plans anything. Invariant: an estimate that cannot be had counts as more than any limit, and nothing is planned
//! whose planning could run code of a user that nobody has judged.

use crate::analysis::{Analysis, SessionChange, StatementAnalysis, is_dangerous_built_in};
use crate::catalog::{Catalog, Function, Volatility};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// The answer to the question for an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// So many rows are returned, or written by one of its statements, whichever is more.
    Estimated(u64),
    /// There is none; the reason is a phrase without literals.
    Unavailable(&'static str),
}

/// What a judgement has to do with an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Estimate {
    /// No rule asks for one.
    #[default]
    NotNeeded,
    /// A rule does whose other conditions are all met: ask the planner and judge again.
    Wanted,
    /// It was known, and a rule asked for it.
    Known(Rows),
}

/// Effects that have to do with rows.
const OF_ROWS: Effects = Effects::of(&[
    Effect::Select,
    Effect::Insert,
    Effect::Update,
    Effect::Delete,
    Effect::Merge,
    Effect::Truncate,
    Effect::CopyIn,
    Effect::CopyOut,
    Effect::Call,
    Effect::Do,
    Effect::Execute,
    Effect::Unknown,
]);

/// Effects of what EXPLAIN takes.
const PLANNED: Effects = Effects::of(&[
    Effect::Select,
    Effect::Insert,
    Effect::Update,
    Effect::Delete,
    Effect::Merge,
    Effect::Create,
    Effect::Cursor,
    Effect::Lock,
    Effect::FunctionCall,
    Effect::Notify,
]);

/// Whether the number of its rows says anything about the statement. FETCH returns what was judged with its DECLARE.
pub(super) fn concerns_rows(statement: &StatementAnalysis) -> bool {
    let declares = |change: &SessionChange| matches!(change, SessionChange::DeclareCursor(..));
    let fetches = statement.effects.contains(Effect::Cursor) && !statement.session_changes.iter().any(declares);
    statement.effects.intersects(OF_ROWS) && !fetches
}

/// Why the planner is not asked about the text; a phrase without literals.
#[must_use]
pub fn obstacle(analysis: &Analysis, catalog: &Catalog) -> Option<&'static str> {
    let [statement] = analysis.statements.as_slice() else { return Some("the text holds several statements") };
    if statement.not_understood.is_some() {
        return Some("the statement is not fully understood");
    }
    if !statement.effects.without(PLANNED).is_empty() {
        return Some("EXPLAIN does not take a statement of its kind");
    }
    let own = |schema: &str| schema.starts_with("pg_temp");
    if statement.relations.iter().any(|used| !is_new(used) && (used.oid.is_none() || own(&used.name.schema))) {
        return Some("it names a relation that only its session sees");
    }
    let runs = |called: &QualifiedName| may_run(called, statement, catalog);
    if statement.functions.iter().any(runs) {
        return Some("planning it could run a function that was not judged");
    }
    statement.collects.hidden.then_some("a function in it makes one row of many")
}

/// A table that the statement itself makes is not looked at by the planner.
fn is_new(used: &crate::analysis::RelationUse) -> bool {
    used.effects == Effects::of(&[Effect::Create])
}

/// Whether the planner could run the function: it computes what is declared not to change, and tries operators on samples.
fn may_run(called: &QualifiedName, statement: &StatementAnalysis, catalog: &Catalog) -> bool {
    let overloads = catalog.functions_named(&called.schema, &called.name);
    let is_operator = !called.name.starts_with(|first: char| first.is_alphanumeric() || first == '_')
        || called.name.starts_with("cast:");
    // What a function written in SQL does was looked into.
    let judged = |function: &Function| match function.language.as_str() {
        "c" | "internal" => true,
        "sql" => function.body.is_some() && !statement.effects.contains(Effect::FunctionCall),
        _ => false,
    };
    overloads.iter().any(|function| match (function.built_in, function.volatility) {
        (true, Volatility::Volatile) => false,
        (true, Volatility::Immutable | Volatility::Stable) => is_dangerous_built_in(&called.name),
        (false, _) if function.doubted || is_operator => true,
        (false, Volatility::Volatile) => false,
        (false, Volatility::Immutable | Volatility::Stable) => !judged(function),
    })
}
