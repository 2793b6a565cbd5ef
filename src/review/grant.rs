//! Grants as they are recorded: leave for one user to run what would be held, until it ends.
//!
//! Never lifts a hold itself; [`countersign_policy::grant::Grant`] does, which is made from the record while it is ACTIVE.
//! Invariant: only the transitions of [`GrantState::may_become`] are stored.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use countersign_policy::grant::{Grant, Reach, ShapeDigest};
use countersign_policy::rule::NameGlob;
use countersign_policy::verdict::ReviewerDemand;

use super::schema::Demand;
use super::{ADMIN_GROUP, RequestId, Surface, Vote, votes};

/// Identifier of a grant: a ULID, 26 characters of Crockford base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct GrantId(pub ulid::Ulid);

impl std::fmt::Display for GrantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// State of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GrantState {
    /// Somebody asks for it; it waits for votes.
    Requested,
    /// In force.
    Active,
    /// Its time is over.
    Ended,
    /// Taken back.
    Revoked,
    /// A reviewer said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// Withdrawn by who asked for it.
    Cancelled,
}

impl GrantState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Requested, Self::Active, Self::Ended, Self::Revoked, Self::Rejected, Self::Expired, Self::Cancelled];

    /// Whether a grant in this state may become `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Requested => matches!(next, Self::Active | Self::Rejected | Self::Expired | Self::Cancelled),
            Self::Active => matches!(next, Self::Ended | Self::Revoked),
            Self::Ended | Self::Revoked | Self::Rejected | Self::Expired | Self::Cancelled => false,
        }
    }

    /// Whether something may still follow.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Active)
    }

    /// The name people see: `ACTIVE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Active => "ACTIVE",
            Self::Ended => "ENDED",
            Self::Revoked => "REVOKED",
            Self::Rejected => "REJECTED",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl std::fmt::Display for GrantState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is the name of no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a state of a grant")]
pub struct UnknownGrantState(pub String);

impl FromStr for GrantState {
    type Err = UnknownGrantState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let same = |state: &&Self| state.as_str().eq_ignore_ascii_case(text);
        Self::ALL.iter().find(same).copied().ok_or_else(|| UnknownGrantState(text.to_owned()))
    }
}

/// How far an approval "for a time" reaches, from narrow to wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The same statement with other literals, under the same role and search path.
    Shape,
    /// Statements that nothing else holds than what held this one.
    Rules,
    /// Whatever is held on the database, as far as the same groups would have to approve it.
    Database,
}

/// An approval that its giver lets be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// For how long, in seconds.
    pub seconds: u64,
    /// For what.
    pub scope: Scope,
}

impl Offer {
    /// What two people offer together: the shorter time, the narrower scope.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { seconds: self.seconds.min(other.seconds), scope: self.scope.min(other.scope) }
    }
}

/// Which holds a grant lifts: everything that is present must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantScope {
    /// Nothing else may hold the statement: names of rules, `databases.NAME.default`, `masks.predicates`, …
    #[serde(default)]
    pub rules: Option<Vec<String>>,
    /// Digest of the shape of the text, with role and search path; hexadecimal.
    #[serde(default)]
    pub shape: Option<String>,
    /// Nothing else may be written: patterns over `schema.name`.
    #[serde(default)]
    pub relations: Option<Vec<String>>,
    /// It lifts no hold, but shows the values of these masks: names of `[[masks]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<Vec<String>>,
}

/// One change of state of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantTransition {
    /// State before; `None` for the first.
    pub from: Option<GrantState>,
    /// State after.
    pub to: GrantState,
    /// Who made it.
    pub by: String,
    /// Where.
    pub surface: Surface,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

/// The durable record of a grant, as surfaces show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GrantRecord {
    /// Identifier.
    pub id: GrantId,
    /// State.
    pub state: GrantState,
    /// Grows by one with every transition or vote.
    pub version: u64,
    /// For whom.
    pub user: String,
    /// On which database.
    pub database: String,
    /// What it lifts.
    pub scope: GrantScope,
    /// For how long once it is ACTIVE, in seconds.
    pub seconds: u64,
    /// Who must approve it, or had to approve the request it came from.
    #[schema(value_type = Vec<Demand>)]
    pub reviewers: Vec<ReviewerDemand>,
    /// The access request whose approval it came with.
    pub request: Option<RequestId>,
    /// One line for people: what it came from, or is for.
    pub summary: String,
    /// When it was asked for, or given.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends; while it is REQUESTED, until when it can be approved.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Votes so far.
    pub votes: Vec<Vote>,
    /// Every transition so far.
    pub transitions: Vec<GrantTransition>,
}

/// The scope of a record cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scope of grant cannot be read: {0}")]
pub struct ScopeError(pub String);

impl GrantRecord {
    /// The record after a transition; `None` when the state table forbids it.
    #[must_use]
    pub fn after(&self, transition: GrantTransition) -> Option<Self> {
        let legal = transition.from == Some(self.state) && self.state.may_become(transition.to);
        legal.then(|| {
            let mut next = self.clone();
            next.state = transition.to;
            if transition.to == GrantState::Active {
                next.expires_at = end_of(transition.at, Duration::from_secs(self.seconds));
            }
            next.version += 1;
            next.transitions.push(transition);
            next
        })
    }

    /// Whether a person of that name and in those groups may know of it.
    #[must_use]
    pub fn is_visible_to(&self, name: &str, groups: &[String]) -> bool {
        self.user == name
            || groups.iter().any(|group| group == ADMIN_GROUP)
            || !votes::demanded_groups(&self.reviewers, groups).is_empty()
    }

    /// What lifts holds, while it is ACTIVE. `behind` is how much this process's clock is behind the one by which it ends.
    ///
    /// # Errors
    /// When its scope cannot be read.
    pub fn in_force(&self, behind: SignedDuration) -> Result<Option<Arc<Grant>>, ScopeError> {
        if self.state != GrantState::Active {
            return Ok(None);
        }
        Ok(Some(Arc::new(Grant {
            id: self.id.to_string(),
            user: self.user.clone(),
            database: self.database.clone(),
            reach: self.scope.reach()?,
            met: self.reviewers.clone(),
            until: self.expires_at.checked_sub(behind).unwrap_or(self.expires_at).as_microsecond(),
        })))
    }
}

impl GrantScope {
    /// The scope as it is judged by.
    ///
    /// # Errors
    /// When a pattern or the digest is not valid.
    pub fn reach(&self) -> Result<Reach, ScopeError> {
        let glob = |pattern: &String| NameGlob::qualified(pattern).map_err(|error| ScopeError(error.to_string()));
        let digest = |text: &String| {
            let mut digest = [0; 32];
            let read = hex::decode_to_slice(text, &mut digest);
            read.map(|()| ShapeDigest(digest))
                .map_err(|_not_hex| ScopeError("a shape has 64 hexadecimal digits".to_owned()))
        };
        Ok(Reach {
            causes: self.rules.clone(),
            shape: self.shape.as_ref().map(digest).transpose()?,
            relations: self.relations.as_ref().map(|list| list.iter().map(glob).collect()).transpose()?,
            masks: self.masks.clone(),
        })
    }
}

/// So long after that, or the end of time.
pub(super) fn end_of(from: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    from.checked_add(time).unwrap_or(Timestamp::MAX)
}
