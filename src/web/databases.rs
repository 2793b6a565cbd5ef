//! `GET /api/v1/databases`: what somebody may connect to, and what happens there to a statement that no rule speaks of.
//!
//! Never names a database to who may not know of it, nor where its upstream is.

use axum::Json;
use axum::extract::State;
use countersign_policy::rule::{Action, DatabasePolicy, Stage};
use jiff::SignedDuration;
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiState;
use super::caller::Caller;

/// A database.
#[derive(Serialize, ToSchema)]
pub(super) struct DatabaseView {
    /// The name that clients put in `dbname`.
    name: String,
    /// Groups whose members may connect.
    groups: Vec<String>,
    /// What happens when no rule matches: `allow`, `hold` or `deny`.
    default: &'static str,
    /// What happens to a statement that is not understood: `hold` or `deny`.
    unparsed: &'static str,
    /// Whether verdicts are only recorded.
    observed: bool,
    /// Who is asked where a rule does not say.
    reviewers: Vec<String>,
    /// Seconds a request waits where a rule does not say.
    timeout: i64,
    /// Longest grant, in seconds; 0 where none are given.
    grant_max: i64,
}

/// The databases, by name.
#[derive(Serialize, ToSchema)]
pub(super) struct DatabaseList {
    /// Those that the caller may know of.
    databases: Vec<DatabaseView>,
}

/// `GET /api/v1/databases`.
pub(super) async fn list(State(state): State<ApiState>, caller: Caller) -> Json<DatabaseList> {
    let config = state.config.load_full();
    let seconds = |time| SignedDuration::try_from(time).map_or(i64::MAX, |time| time.as_secs());
    let view = |policy: &DatabasePolicy| DatabaseView {
        name: policy.name.clone(),
        groups: config.database(&policy.name).map(|database| database.groups.clone()).unwrap_or_default(),
        default: word(policy.default),
        unparsed: word(policy.unparsed),
        observed: match policy.stage {
            Stage::Observe => true,
            Stage::Enforce => false,
        },
        reviewers: policy.review.groups.clone(),
        timeout: seconds(policy.review.timeout),
        grant_max: seconds(config.grant_max(&policy.name)),
    };
    let known = config.policy.databases.iter();
    let known = known.filter(|policy| state.review.may_know_database(&caller.principal.groups, &policy.name));
    let mut databases: Vec<_> = known.map(view).collect();
    databases.sort_by(|one, other| one.name.cmp(&other.name));
    Json(DatabaseList { databases })
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Hold => "hold",
        Action::Deny => "deny",
    }
}
