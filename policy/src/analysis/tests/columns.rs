//! Rules about columns: what reads and writes one, however it is named, and what does not.

use super::fixture::{analysis_along, catalog};
use crate::effect::{Effect, Effects};
use crate::rule::{Action, ColumnGlob, Matcher, RelationAccess};

const PATH: &[&str] = &["pg_catalog", "public"];

fn matcher(globs: &str, access: RelationAccess, effects: Option<&str>) -> Matcher {
    Matcher {
        columns: Some(globs.split_whitespace().map(|glob| ColumnGlob::new(glob).unwrap()).collect()),
        access,
        effects: effects
            .map(|list| list.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect::<Effects>()),
        ..Matcher::default()
    }
}

/// Whether a rule with that action speaks of the only statement of the text.
#[track_caller]
fn check(action: Action, rule: &Matcher, text: &str, expected: bool) {
    let found = analysis_along(text, PATH);
    let [.., statement] = found.statements.as_slice() else { panic!("{text} has no statement") };
    let fits = rule.fits_columns(statement, &catalog(), crate::rule::Scope::of(action));
    assert_eq!(
        fits, expected,
        "{:?} on {text}\nreads {:?}\nwrites {:?}",
        rule.columns, statement.reads, statement.writes
    );
}

#[track_caller]
fn reads(glob: &str, text: &str, expected: bool) {
    check(Action::Deny, &matcher(glob, RelationAccess::Read, None), text, expected);
}

#[track_caller]
fn writes(glob: &str, text: &str, expected: bool) {
    check(Action::Deny, &matcher(glob, RelationAccess::Write, None), text, expected);
}

#[track_caller]
fn allows(globs: &str, access: RelationAccess, text: &str, expected: bool) {
    check(Action::Allow, &matcher(globs, access, None), text, expected);
}

#[test]
fn a_column_that_is_read_anywhere_counts() {
    for text in [
        "SELECT ssn FROM customers",
        "SELECT lower(c.ssn) AS x FROM customers c",
        "SELECT public.customers.ssn FROM public.customers",
        "SELECT d FROM customers AS t(a, b, c, e, d)",
        "SELECT * FROM customers",
        "TABLE customers",
        "SELECT c FROM customers c",
        "SELECT (c).ssn FROM customers c",
        "SELECT c.* FROM customers c",
        "SELECT to_json(c) FROM customers c",
        "SELECT count(ssn) FROM customers",
        "SELECT id FROM customers WHERE ssn = 'x'",
        "SELECT id FROM customers ORDER BY ssn",
        "SELECT 1 FROM customers GROUP BY ssn",
        "SELECT id FROM customers ORDER BY (SELECT ssn)",
        "SELECT row_number() OVER (ORDER BY ssn) FROM customers",
        "SELECT count(*) FILTER (WHERE ssn = '1') FROM customers",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM customers WHERE ssn = '1')",
        "SELECT o.id FROM orders o JOIN customers c ON c.ssn = o.note",
        "SELECT id FROM orders o, LATERAL (SELECT c.ssn FROM customers c) x",
        "SELECT 1 FROM customers JOIN customers_eu USING (ssn)",
        "SELECT 1 FROM customers NATURAL JOIN customers_eu",
        "SELECT j.x FROM (customers JOIN orders ON true) AS j (a, b, c, d, x)",
        "WITH q AS (SELECT * FROM customers) SELECT id FROM q",
        "WITH q AS (SELECT ssn AS a FROM customers) SELECT a FROM q",
        "SELECT name FROM orders UNION SELECT ssn FROM customers",
        "DELETE FROM customers WHERE ssn = '1'",
        "DELETE FROM customers WHERE id = 1 RETURNING ssn",
        "DELETE FROM customers WHERE id = 1 RETURNING *",
        "UPDATE customers SET name = ssn",
        "UPDATE customers SET name = 'x' WHERE ssn = '1'",
        "UPDATE customers SET name = 'x' RETURNING ssn",
        "UPDATE orders SET note = c.ssn FROM customers c",
        "INSERT INTO customers (id) VALUES (1) RETURNING ssn",
        "INSERT INTO orders (note) SELECT ssn FROM customers",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (ssn) DO NOTHING",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = customers.ssn",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = '' WHERE customers.ssn = '1'",
        "MERGE INTO orders o USING customers c ON o.note = c.ssn WHEN MATCHED THEN DELETE",
        "MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED AND c.ssn = '1' THEN DELETE",
        "COPY customers TO STDOUT",
        "COPY customers (ssn) TO STDOUT",
        "COPY (SELECT ssn FROM customers) TO STDOUT",
        "EXPLAIN SELECT ssn FROM customers",
        "EXPLAIN ANALYZE SELECT ssn FROM customers",
        "CREATE TABLE t AS SELECT ssn FROM customers",
        "CREATE VIEW v AS SELECT ssn FROM customers",
        "CREATE INDEX ON customers (ssn)",
        "ALTER TABLE customers ADD CHECK (ssn <> '1')",
        "CREATE TABLE t (x text REFERENCES customers (ssn))",
        "DECLARE c CURSOR FOR SELECT ssn FROM customers",
        "PREPARE p AS SELECT ssn FROM customers; EXECUTE p",
        "SELECT id FROM customers WHERE nosuch = 1",
        "SELECT most_common_vals FROM pg_stats",
        "SELECT query_to_xml('SELECT ssn FROM customers', true, true, '')",
    ] {
        reads("public.customers.ssn", text, true);
        reads("*.*.s?n", text, true);
    }
}

#[test]
fn a_column_that_is_not_read_does_not_count() {
    for text in [
        "SELECT id, name FROM customers WHERE email = 'x' ORDER BY phone",
        "SELECT count(*) FROM customers",
        "SELECT 1 FROM customers c",
        "SELECT ctid, tableoid FROM customers",
        "SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.name = 'x'",
        "SELECT x.id FROM (SELECT id FROM customers) x",
        "WITH q AS (SELECT id FROM customers) SELECT * FROM q",
        "SELECT c.id AS ssn FROM customers c",
        "SELECT 'ssn'",
        "SELECT ssn FROM people",
        "UPDATE customers SET ssn = 'x' WHERE id = 1",
        "UPDATE customers SET ssn = 'x' WHERE id = 1 RETURNING id",
        "INSERT INTO customers (id, ssn) VALUES (1, 'x') RETURNING id",
        "INSERT INTO customers (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
        "DELETE FROM customers WHERE id = 1",
        "TRUNCATE customers",
        "COPY customers (id, name) TO STDOUT",
        "COPY customers FROM STDIN",
        "SELECT pid, query FROM pg_stat_activity",
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
        "CREATE TABLE t (ssn text CHECK (ssn <> ''), x text DEFAULT 'y')",
        "COMMENT ON COLUMN customers.ssn IS 'x'",
        "PREPARE p AS SELECT ssn FROM customers",
        "BEGIN",
        "SET work_mem = '1MB'",
    ] {
        reads("public.customers.ssn", text, false);
    }
}

#[test]
fn views_children_and_computed_columns_show_what_they_are_made_of() {
    // customer_view: id, lower(email) AS label, sum of orders' total
    reads("public.customers.email", "SELECT label FROM customer_view", true);
    reads("public.customers.email", "SELECT label FROM contacts", true);
    reads("public.customers.email", "SELECT id FROM contacts", false);
    reads("public.orders.total", "SELECT spent FROM customer_view", true);
    reads("public.customer_view.label", "SELECT label FROM customer_view", true);
    reads("public.customer_view.label", "SELECT id FROM customer_view", false);
    reads("public.customer_view.label", "SELECT label FROM contacts", true);
    reads("public.customers.email", "SELECT mail FROM mails", true);
    reads("public.mails.mail", "SELECT mail FROM mails", true);
    reads("public.mails.mail", "SELECT email FROM customers", false);
    reads("public.customers.email", "SELECT id FROM broken", true);
    reads("public.people.ssn", "SELECT ssn_up FROM people", true);
    reads("public.people.ssn_up", "SELECT ssn FROM people", false);
    // customers_eu inherits from customers
    reads("public.customers.ssn", "SELECT ssn FROM customers_eu", true);
    reads("public.customers_eu.ssn", "SELECT ssn FROM customers", true);
    reads("public.customers_eu.ssn", "SELECT ssn FROM ONLY customers", false);
    reads("public.customers_eu.ssn", "SELECT id FROM customers", false);
    reads("app.customers.*", "SELECT * FROM customers", false);
    reads("public.customers.email", "SELECT email_of(1)", true);
    reads("public.customers.ssn", "SELECT email_of(1)", false);
}

#[test]
fn a_column_that_is_a_target_counts() {
    for text in [
        "UPDATE customers SET ssn = 'x' WHERE id = 1",
        "UPDATE customers c SET (name, ssn) = ('x', 'y')",
        "UPDATE customers SET ssn[1] = 'x'",
        "UPDATE customers SET nosuch = 'x'",
        "INSERT INTO customers VALUES (1)",
        "INSERT INTO customers (id, ssn) VALUES (1, 'x')",
        "INSERT INTO customers DEFAULT VALUES",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET ssn = 'x'",
        "WITH u AS (UPDATE customers SET ssn = '1' RETURNING id) SELECT * FROM u",
        "MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN UPDATE SET ssn = 'x'",
        "MERGE INTO customers c USING orders o ON o.id = c.id WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN DELETE",
        "COPY customers FROM STDIN",
        "COPY customers (id, ssn) FROM STDIN",
        "DELETE FROM customers WHERE id = 1",
        "TRUNCATE customers",
        "DROP TABLE customers",
        "DROP TABLE IF EXISTS customers",
        "ALTER TABLE customers DROP COLUMN ssn",
        "ALTER TABLE customers RENAME name TO n",
        "EXPLAIN ANALYZE UPDATE customers SET ssn = 'x'",
        "PREPARE p AS UPDATE customers SET ssn = 'x'; EXECUTE p",
        "UPDATE customers_eu SET ssn = 'x'",
    ] {
        writes("public.customers.ssn", text, true);
    }
}

#[test]
fn a_column_that_is_no_target_does_not_count() {
    for text in [
        "UPDATE customers SET name = ssn WHERE ssn = 'x'",
        "UPDATE orders SET note = 'x' WHERE id = 1",
        "UPDATE customers_eu SET name = 'x'",
        "INSERT INTO customers (id, name) SELECT id, note FROM orders",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        "MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN UPDATE SET name = c.ssn \
         WHEN NOT MATCHED THEN INSERT (id) VALUES (1)",
        "COPY customers (id, name) FROM STDIN",
        "SELECT ssn FROM customers FOR UPDATE",
        "EXPLAIN UPDATE customers SET ssn = 'x'",
        "LOCK customers",
    ] {
        writes("public.customers.ssn", text, false);
    }
}

#[test]
fn what_is_written_elsewhere_by_a_write_counts() {
    writes("public.people.ssn_up", "UPDATE people SET ssn = 'x'", true);
    writes("public.people.ssn_up", "UPDATE people SET id = 1", false);
    writes("public.customers_eu.ssn", "UPDATE customers SET ssn = 'x'", true);
    writes("public.customers_eu.ssn", "UPDATE customers SET name = 'x'", false);
    writes("public.customers_eu.ssn", "UPDATE ONLY customers SET ssn = 'x'", false);
    // entries is partitioned: what is inserted goes there.
    writes("public.entries_2024.amount", "INSERT INTO entries (amount) VALUES (1)", true);
    writes("public.entries_2024.amount", "INSERT INTO entries (id) VALUES (1)", false);
    writes("public.entries_2024.amount", "INSERT INTO entries VALUES (1)", true);
    writes("public.entries.amount", "INSERT INTO entries_2024 VALUES (1)", true);
    // open_accounts: id and owner of accounts; an id that changes cascades to entries.
    writes("public.accounts.owner", "UPDATE open_accounts SET owner = 'x'", true);
    writes("public.accounts.id", "UPDATE open_accounts SET owner = 'x'", false);
    writes("public.open_accounts.owner", "UPDATE open_accounts SET owner = 'x'", true);
    writes("public.entries.amount", "UPDATE accounts SET id = 1", true);
    writes("public.entries.amount", "UPDATE accounts SET note = 'x'", false);
    writes("public.entries.amount", "DELETE FROM accounts WHERE id = 1", true);
    writes("public.payments.card", "SELECT wipe(1)", true);
}

#[test]
fn effects_and_columns_must_meet_in_one_relation() {
    let rule = |effects| matcher("public.customers.ssn", RelationAccess::Write, Some(effects));
    check(Action::Deny, &rule("update"), "UPDATE customers SET ssn = 'x'", true);
    check(Action::Deny, &rule("update"), "DELETE FROM customers", false);
    check(Action::Deny, &rule("update"), "INSERT INTO customers VALUES (1)", false);
    let both = "WITH d AS (DELETE FROM customers) UPDATE customers SET name = 'x'";
    check(Action::Deny, &rule("delete"), both, true);
    check(Action::Deny, &rule("update"), both, false);
    check(
        Action::Deny,
        &rule("insert"),
        "WITH u AS (UPDATE customers SET ssn = '') INSERT INTO orders VALUES (1)",
        false,
    );
}

#[test]
fn an_allow_rule_must_name_every_column() {
    use RelationAccess::{Any, Read, Write};
    let columns = "public.customers.id public.customers.name public.customers_eu.id public.customers_eu.name";
    allows(columns, Read, "SELECT id, name FROM customers", true);
    allows(columns, Read, "SELECT id, ssn FROM customers", false);
    allows(columns, Read, "SELECT * FROM customers", false);
    allows(columns, Read, "SELECT id FROM customers WHERE ssn = '1'", false);
    allows(columns, Read, "SELECT c.id FROM customers c, orders", false);
    allows(columns, Read, "SELECT count(*) FROM customers", false);
    allows(columns, Read, "SELECT query_to_xml('', true, true, ''), id FROM customers", false);
    allows(columns, Read, "SELECT nosuch FROM customers", false);
    allows(columns, Read, "SELECT 1", false);
    allows("public.customers*.*", Read, "SELECT count(*) FROM customers", true);
    allows(columns, Write, "UPDATE customers SET name = 'x' WHERE ssn = '1'", true);
    allows(columns, Any, "UPDATE customers SET name = 'x' WHERE ssn = '1'", false);
    allows(columns, Write, "UPDATE customers SET name = 'x', ssn = ''", false);
    allows(columns, Write, "DELETE FROM customers WHERE id = 1", false);
    allows(columns, Write, "INSERT INTO customers (id, name) VALUES (1, 'x')", true);
    allows(columns, Write, "INSERT INTO customers VALUES (1, 'x')", false);
    allows("*.*.*", Write, "INSERT INTO nosuch VALUES (1)", false);
}

#[test]
fn a_relation_that_is_not_in_the_catalog_has_columns_of_any_name() {
    writes("public.fresh.ssn", "CREATE TABLE fresh (id int); INSERT INTO fresh VALUES (1)", true);
    writes("*.nosuch.ssn", "UPDATE nosuch SET id = 1", true);
    reads("*.nosuch.ssn", "SELECT id FROM nosuch", true);
    reads("*.other.ssn", "SELECT id FROM nosuch", false);
    reads("public.customers.ssn", "ALTER TABLE customers RENAME ssn TO x; SELECT x FROM customers", true);
}
