//! Records of the trail as they are read back for their story.
//!
//! Never fails over a kind of record that says nothing of requests or grants. Invariant: the keys are those that
//! `audit::Record` writes.

use jiff::Timestamp;
use serde::Deserialize;

use countersign_policy::verdict::ReviewerDemand;

use crate::review::{GrantState, State};

#[derive(Deserialize)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum What {
    Transition(Step),
    Vote(Vote),
    Intent(Intent),
    Outcome(Outcome),
    Verdict(Verdict),
    Grant(GrantStep),
    GrantVote(GrantVote),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct Step {
    pub(super) request: String,
    pub(super) from: Option<State>,
    pub(super) to: State,
    pub(super) by: String,
    pub(super) surface: String,
    pub(super) reason: Option<String>,
    /// When it was told, if later than it happened.
    #[serde(default)]
    pub(super) told_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Vote {
    pub(super) request: String,
    /// Trails of earlier versions do not tell.
    #[serde(default)]
    pub(super) version: u64,
    pub(super) by: String,
    pub(super) groups: Vec<String>,
    pub(super) approve: bool,
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) edited: Option<String>,
    #[serde(default)]
    pub(super) forced: bool,
    /// When it was told, if later than it happened.
    #[serde(default)]
    pub(super) told_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Intent {
    pub(super) request: String,
    pub(super) user: String,
    pub(super) statement: String,
    pub(super) approvers: Vec<String>,
    /// Trails of earlier versions do not tell.
    #[serde(default)]
    pub(super) reviewers: Option<Vec<ReviewerDemand>>,
}

#[derive(Deserialize)]
pub(super) struct Outcome {
    pub(super) request: Option<String>,
    pub(super) outcome: String,
    /// When it was told, if later than it happened.
    #[serde(default)]
    pub(super) told_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Verdict {
    pub(super) user: String,
    pub(super) database: String,
    #[serde(default)]
    pub(super) grant: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct GrantStep {
    pub(super) grant: String,
    pub(super) from: Option<GrantState>,
    pub(super) to: GrantState,
    pub(super) by: String,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) expires_at: Timestamp,
    /// When it was told, if later than it happened.
    #[serde(default)]
    pub(super) told_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct GrantVote {
    pub(super) grant: String,
    pub(super) by: String,
    pub(super) approve: bool,
    /// When it was told, if later than it happened.
    #[serde(default)]
    pub(super) told_at: Option<Timestamp>,
}
