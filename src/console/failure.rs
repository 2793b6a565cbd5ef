//! Why a command fails, as PostgreSQL's clients show it.

use countersign_protocol::sqlstate;
use pgwire::error::{ErrorInfo, PgWireError};

use crate::review::ReviewError;
use crate::web::Problem;

/// An ErrorResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// In characters from 1.
    pub(super) position: Option<usize>,
}

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, position: None }
    }

    pub(super) fn at(self, position: usize) -> Self {
        Self { position: Some(position), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether somebody may not do what they wanted, or may not know of what it was about.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.code, sqlstate::INSUFFICIENT_PRIVILEGE | sqlstate::UNDEFINED_OBJECT)
    }
}

impl From<ReviewError> for Failure {
    fn from(error: ReviewError) -> Self {
        Problem::from(error).into()
    }
}

impl From<Problem> for Failure {
    /// Says what the API says, with the SQLSTATE that is nearest to its status.
    fn from(problem: Problem) -> Self {
        let code = match problem.status {
            403 => sqlstate::INSUFFICIENT_PRIVILEGE,
            404 => sqlstate::UNDEFINED_OBJECT,
            409 => sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE,
            503 => sqlstate::SYSTEM_ERROR,
            _ => sqlstate::INVALID_PARAMETER_VALUE,
        };
        // PostgreSQL's messages begin with a small letter.
        let mut letters = problem.detail.chars();
        let message = letters.next().map(|first| first.to_lowercase().chain(letters).collect::<String>());
        Self::new(code, message.unwrap_or_default())
    }
}

impl From<Failure> for PgWireError {
    fn from(failure: Failure) -> Self {
        Self::UserError(Box::new(failure.into()))
    }
}

impl From<Failure> for ErrorInfo {
    fn from(failure: Failure) -> Self {
        let mut info = Self::new("ERROR".to_owned(), failure.code.to_owned(), failure.message);
        info.severity_nonlocalized = Some("ERROR".to_owned());
        info.hint = failure.hint;
        info.position = failure.position.map(|position| position.to_string());
        info
    }
}
