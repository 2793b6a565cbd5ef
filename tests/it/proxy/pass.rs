//! What no rule holds passes as if there were no proxy.

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::wire::{Pipeline, tags};

#[tokio::test]
async fn psql_and_its_meta_commands_work() {
    let proxy = Proxy::start(WRITES_HELD).await;
    for command in [
        "SELECT count(*) FROM customers",
        "\\d",
        "\\d customers",
        "\\d+ customer_contacts",
        "\\dt",
        "\\dv",
        "\\df",
        "\\du",
        "\\l",
        "\\dn",
        "\\di",
        "\\ds",
        "\\dT",
        "\\dp",
        "\\sf customer_spend",
        "\\conninfo",
    ] {
        let output = proxy.psql("alice", &["-c", command]).await;
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{command} prints something");
    }
}

#[tokio::test]
async fn results_are_those_of_a_direct_connection() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let direct = proxy.database.direct().await;
    let client = proxy.client("alice").await;
    for statement in [
        "SELECT * FROM orders ORDER BY id",
        "SELECT region, count(*), max(birth_date) FROM customers GROUP BY 1 ORDER BY 1",
        "SELECT NULL::text, ''::text, 'ü', 1.50::numeric, ARRAY[1,2], '{\"a\": 1}'::jsonb",
        "SELECT 1 WHERE false",
    ] {
        let rows = |messages: Vec<tokio_postgres::SimpleQueryMessage>| format!("{messages:?}");
        let through = rows(client.client.simple_query(statement).await.expect(statement));
        assert_eq!(through, rows(direct.simple_query(statement).await.expect(statement)), "{statement}");
    }
}

#[tokio::test]
async fn a_pipeline_passes_in_order() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    let pipeline = Pipeline::default().execute("SELECT $1::int", &["7"], 0).execute("SELECT $1", &["x"], 0).sync();
    wire.send(&pipeline.0).await;
    assert_eq!(tags(&wire.until_ready().await), "12TDC12TDCZ");
}

#[tokio::test]
async fn a_large_result_needs_little_memory() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT 1").await;
    let before = proxy.resident_kb();
    wire.send_query("SELECT repeat('x', 1000) FROM generate_series(1, 60000)").await;
    let (mut rows, mut peak) = (0, before);
    loop {
        match wire.frame().await.tag {
            b'D' => rows += 1,
            b'Z' => break,
            _ => {}
        }
        if rows % 10_000 == 0 {
            peak = peak.max(proxy.resident_kb());
        }
    }
    assert_eq!(rows, 60_000);
    assert!(peak < before + 16_384, "60 MB passed, memory grew from {before} kB to {peak} kB");
}

#[tokio::test]
async fn errors_of_the_upstream_arrive() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let client = proxy.client("alice").await;
    let error = client.refusal("SELECT 1/0").await;
    assert_eq!(error.code().code(), "22012");
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn strangers_learn_nothing() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let attempt = |user: &'static str, password: &'static str, database: &'static str| {
        crate::support::client::TestClient::try_connect(proxy.address(), user, password, database)
    };
    for (user, password, database, code) in [
        ("alice", "wrong", "shop", "28P01"),
        ("mallory", "wrong", "shop", "28P01"),
        ("alice", "password-of-alice", "nowhere", "3D000"),
    ] {
        let error = attempt(user, password, database).await.err().expect("refused");
        assert_eq!(error.code().map(|code| code.code()), Some(code), "{user} to {database}");
    }
}
