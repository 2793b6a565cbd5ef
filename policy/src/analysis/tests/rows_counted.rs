//! Texts whose command tags count every row that they write.

use super::fixture::analysis;
use crate::analysis::Counted;

#[track_caller]
fn check(text: &str, counted: bool) {
    assert_eq!(analysis(text).counted().is_some(), counted, "{text}");
}

#[track_caller]
fn check_block(text: &str, begins: bool, ends: bool) {
    assert_eq!(analysis(text).counted(), Some(Counted { begins, ends }), "{text}");
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
        "COPY customers FROM STDIN",
        "COPY customers (id) FROM STDIN (FORMAT csv) WHERE id > 1; DELETE FROM customers",
        "COPY customers FROM '/tmp/customers'",
        "SET lock_timeout = '2s'; DELETE FROM customers",
    ] {
        check(text, true);
    }
}

#[test]
fn a_text_may_begin_and_end_its_block() {
    check_block("DELETE FROM customers", false, false);
    check_block("BEGIN; DELETE FROM customers", true, false);
    for end in ["COMMIT", "END", "COMMIT AND CHAIN", "PREPARE TRANSACTION 'a'", "ROLLBACK"] {
        check_block(&format!("DELETE FROM customers; {end}"), false, true);
        check_block(&format!("START TRANSACTION; SELECT 1; DELETE FROM customers; {end};"), true, true);
    }
}

/// A block that fails goes on at a savepoint, and with what was written before.
#[test]
fn what_could_not_be_taken_back_is_not_counted() {
    for text in [
        "DELETE FROM customers; SAVEPOINT a",
        "BEGIN; DELETE FROM customers; SAVEPOINT a; COMMIT",
        "SAVEPOINT a; DELETE FROM customers; RELEASE a",
        "DELETE FROM customers; ROLLBACK TO a; COMMIT",
        "BEGIN; DELETE FROM customers; COMMIT; BEGIN; DELETE FROM orders; COMMIT",
        "DELETE FROM customers; COMMIT; SELECT 1",
        "BEGIN; COMMIT",
        "COMMIT",
        "COMMIT PREPARED 'a'; DELETE FROM customers",
    ] {
        check(text, false);
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
        "COPY customers TO STDOUT",
        "COPY (DELETE FROM customers RETURNING id) TO STDOUT",
        "DELETE FROM customers; TRUNCATE orders",
        "BEGIN; DELETE FROM customers; TRUNCATE orders; COMMIT",
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
