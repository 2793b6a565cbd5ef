//! What several proxies did to many requests while one of them was killed, told by their audit trails alone.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use super::nodes::proxies;
use crate::support::api::Api;
use crate::support::client::{TestClient, request_id};
use crate::support::config::password;
use crate::support::proxy::{Launch, Proxy};
use crate::support::shared_store::SharedStore;
use crate::support::within;

const WORKERS: usize = 6;
const ROUNDS: usize = 8;

fn update(worker: usize, round: usize) -> String {
    format!("UPDATE customers SET note = 'history-{worker}-{round}-' WHERE id = {}", worker + 1)
}

/// Sends a text once, on a connection of its own; what it is refused with. Whatever happens to the proxy is no failure.
async fn send(address: SocketAddr, text: &str) -> Option<String> {
    let client = TestClient::try_connect(address, "alice", &password("alice"), "shop").await.ok()?;
    let error = within(text, client.client.simple_query(text)).await.err()?;
    error.as_db_error().and_then(|error| error.detail().map(str::to_owned))
}

/// Asks through one proxy, has it decided through another, and runs it through any two at once.
async fn work(worker: usize, addresses: [SocketAddr; 3], reviewers: &[Api; 2]) {
    for round in 0..ROUNDS {
        let text = update(worker, round);
        let at = |step: usize| addresses[(worker + round + step) % 3];
        let Some(id) = send(at(0), &text).await.as_deref().and_then(request_id) else { continue };
        let reviewer = &reviewers[(worker + round) % 2];
        if round % 4 == 3 {
            reviewer.reject(&id, "no").await;
        } else {
            reviewer.approve(&id).await;
        }
        futures_util::future::join(send(at(1), &text), send(at(2), &text)).await;
    }
}

/// The records of a proxy's trail, in order.
fn trail(proxy: &Proxy) -> Vec<Value> {
    let mut segments: Vec<_> = fs::read_dir(proxy.data_dir().join("audit"))
        .expect("trail")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    segments.sort();
    let text: String = segments.iter().map(|path| fs::read_to_string(path).expect("segment")).collect();
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// How often each request is in such records.
fn count(records: &[Value], which: impl Fn(&Value) -> bool) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for request in records.iter().filter(|record| which(record)).filter_map(|record| record["request"].as_str()) {
        *counts.entry(request).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn the_trails_of_all_proxies_together_tell_one_history() {
    let store = SharedStore::create().await;
    let [mut one, mut two, mut three] = proxies(&store, ["10m"; 3], "resubmit").await;
    let addresses = [one.address(), two.address(), three.address()];
    let reviewers = [two.api("bob"), three.api("dave")];
    let workers = futures_util::future::join_all((0..WORKERS).map(|worker| work(worker, addresses, &reviewers)));
    let killed = async {
        while !one.log().contains("to=EXECUTED") {
            tokio::task::yield_now().await;
        }
        one.kill();
    };
    within("the work", futures_util::future::join(workers, killed)).await;
    one.relaunch(Launch::default()).await;
    let page = two.api("bob").call(reqwest::Method::GET, "/requests?limit=500", None).await.body;
    let page = page["requests"].as_array().expect("requests");
    let states: HashMap<_, _> =
        page.iter().map(|request| (request["id"].as_str(), request["state"].as_str())).collect();
    let mut records = Vec::new();
    for proxy in [&mut one, &mut two, &mut three] {
        proxy.signal(rustix::process::Signal::TERM);
        assert!(proxy.ended().await.success());
        let verified = proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        records.extend(trail(proxy));
    }
    let of_the_killed = trail(&one);
    let by_the_killed = count(&of_the_killed, |record| record["kind"] == "intent");

    let to = |state: &'static str| move |record: &Value| record["to"] == state;
    let (approved, executing) = (count(&records, to("APPROVED")), count(&records, to("EXECUTING")));
    let intents = count(&records, |record| record["kind"] == "intent");
    let mut ended = HashMap::new();
    for state in ["EXECUTED", "FAILED", "UNKNOWN", "REJECTED", "EXPIRED", "CANCELLED", "REVOKED"] {
        for (request, times) in count(&records, to(state)) {
            *ended.entry(request).or_insert(0) += times;
        }
    }
    assert!(intents.len() > WORKERS, "too little has happened: {}", intents.len());
    for (request, times) in &intents {
        assert_eq!((*times, approved.get(request), executing.get(request)), (1, Some(&1), Some(&1)), "{request}");
        let state = states.get(&Some(*request)).copied().flatten();
        assert!(matches!(state, Some("EXECUTED" | "FAILED" | "UNKNOWN")), "{request}: {state:?}");
        // The last that a killed proxy wrote may not have reached its trail; only an intent is waited for.
        let killed = by_the_killed.contains_key(request);
        assert!(killed || ended.contains_key(request), "{request} has ended");
    }
    assert!(ended.values().all(|times| *times == 1), "{ended:?}");

    let log = two.database.log();
    for (worker, round) in (0..WORKERS).flat_map(|worker| (0..ROUNDS).map(move |round| (worker, round))) {
        let text = update(worker, round);
        let intended = records.iter().filter(|record| record["kind"] == "intent" && record["statement"] == text);
        assert!(log.matches(&text).count() <= intended.count(), "{text}: each run has an intent of its own");
    }
}
