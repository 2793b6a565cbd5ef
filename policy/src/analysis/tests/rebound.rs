//! What an earlier statement of the same text made runs without being named.

use super::fixture::{HARMLESS, analysis, analysis_along, catalog_of};
use crate::analysis::{AnalysisContext, NothingPrepared, SessionChange, analyze};
use crate::catalog::EventTrigger;
use crate::effect::{Effect, Effects};

/// None of the texts is understood.
#[track_caller]
fn not_understood(texts: &[&str]) {
    let is_understood = |text: &&&str| analysis(text).not_understood().is_none();
    let understood: Vec<_> = texts.iter().filter(is_understood).collect();
    assert!(understood.is_empty(), "{understood:#?}");
}

/// The text is understood and does exactly this.
#[track_caller]
fn check(text: &str, effects: &str) {
    let expected: Effects = effects.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect();
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    assert_eq!(found.effects(), expected, "{text}");
}

const NEXT: &str = "CREATE OR REPLACE FUNCTION next_number() RETURNS text LANGUAGE sql AS 'DELETE FROM customers'";

#[test]
fn a_function_is_replaced_behind_what_calls_it() {
    for used in [
        "SELECT * FROM numbered",
        "SELECT a FROM badge() a",
        "SELECT badge()",
        "SELECT 1 <+> 2",
        "INSERT INTO entries VALUES (1, 2, 3)",
        "COPY entries FROM STDIN",
        "COPY (SELECT * FROM numbered) TO STDOUT",
        "EXPLAIN ANALYZE INSERT INTO entries VALUES (1, 2, 3)",
        "WITH x AS (SELECT * FROM numbered) SELECT * FROM x",
        "CREATE TABLE t AS SELECT * FROM numbered",
        "EXECUTE p",
    ] {
        for change in [NEXT, "ALTER FUNCTION next_number() RENAME TO n", "ALTER FUNCTION next_number() VOLATILE"] {
            let text = format!("PREPARE p AS SELECT * FROM numbered; {change}; {used}");
            let found = analysis(&text);
            let says = found.not_understood().is_some() || found.effects().contains(Effect::FunctionCall);
            assert!(says, "{text}");
        }
    }
    // What a body calls is looked up when it runs.
    check_call("CREATE FUNCTION lower(int) RETURNS text LANGUAGE sql AS 'DELETE FROM customers'; SELECT badge()");
    check_call(
        "CREATE FUNCTION public.count(text) RETURNS text LANGUAGE sql AS 'DELETE FROM customers'; SELECT order_count()",
    );
}

/// The text is not understood, or carries that it calls a function.
#[track_caller]
fn check_call(text: &str) {
    let found = analysis(text);
    assert!(found.not_understood().is_some() || found.effects().contains(Effect::FunctionCall), "{text}");
}

#[test]
fn operators_and_casts_call_what_was_made_for_them() {
    for text in [
        "CREATE OPERATOR === (FUNCTION = purge, LEFTARG = int, RIGHTARG = int); SELECT 1 === 2",
        "CREATE OPERATOR public.=== (PROCEDURE = purge, RIGHTARG = int); SELECT OPERATOR(public.===) 2",
        "CREATE OPERATOR === (FUNCTION = purge, LEFTARG = int, RIGHTARG = int); SELECT 1 === ANY (SELECT 2)",
        "CREATE OPERATOR === (FUNCTION = purge, LEFTARG = int, RIGHTARG = int); SELECT id FROM orders ORDER BY id USING ===",
        "CREATE OPERATOR = (FUNCTION = purge, LEFTARG = int, RIGHTARG = text); SELECT 1 IN ('a')",
        "CREATE OPERATOR = (FUNCTION = purge, LEFTARG = int, RIGHTARG = text); SELECT DISTINCT id FROM orders",
        "CREATE OPERATOR >= (FUNCTION = purge, LEFTARG = int, RIGHTARG = text); DELETE FROM orders WHERE id BETWEEN 1 AND 'x'",
        "CREATE OPERATOR CLASS c DEFAULT FOR TYPE parcel USING btree AS FUNCTION 1 purge(parcel, parcel); \
           SELECT * FROM parcels ORDER BY 1",
        "CREATE CAST (text AS parcel) WITH FUNCTION purge(text) AS IMPLICIT; INSERT INTO parcels VALUES ('x'::text)",
        "CREATE CAST (text AS parcel) WITH FUNCTION purge(text) AS ASSIGNMENT; SELECT 'x'::text::parcel",
        "CREATE CAST (text AS int) WITH FUNCTION purge(text) AS IMPLICIT; UPDATE orders SET total = note",
        "CREATE CAST (text AS parcel) WITH FUNCTION purge(text) AS ASSIGNMENT; ALTER TABLE orders ALTER note TYPE parcel",
    ] {
        check_call(text);
    }
    let changes = |text: &str| analysis(text).statements[0].session_changes.clone();
    let binds = |change: &SessionChange| matches!(change, SessionChange::Expressions(_));
    assert!(changes("CREATE CAST (text AS parcel) WITH FUNCTION purge(text)").iter().any(binds));
    assert!(changes("CREATE OPERATOR === (FUNCTION = purge, RIGHTARG = int)").iter().any(binds));
    assert!(!changes("CREATE CAST (varchar AS parcel) WITH INOUT AS IMPLICIT").iter().any(binds));
    assert!(!changes("CREATE DOMAIN d AS text CHECK (value ~ '^a')").iter().any(binds));
    assert!(changes("CREATE DOMAIN d AS text CHECK (purge() = value)").iter().any(binds));
    assert!(
        changes("CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION purge()").contains(&SessionChange::EventTrigger)
    );
}

#[test]
fn operators_that_are_not_written_as_such_are_used() {
    for text in [
        "SELECT 1 <~> ANY (SELECT 2)",
        "SELECT 1 OPERATOR(public.<~>) ALL (SELECT 2)",
        "SELECT (1, 2) <~> (SELECT 1, 2)",
        "SELECT id FROM orders ORDER BY id USING <~>",
        "SELECT array_agg(id ORDER BY id USING <~>) FROM orders",
    ] {
        assert!(analysis(text).effects().contains(Effect::FunctionCall), "{text}");
    }
}

#[test]
fn the_check_of_a_domain_runs_when_it_is_added() {
    check("ALTER DOMAIN d ADD CHECK (purge() = value)", "alter function_call");
    check("ALTER DOMAIN d ADD CONSTRAINT c CHECK (wipe(1) IS NULL) NOT VALID", "alter select delete");
    check("ALTER DOMAIN d SET DEFAULT purge()", "alter function_call");
    check("ALTER DOMAIN d ADD CHECK (value <> '')", "alter");
    check("ALTER DOMAIN d DROP CONSTRAINT c", "alter");
    not_understood(&[
        "ALTER DOMAIN d ADD CHECK (next_number() = value); INSERT INTO orders VALUES (1)",
        "CREATE DOMAIN d AS text CHECK (next_number() = value); SELECT 'x'::d",
        "CREATE DOMAIN d AS text DEFAULT next_number(); INSERT INTO orders DEFAULT VALUES",
    ]);
    // A literal is read when the statement is parsed.
    check("EXPLAIN SELECT '(1)'::parcel", "explain function_call");
    check("PREPARE p AS SELECT '(1)'::parcel", "prepare function_call");
    // Each row gets a value of the type.
    check("ALTER TABLE orders ADD COLUMN p parcel", "alter function_call");
    check("ALTER TABLE orders ALTER COLUMN note TYPE parcel", "alter function_call");
}

#[test]
fn definitions_set_off_an_event_trigger_of_the_same_text() {
    let trigger = "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION next_number()";
    for used in [
        "CREATE TABLE t (id int)",
        "DROP TABLE orders",
        "COMMENT ON TABLE orders IS 'x'",
        "GRANT SELECT ON orders TO x",
    ] {
        not_understood(&[&format!("{trigger}; {used}"), &format!("ALTER EVENT TRIGGER e ENABLE; {used}")]);
    }
    check(&format!("{trigger}; SELECT 1; ALTER EVENT TRIGGER e DISABLE"), "create select alter");
    // One that there is calls a function that the text replaces.
    let known = EventTrigger {
        name: "watch".to_owned(),
        event: "ddl_command_start".to_owned(),
        tags: Vec::new(),
        function: HARMLESS,
    };
    let catalog = catalog_of(18).with_event_triggers(vec![known]);
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    let effects = |text: &str| analyze(text, &context).effects();
    assert!(effects(&format!("{NEXT}; DROP TABLE orders")).contains(Effect::FunctionCall));
    assert!(!effects("DROP TABLE orders").contains(Effect::FunctionCall));
}

#[test]
fn row_security_of_the_same_text_is_asked() {
    not_understood(&[
        "CREATE POLICY p ON orders USING (next_number() = note); SELECT * FROM orders",
        "CREATE POLICY p ON orders USING (id IN (SELECT id FROM customers)); SELECT * FROM orders",
        "ALTER POLICY p ON orders WITH CHECK (next_number() = note); INSERT INTO orders VALUES (1)",
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; COPY orders TO STDOUT",
        "CREATE TABLE t (id int); CREATE POLICY p ON t USING (true); ALTER TABLE t FORCE ROW LEVEL SECURITY; TABLE t",
    ]);
}

#[test]
fn migrations_stay_understood() {
    check(
        "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; \
           DROP TRIGGER IF EXISTS t ON orders; \
           CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch(); \
           INSERT INTO orders (note) VALUES ('x'); SELECT id, lower(note) FROM orders",
        "create drop insert select",
    );
    check(
        "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT a'; CREATE VIEW v AS SELECT f(1) AS a; \
           GRANT SELECT ON v TO x; COMMENT ON FUNCTION f(int) IS 'x'; SELECT count(*) FROM customer_view",
        "create grant comment select",
    );
    check(
        "CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE orders ADD COLUMN m mood DEFAULT 'a'::mood; \
           UPDATE orders SET m = 'b' WHERE id = '1'; ALTER TYPE mood ADD VALUE 'c'",
        "create alter update",
    );
    check(
        "CREATE TYPE mood AS ENUM ('a'); CREATE CAST (varchar AS mood) WITH INOUT AS IMPLICIT; INSERT INTO orders VALUES ('1')",
        "create insert",
    );
    check(
        "CREATE DOMAIN email AS text CHECK (value ~ '@'); CREATE TABLE t (e email); INSERT INTO t VALUES ('a@b')",
        "create insert",
    );
    check(
        "CREATE TABLE t (id int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
           CREATE POLICY p ON t USING (next_number() = 'x'); INSERT INTO t VALUES (1); SELECT * FROM t",
        "create alter insert select",
    );
    check(
        "CREATE POLICY p ON orders USING (note = current_setting('app.tenant')); SELECT id FROM orders",
        "create select",
    );
    check(
        "SELECT a.id FROM orders a JOIN payments b USING (id) WHERE a.id BETWEEN 1 AND 2 AND b.id IN (1, 2)",
        "select",
    );
    check(
        "SELECT CASE id WHEN 1 THEN 2 END FROM orders WHERE id = ANY (SELECT id FROM payments) ORDER BY id USING <",
        "select",
    );
    let shadowed = analysis_along("SELECT 1 WHERE 1 IN (SELECT 2)", &["public", "pg_catalog"]);
    assert_eq!(shadowed.effects(), Effects::of(&[Effect::Select]));
}
