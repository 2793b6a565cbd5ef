//! Methods of Slack's Web API.
//!
//! Never takes `ok: false` for a yes. Invariant: an answer is read up to [`BODY_MAX`] bytes, and what went wrong is said in
//! Slack's own word, which names no content.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::{RequestBuilder, Response, Url};
use serde_json::{Value, json};

use crate::config::{Secret, SlackConfig};
use crate::notify::guard::Lookup;
use crate::notify::http::{Caller, Fate, Outcome, retry_after};

/// Largest answer, in bytes.
const BODY_MAX: usize = 1 << 20;
/// Errors that another attempt, or an operator, can make go away; of others the same call would end the same way.
const PASSING: [&str; 14] = [
    "ratelimited",
    "rate_limited",
    "service_unavailable",
    "internal_error",
    "fatal_error",
    "request_timeout",
    "team_added_to_org",
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "missing_scope",
    "ekm_access_denied",
];
/// Hosts that Slack has its `response_url` on, besides the one of the Web API.
const ANSWER_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];

/// See the module documentation.
pub(crate) struct Api {
    caller: Caller,
    base: Option<Url>,
    token: Secret,
}

impl Api {
    pub(super) fn new(config: &SlackConfig, lookup: Arc<dyn Lookup>) -> Self {
        let base = Url::parse(config.endpoint.url.expose()).ok();
        Self { caller: Caller::new(&config.endpoint, lookup), base, token: config.bot_token.clone() }
    }

    /// A method that takes JSON.
    pub(super) async fn post(&self, method: &str, body: &Value, now: Timestamp) -> Result<Value, Outcome> {
        let bytes = body.to_string();
        let call = self.method(method)?.header("content-type", "application/json; charset=utf-8").body(bytes);
        self.call(call, now).await
    }

    /// A method that takes a form.
    pub(super) async fn form(&self, method: &str, fields: &[(&str, &str)], now: Timestamp) -> Result<Value, Outcome> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let call = self.method(method)?.header("content-type", "application/x-www-form-urlencoded").body(form);
        self.call(call, now).await
    }

    /// Answers a command where Slack wants it: to be seen by who typed it only.
    pub(super) async fn answer(&self, response_url: &str, text: &str, now: Timestamp) -> Result<(), Outcome> {
        let url = Url::parse(response_url).map_err(|_invalid| Outcome::refused("not a URL"))?;
        let ours = self.base.as_ref().map(|base| (base.scheme(), base.host_str(), base.port_or_known_default()));
        let is_slack = url.scheme() == "https" && url.host_str().is_some_and(|host| ANSWER_HOSTS.contains(&host));
        if !is_slack && ours != Some((url.scheme(), url.host_str(), url.port_or_known_default())) {
            return Err(Outcome::refused("not an address of Slack"));
        }
        let body = json!({"response_type": "ephemeral", "replace_original": false, "text": text}).to_string();
        let call = self.caller.post_to(url)?.header("content-type", "application/json; charset=utf-8").body(body);
        let response = call.send().await.map_err(|error| Outcome::of_error(&error))?;
        let outcome = Outcome::of_status(&response, now);
        if outcome.fate == Fate::Delivered { Ok(()) } else { Err(outcome) }
    }

    /// A GET of an address that Slack has named.
    pub(super) fn get(&self, url: Url) -> Result<RequestBuilder, Outcome> {
        self.caller.get(url)
    }

    /// Whether the Web API is on this machine, and not encrypted.
    pub(super) fn is_plaintext(&self) -> bool {
        self.base.as_ref().is_some_and(|base| base.scheme() == "http")
    }

    fn method(&self, method: &str) -> Result<RequestBuilder, Outcome> {
        let url = self.base.as_ref().and_then(|base| base.join(method).ok());
        let url = url.ok_or_else(|| Outcome::refused("not a URL"))?;
        Ok(self.caller.post_to(url)?.bearer_auth(self.token.expose()))
    }

    async fn call(&self, call: RequestBuilder, now: Timestamp) -> Result<Value, Outcome> {
        let response = call.send().await.map_err(|error| Outcome::of_error(&error))?;
        let (status, wait) = (response.status(), retry_after(response.headers(), now));
        if !status.is_success() {
            return Err(Outcome { answer: status.as_u16().to_string(), fate: Fate::Again(wait) });
        }
        let answer = body(response).await.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let answer = answer.ok_or_else(|| Outcome::again("an answer that is not Slack's"))?;
        if answer["ok"] == true {
            return Ok(answer);
        }
        let word = answer["error"].as_str().unwrap_or("no reason given");
        let is_word = word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let word = if is_word { word } else { "no reason given" };
        Err(if PASSING.contains(&word) {
            Outcome { answer: word.to_owned(), fate: Fate::Again(wait) }
        } else {
            Outcome::refused(word)
        })
    }
}

async fn body(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len().saturating_add(chunk.len()) > BODY_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}
