//! The durable truth about access requests: requests, votes, transitions.
//!
//! Never decides: it refuses what the state table forbids and what is no longer at the expected version.
//! Invariant: one transaction per change; what a call has answered `Ok` survives a crash.

mod rows;
mod schema;
mod sqlite;
mod thread;

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use countersign_policy::grant::Binding;
use countersign_policy::rule::Mode;

use crate::review::{AccessRequest, RequestId, State, Transition, Vote};

pub use sqlite::SqliteStore;

/// Rows a page of [`Store::list`] has at most.
pub const PAGE_MAX: u32 = 500;

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
    /// The transaction it was part of could not be committed.
    #[error("could not commit to store")]
    Commit,
    /// The store's thread has ended.
    #[error("store is closed")]
    Closed,
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

/// Who looks at a list.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Name of the person.
    pub name: String,
    /// Groups of the person.
    pub groups: Vec<String>,
}

/// An answer of the store, once it is durable.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Where access requests are kept. SQLite embedded; another database shared by several proxies fits behind the same calls.
///
/// Dropping a future does not undo what was asked for: it may or may not happen.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Stores a request.
    fn create(&self, new: NewRecord) -> StoreFuture<'_, ()>;

    /// The request of that id.
    fn get(&self, id: RequestId) -> StoreFuture<'_, Option<AccessRequest>>;

    /// One page of requests, by id descending.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<AccessRequest>>;

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

    /// Ends what a process that is gone has left open, and tells what. Call it once, before anything else.
    fn recover(&self, now: Timestamp) -> StoreFuture<'_, Vec<(RequestId, Transition)>>;
}

#[cfg(test)]
mod tests;
