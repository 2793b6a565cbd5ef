//! Several proxies on one store.

use std::time::{Duration, Instant};

use crate::support::client::{affected, request_id};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::shared_store::SharedStore;
use crate::support::within;

const UPDATE: &str = "UPDATE customers SET note = 'canary-5521' WHERE id = 1";
/// Longer than any test.
const LONG: &str = "10m";

/// Proxies that share a store and a database.
pub async fn proxies<const N: usize>(store: &SharedStore, leases: [&str; N], mode: &str) -> [Proxy; N] {
    let database = Database::create().await;
    let mode = format!("mode = \"{mode}\"");
    let start = leases.map(|lease| {
        let (database, mode) = (database.clone(), &mode);
        let fragment = format!("{WRITES_HELD}{}", store.fragment(lease));
        async move {
            let launch = Launch { fragment: &fragment, ..Launch::default() };
            Proxy::in_front_of(database, launch, |text| text.replace("mode = \"wait\"", mode)).await
        }
    });
    let proxies = futures_util::future::join_all(start).await;
    proxies.try_into().unwrap_or_else(|_| panic!("as many proxies as leases"))
}

/// How often the upstream has executed a text.
fn runs(proxy: &Proxy, text: &str) -> usize {
    // As a statement of its own: the reviewers' card asks for its plan, too.
    proxy.database.log().matches(&format!(": {text}")).count()
}

#[tokio::test]
async fn what_one_holds_is_released_by_a_decision_through_another() {
    let store = SharedStore::create().await;
    let [one, two, three] = proxies(&store, [LONG; 3], "wait").await;
    let mut client = one.client("alice").await;
    let (approvals, mut took) = ([two.api("bob"), three.api("bob")], Vec::new());
    for round in 0..20 {
        let held = client.hold(UPDATE).await;
        let id = held.id.clone();
        assert_eq!(two.api("alice").state(&id).await, "PENDING");
        let began = Instant::now();
        assert_eq!(approvals[round % 2].approve(&id).await, 200);
        let answered = Instant::now();
        assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
        took.push((began.elapsed(), answered.elapsed()));
        three.api("bob").wait_for_state(&id, "EXECUTED").await;
    }
    took.sort_unstable();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("approved elsewhere, from the call and from its answer to the result: median {median:?}, worst {worst:?}");
    assert!(worst.0 < Duration::from_secs(5), "{worst:?}");
    let held = client.hold(UPDATE).await;
    assert_eq!(three.api("bob").reject(&held.id, "not on a Friday").await, 200);
    assert_eq!(held.refusal().await.message(), "statement rejected by bob (dba-team)");
    assert_eq!(runs(&one, UPDATE), 20);
}

#[tokio::test]
async fn what_a_killed_proxy_held_is_cancelled_and_what_it_ran_is_unknown() {
    let store = SharedStore::create().await;
    let [mut one, two] = proxies(&store, ["1s", "1s"], "wait").await;
    let mut waits = one.client("alice").await;
    let waits = waits.hold("UPDATE customers SET note = 'canary-waits' WHERE id = 2").await;
    // The row is locked, so that the update runs until the test says so.
    let lock = one.database.direct().await;
    lock.batch_execute("BEGIN; SELECT FROM customers WHERE id = 1 FOR UPDATE").await.expect("lock");
    let mut runs_on = one.client("alice").await;
    let running = runs_on.hold(UPDATE).await;
    assert_eq!(two.api("bob").approve(&running.id).await, 200);
    let arrived = async {
        while runs(&two, UPDATE) == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the update upstream", arrived).await;
    assert_eq!(two.api("bob").state(&running.id).await, "EXECUTING");
    one.kill();
    let killed = Instant::now();
    two.api("bob").wait_for_state(&waits.id, "CANCELLED").await;
    two.api("bob").wait_for_state(&running.id, "UNKNOWN").await;
    println!("ended {:?} after the kill, with a lease of 1 s", killed.elapsed());
    assert_eq!(two.api("bob").approve(&waits.id).await, 409);
    lock.batch_execute("ROLLBACK").await.expect("unlock");
    let mut again = two.client("alice").await;
    let again = again.hold(UPDATE).await;
    assert_ne!(again.id, running.id, "its approval is used up");
    assert_eq!(runs(&two, UPDATE), 1);
    assert_eq!(runs(&two, "UPDATE customers SET note = 'canary-waits'"), 0);
}

#[tokio::test]
async fn a_ticket_is_used_once_when_it_is_sent_through_two_proxies_at_the_same_time() {
    let store = SharedStore::create().await;
    let [one, two, three] = proxies(&store, [LONG; 3], "resubmit").await;
    let (first, second) = (one.client("alice").await, two.client("alice").await);
    for round in 1..=10 {
        let refused = first.refusal(UPDATE).await;
        assert_eq!((refused.code().code(), refused.message()), ("42501", "approval required"));
        let id = request_id(refused.detail().unwrap_or_default()).expect("id");
        let again = second.refusal(UPDATE).await;
        assert_eq!(
            request_id(again.detail().unwrap_or_default()),
            Some(id.clone()),
            "the same request is asked for once"
        );
        assert_eq!(three.api("bob").approve(&id).await, 200);
        let both = futures_util::future::join(first.client.simple_query(UPDATE), second.client.simple_query(UPDATE));
        let both = within("two attempts", both).await;
        assert!(both.0.is_ok() != both.1.is_ok(), "one of them: {both:?}");
        three.api("bob").wait_for_state(&id, "EXECUTED").await;
        assert_eq!(runs(&three, UPDATE), round);
        // The other may have asked anew.
        let answer = three.api("alice").call(reqwest::Method::GET, "/requests?status=PENDING", None).await;
        for request in answer.body["requests"].as_array().expect("requests") {
            assert_eq!(one.api("alice").cancel(request["id"].as_str().expect("id")).await, 200);
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told_and_nothing_is_lost() {
    let store = SharedStore::create().await;
    let [mut one, two] = proxies(&store, [LONG; 2], "wait").await;
    let (mut client, mut other) = (two.client("alice").await, two.client("alice").await);
    let held = client.hold(UPDATE).await;
    assert_eq!(two.health().await["store"], "ok");
    one.signal(rustix::process::Signal::TERM);
    assert!(one.ended().await.success());

    store.set_away(true).await;
    assert_eq!(one.attempt(Launch::default()).await.code(), Some(69));
    let log = one.log();
    let told = "could not open the store: could not connect to store at 127.0.0.1:";
    assert!(log.contains(told) && log.contains("is not currently accepting connections"), "{log}");
    assert_eq!(other.refusal(UPDATE).await.code().code(), "58030");
    assert_eq!(other.value("SELECT 1").await.as_deref(), Some("1"), "what needs no approval passes");
    assert_eq!(two.api("bob").approve(&held.id).await, 503);
    assert_eq!(two.health().await["store"], "unreachable");
    assert!(held.is_waiting());

    store.set_away(false).await;
    one.relaunch(Launch::default()).await;
    assert_eq!(one.api("bob").approve(&held.id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    let again = other.hold(UPDATE).await;
    assert!(again.is_waiting());
}

/// Waits until both say that the other goes by other rules, or that it does not.
async fn both_say(proxies: [&Proxy; 2], others: f64) {
    let said = async {
        for proxy in proxies {
            while proxy.metric("countersign_other_rules").await != others {
                tokio::task::yield_now().await;
            }
        }
    };
    within("a look at each other", said).await;
}

#[tokio::test]
async fn proxies_that_go_by_different_rules_say_so() {
    let store = SharedStore::create().await;
    let [one, two] = proxies(&store, [LONG; 2], "wait").await;
    both_say([&one, &two], 0.0).await;
    two.edit("reviewers = [\"dba-team\"]", "reviewers = [\"security-team\"]");
    two.signal(rustix::process::Signal::HUP);
    both_say([&one, &two], 1.0).await;
    let told = "proxies on the same store go by different rules";
    assert!(one.log().contains(told) && two.log().contains(told), "{}", one.log());
    let digest = |proxy: &Proxy| {
        let checked = proxy.run(&["check", "-c", "countersign.toml", "--format", "json"]);
        let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
        checked["rules_digest"].as_str().expect("a digest").to_owned()
    };
    assert_ne!(digest(&one), digest(&two));
    assert!(one.log().contains(&digest(&two)), "the log names the other's");
    two.edit("reviewers = [\"security-team\"]", "reviewers = [\"dba-team\"]");
    two.signal(rustix::process::Signal::HUP);
    both_say([&one, &two], 0.0).await;
    assert_eq!(digest(&one), digest(&two));
}
