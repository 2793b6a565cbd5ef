//! Approvals for a number of rows of what is more than one statement, or brings its rows along: COPY, scripts, batches.

use bytes::Bytes;
use futures_util::SinkExt as _;
use reqwest::Method;
use serde_json::json;

use crate::support::client::{TestClient, refusal_of};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::within;

const LOST: &str = "SELECT count(*) FROM orders WHERE status = 'lost'";
const ONE: &str = "UPDATE orders SET status = 'lost' WHERE id = 1";
const TWO: &str = "UPDATE orders SET status = 'lost' WHERE id IN (2, 3)";

async fn approve(proxy: &Proxy, id: &str, rows: u64) {
    let path = format!("/requests/{id}/approve");
    let answer = proxy.api("bob").call(Method::POST, &path, Some(json!({ "max_affected": rows }))).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

/// Approves, for that many rows, what comes next, whoever waits for it.
async fn approve_next(proxy: &Proxy, rows: u64) -> String {
    let bob = proxy.api("bob");
    let found = async {
        loop {
            let page = bob.call(Method::GET, "/requests?status=pending", None).await.body;
            if let Some(id) = page["requests"][0]["id"].as_str() {
                return id.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let id = within("a request", found).await;
    approve(proxy, &id, rows).await;
    id
}

/// A proxy in front of a database where alice may also copy into `notes`.
async fn start() -> Proxy {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct.batch_execute("CREATE TABLE notes (id int PRIMARY KEY); GRANT ALL ON notes TO PUBLIC").await.expect("notes");
    Proxy::in_front_of(database, Launch { fragment: WRITES_HELD, ..Launch::default() }, |text| text).await
}

async fn notes(proxy: &Proxy) -> i64 {
    proxy.database.direct().await.query_one("SELECT count(*) FROM notes", &[]).await.expect("notes").get(0)
}

#[tokio::test]
async fn a_script_with_its_own_block_is_counted_before_its_commit() {
    let proxy = start().await;
    let mut alice = proxy.client("alice").await;
    let script = format!("BEGIN; SET LOCAL lock_timeout = '2s'; {ONE}; {TWO}; SELECT 1; COMMIT;");
    for (rows, is_enough) in [(2, false), (3, true)] {
        let held = alice.hold(&script).await;
        approve(&proxy, &held.id, rows).await;
        let id = held.id.clone();
        if is_enough {
            held.outcome().await.expect("three rows");
            proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
        } else {
            let refusal = held.refusal().await;
            assert_eq!(refusal.message(), "statement affected 3 rows, and was approved for at most 2");
            proxy.api("bob").wait_for_state(&id, "FAILED").await;
            assert_eq!(alice.refusal("SELECT 1").await.code().code(), "25P02", "the block is failed");
            alice.value("COMMIT").await;
            assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
        }
    }
    assert_eq!(alice.value(LOST).await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_batch_is_counted_as_a_whole() {
    let proxy = start().await;
    let mut alice = proxy.client("alice").await;
    alice.value("SET countersign.batch = on").await;
    for (rows, is_enough) in [(2, false), (3, true)] {
        for statement in ["BEGIN", ONE, TWO] {
            assert_eq!(alice.value(statement).await, None, "{statement}");
        }
        let held = alice.hold("COMMIT").await;
        approve(&proxy, &held.id, rows).await;
        if is_enough {
            held.outcome().await.expect("three rows");
        } else {
            assert_eq!(held.refusal().await.code().code(), "54000");
            // What has failed stays so, whatever its client does about it.
            alice.value("COMMIT").await;
            assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
        }
    }
    assert_eq!(alice.value(LOST).await.as_deref(), Some("3"));
}

/// A savepoint would let a failed block go on with what was written before it.
#[tokio::test]
async fn a_batch_with_a_savepoint_is_not_approved_for_a_number_of_rows() {
    let proxy = start().await;
    let mut alice = proxy.client("alice").await;
    alice.value("SET countersign.batch = on").await;
    for statement in ["BEGIN", TWO, "SAVEPOINT a"] {
        alice.value(statement).await;
    }
    let held = alice.hold("COMMIT").await;
    let path = format!("/requests/{}/approve", held.id);
    let answer = proxy.api("bob").call(Method::POST, &path, Some(json!({ "max_affected": 1 }))).await;
    assert_eq!((answer.status, &answer.body["type"]), (422, &json!("urn:countersign:problem:not-counted")));
    assert!(held.is_waiting());
}

#[tokio::test]
async fn a_savepoint_from_before_takes_nothing_of_it_along() {
    let proxy = start().await;
    let mut alice = proxy.client("alice").await;
    alice.value("BEGIN").await;
    alice.value("SAVEPOINT before").await;
    let held = alice.hold(TWO).await;
    approve(&proxy, &held.id, 1).await;
    assert_eq!(held.refusal().await.code().code(), "54000");
    alice.value("ROLLBACK TO before").await;
    alice.value("COMMIT").await;
    assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
}

async fn copied(proxy: &Proxy, arguments: &[&str], rows: u64) -> (Option<i32>, String) {
    let running = proxy.psql_command("alice", arguments).output();
    let (output, _id) = tokio::join!(within("psql", running), approve_next(proxy, rows));
    let output = output.expect("psql");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// psql copies by the simple protocol.
#[tokio::test]
async fn psql_copies_as_many_rows_as_were_approved() {
    let proxy = start().await;
    let home = tempfile::tempdir().expect("temporary directory");
    let file = home.path().join("notes.txt");
    std::fs::write(&file, "1\n2\n3\n").expect("the file");
    let copy = format!("\\copy notes FROM '{}'", file.display());
    let (code, told) = copied(&proxy, &["-c", &copy], 2).await;
    assert_ne!(code, Some(0), "{told}");
    assert!(told.contains("statement affected 3 rows, and was approved for at most 2"), "{told}");
    assert_eq!(notes(&proxy).await, 0);
    // In a block of its own, psql sends three Queries.
    let (code, told) = copied(&proxy, &["-1", "-c", &copy], 2).await;
    assert_ne!(code, Some(0), "{told}");
    assert_eq!(notes(&proxy).await, 0);
    let (code, told) = copied(&proxy, &["-1", "-c", &copy], 3).await;
    assert_eq!((code, notes(&proxy).await), (Some(0), 3), "{told}");
    std::fs::write(&file, "4\nfive\n").expect("the file");
    let (code, told) = copied(&proxy, &["-c", &copy], 2).await;
    assert_ne!(code, Some(0));
    assert!(told.contains("invalid input syntax for type integer"), "{told}");
    std::fs::write(&file, "4\n5\n").expect("the file");
    let (code, told) = copied(&proxy, &["-c", &copy], 2).await;
    assert_eq!((code, notes(&proxy).await), (Some(0), 5), "{told}");
}

/// A driver copies by the extended protocol, with a Sync of its own.
async fn copies(client: &TestClient, rows: &'static str) -> Result<u64, tokio_postgres::Error> {
    let sink = client.client.copy_in("COPY notes FROM STDIN").await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from_static(rows.as_bytes())).await?;
    sink.finish().await
}

#[tokio::test]
async fn a_driver_copies_as_many_rows_as_were_approved() {
    let proxy = start().await;
    let alice = proxy.client("alice").await;
    let (outcome, _id) = tokio::join!(copies(&alice, "1\n2\n3\n"), approve_next(&proxy, 2));
    assert_eq!(refusal_of(outcome.expect_err("three rows")).code().code(), "54000");
    assert_eq!(notes(&proxy).await, 0);
    let (outcome, _id) = tokio::join!(copies(&alice, "1\n2\n3\n"), approve_next(&proxy, 3));
    assert_eq!((outcome.expect("three rows"), notes(&proxy).await), (3, 3));
    alice.value("BEGIN").await;
    let (outcome, _id) = tokio::join!(copies(&alice, "4\n5\n"), approve_next(&proxy, 1));
    assert_eq!(refusal_of(outcome.expect_err("two rows")).code().code(), "54000");
    assert_eq!(alice.refusal("SELECT 1").await.code().code(), "25P02");
    alice.value("ROLLBACK").await;
    assert_eq!(notes(&proxy).await, 3);
    assert_eq!(alice.value("SELECT 1").await.as_deref(), Some("1"), "the session goes on");
}

/// A client that dies in the middle of its data leaves nothing behind, and no transaction open.
#[tokio::test]
async fn a_copy_that_is_left_is_rolled_back() {
    let proxy = start().await;
    let alice = proxy.client("alice").await;
    let begun = async {
        let sink = alice.client.copy_in("COPY notes FROM STDIN").await.expect("it is approved");
        let mut sink = Box::pin(sink);
        sink.send(Bytes::from_static(b"1\n")).await.expect("a row");
        sink
    };
    let (sink, id) = tokio::join!(begun, approve_next(&proxy, 3));
    drop((sink, alice));
    proxy.api("bob").wait_for_state(&id, "FAILED").await;
    assert_eq!(notes(&proxy).await, 0);
}
