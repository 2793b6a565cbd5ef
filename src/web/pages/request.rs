//! The page of one request, and the forms on it.
//!
//! Never takes a decision for a text that its sender has not seen: the form says which one the page showed.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::card::CardShown;
use super::diff::{DiffLine, diff};
use super::remarks::Remarks;
use super::shown::{STATEMENT_MAX, Shown};
use super::{Answer, Frame, PageError, page};
use crate::duration::{in_words, parse};
use crate::review::{AccessRequest, Act, Choices, Consent, RequestId, ReviewError};
use crate::web::api::parse_id;
use crate::web::decide::Approved;
use crate::web::fields::Fields;
use crate::web::session::{SignedIn, Submitted};
use crate::web::{ApiState, Details, Problem};

/// Longest text that can be changed on the page: it has to fit into a form, in which a byte may take three.
const CHANGED_MAX: usize = 16 << 10;
/// Times that are offered for a grant, as the API takes them.
const TIMES: [&str; 6] = ["15m", "30m", "1h", "2h", "4h", "8h"];

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    frame: Frame,
    shown: Shown,
    card: CardShown,
    form: Option<DecideForm>,
    why_not: Option<String>,
    remarks: Remarks,
    /// Whether it is the answer to a form, at whose address there is nothing to look at again.
    answers: bool,
    done: Option<&'static str>,
    problem: Option<String>,
}

/// The form to decide with.
struct DecideForm {
    csrf: String,
    /// Digest of the text that the page shows.
    seen: String,
    approve: bool,
    reject: bool,
    cancel: bool,
    revoke: bool,
    force: bool,
    /// Times for a grant: as the form sends them, and in words.
    times: Vec<(&'static str, String)>,
    /// Whether the rows that it writes can be limited.
    counted: bool,
    reason: String,
    /// The text to change; `None` when it is too long for a form.
    statement: Option<String>,
    /// Whether the statement is one that somebody was about to send.
    edited: bool,
    /// What it would change.
    diff: Vec<DiffLine>,
}

/// The end of the address of a form that only wants to see what a changed text changes.
const PREVIEW: &str = "preview";

/// What a form of the page asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Approve,
    ApproveFor,
    ApproveChanged,
    Force,
    Reject,
    Cancel,
    Revoke,
}

impl Verb {
    const ALL: [Self; 7] =
        [Self::Approve, Self::ApproveFor, Self::ApproveChanged, Self::Force, Self::Reject, Self::Cancel, Self::Revoke];

    /// The end of the form's address.
    fn path(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::ApproveFor => "approve-for",
            Self::ApproveChanged => "approve-changed",
            Self::Force => "force",
            Self::Reject => "reject",
            Self::Cancel => "cancel",
            Self::Revoke => "revoke",
        }
    }

    /// What is said once it is done.
    fn done(self) -> &'static str {
        match self {
            Self::Approve => "You approved it.",
            Self::ApproveFor => "You approved it, and that it may be done again for a time.",
            Self::ApproveChanged => "You approved the changed text.",
            Self::Force => "You approved it in everybody's place.",
            Self::Reject => "You rejected it.",
            Self::Cancel => "You withdrew it.",
            Self::Revoke => "You took the approval back.",
        }
    }

    fn of(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.path() == path)
    }

    /// What the form asks for, about that request.
    fn act(self, request: &AccessRequest, fields: &Fields) -> Result<Act, Problem> {
        let reason = fields.text("reason");
        let limit = fields.text("max_affected").map(|rows| rows.trim().parse::<u32>()).transpose();
        let limit = limit.map_err(|_invalid| Problem::bad_request("The limit of rows is a whole number"))?;
        let max_affected = limit.map(u64::from);
        let consent =
            |forced| Consent { reason: reason.clone(), forced, edited: kept(request), offer: None, max_affected };
        Ok(match self {
            Self::Approve => Act::Approve(consent(false)),
            Self::Force => Act::Approve(consent(true)),
            Self::ApproveFor => {
                let scope = match fields.get("scope") {
                    Some("shape") => crate::review::Scope::Shape,
                    Some("database") => crate::review::Scope::Database,
                    Some(_) | None => crate::review::Scope::Rules,
                };
                let approved = Approved {
                    reason,
                    time: Some(fields.text("for").unwrap_or_default()),
                    scope: Some(scope),
                    force: false,
                    statement: kept(request),
                    max_affected: limit,
                };
                Act::Approve(approved.consent()?)
            }
            Self::ApproveChanged => {
                let statement = fields.get("statement").unwrap_or_default().replace("\r\n", "\n");
                // What the browser did to the line ends is no change.
                let same = statement == request.approved_text().replace("\r\n", "\n");
                Act::Approve(Consent { edited: if same { kept(request) } else { Some(statement) }, ..consent(false) })
            }
            Self::Reject => Act::Reject(reason),
            Self::Cancel => Act::Cancel(reason),
            Self::Revoke => Act::Revoke(reason),
        })
    }

    /// Whether it is about a text, so that it matters which one was seen.
    fn approves(self) -> bool {
        match self {
            Self::Approve | Self::ApproveFor | Self::ApproveChanged | Self::Force => true,
            Self::Reject | Self::Cancel | Self::Revoke => false,
        }
    }
}

/// The text to name in an approval that changes nothing.
fn kept(request: &AccessRequest) -> Option<String> {
    request.edit().map(|edit| edit.statement)
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// `GET /requests/{id}`.
pub(in crate::web) async fn show(
    State(state): State<ApiState>,
    person: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let request = find(&state, &person, &id).await.map_err(PageError::of(&person))?;
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let done =
        fields.get("done").and_then(|done| Verb::of(done).map(Verb::done).or_else(|| super::remarks::done(done)));
    let made = Made { done, ..Made::default() };
    shown(&state, &person, &request, made).await
}

/// `GET /requests/{id}/{verb}`, when somebody loads the answer to a form again.
pub(in crate::web) async fn back_to_request(Path((id, _verb)): Path<(String, String)>) -> Result<Redirect, Problem> {
    Ok(Redirect::to(&format!("/requests/{}", parse_id(&id)?)))
}

/// `GET /requests/{id}/comment` and the like, as [`back_to_request`].
pub(in crate::web) async fn back_to(Path(id): Path<String>) -> Result<Redirect, Problem> {
    Ok(Redirect::to(&format!("/requests/{}", parse_id(&id)?)))
}

/// `POST /requests/{id}/{verb}`.
pub(in crate::web) async fn decide(
    State(state): State<ApiState>,
    Path((id, verb)): Path<(String, String)>,
    Submitted { person, fields }: Submitted,
) -> Answer {
    let request = find(&state, &person, &id).await.map_err(PageError::of(&person))?;
    if verb == PREVIEW {
        let made = Made { reason: fields.text("reason"), statement: fields.text("statement"), ..Made::default() };
        return shown(&state, &person, &request, made).await;
    }
    let Some(verb) = Verb::of(&verb) else {
        return Err(PageError::of(&person)(Problem::bad_request("There is no such button")));
    };
    let decided = if verb.approves() && fields.get("seen") != Some(&digest(&request.approved_text())) {
        Err(Problem::new(StatusCode::CONFLICT, "changed", "The text has changed since you saw it; here it is now"))
    } else {
        decide_as(&state, &person, &request, verb, &fields).await
    };
    match decided {
        Ok(()) => Ok(Redirect::to(&format!("/requests/{}?done={}", request.id, verb.path())).into_response()),
        Err(problem) => {
            let request = find(&state, &person, &id).await.map_err(PageError::of(&person))?;
            let statement = fields.text("statement").filter(|_| verb == Verb::ApproveChanged);
            let made = Made { problem: Some(problem), reason: fields.text("reason"), statement, done: None };
            shown(&state, &person, &request, made).await
        }
    }
}

async fn decide_as(
    state: &ApiState,
    person: &SignedIn,
    request: &AccessRequest,
    verb: Verb,
    fields: &Fields,
) -> Result<(), Problem> {
    let act = verb.act(request, fields)?;
    state.review.act(request.id, &person.actor(), act, Timestamp::now()).await?;
    Ok(())
}

pub(super) async fn find(state: &ApiState, person: &SignedIn, id: &str) -> Result<AccessRequest, Problem> {
    let id: RequestId = parse_id(id)?;
    Ok(state.review.find(id, &person.actor()).await?)
}

/// What has come of a form.
#[derive(Default)]
pub(super) struct Made {
    pub(super) done: Option<&'static str>,
    pub(super) problem: Option<Problem>,
    pub(super) reason: Option<String>,
    pub(super) statement: Option<String>,
}

pub(super) async fn shown(state: &ApiState, person: &SignedIn, request: &AccessRequest, made: Made) -> Answer {
    let now = Timestamp::now();
    let mut choices = state.review.choices(request, &person.actor(), now);
    let too_long = request.statement.len().max(request.approved_text().len()) > STATEMENT_MAX;
    if too_long {
        choices.approve = Err(ReviewError::BadEdit);
        choices.force = false;
    }
    let status = made.problem.as_ref().map_or(200, |problem| problem.status);
    let problem = made.problem.as_ref().map(|problem| format!("{}.", problem.detail));
    let form = choices.any().then(|| form(request, &choices, person, &made));
    let details = Details::of(&state.review, &person.principal, request).await.map_err(PageError::of(person))?;
    let template = RequestPage {
        remarks: Remarks::of(request, &details.comments, person),
        card: CardShown::of(&details, now),
        frame: Frame::load(state, person, "").await.map_err(PageError::of(person))?,
        shown: Shown::of(request, state.review.time(now)),
        why_not: if too_long { Some(TOO_LONG.to_owned()) } else { why_not(&choices) },
        form,
        answers: problem.is_some() || made.statement.is_some(),
        done: made.done,
        problem,
    };
    Ok(page(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), &template))
}

fn form(request: &AccessRequest, choices: &Choices, person: &SignedIn, made: &Made) -> DecideForm {
    let text = request.approved_text();
    let times = TIMES.into_iter().filter_map(|time| {
        let length = parse(time)?;
        (length <= choices.grant_max).then(|| (time, in_words(length)))
    });
    DecideForm {
        csrf: person.token.csrf(),
        seen: digest(&text),
        approve: choices.approve.is_ok(),
        reject: choices.reject,
        cancel: choices.cancel,
        revoke: choices.revoke,
        force: choices.force,
        times: times.collect(),
        counted: request.rows_counted && choices.approve.is_ok(),
        reason: made.reason.clone().unwrap_or_default(),
        edited: made.statement.is_some(),
        diff: made.statement.as_ref().map(|changed| diff(&text, changed)).unwrap_or_default(),
        statement: Some(made.statement.clone().unwrap_or(text)).filter(|text| text.len() <= CHANGED_MAX),
    }
}

const TOO_LONG: &str =
    "The statement is too long to be shown whole. Read it with the command line, and approve it there.";

/// Why somebody who sees an open request cannot approve it.
fn why_not(choices: &Choices) -> Option<String> {
    match choices.approve.as_ref().err()? {
        ReviewError::OwnRequest => Some("This is your own request: others decide.".to_owned()),
        ReviewError::AlreadyVoted => Some("You have approved it already.".to_owned()),
        ReviewError::NotEligible { groups } => Some(format!("Members of {groups} decide.")),
        _ => None,
    }
}
