//! `countersign login`: a password for databases that is had on the page, with a real psql.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

/// Somebody who signs in on the page with the password of alice, and has none for databases.
const IVY: &str = r#"
[[users]]
name = "ivy"
groups = ["engineering"]
web_password = { env = "COUNTERSIGN_TEST_ALICE_PASSWORD" }
"#;

/// A browser without scripts.
struct Page {
    client: reqwest::Client,
    web: String,
    cookie: String,
}

impl Page {
    async fn signed_in(proxy: &Proxy, name: &str, password: &str) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let mut page = Self { client: client.build().expect("client"), web: proxy.web(), cookie: String::new() };
        let answer = page.post("/login", &[("name", name), ("password", password), ("next", "/login/cli")]).await;
        assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (303, &"/login/cli".parse().unwrap()));
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        page.cookie = cookie.split(';').next().expect("a cookie").to_owned();
        page
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let request = self.client.post(format!("{}{path}", self.web)).header("cookie", &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.finish());
        request.send().await.expect("answer")
    }

    async fn text(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.web)).header("cookie", &self.cookie);
        request.send().await.expect("answer").text().await.expect("text")
    }

    /// Presses a button of the page, and returns what comes.
    async fn press(&self, more: &[(&str, &str)]) -> String {
        let form = self.text("/login/cli").await;
        let csrf = between(&form, "action=\"/login/cli\">", "</form>");
        let csrf = between(csrf, "name=\"csrf\" value=\"", "\"").to_owned();
        let fields: Vec<_> = [("csrf", csrf.as_str())].iter().chain(more).copied().collect();
        self.post("/login/cli", &fields).await.text().await.expect("text")
    }

    async fn code(&self) -> String {
        between(&self.press(&[]).await, "<code id=\"code\">", "</code>").to_owned()
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("no {start} in {text}")).1;
    rest.split_once(end).expect("an end").0
}

/// Runs the command, with what is typed.
fn login(proxy: &Proxy, arguments: &[&str], typed: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["login", "--no-browser", "--url", &proxy.web()]).args(arguments).env("NO_PROXY", "127.0.0.1");
    command.env("PGPASSFILE", proxy.data_dir().join("pgpass")).env("XDG_CONFIG_HOME", proxy.data_dir());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("countersign");
    child.stdin.take().expect("stdin").write_all(format!("{typed}\n").as_bytes()).expect("typed");
    child.wait_with_output().expect("countersign login")
}

/// What psql says as that person with that password.
async fn psql(proxy: &Proxy, user: &str, password: &str, statement: &str) -> Result<String, String> {
    let mut command = proxy.psql_command(user, &["-At", "-c", statement]);
    let output = command.env("PGPASSWORD", password).output().await.expect("psql");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn is_refused(outcome: &Result<String, String>) -> bool {
    outcome.as_ref().is_err_and(|said| said.contains("password authentication failed"))
}

#[tokio::test]
async fn psql_connects_with_a_password_that_is_had_on_the_page() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}{IVY}")).await;
    let ivy = Page::signed_in(&proxy, "ivy", "password-of-alice").await;
    assert!(is_refused(&psql(&proxy, "ivy", "password-of-alice", "SELECT 1").await));
    let code = ivy.code().await;
    let output = login(&proxy, &["--format", "json"], &code);
    let given: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let password = given["password"].as_str().expect("a password").to_owned();
    assert_eq!(given["user"], "ivy");
    assert_eq!(psql(&proxy, "ivy", &password, "SELECT count(*) > 0 FROM orders").await.as_deref(), Ok("t"));
    assert!(is_refused(&psql(&proxy, "ivy", &password.to_lowercase(), "SELECT 1").await), "another password");
    assert!(is_refused(&psql(&proxy, "alice", &password, "SELECT 1").await), "another user");
    // A code is good once.
    let again = login(&proxy, &[], &code);
    let told = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.code() == Some(77) && told.contains("This code is not known"), "{again:?}");
    // The next password takes the place of this one; it is in the file only.
    let at = proxy.address().to_string();
    let output = login(&proxy, &["--pgpass", &at], &ivy.code().await);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !printed.contains("password"), "{output:?}");
    assert!(is_refused(&psql(&proxy, "ivy", &password, "SELECT 1").await));
    let mut command = proxy.psql_command("ivy", &["-At", "-c", "SELECT 2"]);
    command.env_remove("PGPASSWORD").env("PGPASSFILE", proxy.data_dir().join("pgpass"));
    let output = command.output().await.expect("psql");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "2", "{output:?}");
    // It is ended on the page.
    assert!(ivy.press(&[("end", "yes")]).await.contains("You have no such password any more"));
    let mut command = proxy.psql_command("ivy", &["-At", "-c", "SELECT 3"]);
    command.env_remove("PGPASSWORD").env("PGPASSFILE", proxy.data_dir().join("pgpass"));
    let output = command.output().await.expect("psql");
    assert!(String::from_utf8_lossy(&output.stderr).contains("password authentication failed"), "{output:?}");
    let trail = std::fs::read_to_string(proxy.data_dir().join("audit/000001.jsonl")).expect("the trail");
    let records = trail.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    let told: Vec<_> = records.filter(|record| record["kind"] == "password").collect();
    let ends: Vec<_> = told.iter().map(|record| (&record["user"], record["expires_at"].is_null())).collect();
    let user = &Value::from("ivy");
    assert_eq!(ends, [(user, false), (user, false), (user, true)], "{told:?}");
    assert!(!trail.contains(&password) && !trail.contains(&code) && !trail.contains("SCRAM-SHA-256$"));
    assert!(!proxy.log().contains(&password) && !proxy.log().contains(&code));
}

/// `requests list` of who has only logged in.
fn list(proxy: &Proxy) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(["requests", "list", "--format", "json"]).env_remove("COUNTERSIGN_TOKEN").env("NO_PROXY", "127.0.0.1");
    let output = command.env("COUNTERSIGN_URL", proxy.web()).env("XDG_CONFIG_HOME", proxy.data_dir()).output();
    let output = output.expect("countersign");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn the_commands_have_a_token_for_an_hour() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}{IVY}")).await;
    assert!(list(&proxy).is_err_and(|told| told.contains("run countersign login")));
    let mut client = proxy.client("alice").await;
    let held = client.hold("DELETE FROM payments WHERE id = 1").await;
    let bob = Page::signed_in(&proxy, "bob", "password-of-bob").await;
    assert!(login(&proxy, &[], &bob.code().await).status.success());
    assert!(list(&proxy).expect("a list").contains(&held.id));
    let kept = std::fs::read_to_string(proxy.data_dir().join("countersign/login.json")).expect("the token");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    let token = kept[proxy.web()]["token"].as_str().expect("a token").to_owned();
    // It is no cookie, and a cookie is no token.
    let status = async |name: &str, value: String| {
        let request = bob.client.get(format!("{}/api/v1/me", proxy.web())).header(name, value);
        request.send().await.expect("answer").status().as_u16()
    };
    let (jar, secret) = bob.cookie.split_once('=').expect("a cookie");
    assert_eq!(status("authorization", format!("Bearer {token}")).await, 200);
    assert_eq!(status("cookie", bob.cookie.clone()).await, 200);
    for no_token in [secret.to_owned(), format!("csl_{secret}"), token.replace("csl_", ""), format!("{token}x")] {
        assert_eq!(status("authorization", format!("Bearer {no_token}")).await, 401, "{no_token}");
    }
    for no_cookie in [token.clone(), token.replace("csl_", "")] {
        assert_eq!(status("cookie", format!("{jar}={no_cookie}")).await, 401, "{no_cookie}");
    }
    // It ends with all that its owner has open.
    let form = bob.text("/").await;
    let csrf = between(&form, "name=\"csrf\" value=\"", "\"").to_owned();
    assert_eq!(bob.post("/logout", &[("csrf", &csrf), ("everywhere", "yes")]).await.status().as_u16(), 303);
    assert!(list(&proxy).is_err_and(|told| told.contains("run countersign login")));
    let trail = std::fs::read_to_string(proxy.data_dir().join("audit/000001.jsonl")).expect("the trail");
    assert!(!trail.contains(&token) && !proxy.log().contains(&token));
    assert!(held.is_waiting());
}

#[tokio::test]
async fn who_has_a_password_in_the_configuration_keeps_to_it() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}{IVY}")).await;
    let bob = Page::signed_in(&proxy, "bob", "password-of-bob").await;
    let form = bob.text("/login/cli").await;
    assert!(form.contains("You have a password for databases in the configuration"), "{form}");
    assert_eq!(psql(&proxy, "bob", "password-of-bob", "SELECT 1").await.as_deref(), Ok("1"));
    let output = login(&proxy, &["--format", "json"], &bob.code().await);
    let given: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&given["user"], &given["password"]), (&Value::from("bob"), &Value::Null));
    assert_eq!(psql(&proxy, "bob", "password-of-bob", "SELECT 1").await.as_deref(), Ok("1"));
    assert!(list(&proxy).is_ok(), "the commands have their token");
    // Who is not signed in gets no code, whatever they send.
    let stranger = Page { cookie: String::new(), ..bob };
    assert_eq!(stranger.post("/login/cli", &[("csrf", "x")]).await.status().as_u16(), 303);
    let claim = reqwest::Client::builder().no_proxy().build().expect("client");
    let claim = claim.post(format!("{}/login/cli/claim", proxy.web()));
    let verifier = countersign::config::derive_verifier("x");
    let answer = claim.json(&serde_json::json!({ "code": "x", "verifier": verifier })).send().await.expect("answer");
    assert_eq!(answer.status().as_u16(), 403);
}
