//! What others were told, what waits to be told, and what was given up.
//!
//! Never shows a text that was sent. Invariant: whoever may not change the configuration is told so, whatever they ask for.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use jiff::Timestamp;

use super::sql;
use super::{Answer, Frame, PageError, page};
use crate::audit::Record;
use crate::review::ReviewError;
use crate::store::outbox::{About, Backlog, DeliveryState};
use crate::web::fields::Fields;
use crate::web::notifications::{DeliveryQuery, DeliveryView, again, find};
use crate::web::session::{SignedIn, Submitted};
use crate::web::{ApiState, Problem};

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    frame: Frame,
    csrf: String,
    targets: Vec<TargetRow>,
    rows: Vec<Row>,
    states: Vec<(&'static str, bool)>,
    target: String,
    subject: String,
    next: Option<String>,
    done: Option<&'static str>,
    problem: Option<String>,
}

/// A target, and what waits for it.
struct TargetRow {
    name: String,
    waiting: u64,
    oldest: Option<String>,
    dead: u64,
}

/// One delivery.
struct Row {
    id: i64,
    state: &'static str,
    tone: &'static str,
    target: String,
    what: String,
    subject: String,
    link: Option<String>,
    at: String,
    attempts: u64,
    answer: String,
    due: Option<String>,
    /// Whether it can be sent again.
    ended: bool,
}

impl Row {
    fn of(view: DeliveryView) -> Self {
        let tone = match view.state {
            DeliveryState::Waiting => "waits",
            DeliveryState::Delivered => "good",
            DeliveryState::Dead => "bad",
        };
        Self {
            id: view.id,
            state: view.state.as_str(),
            tone,
            target: sql::line(&view.target),
            what: format!("{} {}", view.about.as_str(), view.what.to_ascii_lowercase()),
            link: match view.about {
                About::Request => Some(format!("/requests/{}", view.subject)),
                About::Grant | About::Config => None,
            },
            subject: sql::line(&view.subject),
            at: time(view.at),
            attempts: view.attempts,
            answer: sql::line(view.answer.as_deref().unwrap_or_default()),
            due: view.due_at.map(time),
            ended: view.state != DeliveryState::Waiting,
        }
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `GET /notifications`.
pub(in crate::web) async fn notifications(
    State(state): State<ApiState>,
    person: SignedIn,
    RawQuery(query): RawQuery,
) -> Answer {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let done = fields.get("done").map(|_| "It is sent again.");
    shown(&state, &person, &fields, (done, None)).await
}

/// `GET /notifications/{id}/{verb}`, when somebody loads the answer to a form again.
pub(in crate::web) async fn back_to_notifications() -> Redirect {
    Redirect::to("/notifications")
}

/// `POST /notifications/{id}/{verb}`.
pub(in crate::web) async fn redeliver(
    State(state): State<ApiState>,
    Path((id, verb)): Path<(String, String)>,
    Submitted { person, .. }: Submitted,
) -> Answer {
    if verb != "redeliver" {
        return Err(PageError::of(&person)(Problem::bad_request("There is no such button")));
    }
    let done = again(&state, &person.principal, &id).await;
    let record = Record::ApiCall {
        user: &person.principal.name,
        client_address: "",
        with: "session",
        method: "POST",
        path: "/notifications/redeliver",
        status: done.as_ref().map_or_else(|problem| problem.status, |_| 200),
    };
    if let Err(error) = state.audit.record(Timestamp::now(), &record) {
        tracing::error!(%error, "could not record that a notification is sent again");
    }
    match done {
        Ok(_id) => Ok(Redirect::to("/notifications?done=redeliver").into_response()),
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => {
            shown(&state, &person, &Fields::parse(b""), (None, Some(problem))).await
        }
        Err(problem) => Err(PageError::of(&person)(problem)),
    }
}

async fn shown(
    state: &ApiState,
    person: &SignedIn,
    fields: &Fields,
    (done, problem): (Option<&'static str>, Option<Problem>),
) -> Answer {
    let text = |name: &str| fields.text(name).map(|text| text.trim().to_owned());
    let before = text("before").map(|before| before.parse::<i64>()).transpose();
    let before = before.map_err(|_invalid| Problem::bad_request("\"before\" is the number of a notification"));
    let query = DeliveryQuery {
        target: text("target"),
        state: text("state"),
        subject: text("subject"),
        before: before.map_err(PageError::of(person))?,
        limit: None,
    };
    let found = find(state, &person.principal, query.clone()).await.map_err(PageError::of(person))?;
    let backlog = state.notifier.outbox().backlog().await.map_err(ReviewError::from).map_err(PageError::of(person))?;
    let template = NotificationsPage {
        frame: Frame::load(state, person, "notifications").await.map_err(PageError::of(person))?,
        csrf: person.token.csrf(),
        targets: targets(&backlog),
        rows: found.notifications.into_iter().map(Row::of).collect(),
        states: DeliveryState::ALL
            .into_iter()
            .map(|state| (state.as_str(), query.state.as_deref() == Some(state.as_str())))
            .collect(),
        next: found.next.map(|next| older(&query, next)),
        target: query.target.unwrap_or_default(),
        subject: query.subject.unwrap_or_default(),
        done,
        problem: problem.as_ref().map(|problem| format!("{}.", problem.detail)),
    };
    let status = problem.map_or(200, |problem| problem.status);
    Ok(page(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), &template))
}

/// One row of each target.
fn targets(backlog: &[Backlog]) -> Vec<TargetRow> {
    let of = |waiting: &Backlog| TargetRow {
        name: sql::line(&waiting.target),
        waiting: waiting.count,
        oldest: waiting.oldest.map(time),
        dead: backlog
            .iter()
            .find(|one| one.target == waiting.target && one.state == DeliveryState::Dead)
            .map_or(0, |dead| dead.count),
    };
    backlog.iter().filter(|one| one.state == DeliveryState::Waiting).map(of).collect()
}

/// Where older ones are.
fn older(query: &DeliveryQuery, before: i64) -> String {
    let before = before.to_string();
    let given = [("target", &query.target), ("state", &query.state), ("subject", &query.subject)];
    let mut pairs: Vec<(&str, &str)> =
        given.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
    pairs.push(("before", &before));
    format!("/notifications?{}", Fields::encode(&pairs))
}
