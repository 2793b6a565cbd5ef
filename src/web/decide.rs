//! Decisions as they arrive over HTTP: one path for requests and grants, for the API and the page.
//!
//! Never decides: it reads what is asked for and hands it to [`Review`](crate::review::Review). Invariant: whoever may not see
//! something is told that it does not exist.

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::api::{RequestView, parse_id, parse_time};
use super::caller::{Body, Caller, Form};
use super::grants::{GrantView, parse_grant_id};
use super::{ApiState, Problem};
use crate::review::{AccessRequest, Act, Actor, Consent, GrantRecord, Offer, Scope};

/// What people decide about.
pub(super) trait Decidable: Sized {
    /// What an approval of it can say.
    type Approval: Form;
    /// How the API shows it.
    type View: Serialize;

    /// Has it done, by somebody, to what that id names.
    async fn act(state: &ApiState, id: &str, actor: &Actor, act: Act) -> Result<Self, Problem>;

    /// What an approval says.
    fn consent(approval: Self::Approval) -> Result<Consent, Problem>;

    /// Shows it.
    fn view(self, state: &ApiState) -> Self::View;
}

impl Decidable for AccessRequest {
    type Approval = Approved;
    type View = RequestView;

    async fn act(state: &ApiState, id: &str, actor: &Actor, act: Act) -> Result<Self, Problem> {
        Ok(state.review.act(parse_id(id)?, actor, act, Timestamp::now()).await?)
    }

    fn consent(approval: Approved) -> Result<Consent, Problem> {
        approval.consent()
    }

    fn view(self, state: &ApiState) -> RequestView {
        RequestView::of(state, self)
    }
}

impl Decidable for GrantRecord {
    type Approval = Decided;
    type View = GrantView;

    async fn act(state: &ApiState, id: &str, actor: &Actor, act: Act) -> Result<Self, Problem> {
        Ok(state.review.act_on_grant(parse_grant_id(id)?, actor, act, Timestamp::now()).await?)
    }

    fn consent(approval: Decided) -> Result<Consent, Problem> {
        Ok(approval.reason.into())
    }

    fn view(self, state: &ApiState) -> GrantView {
        GrantView::of(state, self)
    }
}

/// How a request is approved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Approval)]
pub(super) struct Approved {
    /// Why.
    pub(super) reason: Option<String>,
    /// Offers a grant for so long.
    #[serde(rename = "for")]
    #[schema(pattern = "^[1-9][0-9]{0,4}[smh]$")]
    pub(super) time: Option<String>,
    /// What the grant is for; only with a time.
    pub(super) scope: Option<Scope>,
    /// Approves in everybody's place, for a reason: break-glass.
    #[serde(default)]
    pub(super) force: bool,
    /// Approves this in the place of the requester's text.
    pub(super) statement: Option<String>,
    /// Takes the statement back when it writes more rows.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(maximum = 4294967295_u32)]
    pub(super) max_affected: Option<u32>,
}

impl Form for Approved {
    const EXAMPLE: &'static str = r#"{"reason": "...", "for": "30m", "scope": "shape" or "rules" or "database", "force": false, "statement": "...", "max_affected": 100}"#;
}

impl Approved {
    pub(super) fn consent(self) -> Result<Consent, Problem> {
        if self.scope.is_some() && self.time.is_none() {
            return Err(Problem::contradiction("\"scope\" says what a grant is for; say for how long with \"for\""));
        }
        let time = self.time.map(|time| parse_time(&time)).transpose()?;
        let scope = self.scope.unwrap_or(Scope::Rules);
        let offer = time.map(|time| Offer { seconds: time.as_secs(), scope });
        let max_affected = self.max_affected.map(u64::from);
        Ok(Consent { reason: self.reason, offer, forced: self.force, edited: self.statement, max_affected })
    }
}

/// A whole number, as JSON has it: `7.0` is one.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    // Every such number fits.
    is_whole.then_some(Some(number as u32)).ok_or_else(|| D::Error::custom("it is no whole number of rows"))
}

/// `{"reason": "…"}`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Decision)]
pub(super) struct Decided {
    /// Why.
    reason: Option<String>,
}

/// The same, where it needs one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rejection)]
pub(super) struct Rejected {
    /// Why.
    #[schema(required = true, nullable = false, pattern = "\\S")]
    reason: Option<String>,
}

impl Form for Rejected {
    const EXAMPLE: &'static str = r#"{"reason": "..."}"#;
}

impl Form for Decided {
    const EXAMPLE: &'static str = r#"{"reason": "..."}"#;
}

type Answer<T> = Result<Json<<T as Decidable>::View>, Problem>;

pub(super) async fn approve<T: Decidable>(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(approval): Body<T::Approval>,
) -> Answer<T> {
    answer::<T>(&state, &caller, &id, Act::Approve(T::consent(approval)?)).await
}

pub(super) async fn reject<T: Decidable>(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Rejected>,
) -> Answer<T> {
    answer::<T>(&state, &caller, &id, Act::Reject(decided.reason)).await
}

pub(super) async fn cancel<T: Decidable>(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Decided>,
) -> Answer<T> {
    answer::<T>(&state, &caller, &id, Act::Cancel(decided.reason)).await
}

pub(super) async fn revoke<T: Decidable>(
    State(state): State<ApiState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(decided): Body<Decided>,
) -> Answer<T> {
    answer::<T>(&state, &caller, &id, Act::Revoke(decided.reason)).await
}

async fn answer<T: Decidable>(state: &ApiState, caller: &Caller, id: &str, act: Act) -> Answer<T> {
    Ok(Json(T::act(state, id, &caller.actor(), act).await?.view(state)))
}
