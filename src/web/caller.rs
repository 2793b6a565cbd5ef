//! The authenticated caller of a handler, and the body it sent.
//!
//! Never takes a token from anywhere but the Authorization header, nor a session from anywhere but its cookie.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::session::{CSRF_HEADER, SignedIn, is_same_site};
use super::{ApiState, Problem};
use crate::identity::sessions::{Credential, LoginToken, SessionToken};
use crate::identity::{self, Principal};
use crate::review::{Actor, ReviewError, Surface};

/// Who calls, and how they have shown it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) principal: Principal,
    pub(super) credentials: Credentials,
}

/// What somebody has shown.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    /// The cookie of a session.
    Session(SessionToken),
    /// A bearer token of the configuration.
    Token(Credential),
    /// One of `countersign login`.
    Login(LoginToken),
}

impl Caller {
    pub(super) fn actor(&self) -> Actor {
        let Principal { name, groups, .. } = self.principal.clone();
        let surface = match self.credentials {
            Credentials::Session(_) => Surface::Web,
            Credentials::Token(_) | Credentials::Login(_) => Surface::Api,
        };
        Actor { name, groups, surface }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    /// Whom the gate has let in.
    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, Problem> {
        let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Nobody has been let in for this");
        parts.extensions.get().cloned().ok_or_else(nobody)
    }
}

impl Caller {
    /// Who has sent this.
    pub(super) async fn of(parts: &Parts, state: &ApiState) -> Result<Self, Problem> {
        let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let value = match (given.next(), given.next()) {
            (None, None) => return by_session(parts, state).await,
            (Some(value), None) => value,
            (_, Some(_)) => return Err(refused("Send one bearer token in the Authorization header")),
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _token)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_scheme, token)| token.trim())
            .ok_or_else(|| refused("Send a bearer token in the Authorization header"))?;
        let config = state.config.load_full();
        let caller = match LoginToken::parse(token) {
            Some(login) => {
                let found = state.sessions.find_program(&config, &login, state.now()).await;
                let credentials = Credentials::Login(login);
                found.map_err(ReviewError::from)?.map(|principal| Self { principal, credentials })
            }
            None => identity::by_bearer_token(&config, token, state.now())
                .map(|(principal, credential)| Self { principal, credentials: Credentials::Token(credential) }),
        };
        caller.ok_or_else(|| refused("The bearer token is not known"))
    }
}

/// Somebody who is signed in on the page: what changes something needs what only our own pages know.
async fn by_session(parts: &Parts, state: &ApiState) -> Result<Caller, Problem> {
    let Some(person) = SignedIn::find(parts, state).await? else {
        let detail = "Send a bearer token in the Authorization header, or sign in on the page";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail));
    };
    let given = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    let ours = || is_same_site(parts, &state.config.load()) && person.is_csrf(given);
    if !parts.method.is_safe() && !ours() {
        let detail = format!("Send {CSRF_HEADER} as our pages do, or a bearer token");
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", detail));
    }
    Ok(Caller { principal: person.principal, credentials: Credentials::Session(person.token) })
}

/// What a call takes as its body; no body at all counts as `{}`.
pub(super) trait Form: DeserializeOwned {
    /// What it looks like, for who gets it wrong.
    const EXAMPLE: &'static str;
}

/// A body that was read.
pub(super) struct Body<T>(pub(super) T);

impl<T: Form> FromRequest<ApiState> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Problem> {
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(),
            _ => Problem::bad_request("The body could not be read"),
        })?;
        if !json && !body.is_empty() {
            let detail = "Send the body as application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
        }
        let text = if body.is_empty() { b"{}".as_slice() } else { &body };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Problem::bad_request(format!("The body must be like {}; the error is at {place}", T::EXAMPLE))
        })
    }
}
