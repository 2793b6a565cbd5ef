//! Which relations count as read for rules with `access = "read"`: those that PostgreSQL asks the privilege to SELECT for.

use super::fixture::{analysis, analysis_along};
use crate::analysis::StatementAnalysis;
use crate::effect::{Effect, Effects};
use crate::rule::{Action, Matcher, NameGlob, RelationAccess, Scope};

fn matcher(globs: &str, effects: Option<&str>) -> Matcher {
    let effect = |name: &str| name.parse::<Effect>().unwrap();
    Matcher {
        relations: Some(globs.split_whitespace().map(|glob| NameGlob::unqualified(glob).unwrap()).collect()),
        access: RelationAccess::Read,
        effects: effects.map(|list| list.split_whitespace().map(effect).collect::<Effects>()),
        ..Matcher::default()
    }
}

fn fits(action: Action, rule: &Matcher, statement: &StatementAnalysis) -> bool {
    rule.fits_statement(statement, Scope::of(action))
}

/// Whether a rule about reading the relation speaks of the text.
#[track_caller]
fn reads(relation: &str, text: &str, expected: bool) {
    let found = analysis(text);
    let fits = found.statements.iter().any(|statement| fits(Action::Deny, &matcher(relation, None), statement));
    assert_eq!(fits, expected, "{text}: {:?}", found.statements);
}

#[test]
fn a_change_that_looks_at_columns_reads() {
    for text in [
        "UPDATE customers SET name = email",
        "UPDATE customers SET name = 'x' WHERE id = 1",
        "UPDATE customers SET name = 'x' RETURNING id",
        "UPDATE customers SET name = 'x' FROM orders WHERE orders.customer_id = customers.id",
        "UPDATE customers SET (name, email) = (SELECT email, name)",
        "DELETE FROM customers WHERE ssn LIKE '7%'",
        "DELETE FROM customers RETURNING *",
        "WITH d AS (DELETE FROM customers WHERE id = 1) SELECT 1",
        "INSERT INTO customers (name) VALUES ('x') RETURNING ssn",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO NOTHING",
        "INSERT INTO customers AS c (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = c.email",
        "MERGE INTO customers c USING orders o ON c.id = o.customer_id WHEN MATCHED THEN DELETE",
        "EXPLAIN ANALYZE DELETE FROM customers WHERE id = 1",
        "PREPARE p AS DELETE FROM customers WHERE id = 1; EXECUTE p",
        "UPDATE contacts SET label = 'x' WHERE label = 'y'",
        "UPDATE customers_eu SET name = 'x' WHERE id = 1",
        "CREATE INDEX ON customers (lower(email))",
    ] {
        reads("public.customers", text, true);
    }
    reads("public.customers_eu", "UPDATE customers SET name = 'x' WHERE id = 1", true);
}

#[test]
fn a_change_that_looks_at_nothing_does_not() {
    for text in [
        "UPDATE customers SET name = 'x'",
        "DELETE FROM customers",
        "DELETE FROM customers WHERE true",
        "INSERT INTO customers (name) VALUES ('x')",
        "INSERT INTO customers (name) SELECT note FROM orders",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT DO NOTHING",
        "TRUNCATE customers",
        "COPY customers FROM STDIN",
        "UPDATE orders SET note = 'x' WHERE id = 1",
        "LOCK TABLE customers",
    ] {
        reads("public.customers", text, false);
    }
}

#[test]
fn it_carries_no_select_for_that() {
    let text = "UPDATE customers SET name = 'x' WHERE id = 1";
    assert_eq!(analysis(text).effects(), Effects::of(&[Effect::Update]));
    for (effects, expected) in [("select", false), ("update", true), ("delete", false)] {
        let found = analysis(text);
        let [statement] = found.statements.as_slice() else { panic!("{found:?}") };
        assert_eq!(fits(Action::Hold, &matcher("public.customers", Some(effects)), statement), expected, "{effects}");
    }
}

#[test]
fn what_may_be_read_allows_nothing() {
    let allow = matcher("app.*", None);
    let found = analysis_along("UPDATE app.customers SET secret = 'x' WHERE id = 1", &["public"]);
    assert!(fits(Action::Allow, &allow, &found.statements[0]));
    for text in [
        "UPDATE app.customers SET secret = query_to_xml($1, true, true, '')",
        "CREATE TABLE app.t (a int); UPDATE app.t SET a = 1",
    ] {
        let found = analysis(text);
        let last = found.statements.last().unwrap();
        assert!(!fits(Action::Allow, &allow, last), "{text}: {last:?}");
        assert!(fits(Action::Deny, &allow, last), "{text}: {last:?}");
    }
}
