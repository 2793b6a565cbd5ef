//! The catalog service against a real server: content, change, sharing, loss of the connection.

mod consequences;
mod event_triggers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::catalog::{CatalogError, CatalogOptions, CatalogService};
use countersign::config::{Secret, SslMode};
use countersign::throwaway::{SUPERUSER, ThrowawayOptions, ThrowawayPostgres};
use countersign_policy::Catalog;
use countersign_policy::analysis::{AnalysisContext, NothingPrepared, analyze};
use countersign_policy::catalog::{Consequence, Prelude, RelationKind, SetOff, SqlBody, Volatility};
use countersign_policy::{Effect, Effects};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::support::server::{Database, SERVER};

const UPDATE: Effects = Effects::of(&[Effect::Update]);

/// No poll within a test: what changes, changes because it was asked for.
fn quiet() -> CatalogOptions {
    CatalogOptions { poll_interval: Duration::from_secs(3600), ..CatalogOptions::default() }
}

async fn start(database: &Database) -> Arc<CatalogService> {
    let service = CatalogService::start(&database.config(), None, quiet()).await;
    service.status().expect("loaded catalog");
    service
}

fn path(schemas: &[&str]) -> Vec<String> {
    schemas.iter().map(|schema| (*schema).to_owned()).collect()
}

#[tokio::test]
async fn knows_tables_views_functions_and_types() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct
        .batch_execute(
            "CREATE TABLE measured (d date, v int, w int GENERATED ALWAYS AS (v * 2) STORED) PARTITION BY RANGE (d);
             CREATE TABLE measured_24 PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             CREATE DOMAIN postcode AS text; CREATE TYPE mood AS ENUM ('sad', 'ok');
             CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';
             CREATE FUNCTION echoed(who int, int) RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT who';
             CREATE FUNCTION number() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
             CREATE TABLE crates (a int, label text PRIMARY KEY);
             CREATE TABLE parcels (id int DEFAULT number(), crate text REFERENCES crates ON DELETE CASCADE ON UPDATE SET NULL,
                 CHECK (id < number()));
             CREATE TRIGGER touched BEFORE UPDATE OF email ON customers FOR EACH ROW EXECUTE FUNCTION touch();
             CREATE RULE quiet AS ON DELETE TO products DO INSTEAD NOTHING;",
        )
        .await
        .expect("objects");
    let catalog = start(&database).await.snapshot();
    let public = |name: &str| catalog.relation_named("public", name).unwrap_or_else(|| panic!("{name}"));

    let customers = public("customers");
    assert_eq!(customers.kind, RelationKind::Table);
    assert!(!customers.has_rules);
    let [touch] = catalog.functions_named("public", "touch") else { panic!("one function") };
    let trigger = Consequence { on: UPDATE, columns: vec![3], what: SetOff::Call(touch.oid) };
    assert!(customers.consequences.contains(&trigger), "{:?}", customers.consequences);
    assert!(public("products").has_rules);
    let rules = catalog.rules(public("products").oid).expect("rules");
    assert!(matches!(rules, [rule] if rule.contains("ON DELETE TO public.products DO INSTEAD NOTHING")), "{rules:?}");
    let ssn = customers.column_named("ssn").expect("column");
    assert_eq!(catalog.type_of(ssn.type_oid).map(|found| found.name.as_str()), Some("text"));
    let is_call = |consequence: &Consequence| matches!(consequence.what, SetOff::Call(_));
    assert!(!public("orders").consequences.iter().any(is_call), "the triggers of foreign keys do not count");
    let emptied = SetOff::Write(Effect::Truncate, public("orders").oid);
    let truncate = Consequence { on: Effects::of(&[Effect::Truncate]), columns: Vec::new(), what: emptied };
    assert!(customers.consequences.contains(&truncate), "orders refer to customers");
    let parcels = public("parcels").oid;
    let actions: Vec<_> =
        public("crates").consequences.iter().map(|found| (found.columns.as_slice(), found.what)).collect();
    assert_eq!(
        actions[..2],
        [(&[2][..], SetOff::Write(Effect::Update, parcels)), (&[], SetOff::Write(Effect::Delete, parcels))]
    );
    let [number] = catalog.functions_named("public", "number") else { panic!("one function") };
    let calls = public("parcels").consequences.iter().filter(|found| found.what == SetOff::Call(number.oid)).count();
    assert_eq!(calls, 2, "a default and a check");

    let view = public("customer_contacts");
    let definition = view.definition.as_deref().expect("definition");
    assert!(definition.contains("FROM (public.customers c"), "names are qualified: {definition}");
    let statistics = catalog.relation_named("pg_catalog", "pg_stats").expect("system view");
    assert!(statistics.definition.as_deref().is_some_and(|text| text.contains("pg_statistic")));

    let partition = public("measured_24");
    assert_eq!(partition.parents, [public("measured").oid]);
    assert_eq!(public("measured").kind, RelationKind::PartitionedTable);
    assert_eq!(partition.column_named("w").and_then(|column| column.generated.as_deref()), Some("(v * 2)"));

    assert!(touch.security_definer && !touch.built_in);
    assert_eq!((touch.volatility, touch.language.as_str()), (Volatility::Volatile, "plpgsql"));
    let search = path(&["pg_catalog", "public"]);
    let (schema, spend) = catalog.resolve_functions(&search, "customer_spend").next().expect("function");
    assert_eq!((schema, spend.volatility, spend.arguments), ("public", Volatility::Stable, 1));
    let (text, parameters) = ("SELECT who".to_owned(), vec!["who".to_owned()]);
    let settings = vec!["search_path=\"\"".to_owned()];
    let body = SqlBody { is_resolved: false, text, parameters, settings };
    assert_eq!(catalog.functions_named("public", "echoed")[0].body, Some(body));
    assert!(catalog.functions_named("public", "number")[0].body.is_none(), "not written in SQL");
    assert!(catalog.functions_named("pg_catalog", "pg_read_file").iter().all(|function| function.built_in));

    let row = catalog.type_of(customers.row_type).expect("row type");
    assert_eq!((row.kind, row.relation), ('c', customers.oid));
    let array = catalog.type_of(1009).expect("text[]");
    assert_eq!(array.element, 25);
}

/// Runs DDL; says whether the version changed, seen with that search path.
#[track_caller]
fn check_changed(before: &Catalog, after: &Catalog, changed: bool, what: &str) {
    assert_eq!(before.version() != after.version(), changed, "{what}");
}

#[tokio::test]
async fn version_follows_content_and_nothing_else() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let service = start(&database).await;
    let cases = [
        ("SELECT 1", false),
        ("INSERT INTO products (name, price) VALUES ('cork board', 9.95)", false),
        ("ANALYZE; VACUUM FULL payments", false),
        ("ALTER TABLE customers ADD COLUMN nickname text", true),
        ("ALTER TABLE customers RENAME COLUMN nickname TO alias", true),
        (
            "CREATE OR REPLACE VIEW customer_contacts AS SELECT id, name, ssn AS contact, phone, region, 1::bigint AS orders FROM customers",
            true,
        ),
        (
            "CREATE OR REPLACE FUNCTION customer_spend(customer integer) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT 0.0'",
            true,
        ),
        ("ALTER FUNCTION customer_spend(integer) VOLATILE", true),
        ("ALTER TABLE orders ADD CHECK (public.customer_spend(customer_id) >= 0) NOT VALID", true),
        ("CREATE SCHEMA archive; ALTER TABLE payments SET SCHEMA archive", true),
        ("DROP TABLE archive.payments", true),
    ];
    for (statement, changed) in cases {
        let before = service.snapshot();
        for part in statement.split("; ") {
            direct.batch_execute(part).await.expect(part);
        }
        let after = service.refresh().await.expect("refresh");
        check_changed(&before, &after, changed, statement);
    }
    let again = start(&database).await;
    assert_eq!(again.snapshot().version(), service.snapshot().version(), "the same content after a restart");
}

#[tokio::test]
async fn temporary_tables_concern_their_own_session_only() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let service = start(&database).await;
    let before = service.snapshot();
    direct.batch_execute("CREATE TEMP TABLE customers (id int)").await.expect("temporary table");
    let own: String = direct.query_one("SELECT (current_schemas(true))[1]::text", &[]).await.expect("schema").get(0);
    let after = service.refresh().await.expect("refresh");
    assert!(own.starts_with("pg_temp_") && after.relation_named(&own, "customers").is_some());
    let others = path(&["pg_catalog", "public"]);
    assert_eq!(before.version_for(&others), after.version_for(&others));
    let with_own = path(&[&own, "pg_catalog", "public"]);
    assert_ne!(before.version_for(&with_own), after.version_for(&with_own));
}

#[tokio::test]
async fn temporary_objects_on_other_tables_concern_their_own_session_only() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let service = start(&database).await;
    let before = service.snapshot();
    let text = "CREATE TEMP VIEW mine AS SELECT id, email FROM public.customers; \
        CREATE TYPE pg_temp.pair AS (id int); CREATE TEMP TABLE pairs OF pg_temp.pair; \
        CREATE TEMP TABLE heir () INHERITS (public.customers)";
    direct.batch_execute(text).await.expect("temporary objects");
    let after = service.refresh().await.expect("refresh");
    let own: String = direct.query_one("SELECT (current_schemas(true))[1]::text", &[]).await.expect("schema").get(0);
    assert!(after.relation_named(&own, "mine").is_some());
    let others = path(&["pg_catalog", "public"]);
    assert_eq!(before.version_for(&others), after.version_for(&others));
}

#[tokio::test]
async fn concurrent_refreshes_all_see_what_was_committed_before() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let service = start(&database).await;
    direct.batch_execute("CREATE TABLE fresh (id int)").await.expect("table");
    let all = futures_util::future::join_all((0..50).map(|_| service.refresh())).await;
    for snapshot in all {
        assert!(snapshot.expect("refresh").relation_named("public", "fresh").is_some());
    }
}

#[tokio::test]
async fn polls_by_itself() {
    let database = Database::create().await;
    let options = CatalogOptions { poll_interval: Duration::from_millis(20), ..CatalogOptions::default() };
    let service = CatalogService::start(&database.config(), None, options).await;
    database.direct().await.batch_execute("CREATE TABLE noticed (id int)").await.expect("table");
    let noticed = async {
        while service.snapshot().relation_named("public", "noticed").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed).await.expect("the poll notices the table");
}

#[tokio::test]
async fn an_open_transaction_that_locks_a_table_does_not_stop_the_load() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct.batch_execute("CREATE VIEW plain AS SELECT 1 AS one").await.expect("view");
    let ddl = database.direct().await;
    ddl.batch_execute("BEGIN; ALTER TABLE customers ADD COLUMN extra int").await.expect("open transaction");
    let service = start(&database).await;
    let locked = service.snapshot();
    let definition =
        |catalog: &Catalog, name: &str| catalog.relation_named("public", name).expect("view").definition.clone();
    assert_eq!(definition(&locked, "customer_contacts"), None, "what is locked is not known");
    assert!(definition(&locked, "plain").is_some() && locked.relation_named("pg_catalog", "pg_stats").is_some());
    ddl.batch_execute("ROLLBACK").await.expect("rollback");
    let after = service.refresh().await.expect("refresh");
    assert!(definition(&after, "customer_contacts").is_some(), "and is asked for again");
}

#[tokio::test]
async fn reconnects_after_losing_the_connection() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let service = start(&database).await;
    direct
        .batch_execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'countersign catalog';
             CREATE TABLE later (id int)",
        )
        .await
        .expect("termination");
    let mut attempts = 0;
    let after = loop {
        attempts += 1;
        match service.refresh().await {
            Ok(snapshot) => break snapshot,
            Err(error) => assert!(attempts < 3, "{error}"),
        }
    };
    assert!(after.relation_named("public", "later").is_some());
}

#[tokio::test]
async fn says_why_nothing_is_loaded() {
    let database = Database::create().await;
    let mut config = database.config();
    config.upstream.password = None;
    let service = CatalogService::start(&config, None, quiet()).await;
    assert!(matches!(service.status(), Err(CatalogError::Connect(_))));
    assert!(!service.is_loaded());
    assert_eq!(service.snapshot().version(), 0);
    assert!(service.refresh().await.is_err());
}

#[tokio::test]
async fn loads_a_stock_database_quickly() {
    let database = Database::create().await;
    let service = start(&database).await;
    let begin = Instant::now();
    // A second service makes the whole way: connect, load, assemble.
    let other = start(&database).await;
    let elapsed = begin.elapsed();
    assert_eq!(other.snapshot().version(), service.snapshot().version());
    eprintln!("connected and loaded {} relations in {elapsed:?}", other.snapshot().relations().count());
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?} on PostgreSQL {}", SERVER.version());
}

#[tokio::test]
async fn loads_over_tls_and_only_from_the_server_it_trusts() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("certificate");
    let options = ThrowawayOptions {
        settings: vec![("ssl".to_owned(), "on".to_owned())],
        files: vec![
            ("server.crt".to_owned(), certified.cert.pem().into_bytes()),
            ("server.key".to_owned(), certified.signing_key.serialize_pem().into_bytes()),
        ],
        ..ThrowawayOptions::default()
    };
    let start = tokio::task::spawn_blocking(move || ThrowawayPostgres::start(&options));
    let server = start.await.expect("task").expect("server with TLS");
    let mut config = Database { name: "postgres".to_owned() }.config();
    config.upstream.port = server.port();
    config.upstream.user = SUPERUSER.to_owned();
    config.upstream.password = Some(Secret::new(server.password().to_owned()));
    config.upstream.ssl_mode = SslMode::VerifyFull;
    let trusting = |roots: RootCertStore| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        Some(TlsConnector::from(Arc::new(config)))
    };
    let mut roots = RootCertStore::empty();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("another certificate");
    roots.add(other.cert.der().clone()).expect("root");
    let service = CatalogService::start(&config, trusting(roots), quiet()).await;
    assert!(matches!(service.status(), Err(CatalogError::Connect(_))), "the wrong root");

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("root");
    let service = CatalogService::start(&config, trusting(roots), quiet()).await;
    service.status().expect("loaded over TLS");
    let (client, connection) = server.superuser("postgres").connect(tokio_postgres::NoTls).await.expect("connection");
    tokio::spawn(connection);
    let encrypted = client
        .query_one(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'countersign catalog'",
            &[],
        )
        .await
        .expect("the side connection");
    assert!(encrypted.get::<_, bool>(0));
    let service = CatalogService::start(&config, None, quiet()).await;
    assert!(matches!(service.status(), Err(CatalogError::Connect(_))), "verify-full never falls back to plaintext");
}

#[tokio::test]
async fn a_replaced_view_of_the_server_is_read_again() {
    let database = Database::create().await;
    let direct = database.direct().await;
    let service = start(&database).await;
    let definition = |catalog: &Catalog| {
        let view = catalog.relation_named("information_schema", "information_schema_catalog_name").expect("view");
        view.definition.clone().expect("definition")
    };
    let before = definition(&service.snapshot());
    direct.batch_execute("CREATE TABLE names (catalog_name information_schema.sql_identifier)").await.expect("table");
    assert_eq!(definition(&service.refresh().await.expect("refresh")), before);

    let replace = "CREATE OR REPLACE VIEW information_schema.information_schema_catalog_name AS SELECT * FROM names";
    direct.batch_execute(replace).await.expect("view");
    let replaced = definition(&service.refresh().await.expect("refresh"));
    assert!(replaced.contains("public.names"), "{replaced}");

    direct.batch_execute("ALTER TABLE names RENAME TO other").await.expect("rename");
    let renamed = definition(&service.refresh().await.expect("refresh"));
    assert!(renamed.contains("public.other"), "{renamed}");
}

/// PostgreSQL believes what a function says of itself; a guardrail cannot.
#[tokio::test]
async fn functions_that_call_what_writes_are_not_believed() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct
        .batch_execute(
            "CREATE FUNCTION erase() RETURNS bool LANGUAGE plpgsql AS 'BEGIN DELETE FROM payments; RETURN true; END';
             CREATE FUNCTION innocent(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN erase(); END';
             CREATE FUNCTION honest(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 > 0; END';
             CREATE DOMAIN trapped AS int CHECK (innocent(VALUE)); CREATE DOMAIN plain AS int CHECK (honest(VALUE));
             CREATE TABLE traps (id trapped, at plain);
             CREATE OPERATOR <!> (RIGHTARG = int, FUNCTION = innocent);
             CREATE FUNCTION read_sql(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
             CREATE FUNCTION by_default(a bool DEFAULT erase()) RETURNS bool LANGUAGE sql AS 'SELECT a';
             CREATE FUNCTION by_check(trapped) RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE FUNCTION quiet(a bool DEFAULT erase()) RETURNS bool LANGUAGE plpgsql STABLE AS 'BEGIN RETURN a; END';",
        )
        .await
        .expect("objects");
    let catalog = start(&database).await.snapshot();
    let volatility = |name: &str| catalog.functions_named("public", name).first().expect("function").volatility;
    assert_eq!(volatility("innocent"), Volatility::Volatile);
    assert_eq!(volatility("honest"), Volatility::Immutable);
    assert_eq!(volatility("cast:trapped"), Volatility::Volatile, "the check of a domain");
    assert_eq!(volatility("cast:plain"), Volatility::Immutable);
    assert_eq!(volatility("<!>"), Volatility::Volatile);
    assert_eq!(volatility("quiet"), Volatility::Volatile, "the default of an argument");
    let is_read = |name: &str| catalog.functions_named("public", name).iter().all(|function| function.body.is_some());
    assert!(is_read("read_sql") && is_read("by_default") && is_read("by_check"));
    let traps = catalog.relation_named("public", "traps").expect("table");
    let [innocent] = catalog.functions_named("public", "innocent") else { panic!("one function") };
    let check = traps.consequences.iter().find(|found| found.what == SetOff::Call(innocent.oid)).expect("a check");
    assert_eq!(check.columns, [1]);
    let prelude = |name: &str| catalog.functions_named("public", name)[0].prelude.clone().unwrap_or_default();
    assert_eq!(prelude("by_default").defaults.as_deref(), Some("public.erase()"));
    assert_eq!(prelude("by_check").checks, [innocent.oid]);
    assert_eq!(*prelude("read_sql"), Prelude::default());
}

/// A body that is parsed when the function is made has no text of its own: the server prints it.
#[tokio::test]
async fn bodies_that_the_server_has_parsed_are_read() {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct
        .batch_execute(
            "CREATE FUNCTION first_of(who int) RETURNS text BEGIN ATOMIC
                 DELETE FROM payments WHERE id = who; SELECT email FROM customers WHERE id = first_of.who; END;
             CREATE FUNCTION twice(n int) RETURNS int RETURN n * 2;
             CREATE FUNCTION liar() RETURNS text STABLE BEGIN ATOMIC SELECT first_of(1); END;",
        )
        .await
        .expect("functions");
    let service = start(&database).await;
    let catalog = service.snapshot();
    assert!(catalog.server_major() >= 14, "the tests need a supported server");
    let path = path(&["pg_catalog", "public"]);
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    let effects = |text: &str| {
        let analysis = analyze(text, &context);
        assert_eq!(analysis.not_understood(), None, "{text}");
        analysis.effects().iter().map(|effect| effect.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(effects("SELECT first_of(1)"), "select delete");
    assert_eq!(effects("SELECT twice(1)"), "select");
    assert_eq!(effects("SELECT liar()"), "select delete");
    assert!(catalog.functions_named("public", "liar")[0].doubted);
    // While somebody has locked what a body speaks of, it cannot be printed.
    direct.batch_execute("BEGIN; ALTER TABLE payments ADD note text").await.expect("lock");
    let second = database.direct().await;
    second.batch_execute("CREATE FUNCTION three() RETURNS int RETURN 3").await.expect("function");
    let catalog = service.refresh().await.expect("refresh");
    let has_body = |name: &str| catalog.functions_named("public", name)[0].body.is_some();
    assert!(!has_body("first_of") && has_body("twice") && has_body("three"));
    assert_eq!(catalog.functions_named("public", "first_of")[0].volatility, Volatility::Volatile);
    direct.batch_execute("COMMIT").await.expect("commit");
    let catalog = service.refresh().await.expect("refresh");
    assert!(catalog.functions_named("public", "first_of")[0].body.is_some());
}
