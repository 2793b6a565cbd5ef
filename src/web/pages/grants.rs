//! The page of grants, and the forms on it.
//!
//! Never shows a grant to people it does not concern.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use jiff::Timestamp;

use super::shown::{StateShown, grant_state, seconds};
use super::sql;
use super::{Answer, Frame, PageError, page};
use crate::duration::in_words;
use crate::review::{Act, GrantAsk, GrantRecord, GrantScope, GrantState};
use crate::store::{GrantFilter, PAGE_MAX};
use crate::web::api::parse_time;
use crate::web::decide::Decidable;
use crate::web::fields::Fields;
use crate::web::session::{SignedIn, Submitted};
use crate::web::{ApiState, Problem};

#[derive(Template)]
#[template(path = "grants.html")]
struct GrantsPage {
    frame: Frame,
    csrf: String,
    items: Vec<GrantItem>,
    databases: Vec<String>,
    done: Option<&'static str>,
    problem: Option<String>,
}

struct GrantItem {
    id: String,
    state: StateShown,
    user: String,
    database: String,
    scope: String,
    summary: String,
    request: Option<String>,
    needs: String,
    left: Option<String>,
    any: bool,
    approve: bool,
    reject: bool,
    cancel: bool,
    revoke: bool,
}

impl GrantItem {
    fn of(state: &ApiState, person: &SignedIn, grant: &GrantRecord) -> Self {
        let now = Timestamp::now();
        let choices = state.review.grant_choices(grant, &person.actor(), now);
        let left = state.review.time(now).duration_until(grant.expires_at).as_secs().max(0);
        let needs: Vec<_> = grant.reviewers.iter().map(|demand| sql::line(&demand.group)).collect();
        let waits = grant.state == GrantState::Requested;
        Self {
            id: grant.id.to_string(),
            state: grant_state(grant.state),
            user: sql::line(&grant.user),
            database: sql::line(&grant.database),
            scope: format!("{}, {}", scope(&grant.scope), in_words(std::time::Duration::from_secs(grant.seconds))),
            summary: sql::line(&grant.summary),
            request: grant.request.map(|request| request.to_string()),
            needs: if waits { needs.join(" and ") } else { String::new() },
            left: grant.state.is_open().then(|| seconds(left)),
            any: choices.any(),
            approve: choices.approve.is_ok(),
            reject: choices.reject,
            cancel: choices.cancel,
            revoke: choices.revoke,
        }
    }
}

fn scope(scope: &GrantScope) -> String {
    if let Some(masks) = &scope.masks {
        return format!("values masked by {}", sql::line(&masks.join(", ")));
    }
    let mut parts = Vec::new();
    if scope.shape.is_some() {
        parts.push("one statement with any values".to_owned());
    }
    if let Some(rules) = &scope.rules {
        parts.push(format!("what only {} holds", sql::line(&rules.join(", "))));
    }
    if let Some(relations) = &scope.relations {
        parts.push(format!("writes of {}", sql::line(&relations.join(", "))));
    }
    if parts.is_empty() { "whatever is held".to_owned() } else { parts.join(", ") }
}

/// `GET /grants`.
pub(in crate::web) async fn grants(
    State(state): State<ApiState>,
    person: SignedIn,
    RawQuery(query): RawQuery,
) -> Answer {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let done = match fields.get("done") {
        Some("ask") => Some("You asked for it."),
        Some("approve") => Some("You approved it."),
        Some("reject") => Some("You rejected it."),
        Some("cancel") => Some("You withdrew it."),
        Some("revoke") => Some("It is taken back; the next statement runs without it."),
        Some(_) | None => None,
    };
    shown(&state, &person, done, None).await
}

/// `POST /grants`.
pub(in crate::web) async fn ask_grant(
    State(state): State<ApiState>,
    Submitted { person, fields }: Submitted,
) -> Answer {
    match ask(&state, &person, &fields).await {
        Ok(()) => Ok(Redirect::to("/grants?done=ask").into_response()),
        Err(problem) => shown(&state, &person, None, Some(problem)).await,
    }
}

async fn ask(state: &ApiState, person: &SignedIn, fields: &Fields) -> Result<(), Problem> {
    let (rules, relations, masks) = (fields.list("rules"), fields.list("relations"), fields.list("masks"));
    let scope = GrantScope { rules, shape: None, relations, masks };
    let ask = GrantAsk {
        database: fields.get("database").unwrap_or_default().to_owned(),
        time: parse_time(fields.get("for").unwrap_or_default().trim())?,
        scope,
        reason: fields.text("reason"),
    };
    state.review.request_grant(&person.actor(), ask, Timestamp::now()).await?;
    Ok(())
}

/// `GET /grants/{id}/{verb}`, when somebody loads the answer to a form again.
pub(in crate::web) async fn back_to_grants() -> Redirect {
    Redirect::to("/grants")
}

/// `POST /grants/{id}/{verb}`.
pub(in crate::web) async fn decide_grant(
    State(state): State<ApiState>,
    Path((id, verb)): Path<(String, String)>,
    Submitted { person, fields }: Submitted,
) -> Answer {
    let reason = fields.text("reason");
    let act = match verb.as_str() {
        "approve" => Act::Approve(reason.into()),
        "reject" => Act::Reject(reason),
        "cancel" => Act::Cancel(reason),
        "revoke" => Act::Revoke(reason),
        _ => return Err(PageError::of(&person)(Problem::bad_request("There is no such button"))),
    };
    match GrantRecord::act(&state, &id, &person.actor(), act).await {
        Ok(_changed) => Ok(Redirect::to(&format!("/grants?done={verb}")).into_response()),
        Err(problem) => shown(&state, &person, None, Some(problem)).await,
    }
}

async fn shown(state: &ApiState, person: &SignedIn, done: Option<&'static str>, problem: Option<Problem>) -> Answer {
    let filter = GrantFilter { limit: PAGE_MAX, ..GrantFilter::default() };
    let mut found = state.review.grants(filter).await.map_err(PageError::of(person))?;
    let who = &person.principal;
    found.retain(|grant| state.review.may_see_grant(grant, &who.name, &who.groups));
    // What waits or is in force first; each part newest first.
    found.sort_by_key(|grant| (!grant.state.is_open(), std::cmp::Reverse(grant.id)));
    let config = state.config.load();
    let open_to = |database: &&crate::config::DatabaseConfig| {
        let mut groups = config.groups_of(&who.name);
        crate::roles::add(&mut groups, who.groups.iter().cloned());
        crate::roles::add(&mut groups, state.review.groups_on(&database.name, &who.name));
        database.groups.iter().any(|group| groups.contains(group)) && !config.grant_max(&database.name).is_zero()
    };
    let template = GrantsPage {
        frame: Frame::load(state, person, "grants").await.map_err(PageError::of(person))?,
        csrf: person.token.csrf(),
        items: found.iter().map(|grant| GrantItem::of(state, person, grant)).collect(),
        databases: config.databases.iter().filter(open_to).map(|database| database.name.clone()).collect(),
        done,
        problem: problem.as_ref().map(|problem| format!("{}.", problem.detail)),
    };
    let status = problem.map_or(200, |problem| problem.status);
    Ok(page(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), &template))
}
