//! `POST /api/v1/requests`: a statement, as its user would send it from a client.
//!
//! Never decides, and never reads SQL: the session that the proxy opens for it does. Invariant: a statement that has to be
//! approved is not waited for; whoever sends it again once it is approved has it run.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::api::RequestView;
use super::caller::{Body, Caller, Form};
use super::once::Keep;
use super::peer::client_address;
use super::{ApiState, Problem};
use crate::called::{Call, CallError, Called, ResultSet, SqlError};

/// Parameters that a Bind can carry.
const PARAMETERS_MAX: usize = u16::MAX as usize;

/// What is to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Statement)]
pub(super) struct Asked {
    /// On this database.
    #[schema(required = true, nullable = false)]
    database: Option<String>,
    /// SQL; several statements are one request, and run in one transaction.
    #[schema(required = true, nullable = false)]
    statement: Option<String>,
    /// Values of $1, $2, … in text format; with them it is one statement.
    parameters: Option<Vec<Option<String>>>,
    /// Why, for those who have to approve it.
    reason: Option<String>,
}

impl Form for Asked {
    const EXAMPLE: &'static str = r#"{"database": "shop", "statement": "UPDATE orders SET note = $1 WHERE id = 7", "parameters": ["..."], "reason": "..."}"#;
}

/// What a statement gave.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ran {
    /// One for each statement, in their order.
    results: Vec<ResultSet>,
}

/// That the statement was refused, or failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refused {
    /// The problem.
    #[serde(flatten)]
    problem: Problem,
    /// As PostgreSQL numbers errors.
    sqlstate: Option<String>,
    /// What to do.
    hint: Option<String>,
}

/// `POST /api/v1/requests`.
pub(super) async fn run(
    State(state): State<ApiState>,
    caller: Caller,
    parts: Parts,
    Body(asked): Body<Asked>,
) -> Result<Response, Problem> {
    let call = call(&state, &caller, &parts, asked)?;
    let called = match state.pulse.run(call).await {
        // It may have run.
        Err(error @ CallError::Lost) => return Ok((Extension(Keep::Answer), Problem::from(error)).into_response()),
        called => called?,
    };
    match called {
        Called::Done(results) => {
            // Rows are not for the store.
            let keep = if results.iter().all(|result| result.rows.is_empty()) { Keep::Answer } else { Keep::Fact };
            Ok((Extension(keep), Json(Ran { results })).into_response())
        }
        Called::Held(id) => {
            let request = state.review.find(id, &caller.actor()).await?;
            // Code that the statement calls can raise an error that looks like the proxy's.
            if request.user != caller.principal.name {
                let detail = "The statement failed, with an error that names an access request of somebody else";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "statement-failed", detail));
            }
            // It is sent again to run.
            Ok((StatusCode::ACCEPTED, Extension(Keep::Nothing), Json(RequestView::of(&state, request))).into_response())
        }
        Called::Failed(error) => Ok(failed(error)),
    }
}

fn call(state: &ApiState, caller: &Caller, parts: &Parts, asked: Asked) -> Result<Call, Problem> {
    let missing = |key: &str| Problem::bad_request(format!("\"{key}\" is missing; send {}", Asked::EXAMPLE));
    let (statement, database) = (asked.statement.ok_or_else(|| missing("statement"))?, asked.database);
    let database = database.ok_or_else(|| missing("database"))?;
    let parameters = asked.parameters;
    let texts = [&statement, &database].into_iter().chain(&asked.reason);
    if texts.chain(parameters.iter().flatten().flatten()).any(|text| text.contains('\0')) {
        return Err(Problem::contradiction("PostgreSQL takes no text with a NUL in it"));
    }
    if parameters.as_ref().is_some_and(|values| values.len() > PARAMETERS_MAX) {
        return Err(Problem::contradiction(format!("A statement has at most {PARAMETERS_MAX} parameters")));
    }
    let config = state.config.load_full();
    let user = caller.principal.name.clone();
    // Whom the configuration knows has its groups; the provider's are for others.
    let brought = if config.user(&user).is_none() { caller.principal.groups.clone() } else { Vec::new() };
    let from = client_address(parts, &config).map(|address| address.to_string()).unwrap_or_default();
    Ok(Call { user, brought, client_address: from, database, statement, parameters, reason: asked.reason })
}

/// An error of the statement is a problem; one that says that there is no session is the proxy's.
fn failed(error: SqlError) -> Response {
    let SqlError { is_fatal, sqlstate, message, detail, hint } = error;
    let (status, word) = match sqlstate.as_bytes() {
        b"3D000" if is_fatal => return Problem::from(CallError::NoDatabase).into_response(),
        // A session that goes on has a connection: values that do not fit the statement are 08P01, too.
        [b'0', b'8', ..] if is_fatal => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        [b'5', b'3' | b'7', b'3' | b'P', ..] | b"58030" => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "statement-failed"),
    };
    let detail = detail.map_or(message.clone(), |detail| format!("{message}. {detail}"));
    let refused = Refused { problem: Problem::new(status, word, detail), sqlstate: Some(sqlstate), hint };
    let mut response = (status, Json(refused)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let (status, word) = match error {
            CallError::NoDatabase => (StatusCode::NOT_FOUND, "no-such-database"),
            CallError::Passthrough => (StatusCode::UNPROCESSABLE_ENTITY, "passthrough"),
            CallError::Copy => (StatusCode::UNPROCESSABLE_ENTITY, "no-copy"),
            CallError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            CallError::BusyWithYours => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            CallError::Lost => (StatusCode::SERVICE_UNAVAILABLE, "lost"),
            CallError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, word, Self::sentence(&error))
    }
}
