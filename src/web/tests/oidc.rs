//! Signing in by the identity provider, as a browser sees it.

use reqwest::Response;
use reqwest::redirect::Policy as Redirects;

use super::page::site;
use super::*;
use crate::identity::oidc::tests::{Liar, query_of};
use crate::review::State as RequestState;

/// A browser with its cookies.
struct Visitor<'a> {
    site: &'a Site,
    client: reqwest::Client,
    cookies: Vec<(String, String)>,
}

impl<'a> Visitor<'a> {
    fn new(site: &'a Site) -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Redirects::none()).build().unwrap();
        Self { site, client, cookies: Vec::new() }
    }

    async fn get(&mut self, path: &str) -> Response {
        let response = self.send(Method::GET, path, None).await;
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        response
    }

    async fn send(&self, method: Method, path: &str, form: Option<String>) -> Response {
        let request = self.client.request(method, format!("http://{}{path}", self.site.address));
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("cookie", cookies.join("; "));
        let request = match form {
            Some(form) => request.header("content-type", "application/x-www-form-urlencoded").body(form),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// Where the provider is asked for them.
    async fn begin(&mut self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), 303);
        response.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Signs in as somebody with these claims; where that leads.
    async fn sign_in(&mut self, liar: &Liar, claims: Value) -> (u16, String) {
        let address = self.begin("/login/oidc?next=%2Frequests").await;
        let code = liar.code_for(&address, claims);
        self.come_back(&code, &query_of(&address, "state").unwrap()).await
    }

    async fn come_back(&mut self, code: &str, state: &str) -> (u16, String) {
        let response = self.get(&format!("/login/oidc/callback?code={code}&state={state}")).await;
        let status = response.status().as_u16();
        let to = response.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        (status, to.unwrap_or(response.text().await.unwrap()))
    }

    fn has(&self, cookie: &str) -> bool {
        self.cookies.iter().any(|(name, _)| name == cookie)
    }

    async fn me(&mut self) -> Value {
        self.get("/api/v1/me").await.json().await.unwrap()
    }
}

async fn with_provider() -> (Site, Liar) {
    let (site, liar) = (site().await, Liar::start().await);
    change(&site, |config| config.web.oidc = Some(liar.config()));
    (site, liar)
}

fn change(site: &Site, change: impl FnOnce(&mut Config)) {
    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    config.web = site.bench.config.load().web.clone();
    change(&mut config);
    site.bench.config.store(Arc::new(config));
}

fn dba() -> Value {
    json!({ "groups": ["their-dbas"] })
}

#[tokio::test]
async fn somebody_of_the_provider_signs_in_and_approves() {
    let (site, liar) = with_provider().await;
    let (id, mut waiting) = site.hold("dba").await;
    let mut eve = Visitor::new(&site);
    let text = eve.get("/login?next=%2Frequests").await.text().await.unwrap();
    assert!(text.contains("href=\"/login/oidc?next=%2Frequests\"") && text.contains("Sign in with Example"), "{text}");
    assert_eq!(eve.sign_in(&liar, dba()).await, (303, "/requests".to_owned()));
    assert!(eve.has("countersign") && !eve.has("countersign-attempt"));
    let me = eve.me().await;
    assert_eq!((&me["name"], &me["groups"]), (&json!("eve@example.com"), &json!(["dba"])));
    let shown = eve.get(&format!("/requests/{id}")).await.text().await.unwrap();
    let hidden = |name: &str| {
        let start = format!("name=\"{name}\" value=\"");
        let rest = &shown[shown.find(&start).unwrap() + start.len()..];
        rest[..rest.find('"').unwrap()].to_owned()
    };
    let form = fields::Fields::encode(&[("csrf", &hidden("csrf")), ("seen", &hidden("seen"))]);
    assert_eq!(eve.send(Method::POST, &format!("/requests/{id}/approve"), Some(form)).await.status(), 303);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    let logout = fields::Fields::encode(&[("csrf", &hidden("csrf"))]);
    assert_eq!(eve.send(Method::POST, "/logout", Some(logout)).await.status(), 303);
    assert_eq!(eve.get("/").await.status(), 303, "the session has ended");
    // What she has approved stays approved.
    site.bench.review.begin_execution(waiting.request.id, Timestamp::now()).await.unwrap();
    liar.stop().await;
    drop(eve);
    site.stop().await;
}

#[tokio::test]
async fn only_the_browser_that_began_comes_in_and_once() {
    let (site, liar) = with_provider().await;
    let (mut eve, mut other) = (Visitor::new(&site), Visitor::new(&site));
    let address = eve.begin("/login/oidc").await;
    let (code, state) = (liar.code_for(&address, dba()), query_of(&address, "state").unwrap());
    let theirs = query_of(&other.begin("/login/oidc").await, "state").unwrap();
    let cookies = eve.cookies.clone();
    for (who, code, state) in [
        (&mut Visitor::new(&site), code.as_str(), state.as_str()),
        (&mut other, &code, &state),
        (&mut eve, &code, &theirs),
    ] {
        let (status, text) = who.come_back(code, state).await;
        assert!(status == 400 && text.contains("begun in another browser"), "{status} {text}");
        assert!(!who.has("countersign") && !who.has("countersign-attempt"));
    }
    eve.cookies = cookies.clone();
    assert_eq!(eve.come_back(&code, &state).await, (303, "/".to_owned()));
    // The same address again, in a browser that has kept everything.
    let mut again = Visitor { cookies, ..Visitor::new(&site) };
    let (status, text) = again.come_back(&code, &state).await;
    assert!(status == 400 && text.contains("took too long, or was used before"), "{status} {text}");
    assert!(!again.has("countersign"));
    let (status, text) = Visitor::new(&site).sign_in(&liar, json!({ "nonce": "another" })).await;
    assert!(status == 401 && text.contains("could not be verified"), "{status} {text}");
    let mut denied = Visitor::new(&site);
    let state = query_of(&denied.begin("/login/oidc").await, "state").unwrap();
    let response = denied.get(&format!("/login/oidc/callback?error=access_denied&state={state}")).await;
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("Example did not let you in"));
    let away = eve.begin("/login/oidc?next=%2F%2Fevil.example").await;
    let (code, state) = (liar.code_for(&away, dba()), query_of(&away, "state").unwrap());
    assert_eq!(eve.come_back(&code, &state).await, (303, "/".to_owned()));
    liar.stop().await;
    drop((eve, other, again, denied));
    site.stop().await;
}

#[tokio::test]
async fn who_is_not_let_in_reads_why() {
    let (site, liar) = with_provider().await;
    liar.tells(json!({ "sub": "1234" }));
    for (claims, status, want) in [
        (json!({ "groups": ["all"] }), 403, "knows you as eve@example.com, but none of your groups"),
        (json!({}), 403, "does not tell your groups"),
        (json!({ "groups": ["their-dbas"], "email_verified": false }), 403, "has not verified your e-mail address"),
        (json!({ "groups": ["their-dbas"], "email": "Root" }), 403, "not yet linked to you"),
        (json!({ "groups": ["their-dbas"], "email": "<b>x" }), 303, "/requests"),
        (json!({ "groups": ["their-dbas"], "email": "a\u{202e}b" }), 403, "cannot be a name here"),
        (json!({ "groups": ["all"], "email": "<b>x" }), 403, "&#60;b&#62;x"),
        (json!({ "aud": "another" }), 401, "could not be verified"),
    ] {
        let mut visitor = Visitor::new(&site);
        let (found, text) = visitor.sign_in(&liar, claims.clone()).await;
        assert!(found == status && text.contains(want), "{claims}: {found} {text}");
        assert_eq!(visitor.has("countersign"), status == 303, "{claims}");
        assert!(!visitor.has("countersign-attempt"), "{claims}");
    }
    let told = crate::audit::lines(&site.bench.dir.path().join("page-audit")).join("\n");
    assert!(told.contains("\"with\":\"oidc\",\"accepted\":false") && told.contains("\"user\":\"Root\""), "{told}");
    liar.stop().await;
    site.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_down_leaves_the_other_ways() {
    let (site, liar) = with_provider().await;
    liar.stop().await;
    let mut visitor = Visitor::new(&site);
    let response = visitor.get("/login/oidc").await;
    assert_eq!(response.status(), 503);
    let text = response.text().await.unwrap();
    assert!(text.contains("Example does not answer at the moment") && text.contains("id=\"password\""), "{text}");
    let form = fields::Fields::encode(&[("token", "bob-token")]);
    assert_eq!(visitor.send(Method::POST, "/login", Some(form)).await.status(), 303);
    change(&site, |config| config.web.oidc = None);
    assert_eq!(visitor.get("/login/oidc").await.status(), 404);
    assert_eq!(visitor.get("/login/oidc/callback?code=1&state=2").await.status(), 404);
    drop(visitor);
    site.stop().await;
}

#[tokio::test]
async fn what_the_provider_said_last_counts_when_an_approval_is_used() {
    let (site, liar) = with_provider().await;
    let review = &site.bench.review;
    let mut eve = Visitor::new(&site);
    assert_eq!(eve.sign_in(&liar, dba()).await.0, 303);
    let actor = crate::review::fixture::actor("eve@example.com");
    let approved = async |demands: &str| {
        let (_, waiting) = site.hold(demands).await;
        let id = waiting.request.id;
        review.approve(id, &actor, crate::review::Consent::default(), Timestamp::now()).await.map(|_| (id, waiting))
    };
    let (kept, _waiting) = approved("dba").await.unwrap();
    assert!(approved("security").await.is_err(), "she is in no such group");
    let (lost, _waits) = approved("dba").await.unwrap();
    review.begin_execution(kept, Timestamp::now()).await.unwrap();
    // She signs in elsewhere, and the provider says that she is in another group by now.
    let mut elsewhere = Visitor::new(&site);
    assert_eq!(elsewhere.sign_in(&liar, json!({ "groups": ["their-admins"] })).await.0, 303);
    assert!(review.begin_execution(lost, Timestamp::now()).await.is_err());
    let request = review.get(lost).await.unwrap();
    let why = request.transitions.last().unwrap().reason.clone().unwrap();
    assert_eq!(request.state, RequestState::Revoked);
    assert_eq!(why, "no longer in the groups in which they approved: eve@example.com");
    assert!(approved("dba").await.is_err());
    // Nor does it count when the configuration no longer says what the group stands for.
    assert_eq!(elsewhere.sign_in(&liar, dba()).await.0, 303);
    let (id, _waits) = approved("dba").await.unwrap();
    change(&site, |config| config.web.oidc.as_mut().unwrap().groups.clear());
    assert!(review.begin_execution(id, Timestamp::now()).await.is_err());
    assert_eq!(eve.get("/").await.status(), 303, "her sessions have ended as well");
    liar.stop().await;
    drop((eve, elsewhere));
    site.stop().await;
}

#[tokio::test]
async fn a_linked_user_has_their_own_groups_and_those_of_the_provider() {
    let (site, liar) = with_provider().await;
    change(&site, |config| config.users[0].oidc = Some("eve@example.com".to_owned()));
    let mut alice = Visitor::new(&site);
    assert_eq!(alice.sign_in(&liar, dba()).await.0, 303);
    let me = alice.me().await;
    assert_eq!((&me["name"], &me["groups"]), (&json!("alice"), &json!(["engineering", "dba"])));
    change(&site, |_| {});
    assert_eq!(alice.get("/").await.status(), 303, "the link is gone");
    liar.stop().await;
    drop(alice);
    site.stop().await;
}
