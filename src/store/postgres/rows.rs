//! Access requests ⇄ rows of PostgreSQL.
//!
//! Never hides a damaged row: what cannot be read back is an error. Invariant: reading gives what was written, but for NUL,
//! which PostgreSQL does not store in what people write.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use countersign_policy::verdict::ReviewerDemand;

use crate::review::{AccessRequest, Comment, GrantRecord, RequestId, State, Transition, Vote};
use crate::store::digests::names;
use crate::store::facts::{self, Columns, state_from, surface_from, surface_name, time_from};
use crate::store::{Decided, Digest, StoreError, Telling, Untold, told};

#[derive(Deserialize)]
struct DemandRow {
    grp: String,
    approvals: u32,
}

#[derive(Serialize, Deserialize)]
struct VoteRow {
    seq: u64,
    person: String,
    groups: Vec<String>,
    approve: bool,
    reason: Option<String>,
    at: i64,
    surface: String,
    offer: Option<String>,
    forced: bool,
    edited: Option<String>,
    max_affected: Option<i64>,
}

/// A grant as the statements take it.
#[derive(Serialize)]
struct GrantRow {
    id: String,
    state: &'static str,
    version: i64,
    grantee: String,
    database: String,
    expires_at: i64,
    record: String,
    untold: Vec<UntoldRow>,
}

/// A vote on a grant, or its transition to a state.
#[derive(Serialize)]
struct UntoldRow {
    person: Option<String>,
    to_state: Option<&'static str>,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct TransitionRow {
    seq: u64,
    from_state: Option<String>,
    to_state: String,
    person: String,
    surface: String,
    at: i64,
    reason: Option<String>,
}

/// PostgreSQL has no NUL in texts.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn encode<T: Serialize>(rows: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|_error| StoreError::Invalid("request"))
}

/// Votes as the statements take them; `seq` is the number of the first.
pub(super) fn votes<'a>(votes: impl IntoIterator<Item = &'a Vote>, seq: u64) -> Result<String, StoreError> {
    let row = |(seq, vote): (u64, &Vote)| {
        Ok::<_, StoreError>(VoteRow {
            seq,
            person: storable(&vote.by),
            groups: vote.groups.iter().map(|group| storable(group)).collect(),
            approve: vote.approve,
            reason: vote.reason.as_deref().map(storable),
            at: vote.at.as_microsecond(),
            surface: surface_name(vote.surface).to_owned(),
            offer: facts::encode_offer(vote)?,
            forced: vote.forced,
            edited: vote.edited.as_deref().map(storable),
            max_affected: vote.max_affected.map(bigint),
        })
    };
    encode(&(seq..).zip(votes).map(row).collect::<Result<Vec<_>, _>>()?)
}

/// Grants as the statements take them, each with what it was before.
pub(super) fn grants<'a>(
    grants: impl IntoIterator<Item = (Option<&'a GrantRecord>, &'a GrantRecord)>,
) -> Result<String, StoreError> {
    let untold = |(telling, at): (Telling, i64)| {
        let (person, to_state) = telling.person_and_state();
        UntoldRow { person: person.map(storable), to_state, at }
    };
    let row = |(before, grant): (Option<&GrantRecord>, &GrantRecord)| {
        Ok::<_, StoreError>(GrantRow {
            id: grant.id.to_string(),
            state: grant.state.as_str(),
            version: bigint(grant.version),
            grantee: storable(&grant.user),
            database: storable(&grant.database),
            expires_at: grant.expires_at.as_microsecond(),
            record: facts::encode_grant(grant)?,
            untold: Telling::of_grant(before, grant).into_iter().map(untold).collect(),
        })
    };
    encode(&grants.into_iter().map(row).collect::<Result<Vec<_>, _>>()?)
}

/// Reads a row with the record of a grant.
pub(super) fn grant_from(row: &Row) -> Result<GrantRecord, StoreError> {
    facts::grant_from(row.try_get(0)?)
}

/// Transitions as the statements take them; `seq` is the number of the first.
pub(super) fn transitions<'a>(
    transitions: impl IntoIterator<Item = &'a Transition>,
    seq: u64,
) -> Result<String, StoreError> {
    let row = |(seq, transition): (u64, &Transition)| TransitionRow {
        seq,
        from_state: transition.from.map(|state| state.as_str().to_owned()),
        to_state: transition.to.as_str().to_owned(),
        person: storable(&transition.by),
        surface: surface_name(transition.surface).to_owned(),
        at: transition.at.as_microsecond(),
        reason: transition.reason.as_deref().map(storable),
    };
    encode(&(seq..).zip(transitions).map(row).collect::<Vec<_>>())
}

/// Reads a row of `columns!`.
pub(super) fn request_from(row: &Row) -> Result<AccessRequest, StoreError> {
    let columns = Columns {
        id: row.try_get(0)?,
        state: row.try_get(1)?,
        version: version_from(row.try_get(2)?)?,
        requester: row.try_get(3)?,
        database: row.try_get(4)?,
        created_at: row.try_get(6)?,
        expires_at: row.try_get(7)?,
        decided_at: row.try_get(8)?,
        outcome: row.try_get(9)?,
        justification: row.try_get(13)?,
    };
    let mut request = columns.with(row.try_get(5)?)?;
    let demands: Vec<DemandRow> = decode(row.try_get(10)?)?;
    let demand = |row: DemandRow| ReviewerDemand { group: row.grp, approvals: row.approvals };
    request.reviewers = demands.into_iter().map(demand).collect();
    let votes: Vec<VoteRow> = decode(row.try_get(11)?)?;
    request.votes = votes.into_iter().map(vote_from).collect::<Result<_, _>>()?;
    let transitions: Vec<TransitionRow> = decode(row.try_get(12)?)?;
    request.transitions = transitions.into_iter().map(transition_from).collect::<Result<_, _>>()?;
    Ok(request)
}

/// Reads a row of a comment.
pub(super) fn comment_from(row: &Row) -> Result<Comment, StoreError> {
    let (surface, at) = (surface_from(row.try_get(1)?)?, time_from(row.try_get(2)?)?);
    Ok(Comment { by: row.try_get(0)?, surface, at, text: row.try_get(3)? })
}

/// Reads a row of a digest.
pub(super) fn digest_from(row: &Row) -> Result<Digest, StoreError> {
    let decided = match row.try_get::<_, Option<&str>>(6)? {
        Some(to) => Some(Decided { to: state_from(to)?, by: row.try_get(7)?, at: time_from(row.try_get(8)?)? }),
        None => None,
    };
    Ok(Digest {
        id: facts::id_from(row.try_get(0)?)?,
        requester: row.try_get(1)?,
        database: row.try_get(2)?,
        created_at: time_from(row.try_get(3)?)?,
        shape: row.try_get(4)?,
        rules: names(row.try_get(5)?)?,
        groups: row.try_get(9)?,
        decided,
    })
}

/// Reads the rows of what was ended: id, state before, state after, when, why.
pub(super) fn ended_from(row: &Row) -> Result<(RequestId, Transition), StoreError> {
    let transition = TransitionRow {
        seq: 0,
        from_state: Some(row.try_get(1)?),
        to_state: row.try_get(2)?,
        person: "proxy".to_owned(),
        surface: "proxy".to_owned(),
        at: row.try_get(3)?,
        reason: Some(row.try_get(4)?),
    };
    Ok((facts::id_from(row.try_get(0)?)?, transition_from(transition)?))
}

/// Reads a row of what is untold: request, voter, state, when, number, whether it was another's.
pub(super) fn untold_from(row: &Row) -> Result<Untold, StoreError> {
    let when = (row.try_get(3)?, version_from(row.try_get(4)?)?);
    let untold = told::untold_from(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, when)?;
    Ok(Untold { adopted: row.try_get(5)?, ..untold })
}

/// Reads a row of what is untold of grants: grant, voter, state, when, whether it was another's.
pub(super) fn untold_of_grant(row: &Row) -> Result<Untold, StoreError> {
    let untold = told::untold_of_grant(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?)?;
    Ok(Untold { adopted: row.try_get(4)?, ..untold })
}

/// Requests, voters and times of votes.
type Votes = (Vec<String>, Vec<String>, Vec<i64>);
/// Requests and states of transitions.
type Transitions = (Vec<String>, Vec<&'static str>);
/// Grants, voters, states, and times of votes.
type OfGrants = (Vec<String>, Vec<Option<String>>, Vec<Option<&'static str>>, Vec<Option<i64>>);

/// What was told, as the statements take it.
pub(super) fn tellings(tellings: &[Telling]) -> (Votes, Transitions, OfGrants) {
    let (mut votes, mut transitions, mut of_grants) = <(Votes, Transitions, OfGrants)>::default();
    for telling in tellings {
        match telling {
            Telling::Vote(id, by, at) => {
                votes.0.push(id.to_string());
                votes.1.push(storable(by));
                votes.2.push(*at);
            }
            Telling::Transition(id, to) => {
                transitions.0.push(id.to_string());
                transitions.1.push(to);
            }
            Telling::GrantVote(id, ..) | Telling::GrantStep(id, _) => {
                let (person, to) = telling.person_and_state();
                of_grants.0.push(id.to_string());
                of_grants.1.push(person.map(storable));
                of_grants.2.push(to);
                of_grants.3.push(telling.at_of_vote());
            }
        }
    }
    (votes, transitions, of_grants)
}

pub(super) fn version_from(version: i64) -> Result<u64, StoreError> {
    u64::try_from(version).map_err(|_negative| StoreError::Invalid("version"))
}

/// A number as PostgreSQL stores it; what is too large for it is out of reach.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn microseconds(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_microsecond)
}

pub(super) fn state_name(state: State) -> &'static str {
    state.as_str()
}

/// No rows at all are NULL.
fn decode<T: for<'de> Deserialize<'de>>(json: Option<&str>) -> Result<Vec<T>, StoreError> {
    json.map_or_else(
        || Ok(Vec::new()),
        |json| serde_json::from_str(json).map_err(|_error| StoreError::Invalid("request")),
    )
}

fn vote_from(row: VoteRow) -> Result<Vote, StoreError> {
    Ok(Vote {
        by: row.person,
        groups: row.groups,
        approve: row.approve,
        reason: row.reason,
        at: time_from(row.at)?,
        surface: surface_from(&row.surface)?,
        offer: facts::offer_from(row.offer.as_deref())?,
        forced: row.forced,
        edited: row.edited,
        max_affected: row.max_affected.map(version_from).transpose()?,
    })
}

fn transition_from(row: TransitionRow) -> Result<Transition, StoreError> {
    Ok(Transition {
        from: row.from_state.as_deref().map(state_from).transpose()?,
        to: state_from(&row.to_state)?,
        by: row.person,
        surface: surface_from(&row.surface)?,
        at: time_from(row.at)?,
        reason: row.reason,
    })
}
