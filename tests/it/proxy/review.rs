//! Who may decide, and how many it takes.

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

const UPDATE: &str = "UPDATE orders SET status = 'shipped' WHERE id = 1";

const TWO_GROUPS: &str = r#"
[[rules]]
name = "two-groups"
effects = ["update"]
action = "hold"
reviewers = ["dba-team", "security-team"]
"#;

/// Forbidden, or not even shown.
#[track_caller]
fn check_refused(status: u16, who: &str) {
    assert!(matches!(status, 403 | 404), "{who}: {status}");
}

#[tokio::test]
async fn the_requester_cannot_approve() {
    let proxy = Proxy::start(WRITES_HELD).await;
    // Frank is in the reviewers' group himself.
    let mut client = proxy.client("frank").await;
    let held = client.hold(UPDATE).await;
    assert_eq!(proxy.api("frank").approve(&held.id).await, 403);
    assert!(held.is_waiting());
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    held.outcome().await.expect("the update");
}

#[tokio::test]
async fn people_outside_the_group_cannot_decide() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    for stranger in ["carol", "erin", "alice"] {
        check_refused(proxy.api(stranger).approve(&held.id).await, stranger);
    }
    check_refused(proxy.api("carol").reject(&held.id, "no").await, "carol rejects");
    assert_eq!(proxy.api("bob").state(&held.id).await, "PENDING");
    assert!(held.is_waiting());
}

#[tokio::test]
async fn two_groups_take_two_people() {
    let proxy = Proxy::start(TWO_GROUPS).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    assert_eq!(held.notice.message(), "waiting for approval by dba-team and security-team");
    // Dave is in both groups, but he is one person.
    assert_eq!(proxy.api("dave").approve(&held.id).await, 200);
    assert_eq!(proxy.api("dave").state(&held.id).await, "PENDING");
    proxy.api("dave").approve(&held.id).await;
    assert_eq!(proxy.api("dave").state(&held.id).await, "PENDING");
    assert!(held.is_waiting());
    // Carol fills security-team, so Dave counts for dba-team.
    assert_eq!(proxy.api("carol").approve(&held.id).await, 200);
    held.outcome().await.expect("the update");
}

#[tokio::test]
async fn unknown_ids_and_tokens_are_refused() {
    let proxy = Proxy::start(WRITES_HELD).await;
    assert_eq!(proxy.api("bob").approve("01JD0000000000000000000000").await, 404);
    assert_eq!(proxy.api("mallory").approve("01JD0000000000000000000000").await, 401);
}
