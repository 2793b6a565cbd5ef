//! What people write about a request: comments, and a reason that is given later.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Answer, Api};
use crate::support::client::request_id;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

async fn write(api: &Api, id: &str, what: &str, body: Value) -> Answer {
    api.call(Method::POST, &format!("/requests/{id}/{what}"), Some(body)).await
}

#[tokio::test]
async fn requester_and_reviewers_talk_and_strangers_do_not_listen() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold("DELETE FROM payments WHERE id = 1").await;
    let (alice, bob) = (proxy.api("alice"), proxy.api("bob"));
    assert_eq!(write(&bob, &held.id, "comments", json!({"text": " why?\n"})).await.status, 200);
    assert_eq!(write(&alice, &held.id, "comments", json!({"text": "a \u{202e}customer asked"})).await.status, 200);
    for stranger in ["carol", "erin"] {
        let answer = write(&proxy.api(stranger), &held.id, "comments", json!({"text": "let me in"})).await;
        assert_eq!(answer.status, 404, "{stranger}");
    }
    for wrong in ["", " \n", &"x".repeat(4_001)] {
        let answer = write(&bob, &held.id, "comments", json!({ "text": wrong })).await;
        assert_eq!((answer.status, &answer.body["type"]), (422, &json!("urn:countersign:problem:bad-comment")));
    }
    let record = bob.request(&held.id).await;
    let comments = record["details"]["comments"].as_array().expect("comments").clone();
    let told: Vec<_> = comments.iter().map(|one| (one["by"].as_str(), one["text"].as_str())).collect();
    assert_eq!(told, [(Some("bob"), Some("why?")), (Some("alice"), Some("a \u{202e}customer asked"))]);
    assert_eq!((&record["version"], &record["state"]), (&json!(3), &json!("PENDING")));

    assert_eq!(bob.approve(&held.id).await, 200, "comments are no votes");
    held.outcome().await.expect("approved");
    let id = record["id"].as_str().expect("id");
    let commented = proxy.run_as("bob", &["requests", "comment", id, "done"]);
    assert!(commented.status.success(), "{}", String::from_utf8_lossy(&commented.stderr));
    let shown = proxy.run_as("alice", &["requests", "show", id]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("by alice: a <U+202E>customer asked\n") && shown.contains("by bob: done\n"), "{shown}");
}

#[tokio::test]
async fn a_reason_may_be_given_later_where_nobody_waits() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}justification = \"required\"\nmode = \"resubmit\"\n")).await;
    let client = proxy.client("alice").await;
    const DELETE: &str = "DELETE FROM payments WHERE id = 5";
    let error = client.refusal(DELETE).await;
    assert_eq!(error.message(), "approval required");
    assert!(error.hint().is_some_and(|hint| hint.contains("requests justify ID --reason")), "{error:?}");
    let id = request_id(error.detail().unwrap_or_default()).expect("id");
    let bob = proxy.api("bob");
    assert_eq!(bob.approve(&id).await, 409, "nobody approves without a reason");
    assert_eq!(bob.request(&id).await["justification_required"], true);

    let (reason, other) = (json!({"reason": "ticket 21"}), json!({"reason": "another"}));
    for (person, status) in [("bob", 403), ("carol", 404)] {
        assert_eq!(write(&proxy.api(person), &id, "justify", reason.clone()).await.status, status, "{person}");
    }
    let alice = proxy.api("alice");
    assert_eq!(write(&alice, &id, "justify", json!({"reason": " "})).await.status, 422);
    assert_eq!(write(&alice, &id, "justify", reason).await.status, 200);
    assert_eq!(write(&alice, &id, "justify", other).await.status, 409, "a reason is given once");
    assert_eq!(bob.request(&id).await["justification"], "ticket 21");
    assert_eq!(bob.approve(&id).await, 200);
    client.client.simple_query(DELETE).await.expect("a ticket");
}

#[tokio::test]
async fn a_reason_that_comes_when_it_is_sent_again_counts() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}justification = \"required\"\nmode = \"resubmit\"\n")).await;
    let client = proxy.client("alice").await;
    let ask = async || {
        let error = client.refusal("DELETE FROM payments WHERE id = 6").await;
        request_id(error.detail().unwrap_or_default()).expect("id")
    };
    let id = ask().await;
    client.client.batch_execute("SET countersign.reason = 'ticket 22'").await.expect("a custom setting");
    assert_eq!(ask().await, id, "the same request");
    assert_eq!(proxy.api("bob").request(&id).await["justification"], "ticket 22");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
}

#[tokio::test]
async fn what_was_decided_is_counted_and_exported() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (alice, erin) = (&mut proxy.client("alice").await, &mut proxy.client("erin").await);
    let bob = proxy.api("bob");
    for id in [1, 2] {
        let held = alice.hold(&format!("DELETE FROM payments WHERE id = {id}")).await;
        bob.approve(&held.id).await;
        held.outcome().await.expect("approved");
    }
    let held = erin.hold("/* reason: =1+1 */ UPDATE orders SET status = 'new' WHERE id = 1").await;
    bob.reject(&held.id, "no").await;
    held.refusal().await;

    let analytics = bob.call(Method::GET, "/analytics?last=1d", None).await.body;
    let total = &analytics["total"];
    assert_eq!((&total["requests"], &total["approved"], &total["rejected"]), (&json!(3), &json!(2), &json!(1)));
    assert!(total["decision_ms_p50"].as_u64() <= total["decision_ms_p90"].as_u64(), "{total}");
    assert_eq!(analytics["rules"][0]["name"], "writes-need-review");
    assert_eq!(
        (&analytics["groups"][0]["name"], &analytics["databases"][0]["name"]),
        (&json!("dba-team"), &json!("shop"))
    );
    assert_eq!(
        (&analytics["requesters"][0]["name"], &analytics["requesters"][0]["requests"]),
        (&json!("alice"), &json!(2))
    );
    assert_eq!(
        (&analytics["shapes"][0]["summary"], &analytics["shapes"][0]["approved"]),
        (&json!("delete on public.payments"), &json!(2))
    );

    let own = proxy.api("erin").call(Method::GET, "/analytics", None).await.body;
    assert_eq!((&own["total"]["requests"], own["requesters"].as_array().map(Vec::len)), (&json!(1), Some(1)));
    let none = proxy.api("carol").call(Method::GET, "/analytics", None).await.body;
    assert_eq!((&none["total"]["requests"], &none["shapes"]), (&json!(0), &json!([])), "a stranger");
    for (query, requests) in [("user=alice", 2), ("rule=other", 0), ("group=dba-team&database=shop&per=hour", 3)] {
        let narrowed = bob.call(Method::GET, &format!("/analytics?{query}"), None).await.body;
        assert_eq!(narrowed["total"]["requests"], requests, "{query}");
    }
    for (wrong, status) in [("last=soon", 422), ("last=9999999h", 422), ("per=year", 400), ("x=1", 400)] {
        assert_eq!(bob.call(Method::GET, &format!("/analytics?{wrong}"), None).await.status, status, "{wrong}");
    }
    let both = bob.call(Method::GET, "/analytics?from=2026-01-01T00:00:00Z&last=1d", None).await;
    assert_eq!(both.status, 422, "{}", both.body);

    let told = proxy.run_as("bob", &["requests", "stats", "--last", "1d"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("3 requests") && told.contains("2 approved, 1 rejected (67 % approved)"), "{told}");
    let csv = proxy.run_as("bob", &["requests", "export"]);
    let csv = String::from_utf8_lossy(&csv.stdout).into_owned();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.starts_with("\"id\",\"state\",") && csv.contains(",\"'=1+1\","), "{csv}");
    let lines = proxy.run_as("erin", &["requests", "export", "--format", "json"]);
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert_eq!(lines.lines().count(), 1, "own requests only: {lines}");
}
