//! Which base columns may be in which output column.

use super::fixture::{analysis, catalog};
use crate::analysis::{Lineage, Outputs};

/// One word per output column: `-` for clear, `?` for unknown, else `relation.column` joined by `+`; `*` before an
/// opaque result.
pub fn spell(lineage: &Lineage) -> String {
    let catalog = catalog();
    match lineage {
        Lineage::Unknown(_) => "?".to_owned(),
        Lineage::Columns(columns) if columns.is_empty() => "-".to_owned(),
        Lineage::Columns(columns) => {
            let spelt = columns.iter().map(|column| {
                let relation = catalog.relation(column.relation).unwrap();
                let name = relation.column(column.attnum).map_or("*", |column| column.name.as_str());
                format!("{}.{name}", relation.name)
            });
            spelt.collect::<Vec<_>>().join("+")
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = analysis(text);
    let last = found.statements.last().unwrap();
    let spelt = match &last.outputs {
        Outputs::None => "none".to_owned(),
        Outputs::Opaque(lineage) => format!("* {}", spell(lineage)),
        Outputs::Columns(columns) => columns.iter().map(spell).collect::<Vec<_>>().join(" "),
    };
    assert_eq!(spelt, expected, "{text}\n{:?}", found.not_understood());
}

#[track_caller]
fn predicates(text: &str, expected: &str) {
    let found = analysis(text);
    let mut deciding = found.statements[0].predicates.clone();
    deciding.absorb(&found.statements[0].lookups);
    assert_eq!(spell(&deciding), expected, "{text}");
}

#[track_caller]
fn stores(text: &str, expected: &str) {
    assert_eq!(spell(&analysis(text).statements[0].stores), expected, "{text}");
}

#[test]
fn columns_flow_through_expressions() {
    check("SELECT id, email AS mail, 1, $1, now() FROM customers", "customers.id customers.email - - -");
    check("SELECT upper(substr(ssn, 1, 3)) || name FROM customers", "customers.name+customers.ssn");
    check("SELECT CASE WHEN ssn LIKE '7%' THEN 1 END FROM customers", "customers.ssn");
    check(
        "SELECT ssn IS NULL, ssn::int, coalesce(name, ssn) FROM customers",
        "customers.ssn customers.ssn customers.name+customers.ssn",
    );
    check(
        "SELECT count(*), count(ssn), max(ssn), exists(SELECT ssn FROM customers) FROM customers",
        "- - customers.ssn -",
    );
    check("SELECT string_agg(name, ',' ORDER BY ssn) FROM customers", "customers.name");
    check("SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM customers", "customers.ssn");
    check("SELECT lag(ssn) OVER (ORDER BY id), row_number() OVER (ORDER BY ssn) FROM customers", "customers.ssn -");
    check(
        "SELECT (SELECT ssn FROM customers LIMIT 1), ARRAY(SELECT email FROM customers)",
        "customers.ssn customers.email",
    );
    check("SELECT id IN (SELECT ssn FROM customers) FROM orders", "customers.ssn+orders.id");
    check("SELECT json_object('a': ssn), xmlforest(email) FROM customers", "customers.ssn customers.email");
    check(
        "SELECT ROW(id, ssn), ARRAY[phone], (ARRAY[phone])[1] FROM customers",
        "customers.id+customers.ssn customers.phone customers.phone",
    );
    check("SELECT ctid, tableoid FROM customers", "- -");
    check("SELECT 'customers'::regclass, current_user", "- -");
}

#[test]
fn whole_rows_are_columns_of_number_zero() {
    let all = "customers.*+customers.id+customers.name+customers.email+customers.phone+customers.ssn";
    check("SELECT c FROM customers c", all);
    check("SELECT row_to_json(c) FROM customers c", all);
    check("SELECT c.* FROM customers c", "customers.id customers.name customers.email customers.phone customers.ssn");
    check("SELECT (c).email, (c.*).ssn FROM customers c", "customers.email customers.ssn");
    check("SELECT (c).* FROM customers c", "customers.id customers.name customers.email customers.phone customers.ssn");
    check("SELECT count(c.*), to_json(c.*) FROM customers c", &format!("- {all}"));
    check("SELECT row_to_json(x) FROM (SELECT id, ssn FROM customers) x", "customers.id+customers.ssn");
    check("TABLE orders", "orders.id orders.customer_id orders.total orders.note orders.status");
}

#[test]
fn scopes_are_postgres_scopes() {
    check("SELECT x.b FROM (SELECT id, ssn FROM customers) x(a, b)", "customers.ssn");
    check("SELECT a FROM customers AS c(i, a)", "customers.name");
    check("WITH w AS (SELECT ssn s FROM customers) SELECT s FROM w", "customers.ssn");
    check("WITH w(a, b) AS (SELECT id, ssn FROM customers) SELECT b, a FROM w", "customers.ssn customers.id");
    check("WITH customers AS (SELECT ssn AS id FROM customers) SELECT id FROM customers", "customers.ssn");
    check("SELECT (SELECT c.ssn) FROM customers c", "customers.ssn");
    check("SELECT l.s FROM customers c, LATERAL (SELECT c.ssn AS s) l", "customers.ssn");
    check("SELECT out_name, g.other FROM customers c, generate_series(1, c.ssn) g", "customers.ssn customers.ssn");
    check("SELECT nosuch FROM customers", "?");
    check("SELECT l.s FROM customers c CROSS JOIN LATERAL (SELECT c.ssn AS s) l", "customers.ssn");
    check("SELECT u FROM customers c, unnest(ARRAY[c.ssn]) u", "customers.ssn");
    check("SELECT id FROM customers JOIN orders USING (id)", "customers.id+orders.id");
    check(
        "SELECT * FROM customers c JOIN payments p USING (id)",
        "customers.id+payments.id customers.name customers.email customers.phone customers.ssn payments.order_id payments.card payments.amount",
    );
    check("SELECT j.ssn FROM (customers c JOIN orders o ON o.customer_id = c.id) j(i, n, e, p, ssn)", "customers.ssn");
    check(
        "SELECT v.* FROM customers c, LATERAL (VALUES (1, c.id, c.*)) v WHERE column7 = 'x'",
        "- customers.id \
        customers.id customers.name customers.email customers.phone customers.ssn",
    );
    check("SELECT column2 FROM (VALUES (1, 2)) v UNION ALL SELECT ssn FROM customers", "customers.ssn");
    check(
        "SELECT id, name FROM customers UNION SELECT id, ssn FROM customers EXCEPT SELECT 1, email FROM customers",
        "customers.id customers.name+customers.email+customers.ssn",
    );
    check(
        "WITH RECURSIVE t(a, b) AS (SELECT id, name FROM customers UNION ALL SELECT b, ssn FROM t, customers) SELECT a FROM t",
        "customers.id+customers.name+customers.ssn",
    );
    check(
        "WITH RECURSIVE t AS (SELECT id, name FROM customers UNION ALL SELECT t.id, t.name FROM t) SELECT id, name FROM t",
        "customers.id customers.name",
    );
    check("SELECT lower FROM lower('x')", "-");
    check("SELECT upper, x FROM (SELECT upper(ssn), id x FROM customers) q", "customers.ssn customers.id");
    check(
        "SELECT \"case\", coalesce FROM (SELECT CASE WHEN true THEN 1 ELSE 2 END, coalesce(ssn) FROM customers) q",
        "- customers.ssn",
    );
}

#[test]
fn views_are_seen_through() {
    check(
        "SELECT id, label, spent FROM customer_view",
        "customers.id+customer_view.id customers.email+customer_view.label orders.total+customer_view.spent",
    );
    check("SELECT label FROM contacts", "customers.email+customer_view.label+contacts.label");
    check("SELECT ssn_up FROM people", "people.ssn+people.ssn_up");
    check("SELECT ssn FROM customers_eu", "customers.ssn+customers_eu.ssn");
    check("SELECT attname, most_common_vals FROM pg_stats", "- ?");
    check("SELECT pid, query FROM pg_stat_activity", "- ?");
    check("SELECT id FROM broken", "?");
}

#[test]
fn functions_of_users_are_unknown() {
    check("SELECT badge(1), lower(badge(1))", "? ?");
    check("SELECT st_x(email) FROM customers", "customers.email");
    check("SELECT email FROM all_customers()", "?");
    check("SELECT query_to_xml('select ssn from customers', true, false, '')", "customers.ssn");
    check("SELECT query_to_xml($1, true, false, '')", "?");
    check("SELECT pg_read_file('x'), lo_get(1)", "? ?");
    check("SELECT nosuch(1)", "?");
    check("SELECT c.badge FROM customers c", "?");
    check("CALL purge()", "* ?");
}

#[test]
fn returning_shows_what_was_written() {
    check("INSERT INTO orders (note) VALUES ('x') RETURNING id, note", "orders.id orders.note");
    check(
        "INSERT INTO orders (note, id) SELECT ssn, 1 FROM customers RETURNING id, note",
        "orders.id customers.ssn+orders.note",
    );
    check(
        "UPDATE orders SET note = c.ssn FROM customers c WHERE true RETURNING note, c.email",
        "customers.ssn+orders.note customers.email",
    );
    check("DELETE FROM customers RETURNING old.ssn, new.email", "customers.ssn customers.email");
    check(
        "INSERT INTO orders AS o (note) VALUES ('x') ON CONFLICT (id) DO UPDATE SET note = (SELECT ssn FROM customers) RETURNING o.note",
        "customers.ssn+orders.note",
    );
    check(
        "MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN UPDATE SET note = c.ssn RETURNING o.note, c.email, merge_action()",
        "customers.ssn+orders.note customers.email -",
    );
    check("WITH d AS (DELETE FROM customers RETURNING ssn AS x) SELECT x FROM d", "customers.ssn");
}

#[test]
fn other_statements_return_what_they_wrap() {
    check("COPY customers (id, ssn) TO STDOUT", "customers.id customers.ssn");
    check("COPY (SELECT ssn FROM customers) TO STDOUT", "customers.ssn");
    check("COPY customers TO '/tmp/x'", "none");
    check("DECLARE c CURSOR FOR SELECT ssn FROM customers; FETCH c", "customers.ssn");
    check("PREPARE p AS SELECT ssn FROM customers; EXECUTE p", "customers.ssn");
    check("PREPARE p AS SELECT $1; EXECUTE p(badge(1))", "?");
    check("EXPLAIN SELECT ssn FROM customers", "-");
    check("EXPLAIN VERBOSE SELECT badge(1)", "* ?");
    check("SHOW search_path", "-");
    check("SHOW ALL", "- - -");
    check("CREATE TABLE x AS SELECT ssn FROM customers", "none");
    check("UPDATE customers SET name = 'x'", "none");
    check("SELECT * FROM json_each('{}')", "* -");
    check("SELECT nosuch FROM customers", "?");
    check("SELECT * FROM crosstab('select 1') AS t(a text)", "-");
}

#[test]
fn predicates_and_stores_are_kept_apart() {
    predicates("SELECT id FROM customers WHERE ssn = '1'", "customers.ssn");
    predicates("SELECT id FROM customers ORDER BY email", "customers.email");
    predicates("SELECT id, ssn AS x FROM customers ORDER BY x", "customers.ssn");
    predicates("SELECT id, ssn FROM customers ORDER BY 2", "customers.ssn");
    predicates("SELECT count(*) FROM customers GROUP BY phone", "customers.phone");
    predicates("SELECT count(*) FROM customers HAVING max(ssn) > '5'", "customers.ssn");
    predicates("SELECT count(*) FILTER (WHERE ssn > '5') FROM customers", "customers.ssn");
    predicates("SELECT o.id FROM orders o JOIN customers c ON o.note = c.ssn", "customers.ssn+orders.note");
    predicates("SELECT count(DISTINCT ssn) FROM customers", "customers.ssn");
    predicates("SELECT DISTINCT ssn FROM customers", "customers.ssn");
    predicates("SELECT 1 FROM customers c, generate_series(1, c.ssn)", "customers.ssn");
    predicates("SELECT 1 FROM customers c JOIN LATERAL json_each(c.ssn) e ON true", "customers.ssn");
    predicates("SELECT unnest(ARRAY[ssn]) FROM customers", "customers.ssn");
    predicates("SELECT generate_series(1, length(ssn)) FROM customers", "customers.ssn");
    predicates("SELECT 1 / (length(ssn) - 11) FROM customers", "customers.ssn");
    predicates("SELECT CASE WHEN ssn LIKE '7%' THEN pg_sleep(1) END FROM customers", "customers.ssn");
    predicates("SELECT CASE WHEN ssn LIKE '7%' THEN 1 / 0 END FROM customers", "customers.ssn");
    predicates("SELECT pg_sleep(length(ssn)) FROM customers", "customers.ssn");
    predicates("EXPLAIN SELECT id FROM customers WHERE ssn > '7'", "customers.ssn");
    predicates("DELETE FROM customers WHERE ssn > '7'", "customers.ssn");
    predicates("UPDATE customers SET name = 'x' WHERE ssn > '7'", "customers.ssn");
    predicates("SELECT id FROM customers", "-");
    predicates("SELECT CASE WHEN ssn IS NULL THEN 'none' ELSE 'some' END FROM customers", "-");
    predicates("SELECT length(ssn) / 2, ssn FROM customers WHERE id = 1", "customers.id");
    predicates("SELECT relid FROM generate_series(1, 3) WHERE relid = 1", "-");
    stores("INSERT INTO orders (note) SELECT ssn FROM customers", "customers.ssn");
    stores("UPDATE orders SET note = (SELECT ssn FROM customers)", "customers.ssn");
    stores("CREATE TABLE x AS SELECT email FROM customers", "customers.email");
    stores("SELECT email INTO x FROM customers", "customers.email");
    stores("SELECT pg_notify('x', ssn) FROM customers", "customers.ssn");
    stores("COPY (SELECT ssn FROM customers) TO PROGRAM 'cat'", "customers.ssn");
    stores("INSERT INTO orders (note) VALUES ('x')", "-");
    stores("UPDATE customers SET ssn = upper(ssn), name = lower(name)", "-");
    stores("UPDATE customers SET name = ssn", "customers.ssn");
    stores("UPDATE customers SET ssn = ssn || email", "customers.email+customers.ssn");
}

/// Masks are configured by name: what moves values to another name takes them out of reach.
#[test]
fn definitions_that_move_values_store_them() {
    let row = "customers.*";
    stores("ALTER TABLE customers RENAME TO other", row);
    stores("ALTER TABLE customers SET SCHEMA app", row);
    stores("ALTER VIEW customer_view RENAME TO other", "customer_view.*");
    stores("ALTER TABLE customers RENAME COLUMN ssn TO note", "customers.ssn+customers_eu.ssn");
    stores("ALTER TABLE customers RENAME ssn TO note", "customers.ssn+customers_eu.ssn");
    stores("ALTER TABLE customers ALTER COLUMN name TYPE text USING ssn", "customers.ssn");
    stores("ALTER TABLE customers ALTER COLUMN ssn TYPE text USING upper(ssn)", "-");
    stores("ALTER TABLE customers ALTER COLUMN ssn TYPE varchar", "-");
    stores("ALTER TABLE people ALTER COLUMN ssn_up DROP EXPRESSION", "people.ssn_up");
    stores("ALTER TABLE customers_eu NO INHERIT customers", "customers_eu.*");
    stores("ALTER TABLE entries DETACH PARTITION entries_2024", "entries_2024.*");
    stores("ALTER SCHEMA app RENAME TO other", "customers.*");
    stores(
        "CREATE RULE r AS ON INSERT TO orders DO ALSO INSERT INTO payments (card) SELECT ssn FROM customers",
        "customers.ssn",
    );
    for connecting in [
        "CREATE FOREIGN TABLE f (id int) SERVER s",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE USER MAPPING FOR current_user SERVER s",
        "IMPORT FOREIGN SCHEMA x FROM SERVER s INTO public",
        "CREATE PUBLICATION p FOR TABLE customers",
    ] {
        stores(connecting, "?");
    }
    stores("SELECT setseed(ssn) FROM customers", "customers.ssn");
    for harmless in [
        "ALTER TABLE orders ADD COLUMN extra text DEFAULT 'x'",
        "ALTER TABLE customers ADD COLUMN extra text",
        "ALTER TABLE customers ALTER COLUMN name SET NOT NULL, DROP COLUMN phone",
        "ALTER INDEX i RENAME TO j",
        "CREATE INDEX ON customers (lower(ssn))",
        "CREATE TABLE copied (LIKE customers INCLUDING ALL)",
        "CREATE VIEW v AS SELECT ssn FROM customers",
        "ALTER TABLE entries ATTACH PARTITION balances DEFAULT",
        "SELECT setseed(0.5)",
    ] {
        stores(harmless, "-");
    }
}
