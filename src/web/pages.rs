//! The pages: what people see and press.
//!
//! Never writes markup outside of templates, which escape whatever they are given. Never decides: forms are handed to
//! [`Review`](crate::review::Review). Invariant: every page works without scripts.

mod analytics;
mod audit;
mod card;
mod chart;
mod diff;
mod grants;
mod inbox;
mod notifications;
mod policy;
mod remarks;
mod request;
mod shown;
mod sql;

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::assets::{ICON, SCRIPT, STYLE};
use super::fields::Fields;
use super::session::SignedIn;
use super::{ApiState, Problem};
use crate::config::Config;
use crate::review::ReviewError;

pub(super) use analytics::analytics;
pub(super) use audit::{audit, audit_record};
pub(super) use grants::{ask_grant, back_to_grants, decide_grant, grants};
pub(super) use inbox::{inbox, requests};
pub(super) use notifications::{back_to_notifications, notifications, redeliver};
pub(super) use policy::{back_to_policy, policy, set_stage};
pub(super) use remarks::{comment, justify};
pub(super) use request::{back_to, back_to_request, decide, show};

/// What a page may load and where its forms may lead: nothing but our own.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The same, for a page whose form may lead to that origin besides.
pub(super) fn policy_with(origin: &str) -> String {
    CONTENT_SECURITY_POLICY.replace("form-action 'self'", &format!("form-action 'self' {origin}"))
}

/// What all pages have around them.
pub(super) struct Frame {
    me: Option<Me>,
    here: &'static str,
}

/// Who looks.
struct Me {
    name: String,
    groups: String,
    csrf: String,
    /// Requests that wait for this person.
    waiting: Option<String>,
    /// Whether the audit trail is open to this person.
    reads_audit: bool,
    /// Whether this person looks after the proxy.
    configures: bool,
}

impl Frame {
    /// Around what strangers see.
    fn bare() -> Self {
        Self { me: None, here: "" }
    }

    fn of(person: &SignedIn, waiting: u32, here: &'static str) -> Self {
        let me = Me {
            reads_audit: person.reads_audit,
            configures: person.configures,
            name: person.principal.name.clone(),
            groups: person.principal.groups.join(", "),
            csrf: person.token.csrf(),
            waiting: (waiting > 0).then(|| inbox::counted(waiting)),
        };
        Self { me: Some(me), here }
    }

    /// For somebody who is signed in, with the number of requests that wait for them.
    async fn load(state: &ApiState, person: &SignedIn, here: &'static str) -> Result<Self, ReviewError> {
        let waiting = inbox::waiting(state, person, 0).await?;
        Ok(Self::of(person, waiting.count, here))
    }

    fn style(&self) -> String {
        STYLE.url()
    }

    fn script(&self) -> String {
        SCRIPT.url()
    }

    fn icon(&self) -> String {
        ICON.url()
    }
}

#[derive(Template)]
#[template(path = "login.html")]
pub(super) struct LoginPage {
    frame: Frame,
    problem: Option<String>,
    name: String,
    next: String,
    /// Where else people can sign in: what it is called, and where that begins.
    provider: Option<(String, String)>,
}

impl LoginPage {
    pub(super) fn new(config: &Config, next: &str) -> Self {
        let begin = format!("/login/oidc?{}", Fields::encode(&[("next", next)]));
        let provider = config.web.oidc.as_ref().map(|oidc| (oidc.name.clone(), begin));
        Self { frame: Frame::bare(), problem: None, name: String::new(), next: next.to_owned(), provider }
    }

    /// After an attempt under that name.
    pub(super) fn again(config: &Config, next: &str, name: &str, problem: String) -> Self {
        Self { problem: Some(problem), name: name.to_owned(), ..Self::new(config, next) }
    }
}

/// Where `countersign login` leads.
#[derive(Template)]
#[template(path = "password.html")]
pub(super) struct PasswordPage {
    frame: Frame,
    name: String,
    csrf: String,
    /// Whether the configuration has a password of this person.
    own: bool,
    /// Where the program waits.
    port: Option<u16>,
    state: String,
    code: Option<String>,
    ended: bool,
}

impl PasswordPage {
    fn of(person: &SignedIn) -> Self {
        Self {
            frame: Frame::of(person, 0, ""),
            name: person.principal.name.clone(),
            csrf: person.token.csrf(),
            own: false,
            port: None,
            state: String::new(),
            code: None,
            ended: false,
        }
    }

    /// Asks whether a program is to have a password.
    pub(super) fn asked(person: &SignedIn, own: bool, port: Option<u16>, state: &str) -> Self {
        Self { own, port, state: state.to_owned(), ..Self::of(person) }
    }

    /// Shows a code for it.
    pub(super) fn given(person: &SignedIn, code: String) -> Self {
        Self { code: Some(code), ..Self::of(person) }
    }

    /// There is none any more.
    pub(super) fn ended(person: &SignedIn) -> Self {
        Self { ended: true, ..Self::of(person) }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    problem: Problem,
}

/// Shows a page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    let Ok(text) = template.render() else {
        tracing::error!("could not render page");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, Html(text)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Shows that something could not be done.
pub(super) fn problem_page(person: Option<&SignedIn>, problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let frame = person.map_or_else(Frame::bare, |person| Frame::of(person, 0, ""));
    page(status, &ProblemPage { frame, problem })
}

/// What a handler of a page answers.
type Answer = Result<Response, PageError>;

/// Why a page cannot be shown.
pub(super) struct PageError {
    person: SignedIn,
    problem: Problem,
}

impl PageError {
    /// For that person.
    fn of<E: Into<Problem>>(person: &SignedIn) -> impl FnOnce(E) -> Self {
        let person = person.clone();
        move |error| Self { person, problem: error.into() }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        problem_page(Some(&self.person), self.problem)
    }
}
