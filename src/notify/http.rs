//! One call of a target.
//!
//! Never follows a redirect, never uses a proxy that the environment names, and reads no more of an answer than it needs.
//! Invariant: a call ends within [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::guard::{Guard, Lookup, NotAllowed};
use crate::config::Endpoint;

/// How long one call may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What came of telling a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// In few words, for the log of deliveries; nothing of what was sent or answered.
    pub(crate) answer: String,
    /// What is to be done.
    pub(crate) fate: Fate,
}

/// What is to be done with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The target has it.
    Delivered,
    /// Try again, not before that time is over if the target named one.
    Again(Option<SignedDuration>),
    /// The target will never take it.
    Refused,
}

impl Outcome {
    pub(crate) fn delivered(answer: impl Into<String>) -> Self {
        Self { answer: answer.into(), fate: Fate::Delivered }
    }

    pub(crate) fn again(answer: impl Into<String>) -> Self {
        Self { answer: answer.into(), fate: Fate::Again(None) }
    }

    pub(crate) fn refused(answer: impl Into<String>) -> Self {
        Self { answer: answer.into(), fate: Fate::Refused }
    }

    /// What an answer of a webhook means: 2xx is yes, 410 never again, anything else that it may work later.
    pub(super) fn of_status(response: &Response, now: Timestamp) -> Self {
        let status = response.status();
        let fate = match status {
            _ if status.is_success() => Fate::Delivered,
            StatusCode::GONE => Fate::Refused,
            _ => Fate::Again(retry_after(response.headers(), now)),
        };
        Self { answer: status.as_u16().to_string(), fate }
    }

    /// What no answer means.
    pub(super) fn of_error(error: &reqwest::Error) -> Self {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(one) = cause {
            if one.is::<NotAllowed>() {
                return Self::again("address not allowed");
            }
            cause = one.source();
        }
        if error.is_timeout() {
            return Self::again("no answer in time");
        }
        Self::again(if error.is_connect() { "could not connect" } else { "no answer" })
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<SignedDuration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(SignedDuration::from_secs(i64::from(seconds)));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(at.duration_since(now).max(SignedDuration::ZERO))
}

/// Calls one endpoint.
#[derive(Clone)]
pub(super) struct Caller {
    /// `None` when the certificates of its CA cannot be used.
    client: Option<Client>,
    guard: Guard,
    /// `None` when it is none, which the configuration has ruled out.
    url: Option<Url>,
}

impl Caller {
    /// Calls that endpoint; names are looked up in that way.
    pub(super) fn new(endpoint: &Endpoint, lookup: Arc<dyn Lookup>) -> Self {
        crate::telemetry::install_crypto_provider();
        let guard = Guard::new(&endpoint.allow_addresses, lookup);
        let builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(guard.clone()));
        let builder = match &endpoint.ca {
            None => Some(builder),
            Some(path) => std::fs::read(path)
                .ok()
                .and_then(|text| reqwest::Certificate::from_pem_bundle(&text).ok())
                .map(|certificates| builder.tls_certs_only(certificates)),
        };
        let client = builder.and_then(|builder| builder.build().ok());
        Self { client, guard, url: Url::parse(endpoint.url.expose()).ok() }
    }

    /// A POST to the endpoint.
    ///
    /// # Errors
    /// What came of it instead.
    pub(super) fn post(&self) -> Result<RequestBuilder, Outcome> {
        let url = self.url.as_ref().ok_or_else(|| Outcome::refused("not a URL"))?;
        self.post_to(url.clone())
    }

    /// A POST to another address.
    pub(super) fn post_to(&self, url: Url) -> Result<RequestBuilder, Outcome> {
        Ok(self.client_for(&url)?.post(url))
    }

    /// A GET of another address.
    pub(super) fn get(&self, url: Url) -> Result<RequestBuilder, Outcome> {
        Ok(self.client_for(&url)?.get(url))
    }

    fn client_for(&self, url: &Url) -> Result<&Client, Outcome> {
        self.guard.check_url(url).map_err(|_refused| Outcome::again("address not allowed"))?;
        self.client.as_ref().ok_or_else(|| Outcome::again("its certificates (\"ca\") cannot be used"))
    }
}
