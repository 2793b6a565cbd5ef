//! Texts whose command tags count every row that they write.

use super::fixture::analysis;

#[track_caller]
fn check(text: &str, counted: bool) {
    assert_eq!(analysis(text).counts_rows(), counted, "{text}");
}

#[test]
fn plain_writes_are_counted() {
    for text in [
        "DELETE FROM customers",
        "UPDATE customers SET name = 'x' WHERE id = 1 RETURNING id",
        "INSERT INTO orders VALUES (1)",
        "INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = 'x'",
        "INSERT INTO orders SELECT * FROM orders",
        "WITH old AS (SELECT id FROM customers) DELETE FROM orders USING old WHERE orders.id = old.id",
        "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN DELETE",
        "SELECT id FROM customers; DELETE FROM customers; SELECT 1",
        "EXPLAIN DELETE FROM customers; DELETE FROM customers",
    ] {
        check(text, true);
    }
}

#[test]
fn what_the_tag_does_not_tell_is_not() {
    for text in [
        "SELECT id FROM customers",
        "WITH gone AS (DELETE FROM customers RETURNING id) SELECT id FROM gone",
        "WITH gone AS (DELETE FROM customers RETURNING id) DELETE FROM orders",
        "WITH gone AS (DELETE FROM customers RETURNING id) INSERT INTO orders SELECT id FROM gone",
        "EXPLAIN ANALYZE DELETE FROM customers",
        "CREATE TABLE copies AS SELECT * FROM customers",
        "TRUNCATE customers",
        "COPY customers FROM STDIN",
        "DELETE FROM customers; TRUNCATE orders",
        "DELETE FROM customers; COMMIT",
        "BEGIN; DELETE FROM customers; COMMIT",
        "DELETE FROM customers; PREPARE a AS SELECT 1",
        "DELETE FROM customers; SET search_path = sandbox",
        "DO $$ BEGIN DELETE FROM customers; END $$",
        "PREPARE a AS DELETE FROM customers",
        "DECLARE c CURSOR FOR SELECT 1",
        "DELETE FROM nowhere",
        "DELETE FROM customers; SELECT purge()",
        "",
    ] {
        check(text, false);
    }
}
