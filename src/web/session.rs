//! People who are signed in on the page: the cookie, and what tells a form of ours from one of another site.
//!
//! Never lets another site act for somebody: a form counts only with the session's own token in it and from our own origin.
//! Invariant: the cookie is out of reach of scripts and, where the page is served by https, of plain http.

use axum::extract::{FromRequest, FromRequestParts, RawForm, Request};
use axum::http::header::{self, HeaderMap};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

use super::fields::Fields;
use super::pages::problem_page;
use super::{ApiState, Problem};
use crate::config::Config;
use crate::identity::sessions::SessionToken;
use crate::identity::{Principal, Scope};
use crate::review::{Actor, ReviewError, Surface};

/// How long somebody may take to sign in at the identity provider, in seconds.
const ATTEMPT_S: u64 = 600;

/// Where scripts of our pages send the session's own token.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct SignedIn {
    pub(super) principal: Principal,
    pub(super) token: SessionToken,
    /// Whether the audit trail is open to this person.
    pub(super) reads_audit: bool,
    /// Whether this person looks after the proxy.
    pub(super) configures: bool,
}

impl SignedIn {
    /// Who the cookie of a request belongs to.
    pub(super) async fn find(parts: &Parts, state: &ApiState) -> Result<Option<Self>, Problem> {
        let config = state.config.load_full();
        let token = cookie(&parts.headers, Jar::Session.name(&config)).and_then(SessionToken::parse);
        let Some(token) = token else { return Ok(None) };
        let found = state.sessions.find(&config, &token, state.now()).await.map_err(ReviewError::from)?;
        Ok(found.map(|principal| {
            let reads_audit = state.review.reads_audit(&principal.groups) && principal.may_use(Scope::AuditRead);
            let configures = state.review.configures(&principal.groups) && principal.may_use(Scope::Admin);
            Self { principal, token, reads_audit, configures }
        }))
    }

    pub(super) fn is_csrf(&self, given: Option<&str>) -> bool {
        given.is_some_and(|given| self.token.is_csrf(given))
    }

    pub(super) fn actor(&self) -> Actor {
        let Principal { name, groups, .. } = self.principal.clone();
        Actor { name, groups, surface: Surface::Web }
    }
}

impl FromRequestParts<ApiState> for SignedIn {
    type Rejection = Response;

    /// Who is not signed in is asked to, and led back.
    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        let found = Self::find(parts, state).await.map_err(|problem| problem_page(None, problem))?;
        let person = found.ok_or_else(|| {
            let asked = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            let next = if parts.method.is_safe() { asked } else { "/" };
            Redirect::to(&login_url(next)).into_response()
        })?;
        let need = scope_of_page(&parts.method, parts.uri.path());
        if need.is_some_and(|need| !person.principal.may_use(need)) {
            let detail = "The token that you have signed in with is not for this";
            return Err(problem_page(Some(&person), Problem::new(StatusCode::FORBIDDEN, "no-scope", detail)));
        }
        Ok(person)
    }
}

/// What a session that was opened with a token must be for to use a page; a page that is not known here is for tokens for
/// everything.
fn scope_of_page(method: &Method, path: &str) -> Option<Scope> {
    let mut parts = path.trim_start_matches('/').split('/');
    let (place, verb) = (parts.next().unwrap_or_default(), parts.nth(1));
    Some(match (place, method.is_safe(), verb) {
        ("logout", _, _) => return None,
        ("" | "requests", true, _) | ("analytics", true, None) => Scope::RequestsRead,
        ("requests", false, Some("cancel" | "comment" | "comments" | "justify")) => Scope::RequestsWrite,
        ("requests", false, Some("approve" | "reject" | "revoke" | "edit" | "force")) => Scope::RequestsDecide,
        ("grants", true, _) => Scope::GrantsRead,
        ("grants", false, None | Some("cancel")) => Scope::GrantsWrite,
        ("grants", false, Some("approve" | "reject" | "revoke")) => Scope::GrantsDecide,
        ("audit", true, _) => Scope::AuditRead,
        ("databases" | "rules" | "masks" | "policy", true, _) => Scope::PolicyRead,
        _ => Scope::Admin,
    })
}

/// A form that somebody who is signed in has sent from a page of ours.
pub(super) struct Submitted {
    pub(super) person: SignedIn,
    pub(super) fields: Fields,
}

impl FromRequest<ApiState> for Submitted {
    type Rejection = Response;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let person = SignedIn::from_request_parts(&mut parts, state).await?;
        let same_site = is_same_site(&parts, &state.config.load());
        let fields = read_form(Request::from_parts(parts, body), state).await?;
        if !same_site || !person.is_csrf(fields.get("csrf")) {
            let detail =
                "This form was not sent from a page of your present session. Go back, reload the page and try again";
            return Err(problem_page(Some(&person), Problem::new(StatusCode::FORBIDDEN, "cross-site", detail)));
        }
        Ok(Self { person, fields })
    }
}

/// The fields of a form.
pub(super) async fn read_form(request: Request, state: &ApiState) -> Result<Fields, Response> {
    let RawForm(bytes) = RawForm::from_request(request, state).await.map_err(|_rejection| {
        problem_page(None, Problem::bad_request("The form could not be read, or is larger than 64 KiB"))
    })?;
    Ok(Fields::parse(&bytes))
}

/// Whether a request that changes something comes from a page of ours, as far as the browser says where it comes from.
pub(super) fn is_same_site(parts: &Parts, config: &Config) -> bool {
    let text = |name: HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = text(header::ORIGIN) else { return true };
    let ours = origin_of(&config.web.public_url).is_some_and(|ours| ours.eq_ignore_ascii_case(origin));
    let host = text(header::HOST).unwrap_or_default();
    let here = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    ours || here
}

fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// Where to sign in, and where that leads afterwards.
pub(super) fn login_url(next: &str) -> String {
    if next == "/" { "/login".to_owned() } else { format!("/login?{}", Fields::encode(&[("next", next)])) }
}

/// A path on this site, or the inbox.
pub(super) fn local_path(next: &str) -> &str {
    let own =
        next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && !next.contains(char::is_control);
    if own { next } else { "/" }
}

/// What a cookie of ours holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Jar {
    /// The token of a session.
    Session,
    /// An attempt to sign in by the identity provider.
    Attempt,
}

impl Jar {
    pub(super) fn name(self, config: &Config) -> &'static str {
        match (self, is_https(config)) {
            (Self::Session, true) => "__Host-countersign",
            (Self::Session, false) => "countersign",
            (Self::Attempt, true) => "__Host-countersign-attempt",
            (Self::Attempt, false) => "countersign-attempt",
        }
    }

    fn age(self, config: &Config) -> u64 {
        match self {
            Self::Session => config.web.session_timeout.as_secs(),
            Self::Attempt => ATTEMPT_S,
        }
    }
}

/// The header that gives somebody a cookie.
pub(super) fn set_cookie(config: &Config, jar: Jar, value: &str) -> String {
    cookie_text(config, jar, value, jar.age(config))
}

/// The header that takes it away.
pub(super) fn clear_cookie(config: &Config, jar: Jar) -> String {
    cookie_text(config, jar, "", 0)
}

fn cookie_text(config: &Config, jar: Jar, value: &str, age: u64) -> String {
    let secure = if is_https(config) { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}", jar.name(config))
}

pub(super) fn is_https(config: &Config) -> bool {
    config.web.public_url.starts_with("https://")
}

/// The value of a cookie that came once.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], want: bool) {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let config = crate::review::fixture::config("alice:engineering");
        assert_eq!(is_same_site(&parts, &config), want, "{headers:?}");
    }

    #[test]
    fn a_page_needs_what_its_calls_need() {
        for (method, path, want) in [
            (Method::GET, "/", Some(Scope::RequestsRead)),
            (Method::GET, "/requests/01", Some(Scope::RequestsRead)),
            (Method::POST, "/requests/01/approve", Some(Scope::RequestsDecide)),
            (Method::POST, "/requests/01/cancel", Some(Scope::RequestsWrite)),
            (Method::POST, "/requests/01/whatever", Some(Scope::Admin)),
            (Method::POST, "/grants", Some(Scope::GrantsWrite)),
            (Method::POST, "/grants/01/revoke", Some(Scope::GrantsDecide)),
            (Method::POST, "/rules", Some(Scope::Admin)),
            (Method::GET, "/audit", Some(Scope::AuditRead)),
            (Method::GET, "/unheard-of", Some(Scope::Admin)),
            (Method::POST, "/logout", None),
        ] {
            assert_eq!(scope_of_page(&method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn only_our_own_pages_are_the_same_site() {
        check(&[("origin", "https://countersign.example.com"), ("host", "10.0.0.5:8543")], true);
        check(&[("origin", "http://127.0.0.1:8543"), ("host", "127.0.0.1:8543")], true);
        check(&[("origin", "https://evil.example"), ("host", "127.0.0.1:8543")], false);
        check(&[("origin", "null"), ("host", "127.0.0.1:8543")], false);
        check(&[("origin", "http://127.0.0.1:9"), ("host", "127.0.0.1:8543")], false);
        check(&[("origin", "https://countersign.example.com.evil.example"), ("host", "x")], false);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "https://seen.otherwise")], true);
        check(&[("sec-fetch-site", "same-site"), ("origin", "https://countersign.example.com")], false);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[], true);
    }

    #[test]
    fn nobody_is_led_to_another_site() {
        for (next, want) in [
            ("/requests/01", "/requests/01"),
            ("/requests?user=a", "/requests?user=a"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("", "/"),
            ("/a\r\nb", "/"),
        ] {
            assert_eq!(local_path(next), want);
        }
    }

    #[test]
    fn a_cookie_that_comes_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; countersign=x".parse().unwrap());
        assert_eq!(cookie(&headers, "countersign"), Some("x"));
        headers.append(header::COOKIE, "countersign=y".parse().unwrap());
        assert_eq!(cookie(&headers, "countersign"), None);
        assert_eq!(cookie(&headers, "sign"), None);
    }
}
