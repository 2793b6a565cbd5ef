//! The HTTP side: the page, the API, health, metrics.
//!
//! Never decides: it authenticates the caller and asks [`Review`]. Never lets another site act for a person: what changes
//! something needs a bearer token, or a session with what only our own pages know.
//! Invariant: every error of the API is a problem document (RFC 9457), and nobody learns of requests that are not theirs.

mod analytics;
mod api;
mod assets;
mod caller;
mod decide;
mod events;
mod fields;
mod grants;
mod login;
mod pages;
mod peer;
mod problem;
mod remarks;
mod server;
mod session;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use crate::audit::Audit;
use crate::config::Config;
use crate::failures::Failures;
use crate::identity::password::Checker;
use crate::identity::sessions::Sessions;
use crate::review::{AccessRequest, GrantRecord, Review};

pub use api::{Details, Page, RequestView};
pub use grants::{GrantPage, GrantView};
pub use problem::Problem;
pub use server::serve;

/// Largest body of a call, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How long a call may take, its body included.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What the handlers need.
#[derive(Clone)]
pub struct ApiState {
    review: Arc<Review>,
    config: Arc<ArcSwap<Config>>,
    metrics: PrometheusHandle,
    audit: Arc<Audit>,
    failures: Arc<Failures>,
    passwords: Checker,
    sessions: Arc<Sessions>,
    /// Room for streams of events.
    streams: Arc<Semaphore>,
}

impl ApiState {
    /// Puts the parts together. Nobody is signed in yet; failures to do so count with those of database clients.
    pub(crate) fn new(
        review: Arc<Review>,
        config: Arc<ArcSwap<Config>>,
        audit: Arc<Audit>,
        failures: Arc<Failures>,
        metrics: PrometheusHandle,
    ) -> Self {
        let (passwords, sessions) = Default::default();
        let streams = Arc::new(Semaphore::new(events::STREAMS_MAX));
        Self { review, config, metrics, audit, failures, passwords, sessions, streams }
    }
}

/// Routes of the page and the API, `/healthz` and `/metrics`.
pub fn router(state: ApiState) -> Router {
    let api = Router::new()
        .route("/me", get(api::me))
        .route("/events", get(events::stream))
        .route("/requests", get(api::list))
        .route("/requests/{id}", get(api::show))
        .route("/requests/{id}/approve", post(decide::approve::<AccessRequest>))
        .route("/requests/{id}/reject", post(decide::reject::<AccessRequest>))
        .route("/requests/{id}/cancel", post(decide::cancel::<AccessRequest>))
        .route("/requests/{id}/revoke", post(decide::revoke::<AccessRequest>))
        .route("/requests/{id}/comments", post(remarks::comment))
        .route("/requests/{id}/justify", post(remarks::justify))
        .route("/analytics", get(analytics::show))
        .route("/grants", get(grants::list).post(grants::request))
        .route("/grants/{id}", get(grants::show))
        .route("/grants/{id}/approve", post(decide::approve::<GrantRecord>))
        .route("/grants/{id}/reject", post(decide::reject::<GrantRecord>))
        .route("/grants/{id}/cancel", post(decide::cancel::<GrantRecord>))
        .route("/grants/{id}/revoke", post(decide::revoke::<GrantRecord>));
    let pages = Router::new()
        .route("/", get(pages::inbox))
        .route("/login", get(login::form).post(login::sign_in))
        .route("/logout", post(login::sign_out))
        .route("/requests", get(pages::requests))
        .route("/requests/{id}", get(pages::show))
        .route("/requests/{id}/{verb}", get(pages::back_to_request).post(pages::decide))
        .route("/grants", get(pages::grants).post(pages::ask_grant))
        .route("/grants/{id}/{verb}", get(pages::back_to_grants).post(pages::decide_grant));
    Router::new()
        .nest("/api/v1", api)
        .merge(pages)
        .route("/assets/{digest}/{name}", get(assets::serve))
        .route("/healthz", get(health))
        .route("/metrics", get(render_metrics))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Bounds the time of a call and keeps answers out of caches.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(CALL_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The call took too long").into_response(),
    };
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn no_such_page(uri: Uri, headers: HeaderMap) -> Response {
    let problem = Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is nothing at {}", uri.path()));
    let is_browser = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    if is_browser { pages::problem_page(None, problem) } else { problem.into_response() }
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

async fn health(State(state): State<ApiState>) -> Result<Json<serde_json::Value>, Problem> {
    if state.review.audit_health().is_err() {
        let detail = "The audit trail cannot be written; see the log of the proxy";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    // What needs no approval passes without the store, so that the proxy is not taken out of service for it.
    let store = if state.review.is_store_reachable() { "ok" } else { "unreachable" };
    Ok(Json(serde_json::json!({ "status": "ok", "store": store })))
}

async fn render_metrics(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}

#[cfg(test)]
mod tests;
