//! Rules that ask for the requester's reason.

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

async fn start(mode: &str) -> Proxy {
    Proxy::start(&format!("{WRITES_HELD}justification = \"required\"\nmode = \"{mode}\"\n")).await
}

#[tokio::test]
async fn without_a_reason_nothing_is_held_and_the_hint_says_how_to_give_one() {
    let proxy = start("wait").await;
    let client = proxy.client("alice").await;
    for statement in
        ["DELETE FROM payments WHERE id = 1", "/* reason: */ DELETE FROM payments WHERE id = 1 -- reason: late"]
    {
        let error = client.refusal(statement).await;
        assert_eq!((error.code().code(), error.message()), ("42501", "statement needs a reason"), "{statement}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("/* reason: ... */") && hint.contains("SET countersign.reason"), "{hint}");
    }
    assert_eq!(client.value("SELECT count(*) FROM payments").await.as_deref(), Some("833"), "reads need none");
}

#[tokio::test]
async fn a_reason_is_taken_from_a_comment_or_the_session_and_kept() {
    let proxy = start("wait").await;
    let mut client = proxy.client("alice").await;
    let bob = proxy.api("bob");
    let held = client.hold("/* reason: ticket 17 */ DELETE FROM payments WHERE id = 1").await;
    assert_eq!(bob.request(&held.id).await["justification"], "ticket 17");
    assert_eq!(bob.request(&held.id).await["transitions"][0]["reason"], "ticket 17");
    bob.approve(&held.id).await;
    held.outcome().await.expect("approved");

    client.client.batch_execute("SET countersign.reason = 'ticket 18'").await.expect("a custom setting");
    let held = client.hold_execute("DELETE FROM payments WHERE id = $1", vec![Box::new(2_i32)]).await;
    assert_eq!(bob.request(&held.id).await["justification"], "ticket 18");
    bob.approve(&held.id).await;
    held.outcome().await.expect("approved");

    client.client.batch_execute("BEGIN; SET LOCAL countersign.reason = 'ticket 19'").await.expect("in a block");
    let held = client.hold("DELETE FROM payments WHERE id = 3").await;
    assert_eq!(bob.request(&held.id).await["justification"], "ticket 19");
    bob.approve(&held.id).await;
    held.outcome().await.expect("approved");
    client.client.batch_execute("COMMIT; RESET countersign.reason").await.expect("the end of the block");
    client.refusal("DELETE FROM payments WHERE id = 4").await;
}

#[tokio::test]
async fn an_approved_ticket_needs_no_second_reason() {
    let proxy = start("resubmit").await;
    let client = proxy.client("alice").await;
    client.client.batch_execute("SET countersign.reason = 'ticket 20'").await.expect("a custom setting");
    let error = client.refusal("DELETE FROM payments WHERE id = 5").await;
    assert_eq!(error.message(), "approval required");
    let id = crate::support::client::request_id(error.detail().unwrap_or_default()).expect("id");
    proxy.api("bob").approve(&id).await;
    let later = proxy.client("alice").await;
    later.client.simple_query("DELETE FROM payments WHERE id = 5").await.expect("a ticket");
}
