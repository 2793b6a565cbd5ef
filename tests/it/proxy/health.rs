//! What monitoring is told: `/readyz` part by part, and every metric of the documentation.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::config::{PII_MASKED, WRITES_HELD};
use crate::support::proxy::{Launch, Proxy};
use crate::support::shared_store::SharedStore;
use crate::support::within;

/// The answer of `/readyz`: whether it is 200, and the parts.
async fn readiness(proxy: &Proxy) -> (bool, Value) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().no_proxy().build().expect("client");
    let answer = client.get(format!("{}/readyz", proxy.web())).send().await.expect("answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    match status {
        200 => (true, body),
        503 => (false, body["parts"].clone()),
        other => panic!("{other}: {body}"),
    }
}

/// Waits until the parts that do not work are these, and returns their reasons.
async fn until_broken(proxy: &Proxy, parts: &[&str]) -> Vec<String> {
    let told = async {
        loop {
            let (is_ready, found) = readiness(proxy).await;
            let found = found.as_object().expect("parts").clone();
            let names: Vec<_> = found.iter().filter(|(_, part)| part["ok"] == false).map(|(name, _)| name).collect();
            if names == parts {
                assert_eq!(is_ready, parts.is_empty());
                return parts
                    .iter()
                    .map(|name| found[*name]["reason"].as_str().unwrap_or_default().to_owned())
                    .collect();
            }
        }
    };
    within(&format!("{parts:?} fail"), told).await
}

#[tokio::test]
async fn a_store_that_is_away_and_comes_back() {
    let store = SharedStore::create().await;
    let proxy = Proxy::launch(Launch { fragment: &store.fragment("10s"), ..Launch::default() }).await;
    until_broken(&proxy, &[]).await;
    store.set_away(true).await;
    let reasons = until_broken(&proxy, &["store"]).await;
    assert!(!reasons[0].is_empty());
    store.set_away(false).await;
    until_broken(&proxy, &[]).await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached() {
    // Nobody listens on port 1.
    let fragment = "[databases.gone]\nupstream = \"postgres://app@127.0.0.1:1/gone?sslmode=disable\"\n\
        groups = [\"engineering\"]\ndefault = \"allow\"\n";
    let proxy = Proxy::start(fragment).await;
    assert_eq!(until_broken(&proxy, &["upstreams"]).await, ["1 of 2 cannot be reached"]);
    assert_eq!(proxy.client("alice").await.value("SELECT 1").await.as_deref(), Some("1"), "the other is served");
}

#[tokio::test]
async fn a_proxy_that_is_about_to_end() {
    let proxy = Proxy::start("").await;
    let mut busy = proxy.wire("alice").await;
    busy.query("BEGIN").await;
    proxy.signal(Signal::TERM);
    assert_eq!(until_broken(&proxy, &["proxy"]).await, ["it is about to end"]);
}

#[tokio::test]
async fn every_metric_of_the_documentation_is_there() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).expect("docs/metrics.md");
    // What is counted for each sink or target is there once there is one.
    let rows = page.lines().filter(|line| !line.contains("`sink`") && !line.contains("`target`"));
    let documented: Vec<_> = rows.filter_map(|line| line.strip_prefix("| `countersign_")?.split('`').next()).collect();
    assert!(documented.len() > 10, "{documented:?}");
    let proxy = Proxy::start(&format!("{WRITES_HELD}{PII_MASKED}")).await;
    drop(rustls::crypto::ring::default_provider().install_default());
    let served = async || {
        let answer = reqwest::get(format!("{}/metrics", proxy.web())).await.expect("answer");
        answer.text().await.expect("text")
    };
    let missing = |served: &str| -> Vec<String> {
        let has = |name: &str| served.lines().any(|line| line.starts_with(&format!("countersign_{name}")));
        documented.iter().filter(|name| !has(name)).map(|name| (*name).to_owned()).collect()
    };
    // Before anything has happened, so that an alarm never asks for what is not there.
    let fresh = served().await;
    assert_eq!(missing(&fresh), Vec::<String>::new(), "{fresh}");
    let words = |series: &str| fresh.lines().any(|line| line.starts_with(series) && line.ends_with(" 0"));
    assert!(words("countersign_verdicts_total{verdict=\"deny\"}") && words("countersign_masked_cells_total{mask="));
    let client = proxy.client("alice").await;
    client.value("SELECT email FROM customers LIMIT 1").await;
    assert_eq!(proxy.metric("countersign_masked_cells_total{mask=\"customer-email\"}").await, 1.0);
}
