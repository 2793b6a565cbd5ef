//! The authenticated caller of a handler, and the body it sent.
//!
//! Never takes a token from anywhere but the Authorization header.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ApiState, Problem};
use crate::identity::{self, Principal};
use crate::review::{Actor, Surface};

/// Who calls.
pub(super) struct Caller(pub(super) Principal);

impl Caller {
    pub(super) fn actor(&self) -> Actor {
        Actor { name: self.0.name.clone(), groups: self.0.groups.clone(), surface: Surface::Api }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
        let mut given = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return Err(refused("Send a bearer token in the Authorization header"));
        };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _token)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_scheme, token)| token.trim())
            .ok_or_else(|| refused("Send a bearer token in the Authorization header"))?;
        let principal = identity::by_bearer_token(&state.config.load(), token);
        principal.map(Self).ok_or_else(|| refused("The bearer token is not known"))
    }
}

/// What a call takes as its body; no body at all counts as `{}`.
pub(super) trait Form: DeserializeOwned {
    /// What it looks like, for who gets it wrong.
    const EXAMPLE: &'static str;
}

/// `{"reason": "…"}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decided {
    pub(super) reason: Option<String>,
}

impl Form for Decided {
    const EXAMPLE: &'static str = r#"{"reason": "..."}"#;
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
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let word = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { "too-large" } else { "bad-request" };
            Problem::new(rejection.status(), word, "The body could not be read, or is larger than 64 KiB")
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
