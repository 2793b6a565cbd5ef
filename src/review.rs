//! The only place where an access request is decided, whatever surface the decision came from.
//!
//! Surfaces authenticate and call it; it never parses SQL and never touches a socket.
//! Invariant: every transition is a compare-and-set in the store, made by someone (or the clock) with time and reason.

mod acts;
pub mod analytics;
mod choices;
mod decide;
mod error;
mod execution;
mod feed;
mod follow;
mod grant;
mod grants;
mod lifecycle;
mod members;
mod misfit;
mod peers;
mod pending;
mod remarks;
pub(crate) mod schema;
mod service;
mod state;
mod telling;
mod unsettled;
pub mod votes;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use countersign_policy::grant::{Binding, ShapeDigest};
use countersign_policy::rule::{Justification, Mode};
use countersign_policy::verdict::ReviewerDemand;

use self::schema::Demand;
use crate::card::{Card, Inquiry};

pub use acts::Act;
pub use choices::Choices;
pub use decide::Consent;
pub use error::ReviewError;
pub use execution::Execution;
pub use feed::Changed;
pub use grant::{
    GrantId, GrantRecord, GrantScope, GrantState, GrantTransition, Offer, Scope, ScopeError, UnknownGrantState,
};
pub use grants::GrantAsk;
pub use misfit::Misfit;
pub(crate) use pending::decided;
pub use pending::{Wait, Waiting};
pub use remarks::{COMMENT_CHARS_MAX, Comment};
pub use service::{Opened, Review};
pub use state::UnknownState;

/// Group whose members see every request, and approve their own under `admins_bypass`.
pub const ADMIN_GROUP: &str = "admin";

/// Identifier of an access request: a ULID, 26 characters of Crockford base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
pub struct RequestId(pub ulid::Ulid);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// State of an access request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Waits for votes.
    Pending,
    /// Enough people approved; not yet run.
    Approved,
    /// Handed to the upstream.
    Executing,
    /// Ran without error.
    Executed,
    /// The upstream raised an error.
    Failed,
    /// The proxy or the connection died while it ran.
    Unknown,
    /// A reviewer said no.
    Rejected,
    /// Nobody decided, or nobody used the approval, in time.
    Expired,
    /// Withdrawn by the requester.
    Cancelled,
    /// The approval was taken back.
    Revoked,
}

/// What a session hands over when a verdict is Hold.
#[derive(Debug)]
pub struct NewRequest {
    /// What the approval will be bound to.
    pub binding: Binding,
    /// Requester.
    pub user: String,
    /// Groups of the requester at that moment.
    pub groups: Vec<String>,
    /// Database as the client named it.
    pub database: String,
    /// Client address (`ip:port`, or `local`).
    pub client_address: String,
    /// `application_name` of the client.
    pub application: String,
    /// The statement text.
    pub statement: String,
    /// Bound parameter values, decoded for a reader; `None` is NULL.
    pub parameters: Vec<Parameter>,
    /// One line for people: `update on public.customers`.
    pub summary: String,
    /// Names of the effects.
    pub effects: Vec<String>,
    /// Names of the rules that hold it.
    pub rules: Vec<String>,
    /// Everything that holds it, as `HoldTerms::causes` names it.
    pub causes: Vec<String>,
    /// Digest of its shape with its role and search path; `None` when what it runs has a name of its session.
    pub shape: Option<ShapeDigest>,
    /// Messages of those rules, and why it is not understood if so.
    pub messages: Vec<String>,
    /// Who must approve.
    pub reviewers: Vec<ReviewerDemand>,
    /// How long it waits.
    pub timeout: Duration,
    /// How the requester waits.
    pub mode: Mode,
    /// The requester's reason.
    pub justification: Option<String>,
    /// Whether it is refused without one.
    pub justification_asked: Justification,
    /// Whether a transaction block is open.
    pub in_transaction: bool,
    /// What is known for its card so far.
    pub card: Card,
    /// What is to be asked for it.
    pub inquiry: Inquiry,
    /// Whether the rows that it writes are counted as it runs, so that an approval can limit them.
    pub rows_counted: bool,
}

/// A bound parameter, decoded for a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parameter {
    /// Type name, or `unknown`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Text form, or hexadecimal when the binary form has no decoder; `None` is NULL.
    pub value: Option<String>,
}

/// How a held request ended, as the waiting session is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Approved: judge again with this.
    Approved(Agreement),
    /// Rejected by a reviewer.
    Rejected {
        /// Who.
        by: String,
        /// The group in which they reviewed.
        group: String,
        /// Why.
        reason: String,
    },
    /// Timed out.
    Expired,
    /// Withdrawn through another surface.
    Cancelled,
}

/// What was approved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The demands that were met.
    pub met: Vec<ReviewerDemand>,
    /// What was approved in its place.
    pub edit: Option<Edit>,
    /// How many rows it may write at most.
    pub max_affected: Option<u64>,
}

/// The text that a reviewer approved in the place of the requester's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The text.
    pub statement: String,
    /// Who wrote it.
    pub by: String,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Command tag of the last CommandComplete.
    Executed(String),
    /// SQLSTATE of the ErrorResponse.
    Failed(String),
    /// The connection died in between.
    Unknown,
}

/// Where an action came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Surface {
    /// The client's own connection.
    Wire,
    /// HTTP API, which the CLI uses too.
    Api,
    /// The web page.
    Web,
    /// The console in psql.
    Console,
    /// A button or dialog in Slack.
    Slack,
    /// The proxy itself: expiry, restart, policy.
    Proxy,
}

/// Who acts on a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Name of the authenticated person or service.
    pub name: String,
    /// Groups at that moment.
    pub groups: Vec<String>,
    /// Where the action came from.
    pub surface: Surface,
}

/// The durable record of a held request, as surfaces show it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccessRequest {
    /// Identifier.
    pub id: RequestId,
    /// State.
    pub state: State,
    /// Grows by one with every transition or vote.
    pub version: u64,
    /// Requester.
    pub user: String,
    /// Groups of the requester when it was made.
    pub groups: Vec<String>,
    /// Database as the client named it.
    pub database: String,
    /// Client address.
    pub client_address: String,
    /// `application_name` of the client.
    pub application: String,
    /// The statement text.
    pub statement: String,
    /// Bound parameters.
    pub parameters: Vec<Parameter>,
    /// One line for people.
    pub summary: String,
    /// Names of the effects.
    pub effects: Vec<String>,
    /// Names of the rules that hold it.
    pub rules: Vec<String>,
    /// Everything that holds it: those rules, and `databases.NAME.default`, `databases.NAME.unparsed`,
    /// `masks.predicates` or `masks.stores`.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Digest of its shape with its role and search path, hexadecimal: the same for the same statement with other
    /// literals. Empty when what it runs has a name of its session.
    #[serde(default)]
    pub shape: String,
    /// Messages of those rules.
    pub messages: Vec<String>,
    /// Who must approve.
    #[schema(value_type = Vec<Demand>)]
    pub reviewers: Vec<ReviewerDemand>,
    /// The requester's reason.
    #[serde(default)]
    pub justification: Option<String>,
    /// Whether it cannot be approved without one.
    #[serde(default)]
    pub justification_required: bool,
    /// Whether a transaction block is open.
    pub in_transaction: bool,
    /// Whether the rows that it writes are counted as it runs, so that an approval can limit them.
    #[serde(default)]
    pub rows_counted: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it left PENDING.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
    /// Votes so far.
    pub votes: Vec<Vote>,
    /// Every transition so far.
    pub transitions: Vec<Transition>,
    /// Command tag or SQLSTATE, once it ran.
    pub outcome: Option<String>,
}

/// One person's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Vote {
    /// Who.
    pub by: String,
    /// Groups of the voter that the request asks for.
    pub groups: Vec<String>,
    /// Whether it approves.
    pub approve: bool,
    /// Reason given.
    pub reason: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Where.
    pub surface: Surface,
    /// The text that the voter approves in the place of the one before; votes for that no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<String>,
    /// For how long the voter lets it be done again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Whether it approves in everybody's place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// How many rows may be written at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_affected: Option<u64>,
}

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transition {
    /// State before; `None` for the first.
    pub from: Option<State>,
    /// State after.
    pub to: State,
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

impl AccessRequest {
    /// The last edit by a reviewer, and how many votes were cast before it.
    fn last_edit(&self) -> Option<(usize, Edit)> {
        let edit = |(index, vote): (usize, &Vote)| {
            let statement = vote.edited.clone()?;
            Some((index, Edit { statement, by: vote.by.clone() }))
        };
        self.votes.iter().enumerate().rev().find_map(edit)
    }

    /// What is approved in the place of the requester's text, if a reviewer has changed it.
    #[must_use]
    pub fn edit(&self) -> Option<Edit> {
        self.last_edit().map(|(_, edit)| edit)
    }

    /// The text that its approvals are for.
    #[must_use]
    pub fn approved_text(&self) -> String {
        self.edit().map_or_else(|| self.statement.clone(), |edit| edit.statement)
    }

    /// The approvals that count: those of the text as it is now.
    pub fn approvals(&self) -> impl Iterator<Item = &Vote> {
        let before = self.last_edit().map_or(0, |(before, _)| before);
        self.votes.iter().skip(before).filter(|vote| vote.approve)
    }

    /// What its approvals say together: of several limits the smallest counts.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        let max_affected = self.approvals().filter_map(|vote| vote.max_affected).min();
        Agreement { met: self.reviewers.clone(), edit: self.edit(), max_affected }
    }

    /// Whether a person of that name and in those groups may know of it: the requester, those who are asked, and admins;
    /// besides those of [`Review::sees_all`].
    #[must_use]
    pub fn is_visible_to(&self, name: &str, groups: &[String]) -> bool {
        self.user == name
            || groups.iter().any(|group| group == ADMIN_GROUP)
            || !votes::demanded_groups(&self.reviewers, groups).is_empty()
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
