//! What others were told, for admins: `/api/v1/notifications`.
//!
//! Never shows what was sent: only of what, to whom, and what came of it. Invariant: whoever may not change the configuration
//! learns nothing of targets.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::api::limit_of;
use super::caller::Caller;
use super::{ApiState, Problem};
use crate::identity::{Principal, Scope};
use crate::review::ReviewError;
use crate::store::outbox::{About, Delivery, DeliveryFilter, DeliveryState};

/// One event for one target.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
pub(super) struct DeliveryView {
    /// Its number.
    pub(super) id: i64,
    /// The target, as `webhook NAME`, `teams`, `slack` or `email`.
    pub(super) target: String,
    /// What it is about.
    pub(super) about: About,
    /// Id of the request or grant, or the revision of the configuration.
    pub(super) subject: String,
    /// The state that was entered; `VOTED`, `COMMENTED` or `CHANGED`.
    pub(super) what: String,
    /// When that happened.
    #[schema(value_type = String, format = DateTime)]
    pub(super) at: Timestamp,
    /// How far it is.
    pub(super) state: DeliveryState,
    /// How often it was tried.
    pub(super) attempts: u64,
    /// When it was tried last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) tried_at: Option<Timestamp>,
    /// What came of that: an HTTP status, or a few words.
    pub(super) answer: Option<String>,
    /// When it is tried again; of one that waits for that.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) due_at: Option<Timestamp>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        let waits = delivery.state == DeliveryState::Waiting && delivery.due_at > Timestamp::UNIX_EPOCH;
        Self {
            id: delivery.id,
            target: delivery.target,
            about: delivery.event.about,
            subject: delivery.event.subject,
            what: delivery.event.what,
            at: delivery.event.at,
            state: delivery.state,
            attempts: delivery.attempts,
            tried_at: delivery.tried_at,
            answer: delivery.answer,
            due_at: waits.then_some(delivery.due_at),
        }
    }
}

/// One page of notifications, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = NotificationPage)]
pub(super) struct DeliveryPage {
    pub(super) notifications: Vec<DeliveryView>,
    /// `before` of the next page; `null` when this is the last.
    pub(super) next: Option<i64>,
}

/// Which are asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryQuery {
    /// To this target.
    pub(super) target: Option<String>,
    /// In this state.
    #[param(inline, value_type = Option<DeliveryState>)]
    pub(super) state: Option<String>,
    /// About this request, grant or revision.
    pub(super) subject: Option<String>,
    /// With a lower number: `next` of the page before.
    pub(super) before: Option<i64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<u32>,
}

/// What is to be delivered again.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Redelivered {
    /// Its number.
    id: i64,
}

fn admit(state: &ApiState, who: &Principal) -> Result<(), Problem> {
    if state.review.configures(&who.groups) && who.may_use(Scope::Admin) {
        return Ok(());
    }
    let detail = "Notifications are looked after by members of admin";
    Err(Problem::new(StatusCode::FORBIDDEN, "not-eligible", detail))
}

/// One page, for somebody in those groups.
pub(super) async fn find(state: &ApiState, who: &Principal, query: DeliveryQuery) -> Result<DeliveryPage, Problem> {
    admit(state, who)?;
    let limit = limit_of(query.limit)?;
    let known = |name: &str| DeliveryState::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(name));
    let named = query
        .state
        .as_deref()
        .map(|name| known(name).ok_or_else(|| Problem::bad_request("state is one of WAITING, DELIVERED, DEAD")));
    let filter = DeliveryFilter {
        target: query.target,
        state: named.transpose()?,
        subject: query.subject,
        before: query.before,
        limit,
    };
    let found = state.notifier.outbox().deliveries(filter).await.map_err(ReviewError::from)?;
    let next = if found.len() == limit as usize { found.last().map(|one| one.id) } else { None };
    Ok(DeliveryPage { notifications: found.into_iter().map(DeliveryView::from).collect(), next })
}

/// Has one delivered again, for somebody in those groups.
pub(super) async fn again(state: &ApiState, who: &Principal, id: &str) -> Result<i64, Problem> {
    admit(state, who)?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, "not-found", "There is no notification of that number");
    let id: i64 = id.parse().map_err(|_invalid| missing())?;
    let found = state.notifier.outbox().redeliver(id, state.now()).await.map_err(ReviewError::from)?;
    if found { Ok(id) } else { Err(missing()) }
}

/// `GET /api/v1/notifications`.
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<DeliveryQuery>, QueryRejection>,
) -> Result<Json<DeliveryPage>, Problem> {
    let Query(query) = query.map_err(|_rejection| {
        Problem::bad_request("The query takes target, state, subject, before and limit, each at most once")
    })?;
    Ok(Json(find(&state, &caller.principal, query).await?))
}

/// `POST /api/v1/notifications/{id}/redeliver`.
pub(super) async fn redeliver(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Redelivered>, Problem> {
    Ok(Json(Redelivered { id: again(&state, &caller.principal, &id).await? }))
}
