//! Event triggers: what they saw of a statement, against what the analysis says that they will see.

use std::collections::BTreeSet;

use countersign_policy::analysis::{AnalysisContext, NothingPrepared, analyze};
use countersign_policy::{Catalog, Effect};
use tokio_postgres::{Client, NoTls};

use super::{path, start};
use crate::support::server::{Database, SERVER};

/// Functions that note that they were called; of the last two triggers one is disabled, and one does not write.
const OBJECTS: &str = "\
CREATE TABLE notes (what text);
CREATE FUNCTION started() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes VALUES ('started'); END $$;
CREATE FUNCTION ended() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes VALUES ('ended'); END $$;
CREATE FUNCTION dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes VALUES ('dropped'); END $$;
CREATE FUNCTION off() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes VALUES ('off'); END $$;
CREATE FUNCTION look() RETURNS event_trigger LANGUAGE plpgsql STABLE AS $$ BEGIN NULL; END $$;
CREATE MATERIALIZED VIEW prices AS SELECT id, price FROM products; CREATE UNIQUE INDEX ON prices (id);
CREATE EVENT TRIGGER started ON ddl_command_start EXECUTE FUNCTION started();
CREATE EVENT TRIGGER ended ON ddl_command_end WHEN TAG IN ('create table', 'CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION ended();
CREATE EVENT TRIGGER dropped ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION dropped();
ALTER EVENT TRIGGER dropped ENABLE ALWAYS;
CREATE EVENT TRIGGER off ON ddl_command_start EXECUTE FUNCTION off(); ALTER EVENT TRIGGER off DISABLE;
CREATE EVENT TRIGGER look ON ddl_command_start EXECUTE FUNCTION look();";

/// One after the other.
const STATEMENTS: &[&str] = &[
    "CREATE TABLE boxes (id serial PRIMARY KEY, label text)",
    "CREATE TABLE IF NOT EXISTS boxes (id int)",
    "CREATE TEMP TABLE scratch (id int)",
    "CREATE TABLE copied AS SELECT * FROM boxes",
    "SELECT id INTO picked FROM boxes",
    "CREATE SCHEMA shelf CREATE TABLE within (id int)",
    "CREATE VIEW labels AS SELECT label FROM boxes",
    "CREATE INDEX ON boxes (label)",
    "ALTER TABLE boxes ADD COLUMN weight int",
    "ALTER TABLE boxes ALTER weight TYPE bigint",
    "ALTER TABLE boxes RENAME COLUMN weight TO mass",
    "ALTER TABLE boxes DROP COLUMN mass",
    "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)",
    "ALTER FUNCTION one() STABLE",
    "CREATE TYPE size AS ENUM ('s')",
    "ALTER TYPE size ADD VALUE 'm'",
    "CREATE DOMAIN code AS text",
    "COMMENT ON TABLE boxes IS 'x'",
    "CREATE ROLE packer",
    "COMMENT ON ROLE packer IS 'x'",
    "GRANT SELECT ON boxes TO packer",
    "REVOKE SELECT ON boxes FROM packer",
    "GRANT pg_read_all_stats TO packer",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO packer",
    "ALTER ROLE packer SET work_mem = '1MB'",
    "ALTER ROLE packer RESET work_mem",
    "REASSIGN OWNED BY packer TO CURRENT_USER",
    "REFRESH MATERIALIZED VIEW prices",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY prices",
    "REINDEX TABLE boxes",
    "CLUSTER boxes USING boxes_pkey",
    "VACUUM boxes",
    "TRUNCATE boxes",
    "INSERT INTO boxes (label) VALUES ('x')",
    "SELECT count(*) FROM boxes",
    "CREATE EVENT TRIGGER other ON sql_drop EXECUTE FUNCTION dropped()",
    "ALTER EVENT TRIGGER other DISABLE",
    "DROP EVENT TRIGGER other",
    "DROP VIEW labels",
    "DROP TABLE IF EXISTS nosuch",
    "DROP TABLE copied, picked",
    "DROP SCHEMA shelf CASCADE",
    "DROP FUNCTION one()",
    "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM packer",
    "DROP ROLE packer",
    "DISCARD TEMP",
];

/// Nothing is dropped where there is nothing; the elements of a schema count as statements; and what CONCURRENTLY runs inside
/// is not looked at.
const CARRYING_MORE: &[&str] = &[
    "DROP TABLE IF EXISTS nosuch",
    "CREATE SCHEMA shelf CREATE TABLE within (id int)",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY prices",
];

/// Which triggers' functions were called by the statement.
async fn called(superuser: &Client, statement: &str) -> BTreeSet<String> {
    superuser.batch_execute("DELETE FROM notes").await.expect("no notes");
    superuser.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    let rows = superuser.query("SELECT what FROM notes", &[]).await.expect("notes");
    rows.iter().map(|row| row.get(0)).collect()
}

/// The same as the analysis has it, without those that do not write.
fn carried(catalog: &Catalog, statement: &str) -> BTreeSet<String> {
    let path = path(&["pg_catalog", "public"]);
    let analysis = analyze(statement, &AnalysisContext { catalog, search_path: &path, prepared: &NothingPrepared });
    assert_eq!(analysis.not_understood(), None, "{statement}");
    let functions = analysis.statements.iter().flat_map(|found| &found.functions);
    let own = ["started", "ended", "dropped", "off"];
    let found: BTreeSet<String> =
        functions.map(|found| found.name.clone()).filter(|name| own.contains(&name.as_str())).collect();
    assert_eq!(analysis.effects().contains(Effect::FunctionCall), !found.is_empty(), "{statement}");
    found
}

#[tokio::test]
async fn definitions_carry_the_event_triggers_that_they_fire() {
    let database = Database::create().await;
    SERVER.execute(&database.name, OBJECTS).await.expect("event triggers");
    let (superuser, connection) = SERVER.superuser(&database.name).connect(NoTls).await.expect("connection");
    let connection = tokio::spawn(connection);
    let service = start(&database).await;
    for statement in STATEMENTS {
        let carried = carried(&service.refresh().await.expect("refresh"), statement);
        let called = called(&superuser, statement).await;
        assert!(called.is_subset(&carried), "{statement} called {called:?}, the analysis carries {carried:?}");
        assert!(
            CARRYING_MORE.contains(statement) || called == carried,
            "{statement} called {called:?}, the analysis carries {carried:?}"
        );
    }
    drop(superuser);
    connection.await.expect("task").expect("end of the connection");
}

#[tokio::test]
async fn the_version_follows_event_triggers() {
    let database = Database::create().await;
    let service = start(&database).await;
    let before = service.snapshot();
    assert!(before.event_triggers().is_empty());
    SERVER.execute(&database.name, OBJECTS).await.expect("event triggers");
    let with = service.refresh().await.expect("refresh");
    let [started, ended, ..] = with.event_triggers() else { panic!("{:?}", with.event_triggers()) };
    let [function] = with.functions_named("public", "started") else { panic!("one function") };
    assert_eq!((started.name.as_str(), started.event.as_str()), ("started", "ddl_command_start"));
    assert_eq!((started.function, started.tags.is_empty()), (function.oid, true));
    assert_eq!(ended.tags, ["CREATE TABLE", "CREATE TABLE AS", "SELECT INTO"]);
    SERVER.execute(&database.name, "ALTER EVENT TRIGGER started DISABLE").await.expect("disabled");
    let without = service.refresh().await.expect("refresh");
    assert!(without.event_triggers().iter().all(|trigger| trigger.name != "started" && trigger.name != "off"));
    assert!(before.version() != with.version() && with.version() != without.version());
}
