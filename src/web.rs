//! The HTTP side: API, health, metrics.
//!
//! Never decides: it authenticates the caller and asks [`Review`]. Never reads cookies, so no other site can act for a person.
//! Invariant: every answer that is an error is a problem document (RFC 9457), and nobody learns of requests that are not theirs.

mod api;
mod caller;
mod grants;
mod problem;
mod server;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::config::Config;
use crate::review::Review;

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
    /// Decides.
    pub review: Arc<Review>,
    /// Tokens, groups, the base of links.
    pub config: Arc<ArcSwap<Config>>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
}

/// Routes of the API, `/healthz` and `/metrics`.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/api/v1/me", get(api::me))
        .route("/api/v1/requests", get(api::list))
        .route("/api/v1/requests/{id}", get(api::show))
        .route("/api/v1/requests/{id}/approve", post(api::approve))
        .route("/api/v1/requests/{id}/reject", post(api::reject))
        .route("/api/v1/requests/{id}/cancel", post(api::cancel))
        .route("/api/v1/requests/{id}/revoke", post(api::revoke))
        .route("/api/v1/grants", get(grants::list).post(grants::request))
        .route("/api/v1/grants/{id}", get(grants::show))
        .route("/api/v1/grants/{id}/approve", post(grants::approve))
        .route("/api/v1/grants/{id}/reject", post(grants::reject))
        .route("/api/v1/grants/{id}/cancel", post(grants::cancel))
        .route("/api/v1/grants/{id}/revoke", post(grants::revoke))
        .route("/requests/{id}", get(link))
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
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn no_such_page(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("There is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

/// Where the links of notices lead: tells how to decide, and nothing about the request.
async fn link(Path(id): Path<String>) -> Result<String, Problem> {
    let id = api::parse_id(&id)?;
    Ok(format!(
        "Access request {id}\n\n\
         countersign requests show {id}\n\
         countersign requests approve {id}\n\
         countersign requests reject {id} --reason '...'\n"
    ))
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
