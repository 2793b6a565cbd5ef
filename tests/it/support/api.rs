//! A small client of the HTTP API.
//!
//! Never retries. Invariant: each call is made as one person.

use std::net::SocketAddr;

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// The API as one person sees it.
pub struct Api {
    base: String,
    token: String,
    http: Client,
}

/// Status code and body of an answer; JSON `null` when the body is not JSON.
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Body.
    pub body: Value,
}

impl Api {
    pub(super) fn new(address: SocketAddr, token: String) -> Self {
        // Only the first installation in the process takes effect, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { base: format!("http://{address}/api/v1"), token, http: Client::new() }
    }

    /// One call; the path starts with a slash.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = super::within("API call", request.send()).await.expect("answer of the API");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("body of the answer");
        Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }

    /// Approves; yields the status code.
    pub async fn approve(&self, id: &str) -> u16 {
        self.call(Method::POST, &format!("/requests/{id}/approve"), Some(json!({}))).await.status
    }

    /// Rejects with a reason; yields the status code.
    pub async fn reject(&self, id: &str, reason: &str) -> u16 {
        self.call(Method::POST, &format!("/requests/{id}/reject"), Some(json!({ "reason": reason }))).await.status
    }

    /// Withdraws; yields the status code.
    pub async fn cancel(&self, id: &str) -> u16 {
        self.call(Method::POST, &format!("/requests/{id}/cancel"), Some(json!({}))).await.status
    }

    /// Decides in that way, through a proxy that may be killed meanwhile; the status code, if there is an answer.
    pub async fn attempt(&self, id: &str, how: &str, reason: &str) -> Option<u16> {
        let url = format!("{}/requests/{id}/{how}", self.base);
        let sent = self.http.post(url).bearer_auth(&self.token).json(&json!({ "reason": reason })).send();
        super::within("API call", sent).await.ok().map(|answer| answer.status().as_u16())
    }

    /// The request's record.
    pub async fn request(&self, id: &str) -> Value {
        let answer = self.call(Method::GET, &format!("/requests/{id}"), None).await;
        assert_eq!(answer.status, 200, "request {id}: {}", answer.body);
        answer.body
    }

    /// The request's state.
    pub async fn state(&self, id: &str) -> String {
        self.request(id).await["state"].as_str().expect("state").to_owned()
    }

    /// Waits until the request is in that state: what a session does after a decision takes a moment.
    pub async fn wait_for_state(&self, id: &str, state: &str) {
        let reached = async {
            while self.state(id).await != state {
                tokio::task::yield_now().await;
            }
        };
        super::within(state, reached).await;
    }
}
