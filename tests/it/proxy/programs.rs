//! The programs that come with PostgreSQL, and what drivers do beyond queries, under rules that are enforced: the
//! results are those of a direct connection, and nobody is asked.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use countersign::packs::Pack;
use tempfile::TempDir;

use crate::support::config::password;
use crate::support::proxy::Proxy;
use crate::support::wire::{Pipeline, tags};
use crate::support::within;

/// Runs a program against the proxy as alice, in this directory.
async fn run(proxy: &Proxy, home: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .current_dir(home)
        .envs([("PGHOST", "127.0.0.1"), ("PGUSER", "alice"), ("PGDATABASE", "shop"), ("PGSSLMODE", "disable")])
        .env("PGPORT", proxy.address().port().to_string())
        .env("PGPASSWORD", password("alice"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within(program, command.output()).await.expect("a program of PostgreSQL");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    output
}

async fn psql(proxy: &Proxy, home: &Path, arguments: &[&str]) -> String {
    let output =
        run(proxy, home, "psql", &[&["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"], arguments].concat()).await;
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What pg_dump writes, without the lines that are random, and from the first object in the schema on.
async fn dump(proxy: &Proxy, home: &Path) -> String {
    let output = run(proxy, home, "pg_dump", &["--no-owner", "--no-privileges", "--schema=public"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let begin = text.find("CREATE FUNCTION public.cancel_order").expect("the first object");
    text[begin..].to_owned()
}

async fn start() -> (Proxy, TempDir) {
    (Proxy::start("").await, tempfile::tempdir().expect("temporary directory"))
}

/// A dump only reads, also one by several sessions that share a snapshot.
#[tokio::test]
async fn a_dump_passes_policies_for_reading() {
    for pack in [Pack::ReadOnly, Pack::WritesNeedReview, Pack::DdlFrozen] {
        let proxy = Proxy::start(pack.text()).await;
        let home = tempfile::tempdir().expect("temporary directory");
        let whole = run(&proxy, home.path(), "pg_dump", &["--schema=public"]).await;
        assert!(String::from_utf8_lossy(&whole.stdout).contains("COPY public.orders"), "{}", pack.name());
        run(&proxy, home.path(), "pg_dump", &["--schema=public", "-Fd", "-j2", "-f", "dump"]).await;
        run(&proxy, home.path(), "pg_dump", &["--schema=public", "--enable-row-security", "--inserts"]).await;
    }
}

#[tokio::test]
async fn a_dump_is_restored_by_psql_and_by_pg_restore() {
    let (proxy, home) = start().await;
    let (proxy, home) = (&proxy, home.path());
    let before = dump(proxy, home).await;
    assert!(before.contains("CREATE TABLE public.customers") && before.contains("COPY public.orders"));
    run(proxy, home, "pg_dump", &["--no-owner", "--no-privileges", "--schema=public", "-f", "shop.sql"]).await;
    run(proxy, home, "pg_dump", &["--no-owner", "--no-privileges", "--schema=public", "-Fc", "-f", "shop.dump"]).await;
    let direct = proxy.database.direct().await;
    for restore in [
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "shop.sql"],
        ["pg_restore", "-e", "--no-owner", "-d", "shop", "-v", "shop.dump"],
    ] {
        // The role behind the proxy owns the new schema.
        let again = "DROP SCHEMA IF EXISTS public CASCADE; GRANT CREATE ON DATABASE DB TO PUBLIC"
            .replace("DB", &proxy.database.name);
        direct.batch_execute(&again).await.expect("an empty database");
        let [program, arguments @ ..] = restore;
        run(proxy, home, program, &arguments).await;
        let after = dump(proxy, home).await;
        let differing = after.lines().zip(before.lines()).find(|(one, other)| one != other);
        assert!(after == before, "{program} restores something else: {differing:?}");
    }
}

#[tokio::test]
async fn pgbench_runs_in_every_mode() {
    let (proxy, home) = start().await;
    run(&proxy, home.path(), "pgbench", &["-i", "-q", "-s", "1"]).await;
    for mode in ["simple", "extended", "prepared"] {
        let output = run(&proxy, home.path(), "pgbench", &["-n", "-M", mode, "-c", "2", "-t", "25"]).await;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(told.contains("actually processed: 50/50"), "{mode}: {told}");
    }
}

#[tokio::test]
async fn copies_and_scripts_of_psql() {
    let (proxy, home) = start().await;
    let (proxy, home) = (&proxy, home.path());
    psql(proxy, home, &["-c", "\\copy orders TO 'orders.csv' CSV HEADER"]).await;
    psql(proxy, home, &["-c", "CREATE TABLE copied (LIKE orders)"]).await;
    psql(proxy, home, &["-c", "\\copy copied FROM 'orders.csv' CSV HEADER"]).await;
    let differing = "SELECT count(*) FROM (TABLE orders EXCEPT ALL TABLE copied) AS missing";
    assert_eq!(psql(proxy, home, &["-c", differing]).await, "0");

    let script = "CREATE TABLE made (i int);\nINSERT INTO made SELECT generate_series(1, 10);\n\
                  ALTER TABLE made ADD COLUMN j int DEFAULT 7;\nUPDATE made SET j = i WHERE i > 5;\n\
                  COPY made FROM stdin;\n11\t11\n\\.\nSELECT sum(i), sum(j) FROM made;\n";
    fs::write(home.join("script.sql"), script).expect("file");
    assert_eq!(psql(proxy, home, &["--single-transaction", "-f", "script.sql"]).await, "66|86");
    assert_eq!(psql(proxy, home, &["-c", "SELECT count(*) FROM made"]).await, "11");
}

#[tokio::test]
async fn large_objects_go_in_and_out() {
    let (proxy, home) = start().await;
    let (proxy, home) = (&proxy, home.path());
    let content: Vec<u8> = (0..300_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    fs::write(home.join("in.bin"), &content).expect("file");
    let told = psql(proxy, home, &["-c", "\\lo_import in.bin", "-c", "\\echo :LASTOID"]).await;
    let oid = told.split_whitespace().last().expect("an OID").to_owned();
    psql(proxy, home, &["-c", &format!("\\lo_export {oid} out.bin")]).await;
    assert_eq!(fs::read(home.join("out.bin")).expect("file"), content);
    psql(proxy, home, &["-c", &format!("\\lo_unlink {oid}")]).await;
    assert_eq!(psql(proxy, home, &["-c", "SELECT count(*) FROM pg_largeobject_metadata"]).await, "0");
}

#[tokio::test]
async fn notifications_reach_an_idle_session() {
    let (proxy, _home) = start().await;
    let mut listener = proxy.wire("alice").await;
    assert_eq!(tags(&listener.query("LISTEN orders_changed").await), "CZ");
    let mut speaker = proxy.wire("bob").await;
    speaker.query("NOTIFY orders_changed, 'order 7'").await;
    let notification = listener.frame().await;
    assert_eq!(notification.tag, b'A');
    assert!(notification.body.starts_with(&speaker.key.0.to_be_bytes()));
    assert!(notification.body.ends_with(b"orders_changed\0order 7\0"), "{notification:?}");
}

#[tokio::test]
async fn a_statement_has_as_many_parameters_as_postgres_allows() {
    let (proxy, _home) = start().await;
    let mut wire = proxy.wire("alice").await;
    let values: Vec<String> = (1..=65_535).map(|number| number.to_string()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let places = (1..=65_535).map(|number| format!("(${number}::int)")).collect::<Vec<_>>().join(",");
    let statement = format!("SELECT count(*), sum(v) FROM (VALUES {places}) AS t (v)");
    wire.send(&Pipeline::default().execute(&statement, &values, 0).sync().0).await;
    let frames = wire.until_ready().await;
    assert_eq!(tags(&frames), "12TDCZ");
    let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
    assert!(row.body.ends_with(b"2147450880"), "{row:?}");
}
