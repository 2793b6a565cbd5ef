//! Errors as problem documents (RFC 9457).
//!
//! Never tells what a stranger should not know: causes stay in the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::review::ReviewError;

/// One error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:countersign:problem:` and a word that never changes its meaning.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:countersign:problem:[a-z-]+$")]
    pub kind: String,
    /// The same for every problem of this kind.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time, a sentence.
    pub detail: String,
}

impl Problem {
    /// A problem of the kind `word`.
    pub fn new(status: StatusCode, word: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:countersign:problem:{word}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    /// There is no such request, or it is not for the caller to see.
    pub(super) fn no_such_request() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such access request, or you may not see it")
    }

    /// There is no such grant, or it is not for the caller to see.
    pub(super) fn no_such_grant() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such grant, or you may not see it")
    }

    /// The body is larger than any that is taken.
    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is larger than 64 KiB")
    }

    /// Each part of the call is what the endpoint takes, but not together.
    pub(super) fn contradiction(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "contradiction", detail)
    }

    /// A text is no time that the endpoint takes.
    pub(super) fn no_such_time(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no-such-time", detail)
    }

    /// The text of an error, as a detail has it.
    pub(super) fn sentence(error: &impl std::error::Error) -> String {
        let text = error.to_string();
        let mut letters = text.chars();
        let sentence = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
        sentence.unwrap_or_default()
    }

    /// The call is not what the endpoint takes.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let (status, word) = match &error {
            ReviewError::NotFound => return Self::no_such_request(),
            ReviewError::RolesUnread(_) => (StatusCode::SERVICE_UNAVAILABLE, "roles-unread"),
            ReviewError::NotEligible { .. } => (StatusCode::FORBIDDEN, "not-eligible"),
            ReviewError::OwnRequest => (StatusCode::FORBIDDEN, "own-request"),
            ReviewError::AlreadyVoted => (StatusCode::CONFLICT, "already-voted"),
            ReviewError::AlreadyDecided { .. } => (StatusCode::CONFLICT, "already-decided"),
            ReviewError::Expired => (StatusCode::CONFLICT, "expired"),
            ReviewError::ReasonRequired => (StatusCode::UNPROCESSABLE_ENTITY, "reason-required"),
            ReviewError::Unjustified => (StatusCode::CONFLICT, "unjustified"),
            ReviewError::AlreadyJustified => (StatusCode::CONFLICT, "already-justified"),
            ReviewError::NotRequester => (StatusCode::FORBIDDEN, "not-requester"),
            ReviewError::BadComment => (StatusCode::UNPROCESSABLE_ENTITY, "bad-comment"),
            ReviewError::TooManyUndecided { .. } => (StatusCode::CONFLICT, "too-many-undecided"),
            ReviewError::TooMany => (StatusCode::CONFLICT, "too-many"),
            ReviewError::Changed { .. } => (StatusCode::CONFLICT, "changed"),
            ReviewError::BadEdit => (StatusCode::UNPROCESSABLE_ENTITY, "bad-edit"),
            ReviewError::NotCounted => (StatusCode::UNPROCESSABLE_ENTITY, "not-counted"),
            ReviewError::NoSuchGrant => return Self::no_such_grant(),
            ReviewError::GrantDecided { .. } => (StatusCode::CONFLICT, "already-decided"),
            ReviewError::NoSuchDatabase => (StatusCode::UNPROCESSABLE_ENTITY, "no-such-database"),
            ReviewError::BadScope(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad-scope"),
            ReviewError::NoGrants => (StatusCode::UNPROCESSABLE_ENTITY, "no-grants"),
            ReviewError::TooLong { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too-long"),
            ReviewError::Store(_) | ReviewError::Audit(_) | ReviewError::Trail(_) => {
                tracing::error!(error = %error, "could not serve call");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        Self::new(status, word, Self::sentence(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"countersign\""));
        }
        response
    }
}

/// Makes a problem document of an error that is neither one nor a page: those that the framework makes itself.
pub(super) fn put_into_words(response: &mut Response) {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media = response.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    let is_told = media.is_some_and(|media| media == b"application/problem+json" || media.starts_with(b"text/html"));
    if !is_error || is_told {
        return;
    }
    let word = match status {
        StatusCode::BAD_REQUEST => "bad-request",
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
        StatusCode::UNPROCESSABLE_ENTITY => "unprocessable",
        _ if status.is_server_error() => "unavailable",
        _ => "refused",
    };
    let problem = Problem::new(status, word, "The call is not one that is understood here").into_response();
    let (told, body) = problem.into_parts();
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        match told.headers.get(&name) {
            Some(value) => drop(response.headers_mut().insert(name, value.clone())),
            None => drop(response.headers_mut().remove(name)),
        }
    }
    *response.body_mut() = body;
}
