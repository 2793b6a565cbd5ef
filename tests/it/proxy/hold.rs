//! Statements that wait, and every way the wait can end.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::client::{affected, request_id};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::wire::{Pipeline, cancel, tags};
use crate::support::within;

const UPDATE: &str = "UPDATE customers SET note = 'canary-8812' WHERE id = 1";

/// The text has not reached the upstream, but for the plan of it that the reviewers' card asks for.
#[track_caller]
fn check_not_upstream(proxy: &Proxy, canary: &str) {
    let log = proxy.database.log();
    let is_planned = |line: &str| line.contains(&format!(": EXPLAIN (FORMAT JSON) {UPDATE}"));
    let seen: Vec<_> = log.lines().filter(|line| line.contains(canary) && !is_planned(line)).collect();
    assert!(seen.is_empty(), "the upstream has seen {canary}: {seen:#?}");
}

#[tokio::test]
async fn an_approved_update_runs_once_and_as_sent() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    assert_eq!(held.notice.message(), "waiting for approval by dba-team");
    let detail = held.notice.detail().unwrap_or_default();
    assert!(detail.contains("update on public.customers"), "{detail}");
    assert!(held.notice.hint().is_some_and(|hint| hint.contains(&held.id)), "{:?}", held.notice);
    assert!(held.is_waiting());
    check_not_upstream(&proxy, "canary-8812");
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    assert_eq!(client.value("SELECT note FROM customers WHERE id = 1").await.as_deref(), Some("canary-8812"));
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    let log = proxy.database.log();
    let runs = log.matches(&format!(": {UPDATE}")).count();
    assert_eq!(runs, 1, "once, byte for byte, besides the plan of it:\n{log}");
    assert!(!proxy.log().contains("canary-8812"), "the proxy's own log holds no statement");
    // The approval is used up: the same statement is held again.
    let again = client.hold(UPDATE).await;
    assert_ne!(again.id, id);
}

#[tokio::test]
async fn an_approved_statement_keeps_its_parameters() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let parameters: Vec<Box<dyn tokio_postgres::types::ToSql + Sync + Send>> = vec![Box::new("canary-1"), Box::new(2)];
    let held = client.hold_execute("UPDATE customers SET note = $1 WHERE id = $2", parameters).await;
    let request = proxy.api("bob").request(&held.id).await;
    assert_eq!(request["parameters"][0]["value"], "canary-1");
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    assert_eq!(held.outcome().await.expect("the update"), 1);
    assert_eq!(client.value("SELECT note FROM customers WHERE id = 2").await.as_deref(), Some("canary-1"));
}

#[tokio::test]
async fn a_rejected_statement_never_reaches_the_upstream() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").reject(&id, "not on a Friday").await, 200);
    let error = held.refusal().await;
    assert_eq!((error.code().code(), error.message()), ("42501", "statement rejected by bob (dba-team)"));
    assert_eq!(error.detail(), Some("not on a Friday"));
    assert_eq!(proxy.api("bob").state(&id).await, "REJECTED");
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"), "the connection lives");
    check_not_upstream(&proxy, "canary-8812");
}

#[tokio::test]
async fn a_request_expires() {
    let proxy = Proxy::start(
        r#"
[[rules]]
name = "hurry"
effects = ["update"]
action = "hold"
timeout = "1s"
"#,
    )
    .await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    let id = held.id.clone();
    let error = held.refusal().await;
    assert_eq!(error.code().code(), "57014");
    assert!(error.message().starts_with("approval timed out after"), "{}", error.message());
    assert_eq!(proxy.api("bob").state(&id).await, "EXPIRED");
    assert_ne!(proxy.api("bob").approve(&id).await, 200, "too late");
    check_not_upstream(&proxy, "canary-8812");
}

#[tokio::test]
async fn ctrl_c_withdraws() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    let pipeline = Pipeline::default().execute(UPDATE, &[], 0).sync();
    wire.send(&pipeline.0).await;
    let notice = loop {
        let frame = wire.frame().await;
        if frame.tag == b'N' {
            break frame;
        }
    };
    let id = request_id(&notice.field(b'D').unwrap_or_default()).expect("id");
    cancel(proxy.address(), (wire.key.0, wire.key.1.wrapping_add(1))).await;
    assert_eq!(proxy.api("bob").state(&id).await, "PENDING", "a wrong key withdraws nothing");
    cancel(proxy.address(), wire.key).await;
    let frames = wire.until_ready().await;
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("ErrorResponse");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"));
    assert_eq!(error.field(b'M').as_deref(), Some("canceling statement due to user request"));
    proxy.api("bob").wait_for_state(&id, "CANCELLED").await;
    assert_ne!(proxy.api("bob").approve(&id).await, 200);
    check_not_upstream(&proxy, "canary-8812");
}

/// Runs the statement in psql up to the notice; yields the running psql and the id of the request.
async fn psql_until_held(proxy: &Proxy, statement: &str) -> (Child, String) {
    let mut running = proxy.psql_command("alice", &["-c", statement]).spawn().expect("psql");
    let mut lines = BufReader::new(running.stderr.take().expect("stderr")).lines();
    loop {
        let line = within("notice in psql", lines.next_line()).await.expect("stderr").expect("a notice");
        if let Some(id) = request_id(&line) {
            return (running, id);
        }
    }
}

#[tokio::test]
async fn disconnecting_withdraws() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (mut running, id) = psql_until_held(&proxy, UPDATE).await;
    running.kill().await.expect("SIGKILL");
    proxy.api("bob").wait_for_state(&id, "CANCELLED").await;
    assert_ne!(proxy.api("bob").approve(&id).await, 200);
    check_not_upstream(&proxy, "canary-");
}

#[tokio::test]
async fn the_requester_withdraws_through_the_api() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    assert_eq!(proxy.api("alice").cancel(&held.id).await, 200);
    assert_eq!(held.refusal().await.code().code(), "57014");
    check_not_upstream(&proxy, "canary-8812");
}

#[tokio::test]
async fn a_rejection_rolls_back_the_pipeline() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    let pipeline = Pipeline::default()
        .execute("SELECT 1", &[], 0)
        .execute(UPDATE, &[], 0)
        .execute("SELECT 'after the canary'", &[], 0)
        .sync();
    wire.send(&pipeline.0).await;
    let mut before = Vec::new();
    let id = loop {
        let frame = wire.frame().await;
        match request_id(&frame.field(b'D').unwrap_or_default()) {
            Some(id) if frame.tag == b'N' => break id,
            Some(_) | None => before.push(frame),
        }
    };
    assert_eq!(proxy.api("bob").reject(&id, "no").await, 200);
    before.extend(wire.until_ready().await);
    let seen = tags(&before);
    assert!(seen.starts_with("12TDC") && seen.ends_with("EZ"), "{seen}");
    assert_eq!(seen.matches('D').count(), 1, "nothing after the rejected statement ran: {seen}");
    assert_eq!(before.last().map(|frame| frame.body.as_slice()), Some(b"I".as_slice()));
}

#[tokio::test]
async fn a_restart_cancels_what_waits() {
    let mut proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    let id = held.id.clone();
    proxy.restart().await;
    assert!(held.outcome().await.is_err(), "the connection is gone");
    proxy.api("bob").wait_for_state(&id, "CANCELLED").await;
    assert_ne!(proxy.api("bob").approve(&id).await, 200);
    check_not_upstream(&proxy, "canary-8812");
}

#[tokio::test]
async fn psql_shows_the_notice_and_the_result() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (running, id) = psql_until_held(&proxy, UPDATE).await;
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    let output = within("psql", running.wait_with_output()).await.expect("psql");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "UPDATE 1");
}
