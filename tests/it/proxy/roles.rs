//! `groups_from = "roles"`: who is in which group is what the upstream says at that moment.

use reqwest::Method;
use serde_json::json;

use crate::support::client::{TestClient, affected, request_id};
use crate::support::config::password;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::{Database, SERVER};

const SHIP: &str = "UPDATE orders SET status = 'shipped' WHERE id = 1";

/// Rules for roles of that prefix: updates need one of them, deletes two; contractors read no payments.
fn rules(prefix: &str) -> String {
    format!(
        r#"
[[rules]]
name = "updates"
effects = ["update"]
action = "hold"
reviewers = ["{prefix}_dba"]

[[rules]]
name = "deletes"
effects = ["delete"]
action = "hold"
reviewers = ["{prefix}_dba"]
approvals = 2

[[rules]]
name = "contractors"
groups = ["{prefix}_contractors"]
relations = ["public.payments"]
access = "read"
action = "deny"
"#
    )
}

/// Runs statements as the superuser, once each: roles belong to the whole cluster.
async fn sql(text: &str) {
    SERVER.execute("postgres", text).await.expect(text);
}

async fn role(name: &str) {
    sql(&format!(
        "DO $$ BEGIN CREATE ROLE {name} NOINHERIT; \
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    ))
    .await;
}

/// A proxy that goes by roles: `PREFIX_dba`, `PREFIX_ops` that is a member of it, `PREFIX_contractors`.
async fn start(prefix: &str, adapt: impl FnOnce(String) -> String) -> Proxy {
    for name in ["dba", "ops", "contractors"] {
        role(&format!("{prefix}_{name}")).await;
    }
    sql(&format!("GRANT {prefix}_dba TO {prefix}_ops")).await;
    for person in ["alice", "bob", "carol", "dave", "erin", "frank"] {
        role(person).await;
    }
    let fragment = rules(prefix);
    let launch = Launch { fragment: &fragment, ..Launch::default() };
    let by_roles =
        |text: String| text.replacen("default = \"allow\"", "default = \"allow\"\ngroups_from = \"roles\"", 1);
    Proxy::in_front_of(Database::create().await, launch, |text| adapt(by_roles(text))).await
}

#[tokio::test]
async fn who_decides_is_who_has_the_role_at_that_moment() {
    let proxy = start("decides", |text| text).await;
    let mut alice = proxy.client("alice").await;
    let (carol, dave, erin) = (proxy.api("carol"), proxy.api("dave"), proxy.api("erin"));

    let held = alice.hold(SHIP).await;
    assert_eq!(carol.approve(&held.id).await, 404, "what is not hers does not exist");
    // By way of another role, and though neither inherits privileges.
    sql("GRANT decides_ops TO carol").await;
    assert_eq!(carol.approve(&held.id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));

    // Of two who approve one loses the role before the other has decided.
    sql("GRANT decides_dba TO dave, erin").await;
    let held = alice.hold("DELETE FROM payments WHERE order_id = 4").await;
    read_again(&proxy).await;
    let seen = erin.call(Method::GET, "/requests?status=PENDING", None).await;
    assert_eq!(seen.body["requests"][0]["id"], json!(held.id), "it is in the list of who can decide");
    assert_eq!(carol.approve(&held.id).await, 200);
    sql("REVOKE decides_ops FROM carol").await;
    assert_eq!(dave.approve(&held.id).await, 200);
    assert_eq!(dave.state(&held.id).await, "PENDING");
    assert_eq!(
        dave.request(&held.id).await["details"]["still_needed"],
        json!([{ "group": "decides_dba", "approvals": 1 }])
    );
    assert_eq!(carol.approve(&held.id).await, 404, "it is no longer hers");
    assert_eq!(erin.approve(&held.id).await, 200);
    held.outcome().await.expect("the delete");
}

#[tokio::test]
async fn an_approval_is_not_used_when_its_giver_has_lost_the_role() {
    let proxy = start("release", |text| text.replace("mode = \"wait\"", "mode = \"resubmit\"")).await;
    sql("GRANT release_dba TO carol").await;
    let alice = proxy.client("alice").await;
    let ask = async || {
        let refused = alice.refusal(SHIP).await;
        assert_eq!(refused.message(), "approval required");
        request_id(refused.detail().unwrap_or_default()).expect("id")
    };
    let id = ask().await;
    assert_eq!(proxy.api("carol").approve(&id).await, 200);
    sql("REVOKE release_dba FROM carol").await;
    let refused = alice.refusal(SHIP).await;
    assert_eq!(refused.code().code(), "42501", "{refused:?}");
    let record = proxy.api("alice").request(&id).await;
    assert_eq!(record["state"], "REVOKED");
    let why = record["transitions"].as_array().and_then(|all| all.last()).expect("a transition")["reason"].clone();
    assert_eq!(why, json!("no longer in the groups in which they approved: carol"));
    assert!(!proxy.database.log().contains(&format!(": {SHIP}")), "nothing ran");

    sql("GRANT release_dba TO carol").await;
    let id = ask().await;
    assert_eq!(proxy.api("carol").approve(&id).await, 200);
    let rows = alice.client.simple_query(SHIP).await.expect("the update");
    assert_eq!(affected(&rows), Some(1));
}

#[tokio::test]
async fn requesters_have_the_groups_of_their_roles() {
    let only = |text: String| {
        let all = "groups = [\"engineering\", \"dba-team\", \"security-team\", \"privacy-officers\"]";
        assert!(text.contains(all));
        text.replacen(all, "groups = [\"asks_ops\"]", 1)
    };
    let proxy = start("asks", only).await;
    let connect = async || {
        let connected = TestClient::try_connect(proxy.address(), "frank", &password("frank"), "shop").await;
        connected.map_err(|error| error.as_db_error().expect("an ErrorResponse").code().code().to_owned())
    };
    assert_eq!(connect().await.map(drop), Err("3D000".to_owned()));
    sql("GRANT asks_ops TO frank").await;
    let frank = connect().await.expect("a member");
    assert!(frank.client.simple_query("SELECT count(*) FROM payments").await.is_ok());
    // A session that is open is not left with the groups of its beginning.
    sql("GRANT asks_contractors TO frank").await;
    frank.client.simple_query("CREATE TABLE looked_at (a int)").await.expect("a statement after which roles are read");
    assert_eq!(frank.refusal("SELECT count(*) FROM payments").await.code().code(), "42501");
    sql("REVOKE asks_ops FROM frank").await;
    assert_eq!(connect().await.map(drop), Err("3D000".to_owned()));
}

#[tokio::test]
async fn a_role_makes_nobody_an_admin() {
    let proxy = start("rights", |text| text).await;
    role("admin").await;
    sql("GRANT admin TO bob").await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(SHIP).await;
    read_again(&proxy).await;
    assert_eq!(proxy.api("bob").cancel(&held.id).await, 404);
    // A superuser is implicitly a member of every role; here only what was granted counts.
    sql("ALTER ROLE dave SUPERUSER").await;
    assert_eq!(proxy.api("dave").approve(&held.id).await, 404);
    sql("ALTER ROLE dave NOSUPERUSER").await;
    assert!(held.is_waiting());
}

/// Has the proxy read roles again.
async fn read_again(proxy: &Proxy) {
    let other = proxy.client("alice").await;
    assert_eq!(other.value("SELECT 1").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn while_roles_cannot_be_read_nobody_is_a_member_and_that_is_said() {
    let proxy = start("unread", |text| text).await;
    sql("GRANT unread_dba TO carol").await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(SHIP).await;
    read_again(&proxy).await;
    assert_eq!(proxy.api("carol").state(&held.id).await, "PENDING");
    let direct = proxy.database.direct().await;
    direct.batch_execute("REVOKE SELECT ON pg_catalog.pg_auth_members FROM PUBLIC").await.expect("revoke");
    let path = format!("/requests/{}/approve", held.id);
    let answer = proxy.api("carol").call(Method::POST, &path, Some(json!({}))).await;
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(detail.contains("ould not read who is a member of which role on database \"shop\""), "{detail}");
    let refused = TestClient::try_connect(proxy.address(), "alice", &password("alice"), "shop").await.map(drop);
    let refused = crate::support::client::refusal_of(refused.expect_err("nobody connects"));
    assert_eq!(refused.code().code(), "57P03", "{refused:?}");
    direct.batch_execute("GRANT SELECT ON pg_catalog.pg_auth_members TO PUBLIC").await.expect("grant");
    read_again(&proxy).await;
    assert_eq!(proxy.api("carol").approve(&held.id).await, 200);
    held.outcome().await.expect("the update");
}
