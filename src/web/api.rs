//! Handlers of `/api/v1`.
//!
//! Never shows a request to people it does not concern: for them it does not exist, whatever they try to do with it.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use countersign_policy::verdict::ReviewerDemand;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::{ApiState, Problem};
use crate::card::Card;
use crate::duration;
use crate::identity::{Principal, Scope};
use crate::review::schema::Demand;
use crate::review::{AccessRequest, Comment, RequestId, Review, State as RequestState};
use crate::store::{Filter, PAGE_MAX, Past};

/// When a card has been gathered if it ever is.
const GATHERED_BY: SignedDuration = SignedDuration::from_mins(2);
/// Rows of a page when the caller does not say.
const PAGE_DEFAULT: u32 = 50;

/// A request as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// The record.
    #[serde(flatten)]
    pub request: AccessRequest,
    /// Seconds until it expires, while it can; `null` after that.
    pub seconds_left: Option<i64>,
    /// Link for people.
    pub url: String,
    /// What a reviewer is shown besides; of one request only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// What a reviewer is shown of one request besides its record.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Details {
    /// Sizes, what it sets off, the plan, the open transaction; `None` of requests of older versions.
    pub card: Option<Card>,
    /// What people wrote about it, oldest first.
    #[serde(default)]
    pub comments: Vec<Comment>,
    /// Who else must approve it.
    #[schema(value_type = Vec<Demand>)]
    pub still_needed: Vec<ReviewerDemand>,
    /// How requests of the same shape were decided before; of those that the caller may know of.
    pub past: Past,
}

impl RequestView {
    pub(super) fn of(state: &ApiState, request: AccessRequest) -> Self {
        Self::with_link(&state.review, &state.config.load().web.public_url, request)
    }

    /// As it is shown, with a link below that address.
    pub(crate) fn with_link(review: &Review, public_url: &str, request: AccessRequest) -> Self {
        let waits = matches!(request.state, RequestState::Pending | RequestState::Approved);
        let left = review.time(Timestamp::now()).duration_until(request.expires_at).as_secs().max(0);
        let url = format!("{public_url}/requests/{}", request.id);
        Self { seconds_left: waits.then_some(left), url, request, details: None }
    }
}

/// One page of requests, newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RequestPage)]
pub struct Page {
    /// The requests.
    pub requests: Vec<RequestView>,
    /// `after` of the next page; `null` when this is the last.
    pub next: Option<RequestId>,
}

/// Who calls.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    name: String,
    groups: Vec<String>,
    /// What the token is for; `admin` of somebody who is signed in on the page.
    scopes: Vec<&'static str>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// In this state.
    #[param(inline, value_type = Option<RequestState>)]
    status: Option<String>,
    /// On this database.
    database: Option<String>,
    /// Made by this user.
    user: Option<String>,
    /// Behind this one: `next` of the page before.
    #[param(pattern = "^[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}$")]
    after: Option<String>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

pub(super) async fn me(caller: Caller) -> Json<Me> {
    let scopes = caller.principal.scopes.iter().map(Scope::as_str).collect();
    Json(Me { name: caller.principal.name, groups: caller.principal.groups, scopes })
}

pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let Query(query) = query.map_err(|_rejection| {
        Problem::bad_request("The query takes status, database, user, after and limit, each at most once")
    })?;
    let limit = limit_of(query.limit)?;
    let filter = Filter {
        state: query.status.map(|status| parse_status(&status)).transpose()?,
        database: query.database,
        user: query.user,
        visible_to: state.review.viewer(&caller.principal.name, &caller.principal.groups),
        after: query.after.map(|after| parse_id(&after).map_err(|_none| bad_after())).transpose()?,
        limit,
    };
    let found = state.review.list(filter).await?;
    let next = if found.len() == limit as usize { found.last().map(|request| request.id) } else { None };
    let requests = found.into_iter().map(|request| RequestView::of(&state, request)).collect();
    Ok(Json(Page { requests, next }))
}

impl Details {
    /// What somebody is shown of a request that they may see.
    pub(crate) async fn of(review: &Review, who: &Principal, request: &AccessRequest) -> Result<Self, Problem> {
        // Whoever reviews it is asked for the same shape by anybody; a requester knows of own requests only.
        let reviews = review.is_reviewer(request, &who.name, &who.groups);
        let own = (!reviews).then_some(who.name.as_str());
        // The proxy that was to gather the rest may have ended before it had.
        let settled =
            |card: Card| if is_late(request) { card.given_up("the proxy ended before it was gathered") } else { card };
        Ok(Self {
            card: review.card(request.id).await?.map(settled),
            comments: review.comments(request.id).await?,
            still_needed: review.still_needed(request),
            past: review.past(request, own).await?,
        })
    }
}

fn is_late(request: &AccessRequest) -> bool {
    Timestamp::now().duration_since(request.created_at) > GATHERED_BY
}

pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RequestView>, Problem> {
    let request = state.review.find(parse_id(&id)?, &caller.actor()).await?;
    let details = Details::of(&state.review, &caller.principal, &request).await?;
    Ok(Json(RequestView { details: Some(details), ..RequestView::of(&state, request) }))
}

/// How many rows a page is to have.
pub(super) fn limit_of(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(PAGE_DEFAULT);
    let fits = (1..=PAGE_MAX).contains(&limit);
    fits.then_some(limit).ok_or_else(|| Problem::bad_request(format!("limit is from 1 to {PAGE_MAX}")))
}

/// What was given as `after` is no id.
pub(super) fn bad_after() -> Problem {
    Problem::bad_request("after is the `next` of the page before")
}

/// The id in a path or query.
pub(super) fn parse_id(text: &str) -> Result<RequestId, Problem> {
    ulid::Ulid::from_string(text).map(RequestId).map_err(|_invalid| Problem::no_such_request())
}

/// A time as people write it.
pub(super) fn parse_time(text: &str) -> Result<Duration, Problem> {
    let detail = "\"for\" is a time such as \"90s\", \"30m\" or \"2h\", of at most ten years";
    duration::parse(text).ok_or_else(|| Problem::no_such_time(detail))
}

pub(super) fn parse_status(text: &str) -> Result<RequestState, Problem> {
    text.parse().map_err(|_unknown| {
        let names: Vec<_> = RequestState::ALL.iter().map(|state| state.as_str()).collect();
        Problem::bad_request(format!("status is one of {}", names.join(", ")))
    })
}
