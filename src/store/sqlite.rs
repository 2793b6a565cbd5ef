//! The embedded store: one SQLite file in the data directory.
//!
//! Never shared between processes: a lock file keeps a second one out.
//! Invariant: every write goes through [`apply`], which checks the version and the state table.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use countersign_policy::grant::Binding;

use super::grants;
use super::rows::{self, COLUMNS};
use super::thread::{Access, StoreThread};
use super::{
    Change, Digest, DigestFilter, Filter, GrantFilter, NewRecord, Past, Store, StoreError, StoreFuture, Telling,
    Untold, Viewer, WaitingOn, check_history, check_transition,
};
use super::{digests, facts, owner, pages, told};
use crate::card::Card;
use crate::review::{AccessRequest, Comment, GrantId, GrantRecord, RequestId, State, Surface, Transition};

/// Requests in `countersign.db`.
#[derive(Debug)]
pub struct SqliteStore {
    thread: StoreThread,
    // Held for as long as the store is open.
    _lock: fs::File,
}

/// Memory for pages of the file; negative is kB, as SQLite has it.
const CACHE_KB: i32 = -8_192;

impl SqliteStore {
    /// Opens or makes the store in `data_dir`.
    ///
    /// # Errors
    /// When the directory or file cannot be opened, another process has it open, or a newer program has written it.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join("countersign.db");
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open { path: path.clone(), source };
        let lock = owner::take(data_dir)?;
        owner::private(&path).map_err(|error| failed(error.into()))?;
        let mut connection = Connection::open(&path).map_err(|error| failed(error.into()))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", CACHE_KB)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(64);
        super::schema::migrate(&mut connection)?;
        let thread = StoreThread::start(connection).map_err(|error| failed(error.into()))?;
        Ok(Self { thread, _lock: lock })
    }

    pub(super) fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(self.thread.call(Access::Read, work))
    }

    pub(super) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(self.thread.call(Access::Write, work))
    }
}

impl Store for SqliteStore {
    fn create(&self, new: NewRecord) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            let request = &new.request;
            check_history(request)?;
            if let Some(most) = new.undecided_max
                && !rows::has_room(connection, &request.user, request.created_at, most)?
            {
                return Ok(false);
            }
            rows::insert(connection, &new).map(|()| true)
        })
    }

    fn get(&self, id: RequestId) -> StoreFuture<'_, Option<AccessRequest>> {
        self.read(move |connection| rows::get(connection, id))
    }

    fn card(&self, id: RequestId) -> StoreFuture<'_, Option<Card>> {
        self.read(move |connection| rows::card(connection, id))
    }

    fn fill_card(&self, id: RequestId, card: Card) -> StoreFuture<'_, ()> {
        self.write(move |connection| rows::put_card(connection, id, &card))
    }

    fn comments(&self, id: RequestId) -> StoreFuture<'_, Vec<Comment>> {
        self.read(move |connection| rows::comments(connection, id))
    }

    fn digests(&self, filter: DigestFilter) -> StoreFuture<'_, Vec<Digest>> {
        self.read(move |connection| digests::page(connection, &filter))
    }

    fn past(&self, request: AccessRequest, user: Option<String>) -> StoreFuture<'_, Past> {
        self.read(move |connection| rows::past(connection, &request, user.as_deref()))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<AccessRequest>> {
        self.read(move |connection| pages::list(connection, &filter))
    }

    fn waiting_on(&self, person: Viewer, now: Timestamp, limit: u32) -> StoreFuture<'_, WaitingOn> {
        self.read(move |connection| pages::waiting_on(connection, &person, now, limit))
    }

    fn vote_and_transition(&self, change: Change) -> StoreFuture<'_, Option<AccessRequest>> {
        self.write(move |connection| apply(connection, &change))
    }

    fn find_resubmittable(
        &self,
        binding: Binding,
        user: String,
        state: State,
        now: Timestamp,
    ) -> StoreFuture<'_, Option<AccessRequest>> {
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM requests r WHERE r.binding = ?1 AND r.requester = ?2 AND r.state = ?3 \
                 AND r.state IN ('PENDING', 'APPROVED') AND r.mode <> 'wait' AND r.expires_at > ?4 \
                 AND (r.state = 'APPROVED' OR r.mode = 'resubmit') ORDER BY r.id DESC LIMIT 1"
            );
            let found = connection
                .prepare_cached(&sql)?
                .query_row(params![binding.0.as_slice(), user, state.as_str(), now.as_microsecond()], |row| {
                    Ok(rows::request_from(row))
                })
                .optional()?;
            found.transpose()?.map(|request| rows::complete(connection, request)).transpose()
        })
    }

    fn expire_due(&self, now: Timestamp, limit: u32) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        self.write(move |connection| {
            let due = "r.state IN ('PENDING', 'APPROVED') AND r.expires_at <= ?1 ORDER BY r.expires_at LIMIT ?2";
            let open = open_requests(connection, due, params![now.as_microsecond(), limit])?;
            let reason = |state| match state {
                State::Approved => "approval was not used in time",
                _ => "nobody decided in time",
            };
            open.into_iter().map(|open| end(connection, open, State::Expired, reason, now)).collect()
        })
    }

    fn next_expiry(&self) -> StoreFuture<'_, Option<Timestamp>> {
        self.read(|connection| {
            let next: Option<i64> = connection
                .prepare_cached("SELECT min(expires_at) FROM requests WHERE state IN ('PENDING', 'APPROVED')")?
                .query_row([], |row| row.get(0))?;
            next.map(Timestamp::from_microsecond).transpose().map_err(|_range| StoreError::Invalid("time"))
        })
    }

    fn recover(&self, now: Timestamp) -> StoreFuture<'_, Vec<(RequestId, Transition)>> {
        self.write(move |connection| {
            let mut ended = Vec::new();
            let waiting =
                "(r.state = 'PENDING' AND r.mode <> 'resubmit') OR (r.state = 'APPROVED' AND r.mode = 'wait')";
            for open in open_requests(connection, waiting, [])? {
                ended.push(end(connection, open, State::Cancelled, |_state| "proxy restarted", now)?);
            }
            for open in open_requests(connection, "r.state = 'EXECUTING'", [])? {
                ended.push(end(connection, open, State::Unknown, |_state| "proxy restarted while it ran", now)?);
            }
            Ok(ended)
        })
    }

    fn create_grant(&self, grant: GrantRecord, undecided_max: Option<u32>) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            if let Some(most) = undecided_max
                && !rows::has_room(connection, &grant.user, grant.created_at, most)?
            {
                return Ok(false);
            }
            grants::insert(connection, &grant).map(|()| true)
        })
    }

    fn grant(&self, id: GrantId) -> StoreFuture<'_, Option<GrantRecord>> {
        self.read(move |connection| grants::get(connection, id))
    }

    fn grants(&self, filter: GrantFilter) -> StoreFuture<'_, Vec<GrantRecord>> {
        self.read(move |connection| grants::list(connection, &filter))
    }

    fn replace_grant(&self, next: GrantRecord) -> StoreFuture<'_, bool> {
        self.write(move |connection| grants::replace(connection, &next))
    }

    fn untold(&self, before: Timestamp) -> StoreFuture<'_, Vec<Untold>> {
        self.read(move |connection| told::untold(connection, before.as_microsecond()))
    }

    fn told(&self, tellings: Vec<Telling>) -> StoreFuture<'_, ()> {
        self.write(move |connection| told::tell(connection, &tellings))
    }
}

struct Open {
    id: RequestId,
    state: State,
    version: u64,
}

fn open_requests(connection: &Connection, which: &str, params: impl rusqlite::Params) -> Result<Vec<Open>, StoreError> {
    let sql = format!("SELECT r.id, r.state, r.version FROM requests r WHERE {which}");
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_and_then(params, |row| {
        let state: String = row.get(1)?;
        Ok(Open {
            id: facts::id_from(&row.get::<_, String>(0)?)?,
            state: state.parse().map_err(|_unknown| StoreError::Invalid("state"))?,
            version: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// Ends an open request on behalf of the proxy.
fn end(
    connection: &Connection,
    open: Open,
    to: State,
    reason: fn(State) -> &'static str,
    now: Timestamp,
) -> Result<(RequestId, Transition), StoreError> {
    let transition = Transition {
        from: Some(open.state),
        to,
        by: "proxy".to_owned(),
        surface: Surface::Proxy,
        at: now,
        reason: Some(reason(open.state).to_owned()),
    };
    let change = Change {
        id: open.id,
        expected_version: open.version,
        vote: None,
        transition: Some(transition.clone()),
        expires_at: None,
        outcome: None,
        mode: None,
        grant: None,
        binding: None,
        comment: None,
        justification: None,
    };
    write_change(connection, &change, open.state)?;
    Ok((open.id, transition))
}

/// The compare-and-set.
fn apply(connection: &Connection, change: &Change) -> Result<Option<AccessRequest>, StoreError> {
    let found: Option<(String, u64)> = connection
        .prepare_cached("SELECT state, version FROM requests WHERE id = ?1")?
        .query_row([change.id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((state, version)) = found else { return Ok(None) };
    if version != change.expected_version {
        return Ok(None);
    }
    let state = state.parse().map_err(|_unknown| StoreError::Invalid("state"))?;
    write_change(connection, change, state)?;
    rows::get(connection, change.id)
}

fn write_change(connection: &Connection, change: &Change, state: State) -> Result<(), StoreError> {
    let mut next = state;
    let mut decided_at = None;
    if let Some(transition) = &change.transition {
        check_transition(Some(state), transition)?;
        next = transition.to;
        decided_at = (state == State::Pending).then(|| transition.at.as_microsecond());
        rows::insert_transition(connection, change.id, transition)?;
        connection
            .prepare_cached("UPDATE demands SET state = ?2 WHERE request = ?1")?
            .execute(params![change.id.to_string(), next.as_str()])?;
    }
    if let Some(vote) = &change.vote {
        rows::insert_vote(connection, (change.id, change.expected_version.saturating_add(1)), vote)?;
    }
    if let Some(comment) = &change.comment {
        rows::insert_comment(connection, change.id, comment)?;
    }
    if let Some(grant) = &change.grant {
        grants::insert(connection, grant)?;
    }
    connection
        .prepare_cached(
            "UPDATE requests SET version = version + 1, state = ?2, decided_at = coalesce(decided_at, ?3), \
             expires_at = coalesce(?4, expires_at), outcome = coalesce(?5, outcome), mode = coalesce(?6, mode), \
             binding = coalesce(?7, binding), justification = coalesce(?8, justification) WHERE id = ?1",
        )?
        .execute(params![
            change.id.to_string(),
            next.as_str(),
            decided_at,
            change.expires_at.map(Timestamp::as_microsecond),
            change.outcome,
            change.mode.map(facts::mode_name),
            change.binding.as_ref().map(|binding| binding.0.as_slice()),
            change.justification,
        ])?;
    Ok(())
}
