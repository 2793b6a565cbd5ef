//! `GET /readyz`: whether the proxy can do what it is there for, part by part.
//!
//! Never a lever for strangers: whoever asks within a second of another gets the same answer, and no name of a database.
//! Invariant: it answers within [`PATIENCE`], whatever hangs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::{ApiState, Problem};
use crate::called::{Call, CallError, Called};
use crate::config::Config;

/// How long the store may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(1);

/// What the running proxy says of itself.
pub(crate) trait Pulse: Send + Sync {
    /// Whether it is about to end.
    fn is_leaving(&self) -> bool;

    /// Where people find the page.
    fn public_url(&self) -> String;

    /// How many databases there are, and how many of them could not be asked at the last look, some seconds ago at most.
    fn upstreams(&self) -> (usize, usize);

    /// Puts a configuration in the place of the one in force; why not, otherwise.
    fn reload(&self, config: Config) -> BoxFuture<'_, Result<(), String>>;

    /// Has a statement run as if its user had sent it.
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Called, CallError>>;
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Part {
    /// Whether it works.
    ok: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Part {
    fn of(failure: Option<String>) -> Self {
        Self { ok: failure.is_none(), reason: failure }
    }
}

/// The parts of the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether it takes clients, and is not about to end.
    proxy: Part,
    /// Whether the store can be written.
    store: Part,
    /// Whether the audit trail can be written.
    audit: Part,
    /// Whether all databases can be reached.
    upstreams: Part,
}

impl Readiness {
    fn is_ready(&self) -> bool {
        [&self.proxy, &self.store, &self.audit, &self.upstreams].iter().all(|part| part.ok)
    }
}

/// That it is not ready, and why.
#[derive(Serialize, ToSchema)]
pub(super) struct Unready {
    /// The problem.
    #[serde(flatten)]
    problem: Problem,
    /// The parts.
    parts: Readiness,
}

/// The last answer.
pub(super) type Last = Arc<Mutex<Option<(Instant, Readiness)>>>;

/// `GET /readyz`.
pub(super) async fn show(State(state): State<ApiState>) -> Response {
    let parts = lately(&state).await;
    if parts.is_ready() {
        return Json(parts).into_response();
    }
    let detail = "The proxy cannot do all that it is there for; see the parts, and its log";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unready", detail);
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(Unready { problem, parts })).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

/// As it was found within the last second. Who comes while somebody looks waits for what they find.
async fn lately(state: &ApiState) -> Readiness {
    let mut last = state.readiness.lock().await;
    if let Some((_, parts)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return parts.clone();
    }
    let parts = look(state).await;
    *last = Some((Instant::now(), parts.clone()));
    parts
}

async fn look(state: &ApiState) -> Readiness {
    let store = match tokio::time::timeout(PATIENCE, state.callers.probe(state.now())).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_elapsed) => Some("it did not answer in time".to_owned()),
    };
    let audit = state.review.audit_health().err().map(|error| error.to_string());
    let leaving = state.pulse.is_leaving().then(|| "it is about to end".to_owned());
    let (all, lost) = state.pulse.upstreams();
    let lost = (lost > 0).then(|| format!("{lost} of {all} cannot be reached"));
    Readiness { proxy: Part::of(leaving), store: Part::of(store), audit: Part::of(audit), upstreams: Part::of(lost) }
}
