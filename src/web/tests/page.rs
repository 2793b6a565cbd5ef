//! The page, as browsers without scripts see it.

use reqwest::redirect::Policy as Redirects;
use reqwest::{Method, Response};

use super::*;
use crate::config::{Secret, WebPassword};
use crate::review::NewRequest;
use crate::web::fields::Fields;

/// Markup in every place that a requester can write to.
pub(super) const NASTY: &str = "</code><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}";

/// A browser with its cookies.
pub(super) struct Browser<'a> {
    site: &'a Site,
    client: reqwest::Client,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(site: &'a Site) -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Redirects::none()).build().unwrap();
        Self { site, client, cookie: None }
    }

    /// Somebody who has signed in with their password.
    pub(super) async fn signed_in(site: &'a Site, name: &str) -> Self {
        let mut browser = Self::new(site);
        let response = browser.sign_in(name, &format!("{name}-secret")).await;
        assert_eq!(response.status(), 303, "{name}");
        browser
    }

    pub(super) async fn sign_in(&mut self, name: &str, password: &str) -> Response {
        let response = self.post("/login", &[("name", name), ("password", password), ("next", "/requests")]).await;
        if let Some(cookie) = response.headers().get("set-cookie") {
            self.cookie = Some(cookie.to_str().unwrap().split(';').next().unwrap().to_owned());
        }
        response
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.site.address));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub(super) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.request(Method::GET, path).send().await.unwrap();
        let status = response.status().as_u16();
        if status == 200 || status == 404 {
            let policy = response.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        }
        (status, response.text().await.unwrap())
    }

    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let request = self.request(Method::POST, path).body(Fields::encode(fields));
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    }

    /// The value of a hidden field on a page.
    pub(super) async fn hidden(&self, path: &str, name: &str) -> String {
        let (_, text) = self.get(path).await;
        let start = format!("name=\"{name}\" value=\"");
        let rest = &text[text.find(&start).unwrap_or_else(|| panic!("no {name} on {path}: {text}")) + start.len()..];
        rest[..rest.find('"').unwrap()].to_owned()
    }

    /// Sends the form of a request's page as it stands, with these fields besides.
    async fn decide(&self, id: &str, verb: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let path = format!("/requests/{id}");
        let (csrf, seen) = (self.hidden(&path, "csrf").await, self.hidden(&path, "seen").await);
        let fields: Vec<_> = [("csrf", csrf.as_str()), ("seen", seen.as_str())].iter().chain(fields).copied().collect();
        let response = self.post(&format!("{path}/{verb}"), &fields).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

/// A site whose people have passwords: their names and `-secret`.
pub(super) async fn site() -> Site {
    let site = Site::start().await;
    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    for user in &mut config.users {
        user.web_password = Some(WebPassword::Clear(Secret::new(format!("{}-secret", user.name))));
    }
    config.web.public_url = format!("http://{}", site.address);
    site.bench.config.store(Arc::new(config));
    site
}

async fn hold(site: &Site, new: NewRequest) -> (String, Waiting) {
    match site.bench.review.open(new, Timestamp::now()).await.unwrap() {
        Opened::Waiting(waiting) => (waiting.request.id.to_string(), waiting),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_signs_in_gets_a_cookie_that_no_script_can_read() {
    let site = site().await;
    let mut browser = Browser::new(&site);
    let away = browser.request(Method::GET, "/requests/01ABC").send().await.unwrap();
    assert_eq!(away.status(), 303);
    assert_eq!(away.headers()["location"], "/login?next=%2Frequests%2F01ABC");
    for (name, password) in [("bob", "wrong"), ("nobody", "bob-secret"), ("bob", ""), ("", "")] {
        let refused = browser.sign_in(name, password).await;
        assert_eq!(refused.status(), 401, "{name}");
        assert!(refused.headers().get("set-cookie").is_none());
        assert!(refused.text().await.unwrap().contains("Name or password is wrong"));
    }
    let response = browser.sign_in("bob", "bob-secret").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax; Max-Age=43200") && !cookie.contains("Secure"), "{cookie}");
    assert_eq!(response.headers()["location"], "/requests");
    assert_eq!(browser.get("/").await.0, 200);
    let csrf = browser.hidden("/", "csrf").await;
    assert_eq!(browser.post("/logout", &[("csrf", &csrf)]).await.status(), 303);
    assert_eq!(browser.get("/").await.0, 303, "the session has ended, whoever still has the cookie");
    site.stop().await;
}

#[tokio::test]
async fn behind_https_the_cookie_stays_there() {
    let site = site().await;
    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    config.users[1].web_password = Some(WebPassword::Argon2(crate::identity::password::hash("good").unwrap()));
    site.bench.config.store(Arc::new(config));
    let mut browser = Browser::new(&site);
    let response = browser.sign_in("bob", "good").await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-countersign=") && cookie.ends_with("; Secure"), "{cookie}");
    site.stop().await;
}

#[tokio::test]
async fn a_token_opens_a_session_too_and_failures_count() {
    let site = site().await;
    let browser = Browser::new(&site);
    let accepted = browser.post("/login", &[("token", "bob-token"), ("next", "//evil.example")]).await;
    assert_eq!(accepted.status(), 303);
    assert_eq!(accepted.headers()["location"], "/");
    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    config.limits.failures_per_address = 3;
    site.bench.config.store(Arc::new(config));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(browser.post("/login", &[("token", "guess")]).await.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429]);
    site.stop().await;
}

#[tokio::test]
async fn an_approval_on_the_page_releases_the_statement() {
    let site = site().await;
    let (id, mut waiting) = site.hold("dba").await;
    let bob = Browser::signed_in(&site, "bob").await;
    let (_, inbox) = bob.get("/").await;
    assert!(inbox.contains(&format!("href=\"/requests/{id}\"")) && inbox.contains("Waiting on you"), "{inbox}");
    let (status, page) = bob.get(&format!("/requests/{id}")).await;
    assert_eq!(status, 200);
    for part in ["update on public.t", "<span class=\"k\">UPDATE</span>", "alice", "int4", "<em>NULL</em>", "U+202E"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(bob.decide(&id, "approve", &[("reason", "fine")]).await.0, 303);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    let request = site.bench.review.get(waiting.request.id).await.unwrap();
    assert_eq!(request.votes[0].surface, crate::review::Surface::Web);
    assert_eq!(request.votes[0].reason.as_deref(), Some("fine"));
    let (_, page) = bob.get(&format!("/requests/{id}?done=approve")).await;
    assert!(page.contains("You approved it.") && !page.contains("class=\"go\""), "{page}");
    site.stop().await;
}

#[tokio::test]
async fn a_rejection_takes_a_reason() {
    let site = site().await;
    let (id, mut waiting) = site.hold("dba").await;
    let bob = Browser::signed_in(&site, "bob").await;
    let (status, page) = bob.decide(&id, "reject", &[("reason", " ")]).await;
    assert!(status == 422 && page.contains("A reason is required"), "{page}");
    assert_eq!(bob.decide(&id, "reject", &[("reason", "not\r\ntoday")]).await.0, 303);
    let rejected = waiting.decision().await;
    assert!(matches!(&rejected, Decision::Rejected { reason, .. } if reason == "not\ntoday"), "{rejected:?}");
    site.stop().await;
}

#[tokio::test]
async fn changes_and_times_are_offered_with_an_approval() {
    let site = site().await;
    let (id, mut waiting) = site.hold("dba").await;
    let bob = Browser::signed_in(&site, "bob").await;
    let sent = waiting.request.statement.replace('\n', "\r\n");
    let changed = sent.replace("WHERE", "WHERE true AND");
    assert_eq!(bob.decide(&id, "approve-changed", &[("statement", &changed)]).await.0, 303);
    let decision = waiting.decision().await;
    let Decision::Approved(agreement) = decision else { panic!("{decision:?}") };
    assert_eq!(agreement.edit.unwrap().statement, waiting.request.statement.replace("WHERE", "WHERE true AND"));

    let (id, mut waiting) = site.hold("dba").await;
    assert_eq!(bob.decide(&id, "approve-changed", &[("statement", &sent)]).await.0, 303);
    let decision = waiting.decision().await;
    let Decision::Approved(agreement) = decision else { panic!("{decision:?}") };
    assert_eq!(agreement.edit, None, "the browser's line ends are no change");

    let (id, mut waiting) = site.hold("dba").await;
    assert_eq!(bob.decide(&id, "approve-for", &[("for", "9h"), ("scope", "rules")]).await.0, 422);
    assert_eq!(bob.decide(&id, "approve-for", &[("for", "30m"), ("scope", "rules")]).await.0, 303);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    let alice = Browser::signed_in(&site, "alice").await;
    let grants = alice.get("/grants").await.1;
    assert!(grants.contains("In force") && grants.contains("what only writes holds, 30 minutes"), "{grants}");
    site.stop().await;
}

#[tokio::test]
async fn a_text_that_does_not_fit_into_a_form_can_be_approved_and_one_that_is_not_shown_cannot() {
    let site = site().await;
    let bob = Browser::signed_in(&site, "bob").await;
    let long = |bytes: usize| NewRequest {
        statement: format!("UPDATE t SET v = '{}'", "ü".repeat(bytes / 2)),
        ..new_request("dba", Mode::Wait)
    };
    let (id, mut waiting) = hold(&site, long(200 << 10)).await;
    let page = bob.get(&format!("/requests/{id}")).await.1;
    assert!(page.len() > 200 << 10 && !page.contains("id=\"statement-edit\""));
    assert_eq!(bob.decide(&id, "approve", &[]).await.0, 303);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    let (id, _waiting) = hold(&site, long(3 << 20)).await;
    let page = bob.get(&format!("/requests/{id}")).await.1;
    assert!(page.contains("too long to be shown whole") && !page.contains("id=\"approve\""));
    assert_eq!(bob.decide(&id, "reject", &[("reason", "too much")]).await.0, 303);
    site.stop().await;
}

#[tokio::test]
async fn a_text_that_was_not_seen_is_not_approved() {
    let site = site().await;
    let (id, waiting) = site.hold("dba*2").await;
    let (bob, carol) = (Browser::signed_in(&site, "bob").await, Browser::signed_in(&site, "carol").await);
    let path = format!("/requests/{id}");
    let (csrf, seen) = (carol.hidden(&path, "csrf").await, carol.hidden(&path, "seen").await);
    assert_eq!(bob.decide(&id, "approve-changed", &[("statement", "DELETE FROM t")]).await.0, 303);
    let late = carol.post(&format!("{path}/approve"), &[("csrf", &csrf), ("seen", &seen)]).await;
    assert_eq!(late.status(), 409);
    let shown = late.text().await.unwrap();
    assert!(shown.contains("The text has changed since you saw it") && shown.contains("DELETE FROM t"), "{shown}");
    assert_eq!(site.bench.review.get(waiting.request.id).await.unwrap().votes.len(), 1);
    assert_eq!(carol.decide(&id, "approve", &[]).await.0, 303, "now it was seen");
    site.stop().await;
}

#[tokio::test]
async fn other_sites_cannot_decide() {
    let site = site().await;
    let (id, waiting) = site.hold("dba").await;
    let (bob, sam) = (Browser::signed_in(&site, "bob").await, Browser::signed_in(&site, "sam").await);
    let path = format!("/requests/{id}");
    let (csrf, seen) = (bob.hidden(&path, "csrf").await, bob.hidden(&path, "seen").await);
    let sams = sam.hidden(&path, "csrf").await;
    let approve = format!("{path}/approve");
    let good = [("csrf", csrf.as_str()), ("seen", seen.as_str())];
    for fields in [vec![("seen", seen.as_str())], vec![("csrf", ""), good[1]], vec![("csrf", sams.as_str()), good[1]]] {
        assert_eq!(bob.post(&approve, &fields).await.status(), 403);
    }
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        for (path, fields) in [(approve.as_str(), good.as_slice()), ("/login", &[("token", "bob-token")])] {
            let request = bob.request(Method::POST, path).header(name, value).body(Fields::encode(fields));
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            assert_eq!(request.send().await.unwrap().status(), 403, "{path} {name}: {value}");
        }
    }
    let json = bob.request(Method::POST, &approve).header("content-type", "text/plain").body(Fields::encode(&good));
    assert_eq!(json.send().await.unwrap().status(), 400);
    let api = format!("/api/v1{approve}");
    let bare = bob.request(Method::POST, &api).send().await.unwrap();
    assert_eq!(bare.status(), 403, "a cookie alone changes nothing over the API");
    assert_eq!(bob.request(Method::GET, &format!("/api/v1{path}")).send().await.unwrap().status(), 200);
    assert_eq!(site.bench.review.get(waiting.request.id).await.unwrap().version, 1);
    let ours = bob.request(Method::POST, &api).header("x-csrf-token", &csrf).send().await.unwrap();
    assert_eq!(ours.status(), 200);
    site.stop().await;
}

#[tokio::test]
async fn nobody_sees_or_decides_what_is_not_theirs() {
    let site = site().await;
    let (id, waiting) = site.hold("dba").await;
    let path = format!("/requests/{id}");
    let bob = Browser::signed_in(&site, "bob").await;
    let seen = bob.hidden(&path, "seen").await;
    for (name, status) in [("olga", 404), ("sven", 404), ("alice", 403), ("root", 403)] {
        let browser = Browser::signed_in(&site, name).await;
        let csrf = browser.hidden("/", "csrf").await;
        let (shown, page) = browser.get(&path).await;
        assert_eq!(shown, if status == 404 { 404 } else { 200 }, "{name}");
        assert!(!page.contains("class=\"go\""), "{name} is offered no approval");
        assert_eq!(browser.get("/").await.1.contains(&id), status != 404, "{name}");
        assert_eq!(browser.get("/requests").await.1.contains(&id), status != 404, "{name}");
        for verb in ["approve", "approve-for", "approve-changed", "force"] {
            let fields =
                [("csrf", csrf.as_str()), ("seen", &seen), ("for", "30m"), ("statement", "x"), ("reason", "x")];
            let refused = browser.post(&format!("{path}/{verb}"), &fields).await.status();
            assert_eq!(refused, status, "{name} {verb}");
        }
    }
    assert_eq!(site.bench.review.get(waiting.request.id).await.unwrap().version, 1);
    site.stop().await;
}

#[tokio::test]
async fn markup_is_shown_as_text() {
    let site = site().await;
    let mut new = new_request("dba", Mode::Wait);
    new.statement = format!("UPDATE t SET v = '{NASTY}'");
    for text in [&mut new.application, &mut new.summary, &mut new.client_address, &mut new.parameters[0].type_name] {
        NASTY.clone_into(text);
    }
    new.parameters[0].value = Some(NASTY.to_owned());
    new.justification = Some(NASTY.to_owned());
    new.rules = vec![NASTY.to_owned()];
    new.messages = vec![NASTY.to_owned()];
    new.effects = vec![NASTY.to_owned()];
    let (id, _waiting) = hold(&site, new).await;
    let bob = Browser::signed_in(&site, "bob").await;
    let path = format!("/requests/{id}");
    let mut pages = vec![bob.get("/").await.1, bob.get("/requests").await.1, bob.get(&path).await.1];
    pages.push(bob.decide(&id, "reject", &[]).await.1);
    pages.push(bob.decide(&id, "approve-changed", &[("statement", "\0")]).await.1);
    assert_eq!(bob.decide(&id, "reject", &[("reason", NASTY)]).await.0, 303);
    pages.push(bob.get(&path).await.1);
    pages.push(bob.get(&format!("/requests?{}", Fields::encode(&[("database", NASTY), ("user", NASTY)]))).await.1);
    pages.push(bob.get(&format!("{path}?done={NASTY}")).await.1);
    let signing = Browser::new(&site).sign_in(NASTY, NASTY).await;
    pages.push(signing.text().await.unwrap());
    for page in pages {
        let others = page.replace("<script src=\"/assets/", "");
        assert!(!others.contains("<script") && !page.contains("<img"), "{page}");
        assert!(!page.contains("style=") && !page.contains("onerror=alert(1)>\""), "{page}");
    }
    site.stop().await;
}
