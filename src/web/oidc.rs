//! Signing in on the page by the identity provider: where it begins, and where the provider leads people back to.
//!
//! Never tells who came back more than their own name there. Invariant: a session is opened only for a browser that began
//! the attempt itself, and every attempt that the provider was asked about is on record.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::login::{Next, record};
use super::pages::{LoginPage, page, problem_page};
use super::peer::client_address;
use super::session::{Jar, clear_cookie, cookie, local_path, set_cookie};
use super::{ApiState, Problem};
use crate::config::{Config, OidcConfig};
use crate::fault::with_causes;
use crate::identity::oidc::{Attempt, LEAD_BACK, OidcError, Said};
use crate::identity::people::{Admitted, NotAdmitted, admit};
use crate::review::ReviewError;

/// How the audit trail calls it.
const WITH: &str = "oidc";

/// `GET /login/oidc`.
pub(super) async fn begin(State(state): State<ApiState>, Query(query): Query<Next>) -> Response {
    let config = state.config.load_full();
    let Some(oidc) = &config.web.oidc else { return no_provider() };
    let next = query.next.unwrap_or_default();
    let attempt = Attempt::new();
    match state.provider.begin(oidc, &attempt, &lead_back(&state)).await {
        Ok(address) => {
            let value = format!("{}.{}", attempt.expose(), URL_SAFE_NO_PAD.encode(local_path(&next)));
            with_cookies(Redirect::to(&address).into_response(), &[set_cookie(&config, Jar::Attempt, &value)])
        }
        Err(error) => Refused::of(&config, oidc, local_path(&next)).because(&Why::Provider(error)),
    }
}

/// What the provider sends along with who comes back.
#[derive(Deserialize)]
pub(super) struct Back {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// `GET /login/oidc/callback`.
pub(super) async fn finish(State(state): State<ApiState>, Query(back): Query<Back>, request: Request) -> Response {
    let config = state.config.load_full();
    let Some(oidc) = &config.web.oidc else { return no_provider() };
    let (parts, _body) = request.into_parts();
    let begun = begun(&parts.headers, &config, back.state.as_deref());
    let next = begun.as_ref().map_or("/", |(_, next)| next).to_owned();
    let refused = Refused::of(&config, oidc, &next);
    let Some((attempt, _)) = begun else { return refused.because(&Why::NotBegun) };
    let from = client_address(&parts, &config);
    // An attempt is nobody's yet: only its address counts.
    let Some(turn) = state.failures.attempt(from, attempt.expose(), &config.limits).await else {
        return refused.because(&Why::TooMany);
    };
    let coming = Coming { state: &state, config: &config, oidc, attempt: &attempt, back: &back };
    match coming.admitted().await {
        Ok((person, said)) => {
            turn.succeeded();
            let person = (person, said);
            enter(&state, &parts, &config, person, &next).await.unwrap_or_else(|problem| problem_page(None, problem))
        }
        Err((why, who)) => {
            if why.is_theirs() {
                turn.failed();
                record(&state, &who, from, WITH, false);
            }
            refused.because(&why)
        }
    }
}

/// The attempt that this browser has begun, and where it leads; only if what came back belongs to it.
fn begun(headers: &HeaderMap, config: &Config, state: Option<&str>) -> Option<(Attempt, String)> {
    let (secret, next) = cookie(headers, Jar::Attempt.name(config))?.split_once('.')?;
    let attempt = Attempt::parse(secret).filter(|attempt| state.is_some_and(|state| attempt.is_state(state)))?;
    let next = URL_SAFE_NO_PAD.decode(next).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    Some((attempt, local_path(&next).to_owned()))
}

/// Somebody who comes back.
struct Coming<'a> {
    state: &'a ApiState,
    config: &'a Config,
    oidc: &'a OidcConfig,
    attempt: &'a Attempt,
    back: &'a Back,
}

impl Coming<'_> {
    /// Who they are; or why they are not let in, and what the provider calls them if it has said so.
    async fn admitted(&self) -> Result<(Admitted, Said), (Why, String)> {
        let Self { state, config, oidc, attempt, back } = *self;
        let nameless = |why| (why, String::new());
        if back.iss.as_ref().is_some_and(|iss| *iss != oidc.issuer) {
            return Err(nameless(Why::Provider(OidcError::Token("another issuer"))));
        }
        let code = match (&back.code, &back.error) {
            (Some(code), None) => code,
            (_, Some(error)) if error == "access_denied" => return Err(nameless(Why::Denied)),
            (_, _) => return Err(nameless(Why::Provider(OidcError::Unusable("answer")))),
        };
        let said = state.provider.finish(oidc, attempt, code, &lead_back(state)).await;
        let said = said.map_err(|error| nameless(Why::Provider(error)))?;
        match admit(config, oidc, &said) {
            Ok(person) => Ok((person, said)),
            Err(not) => Err((Why::NotAdmitted(not, said.who.clone()), said.who)),
        }
    }
}

/// Opens a session.
async fn enter(
    state: &ApiState,
    parts: &Parts,
    config: &Arc<Config>,
    (person, said): (Admitted, Said),
    next: &str,
) -> Result<Response, Problem> {
    if !record(state, &person.name, client_address(parts, config), WITH, true) {
        let detail = "Signing in could not be recorded; see the log of the proxy";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail));
    }
    let (lifetime, now) = (config.web.session_timeout, state.now());
    let who = (person.name.as_str(), person.credential);
    let opened = state.sessions.open_as(who, Some(said.groups), lifetime, now).await;
    let token = opened.map_err(ReviewError::from)?;
    state.review.refresh_people().await?;
    tracing::info!(with = WITH, "signed in on the page");
    let cookies = [set_cookie(config, Jar::Session, token.expose()), clear_cookie(config, Jar::Attempt)];
    Ok(with_cookies(Redirect::to(next).into_response(), &cookies))
}

/// Why somebody is not signed in.
enum Why {
    /// This browser has not begun it, or too long ago.
    NotBegun,
    TooMany,
    /// They, or the provider, did not want it.
    Denied,
    Provider(OidcError),
    /// And what the provider calls them.
    NotAdmitted(NotAdmitted, String),
}

impl Why {
    /// Whether it counts as a failure of who came back.
    fn is_theirs(&self) -> bool {
        match self {
            Self::NotBegun | Self::TooMany => false,
            Self::Denied | Self::NotAdmitted(..) => true,
            Self::Provider(error) => match error {
                OidcError::Unreachable(_) | OidcError::Away | OidcError::Unusable(_) | OidcError::ClientRefused => {
                    false
                }
                OidcError::CodeRefused | OidcError::Token(_) | OidcError::NoClaim(_) | OidcError::UnverifiedEmail => {
                    true
                }
            },
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotBegun => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied | Self::NotAdmitted(..) => StatusCode::FORBIDDEN,
            Self::Provider(error) => match error {
                OidcError::Unreachable(_) | OidcError::Away => StatusCode::SERVICE_UNAVAILABLE,
                OidcError::Unusable(_) | OidcError::ClientRefused => StatusCode::BAD_GATEWAY,
                OidcError::CodeRefused => StatusCode::BAD_REQUEST,
                OidcError::Token(_) => StatusCode::UNAUTHORIZED,
                OidcError::NoClaim(_) | OidcError::UnverifiedEmail => StatusCode::FORBIDDEN,
            },
        }
    }

    /// For the person.
    fn sentence(&self, provider: &str) -> String {
        match self {
            Self::NotBegun => "This sign-in was begun in another browser, or too long ago. Sign in again".to_owned(),
            Self::TooMany => "Too many attempts from your address have failed. Wait a minute".to_owned(),
            Self::Denied => format!("{provider} did not let you in"),
            Self::Provider(OidcError::Unreachable(_) | OidcError::Away) => {
                format!("{provider} does not answer at the moment. With a password or a token you can sign in here")
            }
            Self::Provider(OidcError::Unusable(_) | OidcError::ClientRefused) => {
                format!("{provider} and this proxy do not understand each other. An operator finds the reason in the log")
            }
            Self::Provider(OidcError::CodeRefused) => {
                format!("{provider} does not accept this sign-in any more: it took too long, or was used before. Sign in again")
            }
            Self::Provider(OidcError::Token(_)) => {
                format!("What {provider} says of you could not be verified. Sign in again; if it stays so, tell an operator")
            }
            Self::Provider(OidcError::NoClaim(claim)) => {
                format!("{provider} does not tell your \"{claim}\", by which people are known here. Tell an operator")
            }
            Self::Provider(OidcError::UnverifiedEmail) => {
                format!("{provider} has not verified your e-mail address, by which people are known here")
            }
            Self::NotAdmitted(NotAdmitted::Stranger, who) => {
                format!("{provider} knows you as {who}, but none of your groups there may sign in here. Ask an operator")
            }
            Self::NotAdmitted(NotAdmitted::NoGroups, who) => {
                format!("{provider} knows you as {who}, but does not tell your groups. Ask an operator to let you in")
            }
            Self::NotAdmitted(NotAdmitted::Taken, _) => {
                "There is a user by your name or e-mail address here who is not yet linked to you. Ask an operator to do so"
                    .to_owned()
            }
            Self::NotAdmitted(NotAdmitted::Name, _) => {
                format!("What {provider} calls you cannot be a name here. Ask an operator")
            }
        }
    }

    fn log(&self) {
        match self {
            Self::NotBegun | Self::TooMany | Self::Denied => {}
            Self::NotAdmitted(why, _) => tracing::info!(%why, "not let in by the identity provider"),
            Self::Provider(error) => {
                tracing::warn!(error = %with_causes(error), "could not sign somebody in by the identity provider");
            }
        }
    }
}

/// The page that people see who are not signed in.
struct Refused<'a> {
    config: &'a Config,
    oidc: &'a OidcConfig,
    next: &'a str,
}

impl<'a> Refused<'a> {
    fn of(config: &'a Config, oidc: &'a OidcConfig, next: &'a str) -> Self {
        Self { config, oidc, next }
    }

    fn because(&self, why: &Why) -> Response {
        why.log();
        let shown = LoginPage::again(self.config, self.next, "", why.sentence(&self.oidc.name));
        with_cookies(page(why.status(), &shown), &[clear_cookie(self.config, Jar::Attempt)])
    }
}

fn no_provider() -> Response {
    let detail = "People do not sign in by an identity provider here";
    problem_page(None, Problem::new(StatusCode::NOT_FOUND, "not-found", detail))
}

/// Where the provider leads people back to.
fn lead_back(state: &ApiState) -> String {
    format!("{}{LEAD_BACK}", state.pulse.public_url())
}

fn with_cookies(mut response: Response, cookies: &[String]) -> Response {
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}
