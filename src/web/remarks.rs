//! Calls about what people write about a request.
//!
//! Never tells who may not know of a request that there is one: [`Review`](crate::review::Review) looks.

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;

use super::api::{RequestView, parse_id};
use super::caller::{Body, Caller, Form};
use super::{ApiState, Problem};

/// A comment.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CommentText)]
pub(super) struct Commented {
    /// What to say.
    #[schema(max_length = 4000, pattern = "\\S")]
    text: String,
}

impl Form for Commented {
    const EXAMPLE: &'static str = r#"{"text": "..."}"#;
}

/// The requester's reason.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Justification)]
pub(super) struct Justified {
    /// Why it is to be done.
    #[schema(pattern = "\\S")]
    reason: String,
}

impl Form for Justified {
    const EXAMPLE: &'static str = r#"{"reason": "..."}"#;
}

pub(super) async fn comment(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(commented): Body<Commented>,
) -> Result<Json<RequestView>, Problem> {
    let id = parse_id(&id)?;
    let request = state.review.comment(id, &caller.actor(), &commented.text, Timestamp::now()).await?;
    Ok(Json(RequestView::of(&state, request)))
}

pub(super) async fn justify(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(given): Body<Justified>,
) -> Result<Json<RequestView>, Problem> {
    let id = parse_id(&id)?;
    let request = state.review.justify(id, &caller.actor(), &given.reason, Timestamp::now()).await?;
    Ok(Json(RequestView::of(&state, request)))
}
