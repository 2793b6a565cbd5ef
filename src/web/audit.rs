//! The audit trail for people and programs: `GET /api/v1/audit`, and what the page shows of it.
//!
//! Never checks the chain as a whole: `countersign audit verify` does. Invariant: only admins and members of
//! `[audit] readers` read it, because it holds every statement with its values.

use std::io;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::{ApiState, Problem};
use crate::audit::{InChain, Newest, Question, in_chain, newest};
use crate::duration::{MOMENTS, moment};
use crate::identity::{Principal, Scope};

/// Searches at a time: each reads whole segments.
pub(super) const SEARCHES_MAX: usize = 2;
/// How long a search goes on to older segments.
const BUDGET: Duration = Duration::from_secs(4);
/// Records of a page when the caller does not say, and at most.
const PAGE_DEFAULT: u32 = 50;
const PAGE_MAX: u32 = 500;

/// Which records are asked for, as in a query.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// Of this kind; several with commas.
    pub(super) kind: Option<String>,
    /// Of a session of this user, or made by them.
    pub(super) user: Option<String>,
    /// On this database.
    pub(super) database: Option<String>,
    /// About this access request.
    pub(super) request: Option<String>,
    /// With this in the statement, whatever the case.
    pub(super) text: Option<String>,
    /// Made at this time or later: a time, or `2h` for two hours ago.
    pub(super) since: Option<String>,
    /// Made before this time.
    pub(super) until: Option<String>,
    /// With a lower number: `next` of the page before.
    pub(super) before: Option<u64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 500)]
    pub(super) limit: Option<u32>,
}

impl Ask {
    fn question(&self) -> Result<Question, Problem> {
        let now = Timestamp::now();
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let time = |name: &str, text: &Option<String>| {
            let read = |text: String| moment(text.trim(), now).ok_or_else(|| not_a_moment(name));
            given(text).map(read).transpose()
        };
        let kinds = given(&self.kind).into_iter();
        Ok(Question {
            kinds: kinds.flat_map(|kinds| kinds.split(',').map(str::to_owned).collect::<Vec<_>>()).collect(),
            user: given(&self.user),
            database: given(&self.database),
            request: given(&self.request),
            text: given(&self.text),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            after: 0,
            before: self.before,
        })
    }
}

fn not_a_moment(name: &str) -> Problem {
    Problem::no_such_time(format!("\"{name}\" is a time: {MOMENTS}"))
}

/// A page of records, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// As they were written.
    #[schema(value_type = Vec<Object>)]
    records: Vec<Map<String, Value>>,
    /// `before` of the next page; `null` when this is the last.
    next: Option<u64>,
    /// Whether the search ended because it had taken its time: `next` goes on.
    cut_short: bool,
}

/// One record, its hash, and whether the chain holds around it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct AuditRecord {
    /// As it was written.
    #[schema(value_type = Object)]
    record: Map<String, Value>,
    /// SHA-256 of its line, hexadecimal.
    hash: String,
    /// The number of the record before it, where that is still kept.
    previous: Option<u64>,
    /// Whether it carries the hash of that.
    follows_previous: Option<bool>,
    /// The number of the record behind it, once there is one.
    following: Option<u64>,
    /// Whether that carries its hash.
    followed_by_next: Option<bool>,
}

/// The newest records that fit, for somebody in those groups.
pub(super) async fn search(state: &ApiState, who: &Principal, ask: &Ask) -> Result<Newest, Problem> {
    let question = ask.question()?;
    let limit = ask.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX) as usize;
    read(state, who, move |dir| {
        let began = Instant::now();
        newest(dir, &question, limit, || began.elapsed() < BUDGET)
    })
    .await
}

/// The record of that number.
pub(super) async fn find(state: &ApiState, who: &Principal, seq: &str) -> Result<InChain, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "not-found", "The audit trail has no record of that number");
    let seq = seq.parse().map_err(|_invalid| missing())?;
    read(state, who, move |dir| in_chain(dir, seq)).await?.ok_or_else(missing)
}

async fn read<T: Send + 'static>(
    state: &ApiState,
    who: &Principal,
    look: impl FnOnce(&std::path::Path) -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    if !state.review.reads_audit(&who.groups) || !who.may_use(Scope::AuditRead) {
        let detail = "The audit trail is read by admins and members of [audit] readers";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-eligible", detail));
    }
    let busy = || {
        let detail = "Others are searching the audit trail; try again in a moment";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
    };
    let waiting = std::sync::Arc::clone(&state.searches).acquire_owned();
    let permit = tokio::time::timeout(BUDGET, waiting).await.ok().and_then(Result::ok).ok_or_else(busy)?;
    let dir = state.audit.dir().to_owned();
    let looked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        look(&dir)
    });
    looked.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
        tracing::error!(%error, "could not read audit trail");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The audit trail could not be read")
    })
}

/// `GET /api/v1/audit`.
pub(super) async fn list(
    State(state): State<ApiState>,
    caller: Caller,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Json<AuditPage>, Problem> {
    let Query(ask) = query.map_err(|_rejection| {
        Problem::bad_request(
            "The query takes kind, user, database, request, text, since, until, before and limit, each at most once",
        )
    })?;
    let found = search(&state, &caller.principal, &ask).await?;
    let records = found.entries.into_iter().rev().map(|entry| entry.fields).collect();
    Ok(Json(AuditPage { records, next: found.rest, cut_short: found.cut_short }))
}

/// `GET /api/v1/audit/{seq}`.
pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Path(seq): Path<String>,
) -> Result<Json<AuditRecord>, Problem> {
    let found = find(&state, &caller.principal, &seq).await?;
    Ok(Json(AuditRecord {
        hash: found.entry.hash(),
        previous: found.before.as_ref().map(crate::audit::Entry::seq),
        follows_previous: found.follows(),
        following: found.after.as_ref().map(crate::audit::Entry::seq),
        followed_by_next: found.is_followed(),
        record: found.entry.fields,
    }))
}
