//! Lists of requests: what waits for whoever looks, and all that they may see.
//!
//! Never lists what somebody may not see.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use jiff::Timestamp;

use super::shown::Item;
use super::{Answer, Frame, PageError, page};
use crate::review::{AccessRequest, ReviewError, State as RequestState};
use crate::store::{Filter, PAGE_MAX, Viewer, WAITING_MAX, WaitingOn};
use crate::web::ApiState;
use crate::web::api::{parse_id, parse_status};
use crate::web::fields::Fields;
use crate::web::session::SignedIn;

/// Decided requests that the inbox shows.
const RECENT: u32 = 8;
/// Requests that wait for whoever looks that the inbox shows.
const MINE_MAX: u32 = 100;
/// Requests of others that the inbox shows.
const OTHERS_MAX: usize = 50;
/// Requests on a page of the list.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "inbox.html")]
struct InboxPage {
    frame: Frame,
    mine: Vec<Item>,
    /// How many there are in all.
    count: String,
    /// How many of them are not on the page.
    hidden: usize,
    others: Vec<Item>,
    recent: Vec<Item>,
}

#[derive(Template)]
#[template(path = "requests.html")]
struct RequestsPage {
    frame: Frame,
    items: Vec<Item>,
    states: Vec<(&'static str, bool)>,
    database: String,
    user: String,
    me_query: String,
    next: Option<String>,
}

/// What may be seen by somebody, for a filter.
fn visible_to(state: &ApiState, person: &SignedIn) -> Option<Viewer> {
    state.review.viewer(&person.principal.name, &person.principal.groups)
}

async fn pending(state: &ApiState, person: &SignedIn) -> Result<Vec<AccessRequest>, ReviewError> {
    let filter = Filter {
        state: Some(RequestState::Pending),
        visible_to: visible_to(state, person),
        limit: PAGE_MAX,
        ..Filter::default()
    };
    state.review.list(filter).await
}

/// What waits for somebody: how much, and the first of it, that with the least time left first.
pub(super) async fn waiting(state: &ApiState, person: &SignedIn, limit: u32) -> Result<WaitingOn, ReviewError> {
    let viewer = state.review.member(&person.principal.name, &person.principal.groups);
    state.review.waiting_on(viewer, Timestamp::now(), limit).await
}

/// The newest that wait for others.
async fn on_others(state: &ApiState, person: &SignedIn) -> Result<Vec<AccessRequest>, ReviewError> {
    let (now, actor) = (Timestamp::now(), person.actor());
    let mut requests = pending(state, person).await?;
    requests.retain(|request| state.review.choices(request, &actor, now).approve.is_err());
    requests.truncate(OTHERS_MAX);
    Ok(requests)
}

/// A number as it is shown: what is not counted further is said to be more.
pub(super) fn counted(count: u32) -> String {
    if count < WAITING_MAX { count.to_string() } else { format!("{}+", WAITING_MAX - 1) }
}

/// `GET /`.
pub(in crate::web) async fn inbox(State(state): State<ApiState>, person: SignedIn) -> Answer {
    let failed = || PageError::of(&person);
    let mine = waiting(&state, &person, MINE_MAX).await.map_err(failed())?;
    let others = on_others(&state, &person).await.map_err(failed())?;
    let filter = Filter { visible_to: visible_to(&state, &person), limit: RECENT * 4, ..Filter::default() };
    let mut recent = state.review.list(filter).await.map_err(failed())?;
    recent.retain(|request| request.state != RequestState::Pending);
    recent.truncate(RECENT as usize);
    let now = state.review.time(Timestamp::now());
    let items = |requests: &[AccessRequest]| requests.iter().map(|request| Item::of(request, now)).collect::<Vec<_>>();
    let count = counted(mine.count);
    let hidden = mine.count as usize - mine.first.len().min(mine.count as usize);
    let frame = Frame::of(&person, mine.count, "inbox");
    let mine = items(&mine.first);
    let shown = InboxPage { frame, mine, count, hidden, others: items(&others), recent: items(&recent) };
    Ok(page(StatusCode::OK, &shown))
}

/// `GET /requests`.
pub(in crate::web) async fn requests(
    State(state): State<ApiState>,
    person: SignedIn,
    RawQuery(query): RawQuery,
) -> Answer {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let status = fields.text("status").map(|status| parse_status(&status)).transpose();
    let status = status.map_err(PageError::of(&person))?;
    let after = fields.text("after").map(|after| parse_id(&after)).transpose();
    let filter = Filter {
        state: status,
        database: fields.text("database"),
        user: fields.text("user"),
        visible_to: visible_to(&state, &person),
        after: after.map_err(PageError::of(&person))?,
        limit: PAGE,
    };
    let (database, user) = (filter.database.clone().unwrap_or_default(), filter.user.clone().unwrap_or_default());
    let found = state.review.list(filter).await.map_err(PageError::of(&person))?;
    let now = state.review.time(Timestamp::now());
    let more = found.last().filter(|_| found.len() == PAGE as usize).map(|last| {
        let state = status.map_or("", |status| status.as_str());
        let pairs = [("status", state), ("database", &database), ("user", &user), ("after", &last.id.to_string())];
        format!("/requests?{}", Fields::encode(&pairs))
    });
    let shown = RequestsPage {
        frame: Frame::load(&state, &person, "requests").await.map_err(PageError::of(&person))?,
        items: found.iter().map(|request| Item::of(request, now)).collect(),
        states: RequestState::ALL.iter().map(|state| (state.as_str(), Some(*state) == status)).collect(),
        database,
        user,
        me_query: Fields::encode(&[("user", &person.principal.name)]),
        next: more,
    };
    Ok(page(StatusCode::OK, &shown))
}
