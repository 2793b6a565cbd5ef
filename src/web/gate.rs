//! The door of every endpoint that needs a caller: how often, who calls, and whether what they have shown is for that.
//!
//! Never decides about requests; [`Review`](crate::review::Review) does, behind it. Invariant: a handler behind the gate
//! runs only for a caller whose credentials are for it; what changes something, and every refusal, is in the audit trail.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::caller::{Caller, Credentials};
use super::once::done_once;
use super::peer::client_address;
use super::{ApiState, Problem};
use crate::audit::Record;
use crate::identity::Scope;
use crate::telemetry::API_CALLS;
use crate::visible;

/// How many bytes of a path are recorded.
const PATH_LEN_MAX: usize = 200;

/// The gate of one endpoint.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) state: ApiState,
    pub(super) need: Scope,
}

/// Why a call is not let in.
enum Refusal {
    /// And who called, where that is known.
    Not(Problem, Option<Caller>),
    /// There were too many; again after that time.
    Later(Duration),
}

/// Lets a call in, or refuses it.
pub(super) async fn enter(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let from = client_address(&parts, &gate.state.config.load());
    let mut call = Visit { method: parts.method.clone(), path: parts.uri.path().to_owned(), from, caller: None };
    let response = match gate.admit(&parts, from).await {
        Ok(caller) => {
            parts.extensions.insert(caller.clone());
            let response = done_once(&gate.state, &caller, Request::from_parts(parts, body), next).await;
            call.caller = Some(caller);
            response
        }
        Err(Refusal::Not(problem, caller)) => {
            call.caller = caller;
            problem.into_response()
        }
        Err(Refusal::Later(wait)) => later(wait),
    };
    call.tell(&gate.state, response.status());
    response
}

impl Gate {
    async fn admit(&self, parts: &Parts, from: Option<IpAddr>) -> Result<Caller, Refusal> {
        let config = self.state.config.load_full();
        self.state.pace.count_address(from, &config.web).map_err(Refusal::Later)?;
        let caller = Caller::of(parts, &self.state).await.map_err(|problem| Refusal::Not(problem, None))?;
        self.state.pace.count_caller(&caller.principal.name, &config.web).map_err(Refusal::Later)?;
        if caller.principal.may_use(self.need) {
            return Ok(caller);
        }
        let detail = format!("The token is not for this: it lacks the scope {}", self.need);
        Err(Refusal::Not(Problem::new(StatusCode::FORBIDDEN, "no-scope", detail), Some(caller)))
    }
}

fn later(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let detail = format!("There were too many calls in the last minute; try again in {seconds} seconds");
    let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-calls", detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A call, as it is told of.
struct Visit {
    method: Method,
    path: String,
    from: Option<IpAddr>,
    caller: Option<Caller>,
}

impl Visit {
    /// Counts it, and writes it down when it changes something or was refused.
    fn tell(&self, state: &ApiState, status: StatusCode) {
        let outcome = match status {
            StatusCode::TOO_MANY_REQUESTS => "limited",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "refused",
            _ if status.is_server_error() => "failed",
            _ => "served",
        };
        metrics::counter!(API_CALLS, "outcome" => outcome).increment(1);
        let is_refused = outcome == "refused";
        // Who calls too often has been told of as often as is allowed, and a stranger is told of a few times.
        let is_flood = outcome == "limited" || (self.caller.is_none() && !state.may_tell_of_stranger(self.from));
        if is_flood || (self.method.is_safe() && !is_refused) {
            return;
        }
        let address = self.from.map(|from| from.to_string()).unwrap_or_default();
        let (user, with) = self.caller.as_ref().map_or(("", ""), |caller| {
            let with = match caller.credentials {
                Credentials::Session(_) => "session",
                Credentials::Token(_) | Credentials::Login(_) => "token",
            };
            (caller.principal.name.as_str(), with)
        });
        let record = Record::ApiCall {
            user,
            client_address: &address,
            with,
            method: self.method.as_str(),
            path: visible::head(&self.path, PATH_LEN_MAX),
            status: status.as_u16(),
        };
        if let Err(error) = state.audit.record(Timestamp::now(), &record) {
            tracing::error!(%error, "could not record a call of the API");
        }
    }
}
