//! Leave to run what would be held, for a time.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::client::affected;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

const DELETES_TOO: &str = r#"
[[rules]]
name = "deletes-need-security"
effects = ["delete"]
action = "hold"
reviewers = ["security-team"]
"#;

/// Ships an order: one statement for every order.
fn ship(order: u32) -> String {
    format!("UPDATE orders SET status = 'shipped' WHERE id = {order}")
}

/// A proxy on which alice has a grant that came with an approval.
async fn granted(scope: &str) -> (Proxy, String) {
    let proxy = Proxy::start(&format!("{WRITES_HELD}{DELETES_TOO}")).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(&ship(1)).await;
    let approval = json!({ "reason": "on call", "for": "30m", "scope": scope });
    let path = format!("/requests/{}/approve", held.id);
    assert_eq!(proxy.api("bob").call(Method::POST, &path, Some(approval)).await.status, 200);
    held.outcome().await.expect("the update");
    let grants = proxy.api("alice").call(Method::GET, "/grants?status=ACTIVE", None).await;
    let id = grants.body["grants"][0]["id"].as_str().expect("a grant").to_owned();
    (proxy, id)
}

#[tokio::test]
async fn a_grant_for_a_shape_lets_the_same_statement_pass_and_no_other() {
    let (proxy, _) = granted("shape").await;
    let mut alice = proxy.client("alice").await;
    let rows = alice.client.simple_query(&ship(2)).await.expect("the same statement for another order");
    assert_eq!(affected(&rows), Some(1));
    let held = alice.hold("UPDATE orders SET status = 'shipped'").await;
    proxy.api("alice").cancel(&held.id).await;
    let mut erin = proxy.client("erin").await;
    let held = erin.hold(&ship(2)).await;
    assert!(held.is_waiting());
}

#[tokio::test]
async fn a_grant_for_rules_lets_pass_what_nothing_else_holds() {
    let (proxy, _) = granted("rules").await;
    let mut alice = proxy.client("alice").await;
    alice.client.simple_query("UPDATE orders SET status = 'lost' WHERE id = 2").await.expect("another update");
    let prepared = alice.client.execute("UPDATE orders SET status = $1 WHERE id = 3", &[&"lost"]).await;
    assert_eq!(prepared.expect("an update with a parameter"), 1);
    assert_eq!(alice.refusal("DROP TABLE orders").await.code().code(), "42501");
    let held = alice.hold("DELETE FROM payments WHERE order_id = 4").await;
    assert_eq!(held.notice.message(), "waiting for approval by dba-team and security-team");
}

#[tokio::test]
async fn a_grant_taken_back_holds_the_very_next_statement_and_the_trail_tells() {
    let (mut proxy, grant) = granted("rules").await;
    let mut alice = proxy.client("alice").await;
    alice.client.simple_query(&ship(2)).await.expect("an update under the grant");
    let revoke = format!("/grants/{grant}/revoke");
    assert_eq!(proxy.api("carol").call(Method::POST, &revoke, Some(json!({}))).await.status, 404);
    assert_eq!(proxy.api("bob").call(Method::POST, &revoke, Some(json!({}))).await.status, 200);
    let held = alice.hold(&ship(3)).await;
    assert!(held.is_waiting());
    drop(alice);
    proxy.signal(Signal::TERM);
    proxy.ended().await;
    let audit = proxy.data_dir().join("audit");
    let text = std::fs::read_to_string(audit.join("000001.jsonl")).expect("the trail");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let of_grant: Vec<_> = records
        .iter()
        .filter(|record| record["grant"] == json!(grant))
        .map(|record| record["to"].as_str().or(record["verdict"].as_str()).expect("what happened"))
        .collect();
    assert_eq!(of_grant, ["ACTIVE", "allow", "REVOKED"]);
}

#[tokio::test]
async fn a_grant_is_asked_for_approved_and_shown_on_the_command_line() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let reason = "nightly\u{1b}[2J fix";
    let asked = ["grants", "request", "shop", "--for", "30m", "--rule", "writes-need-review", "--reason", reason];
    let asked = proxy.run_as("alice", &asked);
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success() && text.contains("REQUESTED") && text.contains("nightly<U+001B>[2J fix"), "{text}");
    let id = text.split_whitespace().nth(1).expect("an id").to_owned();
    assert!(!proxy.run_as("alice", &["grants", "approve", &id]).status.success());
    let approved = proxy.run_as("bob", &["grants", "approve", &id]);
    assert!(String::from_utf8_lossy(&approved.stdout).contains("ACTIVE"));
    let alice = proxy.client("alice").await;
    alice.client.simple_query(&ship(1)).await.expect("an update under the grant");
    let listed = proxy.run_as("bob", &["grants", "list", "--status", "active"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(&id) && listed.contains("what writes-need-review holds"), "{listed}");
    let too_long = proxy.run_as("alice", &["grants", "request", "shop", "--for", "9h"]);
    assert_eq!(too_long.status.code(), Some(64));
    let told = String::from_utf8_lossy(&too_long.stderr).into_owned();
    assert!(told.contains("A grant on this database lasts from 1 second to 8 hours"), "{told}");
}

#[tokio::test]
async fn who_may_force_approves_in_everybodys_place() {
    let fragment = format!("{WRITES_HELD}{DELETES_TOO}\n[review]\nforce_groups = [\"privacy-officers\"]\n");
    let proxy = Proxy::start(&fragment).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold("DELETE FROM payments WHERE order_id = 4").await;
    let path = format!("/requests/{}/approve", held.id);
    let force = |who: &'static str, body: Value| {
        let (api, path) = (proxy.api(who), path.clone());
        async move { api.call(Method::POST, &path, Some(body)).await.status }
    };
    let forced = || json!({ "reason": "outage", "force": true });
    assert_eq!(force("bob", forced()).await, 403);
    assert_eq!(force("erin", json!({ "force": true })).await, 422);
    assert_eq!(force("erin", forced()).await, 200);
    held.outcome().await.expect("the delete");
}
