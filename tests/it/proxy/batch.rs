//! Transactions that are approved as a whole.

use serde_json::json;

use crate::support::client::{TestClient, request_id};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

const LOST: &str = "SELECT count(*) FROM orders WHERE status = 'lost'";
const BATCH: [&str; 3] = [
    "CREATE TABLE reasons (order_id int PRIMARY KEY, reason text)",
    "UPDATE orders SET status = 'lost' WHERE id IN (1, 2)",
    "INSERT INTO reasons SELECT id, 'lost' FROM orders WHERE status = 'lost'",
];

/// Creating is held, too.
fn rules() -> String {
    WRITES_HELD.replace("\"copy_in\"]", "\"copy_in\", \"create\"]")
}

async fn collect(client: &TestClient, statements: &[&str]) {
    client.value("SET countersign.batch = on").await;
    client.value("BEGIN").await;
    for statement in statements {
        assert_eq!(client.value(statement).await, None, "{statement}");
    }
}

#[tokio::test]
async fn a_batch_is_one_request_and_one_transaction() {
    let proxy = Proxy::start(&rules()).await;
    let mut alice = proxy.client("alice").await;
    collect(&alice, &BATCH).await;
    let held = alice.hold("COMMIT").await;
    assert_eq!(proxy.database.log().matches("CREATE TABLE reasons").count(), 0, "nothing of it has arrived");
    let record = proxy.api("bob").request(&held.id).await;
    assert_eq!(record["statement"], json!(format!("{};\nCOMMIT", BATCH.join(";\n"))));
    assert_eq!((&record["in_transaction"], &record["rows_counted"]), (&json!(true), &json!(false)));
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    held.outcome().await.expect("the batch");
    assert_eq!(alice.value("SELECT count(*) FROM reasons").await.as_deref(), Some("2"));
    assert_eq!(alice.value(LOST).await.as_deref(), Some("2"));
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
}

#[tokio::test]
async fn nothing_of_a_batch_that_is_rejected_stays() {
    let proxy = Proxy::start(&rules()).await;
    let mut alice = proxy.client("alice").await;
    collect(&alice, &BATCH).await;
    let held = alice.hold("COMMIT").await;
    assert_eq!(proxy.api("bob").reject(&held.id, "not today").await, 200);
    assert_eq!(held.refusal().await.detail(), Some("not today"));
    assert_eq!(alice.refusal("SELECT 1").await.code().code(), "25P02");
    alice.value("ROLLBACK").await;
    assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_batch_that_fails_is_rolled_back() {
    let proxy = Proxy::start(&rules()).await;
    let mut alice = proxy.client("alice").await;
    collect(&alice, &[BATCH[1], "UPDATE orders SET customer_id = -1 WHERE id = 3"]).await;
    let held = alice.hold("COMMIT").await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    assert_eq!(held.refusal().await.code().code(), "23503");
    proxy.api("bob").wait_for_state(&id, "FAILED").await;
    alice.value("ROLLBACK").await;
    assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
}

/// An approval fits the sequence that was shown, and no other.
#[tokio::test]
async fn an_approval_is_for_exactly_this_sequence() {
    let proxy = Proxy::start(&rules()).await;
    let ask = async |statements: &[&str], end: &str| {
        let client = proxy.client("alice").await;
        client.value("SET countersign.mode = 'resubmit'").await;
        collect(&client, statements).await;
        let refused = client.client.simple_query(end).await.err().map(crate::support::client::refusal_of);
        refused.map(|error| request_id(error.detail().unwrap_or_default()).expect("an id"))
    };
    let (one, two) =
        ("UPDATE orders SET status = 'lost' WHERE id = 1", "UPDATE orders SET status = 'lost' WHERE id = 2");
    let id = ask(&[one, two], "COMMIT").await.expect("it needs an approval");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    for (statements, end) in [
        (&[two, one][..], "COMMIT"),
        (&[one], "COMMIT"),
        (&[one, two, one], "COMMIT"),
        (&[one, two, "SELECT 1"], "COMMIT"),
        (&["SET LOCAL search_path = public, pg_catalog", one, two], "COMMIT"),
        (&[one, "SET LOCAL search_path = public, pg_catalog", two], "COMMIT"),
        (&[one, "SAVEPOINT a", two, "ROLLBACK TO a"], "COMMIT"),
        (&[one, two], "COMMIT AND CHAIN"),
        (&[one, two], "END"),
        (&["UPDATE orders SET status = 'lost' WHERE id = 3", two], "COMMIT"),
    ] {
        let other = ask(statements, end).await;
        assert!(other.is_some_and(|other| other != id), "{statements:?} {end}");
    }
    let client = proxy.client("alice").await;
    assert_eq!(client.value(LOST).await.as_deref(), Some("0"));
    assert_eq!(ask(&[one, two], "COMMIT").await, None, "the approved sequence runs");
    assert_eq!(client.value(LOST).await.as_deref(), Some("2"));
    let again = ask(&[one, two], "COMMIT").await;
    assert!(again.is_some_and(|again| again != id), "and it ran once");
}

#[tokio::test]
async fn what_a_batch_redefines_is_shown_as_not_understood() {
    let proxy = Proxy::start(&rules()).await;
    let mut alice = proxy.client("alice").await;
    collect(&alice, &[BATCH[0], "ALTER TABLE orders RENAME TO kept", BATCH[1]]).await;
    let held = alice.hold("COMMIT").await;
    let record = proxy.api("bob").request(&held.id).await;
    let effects: Vec<&str> = record["effects"].as_array().expect("effects").iter().filter_map(|e| e.as_str()).collect();
    assert!(effects.contains(&"unknown"), "{effects:?}");
}
