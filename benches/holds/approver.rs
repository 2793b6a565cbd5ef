//! The reviewer, over the HTTP API.
//!
//! Never approves twice. Invariant: every approval was answered with 200.

use std::net::SocketAddr;
use std::time::Instant;

use reqwest::{Client, header};

use crate::Outcome;
use crate::proxy::TOKEN;

/// When an approval was sent, and when its answer was there.
#[derive(Clone, Copy)]
pub(crate) struct Approved {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

/// Keeps its connections between calls.
#[derive(Clone)]
pub(crate) struct Approver {
    base: String,
    http: Client,
}

impl Approver {
    pub(crate) fn new(web: SocketAddr) -> Self {
        Self { base: format!("http://{web}/api/v1/requests"), http: Client::new() }
    }

    /// Approves one request.
    pub(crate) async fn approve(&self, id: &str) -> Outcome<Approved> {
        let call = self.http.post(format!("{}/{id}/approve", self.base)).bearer_auth(TOKEN);
        let asked = Instant::now();
        let answer = call.header(header::CONTENT_TYPE, "application/json").body("{}").send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        let answered = Instant::now();
        if status.is_success() { Ok(Approved { asked, answered }) } else { Err(format!("{status}: {body}").into()) }
    }
}
