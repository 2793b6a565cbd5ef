//! Real clients do their everyday work through the proxy and see what they see on a direct connection.
//!
//! The scripts are in `tests/clients`; `scripts/setup --tests` installs the drivers. Each prints what happened, and the same must
//! be printed through the proxy: with everything allowed, and with masks that concern none of it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use countersign::demo::shop;
use tokio::process::Command;

use crate::support::certificates::Certificates;
use crate::support::config::{self, PII_MASKED};
use crate::support::proxy::Proxy;
use crate::support::server::{Database, SERVER, UPSTREAM_PASSWORD};
use crate::support::within;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn check_drivers() {
    let installed = in_repository("target/clients/installed").exists();
    assert!(installed, "the drivers are not installed; run: scripts/setup --tests");
}

/// A command that finds the drivers, and the database at that address.
fn client(program: &str, url: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("DATABASE_URL", url)
        .env("PYTHONPATH", in_repository("target/clients/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_PATH", in_repository("target/clients/node_modules"))
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn run(command: &mut Command) -> Output {
    within("a client", command.output()).await.expect("the client starts (scripts/setup --tests installs it)")
}

/// What it prints; it must succeed.
async fn printed(command: &mut Command) -> String {
    let output = run(command).await;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed
}

fn through(proxy: &Proxy, user: &str) -> String {
    format!("postgresql://{user}:{}@{}/shop", config::password(user), proxy.address())
}

fn direct(database: &Database) -> String {
    let role = shop::SHOP_ROLE;
    format!("postgresql://{role}:{UPSTREAM_PASSWORD}@127.0.0.1:{}/{}", SERVER.port(), database.name)
}

/// Runs a script directly, and through proxies with these rules and masks, each on its own copy of the shop.
async fn check_script(program: &str, script: &str) {
    check_drivers();
    let script = in_repository(script);
    let database = Database::create().await;
    let expected = printed(client(program, &direct(&database)).arg(&script)).await;
    for fragment in ["", PII_MASKED] {
        let proxy = Proxy::start(fragment).await;
        let seen = printed(client(program, &through(&proxy, "alice")).arg(&script)).await;
        check_same(&seen, &expected, fragment);
    }
}

#[track_caller]
fn check_same(seen: &str, expected: &str, fragment: &str) {
    for (seen, expected) in seen.lines().zip(expected.lines()) {
        assert_eq!(seen, expected, "through the proxy (left) and directly (right); configuration: {fragment}");
    }
    assert_eq!(seen.lines().count(), expected.lines().count(), "lines; configuration: {fragment}");
}

#[tokio::test]
async fn psycopg_sees_no_difference() {
    check_script("python3", "tests/clients/psycopg_client.py").await;
}

/// Cancels go through TLS here: since version 17 libpq sends them over the same kind of connection.
#[tokio::test]
async fn a_new_libpq_uses_all_it_can() {
    check_drivers();
    let certificates = Certificates::make();
    let proxy = Proxy::start(&certificates.fragment()).await;
    let password = config::password("alice");
    let address = format!("port={} user=alice password={password}", proxy.address().port());
    let mut script = client("python3", &certificates.conninfo(&address));
    let printed = printed(script.arg(in_repository("tests/clients/libpq_tls.py"))).await;
    let mut expected = String::new();
    for session in ["asked for", "direct", "latest", "3.0"] {
        expected += &format!("{session} works\n{session} canceling statement due to user request\n");
    }
    expected += "plaintext connection requires TLS\n";
    expected += "wrong password password authentication failed for user \"alice\"\n";
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn asyncpg_sees_no_difference() {
    check_script("python3", "tests/clients/asyncpg_client.py").await;
}

#[tokio::test]
async fn node_postgres_sees_no_difference() {
    check_script("node", "tests/clients/node_client.js").await;
}

#[tokio::test]
async fn pgbench_runs_in_every_mode() {
    let proxy = Proxy::start(PII_MASKED).await;
    let url = through(&proxy, "alice");
    printed(client("pgbench", &url).args(["-i", "-q", "-s", "1", &url])).await;
    for mode in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "select-only"] {
            let arguments = ["-n", "-c", "4", "-t", "25", "-M", mode, "-b", script, &url];
            let printed = printed(client("pgbench", &url).args(arguments)).await;
            assert!(printed.contains("actually processed: 100/100"), "{mode} {script}: {printed}");
        }
    }
}

#[tokio::test]
async fn psql_copies_both_ways() {
    let proxy = Proxy::start(PII_MASKED).await;
    let url = through(&proxy, "alice");
    let home = tempfile::tempdir().expect("temporary directory");
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let path = |path: &Path| path.display().to_string();
    let steps = [
        "CREATE TABLE copied (id int, word text)".to_owned(),
        "INSERT INTO copied SELECT n, repeat('w', n % 50) FROM generate_series(1, 5000) n".to_owned(),
        format!("\\copy copied TO '{}'", path(&first)),
        "TRUNCATE copied".to_owned(),
        format!("\\copy copied FROM '{}'", path(&first)),
        format!("\\copy (SELECT * FROM copied ORDER BY id) TO '{}' CSV", path(&second)),
        "SELECT count(*), sum(length(word)) FROM copied".to_owned(),
    ];
    let mut command = client("psql", &url);
    command.args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", &url]);
    command.args(steps.iter().flat_map(|step| ["-c", step]));
    let printed = printed(&mut command).await;
    assert!(printed.ends_with("COPY 5000\nTRUNCATE TABLE\nCOPY 5000\nCOPY 5000\n5000|122500\n"), "{printed}");
    let lines = |path: &Path| std::fs::read_to_string(path).expect("copied file").lines().count();
    assert_eq!((lines(&first), lines(&second)), (5000, 5000));
}

#[tokio::test]
async fn a_dump_of_the_schema_is_the_same() {
    let proxy = Proxy::start(PII_MASKED).await;
    let dump = async |url: String| {
        let text = printed(client("pg_dump", &url).args(["--schema-only", &url])).await;
        // Newer versions guard the script with a random word.
        text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
    };
    let expected = dump(direct(&proxy.database)).await;
    assert!(expected.contains("CREATE TABLE public.customers"), "{expected}");
    assert_eq!(dump(through(&proxy, "erin")).await, expected, "through the proxy (left) and directly (right)");
}
