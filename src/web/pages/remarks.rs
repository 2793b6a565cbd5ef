//! What people write on the page of a request without deciding it: comments, and the requester's reason.
//!
//! Never decides who may: [`Review`](crate::review::Review) does. Invariant: what was written is shown with what deceives
//! spelt out.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect};
use jiff::Timestamp;

use super::request::{Made, find, shown};
use super::shown::time;
use super::{Answer, PageError, sql};
use crate::review::{AccessRequest, Comment, State as RequestState};
use crate::web::session::{SignedIn, Submitted};
use crate::web::{ApiState, Problem};

/// What the page shows of it.
pub(super) struct Remarks {
    pub(super) csrf: String,
    pub(super) comments: Vec<CommentShown>,
    /// Whether whoever looks can give the reason.
    pub(super) justifies: bool,
    /// Whether it is needed.
    pub(super) required: bool,
}

pub(super) struct CommentShown {
    pub(super) at: String,
    pub(super) by: String,
    pub(super) text: String,
}

impl Remarks {
    pub(super) fn of(request: &AccessRequest, comments: &[Comment], person: &SignedIn) -> Self {
        let comment = |comment: &Comment| CommentShown {
            at: time(comment.at),
            by: sql::line(&comment.by),
            text: sql::line(&comment.text),
        };
        let open = request.state == RequestState::Pending && request.justification.is_none();
        Self {
            csrf: person.token.csrf(),
            comments: comments.iter().map(comment).collect(),
            justifies: open && request.user == person.principal.name,
            required: request.justification_required,
        }
    }
}

/// What is said once it is done.
pub(super) fn done(what: &str) -> Option<&'static str> {
    match what {
        "comment" => Some("Your comment is written."),
        "justify" => Some("Your reason is given."),
        _ => None,
    }
}

/// `POST /requests/{id}/comment`.
pub(in crate::web) async fn comment(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Submitted { person, fields }: Submitted,
) -> Answer {
    let request = find(&state, &person, &id).await.map_err(PageError::of(&person))?;
    let text = fields.text("comment").unwrap_or_default();
    let made = state.review.comment(request.id, &person.actor(), &text, Timestamp::now()).await;
    answer(&state, &person, &request, "comment", made.map_err(Problem::from)).await
}

/// `POST /requests/{id}/justify`.
pub(in crate::web) async fn justify(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    Submitted { person, fields }: Submitted,
) -> Answer {
    let request = find(&state, &person, &id).await.map_err(PageError::of(&person))?;
    let reason = fields.text("justification").unwrap_or_default();
    let made = state.review.justify(request.id, &person.actor(), &reason, Timestamp::now()).await;
    answer(&state, &person, &request, "justify", made.map_err(Problem::from)).await
}

async fn answer(
    state: &ApiState,
    person: &SignedIn,
    request: &AccessRequest,
    what: &str,
    made: Result<AccessRequest, Problem>,
) -> Answer {
    match made {
        Ok(_changed) => Ok(Redirect::to(&format!("/requests/{}?done={what}", request.id)).into_response()),
        Err(problem) => shown(state, person, request, Made { problem: Some(problem), ..Made::default() }).await,
    }
}
