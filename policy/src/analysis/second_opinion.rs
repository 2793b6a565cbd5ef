//! A second, independent reading of the text, which may only object.
//!
//! Never turns anything into an allow, never sends its own text anywhere, and keeps its errors to itself (they quote
//! tokens). Invariant: it objects only where it sees more than the first reading: more statements, or a writing effect.

use std::ops::ControlFlow;

use pg_query::NodeEnum;
use sqlparser::ast::{Statement, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::grammar::{self, Tree};
use super::{Analysis, SessionChange};
use crate::effect::{Effect, Effects};

/// Nesting after which the second reader gives up, without an objection.
const RECURSION_MAX: usize = 50;

/// Why the second reading contradicts the first, if it does.
pub fn objection(text: &str, tree: &Tree, analysis: &Analysis) -> Option<&'static str> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).try_with_sql(text);
    let statements = parsed.and_then(|mut parser| parser.parse_statements()).ok()?;
    if statements.len() > analysis.statements.len() {
        return Some("it sees more statements");
    }
    let mut seen = Seen(effects_of(analysis));
    if tree.statements().any(|node| matches!(grammar::kind(node), Some(NodeEnum::ExplainStmt(_)))) {
        // What EXPLAIN without ANALYZE does not execute is no effect of it.
        return None;
    }
    match statements.visit(&mut seen) {
        ControlFlow::Break(why) => Some(why),
        ControlFlow::Continue(()) => None,
    }
}

/// All effects, also those of statements that are only prepared.
fn effects_of(analysis: &Analysis) -> Effects {
    let mut all = analysis.effects();
    let changes = analysis.statements.iter().flat_map(|statement| &statement.session_changes);
    for change in changes {
        if let SessionChange::Prepare(_, inner) | SessionChange::DeclareCursor(_, inner) = change {
            all.extend(inner.effects);
        }
    }
    all
}

/// The effects that the first reading has.
struct Seen(Effects);

impl Visitor for Seen {
    type Break = &'static str;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<&'static str> {
        let (any, why) = match statement {
            Statement::Insert(_) => (Effects::of(&[Effect::Insert]), "it sees an INSERT"),
            Statement::Update(_) => (Effects::of(&[Effect::Update]), "it sees an UPDATE"),
            Statement::Delete(_) => (Effects::of(&[Effect::Delete]), "it sees a DELETE"),
            Statement::Merge(_) => (Effects::of(&[Effect::Merge]), "it sees a MERGE"),
            Statement::Truncate(_) => (Effects::of(&[Effect::Truncate]), "it sees a TRUNCATE"),
            Statement::Drop { .. } => (Effects::of(&[Effect::Drop]), "it sees a DROP"),
            Statement::Copy { .. } => (Effects::of(&[Effect::CopyIn, Effect::CopyOut]), "it sees a COPY"),
            Statement::Grant(_) => (Effects::of(&[Effect::Grant]), "it sees a GRANT"),
            Statement::Revoke(_) => (Effects::of(&[Effect::Revoke]), "it sees a REVOKE"),
            Statement::CreateTable(_)
            | Statement::CreateView(_)
            | Statement::CreateIndex(_)
            | Statement::CreateFunction(_)
            | Statement::CreateTrigger(_)
            | Statement::CreateRole(_)
            | Statement::CreateExtension(_)
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. } => (Effects::of(&[Effect::Create]), "it sees a CREATE"),
            Statement::AlterTable(_)
            | Statement::AlterView { .. }
            | Statement::AlterIndex { .. }
            | Statement::AlterRole { .. } => (Effects::of(&[Effect::Alter]), "it sees an ALTER"),
            Statement::Call(_) => (Effects::of(&[Effect::Call]), "it sees a CALL"),
            _ => return ControlFlow::Continue(()),
        };
        // What stands in the body of a function, rule or schema is not executed by the CREATE.
        if self.0.intersects(any) || self.0.contains(Effect::Create) {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(why)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixture::analysis;
    use super::{grammar, objection};

    /// What the second reader says to a first reading that took `text` for `as_if`.
    #[track_caller]
    fn check(text: &str, as_if: &str, expected: Option<&str>) {
        let tree = grammar::parse(text).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(objection(text, &tree, &analysis(as_if)), expected, "{text}");
    }

    #[test]
    fn what_the_first_reading_missed_is_objected_to() {
        check("DELETE FROM orders", "SELECT 1", Some("it sees a DELETE"));
        check("WITH d AS (UPDATE orders SET id = 1 RETURNING 1) SELECT 1", "SELECT 1", Some("it sees an UPDATE"));
        check("WITH d AS (INSERT INTO orders VALUES (1) RETURNING 1) SELECT 1", "SELECT 1", Some("it sees an INSERT"));
        check("DROP TABLE orders", "SELECT 1", Some("it sees a DROP"));
        check("TRUNCATE orders", "SELECT 1", Some("it sees a TRUNCATE"));
        check("SELECT 1; DROP TABLE orders", "SELECT 1", Some("it sees more statements"));
    }

    #[test]
    fn agreement_and_texts_it_cannot_read_are_no_objection() {
        check("DELETE FROM orders WHERE id = 1", "DELETE FROM orders WHERE id = 1", None);
        check("EXPLAIN DELETE FROM orders", "EXPLAIN DELETE FROM orders", None);
        check("PREPARE p AS DELETE FROM orders", "PREPARE p AS DELETE FROM orders", None);
        check("REINDEX TABLE orders", "SELECT 1", None);
    }
}
