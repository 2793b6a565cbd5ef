//! Who may call, how often, and what happens to a call that is sent twice.

use super::*;
use crate::identity::{Scope, Scopes};
use crate::review::fixture::{self, PEOPLE};

impl Site {
    /// Bob's token is for these from now on.
    fn narrow(&self, scopes: &[Scope]) {
        let mut config = fixture::config(PEOPLE);
        let bob = config.users.iter_mut().find(|user| user.name == "bob").unwrap();
        bob.tokens[0].scopes = scopes.iter().copied().collect::<Scopes>();
        self.bench.config.store(Arc::new(config));
    }
}

#[tokio::test]
async fn a_token_without_scope_can_do_nothing() {
    let site = Site::start().await;
    let (id, _waiting) = site.hold("dba").await;
    site.narrow(&[]);
    for endpoint in endpoints::endpoints().into_iter().filter(|endpoint| endpoint.need.is_some()) {
        let method = if endpoint.is_safe() { Method::GET } else { Method::POST };
        let path = endpoint.path.replace("{id}", &id);
        let (status, body) = site.call(site.request(method, &path, "bob")).await;
        assert_eq!((status, body["type"].as_str().unwrap()), (403, "urn:countersign:problem:no-scope"), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_scope_opens_its_own_doors_only() {
    let site = Site::start().await;
    let (id, _waiting) = site.hold("dba").await;
    site.narrow(&[Scope::RequestsRead]);
    assert_eq!(site.get("/api/v1/requests", "bob").await.0, 200);
    assert_eq!(site.post(&format!("/api/v1/requests/{id}/approve"), "bob", json!({})).await.0, 403);
    assert_eq!(site.get("/api/v1/grants", "bob").await.0, 403);
    site.narrow(&[Scope::RequestsDecide]);
    assert_eq!(site.get("/api/v1/requests", "bob").await.0, 403);
    assert_eq!(site.post(&format!("/api/v1/requests/{id}/approve"), "bob", json!({})).await.0, 200);
    site.stop().await;
}

#[tokio::test]
async fn a_call_that_is_sent_twice_is_done_once() {
    let site = Site::start().await;
    let (id, _waiting) = site.hold("dba").await;
    let comment = async |key: &str, text: &str| {
        let path = format!("/api/v1/requests/{id}/comments");
        let call = site.request(Method::POST, &path, "bob").header("idempotency-key", key);
        let response = call.json(&json!({ "text": text })).send().await.unwrap();
        let replayed = response.headers().get("idempotency-replayed").is_some();
        let status = response.status().as_u16();
        (status, replayed, response.json::<Value>().await.unwrap())
    };
    let (status, replayed, first) = comment("one", "why now?").await;
    assert_eq!((status, replayed), (200, false));
    assert_eq!(comment("one", "why now?").await, (200, true, first));
    let (status, _, body) = comment("one", "why then?").await;
    assert_eq!((status, &body["type"]), (422, &json!("urn:countersign:problem:key-reused")));
    assert_eq!(comment("two", "why then?").await.0, 200);
    let (status, _, refused) = comment("three", " ").await;
    assert_eq!((status, comment("three", " ").await), (422, (422, true, refused)), "refusals, too");
    assert_eq!(comment(&"x".repeat(256), "why").await.0, 400);
    let (_, shown) = site.get(&format!("/api/v1/requests/{id}"), "bob").await;
    assert_eq!(shown["details"]["comments"].as_array().unwrap().len(), 2);
    site.stop().await;
}

#[tokio::test]
async fn who_calls_too_often_is_told_when_to_come_back() {
    let site = Site::start().await;
    let mut config = fixture::config(PEOPLE);
    config.web.calls_per_caller = 2.try_into().unwrap();
    site.bench.config.store(Arc::new(config));
    assert_eq!(site.get("/api/v1/me", "bob").await.0, 200);
    assert_eq!(site.get("/api/v1/me", "bob").await.0, 200);
    let response = site.request(Method::GET, "/api/v1/me", "bob").send().await.unwrap();
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    let (status, body) = site.get("/api/v1/me", "bob").await;
    assert_eq!((status, &body["type"]), (429, &json!("urn:countersign:problem:too-many-calls")));
    assert_eq!(site.get("/api/v1/me", "carol").await.0, 200);
    site.stop().await;
}

#[tokio::test]
async fn what_changes_something_and_every_refusal_is_on_record() {
    let site = Site::start().await;
    let (id, _waiting) = site.hold("dba").await;
    let path = format!("/api/v1/requests/{id}/approve");
    site.narrow(&[Scope::RequestsRead]);
    site.get("/api/v1/requests", "bob").await;
    site.post(&path, "bob", json!({})).await;
    site.post(&path, "carol", json!({})).await;
    for _ in 0..20 {
        site.get("/api/v1/requests", "eve").await;
    }
    let dir = Arc::clone(&site.bench.dir);
    site.stop().await;
    let lines = crate::audit::lines(&dir.path().join("page-audit"));
    let calls = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let calls: Vec<Value> = calls.filter(|line| line["kind"] == "api_call").collect();
    let told = |call: &Value| (call["user"].clone(), call["method"].clone(), call["status"].clone());
    assert_eq!(told(&calls[0]), (json!("bob"), json!("POST"), json!(403)));
    assert_eq!(told(&calls[1]), (json!("carol"), json!("POST"), json!(200)));
    assert_eq!(calls[1]["path"], path);
    assert_eq!(told(&calls[2]), (json!(""), json!("GET"), json!(401)));
    assert_eq!(calls.len(), 12, "a stranger is told of ten times a minute");
}
