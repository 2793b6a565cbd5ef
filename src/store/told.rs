//! Which votes and transitions, of requests and of grants, no trail has told of yet.
//!
//! Never changes what happened. Invariant: a vote or a transition is untold from the moment it is made until somebody has
//! said that it stands in a trail, on stable storage.

use rusqlite::{Connection, params};

use super::StoreError;
use super::facts::{grant_id_from, grant_state_from, id_from, state_from};
use crate::audit;
use crate::review::{GrantId, GrantRecord, GrantTransition, RequestId, Transition, Vote};

/// A vote or a transition, by what is never the same twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Telling {
    /// Somebody's vote at that moment, in microseconds since 1970 UTC.
    Vote(RequestId, String, i64),
    /// The transition to a state: none is entered twice.
    Transition(RequestId, &'static str),
    /// Somebody's vote on a grant, likewise.
    GrantVote(GrantId, String, i64),
    /// The transition of a grant to a state, likewise.
    GrantStep(GrantId, &'static str),
}

/// One that is untold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// What it is.
    pub telling: Telling,
    /// When it was made, in microseconds since 1970 UTC.
    pub at: i64,
    /// The version of the request that it made; 0 of a grant.
    pub version: u64,
    /// Whether it was made by a process that is gone, and whose trail is not here.
    pub adopted: bool,
}

impl Telling {
    /// Of a vote.
    #[must_use]
    pub fn of_vote(id: RequestId, vote: &Vote) -> Self {
        Self::Vote(id, vote.by.clone(), vote.at.as_microsecond())
    }

    /// Of a transition.
    #[must_use]
    pub fn of_transition(id: RequestId, transition: &Transition) -> Self {
        Self::Transition(id, transition.to.as_str())
    }

    /// Of a vote on a grant.
    #[must_use]
    pub fn of_grant_vote(id: GrantId, vote: &Vote) -> Self {
        Self::GrantVote(id, vote.by.clone(), vote.at.as_microsecond())
    }

    /// Of a transition of a grant.
    #[must_use]
    pub fn of_grant_step(id: GrantId, step: &GrantTransition) -> Self {
        Self::GrantStep(id, step.to.as_str())
    }

    /// What a change of a grant, or its making, adds, and when.
    #[must_use]
    pub fn of_grant(before: Option<&GrantRecord>, after: &GrantRecord) -> Vec<(Self, i64)> {
        let (votes, steps) = before.map_or((0, 0), |before| (before.votes.len(), before.transitions.len()));
        let votes = after.votes.iter().skip(votes);
        let votes = votes.map(|vote| (Self::of_grant_vote(after.id, vote), vote.at.as_microsecond()));
        let steps = after.transitions.iter().skip(steps);
        let steps = steps.map(|step| (Self::of_grant_step(after.id, step), step.at.as_microsecond()));
        votes.chain(steps).collect()
    }

    /// The voter, or the state.
    pub(super) fn person_and_state(&self) -> (Option<&str>, Option<&'static str>) {
        match self {
            Self::Vote(_, person, _) | Self::GrantVote(_, person, _) => (Some(person), None),
            Self::Transition(_, to) | Self::GrantStep(_, to) => (None, Some(to)),
        }
    }

    /// When the vote was given.
    pub(super) fn at_of_vote(&self) -> Option<i64> {
        match self {
            Self::Vote(.., at) | Self::GrantVote(.., at) => Some(*at),
            Self::Transition(..) | Self::GrantStep(..) => None,
        }
    }

    /// What a record of a trail tells of, if it is one of these.
    #[must_use]
    pub fn of_record(record: &audit::Entry) -> Option<Self> {
        let (request, grant) = (|| id_from(record.text("request")).ok(), || grant_id_from(record.text("grant")).ok());
        let (by, to, at) = (record.text("by").to_owned(), record.text("to"), || Some(record.at()?.as_microsecond()));
        match record.text("kind") {
            "vote" => Some(Self::Vote(request()?, by, at()?)),
            "transition" => Some(Self::Transition(request()?, state_from(to).ok()?.as_str())),
            "grant_vote" => Some(Self::GrantVote(grant()?, by, at()?)),
            "grant" => Some(Self::GrantStep(grant()?, grant_state_from(to).ok()?.as_str())),
            _ => None,
        }
    }
}

/// Untold votes and transitions that are looked at in one call.
pub(super) const UNTOLD_MAX: i64 = 1_000;

/// Those of the embedded store that were made before that moment, oldest first.
pub(super) fn untold(connection: &Connection, before: i64) -> Result<Vec<Untold>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT v.request, v.person, NULL, v.at, v.version FROM votes v WHERE v.untold = 1 AND v.at < ?1 UNION ALL \
         SELECT t.request, NULL, t.to_state, t.at, 0 FROM transitions t WHERE t.untold = 1 AND t.at < ?1 \
         ORDER BY 4 LIMIT ?2",
    )?;
    let rows = query.query_and_then(params![before, UNTOLD_MAX], |row| {
        let (request, person, to): (String, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        untold_from(&request, person, to.as_deref(), (row.get(3)?, row.get(4)?))
    })?;
    let mut all = rows.collect::<Result<Vec<_>, StoreError>>()?;
    let mut query = connection.prepare_cached(
        "SELECT grant_id, person, to_state, at FROM grant_tellings WHERE at < ?1 ORDER BY at LIMIT ?2",
    )?;
    let rows = query.query_and_then(params![before, UNTOLD_MAX], |row| {
        let (grant, person, to): (String, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        untold_of_grant(&grant, person, to.as_deref(), row.get(3)?)
    })?;
    all.extend(rows.collect::<Result<Vec<_>, StoreError>>()?);
    all.sort_by_key(|untold| untold.at);
    Ok(all)
}

/// Notes that what a change of a grant adds is untold.
pub(super) fn must_tell(
    connection: &Connection,
    before: Option<&GrantRecord>,
    after: &GrantRecord,
) -> Result<(), StoreError> {
    let mut insert = connection
        .prepare_cached("INSERT INTO grant_tellings (grant_id, person, to_state, at) VALUES (?1, ?2, ?3, ?4)")?;
    for (telling, at) in Telling::of_grant(before, after) {
        let (person, to) = telling.person_and_state();
        insert.execute(params![after.id.to_string(), person, to, at])?;
    }
    Ok(())
}

/// Reads a row: request, voter or `None`, state or `None`; when, and the version that it made.
pub(super) fn untold_from(
    request: &str,
    person: Option<String>,
    to: Option<&str>,
    (at, version): (i64, u64),
) -> Result<Untold, StoreError> {
    let id = id_from(request)?;
    let telling = match (person, to) {
        (Some(person), None) => Telling::Vote(id, person, at),
        (None, Some(to)) => Telling::Transition(id, state_from(to)?.as_str()),
        _ => return Err(StoreError::Invalid("vote or transition")),
    };
    // What came with a new request made its first version.
    Ok(Untold { telling, at, version: version.max(1), adopted: false })
}

/// Reads a row, likewise: grant, voter or `None`, state or `None`; when.
pub(super) fn untold_of_grant(
    grant: &str,
    person: Option<String>,
    to: Option<&str>,
    at: i64,
) -> Result<Untold, StoreError> {
    let id = grant_id_from(grant)?;
    let telling = match (person, to) {
        (Some(person), None) => Telling::GrantVote(id, person, at),
        (None, Some(to)) => Telling::GrantStep(id, grant_state_from(to)?.as_str()),
        _ => return Err(StoreError::Invalid("vote on or transition of a grant")),
    };
    Ok(Untold { telling, at, version: 0, adopted: false })
}

/// They stand in a trail.
pub(super) fn tell(connection: &Connection, tellings: &[Telling]) -> Result<(), StoreError> {
    let mut vote = connection
        .prepare_cached("UPDATE votes SET untold = 0 WHERE request = ?1 AND person = ?2 AND at = ?3 AND untold = 1")?;
    let mut transition = connection
        .prepare_cached("UPDATE transitions SET untold = 0 WHERE request = ?1 AND to_state = ?2 AND untold = 1")?;
    let mut of_grant = connection.prepare_cached(
        "DELETE FROM grant_tellings WHERE grant_id = ?1 AND person IS ?2 AND to_state IS ?3 AND at = coalesce(?4, at)",
    )?;
    for telling in tellings {
        match telling {
            Telling::Vote(id, person, at) => vote.execute(params![id.to_string(), person, at])?,
            Telling::Transition(id, to) => transition.execute(params![id.to_string(), to])?,
            Telling::GrantVote(id, ..) | Telling::GrantStep(id, _) => {
                let (person, to) = telling.person_and_state();
                of_grant.execute(params![id.to_string(), person, to, telling.at_of_vote()])?
            }
        };
    }
    Ok(())
}
