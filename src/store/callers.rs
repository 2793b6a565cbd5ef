//! What is kept of callers of the page and the API: sessions, and answers to calls that may be sent again.
//!
//! Never keeps a session's token or a caller's key: both are digests. Invariant: every proxy of one store sees the same.

mod embedded;

use jiff::Timestamp;

use super::{StoreError, StoreFuture};

/// Calls of one caller that are kept at a time.
pub const CALLS_MAX: u32 = 10_000;
/// Rows that have ended and are removed with one call.
pub(super) const SWEEP_MAX: u32 = 100;
/// People of a provider that are known at a time; of more, those who signed in last.
pub(super) const PEOPLE_MAX: u32 = 100_000;

/// A SHA-256.
pub type Key = [u8; 32];

/// Somebody who is signed in on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageSession {
    /// Digest of the token in the cookie.
    pub key: Key,
    /// Who.
    pub user: String,
    /// Digest of what they signed in with.
    pub credential: Key,
    /// When.
    pub opened_at: Timestamp,
    /// Until when; as it is read, no longer than what the provider has said counts.
    pub ends_at: Timestamp,
    /// Groups that the identity provider has said last that they are in there; `None` for who did not sign in by it.
    pub said: Option<Vec<String>>,
}

/// What the identity provider has said last of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub name: String,
    /// Digest of what they signed in with.
    pub credential: Key,
    /// Their groups there.
    pub groups: Vec<String>,
    /// Until when that counts.
    pub ends_at: Timestamp,
}

/// A call that is done once, however often it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub caller: String,
    /// Digest of the key that the caller chose.
    pub key: Key,
    /// Digest of what is asked for.
    pub request: Key,
}

/// What a call was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// The body, if it was small enough to be kept.
    pub body: Option<String>,
}

/// Groups as they are stored.
pub(super) fn encode_groups(groups: &[String]) -> Result<String, StoreError> {
    serde_json::to_string(groups).map_err(|_error| StoreError::Invalid("groups"))
}

pub(super) fn groups_from(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_error| StoreError::Invalid("groups"))
}

/// What is known of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing: it is noted now, and to be done.
    New,
    /// It was answered.
    Answered(Answered),
    /// It is being done, or nobody was told how it ended.
    Open,
    /// The caller has used the key for something else.
    Other,
    /// The caller has used too many keys lately.
    TooMany,
}

/// A code for which a password of a database client is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordCode {
    /// Its digest.
    pub code: Key,
    /// For whom.
    pub user: String,
    /// Digest of what they signed in with.
    pub credential: Key,
    /// Until when.
    pub ends_at: Timestamp,
}

/// A password of a database client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// Digest of what the person signed in with who asked for it.
    pub credential: Key,
    /// SCRAM verifier.
    pub verifier: String,
    /// Groups that the identity provider has said last that they are in there; `None` for who did not sign in by it.
    pub said: Option<Vec<String>>,
}

/// What is kept of callers.
pub trait Callers: Send + Sync + std::fmt::Debug {
    /// Keeps a session, and of one user no more than `per_user_max`: the oldest end. What the provider has said is kept for
    /// as long as the session would last, in the place of what it said before.
    fn open_session(&self, session: PageSession, per_user_max: u32) -> StoreFuture<'_, ()>;

    /// The session of that key.
    fn session(&self, key: Key) -> StoreFuture<'_, Option<PageSession>>;

    /// Ends a session.
    fn close_session(&self, key: Key) -> StoreFuture<'_, ()>;

    /// What the provider has said of people, as far as it counts at that time.
    fn people(&self, now: Timestamp) -> StoreFuture<'_, Vec<Person>>;

    /// Keeps a code; those that have ended at that time go.
    fn offer_password(&self, code: PasswordCode, now: Timestamp) -> StoreFuture<'_, ()>;

    /// Uses a code up, and puts a password in the place of the one before; says whose it is. `None` when there is no such
    /// code at that time.
    fn claim_password(
        &self,
        code: Key,
        verifier: String,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> StoreFuture<'_, Option<String>>;

    /// The password of a user at that time.
    fn password(&self, user: String, now: Timestamp) -> StoreFuture<'_, Option<Password>>;

    /// Ends the password of a user, and codes for one; whether there was a password.
    fn drop_password(&self, user: String) -> StoreFuture<'_, bool>;

    /// Ends all sessions of a user, and says how many there were.
    fn close_sessions(&self, user: String) -> StoreFuture<'_, u64>;

    /// Notes a call until `ends_at`, unless it is known.
    fn begin_call(&self, call: Call, now: Timestamp, ends_at: Timestamp) -> StoreFuture<'_, Begun>;

    /// Notes what a call was answered with, or forgets it: it may then be sent again.
    fn end_call(&self, call: Call, answered: Option<Answered>) -> StoreFuture<'_, ()>;

    /// Writes something that means nothing, as far as the disk; to see whether that can be done.
    fn probe(&self, now: Timestamp) -> StoreFuture<'_, ()>;
}
