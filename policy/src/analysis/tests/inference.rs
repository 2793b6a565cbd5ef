//! What a statement lets its sender infer of a column without returning it.

use super::fixture::analysis;
use super::lineage::spell;

/// What decides, and what is only looked up.
#[track_caller]
fn check(text: &str, deciding: &str, looked_up: &str) {
    let found = &analysis(text).statements[0];
    assert_eq!((spell(&found.predicates).as_str(), spell(&found.lookups).as_str()), (deciding, looked_up), "{text}");
}

/// The column `ssn` of `customers` decides.
#[track_caller]
fn decides(text: &str) {
    let found = &analysis(text).statements[0];
    let spelt = spell(&found.predicates);
    let is_named = spelt == "?" || spelt.split('+').any(|column| column == "customers.ssn");
    assert!(is_named, "{text}: {spelt}");
}

/// Nothing but `id` decides.
#[track_caller]
fn free(text: &str) {
    let found = &analysis(text).statements[0];
    assert!(matches!(spell(&found.predicates).as_str(), "-" | "customers.id"), "{text}: {:?}", found.predicates);
    assert_eq!(found.not_understood, None, "{text}");
}

#[test]
fn equality_with_one_value_is_a_lookup() {
    check("SELECT id FROM customers WHERE ssn = $1", "-", "customers.ssn");
    check("SELECT id FROM customers WHERE $1::text = ssn", "-", "customers.ssn");
    check("SELECT id FROM customers c WHERE c.ssn = $1::varchar AND id = 5", "-", "customers.id+customers.ssn");
    check(
        "SELECT * FROM customers WHERE (ssn = '1' AND id > 5) AND email = $2",
        "customers.id",
        "customers.email+customers.ssn",
    );
    check("SELECT * FROM (SELECT * FROM customers) c WHERE c.ssn = $1", "-", "customers.ssn");
    check("WITH c AS (SELECT id, ssn AS s FROM customers) SELECT id FROM c WHERE s = $1", "-", "customers.ssn");
    check(
        "SELECT o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.ssn = $1",
        "customers.id+orders.customer_id",
        "customers.ssn",
    );
    check("SELECT id FROM customers c(i, n, e, p, s) WHERE s = $1", "-", "customers.ssn");
}

#[test]
fn other_comparisons_are_no_lookups() {
    for clause in [
        "ssn > $1",
        "ssn <> $1",
        "ssn IN ($1)",
        "ssn = ANY ($1)",
        "ssn = ALL ($1)",
        "ssn IS NOT DISTINCT FROM $1",
        "ssn LIKE $1",
        "ssn = $1 OR id = 5",
        "NOT ssn = $1",
        "(ssn = $1) = true",
        "(ssn = $1) IS TRUE",
        "lower(ssn) = $1",
        "ssn || '' = $1",
        "left(ssn, 1) = $1",
        "ssn COLLATE \"C\" = $1",
        "ssn = $1 COLLATE odd",
        "ssn = $1::parcel",
        "ssn = $1::public.text",
        "ssn = email",
        "ssn = lower($1)",
        "ssn = $1 || 'x'",
        "ssn = (SELECT $1)",
        "(ssn) = ($1, $2)",
        "(ssn, id) = ($1, $2)",
        "CASE WHEN ssn = $1 THEN true END",
        "coalesce(ssn = $1, false)",
        "nullif(ssn, $1) IS NULL",
        "ssn OPERATOR(public.=) $1",
    ] {
        decides(&format!("SELECT id FROM customers WHERE {clause}"));
    }
    for text in [
        "SELECT id FROM orders WHERE EXISTS (SELECT 1 FROM customers WHERE ssn = $1)",
        "SELECT id FROM customers WHERE id = 1 UNION ALL SELECT id FROM customers WHERE ssn = $1",
        "SELECT * FROM (SELECT left(ssn, 1) AS ssn FROM customers) c WHERE c.ssn = $1",
        "SELECT * FROM (SELECT id FROM customers WHERE ssn = $1) c",
        "SELECT count(*) FROM customers HAVING max(ssn) = $1",
        "SELECT ssn FROM customers GROUP BY ssn HAVING ssn = $1",
        "SELECT o.id FROM customers c JOIN orders o ON c.ssn = $1",
        "DELETE FROM customers WHERE ssn = $1",
        "UPDATE customers SET name = 'x' WHERE ssn = $1",
        "INSERT INTO orders (id) SELECT id FROM customers WHERE ssn = $1",
        "CREATE TABLE x AS SELECT id FROM customers WHERE ssn = $1",
        "EXPLAIN SELECT id FROM customers WHERE ssn = $1",
        "COPY (SELECT id FROM customers WHERE ssn = '1') TO STDOUT",
        "DECLARE c CURSOR FOR SELECT id FROM customers WHERE ssn = '1'",
    ] {
        decides(text);
    }
    check("SELECT label FROM customer_view WHERE label = $1", "customers.email+customer_view.label", "-");
    check("SELECT id FROM people WHERE ssn_up = $1", "people.ssn+people.ssn_up", "-");
    check("SELECT email_of($1)", "customers.id", "-");
}

/// Whether an error comes, or how long the answer takes, tells a value as well as a row.
#[test]
fn what_may_fail_for_a_value_decides() {
    for value in [
        "1 / (length(ssn) - 11)",
        "ssn / 0.5",
        "length(ssn) + 2147483640",
        "length(ssn) * $1",
        "ssn + 10000",
        "ssn + 9999 + 9999",
        "ssn * 2",
        "ssn + $1",
        "-(length(ssn) - 5)",
        "(ssn || 'x')::int",
        "(CASE WHEN ssn LIKE '7%' THEN 'x' ELSE '1' END)::int",
        "substr(ssn, 1, 3)::int",
        "ROW(id, ssn || 'x')::customers",
        "('{' || ssn || '}')::text[]",
        "ssn::text::int",
        "(ssn = '1')::text::int",
        "to_char(id, ssn)",
        "substr(name, 1, length(ssn))",
        "repeat(ssn, 100000000)",
        "chr(length(ssn) + 1114100)",
        "name ~ ssn",
        "name LIKE ssn",
        "regexp_replace(name, ssn, '')",
        "jsonb_build_object(nullif(ssn, '1'), 1)",
        "st_x(ssn, 1)",
        "next_number(ssn, id)",
        "ssn <+> 'x'",
        "coalesce(nullif(ssn, '1'), (1 / 0)::text)",
        "coalesce(nullif(ssn, '1'), pg_sleep(1)::text)",
        "ssn LIKE '7%' AND pg_sleep(1) IS NULL",
        "ssn LIKE '7%' OR 1 / (id - 1) = 1",
        "1 / (id - 1) = 1 OR ssn LIKE '7%'",
        "CASE WHEN ssn LIKE '7%' THEN 1 / 0 END",
        "CASE WHEN ssn LIKE '7%' THEN 'x'::text::int END",
        "CASE WHEN ssn LIKE '7%' THEN date_trunc('x', now()) END",
        "CASE ssn WHEN '7' THEN pg_sleep(1) END",
        "CASE WHEN ssn LIKE '7%' THEN 1 ELSE 1 / 0 END",
        "CASE WHEN ssn LIKE '7%' THEN 1 WHEN 1 / 0 = 1 THEN 2 END",
    ] {
        decides(&format!("SELECT {value} FROM customers WHERE id = 1"));
    }
}

#[test]
fn what_fails_for_no_value_is_free() {
    for value in [
        "ssn, lower(ssn), length(ssn), substr(ssn, 1, 3), replace(ssn, '-', ''), 'x' || ssn",
        "ssn::int, ssn::text, (ssn || 'x')::varchar(3), ssn::parcel, next_number(ssn), chr(ssn)",
        "ROW(id, ssn, '1')::customers, ARRAY[ssn, name]::int[]",
        "length(ssn) / 2, length(ssn) % 10",
        "max(ssn), string_agg(lower(ssn), ','), array_agg(ssn), json_agg(customers), sum(ssn), avg(ssn)",
        "ssn LIKE '7%', ssn ~ '^7', ssn = '1', ssn IN ('1', '2'), ssn BETWEEN '1' AND '2', ssn IS NULL",
        "CASE WHEN ssn LIKE '7%' THEN name ELSE lower(email) END",
        "coalesce(ssn, 'none'), coalesce(ssn, (1 / id)::text), nullif(ssn, ''), greatest(ssn, name)",
        "ssn > '7' AND name IS NOT NULL, NOT (ssn = '1' OR id = 5)",
        "jsonb_build_object('ssn', ssn, 'name', lower(name)), format('%s', ssn), concat(ssn, name)",
        "to_char(ssn, 'YYYY'), date_trunc('month', ssn), -length(ssn)",
        "ssn + 1, 9999 - ssn, id + 5, id::text::int, 1 / id",
    ] {
        free(&format!("SELECT {value} FROM customers WHERE id = 1"));
    }
}

/// That a value is missing is no secret: a mask leaves NULL what is NULL.
#[test]
fn absence_is_free() {
    free("SELECT id FROM customers WHERE ssn IS NULL");
    free("SELECT id FROM customers WHERE id = 1 AND ssn IS NOT NULL");
    free("SELECT id FROM customers WHERE NOT (ssn IS NULL OR id = 1)");
    free("SELECT count(ssn), count(*), count(c.*) FROM customers c");
    decides("SELECT id FROM customers WHERE nullif(ssn, '1') IS NULL");
    decides("SELECT id FROM customers WHERE (ssn = '1') IS NULL");
    decides("SELECT s FROM (SELECT nullif(ssn, '1') AS s FROM customers) c WHERE s IS NULL");
}

/// How many rows were inserted tells whether the key was there.
#[test]
fn the_key_of_on_conflict_decides() {
    check("INSERT INTO customers (id, ssn) VALUES (1, '7') ON CONFLICT (ssn) DO NOTHING", "-", "customers.ssn");
    check("INSERT INTO customers (id, ssn) VALUES ($1, $2) ON CONFLICT DO NOTHING", "-", "customers.id+customers.ssn");
    check(
        "INSERT INTO customers (id, ssn) VALUES (1, '7') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
        "-",
        "customers.id",
    );
    check(
        "INSERT INTO customers (id, ssn) VALUES (1, '7'), (2, '8') ON CONFLICT (ssn) DO NOTHING",
        "customers.ssn",
        "-",
    );
    check("INSERT INTO customers (ssn) VALUES (lower('7')) ON CONFLICT (ssn) DO NOTHING", "customers.ssn", "-");
    check("INSERT INTO customers (id) VALUES (1) ON CONFLICT (lower(ssn)) DO NOTHING", "-", "customers.ssn");
    decides("INSERT INTO customers (ssn) SELECT note FROM orders ON CONFLICT DO NOTHING");
    check("INSERT INTO customers (id, ssn) VALUES (1, '7')", "-", "-");
}

#[test]
fn definitions_that_tell_about_rows_let_columns_decide() {
    decides("ALTER TABLE customers ADD CHECK (ssn <> '7')");
    decides("ALTER TABLE customers ADD CONSTRAINT c CHECK (id > 0 AND ssn LIKE '7%') NOT VALID");
    decides("ALTER TABLE customers ADD COLUMN a int CHECK (ssn <> '7')");
    decides("ALTER TABLE customers ADD COLUMN a int, ADD CHECK (a > 0 OR ssn <> '7')");
    decides("CREATE INDEX ON customers (id) WHERE ssn LIKE '7%'");
    decides("CREATE INDEX ON customers ((1 / (length(ssn) - 3)))");
    decides("CREATE POLICY p ON customers USING (ssn = '7')");
    decides("ALTER POLICY p ON customers WITH CHECK (ssn = '7')");
    for text in [
        "ALTER TABLE customers ADD CHECK (ssn IS NOT NULL)",
        "ALTER TABLE customers ADD COLUMN age int CHECK (age > 0)",
        "ALTER TABLE customers ADD COLUMN age int, ADD CHECK (age > 0 AND id > 0)",
        "CREATE INDEX ON customers (ssn, lower(email))",
        "CREATE UNIQUE INDEX ON customers (ssn) WHERE id > 5",
        "CREATE POLICY p ON customers USING (id = 1)",
        "CREATE TABLE t (id int CHECK (id > 0))",
    ] {
        let found = &analysis(text).statements[0];
        assert!(matches!(spell(&found.predicates).as_str(), "-" | "customers.id"), "{text}: {:?}", found.predicates);
    }
}
