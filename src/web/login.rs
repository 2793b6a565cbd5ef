//! Signing in and out on the page.
//!
//! Never says whether it is the name or the password that is wrong. Invariant: every attempt counts against the same limits
//! as those of database clients, and is on record.

use std::net::IpAddr;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::fields::Fields;
use super::pages::{LoginPage, page, problem_page};
use super::peer::client_address;
use super::session::{Jar, SignedIn, Submitted, clear_cookie, is_same_site, local_path, read_form, set_cookie};
use super::{ApiState, Problem};
use crate::audit::Record;
use crate::identity::{self, Principal, sessions::Credential};
use crate::review::ReviewError;
use crate::store::StoreError;
use crate::visible;

/// How many bytes of a name that a stranger gave are recorded.
const NAME_LEN_MAX: usize = 63;

#[derive(Deserialize)]
pub(super) struct Next {
    pub(super) next: Option<String>,
}

/// `GET /login`.
pub(super) async fn form(State(state): State<ApiState>, Query(query): Query<Next>, request: Request) -> Response {
    let next = query.next.unwrap_or_default();
    let (parts, _body) = request.into_parts();
    if SignedIn::find(&parts, &state).await.is_ok_and(|found| found.is_some()) {
        return Redirect::to(local_path(&next)).into_response();
    }
    page(StatusCode::OK, &LoginPage::new(&state.config.load(), local_path(&next)))
}

/// What somebody says to show who they are.
enum Claim<'a> {
    Password { name: &'a str, password: &'a str },
    Token(&'a str),
}

impl<'a> Claim<'a> {
    fn of(fields: &'a Fields) -> Self {
        match fields.get("token") {
            Some(token) => Self::Token(token.trim()),
            None => Self::Password {
                name: fields.get("name").unwrap_or_default().trim(),
                password: fields.get("password").unwrap_or_default(),
            },
        }
    }

    /// The name it is made under; a token has none before it is known.
    fn name(&self) -> &'a str {
        match self {
            Self::Password { name, .. } => name,
            Self::Token(_) => "",
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Token(_) => "token",
        }
    }

    async fn check(&self, state: &ApiState) -> Option<(Principal, Credential)> {
        let config = state.config.load_full();
        match self {
            Self::Password { name, password } => {
                identity::sign_in_by_password(&config, &state.passwords, name, password).await
            }
            Self::Token(token) => identity::by_bearer_token(&config, token, state.now()),
        }
    }
}

/// `POST /login`.
pub(super) async fn sign_in(State(state): State<ApiState>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let config = state.config.load_full();
    if !is_same_site(&parts, &config) {
        let detail = "This form was sent from another site";
        return problem_page(None, Problem::new(StatusCode::FORBIDDEN, "cross-site", detail));
    }
    let from = client_address(&parts, &config);
    let fields = match read_form(Request::from_parts(parts, body), &state).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let claim = Claim::of(&fields);
    let next = local_path(fields.get("next").unwrap_or_default());
    let refused =
        |status, problem: &str| page(status, &LoginPage::again(&config, next, claim.name(), problem.to_owned()));
    let Some(turn) = state.failures.attempt(from, claim.name(), &config.limits).await else {
        let problem = "Too many attempts from your address have failed. Wait a minute";
        return refused(StatusCode::TOO_MANY_REQUESTS, problem);
    };
    let Some((person, credential)) = claim.check(&state).await else {
        turn.failed();
        record(&state, claim.name(), from, claim.kind(), false);
        let problem = match claim {
            Claim::Password { .. } => "Name or password is wrong",
            Claim::Token(_) => "This token is not known",
        };
        return refused(StatusCode::UNAUTHORIZED, problem);
    };
    turn.succeeded();
    if !record(&state, &person.name, from, claim.kind(), true) {
        let detail = "Signing in could not be recorded; see the log of the proxy";
        return problem_page(None, Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    let opened = state.sessions.open(&person.name, credential, config.web.session_timeout, state.now()).await;
    let token = match opened {
        Ok(token) => token,
        Err(error) => return problem_page(None, ReviewError::from(error).into()),
    };
    tracing::info!(with = claim.kind(), "signed in on the page");
    redirect_with(next, &set_cookie(&config, Jar::Session, token.expose()))
}

/// `POST /logout`.
pub(super) async fn sign_out(State(state): State<ApiState>, submitted: Submitted) -> Response {
    let person = &submitted.person;
    let closed = match submitted.fields.get("everywhere") {
        Some(_) => state.close_everywhere(&person.principal.name).await,
        None => state.sessions.close(&person.token).await,
    };
    if let Err(error) = closed {
        return problem_page(Some(person), ReviewError::from(error).into());
    }
    redirect_with("/login", &clear_cookie(&state.config.load(), Jar::Session))
}

impl ApiState {
    /// Ends what somebody has opened, on the page and for databases.
    async fn close_everywhere(&self, name: &str) -> Result<(), StoreError> {
        self.database_passwords.end(name).await?;
        self.sessions.close_all(name).await.map(drop)
    }
}

fn redirect_with(to: &str, cookie: &str) -> Response {
    let mut response = Redirect::to(to).into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Writes it down; whether that went well, or need not.
pub(super) fn record(state: &ApiState, user: &str, from: Option<IpAddr>, with: &str, accepted: bool) -> bool {
    let user = visible::head(user, NAME_LEN_MAX);
    let address = from.map(|from| from.to_string()).unwrap_or_default();
    let record = Record::SignIn { user, client_address: &address, with, accepted };
    let recorded = state.audit.record(Timestamp::now(), &record).is_ok();
    recorded || state.config.load().audit.fail_open
}
