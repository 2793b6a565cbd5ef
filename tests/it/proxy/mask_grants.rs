//! Leave to see masked values, for a time.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::config::PII_MASKED;
use crate::support::proxy::Proxy;
use crate::support::wire::{Frame, Pipeline};
use crate::support::within;

/// The mask of numbers is reviewed by another group than the database's.
const NUMBERS: &str = "mask = \"last4\"\n";
const REVIEWED: &str = "mask = \"last4\"\nreviewers = [\"security-team\"]\n";

const EMAIL: &str = "bruno.lindqvist1@example.com";
const BOTH: &str = "SELECT email || ',' || ssn FROM customers WHERE id = 1";
const MAIL: &str = "SELECT email FROM customers WHERE id = 1";

async fn proxy() -> Proxy {
    Proxy::start(&PII_MASKED.replace(NUMBERS, REVIEWED)).await
}

/// Asks as alice on the command line, and has these people approve.
async fn granted(proxy: &Proxy, masks: &[&str], reviewers: &[&'static str]) -> String {
    let mut arguments = vec!["grants", "request", "shop", "--for", "30m", "--reason", "ticket 7"];
    masks.iter().for_each(|mask| arguments.extend(["--unmask", *mask]));
    let asked = proxy.run_as("alice", &arguments);
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success() && text.contains(&format!("values masked by {}", masks.join(", "))), "{text}");
    let id = text.split_whitespace().nth(1).expect("an id").to_owned();
    for reviewer in reviewers {
        let path = format!("/grants/{id}/approve");
        assert_eq!(proxy.api(reviewer).call(Method::POST, &path, Some(json!({}))).await.status, 200, "{reviewer}");
    }
    id
}

async fn revoke(proxy: &Proxy, id: &str) {
    let path = format!("/grants/{id}/revoke");
    assert_eq!(proxy.api("bob").call(Method::POST, &path, Some(json!({}))).await.status, 200);
}

#[track_caller]
fn shows(frames: &[Frame], expected: bool, what: &str) {
    let shown = frames.iter().any(|frame| String::from_utf8_lossy(&frame.body).contains(EMAIL));
    assert_eq!(shown, expected, "{what}: {frames:?}");
}

#[tokio::test]
async fn a_grant_shows_values_in_sessions_that_are_open_until_it_is_taken_back() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    // Described while everything is masked, executed again and again.
    let prepared = || Pipeline::default().bind("", "mails", 0).run("", 0).sync();
    wire.send(&Pipeline::default().prepare("mails", MAIL).0).await;
    wire.send(&prepared().0).await;
    shows(&wire.until_ready().await, false, "before");
    wire.query(&format!("PREPARE mine AS {MAIL}")).await;
    wire.query("BEGIN; DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT email FROM customers ORDER BY id; COMMIT").await;
    let id = granted(&proxy, &["customer-email"], &["bob"]).await;
    for (granted, when) in [(true, "granted"), (false, "revoked")] {
        if !granted {
            revoke(&proxy, &id).await;
        }
        shows(&wire.query(MAIL).await, granted, when);
        shows(&wire.query("EXECUTE mine").await, granted, when);
        shows(&wire.query("FETCH ABSOLUTE 1 FROM held").await, granted, when);
        shows(&wire.query(&format!("COPY ({MAIL}) TO STDOUT")).await, granted, when);
        shows(&wire.query("SELECT c FROM customers c WHERE id = 1").await, granted, when);
        // A portal of a statement that was prepared before.
        wire.send(&prepared().0).await;
        shows(&wire.until_ready().await, granted, when);
    }
    let other = proxy.client("frank").await;
    assert_eq!(other.value(MAIL).await.as_deref(), Some("b***@example.com"));
}

/// Who may see the values may look for them; a mask that was not asked for stays.
#[tokio::test]
async fn a_grant_is_for_the_masks_it_names() {
    let proxy = proxy().await;
    granted(&proxy, &["customer-email"], &["bob"]).await;
    let mut alice = proxy.client("alice").await;
    assert_eq!(alice.value(MAIL).await.as_deref(), Some(EMAIL));
    assert_eq!(alice.value(BOTH).await.as_deref(), Some("***"));
    let found = format!("SELECT id FROM customers WHERE email = '{EMAIL}'");
    assert_eq!(alice.value(&found).await.as_deref(), Some("1"));
    assert!(alice.hold("SELECT id FROM customers WHERE ssn LIKE '9%'").await.is_waiting());
}

#[tokio::test]
async fn those_who_review_a_mask_decide() {
    let proxy = proxy().await;
    let id = granted(&proxy, &["customer-numbers", "customer-email"], &["bob"]).await;
    let alice = proxy.client("alice").await;
    assert_eq!(alice.value(BOTH).await.as_deref(), Some("***"), "security-team has not approved");
    let approve = format!("/grants/{id}/approve");
    assert_eq!(proxy.api("alice").call(Method::POST, &approve, Some(json!({}))).await.status, 403);
    assert_eq!(proxy.api("carol").call(Method::POST, &approve, Some(json!({}))).await.status, 200);
    assert_eq!(alice.value(BOTH).await, Some(format!("{EMAIL},913-30-7919")));
    for (body, told) in [
        (json!({ "masks": ["nothing"] }), "\"nothing\" is no mask that applies to alice"),
        (json!({ "masks": [] }), "it names no mask"),
        (json!({ "masks": ["customer-email"], "relations": ["*.*"] }), "lifts no holds"),
        (json!({ "masks": ["customer-email"], "for": "9h" }), "lasts from 1 second to 8 hours"),
    ] {
        let mut asked = json!({ "database": "shop", "for": "30m" });
        asked.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
        let refused = proxy.api("alice").call(Method::POST, "/grants", Some(asked)).await;
        assert!(refused.status == 422 && refused.body["detail"].as_str().is_some_and(|text| text.contains(told)));
    }
    let erin = json!({ "database": "shop", "for": "30m", "masks": ["customer-email"] });
    assert_eq!(proxy.api("erin").call(Method::POST, "/grants", Some(erin)).await.status, 422, "she sees them anyway");
}

#[tokio::test]
async fn every_use_of_a_grant_is_on_record() {
    let mut proxy = proxy().await;
    let id = granted(&proxy, &["customer-email"], &["bob"]).await;
    let alice = proxy.client("alice").await;
    for statement in
        [MAIL, "SELECT id FROM customers WHERE id = 2", "SELECT count(*) FROM customers WHERE email LIKE 'b%'"]
    {
        alice.value(statement).await;
    }
    drop(alice);
    revoke(&proxy, &id).await;
    proxy.signal(Signal::TERM);
    proxy.ended().await;
    let segment = proxy.data_dir().join("audit").join("000001.jsonl");
    let text = std::fs::read_to_string(segment).expect("the trail");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let of_kind = |kind: &'static str| records.iter().filter(move |record| record["kind"] == kind);
    let uses: Vec<_> = of_kind("verdict").map(|record| record["unmasked_by"] == json!([id])).collect();
    assert_eq!(uses, [true, false, true]);
    let states: Vec<_> = of_kind("grant").filter_map(|record| record["to"].as_str()).collect();
    assert_eq!(states, ["REQUESTED", "ACTIVE", "REVOKED"]);
    assert!(of_kind("grant").all(|record| record["scope"]["masks"] == json!(["customer-email"])));
}

/// What runs since before the grant was given is not on record as a use of it.
#[tokio::test]
async fn a_statement_that_was_judged_before_the_grant_shows_nothing() {
    let proxy = proxy().await;
    let direct = proxy.database.direct().await;
    direct.batch_execute("SELECT pg_advisory_lock(8873)").await.expect("the lock");
    let mut wire = proxy.wire("alice").await;
    wire.send_query(&format!("SELECT pg_advisory_lock(8873); {MAIL}")).await;
    let waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 8873";
    within("the statement waits", async { while direct.query(waiting, &[]).await.expect("locks").is_empty() {} }).await;
    granted(&proxy, &["customer-email"], &["bob"]).await;
    direct.batch_execute("SELECT pg_advisory_unlock(8873)").await.expect("the lock");
    let seen = wire.until_ready().await;
    assert!(seen.iter().any(|frame| String::from_utf8_lossy(&frame.body).contains("b***@example.com")), "{seen:?}");
    shows(&seen, false, "judged before");
    shows(&wire.query(MAIL).await, true, "judged after");
}
