//! Which votes and transitions no trail has told of yet.
//!
//! Never changes what happened. Invariant: a vote or a transition is untold from the moment it is made until somebody has
//! said that it stands in a trail, on stable storage.

use rusqlite::{Connection, params};

use super::StoreError;
use super::facts::{id_from, state_from};
use crate::audit;
use crate::review::{RequestId, Transition, Vote};

/// A vote or a transition of a request, by what is never the same twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Telling {
    /// Somebody's vote at that moment, in microseconds since 1970 UTC.
    Vote(RequestId, String, i64),
    /// The transition to a state: none is entered twice.
    Transition(RequestId, &'static str),
}

/// One that is untold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// What it is.
    pub telling: Telling,
    /// When it was made, in microseconds since 1970 UTC.
    pub at: i64,
    /// The version of the request that it made.
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

    /// The request.
    #[must_use]
    pub fn request(&self) -> RequestId {
        match self {
            Self::Vote(id, ..) | Self::Transition(id, _) => *id,
        }
    }

    /// What a record of a trail tells of, if it is one of these.
    #[must_use]
    pub fn of_record(record: &audit::Entry) -> Option<Self> {
        let id = id_from(record.text("request")).ok()?;
        match record.text("kind") {
            "vote" => Some(Self::Vote(id, record.text("by").to_owned(), record.at()?.as_microsecond())),
            "transition" => Some(Self::Transition(id, state_from(record.text("to")).ok()?.as_str())),
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
    rows.collect()
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

/// They stand in a trail.
pub(super) fn tell(connection: &Connection, tellings: &[Telling]) -> Result<(), StoreError> {
    let mut vote = connection
        .prepare_cached("UPDATE votes SET untold = 0 WHERE request = ?1 AND person = ?2 AND at = ?3 AND untold = 1")?;
    let mut transition = connection
        .prepare_cached("UPDATE transitions SET untold = 0 WHERE request = ?1 AND to_state = ?2 AND untold = 1")?;
    for telling in tellings {
        match telling {
            Telling::Vote(id, person, at) => vote.execute(params![id.to_string(), person, at])?,
            Telling::Transition(id, to) => transition.execute(params![id.to_string(), to])?,
        };
    }
    Ok(())
}
