//! What Slack calls: buttons and dialogs (`/slack/interactions`), and the command (`/slack/commands`).
//!
//! Never does anything before it answers: Slack waits three seconds. Never takes a call that Slack has not signed in the last
//! five minutes, nor the same call twice, by whichever proxy. Invariant: what is answered says nothing of what is done.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::fields::Fields;
use super::{ApiState, Problem};
use crate::notify::slack::desk::Deed;
use crate::notify::slack::signature::{AGE_MAX, verified};
use crate::review::ReviewError;
use crate::store::{Begun, Call};

/// As what its calls are kept: no user has such a name, so that none can use up the room for them.
const CALLER: &str = "\u{1}slack";

/// `POST /slack/interactions`.
pub(super) async fn interactions(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    admit(&state, &headers, &body).await?;
    let fields = Fields::parse(&body);
    let payload: Value = serde_json::from_str(fields.get("payload").unwrap_or_default())
        .map_err(|_error| Problem::bad_request("The payload is not JSON"))?;
    let is_taken = Deed::of_interaction(&payload).is_none_or(|deed| state.notifier.do_later(deed));
    if is_taken { Ok(StatusCode::OK.into_response()) } else { Err(busy()) }
}

/// `POST /slack/commands`.
pub(super) async fn commands(
    State(state): State<ApiState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    admit(&state, &headers, &body).await?;
    let fields = Fields::parse(&body);
    let deed = Deed::of_command(|name| fields.get(name).map(str::to_owned));
    let deed = deed.ok_or_else(|| Problem::bad_request("This is not a command as Slack sends it"))?;
    if state.notifier.do_later(deed) {
        return Ok(StatusCode::OK.into_response());
    }
    Ok(Json(json!({"response_type": "ephemeral", "text": "Too much is going on; try again in a moment."}))
        .into_response())
}

fn busy() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much is going on; try again in a moment")
}

/// Whether Slack has signed this, lately, and it did not come before.
async fn admit(state: &ApiState, headers: &HeaderMap, body: &Bytes) -> Result<(), Problem> {
    let secret = state.config.load().notify.slack.as_ref().and_then(|slack| slack.signing_secret.clone());
    let Some(secret) = secret else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "not-found", "Slack is not configured to call this proxy"));
    };
    let header = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().and_then(|value| value.to_str().ok());
        if values.next().is_some() { "" } else { first.unwrap_or_default() }
    };
    let said = (header("x-slack-request-timestamp"), header("x-slack-signature"));
    let refused =
        || Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Slack has not signed this call, or long ago");
    let key = verified(&secret, said, body, Timestamp::now()).ok_or_else(refused)?;
    let now = state.now();
    let call = Call { caller: CALLER.to_owned(), key, request: key };
    // Kept for as long as the call could come again.
    let ends_at = now.checked_add(AGE_MAX * 3).unwrap_or(Timestamp::MAX);
    match state.callers.begin_call(call, now, ends_at).await.map_err(ReviewError::from)? {
        Begun::New => Ok(()),
        Begun::Answered(_) | Begun::Open | Begun::Other => {
            Err(Problem::new(StatusCode::CONFLICT, "replayed", "This call has come before"))
        }
        Begun::TooMany => Err(busy()),
    }
}
