//! The audit trail: a search, and one record opened whole.
//!
//! Never shows what a requester wrote raw. Invariant: whoever may not read the trail is told so, whatever they ask for.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;

use super::sql::{self, Line};
use super::{Answer, Frame, PageError, page};
use crate::audit::{Entry, KINDS};
use crate::web::audit::{Ask, find, search};
use crate::web::fields::Fields;
use crate::web::session::SignedIn;
use crate::web::{ApiState, Problem};

/// Lines of a statement in a list.
const LINES_IN_LIST: usize = 2;
/// Fields that a list shows besides kind, time and who; a record opened whole shows all.
const IN_LIST: [&str; 13] = [
    "command",
    "permitted",
    "verdict",
    "effects",
    "rules",
    "approve",
    "from",
    "to",
    "outcome",
    "detail",
    "rows",
    "accepted",
    "revision",
];

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    kinds: Vec<(&'static str, bool)>,
    ask: Ask,
    rows: Vec<Row>,
    next: Option<String>,
    cut_short: bool,
    problem: Option<String>,
}

impl AuditPage {
    fn said(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or_default()
    }
}

/// A record in few words.
struct Row {
    seq: u64,
    at: String,
    kind: String,
    tone: &'static str,
    who: String,
    facts: Vec<(&'static str, String)>,
    reason: String,
    lines: Vec<Line>,
    request: Option<String>,
}

impl Row {
    fn of(entry: &Entry) -> Self {
        let at = entry.text("at").get(..19).unwrap_or_default().replacen('T', " ", 1);
        let who = [entry.text("user"), entry.text("by")].into_iter().find(|who| !who.is_empty()).unwrap_or_default();
        let who = match entry.text("database") {
            "" => sql::line(who),
            database => format!("{} on {}", sql::line(who), sql::line(database)),
        };
        let facts = IN_LIST.into_iter().filter_map(|key| Some((key, sql::line(&entry.shown(key)?))));
        Self {
            seq: entry.seq(),
            at,
            kind: sql::line(&entry.text("kind").replace('_', " ")),
            tone: tone(entry),
            who,
            facts: facts.collect(),
            reason: sql::line(entry.text("reason")),
            lines: match entry.text("statement") {
                "" => Vec::new(),
                statement => sql::first_lines(statement, LINES_IN_LIST),
            },
            request: entry.shown("request").filter(|request| ulid::Ulid::from_string(request).is_ok()),
        }
    }
}

fn tone(entry: &Entry) -> &'static str {
    match (entry.text("kind"), entry.text("verdict"), entry.text("outcome")) {
        ("gap" | "login_failed", _, _) | (_, "deny", _) | (_, _, "failed" | "unknown") => "bad",
        (_, "hold", _) => "waits",
        ("intent", _, _) | (_, _, "executed") => "good",
        (_, _, _) => "over",
    }
}

/// `GET /audit`.
pub(in crate::web) async fn audit(
    State(state): State<ApiState>,
    person: SignedIn,
    RawQuery(query): RawQuery,
) -> Answer {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let text = |name: &str| fields.text(name).map(|text| text.trim().to_owned());
    let before = text("before").map(|before| before.parse::<u64>()).transpose();
    let before = before.map_err(|_invalid| Problem::bad_request("\"before\" is the number of a record"));
    let ask = Ask {
        kind: text("kind"),
        user: text("user"),
        database: text("database"),
        request: text("request"),
        text: text("text"),
        since: text("since"),
        until: text("until"),
        before: before.map_err(PageError::of(&person))?,
        limit: None,
    };
    let found = match search(&state, &person.principal, &ask).await {
        Ok(found) => Ok(found),
        // What is wrong in the form is said beside it.
        Err(problem) if problem.status == StatusCode::BAD_REQUEST.as_u16() => Err(problem),
        Err(problem) => return Err(PageError::of(&person)(problem)),
    };
    let frame = Frame::load(&state, &person, "audit").await.map_err(PageError::of(&person))?;
    let status = found.as_ref().map_or(StatusCode::BAD_REQUEST, |_| StatusCode::OK);
    let problem = found.as_ref().err().map(|problem| format!("{}.", problem.detail));
    let found = found.ok();
    let shown = AuditPage {
        frame,
        kinds: KINDS.iter().map(|kind| (*kind, ask.kind.as_deref() == Some(*kind))).collect(),
        rows: found.iter().flat_map(|found| found.entries.iter().rev()).map(Row::of).collect(),
        next: found.as_ref().and_then(|found| found.rest).map(|rest| next(&ask, rest)),
        cut_short: found.is_some_and(|found| found.cut_short),
        problem,
        ask,
    };
    Ok(page(status, &shown))
}

/// Where older records are.
fn next(ask: &Ask, before: u64) -> String {
    let before = before.to_string();
    let given = [
        ("kind", &ask.kind),
        ("user", &ask.user),
        ("database", &ask.database),
        ("request", &ask.request),
        ("text", &ask.text),
        ("since", &ask.since),
        ("until", &ask.until),
    ];
    let mut pairs: Vec<(&str, &str)> =
        given.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
    pairs.push(("before", &before));
    format!("/audit?{}", Fields::encode(&pairs))
}

#[derive(Template)]
#[template(path = "audit_record.html")]
struct RecordPage {
    frame: Frame,
    row: Row,
    fields: Vec<(String, String)>,
    statement: Vec<Line>,
    hash: String,
    previous: Option<u64>,
    follows: Option<bool>,
    following: Option<u64>,
    followed: Option<bool>,
}

/// `GET /audit/{seq}`.
pub(in crate::web) async fn audit_record(
    State(state): State<ApiState>,
    person: SignedIn,
    Path(seq): Path<String>,
) -> Answer {
    let found = find(&state, &person.principal, &seq).await.map_err(PageError::of(&person))?;
    let frame = Frame::load(&state, &person, "audit").await.map_err(PageError::of(&person))?;
    let entry = &found.entry;
    let fields = entry.fields.keys().filter(|key| *key != "statement");
    let shown = RecordPage {
        frame,
        row: Row::of(entry),
        fields: fields.filter_map(|key| Some((sql::line(key), sql::line(&entry.shown(key)?)))).collect(),
        statement: match entry.text("statement") {
            "" => Vec::new(),
            statement => sql::lines(statement),
        },
        hash: entry.hash(),
        previous: found.before.as_ref().map(Entry::seq),
        follows: found.follows(),
        following: found.after.as_ref().map(Entry::seq),
        followed: found.is_followed(),
    };
    Ok(page(StatusCode::OK, &shown))
}
