//! Access requests ⇄ rows.
//!
//! Never hides a damaged row: what cannot be read back is an error. Invariant: reading gives what was written.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use countersign_policy::rule::Mode;
use countersign_policy::verdict::ReviewerDemand;

use super::{NewRecord, StoreError};
use crate::review::{AccessRequest, Parameter, RequestId, State, Surface, Transition, Vote};

/// Columns of `requests` in the order [`request_from`] reads them.
pub(super) const COLUMNS: &str =
    "r.id, r.state, r.version, r.requester, r.database, r.facts, r.created_at, r.expires_at, r.decided_at, r.outcome";

/// What nobody searches by, as one JSON text.
#[derive(Serialize)]
struct FactsOut<'a> {
    groups: &'a [String],
    client_address: &'a str,
    application: &'a str,
    statement: &'a str,
    parameters: &'a [Parameter],
    summary: &'a str,
    effects: &'a [String],
    rules: &'a [String],
    messages: &'a [String],
    in_transaction: bool,
}

#[derive(Deserialize)]
struct FactsIn {
    groups: Vec<String>,
    client_address: String,
    application: String,
    statement: String,
    parameters: Vec<Parameter>,
    summary: String,
    effects: Vec<String>,
    rules: Vec<String>,
    messages: Vec<String>,
    in_transaction: bool,
}

pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Wait => "wait",
        Mode::Resubmit => "resubmit",
        Mode::Auto => "auto",
    }
}

fn surface_name(surface: Surface) -> &'static str {
    match surface {
        Surface::Wire => "wire",
        Surface::Api => "api",
        Surface::Proxy => "proxy",
    }
}

fn surface_from(name: &str) -> Result<Surface, StoreError> {
    [Surface::Wire, Surface::Api, Surface::Proxy]
        .into_iter()
        .find(|surface| surface_name(*surface) == name)
        .ok_or(StoreError::Invalid("surface"))
}

fn state_from(name: &str) -> Result<State, StoreError> {
    name.parse().map_err(|_unknown| StoreError::Invalid("state"))
}

fn time_from(microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds).map_err(|_range| StoreError::Invalid("time"))
}

pub(super) fn id_from(text: &str) -> Result<RequestId, StoreError> {
    ulid::Ulid::from_string(text).map(RequestId).map_err(|_invalid| StoreError::Invalid("request id"))
}

pub(super) fn insert(connection: &Connection, new: &NewRecord) -> Result<(), StoreError> {
    let request = &new.request;
    let facts = FactsOut {
        groups: &request.groups,
        client_address: &request.client_address,
        application: &request.application,
        statement: &request.statement,
        parameters: &request.parameters,
        summary: &request.summary,
        effects: &request.effects,
        rules: &request.rules,
        messages: &request.messages,
        in_transaction: request.in_transaction,
    };
    let facts = serde_json::to_string(&facts).map_err(|_error| StoreError::Invalid("request"))?;
    let id = request.id.to_string();
    connection
        .prepare_cached("INSERT INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?
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
        ])?;
    let mut insert = connection.prepare_cached("INSERT INTO demands VALUES (?1, ?2, ?3, ?4)")?;
    for (seq, demand) in request.reviewers.iter().enumerate() {
        insert.execute(params![id, seq, demand.group, demand.approvals])?;
    }
    request.votes.iter().try_for_each(|vote| insert_vote(connection, request.id, vote))?;
    request.transitions.iter().try_for_each(|transition| insert_transition(connection, request.id, transition))
}

pub(super) fn insert_vote(connection: &Connection, id: RequestId, vote: &Vote) -> Result<(), StoreError> {
    let groups = serde_json::to_string(&vote.groups).map_err(|_error| StoreError::Invalid("vote"))?;
    connection
        .prepare_cached(
            "INSERT INTO votes VALUES (?1, (SELECT count(*) FROM votes WHERE request = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id.to_string(),
            vote.by,
            groups,
            vote.approve,
            vote.reason,
            vote.at.as_microsecond(),
            surface_name(vote.surface)
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
            "INSERT INTO transitions VALUES (?1, (SELECT count(*) FROM transitions WHERE request = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
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
    let facts: FactsIn =
        serde_json::from_str(row.get_ref(5)?.as_str().map_err(|_type| StoreError::Invalid("request"))?)
            .map_err(|_error| StoreError::Invalid("request"))?;
    Ok(AccessRequest {
        id: id_from(&row.get::<_, String>(0)?)?,
        state: state_from(&row.get::<_, String>(1)?)?,
        version: row.get(2)?,
        user: row.get(3)?,
        groups: facts.groups,
        database: row.get(4)?,
        client_address: facts.client_address,
        application: facts.application,
        statement: facts.statement,
        parameters: facts.parameters,
        summary: facts.summary,
        effects: facts.effects,
        rules: facts.rules,
        messages: facts.messages,
        reviewers: Vec::new(),
        in_transaction: facts.in_transaction,
        created_at: time_from(row.get(6)?)?,
        expires_at: time_from(row.get(7)?)?,
        decided_at: row.get::<_, Option<i64>>(8)?.map(time_from).transpose()?,
        votes: Vec::new(),
        transitions: Vec::new(),
        outcome: row.get(9)?,
    })
}

pub(super) fn complete(connection: &Connection, mut request: AccessRequest) -> Result<AccessRequest, StoreError> {
    let id = request.id.to_string();
    let mut query = connection.prepare_cached("SELECT grp, approvals FROM demands WHERE request = ?1 ORDER BY seq")?;
    let demands = query.query_map([&id], |row| Ok(ReviewerDemand { group: row.get(0)?, approvals: row.get(1)? }))?;
    request.reviewers = demands.collect::<Result<_, _>>()?;
    let mut query = connection.prepare_cached(
        "SELECT person, groups, approve, reason, at, surface FROM votes WHERE request = ?1 ORDER BY seq",
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
