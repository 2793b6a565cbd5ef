//! `Idempotency-Key`: a call that is sent again is not done again.
//!
//! Never does a call whose key the caller has used for something else. Invariant: of one caller and key one call is done,
//! whichever proxies of the store it comes to; who sends it again gets the answer of the first.

use axum::body::{self, Body};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::caller::Caller;
use super::{ApiState, BODY_BYTES_MAX, Problem};
use crate::review::ReviewError;
use crate::store::{Answered, Begun, Call};

/// The header with the key.
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is that of an earlier call.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Longest key, in bytes.
const KEY_LEN_MAX: usize = 255;
/// Longest answer that is kept.
const ANSWER_LEN_MAX: usize = 256 << 10;

/// Does a call, or answers as it was answered before.
pub(super) async fn done_once(state: &ApiState, caller: &Caller, request: Request, next: Next) -> Response {
    let key = match key_of(request.headers()) {
        Ok(Some(key)) if !request.method().is_safe() => key,
        Ok(_) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    match begin(state, caller, &key, request).await {
        Ok((Begun::New, call, request)) => finish(state, call, next.run(request).await).await,
        Ok((Begun::Answered(answered), ..)) => again(answered),
        Ok((Begun::Open, ..)) => {
            let detail =
                "A call with this key was begun and its end is not known: look before you send it again with another";
            Problem::new(StatusCode::CONFLICT, "call-open", detail).into_response()
        }
        Ok((Begun::Other, ..)) => {
            let detail = "This key was used for another call; take a new one for each";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail).into_response()
        }
        Ok((Begun::TooMany, ..)) => {
            let detail = "Too many keys were used within a day; send the call without one, or wait";
            Problem::new(StatusCode::CONFLICT, "too-many", detail).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(KEY).iter();
    let (first, second) = (given.next(), given.next());
    let Some(first) = first else { return Ok(None) };
    let text = first.to_str().ok().filter(|text| fits(text));
    match (text, second) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        _ => {
            Err(Problem::bad_request("Send one Idempotency-Key of at most 255 characters, all of them printable ASCII"))
        }
    }
}

fn fits(key: &str) -> bool {
    (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Notes the call; what it was about can be read again.
async fn begin(
    state: &ApiState,
    caller: &Caller,
    key: &str,
    request: Request,
) -> Result<(Begun, Call, Request), Problem> {
    let (parts, body) = request.into_parts();
    let bytes = body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_error| Problem::too_large())?;
    let media = parts.headers.get(header::CONTENT_TYPE).map_or(b"".as_slice(), HeaderValue::as_bytes);
    let call = Call {
        caller: caller.principal.name.clone(),
        key: digest(&[key.as_bytes()]),
        request: digest(&[parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), media, &bytes]),
    };
    let now = state.review.time(Timestamp::now());
    let ends_at = now.checked_add(KEPT).unwrap_or(Timestamp::MAX);
    let begun = state.callers.begin_call(call.clone(), now, ends_at).await.map_err(ReviewError::from)?;
    Ok((begun, call, Request::from_parts(parts, Body::from(bytes))))
}

/// What is kept of an answer, where its status alone does not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The call may be sent again.
    Nothing,
    /// That there was one.
    Fact,
    /// All of it.
    Answer,
}

/// Notes the answer. What failed on our side is forgotten: it may be sent again.
async fn finish(state: &ApiState, call: Call, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    // An answer of ours is as long as what it tells of.
    let Ok(bytes) = body::to_bytes(body, usize::MAX).await else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The answer broke off").into_response();
    };
    let status = parts.status;
    let is_failure = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
    let by_status = if is_failure { Keep::Nothing } else { Keep::Answer };
    let body = || std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= ANSWER_LEN_MAX).map(str::to_owned);
    let answered = match parts.extensions.get().copied().unwrap_or(by_status) {
        Keep::Nothing => None,
        Keep::Fact => Some(Answered { status: status.as_u16(), body: None }),
        Keep::Answer => Some(Answered { status: status.as_u16(), body: body() }),
    };
    if let Err(error) = state.callers.end_call(call, answered).await {
        tracing::warn!(%error, "could not keep the answer of a call");
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The answer of the first call.
fn again(answered: Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let Some(body) = answered.body else {
        let detail = "The call was done; its answer was not kept, so look at what it was about";
        return Problem::new(StatusCode::CONFLICT, "call-done", detail).into_response();
    };
    let media = if status.is_success() { "application/json" } else { "application/problem+json" };
    let headers = [(header::CONTENT_TYPE, media), (REPLAYED, "true")];
    (status, headers, body).into_response()
}

/// One digest of several texts, none of which can run into the next.
fn digest(texts: &[&[u8]]) -> [u8; 32] {
    let mut all = Sha256::new();
    for text in texts {
        all.update((text.len() as u64).to_be_bytes());
        all.update(text);
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_once_and_is_short() {
        let mut headers = HeaderMap::new();
        assert_eq!(key_of(&headers), Ok(None));
        headers.insert(KEY, "7 of \"nine\"".parse().unwrap());
        assert_eq!(key_of(&headers), Ok(Some("7 of \"nine\"".to_owned())));
        headers.append(KEY, "8".parse().unwrap());
        assert!(key_of(&headers).is_err());
        for bad in ["".to_owned(), "a\tkey".to_owned(), "x".repeat(256)] {
            headers.insert(KEY, bad.parse().unwrap());
            assert!(key_of(&headers).is_err());
        }
    }

    #[test]
    fn texts_do_not_run_together() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
