//! What an earlier statement of the same text made is used by a later one.

use super::fixture::{analysis, analysis_along};
use crate::effect::{Effect, Effects};

const PUBLIC: &[&str] = &["pg_catalog", "public"];

#[track_caller]
fn none_is_understood(texts: &[&str], path: &[&str]) {
    let mut understood = texts.to_vec();
    understood.retain(|text| {
        let found = analysis_along(text, path);
        found.not_understood().is_none() || !found.effects().contains(Effect::Unknown)
    });
    assert!(understood.is_empty(), "{}", understood.join("\n"));
}

#[track_caller]
fn check(text: &str, effects: &str) {
    let expected: Effects = effects.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect();
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    assert_eq!(found.effects(), expected, "{text}");
}

#[test]
fn a_view_of_the_same_text_is_not_a_relation_of_its_own() {
    none_is_understood(
        &[
            "CREATE VIEW v AS SELECT id, email FROM customers; UPDATE v SET email = 'x'",
            "CREATE VIEW v AS SELECT id, email FROM customers; DELETE FROM v",
            "CREATE VIEW v AS SELECT id, email FROM customers; INSERT INTO v VALUES ('1', 'x')",
            "CREATE VIEW v AS SELECT id, email FROM customers; COPY v FROM STDIN",
            "CREATE VIEW v AS SELECT id, email FROM customers; LOCK TABLE v",
            "CREATE VIEW v AS SELECT id, email FROM customers; SELECT email FROM v",
            "CREATE VIEW v AS SELECT id, email FROM customers; COPY v TO STDOUT",
            "CREATE VIEW v AS SELECT id, email FROM customers; CREATE TABLE t AS SELECT * FROM v",
            "CREATE VIEW v AS SELECT id, email FROM customers; CREATE VIEW w AS SELECT * FROM v; UPDATE w SET email = 'x'",
            "CREATE VIEW v AS SELECT id, email FROM customers; PREPARE q AS UPDATE v SET email = 'x'; EXECUTE q",
            "CREATE TEMP VIEW v AS SELECT id, email FROM customers; UPDATE v SET email = 'x'",
            "CREATE TEMP VIEW orders AS SELECT id, email AS note FROM customers; UPDATE orders SET note = 'x'",
            "CREATE RECURSIVE VIEW v (id) AS SELECT id FROM customers; SELECT * FROM v",
            "CREATE OR REPLACE VIEW holders AS SELECT id, ssn AS note FROM customers; UPDATE holders SET note = 'x'",
            "CREATE OR REPLACE VIEW holders AS SELECT id, ssn AS note FROM customers; SELECT note FROM holders",
            "CREATE OR REPLACE VIEW customer_view AS SELECT id, ssn AS label, '' AS spent FROM customers; \
           SELECT label FROM contacts",
            "CREATE VIEW v AS SELECT id FROM customers; CREATE TABLE IF NOT EXISTS v (id int); DELETE FROM v",
            "CREATE VIEW app.v AS SELECT id FROM customers; CREATE TABLE v (id int); DELETE FROM app.v",
            "CREATE VIEW app.v AS SELECT id FROM customers; DROP TABLE IF EXISTS v; CREATE TABLE v (id int); DELETE FROM app.v",
            "ALTER TABLE orders RENAME TO o; CREATE VIEW orders AS SELECT * FROM customers; UPDATE orders SET id = '1'",
            "CREATE FOREIGN TABLE f (id int) SERVER loop OPTIONS (table_name 'customers'); DELETE FROM f",
        ],
        PUBLIC,
    );
    let before = ["CREATE VIEW app.orders AS SELECT * FROM public.customers; DELETE FROM orders"];
    none_is_understood(&before, &["app", "public"]);
}

#[test]
fn another_name_is_not_another_relation() {
    none_is_understood(
        &[
            "ALTER TABLE customers RENAME TO c2; UPDATE c2 SET email = 'x'",
            "ALTER TABLE customers RENAME TO c2; SELECT email FROM c2",
            "ALTER TABLE customers RENAME TO c2; DROP TABLE c2",
            "ALTER TABLE customers RENAME TO c2; DROP TABLE IF EXISTS c2",
            "ALTER TABLE customers RENAME TO c2; TRUNCATE c2",
            "ALTER TABLE customers RENAME TO c2; GRANT SELECT ON c2 TO x",
            "ALTER TABLE customers RENAME TO c2; CREATE TABLE IF NOT EXISTS c2 (id int); DELETE FROM c2",
            "ALTER TABLE orders RENAME TO o2; ALTER TABLE customers RENAME TO orders; DELETE FROM orders",
            "ALTER VIEW contacts RENAME TO c2; UPDATE c2 SET label = 'x'",
            "ALTER SCHEMA app RENAME TO old; ALTER SCHEMA public RENAME TO app; DELETE FROM app.customers",
            "ALTER SCHEMA app RENAME TO old; DELETE FROM customers",
            "ALTER TABLE app.customers SET SCHEMA archive; ALTER TABLE IF EXISTS customers ADD x int",
        ],
        PUBLIC,
    );
    none_is_understood(
        &[
            "DROP TABLE app.customers; DROP TABLE IF EXISTS customers",
            "DROP TABLE app.customers; ALTER TABLE IF EXISTS customers ADD COLUMN x int; UPDATE customers SET id = '1'",
            "DROP TABLE IF EXISTS customers; DROP TABLE IF EXISTS customers",
            "DROP TABLE app.customers; CREATE TABLE archive.customers (id int); DELETE FROM customers",
        ],
        &["app", "public"],
    );
}

#[test]
fn what_a_write_sets_off_may_have_been_defined_in_the_same_text() {
    none_is_understood(
        &[
            "CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM customers; INSERT INTO orders VALUES (1)",
            "CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM customers; \
           CREATE TABLE IF NOT EXISTS orders (id int); INSERT INTO orders VALUES (1)",
            "CREATE TABLE t (id int); CREATE RULE r AS ON INSERT TO t DO ALSO DELETE FROM customers; INSERT INTO t VALUES (1)",
            "CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION purge(); UPDATE orders SET note = 'x'",
            "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION purge(); COPY orders FROM STDIN",
            "CREATE TRIGGER t AFTER TRUNCATE ON orders EXECUTE FUNCTION purge(); TRUNCATE orders",
            "CREATE TRIGGER t INSTEAD OF UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION purge(); UPDATE contacts SET label = 'x'",
            "CREATE TRIGGER t BEFORE DELETE ON customers_eu FOR EACH ROW EXECUTE FUNCTION purge(); DELETE FROM customers",
            "CREATE TABLE t (id int); CREATE TRIGGER t BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION purge(); \
           DELETE FROM t",
            "CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION purge(); \
           MERGE INTO orders o USING payments p ON p.order_id = o.id WHEN MATCHED THEN UPDATE SET note = 'x'",
            "ALTER TABLE orders ENABLE TRIGGER ALL; UPDATE orders SET note = 'x'",
            "ALTER TABLE orders ENABLE ALWAYS RULE r; UPDATE orders SET note = 'x'",
            "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE CASCADE; \
           DELETE FROM customers WHERE id = '1'",
            "ALTER TABLE orders ADD COLUMN c int REFERENCES customers (id) ON UPDATE SET NULL; UPDATE customers SET id = '1'",
            "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id); TRUNCATE customers CASCADE",
        ],
        PUBLIC,
    );
    assert!(
        analysis("CREATE DOMAIN d AS text CHECK (purge() = value); SELECT 'x'::d")
            .effects()
            .contains(Effect::FunctionCall)
    );
    assert!(
        analysis("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT f()")
            .effects()
            .contains(Effect::FunctionCall)
    );
}

#[test]
fn a_new_child_counts_as_its_parent() {
    none_is_understood(
        &[
            "CREATE TABLE c () INHERITS (customers); INSERT INTO c VALUES (1)",
            "CREATE TABLE c () INHERITS (customers); CREATE TABLE d () INHERITS (c); TRUNCATE d",
            "CREATE TABLE p PARTITION OF entries FOR VALUES IN (1); TRUNCATE p",
            "CREATE TABLE p PARTITION OF entries FOR VALUES IN (1); INSERT INTO p VALUES (1)",
            "ALTER TABLE payments INHERIT customers; TRUNCATE customers",
            "ALTER TABLE payments INHERIT customers; SELECT * FROM customers",
            "ALTER TABLE payments INHERIT customers; DELETE FROM payments",
            "ALTER TABLE payments INHERIT customers; DROP TABLE customers CASCADE",
            "ALTER TABLE entries ATTACH PARTITION payments FOR VALUES IN (1); DELETE FROM entries",
        ],
        PUBLIC,
    );
}

#[test]
fn migrations_stay_understood() {
    check(
        "CREATE TABLE t (a int); CREATE INDEX ON t (a); INSERT INTO t VALUES (1); ALTER TABLE t ADD COLUMN b int; \
           UPDATE t SET b = 1; SELECT * FROM t; DELETE FROM t; TRUNCATE t; DROP TABLE t",
        "create insert alter update select delete truncate drop",
    );
    check("ALTER TABLE orders ADD COLUMN b int; UPDATE orders SET b = 1 WHERE id = '1'", "alter update");
    check(
        "CREATE VIEW v AS SELECT id FROM customers; GRANT SELECT ON v TO x; COMMENT ON VIEW v IS 'x'",
        "create grant comment",
    );
    check(
        "DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT id FROM orders; CREATE VIEW w AS SELECT * FROM v",
        "drop create",
    );
    check(
        "CREATE VIEW v AS SELECT id FROM orders; ALTER VIEW v OWNER TO x; UPDATE orders SET note = 'x' WHERE id = '1'",
        "create alter update",
    );
    check("CREATE MATERIALIZED VIEW m AS SELECT id FROM orders; CREATE UNIQUE INDEX ON m (id)", "create select");
    check(
        "CREATE TABLE t (id int); CREATE TABLE p PARTITION OF t DEFAULT; INSERT INTO t VALUES (1); INSERT INTO p VALUES (1)",
        "create insert",
    );
    check("CREATE TABLE p PARTITION OF entries FOR VALUES IN (1); GRANT SELECT ON p TO x", "create grant");
    check(
        "DROP TRIGGER IF EXISTS a ON orders; CREATE TRIGGER a BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION purge(); \
           DROP TRIGGER IF EXISTS b ON orders; CREATE TRIGGER b BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION purge()",
        "drop create",
    );
    check(
        "CREATE TRIGGER a BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION purge(); INSERT INTO orders VALUES (1); \
           SELECT id FROM orders",
        "create insert select",
    );
    check(
        "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers (id); UPDATE customers SET name = 'x' WHERE id = '1'",
        "alter update",
    );
    check(
        "DROP TABLE IF EXISTS tmp; CREATE TEMP TABLE tmp AS SELECT 1 AS a; INSERT INTO tmp VALUES (2); DROP TABLE tmp",
        "drop create select insert",
    );
    check("DROP TABLE orders; CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)", "drop create insert");
    check(
        "CREATE TABLE n (id int); DROP TABLE payments; ALTER TABLE n RENAME TO m; CREATE INDEX ON m (id); INSERT INTO m VALUES (1)",
        "create drop alter insert",
    );
    check("DROP TABLE IF EXISTS nosuch; DROP TABLE IF EXISTS nosuch", "drop");
    check("CREATE SCHEMA s; CREATE TABLE s.t (id int); INSERT INTO s.t VALUES (1)", "create insert");
}
