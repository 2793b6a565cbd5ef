//! Access requests ⇄ rows of SQLite.
//!
//! Never hides a damaged row: what cannot be read back is an error. Invariant: reading gives what was written.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use countersign_policy::verdict::ReviewerDemand;

use super::facts::{self, Columns, mode_name, state_from, surface_from, surface_name, time_from};
use super::{NewRecord, Past, StoreError};
use crate::card::Card;
use crate::review::{AccessRequest, Comment, RequestId, State, Transition, Vote};

/// Columns of `requests` in the order [`request_from`] reads them.
pub(super) const COLUMNS: &str = "r.id, r.state, r.version, r.requester, r.database, r.facts, r.created_at, r.expires_at, r.decided_at, r.outcome, \
     r.justification";

pub(super) fn insert(connection: &Connection, new: &NewRecord) -> Result<(), StoreError> {
    let request = &new.request;
    let facts = facts::encode(request)?;
    let id = request.id.to_string();
    connection
        .prepare_cached(
            "INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, \
             decided_at, outcome, shape, rules) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            id,
            request.state.as_str(),
            request.version,
            request.user,
            request.database,
            new.binding.0.as_slice(),
            mode_name(new.mode),
            facts,
            request.created_at.as_microsecond(),
            request.expires_at.as_microsecond(),
            request.decided_at.map(Timestamp::as_microsecond),
            request.outcome,
            request.shape,
            facts::encode_rules(request)?,
        ])?;
    put_card(connection, request.id, &new.card)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO demands (request, seq, grp, approvals, state, database, requester) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (seq, demand) in request.reviewers.iter().enumerate() {
        let (state, database, user) = (request.state.as_str(), &request.database, &request.user);
        insert.execute(params![id, seq, demand.group, demand.approvals, state, database, user])?;
    }
    request.votes.iter().try_for_each(|vote| insert_vote(connection, (request.id, request.version), vote))?;
    request.transitions.iter().try_for_each(|transition| insert_transition(connection, request.id, transition))
}

/// Whether a user has less undecided at that moment.
pub(super) fn has_room(connection: &Connection, user: &str, now: Timestamp, most: u32) -> Result<bool, StoreError> {
    let undecided: u32 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM requests WHERE requester = ?1 AND state = 'PENDING' AND expires_at > ?2 \
             UNION ALL SELECT 1 FROM grants WHERE grantee = ?1 AND state = 'REQUESTED' AND expires_at > ?2 LIMIT ?3)",
        )?
        .query_row(params![user, now.as_microsecond(), most], |row| row.get(0))?;
    Ok(undecided < most)
}

pub(super) fn insert_comment(connection: &Connection, id: RequestId, comment: &Comment) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO comments (request, seq, person, surface, at, comment) \
             VALUES (?1, (SELECT count(*) FROM comments WHERE request = ?1), ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            id.to_string(),
            comment.by,
            surface_name(comment.surface),
            comment.at.as_microsecond(),
            comment.text
        ])?;
    Ok(())
}

pub(super) fn comments(connection: &Connection, id: RequestId) -> Result<Vec<Comment>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT person, surface, at, comment FROM comments WHERE request = ?1 ORDER BY seq")?;
    let comment = |row: &Row<'_>| {
        let (surface, at) = (surface_from(&row.get::<_, String>(1)?)?, time_from(row.get(2)?)?);
        Ok(Comment { by: row.get(0)?, surface, at, text: row.get(3)? })
    };
    query.query_and_then([id.to_string()], comment)?.collect()
}

pub(super) fn put_card(connection: &Connection, id: RequestId, card: &Card) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO cards (request, card) VALUES (?1, ?2)")?
        .execute(params![id.to_string(), facts::encode_card(card)?])?;
    Ok(())
}

pub(super) fn card(connection: &Connection, id: RequestId) -> Result<Option<Card>, StoreError> {
    let mut query = connection.prepare_cached("SELECT card FROM cards WHERE request = ?1")?;
    let found: Option<String> = query.query_row([id.to_string()], |row| row.get(0)).optional()?;
    found.as_deref().map(facts::card_from).transpose()
}

pub(super) fn past(connection: &Connection, request: &AccessRequest, user: Option<&str>) -> Result<Past, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT state, count(*) FROM (SELECT state FROM requests WHERE shape = ?1 AND shape <> '' AND database = ?2 \
         AND id < ?3 AND (?4 IS NULL OR requester = ?4) ORDER BY id DESC LIMIT 1000) GROUP BY state",
    )?;
    let mut past = Past::default();
    let mut rows = query.query(params![request.shape, request.database, request.id.to_string(), user])?;
    while let Some(row) = rows.next()? {
        past.add(state_from(&row.get::<_, String>(0)?)?, row.get(1)?);
    }
    Ok(past)
}

/// Adds a vote, which made that version of the request.
pub(super) fn insert_vote(
    connection: &Connection,
    (id, version): (RequestId, u64),
    vote: &Vote,
) -> Result<(), StoreError> {
    let groups = serde_json::to_string(&vote.groups).map_err(|_error| StoreError::Invalid("vote"))?;
    connection
        .prepare_cached(
            "INSERT INTO votes (request, seq, person, groups, approve, reason, at, surface, offer, forced, edited, max_affected, \
             version, untold) \
             VALUES (?1, (SELECT count(*) FROM votes WHERE request = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 1)",
        )?
        .execute(params![
            id.to_string(),
            vote.by,
            groups,
            vote.approve,
            vote.reason,
            vote.at.as_microsecond(),
            surface_name(vote.surface),
            facts::encode_offer(vote)?,
            vote.forced,
            vote.edited,
            vote.max_affected,
            version,
        ])?;
    Ok(())
}

pub(super) fn insert_transition(
    connection: &Connection,
    id: RequestId,
    transition: &Transition,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason, untold) \
             VALUES (?1, (SELECT count(*) FROM transitions WHERE request = ?1), ?2, ?3, ?4, ?5, ?6, ?7, 1)",
        )?
        .execute(params![
            id.to_string(),
            transition.from.map(State::as_str),
            transition.to.as_str(),
            transition.by,
            surface_name(transition.surface),
            transition.at.as_microsecond(),
            transition.reason
        ])?;
    Ok(())
}

pub(super) fn get(connection: &Connection, id: RequestId) -> Result<Option<AccessRequest>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM requests r WHERE r.id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id.to_string()], |row| Ok(request_from(row))).optional()?;
    found.transpose()?.map(|request| complete(connection, request)).transpose()
}

/// Reads a row of [`COLUMNS`]; [`complete`] adds what stands in other tables.
pub(super) fn request_from(row: &Row<'_>) -> Result<AccessRequest, StoreError> {
    let columns = Columns {
        id: row.get(0)?,
        state: row.get(1)?,
        version: row.get(2)?,
        requester: row.get(3)?,
        database: row.get(4)?,
        created_at: row.get(6)?,
        expires_at: row.get(7)?,
        decided_at: row.get(8)?,
        outcome: row.get(9)?,
        justification: row.get(10)?,
    };
    columns.with(row.get_ref(5)?.as_str().map_err(|_type| StoreError::Invalid("request"))?)
}

pub(super) fn complete(connection: &Connection, mut request: AccessRequest) -> Result<AccessRequest, StoreError> {
    let id = request.id.to_string();
    let mut query = connection.prepare_cached("SELECT grp, approvals FROM demands WHERE request = ?1 ORDER BY seq")?;
    let demands = query.query_map([&id], |row| Ok(ReviewerDemand { group: row.get(0)?, approvals: row.get(1)? }))?;
    request.reviewers = demands.collect::<Result<_, _>>()?;
    let mut query = connection.prepare_cached(
        "SELECT person, groups, approve, reason, at, surface, offer, forced, edited, max_affected FROM votes WHERE request = ?1 ORDER BY seq",
    )?;
    request.votes = query.query_and_then([&id], vote_from)?.collect::<Result<_, _>>()?;
    let mut query = connection.prepare_cached(
        "SELECT from_state, to_state, person, surface, at, reason FROM transitions WHERE request = ?1 ORDER BY seq",
    )?;
    request.transitions = query.query_and_then([&id], transition_from)?.collect::<Result<_, _>>()?;
    Ok(request)
}

fn vote_from(row: &Row<'_>) -> Result<Vote, StoreError> {
    Ok(Vote {
        by: row.get(0)?,
        groups: serde_json::from_str(&row.get::<_, String>(1)?).map_err(|_error| StoreError::Invalid("vote"))?,
        approve: row.get(2)?,
        reason: row.get(3)?,
        at: time_from(row.get(4)?)?,
        surface: surface_from(&row.get::<_, String>(5)?)?,
        offer: facts::offer_from(row.get::<_, Option<String>>(6)?.as_deref())?,
        forced: row.get(7)?,
        edited: row.get(8)?,
        max_affected: row.get(9)?,
    })
}

fn transition_from(row: &Row<'_>) -> Result<Transition, StoreError> {
    Ok(Transition {
        from: row.get::<_, Option<String>>(0)?.as_deref().map(state_from).transpose()?,
        to: state_from(&row.get::<_, String>(1)?)?,
        by: row.get(2)?,
        surface: surface_from(&row.get::<_, String>(3)?)?,
        at: time_from(row.get(4)?)?,
        reason: row.get(5)?,
    })
}
