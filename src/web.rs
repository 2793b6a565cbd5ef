//! The HTTP side: the page, the API, health, metrics.
//!
//! Never decides: it authenticates the caller and asks [`Review`]. Never lets another site act for a person: what changes
//! something needs a bearer token, or a session with what only our own pages know.
//! Invariant: every error of the API is a problem document (RFC 9457), and nobody learns of requests that are not theirs.

mod analytics;
mod api;
mod assets;
mod audit;
mod caller;
mod configure;
mod databases;
mod decide;
mod endpoint;
mod endpoints;
mod events;
mod fields;
mod gate;
mod grants;
mod login;
mod notifications;
mod oidc;
mod once;
mod openapi;
mod pace;
mod pages;
mod passwords;
mod peer;
mod problem;
mod ready;
mod remarks;
mod room;
mod run;
mod server;
mod session;
mod slack;
mod streams;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::audit::Audit;
use crate::config::Config;
use crate::failures::Failures;
use crate::identity::oidc::{LEAD_BACK, Provider};
use crate::identity::password::Checker;
use crate::identity::passwords::Passwords;
use crate::identity::sessions::Sessions;
use crate::notify::Notifier;
use crate::review::Review;
use crate::store::Callers;

pub use api::{Details, Page, RequestView};
pub use grants::{GrantPage, GrantView};
pub use openapi::document as openapi_document;
pub use problem::Problem;
pub(crate) use ready::Pulse;
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
    /// Where else people sign in.
    provider: Arc<Provider>,
    sessions: Arc<Sessions>,
    /// Of database clients.
    database_passwords: Passwords,
    /// What the store keeps of callers.
    callers: Arc<dyn Callers>,
    /// How often callers have called.
    pace: Arc<pace::Pace>,
    /// The proxy itself.
    pulse: Arc<dyn Pulse>,
    /// Tells others.
    notifier: Arc<Notifier>,
    /// What `/readyz` said last.
    readiness: ready::Last,
    /// Of which addresses strangers were told of lately.
    strangers: Arc<Failures>,
    /// Room for streams of events.
    streams: streams::Streams,
    /// Held while the configuration file is changed.
    configuring: Arc<tokio::sync::Mutex<()>>,
    /// Room for searches in the audit trail, each of which reads files.
    searches: Arc<Semaphore>,
}

/// What the page and the API are made of.
pub(crate) struct Behind {
    /// Decides.
    pub(crate) review: Arc<Review>,
    /// In force.
    pub(crate) config: Arc<ArcSwap<Config>>,
    /// Keeps sessions and answers.
    pub(crate) callers: Arc<dyn Callers>,
    /// Where calls are told of.
    pub(crate) audit: Arc<Audit>,
    /// Failures to sign in, which count with those of database clients.
    pub(crate) failures: Arc<Failures>,
    /// Renders the metrics.
    pub(crate) metrics: PrometheusHandle,
    /// The proxy itself.
    pub(crate) pulse: Arc<dyn Pulse>,
    /// Tells others.
    pub(crate) notifier: Arc<Notifier>,
}

impl ApiState {
    /// Puts the parts together.
    pub(crate) fn new(behind: Behind) -> Self {
        let Behind { review, config, callers, audit, failures, metrics, pulse, notifier } = behind;
        let sessions = Arc::new(Sessions::new(Arc::clone(&callers)));
        let database_passwords = Passwords::new(Arc::clone(&callers));
        let pace = Arc::new(pace::Pace::new(&config.load().web));
        let streams = streams::Streams::default();
        let configuring = Arc::default();
        let searches = Arc::new(Semaphore::new(audit::SEARCHES_MAX));
        let (passwords, provider, strangers, readiness) = Default::default();
        Self {
            review,
            config,
            metrics,
            audit,
            failures,
            passwords,
            provider,
            sessions,
            database_passwords,
            callers,
            pace,
            pulse,
            notifier,
            readiness,
            strangers,
            streams,
            configuring,
            searches,
        }
    }

    /// Whether a stranger at that address is still worth a record.
    fn may_tell_of_stranger(&self, from: Option<IpAddr>) -> bool {
        self.strangers.is_one_of(from, self.config.load().limits.failures_per_address)
    }

    /// The time by which requests and sessions end.
    fn now(&self) -> Timestamp {
        self.review.time(Timestamp::now())
    }
}

/// Routes of the page and the API, `/healthz` and `/metrics`.
pub fn router(state: ApiState) -> Router {
    let pages = Router::new()
        .route("/", get(pages::inbox))
        .route("/login", get(login::form).post(login::sign_in))
        .route("/login/oidc", get(oidc::begin))
        .route(LEAD_BACK, get(oidc::finish))
        .route("/login/cli", get(passwords::form).post(passwords::submit))
        .route("/login/cli/claim", post(passwords::claim))
        .route("/logout", post(login::sign_out))
        .route("/slack/interactions", post(slack::interactions))
        .route("/slack/commands", post(slack::commands))
        .route("/requests", get(pages::requests))
        .route("/requests/{id}", get(pages::show))
        .route("/requests/{id}/comment", get(pages::back_to).post(pages::comment))
        .route("/requests/{id}/justify", get(pages::back_to).post(pages::justify))
        .route("/requests/{id}/{verb}", get(pages::back_to_request).post(pages::decide))
        .route("/analytics", get(pages::analytics))
        .route("/audit", get(pages::audit))
        .route("/audit/{seq}", get(pages::audit_record))
        .route("/policy", get(pages::policy))
        .route("/policy/{kind}", get(pages::back_to_policy).post(pages::set_stage))
        .route("/notifications", get(pages::notifications))
        .route("/notifications/{id}/{verb}", get(pages::back_to_notifications).post(pages::redeliver))
        .route("/grants", get(pages::grants).post(pages::ask_grant))
        .route("/grants/{id}/{verb}", get(pages::back_to_grants).post(pages::decide_grant));
    Router::new()
        .merge(api(&state))
        .merge(pages)
        .route("/assets/{digest}/{name}", get(assets::serve))
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// What is described, served as it is described.
fn api(state: &ApiState) -> Router<ApiState> {
    let endpoints = endpoints::endpoints();
    let document = openapi::Rendered(openapi::render(&endpoints).into());
    let serve = |router: Router<ApiState>, endpoint: endpoint::Endpoint| {
        let guarded = match endpoint.need {
            Some(need) => {
                let gate = gate::Gate { state: state.clone(), need };
                endpoint.serve.route_layer(middleware::from_fn_with_state(gate, gate::enter))
            }
            None => endpoint.serve,
        };
        router.route(endpoint.path, guarded)
    };
    endpoints.into_iter().fold(Router::new(), serve).layer(Extension(document))
}

/// Bounds the time of a call and keeps answers out of caches.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(CALL_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The call took too long").into_response(),
    };
    problem::put_into_words(&mut response);
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

/// How the process fares.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `ok`.
    status: &'static str,
    /// `ok` or `unreachable`.
    store: &'static str,
}

/// The answer of `GET /livez`.
#[derive(Serialize, ToSchema)]
struct Live {
    /// Always `ok`.
    status: &'static str,
}

/// Asks nothing of disk, store or database: no restart would bring one of them back.
async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

async fn health(State(state): State<ApiState>) -> Result<Json<Health>, Problem> {
    if state.review.audit_health().is_err() {
        let detail = "The audit trail cannot be written; see the log of the proxy";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    // What needs no approval passes without the store, so that the proxy is not taken out of service for it.
    let store = if state.review.is_store_reachable() { "ok" } else { "unreachable" };
    Ok(Json(Health { status: "ok", store }))
}

async fn render_metrics(State(state): State<ApiState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}

#[cfg(test)]
mod tests;
