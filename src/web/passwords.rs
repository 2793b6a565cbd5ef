//! Where `countersign login` leads: for an hour the program has a password for databases and a token for the API.
//!
//! Never gives either to a page: who is signed in gets a code, and the program that asked uses it up. Invariant: a code is
//! made by a form of ours only, and what cannot be recorded is ended.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::pages::{PasswordPage, page, policy_with, problem_page};
use super::peer::client_address;
use super::session::{SignedIn, Submitted};
use super::{ApiState, Problem};
use crate::audit::Record;
use crate::identity::passwords::{self, Claimed};
use crate::review::ReviewError;

/// Longest text that leads a code back.
const STATE_LEN_MAX: usize = 64;

/// Where the program waits for its code: a port of the person's own machine, and what it knows the answer by.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Waiting {
    port: Option<u16>,
    state: Option<String>,
}

impl Waiting {
    fn new(port: Option<&str>, state: Option<&str>) -> Self {
        Self { port: port.and_then(|port| port.parse().ok()), state: state.map(str::to_owned) }
    }

    /// The program's address, if it has given one.
    fn origin(&self) -> Option<String> {
        let usual = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let state = self.state.as_ref()?;
        let fits = (1..=STATE_LEN_MAX).contains(&state.len()) && state.chars().all(usual);
        self.port.filter(|port| fits && *port > 0).map(|port| format!("http://127.0.0.1:{port}"))
    }

    fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }
}

/// `GET /login/cli`.
pub(super) async fn form(State(state): State<ApiState>, Query(waiting): Query<Waiting>, person: SignedIn) -> Response {
    let own = passwords::has_own(&state.config.load(), &person.principal.name);
    let origin = waiting.origin();
    let port = waiting.port.filter(|_| origin.is_some());
    let mut response = page(StatusCode::OK, &PasswordPage::asked(&person, own, port, waiting.state()));
    // The form's answer leads to the program that waits.
    if let Some(policy) = origin.and_then(|origin| HeaderValue::from_str(&policy_with(&origin)).ok()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `POST /login/cli`: a code; or, with `end`, the end of the password that there is.
pub(super) async fn submit(State(state): State<ApiState>, submitted: Submitted) -> Response {
    let Submitted { person, fields } = submitted;
    let done = if fields.get("end").is_some() { end(&state, &person).await } else { offer(&state, &person).await };
    let code = match done {
        Ok(code) => code,
        Err(problem) => return problem_page(Some(&person), problem),
    };
    let Some(code) = code else { return page(StatusCode::OK, &PasswordPage::ended(&person)) };
    let waiting = Waiting::new(fields.get("port"), fields.get("state"));
    match waiting.origin() {
        // Both are letters, digits, - and _ only.
        Some(origin) => Redirect::to(&format!("{origin}/?code={code}&state={}", waiting.state())).into_response(),
        None => page(StatusCode::OK, &PasswordPage::given(&person, code)),
    }
}

async fn offer(state: &ApiState, person: &SignedIn) -> Result<Option<String>, Problem> {
    let name = &person.principal.name;
    let credential = state.sessions.credential(&person.token).await.map_err(ReviewError::from)?;
    let signed_out = || Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Your session has ended");
    let code = state.database_passwords.offer(name, credential.ok_or_else(signed_out)?, state.now()).await;
    Ok(Some(code.map_err(ReviewError::from)?))
}

async fn end(state: &ApiState, person: &SignedIn) -> Result<Option<String>, Problem> {
    let had = state.database_passwords.end(&person.principal.name).await.map_err(ReviewError::from)?;
    if had {
        tell(state, &person.principal.name, "", None);
    }
    Ok(None)
}

/// What the program sends that has got a code.
#[derive(Deserialize)]
struct Claim {
    code: String,
    verifier: String,
}

/// What it is told.
#[derive(Serialize)]
struct Given {
    user: String,
    expires_at: Timestamp,
    /// For the API.
    token: String,
    /// Whether the password of the configuration counts, and not the one of the program.
    own_password: bool,
}

/// `POST /login/cli/claim`.
pub(super) async fn claim(State(state): State<ApiState>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let config = state.config.load_full();
    let from = client_address(&parts, &config);
    let Json(Claim { code, verifier }) = Json::from_request(Request::from_parts(parts, body), &())
        .await
        .map_err(|_rejection| Problem::bad_request("Send a JSON object with code and verifier"))?;
    if !passwords::is_verifier(&verifier) {
        return Err(Problem::bad_request("The verifier is not one that countersign login makes"));
    }
    // A code is nobody's yet: only the address counts.
    let Some(turn) = state.failures.attempt(from, &code, &config.limits).await else {
        let detail = "Too many attempts from your address have failed. Wait a minute";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", detail));
    };
    let claimed = state.database_passwords.claim(&code, &verifier, state.now()).await.map_err(ReviewError::from)?;
    let Some(Claimed { user, credential, ends_at: expires_at }) = claimed else {
        turn.failed();
        let detail = "This code is not known: it was used before, or is older than five minutes";
        return Err(Problem::new(StatusCode::FORBIDDEN, "no-code", detail));
    };
    turn.succeeded();
    let address = from.map(|from| from.to_string()).unwrap_or_default();
    if !tell(&state, &user, &address, Some(expires_at)) {
        state.database_passwords.end(&user).await.map_err(ReviewError::from)?;
        let detail = "The password could not be recorded; see the log of the proxy";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    let lifetime = Duration::try_from(passwords::LIFETIME).unwrap_or_default();
    let token = state.sessions.open_for_program(&user, credential, lifetime, state.now()).await;
    let (token, own_password) = (token.map_err(ReviewError::from)?, passwords::has_own(&config, &user));
    let token = token.expose();
    Ok(Json(Given { user, expires_at, token, own_password }).into_response())
}

/// Writes it down; whether that went well, or need not.
fn tell(state: &ApiState, user: &str, address: &str, expires_at: Option<Timestamp>) -> bool {
    let record = Record::Password { user, client_address: address, expires_at };
    state.audit.record(Timestamp::now(), &record).is_ok() || state.config.load().audit.fail_open
}
