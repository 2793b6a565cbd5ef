//! `GET /api/v1/analytics`.
//!
//! Never counts requests that the caller may not know of.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;

use super::caller::Caller;
use super::{ApiState, Problem};
use crate::duration;
use crate::identity::Principal;
use crate::review::analytics::{Analytics, Period, Question};

/// How far back is counted when the caller does not say.
const LAST_DEFAULT: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct AnalyticsQuery {
    /// Made at or after this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) from: Option<Timestamp>,
    /// Made before this moment; now by default.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) until: Option<Timestamp>,
    /// Made in this time before `until`, as `12h` or `30d`; instead of `from`.
    #[param(pattern = "^[1-9][0-9]{0,2}[smhd]$")]
    pub(super) last: Option<String>,
    /// On this database.
    pub(super) database: Option<String>,
    /// By this user.
    pub(super) user: Option<String>,
    /// Held by this rule.
    pub(super) rule: Option<String>,
    /// To be reviewed by this group.
    pub(super) group: Option<String>,
    /// How long the periods are.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(super) per: Period,
}

pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<AnalyticsQuery>, QueryRejection>,
) -> Result<Json<Analytics>, Problem> {
    let Query(query) = query.map_err(|_rejection| {
        Problem::bad_request(
            "The query takes from and until (times such as 2026-01-02T03:04:05Z) or last (such as 30d), database, user, \
             rule, group, and per (hour, day or month), each at most once",
        )
    })?;
    Ok(Json(count(&state, &caller.principal, query).await?))
}

/// Counts what that person may know of.
pub(super) async fn count(state: &ApiState, who: &Principal, query: AnalyticsQuery) -> Result<Analytics, Problem> {
    let until = query.until.unwrap_or_else(|| state.review.time(Timestamp::now()));
    let from = match (query.from, &query.last) {
        (Some(_), Some(_)) => return Err(Problem::contradiction("Give either \"from\" or \"last\"")),
        (Some(from), None) => from,
        (None, last) => until.checked_sub(span(last.as_deref())?).unwrap_or(Timestamp::UNIX_EPOCH),
    };
    let question = Question {
        from,
        until,
        database: query.database,
        user: query.user,
        rule: query.rule,
        group: query.group,
        per: query.per,
        visible_to: state.review.viewer(&who.name, &who.groups),
    };
    Ok(state.review.analytics(question).await?)
}

fn span(last: Option<&str>) -> Result<SignedDuration, Problem> {
    let Some(last) = last else { return Ok(LAST_DEFAULT) };
    let parsed = duration::parse(last).and_then(|time| SignedDuration::try_from(time).ok());
    parsed.ok_or_else(|| Problem::no_such_time("\"last\" is a time such as \"12h\" or \"30d\", of at most ten years"))
}
