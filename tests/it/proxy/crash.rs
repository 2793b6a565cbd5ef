//! `kill -9` at each point around a release: nothing runs twice, nothing approved is forgotten, and what nobody can know is
//! UNKNOWN.

use countersign::audit::{Question, history, search};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use std::os::unix::process::ExitStatusExt as _;

use crate::support::client::{TestClient, affected, refusal_of, request_id};
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
    told(&mut proxy, point).await;
}

/// The trail is unchanged, and tells of everything the store has, once.
async fn told(proxy: &mut Proxy, point: &str) {
    // Whoever catches up twice must find nothing to tell the second time.
    proxy.restart().await;
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let verified = proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
    assert!(verified.status.success(), "{point}: {}", String::from_utf8_lossy(&verified.stdout));
    let trail = proxy.data_dir().join("audit");
    let history = history([trail.as_path()]).expect("the trail");
    assert_eq!(history.flaws, [], "{point}");
    let mut tellings = Vec::new();
    search(
        &trail,
        &Question { kinds: vec!["vote".to_owned(), "transition".to_owned()], ..Question::default() },
        |entry| {
            tellings.push(["kind", "request", "by", "to"].map(|key| entry.text(key).to_owned()));
            true
        },
    )
    .expect("the trail");
    let count = tellings.len();
    tellings.sort_unstable();
    tellings.dedup();
    assert_eq!(tellings.len(), count, "{point}: something is told twice");
}

/// Killed when the store has a vote and the trail has not: the trail tells of it after the next start, and says when.
async fn told_late(store: &str) {
    let fragment = format!("{WRITES_HELD}{store}");
    let environment = [("COUNTERSIGN_CRASH_AT", "BeforeTold")];
    let launch = Launch { fragment: &fragment, environment: &environment, ..Launch::default() };
    let adapt = |text: String| text.replace("mode = \"wait\"", "mode = \"resubmit\"");
    let mut proxy = Proxy::in_front_of(Database::create().await, launch, adapt).await;
    let client = proxy.client("alice").await;
    let refused = client.refusal(UPDATE).await;
    let id = request_id(refused.detail().unwrap_or_default()).expect("id");
    assert_eq!(proxy.api("bob").attempt(&id, "approve", "fine").await, None, "it died before it could answer");
    assert_eq!(proxy.ended().await.signal(), Some(Signal::KILL.as_raw()));
    proxy.relaunch(Launch::default()).await;
    assert_eq!(proxy.api("bob").state(&id).await, "APPROVED");
    let client = proxy.client("alice").await;
    assert_eq!(affected(&client.client.simple_query(UPDATE).await.expect("the ticket")), Some(1));
    drop(client);
    told(&mut proxy, "BeforeTold").await;
    let mut late = Vec::new();
    let question = Question { request: Some(id), ..Question::default() };
    search(&proxy.data_dir().join("audit"), &question, |entry| {
        if !entry.text("told_at").is_empty() {
            assert!(entry.text("at") < entry.text("told_at"), "{}", entry.line);
            late.push(format!("{} {} {}", entry.text("kind"), entry.text("by"), entry.text("to")));
        }
        true
    })
    .expect("the trail");
    assert!(late.contains(&"vote bob ".to_owned()) && late.contains(&"transition bob APPROVED".to_owned()), "{late:?}");
}

#[tokio::test]
async fn what_was_decided_and_not_told_is_told_after_the_next_start() {
    told_late("").await;
    told_late(&SharedStore::create().await.fragment("10m")).await;
}

/// Where it dies between the BEGIN and the COMMIT around what was approved for a number of rows, and whether the rows are
/// there to stay. Nobody but the upstream knows.
const WITHIN: [(&str, bool); 3] = [("AfterForward", false), ("BeforeCommit", false), ("AfterCommit", true)];

/// How the transaction came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// The proxy has put it around a statement.
    Wrapped,
    /// The client has, and has asked for one approval for all of it.
    Batch,
}

impl Block {
    /// Sends it; the error, if there is one.
    async fn send(self, client: &TestClient) -> Option<tokio_postgres::Error> {
        if self == Self::Batch {
            for statement in ["SET countersign.batch = on", "BEGIN", UPDATE] {
                client.value(statement).await;
            }
        }
        let last = if self == Self::Batch { "COMMIT" } else { UPDATE };
        within(last, client.client.simple_query(last)).await.err()
    }

    async fn asked_again(self, proxy: &Proxy) -> String {
        let refused = refusal_of(self.send(&proxy.client("alice").await).await.expect("it needs an approval"));
        request_id(refused.detail().unwrap_or_default()).expect("id")
    }
}

async fn check_within(point: &str, stays: bool, block: Block, store: &str) {
    let fragment = format!("{WRITES_HELD}{store}");
    let environment = [("COUNTERSIGN_CRASH_AT", point)];
    let launch = Launch { fragment: &fragment, environment: &environment, ..Launch::default() };
    let adapt = |text: String| text.replace("mode = \"wait\"", "mode = \"resubmit\"");
    let mut proxy = Proxy::in_front_of(Database::create().await, launch, adapt).await;
    let id = block.asked_again(&proxy).await;
    let path = format!("/requests/{id}/approve");
    let answer = proxy.api("bob").call(Method::POST, &path, Some(json!({ "max_affected": 1 }))).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let client = proxy.client("alice").await;
    assert!(block.send(&client).await.is_some(), "{point}: it died before it could answer");
    assert_eq!(proxy.ended().await.signal(), Some(Signal::KILL.as_raw()), "{point}");

    proxy.relaunch(Launch::default()).await;
    assert_eq!(proxy.api("bob").state(&id).await, "UNKNOWN", "{point} {block:?}");
    let direct = proxy.database.direct().await;
    let written = "SELECT count(*) FROM customers WHERE note = 'canary-3307'";
    let settled = async {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL
            AND pid <> pg_backend_pid()";
        while direct.query_one(open, &[]).await.expect("activity").get::<_, i64>(0) > 0 {
            tokio::task::yield_now().await;
        }
    };
    within("the end of its transaction", settled).await;
    let rows: i64 = direct.query_one(written, &[]).await.expect("customers").get(0);
    assert_eq!(rows, i64::from(stays), "{point} {block:?}");
    assert_ne!(block.asked_again(&proxy).await, id, "{point}: its approval is used up");
    let verified = proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
    assert!(verified.status.success(), "{point}: {}", String::from_utf8_lossy(&verified.stdout));
    let trail = proxy.run(&["audit", "export", "-c", "countersign.toml", "--request", &id]);
    let trail = String::from_utf8_lossy(&trail.stdout).into_owned();
    assert!(
        trail.contains("\"intent\"") && trail.contains("UNKNOWN"),
        "{point}: the trail tells that nobody knows: {trail}"
    );
}

#[tokio::test]
async fn killed_within_a_counted_transaction_with_the_embedded_store() {
    for (point, stays) in WITHIN {
        check_within(point, stays, Block::Wrapped, "").await;
        check_within(point, stays, Block::Batch, "").await;
    }
}

#[tokio::test]
async fn killed_within_a_counted_transaction_with_a_shared_store() {
    for (point, stays) in WITHIN {
        check_within(point, stays, Block::Wrapped, &SharedStore::create().await.fragment("10m")).await;
        check_within(point, stays, Block::Batch, &SharedStore::create().await.fragment("10m")).await;
    }
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
