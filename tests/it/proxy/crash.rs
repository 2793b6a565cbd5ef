//! `kill -9` at each point around a release: nothing runs twice, nothing approved is forgotten, and what nobody can know is
//! UNKNOWN.

use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt as _;

use crate::support::client::{affected, request_id};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::shared_store::SharedStore;
use crate::support::within;

const UPDATE: &str = "UPDATE customers SET note = 'canary-3307' WHERE id = 1";

/// Where it dies, the state it is found in then, and whether the upstream has it.
const POINTS: [(&str, &str, usize); 7] = [
    ("BeforeUse", "APPROVED", 0),
    ("BeforeIntent", "UNKNOWN", 0),
    ("AfterIntent", "UNKNOWN", 0),
    ("BeforeForward", "UNKNOWN", 0),
    ("AfterForward", "UNKNOWN", 1),
    ("BeforeOutcome", "UNKNOWN", 1),
    ("AfterOutcome", "EXECUTED", 1),
];

fn runs(proxy: &Proxy) -> usize {
    // As a statement of its own: the reviewers' card asks for its plan, too.
    proxy.database.log().matches(&format!(": {UPDATE}")).count()
}

async fn check(point: &str, state: &str, ran: usize, store: &str) {
    let fragment = format!("{WRITES_HELD}{store}");
    let environment = [("COUNTERSIGN_CRASH_AT", point)];
    let launch = Launch { fragment: &fragment, environment: &environment, ..Launch::default() };
    let adapt = |text: String| text.replace("mode = \"wait\"", "mode = \"resubmit\"");
    let mut proxy = Proxy::in_front_of(Database::create().await, launch, adapt).await;
    let client = proxy.client("alice").await;
    let refused = client.refusal(UPDATE).await;
    let id = request_id(refused.detail().unwrap_or_default()).expect("id");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    let outcome = within("the end of the session", client.client.simple_query(UPDATE)).await;
    assert!(outcome.is_err(), "{point}: it died before it could answer");
    assert_eq!(proxy.ended().await.signal(), Some(Signal::KILL.as_raw()), "{point}");
    let arrived = async {
        while runs(&proxy) < ran {
            tokio::task::yield_now().await;
        }
    };
    within("the statement upstream", arrived).await;

    proxy.relaunch(Launch::default()).await;
    assert_eq!(proxy.api("bob").state(&id).await, state, "{point}");
    assert_eq!(runs(&proxy), ran, "{point}: nothing ran at the restart");
    let client = proxy.client("alice").await;
    if state == "APPROVED" {
        let outcome = within("the ticket", client.client.simple_query(UPDATE)).await;
        assert_eq!(affected(&outcome.expect("the approval is not forgotten")), Some(1));
        assert_eq!(runs(&proxy), 1);
    } else {
        let refused = client.refusal(UPDATE).await;
        assert_ne!(request_id(refused.detail().unwrap_or_default()), Some(id), "{point}: its approval is used up");
        assert_eq!(runs(&proxy), ran, "{point}: nothing ran twice");
    }
    let verified = proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
    assert!(verified.status.success(), "{point}: {}", String::from_utf8_lossy(&verified.stdout));
}

#[tokio::test]
async fn killed_around_a_release_with_the_embedded_store() {
    for (point, state, ran) in POINTS {
        check(point, state, ran, "").await;
    }
}

#[tokio::test]
async fn killed_around_a_release_with_a_shared_store() {
    for (point, state, ran) in POINTS {
        check(point, state, ran, &SharedStore::create().await.fragment("10m")).await;
    }
}
