//! Everyday statements, which carry only what they plainly do.

use super::fixture::analysis;
use crate::effect::{Effect, Effects};

#[track_caller]
fn check(text: &str, effects: &str) {
    let expected: Effects = effects.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect();
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    assert_eq!(found.effects(), expected, "{text}");
}

#[test]
fn everyday_statements_are_understood() {
    check("", "");
    check(";;", "");
    check("SELECT v.msg FROM verify_heapam(relation := 1) v", "select");
    check("SELECT 1", "select");
    check("SELECT id, name FROM customers WHERE id = $1", "select");
    check("select nextval('s'), currval('s'), random(), now(), version()", "select");
    check("INSERT INTO orders (customer_id, total) VALUES ($1, $2) RETURNING id", "insert");
    check("INSERT INTO orders (total) VALUES (1), (2), (3)", "insert");
    check("INSERT INTO orders DEFAULT VALUES", "insert");
    check("UPDATE orders SET status = 'paid' WHERE id = 1", "update");
    check("BEGIN; UPDATE orders SET status = 'paid' WHERE id = 1; COMMIT", "transaction update");
    check("SAVEPOINT a; RELEASE SAVEPOINT a", "transaction");
    check("SELECT count(*) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id", "select");
    check(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           WHERE c.relkind IN ('r','p','') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
        "select",
    );
    check("SHOW search_path", "show");
    check("SELECT count(*), sum(size) FROM pg_ls_tmpdir()", "select");
    check("SET statement_timeout = '5s'", "set");
    check("SET TIME ZONE 'UTC'", "set");
    check("SET row_security = off", "set");
    check(
        "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings \
           WHERE name = 'restrict_nonsystem_relation_kind'",
        "select set",
    );
    check(
        "SELECT pg_catalog.set_config(name, 'UTC', false) FROM pg_catalog.pg_settings s WHERE name = 'TimeZone'",
        "select set",
    );
    check("LOCK TABLE customers IN ACCESS SHARE MODE", "select");
    check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set");
    check("DISCARD ALL", "discard");
    check("LISTEN a", "listen");
    check("NOTIFY a, 'b'", "notify");
    check("CREATE TABLE t (id serial PRIMARY KEY, note text DEFAULT lower('X'), CHECK (length(note) > 1))", "create");
    check(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1); SELECT * FROM t; DROP TABLE t",
        "create insert select drop",
    );
    check("ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customers (id)", "alter");
    check("CREATE RULE r AS ON DELETE TO orders DO INSTEAD UPDATE orders SET note = 'x' WHERE id = old.id", "create");
    check("CREATE UNIQUE INDEX i ON orders (id) WHERE status = 'x'", "create");
    check("ANALYZE customers", "maintenance");
    check("EXPLAIN SELECT * FROM customers", "explain");
    check("WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t", "select");
    check("SELECT * FROM generate_series(1, 3) AS g(n)", "select");
    check("SELECT text(1), int4('1')", "select");
    check("SELECT * FROM customers FOR SHARE", "select lock");
    check("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM customers'", "create");
    check("GRANT SELECT ON customers TO x", "grant");
    check("REVOKE ALL ON SCHEMA public FROM x", "revoke");
    check("DECLARE c CURSOR FOR SELECT 1; FETCH ALL c; MOVE c; CLOSE c", "cursor select");
    check("DROP TABLE IF EXISTS nosuch", "drop");
    check(
        "DROP TABLE IF EXISTS nosuch; CREATE TABLE nosuch (a int); INSERT INTO nosuch VALUES (1)",
        "drop create insert",
    );
    check("DROP VIEW IF EXISTS nosuch CASCADE; DROP INDEX IF EXISTS nosuch; DROP SEQUENCE IF EXISTS nosuch", "drop");
    check("DROP TRIGGER IF EXISTS t ON nosuch", "drop");
    check("ALTER TABLE IF EXISTS nosuch RENAME TO other", "alter");
    check("ALTER SEQUENCE IF EXISTS nosuch RESTART", "alter");
    check("PREPARE p AS SELECT $1::int; EXECUTE p(1); DEALLOCATE p", "prepare execute select deallocate");
}
