//! Event triggers: what fires them, and what does not.

use super::fixture::{HARMLESS, PURGE, catalog_of};
use crate::analysis::{Analysis, AnalysisContext, NothingPrepared, analyze};
use crate::catalog::{EventTrigger, Oid};
use crate::effect::Effect;

fn trigger(event: &str, tags: &[&str], function: Oid) -> EventTrigger {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    EventTrigger { name: "watch".to_owned(), event: event.to_owned(), tags, function }
}

fn analysis_with(text: &str, trigger: EventTrigger, server_major: u32) -> Analysis {
    let catalog = catalog_of(server_major).with_event_triggers(vec![trigger]);
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    analyze(text, &AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared })
}

/// Whether the statement calls the function of that event trigger.
#[track_caller]
fn check(text: &str, trigger: EventTrigger, fires: bool) {
    let analysis = analysis_with(text, trigger, 18);
    let names = analysis.statements.iter().flat_map(|statement| &statement.functions);
    assert_eq!(analysis.effects().contains(Effect::FunctionCall), fires, "{text}");
    assert_eq!(names.filter(|called| called.name == "purge").count() > 0, fires, "{text}");
}

/// Of an event trigger for DROP TABLE.
#[track_caller]
fn check_drop_table(text: &str, fires: bool) {
    check(text, trigger("sql_drop", &["DROP TABLE"], PURGE), fires);
    check(text, trigger("ddl_command_start", &["DROP TABLE"], PURGE), fires);
}

#[test]
fn a_definition_with_the_tag_fires_it() {
    check_drop_table("DROP TABLE orders", true);
    check_drop_table("DROP TABLE IF EXISTS nosuch", true);
    check_drop_table("SELECT 1; DROP TABLE orders CASCADE", true);
}

#[test]
fn commands_that_run_others_fire_it_too() {
    for text in [
        "REFRESH MATERIALIZED VIEW CONCURRENTLY mails",
        "CREATE EXTENSION hstore",
        "ALTER EXTENSION hstore UPDATE",
        "CREATE LANGUAGE plperl",
    ] {
        check_drop_table(text, true);
    }
}

#[test]
fn other_tags_do_not_fire_it() {
    for text in [
        "SELECT * FROM orders",
        "INSERT INTO balances VALUES (1, 2)",
        "DROP VIEW customer_view",
        "CREATE TEMP TABLE t (id int)",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1 AS one INTO t",
        "CREATE SCHEMA s CREATE TABLE t (id int)",
        "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)",
        "ALTER TABLE orders ADD COLUMN x int",
        "ALTER TABLE orders DROP COLUMN total",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public",
        "ALTER TABLE orders RENAME COLUMN total TO sum",
        "COMMENT ON TABLE orders IS 'x'",
        "GRANT SELECT ON orders TO public",
        "REFRESH MATERIALIZED VIEW mails",
        "TRUNCATE orders",
        "VACUUM orders",
        "ANALYZE orders",
        "REINDEX TABLE orders",
    ] {
        check_drop_table(text, false);
    }
}

#[test]
fn without_tags_every_definition_fires_it() {
    for text in [
        "CREATE TABLE t (id int)",
        "CREATE TEMP TABLE t (id int)",
        "CREATE TABLE t AS SELECT 1",
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "SELECT 1 AS one INTO t",
        "SELECT 1 AS one INTO t UNION SELECT 2",
        "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
        "ALTER TABLE orders ADD COLUMN x int",
        "DROP FUNCTION purge",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COMMENT ON TABLE orders IS 'x'",
        "GRANT SELECT ON orders TO public",
        "REVOKE SELECT ON orders FROM public",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public",
        "REFRESH MATERIALIZED VIEW mails",
        "REINDEX TABLE orders",
        "CREATE PUBLICATION p",
    ] {
        check(text, trigger("ddl_command_end", &[], PURGE), true);
    }
}

#[test]
fn objects_of_the_server_and_event_triggers_do_not_fire_it() {
    for text in [
        "CREATE ROLE r",
        "ALTER ROLE r LOGIN",
        "ALTER ROLE r SET work_mem = '1MB'",
        "DROP ROLE r",
        "GRANT a TO b",
        "CREATE DATABASE d",
        "ALTER DATABASE d SET work_mem = '1MB'",
        "ALTER DATABASE d RENAME TO e",
        "ALTER DATABASE d OWNER TO r",
        "DROP DATABASE d",
        "GRANT CONNECT ON DATABASE d TO r",
        "COMMENT ON DATABASE d IS 'x'",
        "CREATE TABLESPACE t LOCATION '/t'",
        "DROP TABLESPACE t",
        "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f()",
        "ALTER EVENT TRIGGER e DISABLE",
        "DROP EVENT TRIGGER e",
        "REASSIGN OWNED BY a TO b",
        "TRUNCATE orders",
        "DELETE FROM orders WHERE id = 1",
        "PREPARE p AS SELECT 1",
    ] {
        check(text, trigger("ddl_command_start", &[], PURGE), false);
    }
}

#[test]
fn events_that_a_definition_cannot_be_do_not_fire_it() {
    check("CREATE TABLE t (id int)", trigger("sql_drop", &[], PURGE), false);
    check("ALTER TABLE orders DROP COLUMN total", trigger("sql_drop", &[], PURGE), true);
    check("DROP INDEX nosuch", trigger("sql_drop", &[], PURGE), true);
    check("ALTER TABLE orders ALTER total TYPE int", trigger("table_rewrite", &[], PURGE), true);
    check("DROP TABLE orders", trigger("table_rewrite", &[], PURGE), false);
    check("DROP TABLE orders", trigger("login", &[], PURGE), false);
    check("CREATE EXTENSION hstore", trigger("login", &[], PURGE), false);
    check("DROP TABLE orders", trigger("an event of tomorrow", &[], PURGE), true);
}

#[test]
fn a_function_that_does_not_write_is_no_call_of_one_that_may() {
    check("DROP TABLE orders", trigger("sql_drop", &[], HARMLESS), false);
}

#[test]
fn reindex_fires_since_postgresql_17() {
    let fires = |major| {
        let analysis = analysis_with("REINDEX TABLE orders", trigger("ddl_command_start", &[], PURGE), major);
        analysis.effects().contains(Effect::FunctionCall)
    };
    assert!(!fires(16) && fires(17) && fires(0));
}
