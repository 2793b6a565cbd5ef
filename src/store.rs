//! The durable truth about access requests: requests, votes, transitions.
//!
//! Never decides: it refuses what the state table forbids and what is no longer at the expected version.
//! Invariant: one transaction per change; what a call has answered `Ok` survives a crash.

mod callers;
mod digests;
mod facts;
mod grants;
mod migrations;
pub mod outbox;
mod owner;
mod pages;
mod postgres;
mod rows;
mod schema;
mod sqlite;
mod thread;
mod told;

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use utoipa::ToSchema;

use countersign_policy::grant::Binding;
use countersign_policy::rule::Mode;

use crate::audit::TrailAnchor;
use crate::card::Card;
use crate::review::{AccessRequest, Comment, GrantId, GrantRecord, GrantState, RequestId, State, Transition, Vote};
use crate::tls::TlsError;

pub use callers::{Answered, Begun, Call, Callers, PageSession, Password, PasswordCode, Person};
pub use owner::is_in_use;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use told::{Telling, Untold};

/// Rows a page of [`Store::list`] has at most.
pub const PAGE_MAX: u32 = 500;

/// Requests that wait for one person that are counted; more are more than anybody counts.
pub const WAITING_MAX: u32 = 1000;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or file could not be opened.
    #[error("could not open store \"{}\"", path.display())]
    Open {
        /// What was being opened.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it open.
    #[error("store \"{}\" is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It was written by a newer version of the program.
    #[error("store has schema version {found}, this program knows up to {known}")]
    Newer {
        /// Version in the file.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// SQLite refused a statement.
    #[error("could not access store")]
    Sqlite(#[from] rusqlite::Error),
    /// What was read back is not what this program writes.
    #[error("store holds an invalid {0}")]
    Invalid(&'static str),
    /// The state table forbids it.
    #[error("access request cannot go from {} to {to}", .from.map_or("nothing", State::as_str))]
    IllegalTransition {
        /// State before.
        from: Option<State>,
        /// State asked for.
        to: State,
    },
    /// The state table of grants forbids it.
    #[error("grant cannot go from {} to {to}", .from.map_or("nothing", GrantState::as_str))]
    IllegalGrant {
        /// State before.
        from: Option<GrantState>,
        /// State asked for.
        to: GrantState,
    },
    /// The transaction it was part of could not be committed.
    #[error("could not commit to store")]
    Commit,
    /// The store's thread has ended.
    #[error("store is closed")]
    Closed,
    /// PostgreSQL cannot be connected to.
    #[error("could not connect to store at {address}")]
    Connect {
        /// Where it was expected.
        address: String,
        /// What came back.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificates for the connection to PostgreSQL cannot be used.
    #[error("could not set up TLS to the store")]
    Tls(#[from] TlsError),
    /// PostgreSQL is a standby.
    #[error("store at {0} is a standby and cannot be written")]
    Standby(String),
    /// The schema belongs to a role whose members we are not: whoever made it could change what we run.
    #[error("schema \"countersign\" in the store belongs to another role")]
    Owner,
    /// There is no connection to PostgreSQL at the moment.
    #[error("store cannot be reached")]
    Unreachable,
    /// PostgreSQL did not answer in time; what was asked for may have happened or not.
    #[error("store did not answer in time")]
    Timeout,
    /// Other proxies count this one as gone.
    #[error("this proxy has lost its lease at the store")]
    LeaseLost,
    /// PostgreSQL refused a statement, or the connection broke.
    #[error("could not access store")]
    Postgres(#[from] tokio_postgres::Error),
}

/// A request to be stored, with what only the store needs to know of it.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// The request with its first transitions and votes.
    pub request: AccessRequest,
    /// What its approval is bound to.
    pub binding: Binding,
    /// How the requester waits.
    pub mode: Mode,
    /// What is known for its card so far.
    pub card: Card,
    /// How much its requester may have undecided, this included; `None` when that is not counted.
    pub undecided_max: Option<u32>,
}

/// A change of one request, made only if it is still at `expected_version`.
#[derive(Clone, Debug)]
pub struct Change {
    /// The request.
    pub id: RequestId,
    /// Version the change was worked out from.
    pub expected_version: u64,
    /// Vote to add.
    pub vote: Option<Vote>,
    /// Transition to make.
    pub transition: Option<Transition>,
    /// New expiry.
    pub expires_at: Option<Timestamp>,
    /// Command tag or SQLSTATE.
    pub outcome: Option<String>,
    /// New way in which the requester waits.
    pub mode: Option<Mode>,
    /// A grant that is given with it.
    pub grant: Option<Box<GrantRecord>>,
    /// What its approval is bound to from now on.
    pub binding: Option<Binding>,
    /// What somebody wrote about it.
    pub comment: Option<Comment>,
    /// The requester's reason, of a request that had none.
    pub justification: Option<String>,
}

/// Which grants to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct GrantFilter {
    /// Only REQUESTED and ACTIVE ones.
    pub open: bool,
    /// In this state.
    pub state: Option<GrantState>,
    /// On this database.
    pub database: Option<String>,
    /// For this user.
    pub user: Option<String>,
    /// Older than this one: the last of the page before.
    pub after: Option<GrantId>,
    /// At most so many, capped at [`PAGE_MAX`].
    pub limit: u32,
}

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// On this database.
    pub database: Option<String>,
    /// Made by this user.
    pub user: Option<String>,
    /// Made by this person, or to be reviewed by one of these groups.
    pub visible_to: Option<Viewer>,
    /// Older than this one: the last of the page before.
    pub after: Option<RequestId>,
    /// At most so many, capped at [`PAGE_MAX`].
    pub limit: u32,
}

/// What waits for one person's vote.
#[derive(Clone, Debug, Default)]
pub struct WaitingOn {
    /// How many, at most [`WAITING_MAX`].
    pub count: u32,
    /// Those with the least time left, that first.
    pub first: Vec<AccessRequest>,
}

/// Who looks at a list.
#[derive(Clone, Debug, Default)]
pub struct Viewer {
    /// Name of the person.
    pub name: String,
    /// Groups of the person.
    pub groups: Vec<String>,
    /// Groups that the person is in on one database only.
    pub on: Vec<GroupsOn>,
}

impl Viewer {
    /// Groups of which one that is asked for a request lets the person see it, with the database where that is so, or
    /// `None` for every one.
    fn ways(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let everywhere = self.groups.iter().map(|group| (group.as_str(), None));
        let there = self.on.iter().flat_map(|on| on.groups.iter().map(|group| (group.as_str(), Some(&*on.database))));
        everywhere.chain(there)
    }
}

/// Groups on one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsOn {
    /// The database, as clients name it.
    pub database: String,
    /// The groups there.
    pub groups: Vec<String>,
}

/// An answer of the store, once it is durable.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A request in few words, to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The request.
    pub id: RequestId,
    /// Who made it.
    pub requester: String,
    /// On which database.
    pub database: String,
    /// When.
    pub created_at: Timestamp,
    /// Its shape, as [`AccessRequest::shape`].
    pub shape: String,
    /// The rules that hold it.
    pub rules: Vec<String>,
    /// Groups that are asked; one may be named twice.
    pub groups: Vec<String>,
    /// How it left PENDING.
    pub decided: Option<Decided>,
}

/// How a request left PENDING.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The state it went to.
    pub to: State,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Which digests to read, newest first.
#[derive(Clone, Debug)]
pub struct DigestFilter {
    /// Made at or after this moment.
    pub from: Timestamp,
    /// Made before this moment.
    pub until: Timestamp,
    /// Older than this one: the last of the page before.
    pub before: Option<RequestId>,
    /// Made by this person, or to be reviewed by one of these groups.
    pub visible_to: Option<Viewer>,
    /// At most so many.
    pub limit: u32,
}

/// How often requests of one shape were decided, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Past {
    /// Approved, whatever became of them.
    pub approved: u64,
    /// Rejected.
    pub rejected: u64,
    /// Expired or withdrawn, or still open.
    pub undecided: u64,
}

impl Past {
    /// Counts so many requests in that state.
    fn add(&mut self, state: State, count: u64) {
        let counted = match state {
            State::Approved | State::Executing | State::Executed | State::Failed | State::Unknown | State::Revoked => {
                &mut self.approved
            }
            State::Rejected => &mut self.rejected,
            State::Pending | State::Expired | State::Cancelled => &mut self.undecided,
        };
        *counted = counted.saturating_add(count);
    }
}

/// What a store tells of changes that other processes made, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// This request has changed.
    Changed(RequestId),
    /// Some grant has changed.
    Grants,
    /// Changes may have been missed.
    Missed,
}

/// Where access requests are kept: SQLite, embedded, or a PostgreSQL that several proxies share.
///
/// Dropping a future does not undo what was asked for: it may or may not happen.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Stores a request; whether it was, which it is not when its requester has too much undecided: requests and grants that
    /// wait for votes. Whoever does the same for one user elsewhere is counted, too.
    fn create(&self, new: NewRecord) -> StoreFuture<'_, bool>;

    /// The request of that id.
    fn get(&self, id: RequestId) -> StoreFuture<'_, Option<AccessRequest>>;

    /// What its card says, if there is such a request and it has one.
    fn card(&self, id: RequestId) -> StoreFuture<'_, Option<Card>>;

    /// Puts a card in the place of the one before; it is no change of the request.
    fn fill_card(&self, id: RequestId, card: Card) -> StoreFuture<'_, ()>;

    /// What was written about it, oldest first.
    fn comments(&self, id: RequestId) -> StoreFuture<'_, Vec<Comment>>;

    /// One page of requests in few words, by id descending.
    fn digests(&self, filter: DigestFilter) -> StoreFuture<'_, Vec<Digest>>;

    /// How requests of that shape on that database were decided that were made before this one, the newest thousand: by
    /// anybody, or by this user.
    fn past(&self, request: AccessRequest, user: Option<String>) -> StoreFuture<'_, Past>;

    /// One page of requests, by id descending.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<AccessRequest>>;

    /// What waits for the vote of a person at `now`: PENDING requests of others that ask one of their groups, that they have
    /// not approved as they are, and that have the reason they need. The first `limit` of them.
    fn waiting_on(&self, person: Viewer, now: Timestamp, limit: u32) -> StoreFuture<'_, WaitingOn>;

    /// Adds a vote, makes a transition, or both; the request as it is then, or `None` when it was not at the version.
    fn vote_and_transition(&self, change: Change) -> StoreFuture<'_, Option<AccessRequest>>;

    /// The newest unexpired request for `binding` by `user` in `state` that can be used by sending the statement again.
    fn find_resubmittable(
        &self,
        binding: Binding,
        user: String,
        state: State,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<AccessRequest>>;

    /// Makes `limit` PENDING and APPROVED requests whose time is over EXPIRED, and tells which.
    fn expire_due(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<(RequestId, Transition)>>;

    /// When the next request expires.
    fn next_expiry(&self) -> StoreFuture<'_, Option<Timestamp>>;

    /// Ends what earlier processes on the same data directory have left open, and tells what. Call it once, before
    /// anything else.
    fn recover(&self, now: Timestamp) -> StoreFuture<'_, Vec<(RequestId, Transition)>>;

    /// Stores a grant that is asked for; whether it was, as with [`Store::create`].
    fn create_grant(&self, grant: GrantRecord, undecided_max: Option<u32>) -> StoreFuture<'_, bool>;

    /// The grant of that id.
    fn grant(&self, id: GrantId) -> StoreFuture<'_, Option<GrantRecord>>;

    /// One page of grants, by id descending.
    fn grants(&self, filter: GrantFilter) -> StoreFuture<'_, Vec<GrantRecord>>;

    /// Puts `next` in the place of the grant of its id, if that is at the version before; whether it was.
    fn replace_grant(&self, next: GrantRecord) -> StoreFuture<'_, bool>;

    /// Votes and transitions that no trail tells of, oldest first, the first thousand: those that processes on this data
    /// directory made before that moment, and those of others that are gone, which become this one's.
    fn untold(&self, before: Timestamp) -> StoreFuture<'_, Vec<Untold>>;

    /// These stand in a trail, on stable storage.
    fn told(&self, tellings: Vec<Telling>) -> StoreFuture<'_, ()>;

    /// Ends what other processes that are gone have left open, and tells what. Empty where there are no others.
    fn reap(&self) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Those of these requests that no longer wait for votes.
    fn decided(&self, ids: Vec<RequestId>) -> StoreFuture<'_, Vec<AccessRequest>> {
        Box::pin(async move {
            let mut decided = Vec::new();
            for id in ids {
                decided.extend(self.get(id).await?.filter(|request| request.state != State::Pending));
            }
            Ok(decided)
        })
    }

    /// Changes as they happen; `None` where nobody else can make any.
    fn subscribe(&self) -> Option<broadcast::Receiver<StoreEvent>> {
        None
    }

    /// The time at the store, by which whatever ends on time ends; `None` where it is that of this process.
    fn now(&self) -> Option<Timestamp> {
        None
    }

    /// Says by which rules this process goes, as a digest; yields those of others, where they are not the same.
    fn compare_rules(&self, _rules: String) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Keeps checkpoints of this proxy's trail, for whoever does not believe the files. Nothing where the store lies beside them.
    fn anchor(&self, _anchors: Vec<TrailAnchor>) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Whether it does.
    fn keeps_anchors(&self) -> bool {
        false
    }

    /// Whether it can be used at this moment.
    fn is_reachable(&self) -> bool {
        true
    }

    /// Tells other processes that this one is about to end.
    fn leave(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Whether a transition is one of the state table, from this state.
fn check_transition(from: Option<State>, transition: &Transition) -> Result<(), StoreError> {
    let legal = match from {
        None => transition.to == State::Pending,
        Some(from) => from.may_become(transition.to),
    };
    if legal && transition.from == from {
        return Ok(());
    }
    Err(StoreError::IllegalTransition { from, to: transition.to })
}

/// Whether a grant may go from one state to the other; a vote leaves it where it is.
fn check_grant(from: GrantState, to: GrantState) -> Result<(), StoreError> {
    if from.may_become(to) || (from == to && from.is_open()) {
        return Ok(());
    }
    Err(StoreError::IllegalGrant { from: Some(from), to })
}

/// Whether the transitions of a new request lead to its state.
fn check_history(request: &AccessRequest) -> Result<(), StoreError> {
    let mut state = None;
    for transition in &request.transitions {
        check_transition(state, transition)?;
        state = Some(transition.to);
    }
    if state == Some(request.state) {
        return Ok(());
    }
    Err(StoreError::IllegalTransition { from: state, to: request.state })
}

#[cfg(test)]
pub(crate) mod tests;
