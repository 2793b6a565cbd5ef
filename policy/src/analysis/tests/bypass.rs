//! Effects hidden in every place they can hide in. Append only.

use super::fixture::{analysis, analysis_along};
use crate::analysis::{NotUnderstood, SessionChange};
use crate::effect::{Effect, Effects};

/// The text carries exactly these effects, given by name, and is understood unless `unknown` is among them.
#[track_caller]
fn check(text: &str, effects: &str) {
    let expected: Effects = effects.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect();
    let found = analysis(text);
    assert_eq!(found.effects(), expected, "{text}\n{:?}", found.not_understood());
    assert_eq!(found.not_understood().is_some(), expected.contains(Effect::Unknown), "{text}");
}

/// The text uses the relation with exactly these effects.
#[track_caller]
fn uses(text: &str, relation: &str, effects: &str) {
    let expected: Effects = effects.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect();
    let found = analysis(text);
    let relations: Vec<_> = found.statements.iter().flat_map(|statement| &statement.relations).collect();
    let known = relations.iter().find(|known| known.name.to_string() == relation);
    assert_eq!(known.map(|known| known.effects), Some(expected), "{text}\n{relations:?}");
}

#[track_caller]
fn no_where(text: &str, expected: bool) {
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    assert_eq!(found.statements.iter().any(|statement| statement.no_where), expected, "{text}");
}

#[track_caller]
fn not_understood(text: &str) -> NotUnderstood {
    let found = analysis(text);
    assert!(found.effects().contains(Effect::Unknown), "{text}");
    found.not_understood().unwrap_or_else(|| panic!("{text} is understood")).clone()
}

#[test]
fn effects_inside_other_statements_are_found() {
    check("WITH d AS (DELETE FROM customers WHERE id = 1 RETURNING id) SELECT * FROM d", "select delete");
    check(
        "WITH a AS (WITH b AS (INSERT INTO orders(id) VALUES (1) RETURNING id) SELECT * FROM b) TABLE a",
        "select insert",
    );
    check("EXPLAIN ANALYZE DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN ANALYSE DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN (ANALYZE) DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN (VERBOSE, ANALYSE true) DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN (ANALYZE 1, COSTS off) DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN (ANALYZE off, ANALYZE) DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN (\"analyze\" on) DELETE FROM customers WHERE id = 1", "explain delete");
    check("EXPLAIN (ANALYZE false) DELETE FROM customers WHERE id = 1", "explain");
    check("EXPLAIN (ANALYZE 0) DELETE FROM customers WHERE id = 1", "explain");
    check("EXPLAIN (ANALYZE 'off') DELETE FROM customers WHERE id = 1", "explain");
    check("EXPLAIN DELETE FROM customers", "explain");
    check("COPY (DELETE FROM customers WHERE id = 1 RETURNING *) TO STDOUT", "copy_out delete select");
    check(
        "MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN MATCHED THEN DELETE",
        "merge delete select",
    );
    check(
        "MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN MATCHED THEN UPDATE SET note = 'x' \
         WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id)",
        "merge update insert select",
    );
    check("INSERT INTO orders(id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = 'x'", "insert update");
    check("INSERT INTO orders(id) VALUES (1) ON CONFLICT DO NOTHING", "insert");
    check("SELECT 1; DROP TABLE customers", "select drop");
    check("SELECT 1 END; DELETE FROM customers", "select delete");
    check("SELECT 1 AS a INTO newtable", "select create");
    check("SELECT * INTO newtable FROM customers UNION SELECT * FROM customers", "select create");
    check("CREATE TABLE t AS SELECT * FROM customers", "select create");
    check("CREATE TABLE t AS WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d", "select create delete");
    check("PREPARE p AS DELETE FROM customers; EXECUTE p", "prepare execute delete");
    check("PREPARE p AS DELETE FROM customers", "prepare");
    check("DECLARE c CURSOR FOR SELECT * FROM customers FOR UPDATE; FETCH c", "cursor select lock");
    check("DO $$ BEGIN DELETE FROM customers; END $$", "do unknown");
    check("SELECT E'\\'; DROP TABLE x; --'", "select");
    check("SELECT 'a\\'; DROP TABLE customers; --'", "select drop");
}

#[test]
fn functions_that_may_write_are_function_calls() {
    check("SELECT purge()", "select function_call");
    check("SELECT public.purge()", "select function_call");
    check("SELECT 1 FROM customers ORDER BY purge()", "select function_call");
    check("SELECT 1 FROM customers LIMIT length(purge())::int", "select function_call");
    check("SELECT count(*) FILTER (WHERE purge() = '1') FROM customers", "select function_call");
    check("SELECT lag(id) OVER (PARTITION BY purge()) FROM customers", "select function_call");
    check("SELECT * FROM customers TABLESAMPLE system (length(purge())::int)", "select function_call");
    check("SELECT c.purge FROM customers c", "select function_call");
    check("SELECT (c).purge FROM customers c", "select function_call");
    check("SELECT ('/etc/passwd'::text).pg_read_file", "select function_call");
    check("VALUES (purge())", "select function_call");
    check("INSERT INTO orders(note) VALUES (purge())", "insert function_call");
    check("INSERT INTO orders(note) VALUES ('x') RETURNING purge()", "insert function_call");
    check("UPDATE orders SET note = purge() WHERE id = 1", "update function_call");
    check("DELETE FROM orders USING purge() p WHERE id = 1", "delete function_call");
    check("SELECT CASE WHEN false THEN purge() END", "select function_call");
    check("SELECT ARRAY[purge()]", "select function_call");
    check("SELECT (ARRAY[1])[length(purge())]", "select function_call");
    check("SELECT xmlelement(name a, purge())", "select function_call");
    check("SELECT json_object('a': purge())", "select function_call");
    check("SELECT * FROM customers c JOIN LATERAL (SELECT purge()) x ON true", "select function_call");
    check("SELECT * FROM ROWS FROM (purge(), lower('x')) AS t", "select function_call");
    check("SELECT pg_terminate_backend(1)", "select function_call");
    check("SELECT * FROM pg_ls_dir('.')", "select function_call");
    check("SELECT lo_export(1, '/tmp/x')", "select function_call");
    check("SELECT table_to_xml('customers'::text, true, false, '')", "select function_call");
    check("SELECT * FROM dblink('dbname=x', 'DELETE FROM t') AS t(a int)", "select function_call");
    check("SELECT setval('s', 1)", "select function_call");
    check("SELECT pg_advisory_lock(1)", "select lock function_call");
    check("SELECT pg_advisory_unlock_all()", "select lock");
    check("SELECT pg_notify('a', 'b')", "select notify");
    check("SELECT x FROM kills", "select function_call");
    check("CALL purge()", "call");
    check("CALL purge(purge())", "call function_call");
    check("SELECT nosuch(1)", "select unknown");
    check("ALTER FUNCTION purge() RENAME TO upper; SELECT upper('a')", "alter select function_call");
    check("ALTER FUNCTION app.lower(text) SET SCHEMA public; SELECT lower('a')", "alter select function_call");
    check(
        "CREATE FUNCTION lower(customers) RETURNS text LANGUAGE sql AS 'x'; SELECT lower('a')",
        "create select function_call",
    );
}

#[test]
fn settings_that_change_later_sql_are_dangerous() {
    check("SET standard_conforming_strings = off", "set_dangerous");
    check("SET standard_conforming_strings = on", "set");
    check("SET LOCAL \"STANDARD_conforming_strings\" TO 0", "set_dangerous");
    check("RESET standard_conforming_strings", "reset set_dangerous");
    check("SET NAMES 'SJIS'", "set_dangerous");
    check("SET client_encoding TO 'UTF8'", "set");
    check("SET session_replication_role = replica", "set_dangerous");
    check("SET log_statement = none", "set_dangerous");
    check("SET restrict_nonsystem_relation_kind = ''", "set_dangerous");
    check("SET restrict_nonsystem_relation_kind = 'view'", "set_dangerous");
    check("SET ROLE admin", "set_role");
    check("SET SESSION AUTHORIZATION postgres", "set_role");
    check("RESET ROLE", "reset set_role");
    check("SET role TO postgres", "set_role");
    check("SELECT set_config('role', 'postgres', false)", "select set_role");
    check("SELECT set_config('standard_conforming_strings', 'off', false)", "select set_dangerous");
    check("SELECT set_config('standard_conforming' || '_strings', 'off', false)", "select set_dangerous function_call");
    check("SELECT set_config('TimeZone', 'UTC', false)", "select set");
    check("SELECT set_config('application_name', ssn, false) FROM customers", "select set set_dangerous function_call");
    check("ALTER SYSTEM SET log_statement = 'none'", "alter set_dangerous");
    check("ALTER ROLE app SET standard_conforming_strings = off", "alter set_dangerous");
    check("LOAD 'x'", "set_dangerous function_call");
}

#[test]
fn copy_says_where_it_goes() {
    check("COPY customers TO STDOUT", "copy_out select");
    check("COPY customers TO '/tmp/x'", "copy_out copy_file select");
    check("COPY customers TO PROGRAM 'cat'", "copy_out copy_program select");
    check("COPY customers FROM STDIN", "copy_in");
    check("COPY customers FROM '/tmp/x'", "copy_in copy_file");
    check("COPY customers FROM PROGRAM 'cat'", "copy_in copy_program");
    check("COPY customers FROM STDIN WHERE purge() = '1'", "copy_in function_call");
}

/// A setting is named by a row of pg_settings only where it can be no other row.
#[test]
fn a_row_names_a_setting_only_when_it_is_the_only_one() {
    for text in [
        "SELECT set_config(name, 'x', false) FROM pg_settings",
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name <> 'a.b'",
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'a.b' OR true",
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = lower('a.b')",
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE setting = 'a.b'",
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE pg_settings.name = 'a.b' COLLATE loose",
        "SELECT set_config(setting, 'x', false) FROM pg_settings WHERE name = 'a.b'",
        "SELECT set_config(name || '', 'x', false) FROM pg_settings WHERE name = 'a.b'",
        "SELECT set_config(name, 'x', false) FROM pg_settings s (setting, name) WHERE name = 'a.b'",
        "SELECT set_config(name, 'x', false) FROM pg_settings JOIN orders USING (name) WHERE name = 'a.b'",
        "WITH pg_settings AS (SELECT 'role' AS name) SELECT set_config(name, 'x', false) FROM pg_settings \
           WHERE name = 'a.b'",
        "SELECT 1 FROM pg_settings WHERE name = 'a.b' AND set_config(name, 'x', false) = ''",
        "SELECT (SELECT set_config(name, 'x', false) FROM pg_settings) FROM pg_settings WHERE name = 'a.b'",
        "SELECT (SELECT set_config(o.name, 'x', false) FROM pg_settings WHERE name = 'a.b') FROM pg_settings o",
        "SELECT (SELECT 1 FROM pg_settings WHERE set_config(name, 'x', false) = '') FROM pg_settings WHERE name = 'a.b'",
    ] {
        let effects = analysis(text).effects();
        assert!(effects.contains(Effect::SetDangerous), "{text}: {effects:?}");
    }
    check("SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'role'", "select set_role");
    check("SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'array_nulls'", "select set_dangerous");
    check(
        "SELECT set_config(name, (SELECT ssn FROM customers), false) FROM pg_settings WHERE name = 'TimeZone'",
        "select set set_dangerous function_call",
    );
}

#[test]
fn relations_are_found_wherever_they_are() {
    uses("SELECT * FROM customers", "public.customers", "select");
    uses("WITH customers AS (SELECT * FROM customers LIMIT 1) SELECT * FROM customers", "public.customers", "select");
    uses("WITH customers AS (SELECT 1) DELETE FROM customers", "public.customers", "delete");
    uses("SELECT (SELECT max(total) FROM orders) FROM customers", "public.orders", "select");
    uses("DELETE FROM ONLY customers", "public.customers", "delete");
    uses(
        "UPDATE customers SET name = 'x' FROM orders WHERE orders.customer_id = customers.id",
        "public.orders",
        "select",
    );
    uses("DELETE FROM customers WHERE id = 1 RETURNING email", "public.customers", "delete select");
    uses("SELECT * FROM customer_view", "public.orders", "select");
    uses("SELECT * FROM contacts", "public.customers", "select");
    uses("UPDATE contacts SET label = 'x'", "public.customers", "update");
    uses("CREATE TABLE IF NOT EXISTS contacts (a int); DELETE FROM contacts", "public.customers", "delete");
    uses("DELETE FROM customers_eu", "public.customers", "delete");
    uses("SELECT * FROM customers FOR UPDATE", "public.customers", "select lock");
    uses("LOCK TABLE customers", "public.customers", "lock");
    uses("LOCK TABLE customers IN ROW SHARE MODE", "public.customers", "lock");
    uses("DROP TABLE public.customers CASCADE", "public.customers", "drop");
    uses("DROP SCHEMA public CASCADE", "public.customers", "drop");
    uses("ALTER TABLE customers ADD COLUMN x int", "public.customers", "alter");
    uses("CREATE INDEX ON customers (lower(email))", "public.customers", "create");
    uses("CREATE TABLE t (LIKE customers)", "public.t", "create");
    uses("CREATE TABLE t (LIKE customers)", "public.customers", "select");
    uses("GRANT SELECT ON ALL TABLES IN SCHEMA public TO x", "public.customers", "grant");
    uses("TRUNCATE orders, customers", "public.customers", "truncate");
    uses("EXPLAIN DELETE FROM customers", "public.customers", "select");
    uses("VACUUM customers", "public.customers", "maintenance");
    uses("COMMENT ON COLUMN customers.ssn IS 'x'", "public.customers", "comment");
    uses("COPY customers TO STDOUT", "public.customers", "select copy_out");
    let found = analysis_along("SELECT * FROM customers", &["app", "public"]);
    assert_eq!(found.statements[0].relations[0].name.to_string(), "app.customers");
}

#[test]
fn a_where_that_restricts_nothing_is_none() {
    no_where("DELETE FROM customers", true);
    no_where("UPDATE customers SET name = 'x'", true);
    no_where("DELETE FROM customers WHERE true", true);
    no_where("DELETE FROM customers WHERE 1=1", true);
    no_where("DELETE FROM customers WHERE 1 < 2", true);
    no_where("DELETE FROM customers WHERE NOT false", true);
    no_where("DELETE FROM customers WHERE id = 1 OR true", true);
    no_where("DELETE FROM customers WHERE id = 1 OR 'a' = 'a'", true);
    no_where("DELETE FROM customers WHERE id = id", true);
    no_where("DELETE FROM customers WHERE $1", true);
    no_where("DELETE FROM customers WHERE now() = now() AND 't'::bool", true);
    no_where("DELETE FROM customers WHERE (SELECT true)", true);
    no_where("DELETE FROM customers WHERE name LIKE '%'", true);
    no_where("DELETE FROM customers WHERE random() < 2", true);
    no_where("WITH d AS (DELETE FROM customers RETURNING 1) SELECT 1", true);
    no_where("DELETE FROM customers WHERE id = 1", false);
    no_where("DELETE FROM customers WHERE id = $1 AND true", false);
    no_where("DELETE FROM customers WHERE id IN (SELECT customer_id FROM orders)", false);
    no_where("DELETE FROM customers WHERE false", false);
    no_where("UPDATE customers SET name = 'x' WHERE CURRENT OF c", false);
    no_where("EXPLAIN DELETE FROM customers", false);
}

#[test]
fn code_behind_operators_and_casts_is_called() {
    check("SELECT 1 <~> 2", "select function_call");
    check("SELECT 1 OPERATOR(public.<~>) 2", "select function_call");
    check("SELECT id FROM customers WHERE id <~> 2", "select function_call");
    check("SELECT 1 <+> 2", "select");
    check("SELECT 1 <-> 2", "select");
    check("SELECT 1 OPERATOR(pg_catalog.<~>) 2", "select");
    check("SELECT ROW(1)::parcel::int", "select function_call");
    check("SELECT CAST(CAST(ROW(1) AS public.parcel) AS int)", "select function_call");
    check("SELECT '1'::int::text", "select");
}

#[test]
fn what_may_be_absent_is_still_named() {
    check("DROP TABLE IF EXISTS nosuch", "drop");
    uses("DROP TABLE IF EXISTS nosuch", "public.nosuch", "drop");
    uses("DROP TABLE IF EXISTS app.nosuch, orders", "public.orders", "drop");
    uses("ALTER TABLE IF EXISTS nosuch ADD COLUMN a int", "public.nosuch", "alter");
    not_understood("DROP TABLE nosuch");
    not_understood("ALTER TABLE nosuch ADD COLUMN a int");
    // A relation of that name in another schema may be meant.
    assert!(matches!(not_understood("DROP TABLE app.customers; SELECT * FROM customers"), NotUnderstood::Other(_)));
    let ruled = "CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM customers; INSERT INTO orders VALUES (1)";
    assert!(matches!(not_understood(ruled), NotUnderstood::Other(_)));
}

#[test]
fn what_does_not_resolve_is_not_understood() {
    assert!(matches!(not_understood("SELECT * FROM nosuch"), NotUnderstood::Relation(_)));
    assert!(matches!(not_understood("DELETE FROM public.nosuch"), NotUnderstood::Relation(_)));
    assert!(matches!(not_understood("SELECT other.customers FROM other.customers"), NotUnderstood::Relation(_)));
    assert!(matches!(not_understood("SELECT nosuch(1)"), NotUnderstood::Function(_)));
    assert!(matches!(not_understood("EXECUTE nosuch"), NotUnderstood::Name(_)));
    assert!(matches!(not_understood("FETCH nosuch"), NotUnderstood::Name(_)));
    assert!(matches!(not_understood("DEALLOCATE p; EXECUTE p"), NotUnderstood::Name(_)));
    assert_eq!(not_understood("SELEC 1"), NotUnderstood::Syntax);
    // The table is made before the index and the view, whatever their order: it must not be called missing.
    let elements =
        "CREATE SCHEMA s CREATE INDEX ON fresh (a) CREATE VIEW v AS SELECT a FROM fresh CREATE TABLE fresh (a int)";
    assert!(matches!(not_understood(elements), NotUnderstood::Other(_)));
    not_understood("SELECT * FROM broken");
    not_understood("INSERT INTO ruled VALUES (1)");
    // PostgreSQL looks the names of a prepared statement up again.
    not_understood("PREPARE q AS SELECT * FROM orders; SET search_path = app; EXECUTE q");
    not_understood("PREPARE q AS SELECT * FROM orders; CREATE TEMP TABLE orders (id int); EXECUTE q");
    not_understood("SET search_path = app; SELECT * FROM customers");
    not_understood("SELECT set_config('search_path', 'app', false); SELECT * FROM customers");
    not_understood("ROLLBACK; SELECT * FROM customers");
    not_understood("ALTER TABLE customers RENAME TO c2; SELECT * FROM customers");
    not_understood("DROP TABLE orders; SELECT * FROM orders");
    not_understood("DROP OWNED BY app");
    not_understood("SELECT * FROM pg_temp.customers");
    not_understood("CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM customers; INSERT INTO orders VALUES (1)");
}

#[test]
fn session_changes_are_reported() {
    let changes = |text: &str| analysis(text).statements.remove(0).session_changes;
    assert_eq!(changes("SET search_path = app"), [SessionChange::SearchPath]);
    for text in
        ["SET DateStyle = 'ISO, DMY'", "SET LOCAL TIME ZONE 'UTC'", "RESET \"IntervalStyle\"", "SET lc_monetary = 'C'"]
    {
        assert_eq!(changes(text), [SessionChange::Values], "{text}");
    }
    assert!(changes("SELECT set_config('DateStyle', 'German', false)").contains(&SessionChange::Values));
    assert!(analysis("SET TIME ZONE 'UTC'; SELECT * FROM customers").not_understood().is_none());
    assert_eq!(changes("SET ROLE x"), [SessionChange::SearchPath, SessionChange::Role]);
    assert_eq!(changes("BEGIN"), [SessionChange::TransactionBegun]);
    assert_eq!(changes("SAVEPOINT s"), [SessionChange::TransactionBegun]);
    assert!(changes("COMMIT").contains(&SessionChange::Transaction));
    assert!(changes("ROLLBACK TO s").contains(&SessionChange::Transaction));
    assert_eq!(changes("DEALLOCATE ALL"), [SessionChange::DeallocateAll]);
    assert_eq!(changes("CLOSE c"), [SessionChange::CloseCursor("c".to_owned())]);
    assert!(changes("DISCARD ALL").contains(&SessionChange::DiscardAll));
    assert!(changes("CREATE TEMP TABLE t (a int)").contains(&SessionChange::SearchPath));
    assert!(changes("DROP TABLE customers").contains(&SessionChange::Catalog));
    assert!(changes("SELECT purge()").contains(&SessionChange::SearchPath));
    assert!(matches!(changes("PREPARE p AS SELECT 1").as_slice(), [SessionChange::Prepare(name, _)] if name == "p"));
    assert!(matches!(
        changes("DECLARE c CURSOR FOR SELECT 1").as_slice(),
        [SessionChange::DeclareCursor(name, _)] if name == "c"
    ));
    assert_eq!(changes("SELECT * FROM customers"), []);
    assert_eq!(changes("UPDATE pg_class SET relname = 'x'"), [SessionChange::Catalog]);
    assert!(changes("SELECT relname FROM pg_class").is_empty());
}

#[test]
fn what_would_change_how_texts_are_read_is_reported() {
    let changes = |text: &str| {
        let reading = |change: &SessionChange| matches!(change, SessionChange::Reading(_));
        analysis(text).statements.iter().any(|statement| statement.session_changes.iter().any(reading))
    };
    for text in [
        "SET standard_conforming_strings = off",
        "SET LOCAL Standard_Conforming_Strings TO 'off'",
        "SET SESSION client_encoding = 'SJIS'",
        "SET NAMES 'GBK'",
        "SET U&\"client\\005fencoding\" = 'BIG5'",
        "SET backslash_quote = on",
        "SELECT set_config('standard_conforming_strings', 'off', false)",
        "SELECT pg_catalog.set_config('client_encoding', $1, true)",
        "SELECT 1; SET client_encoding = latin1",
        "WITH a AS (SELECT set_config('client_encoding', 'sjis', false)) SELECT * FROM a",
        "EXPLAIN ANALYZE SELECT set_config('client_encoding', 'sjis', false)",
    ] {
        assert!(changes(text), "{text}");
    }
    for text in [
        "SET standard_conforming_strings = on",
        "SET client_encoding = 'UTF8'",
        "SET NAMES 'utf-8'",
        "SET client_encoding TO DEFAULT",
        "RESET client_encoding",
        "RESET ALL",
        "SHOW client_encoding",
        "SELECT set_config('client_encoding', 'UTF8', false)",
        "SET statement_timeout = 0",
        "SELECT 'standard_conforming_strings = off'",
    ] {
        assert!(!changes(text), "{text}");
    }
    // What another session, or a function for its own duration, would read otherwise is no change here.
    for text in ["ALTER ROLE app SET client_encoding = 'SJIS'", "ALTER SYSTEM SET backslash_quote = on"] {
        assert!(!changes(text) && analysis(text).effects().contains(Effect::SetDangerous), "{text}");
    }
    let function = "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET standard_conforming_strings = off AS 'SELECT 1'";
    assert!(!changes(function) && analysis(function).effects().contains(Effect::SetDangerous));
}

#[test]
fn a_merge_that_its_conditions_do_not_restrict_has_no_where() {
    no_where("MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN DELETE", true);
    no_where("MERGE INTO orders o USING customers c ON 1 = 1 WHEN MATCHED THEN UPDATE SET note = 'x'", true);
    no_where("MERGE INTO orders o USING (SELECT 1 AS x) s ON s.x = 1 WHEN MATCHED THEN DELETE", true);
    no_where("MERGE INTO orders o USING (VALUES (1)) s (x) ON x > 0 WHEN MATCHED THEN DELETE", true);
    no_where("MERGE INTO orders o USING customers c ON o.id = o.id WHEN MATCHED THEN DELETE", true);
    no_where("MERGE INTO orders o USING customers c ON true WHEN MATCHED AND c.name = 'x' THEN DELETE", true);
    no_where("MERGE INTO orders o USING customers c ON false WHEN NOT MATCHED BY SOURCE THEN DELETE", true);
    no_where("MERGE INTO orders USING customers c ON c.id = 1 WHEN NOT MATCHED BY SOURCE THEN DELETE", true);
    no_where(
        "WITH m AS (MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN DELETE RETURNING o.id) SELECT 1 FROM m",
        true,
    );
    no_where("MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN MATCHED THEN DELETE", false);
    no_where("MERGE INTO orders o USING customers c ON true WHEN MATCHED AND o.id = 7 THEN DELETE", false);
    no_where("MERGE INTO orders o USING customers c ON true WHEN MATCHED THEN DO NOTHING", false);
    no_where("MERGE INTO orders o USING customers c ON false WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id)", false);
    no_where("MERGE INTO orders o USING customers c ON false WHEN MATCHED THEN DELETE", false);
    no_where(
        "MERGE INTO orders o USING customers c ON o.customer_id = c.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
        false,
    );
    no_where("MERGE INTO orders USING customers ON customer_id = customers.id WHEN MATCHED THEN DELETE", false);
}

#[test]
fn a_condition_on_another_relation_does_not_restrict_the_target() {
    no_where("UPDATE orders SET note = 'x' FROM customers c WHERE c.id = 1", true);
    no_where("UPDATE orders o SET note = 'x' FROM customers c WHERE c.name = 'x' AND c.id > 0", true);
    no_where("DELETE FROM orders USING customers c WHERE c.email LIKE 'a%'", true);
    no_where("DELETE FROM orders o USING orders p WHERE p.id = 5", true);
    no_where("DELETE FROM orders USING customers WHERE email IS NOT NULL", true);
    no_where("UPDATE orders o SET note = 'x' FROM customers c WHERE c.id = o.customer_id AND c.name = 'x'", false);
    no_where("DELETE FROM orders USING customers c WHERE customer_id = c.id", false);
    no_where("DELETE FROM orders USING customers c WHERE orders.id = 1 AND c.id = 1", false);
    no_where("DELETE FROM public.orders USING customers c WHERE public.orders.id = 1", false);
    no_where("UPDATE orders SET note = 'x' FROM customers c WHERE (orders.*) IS NOT NULL AND c.id = 1", false);
    no_where("DELETE FROM orders WHERE EXISTS (SELECT FROM customers c WHERE c.id = customer_id)", false);
}

#[test]
fn transactions_of_two_phases_do_more_than_begin_and_end() {
    check("PREPARE TRANSACTION 'a'", "transaction lock");
    check("COMMIT PREPARED 'a'", "transaction maintenance");
    check("ROLLBACK PREPARED 'a'", "transaction maintenance");
    check("COMMIT; ROLLBACK AND CHAIN; END", "transaction");
}
