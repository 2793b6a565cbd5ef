//! `GET /api/v1/events`: what changes, as server-sent events.
//!
//! Never tells anybody of what they may not see, and nothing but ids and states. Invariant: a stream ends with the session
//! or the token it was opened with, and when the proxy does.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::caller::{Caller, Credentials};
use super::streams::Place;
use super::{ApiState, Problem};
use crate::identity::{Principal, Scope};
use crate::review::{Actor, Changed, ReviewError, Surface};

/// How often something is sent when nothing happens, and how soon an ended session is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How soon a browser comes back after the connection broke.
const RETRY: Duration = Duration::from_secs(3);

/// Set when the server is about to end.
#[derive(Clone)]
pub(super) struct Leaving(pub(super) watch::Receiver<bool>);

struct Watcher {
    state: ApiState,
    credentials: Credentials,
    changes: broadcast::Receiver<Changed>,
    leaving: watch::Receiver<bool>,
    _place: Place,
}

pub(super) async fn stream(
    State(state): State<ApiState>,
    Extension(Leaving(leaving)): Extension<Leaving>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let full = || {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Too many pages are open; reload this one later")
    };
    let place = state.streams.take(&caller.principal.name).ok_or_else(full)?;
    let changes = state.review.watch();
    let watcher = Watcher { state, credentials: caller.credentials, changes, leaving, _place: place };
    let first = Event::default().event("hello").retry(RETRY).data("{}");
    let events = unfold((Some(first), watcher), |(first, mut watcher)| async move {
        let event = match first {
            Some(first) => first,
            None => watcher.next().await?,
        };
        Some((Ok(event), (None, watcher)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

impl Watcher {
    /// The next event that is for this person; `None` when the stream is to end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            // Both are cancel safe: a change is taken or not, and the signal stays set.
            let changed = tokio::select! {
                changed = tokio::time::timeout(KEEP_ALIVE, self.changes.recv()) => changed,
                _leaving = self.leaving.wait_for(|leaving| *leaving) => return None,
            };
            let who = self.credentials.principal(&self.state).await?;
            match changed {
                Ok(Ok(Changed::Request(id))) => {
                    let actor = Actor { name: who.name, groups: who.groups, surface: Surface::Web };
                    match self.state.review.find(id, &actor).await {
                        Ok(request) => {
                            let data = serde_json::json!({ "id": id, "state": request.state });
                            return Some(Event::default().event("request").data(data.to_string()));
                        }
                        Err(ReviewError::NotFound) => {}
                        Err(_failed) => return Some(missed()),
                    }
                }
                Ok(Ok(Changed::Grants)) => return Some(Event::default().event("grants").data("{}")),
                Ok(Err(RecvError::Lagged(_))) => return Some(missed()),
                Ok(Err(RecvError::Closed)) => return None,
                Err(_elapsed) => {}
            }
        }
    }
}

/// Whoever watches has to look for themselves.
fn missed() -> Event {
    Event::default().event("missed").data("{}")
}

impl Credentials {
    /// Who they stand for now.
    async fn principal(&self, state: &ApiState) -> Option<Principal> {
        let (config, now) = (state.config.load_full(), state.now());
        match self {
            // A store that cannot be asked ends the stream; the page comes back.
            Self::Session(token) => state.sessions.find(&config, token, now).await.ok().flatten(),
            Self::Login(token) => {
                let found = state.sessions.find_program(&config, token, now).await.ok().flatten();
                found.filter(|person| person.may_use(Scope::RequestsRead))
            }
            Self::Token(credential) => {
                let person = config.users.iter().find_map(|user| credential.principal(user, now));
                person.filter(|person| person.may_use(Scope::RequestsRead))
            }
        }
    }
}
