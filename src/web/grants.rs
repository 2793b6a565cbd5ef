//! Handlers of `/api/v1/grants`.
//!
//! Never shows a grant to people it does not concern: for them it does not exist, whatever they try to do with it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::api::{bad_after, limit_of, parse_time};
use super::caller::{Body, Caller, Form};
use super::{ApiState, Problem};
use crate::review::{GrantAsk, GrantId, GrantRecord, GrantScope, GrantState};
use crate::store::GrantFilter;

/// A grant as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GrantView {
    /// The record.
    #[serde(flatten)]
    pub grant: GrantRecord,
    /// Seconds until it ends, or can no longer be approved; `null` when that is over.
    pub seconds_left: Option<i64>,
}

impl GrantView {
    pub(super) fn of(state: &ApiState, grant: GrantRecord) -> Self {
        let left = state.review.time(Timestamp::now()).duration_until(grant.expires_at).as_secs().max(0);
        Self { seconds_left: grant.state.is_open().then_some(left), grant }
    }
}

/// One page of grants, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GrantPage {
    /// The grants.
    pub grants: Vec<GrantView>,
    /// `after` of the next page; `null` when this is the last.
    pub next: Option<GrantId>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// In this state.
    #[param(inline, value_type = Option<GrantState>)]
    status: Option<String>,
    /// On this database.
    database: Option<String>,
    /// For this user.
    user: Option<String>,
    /// Behind this one: `next` of the page before.
    #[param(pattern = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
    after: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrantAsked)]
pub(super) struct Asked {
    /// On this database.
    #[schema(required = true, nullable = false)]
    database: Option<String>,
    /// For so long.
    #[serde(rename = "for")]
    #[schema(required = true, nullable = false, pattern = "^[1-9][0-9]{0,4}[smh]$")]
    time: Option<String>,
    /// For what these rules hold, and nothing else holds.
    rules: Option<Vec<String>>,
    /// For what writes these relations only.
    relations: Option<Vec<String>>,
    /// For the values of these masks; in place of rules and relations.
    masks: Option<Vec<String>>,
    /// Why.
    reason: Option<String>,
}

impl Form for Asked {
    const EXAMPLE: &'static str = r#"{"database": "shop", "for": "30m", "rules": ["..."], "relations": ["public.*"], "reason": "..."} or {"database": "shop", "for": "30m", "masks": ["..."], "reason": "..."}"#;
}

pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<GrantPage>, Problem> {
    let Query(query) = query.map_err(|_rejection| {
        Problem::bad_request("The query takes status, database, user, after and limit, each at most once")
    })?;
    let limit = limit_of(query.limit)?;
    let filter = GrantFilter {
        open: false,
        state: query.status.map(|status| parse_status(&status)).transpose()?,
        database: query.database,
        user: query.user,
        after: query.after.map(|after| parse_grant_id(&after).map_err(|_none| bad_after())).transpose()?,
        limit,
    };
    let found = state.review.grants(filter).await?;
    let next = if found.len() == limit as usize { found.last().map(|grant| grant.id) } else { None };
    let who = &caller.principal;
    let visible = found.into_iter().filter(|grant| state.review.may_see_grant(grant, &who.name, &who.groups));
    Ok(Json(GrantPage { grants: visible.map(|grant| GrantView::of(&state, grant)).collect(), next }))
}

pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<GrantView>, Problem> {
    let grant = state.review.find_grant(parse_grant_id(&id)?, &caller.actor()).await?;
    Ok(Json(GrantView::of(&state, grant)))
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
        scope: GrantScope { rules: asked.rules, shape: None, relations: asked.relations, masks: asked.masks },
        reason: asked.reason,
    };
    let grant = state.review.request_grant(&caller.actor(), ask, Timestamp::now()).await?;
    Ok((StatusCode::CREATED, Json(GrantView::of(&state, grant))))
}

pub(super) fn parse_grant_id(text: &str) -> Result<GrantId, Problem> {
    ulid::Ulid::from_string(text).map(GrantId).map_err(|_invalid| Problem::no_such_grant())
}

fn parse_status(text: &str) -> Result<GrantState, Problem> {
    text.parse().map_err(|_unknown| {
        let names: Vec<_> = GrantState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad_request(format!("status is one of {}", names.join(", ")))
    })
}
