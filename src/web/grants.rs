//! Handlers of `/api/v1/grants`.
//!
//! Never shows a grant to people it does not concern: for them it does not exist, whatever they try to do with it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::api::parse_time;
use super::caller::{Body, Caller, Decided, Form};
use super::{ApiState, Problem};
use crate::review::{GrantAsk, GrantId, GrantRecord, GrantScope, GrantState, ReviewError};
use crate::store::{GrantFilter, PAGE_MAX};

/// Rows of a page when the caller does not say.
const PAGE_DEFAULT: u32 = 50;

/// A grant as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantView {
    /// The record.
    #[serde(flatten)]
    pub grant: GrantRecord,
    /// Seconds until it ends, or can no longer be approved; `null` when that is over.
    pub seconds_left: Option<i64>,
}

/// One page of grants, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantPage {
    /// The grants.
    pub grants: Vec<GrantView>,
    /// `after` of the next page; `null` when this is the last.
    pub next: Option<GrantId>,
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

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    database: Option<String>,
    #[serde(rename = "for")]
    time: Option<String>,
    rules: Option<Vec<String>>,
    relations: Option<Vec<String>>,
    reason: Option<String>,
}

impl Form for Asked {
    const EXAMPLE: &'static str =
        r#"{"database": "shop", "for": "30m", "rules": ["..."], "relations": ["public.*"], "reason": "..."}"#;
}

type Answer = Result<Json<GrantView>, Problem>;

pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<GrantPage>, Problem> {
    let Query(query) = query.map_err(|_rejection| {
        Problem::bad_request("The query takes status, database, user, after and limit, each at most once")
    })?;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let status = query.status.filter(|status| !status.is_empty());
    let filter = GrantFilter {
        open: false,
        state: status.map(|status| parse_status(&status)).transpose()?,
        database: query.database,
        user: query.user,
        after: query.after.map(|after| parse_id(&after)).transpose()?,
        limit,
    };
    let found = state.review.grants(filter).await?;
    let next = if found.len() == limit as usize { found.last().map(|grant| grant.id) } else { None };
    let visible = found.into_iter().filter(|grant| grant.is_visible_to(&caller.0.name, &caller.0.groups));
    Ok(Json(GrantPage { grants: visible.map(|grant| view(&state, grant)).collect(), next }))
}

pub(super) async fn show(State(state): State<ApiState>, caller: Caller, Path(id): Path<String>) -> Answer {
    let grant = visible(&state, &caller, &id).await?;
    Ok(Json(view(&state, grant)))
}

pub(super) async fn request(
    State(state): State<ApiState>,
    caller: Caller,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Json<GrantView>), Problem> {
    let missing = |key: &str| Problem::bad_request(format!("\"{key}\" is missing; send {}", Asked::EXAMPLE));
    let ask = GrantAsk {
        database: asked.database.ok_or_else(|| missing("database"))?,
        time: parse_time(&asked.time.ok_or_else(|| missing("for"))?)?,
        scope: GrantScope { rules: asked.rules, shape: None, relations: asked.relations },
        reason: asked.reason,
    };
    let grant = state.review.request_grant(&caller.actor(), ask, Timestamp::now()).await?;
    Ok((StatusCode::CREATED, Json(view(&state, grant))))
}

pub(super) async fn approve(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Decided>,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let grant = state.review.approve_grant(id, &caller.actor(), decided.reason, Timestamp::now()).await?;
    Ok(Json(view(&state, grant)))
}

pub(super) async fn reject(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Decided>,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let reason = decided.reason.ok_or(ReviewError::ReasonRequired)?;
    let grant = state.review.reject_grant(id, &caller.actor(), reason, Timestamp::now()).await?;
    Ok(Json(view(&state, grant)))
}

pub(super) async fn cancel(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Decided>,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let grant = state.review.cancel_grant(id, &caller.actor(), decided.reason, Timestamp::now()).await?;
    Ok(Json(view(&state, grant)))
}

pub(super) async fn revoke(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Decided>,
) -> Answer {
    let id = visible(&state, &caller, &id).await?.id;
    let grant = state.review.revoke_grant(id, &caller.actor(), decided.reason, Timestamp::now()).await?;
    Ok(Json(view(&state, grant)))
}

fn parse_id(text: &str) -> Result<GrantId, Problem> {
    ulid::Ulid::from_string(text).map(GrantId).map_err(|_invalid| Problem::no_such_grant())
}

fn parse_status(text: &str) -> Result<GrantState, Problem> {
    text.parse().map_err(|_unknown| {
        let names: Vec<_> = GrantState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad_request(format!("status is one of {}", names.join(", ")))
    })
}

async fn visible(state: &ApiState, caller: &Caller, id: &str) -> Result<GrantRecord, Problem> {
    let grant = state.review.grant(parse_id(id)?).await?;
    if grant.is_visible_to(&caller.0.name, &caller.0.groups) { Ok(grant) } else { Err(Problem::no_such_grant()) }
}

fn view(state: &ApiState, grant: GrantRecord) -> GrantView {
    let left = state.review.time(Timestamp::now()).duration_until(grant.expires_at).as_secs().max(0);
    GrantView { seconds_left: grant.state.is_open().then_some(left), grant }
}
