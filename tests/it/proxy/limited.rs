//! Approvals for a number of rows.

use reqwest::Method;
use serde_json::json;

use crate::support::client::affected;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

const TWO: &str = "UPDATE orders SET status = 'lost' WHERE id IN (1, 2)";
const LOST: &str = "SELECT count(*) FROM orders WHERE status = 'lost'";

async fn approve(proxy: &Proxy, id: &str, rows: u64) -> u16 {
    let path = format!("/requests/{id}/approve");
    proxy.api("bob").call(Method::POST, &path, Some(json!({ "max_affected": rows }))).await.status
}

#[tokio::test]
async fn what_writes_more_rows_is_taken_back() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    for (rows, is_enough) in [(1, false), (2, true)] {
        let held = alice.hold(TWO).await;
        let id = held.id.clone();
        assert_eq!(approve(&proxy, &id, rows).await, 200);
        if is_enough {
            assert_eq!(affected(&held.outcome().await.expect("two rows")), Some(2));
            proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
        } else {
            let refusal = held.refusal().await;
            assert_eq!(refusal.code().code(), "54000");
            assert_eq!(refusal.message(), "statement affected 2 rows, and was approved for at most 1");
            proxy.api("bob").wait_for_state(&id, "FAILED").await;
            assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
        }
    }
    assert_eq!(alice.value(LOST).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn the_block_around_it_fails() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    alice.value("BEGIN").await;
    let held = alice.hold(TWO).await;
    assert_eq!(approve(&proxy, &held.id, 1).await, 200);
    assert_eq!(held.refusal().await.code().code(), "54000");
    assert_eq!(alice.refusal("SELECT 1").await.code().code(), "25P02");
    alice.value("COMMIT").await;
    assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn an_execute_with_parameters_is_counted() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let statement = "UPDATE orders SET status = $1 WHERE id IN (1, 2)";
    for (rows, is_enough) in [(1, false), (2, true)] {
        let held = alice.hold_execute(statement, vec![Box::new("lost")]).await;
        assert_eq!(approve(&proxy, &held.id, rows).await, 200);
        if is_enough {
            assert_eq!(held.outcome().await.expect("two rows"), 2);
        } else {
            assert_eq!(held.refusal().await.code().code(), "54000");
            assert_eq!(alice.value(LOST).await.as_deref(), Some("0"));
        }
    }
    assert_eq!(alice.value(LOST).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_cannot_be_counted_is_not_approved_like_that() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold("WITH gone AS (DELETE FROM payments RETURNING id) SELECT count(*) FROM gone").await;
    let path = format!("/requests/{}/approve", held.id);
    let answer = proxy.api("bob").call(Method::POST, &path, Some(json!({ "max_affected": 1 }))).await;
    assert_eq!((answer.status, &answer.body["type"]), (422, &json!("urn:countersign:problem:not-counted")));
    assert!(held.is_waiting());
}
