//! Handlers of `/api/v1`.
//!
//! Never shows a request to people it does not concern: for them it does not exist, whatever they try to do with it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, Decided};
use super::{ApiState, Problem};
use crate::review::{ADMIN_GROUP, AccessRequest, RequestId, ReviewError, State as RequestState};
use crate::store::{Filter, PAGE_MAX, Viewer};

/// Rows of a page when the caller does not say.
const PAGE_DEFAULT: u32 = 50;

/// A request as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestView {
    /// The record.
    #[serde(flatten)]
    pub request: AccessRequest,
    /// Seconds until it expires, while it can; `null` after that.
    pub seconds_left: Option<i64>,
    /// Link for people.
    pub url: String,
}

/// One page of requests, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page {
    /// The requests.
    pub requests: Vec<RequestView>,
    /// `after` of the next page; `null` when this is the last.
    pub next: Option<RequestId>,
}

#[derive(Serialize)]
pub(super) struct Me {
    name: String,
    groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    database: Option<String>,
    user: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

type Answer = Result<Json<RequestView>, Problem>;

pub(super) async fn me(caller: Caller) -> Json<Me> {
    Json(Me { name: caller.0.name, groups: caller.0.groups })
}

pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(query) = query.map_err(|_rejection| {
        Problem::bad_request("The query takes status, database, user, after and limit, each at most once")
    })?;
    let status = query.status.filter(|status| !status.is_empty());
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let is_admin = caller.0.groups.iter().any(|group| group == ADMIN_GROUP);
    let viewer = Viewer { name: caller.0.name, groups: caller.0.groups };
    let filter = Filter {
        state: status.map(|status| parse_status(&status)).transpose()?,
        database: query.database,
        user: query.user,
        visible_to: (!is_admin).then_some(viewer),
        after: query.after.map(|after| parse_id(&after)).transpose()?,
        limit,
    };
    let found = state.review.list(filter).await?;
    let next = if found.len() == limit as usize { found.last().map(|request| request.id) } else { None };
    let requests = found.into_iter().map(|request| view(&state, request)).collect();
    Ok(Json(Page { requests, next }))
}

pub(super) async fn show(State(state): State<ApiState>, caller: Caller, Path(id): Path<String>) -> Answer {
    let request = visible(&state, &caller, &id).await?;
    Ok(Json(view(&state, request)))
}

pub(super) async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    decided: Decided,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let request = state.review.approve(id, &caller.actor(), decided.reason, Timestamp::now()).await?;
    Ok(Json(view(&state, request)))
}

pub(super) async fn reject(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    decided: Decided,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let reason = decided.reason.ok_or(ReviewError::ReasonRequired)?;
    let request = state.review.reject(id, &caller.actor(), reason, Timestamp::now()).await?;
    Ok(Json(view(&state, request)))
}

pub(super) async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    decided: Decided,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let request = state.review.cancel(id, &caller.actor(), decided.reason, Timestamp::now()).await?;
    Ok(Json(view(&state, request)))
}

pub(super) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    decided: Decided,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let request = state.review.revoke(id, &caller.actor(), decided.reason, Timestamp::now()).await?;
    Ok(Json(view(&state, request)))
}

/// The id in a path or query.
pub(super) fn parse_id(text: &str) -> Result<RequestId, Problem> {
    ulid::Ulid::from_string(text).map(RequestId).map_err(|_invalid| Problem::no_such_request())
}

fn parse_status(text: &str) -> Result<RequestState, Problem> {
    text.parse().map_err(|_unknown| {
        let names: Vec<_> = RequestState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad_request(format!("status is one of {}", names.join(", ")))
    })
}

async fn visible(state: &ApiState, caller: &Caller, id: &str) -> Result<AccessRequest, Problem> {
    let request = state.review.get(parse_id(id)?).await?;
    if request.is_visible_to(&caller.0.name, &caller.0.groups) { Ok(request) } else { Err(Problem::no_such_request()) }
}

fn view(state: &ApiState, request: AccessRequest) -> RequestView {
    let waits = matches!(request.state, RequestState::Pending | RequestState::Approved);
    let left = state.review.time(Timestamp::now()).duration_until(request.expires_at).as_secs().max(0);
    let url = format!("{}/requests/{}", state.config.load().web.public_url, request.id);
    RequestView { seconds_left: waits.then_some(left), url, request }
}
