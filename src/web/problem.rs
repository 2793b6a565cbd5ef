//! Errors as problem documents (RFC 9457).
//!
//! Never tells what a stranger should not know: causes stay in the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::review::ReviewError;

/// One error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:countersign:problem:` and a word that never changes its meaning.
    #[serde(rename = "type")]
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

    /// The call is not what the endpoint takes.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let (status, word) = match &error {
            ReviewError::NotFound => return Self::no_such_request(),
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
            ReviewError::Store(_) | ReviewError::Audit(_) => {
                tracing::error!(error = %error, "could not serve call");
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
        };
        let text = error.to_string();
        let mut letters = text.chars();
        let sentence = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
        Self::new(status, word, sentence.unwrap_or_default())
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
