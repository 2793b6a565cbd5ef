use std::sync::Arc;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

mod callers;
mod events;
mod looks;
mod notifications;
mod oidc;
mod page;
mod room;
mod slack;
mod table;

use crate::review::fixture::{Bench, new_request};
use crate::review::{Decision, Opened, Waiting};
use countersign_policy::rule::Mode;

struct Site {
    bench: Bench,
    /// The trail of the API's own records.
    audit: Arc<Audit>,
    address: std::net::SocketAddr,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Site {
    async fn start() -> Self {
        Self::with_room(100).await
    }

    /// One that has so many connections at a time.
    async fn with_room(most: usize) -> Self {
        crate::telemetry::install_crypto_provider();
        let bench = Bench::new();
        let state = bench.site();
        let audit = Arc::clone(&state.audit);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server::serve_at_most(most, listener, state, async {
            let _dropped = stopped.await;
        }));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { bench, audit, address, client, stop: Some(stop), served }
    }

    async fn stop(mut self) {
        self.stop.take();
        drop(self.client);
        self.served.await.unwrap().unwrap();
    }

    async fn hold(&self, demands: &str) -> (String, Waiting) {
        match self.bench.review.open(new_request(demands, Mode::Wait), Timestamp::now()).await.unwrap() {
            Opened::Waiting(waiting) => (waiting.request.id.to_string(), waiting),
            other => panic!("{other:?}"),
        }
    }

    fn request(&self, method: Method, path: &str, who: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        if who.is_empty() { request } else { request.bearer_auth(format!("{who}-token")) }
    }

    /// Sends a call and checks that every error is a problem document.
    async fn call(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status();
        let media = response.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(response.headers()["cache-control"], "no-store");
        if status == StatusCode::UNAUTHORIZED {
            assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        }
        let body: Value = response.json().await.unwrap_or_default();
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(media, "application/problem+json");
            if body != Value::Null {
                assert_eq!(body["status"], status.as_u16());
                assert!(body["type"].as_str().unwrap().starts_with("urn:countersign:problem:"), "{body}");
                assert!(!body["detail"].as_str().unwrap().is_empty());
            }
        }
        (status.as_u16(), body)
    }

    async fn get(&self, path: &str, who: &str) -> (u16, Value) {
        self.call(self.request(Method::GET, path, who)).await
    }

    async fn post(&self, path: &str, who: &str, body: Value) -> (u16, Value) {
        self.call(self.request(Method::POST, path, who).json(&body)).await
    }
}

#[tokio::test]
async fn a_request_is_shown_and_approved() {
    let site = Site::start().await;
    let (id, mut waiting) = site.hold("dba security").await;
    let (status, shown) = site.get(&format!("/api/v1/requests/{id}"), "bob").await;
    assert_eq!(status, 200);
    assert_eq!((&shown["id"], &shown["state"], &shown["user"]), (&json!(id), &json!("PENDING"), &json!("alice")));
    assert_eq!(shown["url"], format!("https://countersign.example.com/requests/{id}"));
    assert!((50..=60).contains(&shown["seconds_left"].as_i64().unwrap()));
    assert_eq!(shown["parameters"], json!([{"type": "int4", "value": "1"}, {"type": "text", "value": null}]));
    assert_eq!(shown["reviewers"], json!([{"group": "dba", "approvals": 1}, {"group": "security", "approvals": 1}]));

    let approve = format!("/api/v1/requests/{id}/approve");
    let (status, shown) = site.post(&approve, "sam", json!({"reason": "fine"})).await;
    assert_eq!((status, &shown["state"]), (200, &json!("PENDING")));
    assert_eq!(site.post(&approve, "sam", json!({})).await.0, 409);
    let (status, shown) = site.call(site.request(Method::POST, &approve, "bob")).await;
    assert_eq!((status, &shown["state"]), (200, &json!("APPROVED")));
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    site.stop().await;
}

#[tokio::test]
async fn refusals_say_why_and_change_nothing() {
    let site = Site::start().await;
    let (id, waiting) = site.hold("dba").await;
    let path = |verb: &str| format!("/api/v1/requests/{id}/{verb}");
    for (who, verb, body, want, word) in [
        ("", "approve", json!({}), 401, "unauthenticated"),
        ("eve", "approve", json!({}), 401, "unauthenticated"),
        ("alice", "approve", json!({}), 403, "own-request"),
        ("olga", "approve", json!({}), 404, "not-found"),
        ("sven", "reject", json!({"reason": "x"}), 404, "not-found"),
        ("root", "approve", json!({}), 403, "not-eligible"),
        ("bob", "reject", json!({}), 422, "reason-required"),
        ("bob", "reject", json!({"reason": "  "}), 422, "reason-required"),
        ("bob", "cancel", json!({}), 403, "not-eligible"),
        ("bob", "revoke", json!({}), 409, "already-decided"),
        ("bob", "approve", json!({"force": true, "reason": "x"}), 403, "not-eligible"),
        ("bob", "approve", json!({"forced": true}), 400, "bad-request"),
        ("bob", "approve", json!({"for": "soon"}), 422, "no-such-time"),
        ("bob", "approve", json!({"for": "89672h"}), 422, "no-such-time"),
        ("bob", "approve", json!({"max_affected": 1.5}), 400, "bad-request"),
        ("bob", "approve", json!({"max_affected": -1}), 400, "bad-request"),
        ("bob", "approve", json!({"max_affected": 4_294_967_296_u64}), 400, "bad-request"),
        ("bob", "approve", json!({"scope": "rules"}), 422, "contradiction"),
        ("bob", "approve", json!({"for": "9h"}), 422, "too-long"),
        ("bob", "approve", json!([1]), 400, "bad-request"),
    ] {
        let (status, body) = site.post(&path(verb), who, body).await;
        assert_eq!(status, want, "{who} {verb} {body}");
        assert_eq!(body["type"], format!("urn:countersign:problem:{word}"));
    }
    let form = site.request(Method::POST, &path("approve"), "bob").body("reason=x");
    assert_eq!(site.call(form.header("content-type", "application/x-www-form-urlencoded")).await.0, 415);
    let torn = site.request(Method::POST, &path("approve"), "bob").body("{\"reason\":");
    assert_eq!(site.call(torn.header("content-type", "application/json")).await.0, 400);
    let large = site.post(&path("approve"), "bob", json!({"reason": "x".repeat(70_000)})).await;
    assert_eq!(large.0, 413);
    for (method, verb) in [(Method::GET, "approve"), (Method::HEAD, "approve"), (Method::PUT, "reject")] {
        assert_eq!(site.call(site.request(method, &path(verb), "bob")).await.0, 405);
    }
    let overridden = site.request(Method::GET, &(path("approve") + "?_method=POST&access_token=bob-token"), "");
    assert_eq!(site.call(overridden.header("x-http-method-override", "POST")).await.0, 405);
    let twice = site.request(Method::POST, &path("approve"), "bob").header("authorization", "Bearer carol-token");
    assert_eq!(site.call(twice).await.0, 401);
    assert_eq!(site.get("/api/v1/requests/nonsense", "bob").await.0, 404);
    assert_eq!(site.get("/api/v1/requests/01JD0000000000000000000000", "bob").await.0, 404);
    assert_eq!(site.get("/nowhere", "").await.0, 404);
    assert_eq!(site.bench.review.get(waiting.request.id).await.unwrap().version, 1);
    site.stop().await;
}

#[tokio::test]
async fn lists_show_what_concerns_the_caller() {
    let site = Site::start().await;
    let (first, _one) = site.hold("dba").await;
    let (second, _two) = site.hold("security").await;
    let ids = async |path: &str, who: &str| -> Vec<String> {
        let (status, page) = site.get(path, who).await;
        assert_eq!(status, 200, "{page}");
        let requests = page["requests"].as_array().unwrap();
        requests.iter().map(|request| request["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut both = vec![second.clone(), first.clone()];
    both.sort_by(|one, other| other.cmp(one));
    assert_eq!(ids("/api/v1/requests?status=PENDING", "alice").await, both);
    assert_eq!(ids("/api/v1/requests", "root").await, both);
    assert_eq!(ids("/api/v1/requests", "bob").await, [first.as_str()]);
    assert_eq!(ids("/api/v1/requests?user=alice", "sven").await, [second.as_str()]);
    assert!(ids("/api/v1/requests", "olga").await.is_empty());
    assert!(ids("/api/v1/requests?status=rejected", "root").await.is_empty());
    assert!(ids("/api/v1/requests?database=other", "root").await.is_empty());
    assert_eq!(ids("/api/v1/requests?limit=1", "root").await, both[..1]);
    assert_eq!(ids(&format!("/api/v1/requests?limit=1&after={}", both[0]), "root").await, both[1..]);
    assert_eq!(site.get("/api/v1/requests?status=OPEN", "root").await.0, 400);
    for wrong in ["page=2", "status=", "limit=0", "limit=501", "after=", "after=x"] {
        for list in ["requests", "grants"] {
            assert_eq!(site.get(&format!("/api/v1/{list}?{wrong}"), "root").await.0, 400, "{list} {wrong}");
        }
    }
    assert_eq!(site.get("/api/v1/requests", "").await.0, 401);
    assert_eq!(
        site.get("/api/v1/me", "sam").await.1,
        json!({"name": "sam", "groups": ["dba", "security"], "scopes": ["admin"]})
    );
    site.stop().await;
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let site = Site::start().await;
    assert_eq!(site.get("/livez", "").await, (200, json!({"status": "ok"})));
    assert_eq!(site.get("/healthz", "").await, (200, json!({"status": "ok", "store": "ok"})));
    assert_eq!(site.get("/metrics", "").await.0, 200);
    site.stop().await;
}

#[tokio::test]
async fn two_approvals_at_once_approve_once() {
    let site = Site::start().await;
    let (id, mut waiting) = site.hold("dba").await;
    let path = format!("/api/v1/requests/{id}/approve");
    let (one, two) = tokio::join!(site.post(&path, "bob", json!({})), site.post(&path, "carol", json!({})));
    let mut got = [one.0, two.0];
    got.sort_unstable();
    assert_eq!(got, [200, 409]);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    site.stop().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_shutdown() {
    let site = Site::start().await;
    let mut idle = tokio::net::TcpStream::connect(site.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    site.stop().await;
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}
