//! What is to be told to others: one row for each event and target, written in the transaction of what it tells of.
//!
//! Never loses a row before it was delivered or given up, and never hands one to two proxies while a lease lasts.
//! Invariant: of one subject a target is told in the order in which it happened: a row is handed out only when no earlier one
//! of the same target and subject waits.
//!
//! Rows come from triggers on what is told of, so that no statement, and no proxy of an earlier version, can leave one out.

mod embedded;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{StoreError, StoreFuture};

/// Rows of one page of [`Outbox::deliveries`] at most.
pub const DELIVERIES_MAX: u32 = 500;
/// Rows that one call of [`Outbox::sweep`] removes at most.
pub(super) const SWEPT_MAX: i64 = 1000;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// An access request.
    Request,
    /// A grant.
    Grant,
    /// The configuration.
    Config,
}

impl About {
    /// As it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Grant => "grant",
            Self::Config => "config",
        }
    }

    pub(super) fn from_name(name: &str) -> Result<Self, StoreError> {
        let known = [Self::Request, Self::Grant, Self::Config].into_iter().find(|about| about.as_str() == name);
        known.ok_or(StoreError::Invalid("event"))
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub about: About,
    /// Id of the request or grant, or the revision of the configuration.
    pub subject: String,
    /// The state that was entered; `VOTED`, `COMMENTED` or `CHANGED`.
    pub what: String,
    /// Who did it.
    pub person: String,
    /// When.
    pub at: Timestamp,
}

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryState {
    /// Not delivered yet.
    Waiting,
    /// The target has it.
    Delivered,
    /// Given up: the target refused it, or was away for too long.
    Dead,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// The name people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Delivered => "DELIVERED",
            Self::Dead => "DEAD",
        }
    }

    pub(super) fn from_name(name: &str) -> Result<Self, StoreError> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == name);
        known.ok_or(StoreError::Invalid("delivery"))
    }
}

/// One event for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The target.
    pub target: String,
    /// What is told.
    pub event: Event,
    /// How far it is.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u64,
    /// Since when it is tried.
    pub since: Timestamp,
    /// Not before then again.
    pub due_at: Timestamp,
    /// When it was tried last.
    pub tried_at: Option<Timestamp>,
    /// What came of it, in few words.
    pub answer: Option<String>,
}

/// What a proxy wants to deliver.
#[derive(Clone, Debug)]
pub struct Claim {
    /// To whom.
    pub target: String,
    /// A number that no other claimant has.
    pub by: i64,
    /// The time.
    pub now: Timestamp,
    /// Until when nobody else gets the same.
    pub until: Timestamp,
    /// At most so many.
    pub limit: u32,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The target has it.
    Delivered,
    /// To be tried again, not before then.
    Again(Timestamp),
    /// Given up.
    Dead,
}

impl End {
    /// The state, and when it is due again in microseconds since 1970.
    pub(super) fn stored(self) -> (DeliveryState, i64) {
        match self {
            Self::Delivered => (DeliveryState::Delivered, 0),
            Self::Again(due) => (DeliveryState::Waiting, due.as_microsecond()),
            Self::Dead => (DeliveryState::Dead, 0),
        }
    }
}

/// What became of a delivery.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its number.
    pub id: i64,
    /// How it ended.
    pub end: End,
    /// In few words; nothing of what was sent.
    pub answer: String,
    /// When.
    pub at: Timestamp,
}

/// Which deliveries to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// To this target.
    pub target: Option<String>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// About this request, grant or revision.
    pub subject: Option<String>,
    /// Older than this one: the last of the page before.
    pub before: Option<i64>,
    /// At most so many, capped at [`DELIVERIES_MAX`].
    pub limit: u32,
}

/// How many of a target's deliveries are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The target; one that has none is counted with 0.
    pub target: String,
    /// `WAITING` or `DEAD`.
    pub state: DeliveryState,
    /// How many.
    pub count: u64,
    /// When what the oldest tells of happened.
    pub oldest: Option<Timestamp>,
}

/// A message that can be changed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Where.
    pub place: String,
    /// What it is called there.
    pub reference: String,
}

/// A place that wants to hear of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which place.
    pub place: String,
    /// Which database; `*` is all.
    pub database: String,
    /// Who subscribed.
    pub person: String,
    /// When.
    pub at: Timestamp,
}

/// What is to be told, and to whom.
pub trait Outbox: Send + Sync + std::fmt::Debug {
    /// From now on these are told of what happens; others that nobody has named since `retired` no longer are, and what waits
    /// for them is given up.
    fn register(&self, targets: Vec<String>, now: Timestamp, retired: Timestamp) -> StoreFuture<'_, ()>;

    /// Hands out again what an earlier process has claimed, where there can be no other. Call it before the first claim.
    fn free_claims(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Who is told.
    fn targets(&self) -> StoreFuture<'_, Vec<String>>;

    /// Tells every target of something that no transition is.
    fn note(&self, event: Event) -> StoreFuture<'_, ()>;

    /// Hands out what is due, oldest first.
    fn claim(&self, claim: Claim) -> StoreFuture<'_, Vec<Delivery>>;

    /// Notes what became of deliveries that `by` has claimed; others are left alone.
    fn settle(&self, by: i64, settled: Vec<Settled>) -> StoreFuture<'_, ()>;

    /// One page of deliveries, by number descending.
    fn deliveries(&self, filter: DeliveryFilter) -> StoreFuture<'_, Vec<Delivery>>;

    /// Has one delivered again, or at once; whether there is such a one.
    fn redeliver(&self, id: i64, now: Timestamp) -> StoreFuture<'_, bool>;

    /// What waits and what was given up, by target.
    fn backlog(&self) -> StoreFuture<'_, Vec<Backlog>>;

    /// Removes what ended before that moment, some of it; how much.
    fn sweep(&self, before: Timestamp) -> StoreFuture<'_, u64>;

    /// Messages about a subject that can be changed.
    fn posted(&self, target: String, subject: String) -> StoreFuture<'_, Vec<Posted>>;

    /// Remembers such a message.
    fn note_posted(&self, target: String, subject: String, posted: Posted, at: Timestamp) -> StoreFuture<'_, ()>;

    /// Who wants to hear of what, through a target.
    fn subscriptions(&self, target: String) -> StoreFuture<'_, Vec<Subscription>>;

    /// Adds a subscription; whether it is new.
    fn subscribe(&self, target: String, subscription: Subscription) -> StoreFuture<'_, bool>;

    /// Ends those of a place, of one database or of all; how many.
    fn unsubscribe(&self, target: String, place: String, database: Option<String>) -> StoreFuture<'_, u64>;
}
