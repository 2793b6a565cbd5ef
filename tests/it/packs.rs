//! The starter policies: what each does to everyday statements and to those that try to get around it, over the sample shop.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use countersign::config::Config;
use countersign::packs::Pack;
use countersign_policy::moment::Moment;

use crate::support::bench::{Bench, SETTING};
use crate::support::config::{environment, password};
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::{Database, UPSTREAM_PASSWORD};

/// What a pack makes of statements.
struct Table(Bench);

impl Table {
    async fn with(pack: Pack) -> Self {
        Self(Bench::with(pack.text()).await)
    }

    /// Every statement gets what stands before it.
    #[track_caller]
    fn check<'a>(&'a self, group: &'a str, table: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        let moment = Moment { in_transaction: Some(false), local: None };
        async move {
            for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let (expected, text) = line.split_once(' ').expect("a verdict and a statement");
                assert_eq!(self.0.verdict(group, moment, text).await, expected, "{group}: {text} (table at {caller})");
            }
        }
    }
}

/// What every tool sends, and no pack may stop for people.
const EVERYDAY: &str = "
    allow SELECT 1
    allow SELECT id, name FROM customers WHERE id = 7
    allow SELECT c.region, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.region
    allow BEGIN
    allow COMMIT
    allow SET search_path = public
    allow SHOW server_version
    allow SELECT version(), current_database(), now()
    allow EXPLAIN SELECT id FROM orders
    allow DISCARD ALL
    allow SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relname = 'orders'
    allow SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'
    allow SELECT stxname FROM pg_catalog.pg_statistic_ext WHERE stxrelid = 1
    ";

#[tokio::test]
async fn read_only() {
    let bench = Table::with(Pack::ReadOnly).await;
    bench.check("engineering", EVERYDAY).await;
    bench
        .check(
            "engineering",
            "allow SELECT * FROM payments
             allow COPY orders TO STDOUT
             allow DECLARE c CURSOR FOR SELECT * FROM orders
             allow SELECT customer_spend(1)
             allow EXPLAIN DELETE FROM orders
             deny INSERT INTO orders DEFAULT VALUES
             deny WITH d AS (DELETE FROM orders RETURNING id) SELECT * FROM d
             deny EXPLAIN ANALYZE UPDATE orders SET status = 'x'
             deny COPY (DELETE FROM orders RETURNING id) TO STDOUT
             deny COPY orders TO PROGRAM 'cat'
             deny SELECT * INTO t FROM orders
             deny CREATE TEMP TABLE t (id int)
             deny SELECT cancel_order(1)
             deny SELECT * FROM orders FOR UPDATE
             deny SELECT 1; DROP TABLE orders
             deny SELECT lo_create(1)
             deny SELECT pg_terminate_backend(1)
             deny SELECT setval('orders_id_seq', 1)
             deny DO $$ BEGIN DELETE FROM orders; END $$
             deny SET ROLE postgres
             deny PREPARE TRANSACTION 'x'
             deny COMMIT PREPARED 'x'
             deny ROLLBACK PREPARED 'x'
             deny TRUNCATE orders",
        )
        .await;
    bench.check("maintainers", "allow DELETE FROM orders WHERE id = 1").await;
}

#[tokio::test]
async fn writes_need_review() {
    let bench = Table::with(Pack::WritesNeedReview).await;
    bench.check("engineering", EVERYDAY).await;
    bench
        .check(
            "engineering",
            "allow SELECT * FROM payments FOR UPDATE
             allow COPY orders TO STDOUT
             hold INSERT INTO products (name, price) VALUES ('x', 1)
             hold UPDATE orders SET status = 'x' WHERE id = 1
             hold SELECT cancel_order(1)
             hold MERGE INTO orders o USING products p ON p.id = o.id WHEN MATCHED THEN DELETE
             hold WITH d AS (DELETE FROM orders WHERE id = 1 RETURNING id) SELECT * FROM d
             hold COPY orders FROM STDIN
             hold CREATE INDEX ON orders (status)
             hold GRANT SELECT ON orders TO PUBLIC
             hold DO $$ BEGIN END $$
             deny DELETE FROM orders
             deny UPDATE orders SET status = 'x' WHERE true
             deny DELETE FROM orders WHERE id = id
             deny MERGE INTO orders o USING products p ON true WHEN MATCHED THEN DELETE
             deny DELETE FROM orders USING products p WHERE p.id = 1
             deny DROP TABLE orders
             deny BEGIN; TRUNCATE orders; COMMIT
             deny COPY orders FROM PROGRAM 'curl x'
             deny SET ROLE postgres
             deny SELECT set_config('session_replication_role', 'replica', false)",
        )
        .await;
}

#[tokio::test]
async fn ddl_frozen() {
    let bench = Table::with(Pack::DdlFrozen).await;
    bench.check("engineering", EVERYDAY).await;
    bench
        .check(
            "engineering",
            "allow UPDATE orders SET status = 'x' WHERE id = 1
             allow COPY orders FROM STDIN
             allow SELECT cancel_order(1)
             deny ALTER TABLE orders ADD x int
             deny CREATE TABLE t (id int)
             deny SELECT 1 AS a INTO t
             deny CREATE TABLE t AS SELECT * FROM orders
             deny /* harmless */ drop/**/table orders
             deny DO $$ BEGIN EXECUTE 'DROP TABLE orders'; END $$
             deny TRUNCATE orders
             deny GRANT ALL ON orders TO PUBLIC
             deny CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        )
        .await;
    bench.check("release", "allow ALTER TABLE orders ADD x int").await;
}

#[tokio::test]
async fn pii_strict() {
    let bench = Table::with(Pack::PiiStrict).await;
    bench.check("engineering", EVERYDAY).await;
    bench
        .check(
            "engineering",
            "allow SELECT id, email, phone, ssn FROM customers LIMIT 10
             allow SELECT * FROM customer_contacts LIMIT 10
             allow UPDATE customers SET note = 'x' WHERE id = 1
             allow SELECT count(*) FROM customers
             deny SELECT id FROM customers WHERE ssn LIKE '7%'
             deny SELECT id FROM customers ORDER BY card
             deny SELECT count(*) FROM customers GROUP BY email
             deny SELECT 1 FROM customers a JOIN customers b USING (email)
             deny DELETE FROM customers WHERE phone = '1' RETURNING id
             deny SELECT id FROM customer_contacts WHERE email = 'x'
             deny SELECT most_common_vals FROM pg_stats
             hold UPDATE customers SET note = ssn WHERE id = 1
             deny ALTER TABLE customers ADD CHECK (ssn <> '721-07-4426')
             deny ALTER TABLE customers ADD COLUMN a int CHECK (ssn <> '7')
             deny ALTER TABLE customers ADD COLUMN a int DEFAULT 0, ADD CHECK (a = 0 AND ssn <> '7')
             deny CREATE INDEX ON customers (id) WHERE ssn LIKE '7%'
             deny CREATE INDEX ON customers ((1 / (length(ssn) - 11)))
             deny CREATE POLICY p ON customers USING (ssn LIKE '7%')
             allow CREATE INDEX ON customers (lower(email)) WHERE email IS NOT NULL
             allow ALTER TABLE customers ADD COLUMN age int CHECK (age > 0), ADD CHECK (length(note) < 9)
             allow ALTER TABLE customers ADD CHECK (ssn IS NOT NULL)
             allow CREATE POLICY p ON customers USING (id = 1)
             hold CREATE TABLE copied AS SELECT * FROM customers
             hold COPY customers TO STDOUT",
        )
        .await;
    bench
        .check(
            "privacy",
            "allow SELECT id FROM customers WHERE ssn LIKE '7%'
             allow SELECT email FROM customers LIMIT 100
             hold COPY (SELECT email FROM customers) TO STDOUT",
        )
        .await;
}

#[tokio::test]
async fn ai_agent() {
    let bench = Table::with(Pack::AiAgent).await;
    bench.check("agents", EVERYDAY).await;
    bench
        .check(
            "agents",
            "allow SELECT * FROM orders LIMIT 100
             allow SELECT * FROM orders WHERE id = 5
             deny SELECT * FROM orders a, orders b
             deny SELECT json_agg(a) FROM orders a, orders b
             deny SELECT count(*), string_agg(a.status, ',') FROM orders a, orders b
             allow SELECT count(*), max(a.id) FROM orders a, orders b
             allow SELECT json_agg(o) FROM (SELECT * FROM orders LIMIT 100) o
             deny COPY orders TO STDOUT
             deny SELECT * FROM orders LIMIT 10; SELECT * FROM customers LIMIT 10
             hold UPDATE orders SET status = 'x' WHERE id = 1
             hold WITH d AS (DELETE FROM orders WHERE id = 1 RETURNING id) SELECT * FROM d
             hold CREATE TABLE t (id int)
             deny UPDATE orders SET status = 'x'
             deny DROP TABLE orders
             deny SELECT rolpassword FROM pg_authid
             deny SELECT query FROM pg_stat_activity
             deny SELECT query FROM pg_stat_get_activity(NULL)
             deny SELECT pg_stat_get_backend_activity(1)
             deny SELECT * FROM pg_user_mappings
             deny SELECT most_common_vals FROM pg_stats
             deny SET ROLE postgres
             deny COPY orders TO PROGRAM 'cat'
             deny DO $$ BEGIN END $$
             deny LISTEN x",
        )
        .await;
    bench.check("engineering", "allow DELETE FROM orders\nallow SELECT * FROM orders a, orders b").await;
}

#[test]
fn the_examples_in_the_manual_are_valid() {
    let page = include_str!("../../docs/policies.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 3);
    let text = format!("{SETTING}\n{}", blocks.join("\n"));
    Config::parse(Path::new("countersign.toml"), &text).unwrap_or_else(|problems| panic!("{problems}"));
}

fn countersign(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .current_dir(directory)
        .envs(environment())
        .env("COUNTERSIGN_UPSTREAM_PASSWORD", UPSTREAM_PASSWORD)
        .env_remove("COUNTERSIGN_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("countersign");
    std::io::Write::write_all(&mut child.stdin.take().expect("standard input"), input.as_bytes()).expect("input");
    child.wait_with_output().expect("output")
}

fn succeeded(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn what_init_writes_is_checked_and_served() {
    let database = Database::create().await;
    let upstream = database.config().upstream;
    let url = format!(
        "postgres://{}@{}:{}/{}?sslmode=disable",
        upstream.user, upstream.host, upstream.port, upstream.database
    );
    let home = tempfile::tempdir().expect("temporary directory");
    let init = ["init", "--upstream", &url, "--name", "shop", "--pack", "writes-need-review", "--pack", "pii-strict"];
    let told = succeeded(&countersign(home.path(), &init, ""));
    assert!(told.contains("wrote countersign.toml with writes-need-review, pii-strict"), "{told}");
    assert!(told.contains("found PostgreSQL ") && !told.contains(UPSTREAM_PASSWORD), "{told}");
    let again = countersign(home.path(), &init, "");
    assert_eq!(again.status.code(), Some(64), "it is not overwritten");

    let password = format!("{}\n", password("alice"));
    succeeded(&countersign(home.path(), &["users", "passwd", "alice"], &password));
    let told = succeeded(&countersign(home.path(), &["check"], ""));
    assert!(told.contains("changes: hold by reviewers"), "{told}");

    explains(home.path());
    let text = std::fs::read_to_string(home.path().join("countersign.toml")).expect("configuration");
    let adapt = |_| {
        text.replace("127.0.0.1:6543", "127.0.0.1:0")
            .replace("127.0.0.1:8543", "127.0.0.1:0")
            .replace("COUNTERSIGN_UPSTREAM_PASSWORD", "COUNTERSIGN_TEST_UPSTREAM_PASSWORD")
    };
    let proxy = Proxy::in_front_of(database, Launch::default(), adapt).await;
    let mut client = proxy.client("alice").await;
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"));
    assert_ne!(client.value("SELECT ssn FROM customers WHERE id = 1").await.as_deref(), None);
    client.refusal("DELETE FROM payments").await;
    let held = client.hold("DELETE FROM payments WHERE id = 1").await;
    assert!(held.is_waiting());
}

/// What `explain` says under the policy that init wrote.
fn explains(home: &Path) {
    let explain = |text: &str| {
        let arguments = ["explain", "-d", "shop", "-u", "alice", text];
        let told = succeeded(&countersign(home, &arguments, ""));
        let json = succeeded(&countersign(home, &[&arguments[..], &["--format", "json"]].concat(), ""));
        (told, serde_json::from_str::<serde_json::Value>(&json).expect("JSON"))
    };
    let (told, json) = explain("/* reason: ticket 17 */ UPDATE payments SET method = 'x' WHERE id = 5");
    for line in [
        "HOLD by \"changes\"",
        "  approval by  reviewers within 1 hour",
        "  estimate     about 1 row",
        "  reason       ticket 17",
        "  effects      update",
        "  relation     public.payments: update",
        "  writes       public.payments.method",
        "  reads        public.payments.id",
    ] {
        assert!(told.lines().any(|found| found == line), "{line}\nin\n{told}");
    }
    assert_eq!(json["estimate"]["rows"], 1);
    assert_eq!(json["justification"]["given"], "ticket 17");
    assert_eq!(json["statements"][0]["writes"][0], "public.payments.method");
    let (told, json) = explain("SELECT id, ssn FROM customers WHERE ssn = '1'");
    for line in [
        "DENY by \"no-guessing\"",
        "  reads        public.customers.id, public.customers.ssn",
        "  result       ssn: masked",
    ] {
        assert!(told.lines().any(|found| found == line), "{line}\nin\n{told}");
    }
    assert_eq!((json["verdict"].as_str(), json["estimate"].is_null()), (Some("deny"), true));
    let (told, _) = explain("DELETE FROM payments WHERE amount < (SELECT count(*) FROM no_such_table)");
    assert!(told.starts_with("ERROR at once"), "{told}");
}

#[tokio::test]
async fn init_says_what_it_could_not_do() {
    let home = tempfile::tempdir().expect("temporary directory");
    let url = "postgres://shop@127.0.0.1:1/shop?sslmode=disable&connect_timeout=2";
    let told = succeeded(&countersign(home.path(), &["init", "--upstream", url], ""));
    assert!(told.contains("the database does not answer yet"), "{told}");
    succeeded(&countersign(home.path(), &["check"], ""));
    let help = succeeded(&countersign(home.path(), &["init", "--help"], ""));
    for pack in Pack::ALL {
        assert!(help.contains(pack.name()), "{help}");
    }
    let wrong = countersign(home.path(), &["init", "--upstream", "postgres://u:secret@h/d", "-c", "other.toml"], "");
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(told.contains("COUNTERSIGN_UPSTREAM_PASSWORD") && !told.contains("secret"), "{told}");
    assert!(!home.path().join("other.toml").exists());
}
