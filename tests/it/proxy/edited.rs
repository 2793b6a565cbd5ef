//! Statements that a reviewer approves with changes.

use reqwest::Method;
use serde_json::json;

use crate::support::client::affected;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

const ALL: &str = "UPDATE orders SET status = 'lost'";
const ONE: &str = "UPDATE orders SET status = 'lost' WHERE id = 1";

async fn approve(proxy: &Proxy, id: &str, statement: &str) -> u16 {
    let path = format!("/requests/{id}/approve");
    proxy.api("bob").call(Method::POST, &path, Some(json!({ "statement": statement }))).await.status
}

#[tokio::test]
async fn a_query_runs_as_it_was_changed() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(ALL).await;
    let id = held.id.clone();
    assert_eq!(approve(&proxy, &id, ONE).await, 200);
    let rows = held.outcome().await.expect("the changed update");
    assert_eq!(affected(&rows), Some(1));
    let notice = alice.notice().await;
    assert_eq!(notice.message(), "statement approved with changes by bob");
    assert_eq!(notice.detail(), Some(format!("What runs is: {ONE}").as_str()));
    let record = proxy.api("bob").request(&id).await;
    assert_eq!((&record["statement"], &record["votes"][0]["edited"]), (&json!(ALL), &json!(ONE)));
    let lost = alice.value("SELECT count(*) FROM orders WHERE status = 'lost'").await;
    assert_eq!(lost.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_change_cannot_get_around_a_denial() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(ALL).await;
    assert_eq!(approve(&proxy, &held.id, "DROP TABLE orders").await, 200);
    assert_eq!(held.refusal().await.message(), "statement denied by rule \"no-destructive-ddl\"");
    assert!(alice.value("SELECT count(*) FROM orders").await.is_some());
}

#[tokio::test]
async fn a_change_that_others_must_approve_is_not_asked_for_in_the_requesters_name() {
    let security = "[[rules]]\nname = \"deletes\"\neffects = [\"delete\"]\naction = \"hold\"\n\
        reviewers = [\"security-team\"]\n";
    let proxy = Proxy::start(&format!("{WRITES_HELD}{security}")).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(ALL).await;
    let id = held.id.clone();
    assert_eq!(approve(&proxy, &id, "DELETE FROM payments").await, 200);
    assert_eq!(held.refusal().await.message(), "the approval can no longer be used");
    proxy.api("bob").wait_for_state(&id, "REVOKED").await;
    let asked = proxy.api("carol").call(Method::GET, "/requests?status=pending", None).await;
    assert_eq!(asked.body["requests"], json!([]));
}

#[tokio::test]
async fn a_prepared_statement_is_sent_again_with_the_changed_text() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let (asked, changed) = ("UPDATE orders SET status = $1", "UPDATE orders SET status = $1 WHERE id = 2");
    let held = alice.hold_execute(asked, vec![Box::new("lost")]).await;
    let id = held.id.clone();
    assert_eq!(approve(&proxy, &id, changed).await, 200);
    let refusal = held.refusal().await;
    assert_eq!(refusal.message(), "statement approved with changes by bob");
    assert_eq!(refusal.detail(), Some(format!("What was approved is: {changed}").as_str()));
    assert_eq!(alice.client.execute(changed, &[&"lost"]).await.expect("the approved update"), 1);
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    let held = alice.hold_execute(changed, vec![Box::new("lost")]).await;
    assert!(held.is_waiting(), "the approval was used up");
}
