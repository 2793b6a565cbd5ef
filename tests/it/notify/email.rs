//! E-mail of the real proxy, taken by a server of Python's (aiosmtpd).

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::*;
use crate::support::certificates::Certificates;

/// The server; it ends when dropped.
struct Mailbox {
    port: u16,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
    _child: Child,
}

impl Mailbox {
    async fn start(wanted: Value) -> Self {
        let mut child = tokio::process::Command::new("python3")
            .arg(in_repository("tests/clients/mailbox.py"))
            .arg(wanted.to_string())
            .env("PYTHONPATH", in_repository("target/clients/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It tells there of the connections that break, which is what some of the tests are about.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 (scripts/setup --tests installs what it needs)");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let port =
            within("the port", lines.next_line()).await.expect("a line").expect("aiosmtpd (scripts/setup --tests)");
        let stdin = child.stdin.take().expect("stdin");
        Self { port: port.parse().expect("a port"), lines, stdin, _child: child }
    }

    async fn line(&mut self) -> Value {
        let line = within("mail", self.lines.next_line()).await.expect("a line").expect("the server goes on");
        serde_json::from_str(&line).expect("JSON")
    }

    /// The next message.
    async fn taken(&mut self) -> Mail {
        let mail = Mail(self.line().await);
        assert_eq!(mail.0["defects"], json!([]), "{}", mail.0);
        mail
    }

    /// So many messages, by who got them.
    async fn taken_by(&mut self, count: usize) -> Vec<(String, Mail)> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mail = self.taken().await;
            all.push((mail.to(), mail));
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }

    /// Answers RCPT otherwise.
    async fn answer(&mut self, answers: Value) {
        self.stdin.write_all(format!("{answers}\n").as_bytes()).await.expect("the server reads");
        assert_eq!(self.line().await, "heard");
    }
}

struct Mail(Value);

impl Mail {
    fn to(&self) -> String {
        let to = self.0["to"].as_array().expect("recipients");
        assert_eq!(to.len(), 1, "{}", self.0);
        to[0].as_str().expect("an address").to_owned()
    }

    /// The value of the one header of that name; empty when there is none.
    fn header(&self, name: &str) -> &str {
        let headers = self.0["headers"].as_array().expect("headers");
        let mut found =
            headers.iter().filter(|header| header[0] == name).map(|header| header[1].as_str().expect("text"));
        let first = found.next().unwrap_or_default();
        assert_eq!(found.next(), None, "{name} twice: {}", self.0);
        first
    }

    fn part(&self, kind: &str) -> &str {
        self.0["parts"][kind].as_str().expect("a part")
    }
}

/// `[notify.email]` for a server on this machine.
fn fragment(port: u16, more: &str) -> String {
    format!(
        "{WRITES_HELD}\n[notify.email]\nhost = \"localhost\"\nport = {port}\nfrom = \"Countersign <cs@example.com>\"\n{more}\n"
    )
}

const PLAIN: &str = "tls = \"none\"\nto = [\"DBA list <dba@lists.example.com>\"]";

#[tokio::test]
async fn a_request_is_one_thread_for_who_decides_who_asked_and_the_list() {
    let mut mailbox = Mailbox::start(json!({"tls": "none"})).await;
    let proxy = Proxy::start(&fragment(mailbox.port, PLAIN)).await;
    let mut alice = proxy.client("alice").await;
    let begun = std::time::Instant::now();
    let held = alice.hold("/* reason: <b>4711</b> */ UPDATE customers SET note = 'canary-5521' WHERE id = 1").await;
    let asked = mailbox.taken_by(4).await;
    assert!(begun.elapsed().as_secs() < 2, "the reviewer hears of it within two seconds");
    let who: Vec<_> = asked.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(who, ["bob@example.com", "dave@example.com", "dba@lists.example.com", "frank@example.com"]);
    let first = &asked[0].1;
    assert_eq!(first.header("From"), "Countersign <cs@example.com>");
    assert_eq!((first.header("To"), asked[2].1.header("To")), ("bob@example.com", "DBA list <dba@lists.example.com>"));
    assert_eq!(first.header("Subject"), "Access request: update on public.customers, alice on shop");
    assert_eq!((first.header("Auto-Submitted"), first.header("MIME-Version")), ("auto-generated", "1.0"));
    assert_eq!(first.header("X-Countersign-Event"), "access_request.created");
    assert_eq!((first.header("References"), first.header("In-Reply-To"), first.header("Bcc")), ("", "", ""));
    let root = first.header("Message-ID").to_owned();
    assert!(root.starts_with(&format!("<msg_{}_PENDING_", held.id)) && root.ends_with("@example.com>"), "{root}");
    assert!(asked.iter().all(|(_, mail)| mail.header("Message-ID") == root), "one event has one id");
    let link = format!("{}/requests/{}", proxy.web(), held.id);
    let (text, html) = (first.part("text/plain"), first.part("text/html"));
    for part in [text, html] {
        for told in ["Approval needed: update on public.customers", "alice (engineering)", "dba-team", link.as_str()] {
            assert!(part.contains(told), "{told}: {part}");
        }
    }
    assert!(
        text.contains("    UPDATE customers SET note = '…' WHERE id = …") && text.contains("<b>4711</b>"),
        "{text}"
    );
    assert!(html.contains("&#60;b&#62;4711") && !html.contains("<b>4711"), "{html}");
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    // Bob knows what he has done, the others need not look at it any more, alice is told; then only the list hears of it.
    let decided = mailbox.taken_by(5).await;
    let told: Vec<_> =
        decided.iter().map(|(to, mail)| format!("{to} {}", mail.header("X-Countersign-Event"))).collect();
    assert_eq!(
        told,
        [
            "alice@example.com access_request.approved",
            "dave@example.com access_request.approved",
            "dba@lists.example.com access_request.approved",
            "dba@lists.example.com access_request.executed",
            "frank@example.com access_request.approved",
        ]
    );
    for (_, mail) in &decided {
        assert_eq!((mail.header("References"), mail.header("In-Reply-To")), (root.as_str(), root.as_str()));
        assert_eq!(mail.header("Subject"), format!("Re: {}", first.header("Subject")));
        assert_ne!(mail.header("Message-ID"), root);
        assert!(mail.part("text/plain").contains("approved by bob"), "{}", mail.0);
    }
    for (_, mail) in asked.iter().chain(&decided) {
        assert!(!mail.0.to_string().contains("canary-5521"), "{}", mail.0);
    }
    assert!(!proxy.log().contains("canary-5521"), "{}", proxy.log());
}

#[tokio::test]
async fn a_grant_is_one_thread_too() {
    let mut mailbox = Mailbox::start(json!({"tls": "none"})).await;
    let proxy = Proxy::start(&fragment(mailbox.port, "tls = \"none\"")).await;
    let ask = json!({"database": "shop", "for": "30m", "rules": ["writes-need-review"], "reason": "ticket 7"});
    let asked = proxy.api("alice").call(Method::POST, "/grants", Some(ask)).await;
    let path = format!("/grants/{}/approve", asked.body["id"].as_str().expect("an id"));
    let first = mailbox.taken_by(3).await;
    let who: Vec<_> = first.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(who, ["bob@example.com", "dave@example.com", "frank@example.com"]);
    let subject = first[0].1.header("Subject").to_owned();
    assert!(subject.starts_with("Grant: ") && subject.ends_with(", alice on shop"), "{subject}");
    assert!(first[0].1.part("text/plain").contains(&format!("{}/grants", proxy.web())), "{}", first[0].1.0);
    assert_eq!(proxy.api("bob").call(Method::POST, &path, Some(json!({}))).await.status, 200);
    let given = mailbox.taken_by(3).await;
    let who: Vec<_> = given.iter().map(|(to, _)| to.as_str()).collect();
    assert_eq!(who, ["alice@example.com", "dave@example.com", "frank@example.com"]);
    for (_, mail) in &given {
        assert_eq!(mail.header("References"), first[0].1.header("Message-ID"));
        assert_eq!(mail.header("Subject"), format!("Re: {subject}"));
        assert_eq!(mail.header("X-Countersign-Event"), "grant.active");
    }
}

/// Waits until this has become of the newest delivery: its state and the server's answer.
async fn until(proxy: &Proxy, state: &str, answer: &str) -> Value {
    let found = async {
        loop {
            let page = proxy.api("carol").call(Method::GET, "/notifications?target=email", None).await;
            let newest = page.body["notifications"][0].clone();
            if (newest["state"].as_str(), newest["answer"].as_str()) == (Some(state), Some(answer)) {
                return newest;
            }
        }
    };
    within(answer, found).await
}

/// Carol is an admin, who sees what was delivered.
async fn with_admin(fragment: &str, environment: &[(&str, &str)]) -> Proxy {
    let launch = Launch { fragment, environment, ..Launch::default() };
    let adapt =
        |text: String| text.replacen("groups = [\"security-team\"]", "groups = [\"security-team\", \"admin\"]", 1);
    Proxy::in_front_of(Database::create().await, launch, adapt).await
}

#[tokio::test]
async fn who_is_put_off_is_written_to_later_and_who_is_refused_never_and_nobody_twice() {
    let mut mailbox = Mailbox::start(json!({"tls": "none"})).await;
    mailbox
        .answer(json!({"bob@example.com": ["451 4.2.1 later"], "dba@lists.example.com": ["550 5.1.1 nobody"]}))
        .await;
    let proxy = with_admin(&fragment(mailbox.port, PLAIN), &[]).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let who: Vec<_> = mailbox.taken_by(3).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(who, ["bob@example.com", "dave@example.com", "frank@example.com"]);
    let delivered = until(&proxy, "DELIVERED", "3 of 4 recipients; 550").await;
    assert_eq!(delivered["attempts"], 2, "{delivered}");
    // Had anybody been written to twice, that would have come before.
    mailbox.answer(json!({"dba@lists.example.com": ["550 5.1.1 nobody"]})).await;
    assert_eq!(proxy.api("alice").cancel(&held.id).await, 200);
    let who: Vec<_> = mailbox.taken_by(3).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(who, ["bob@example.com", "dave@example.com", "frank@example.com"]);
    let delivered = until(&proxy, "DELIVERED", "3 of 4 recipients; 550").await;
    assert_eq!((&delivered["what"], &delivered["attempts"]), (&"CANCELLED".into(), &1.into()), "{delivered}");
}

#[tokio::test]
async fn a_delivery_that_everybody_refuses_is_given_up() {
    let mut mailbox = Mailbox::start(json!({"tls": "none"})).await;
    mailbox.answer(json!({"dba@lists.example.com": ["550 5.1.1 nobody"]})).await;
    let proxy = with_admin(&fragment(mailbox.port, &format!("{PLAIN}\npeople = false")), &[]).await;
    let mut alice = proxy.client("alice").await;
    let _held = alice.hold(UPDATE).await;
    until(&proxy, "DEAD", "550").await;
    let refused = "countersign_notify_attempts_total{target=\"email\",outcome=\"refused\"}";
    within("the counter", async { while proxy.metric(refused).await < 1.0 {} }).await;
    within("the gauge", async { while proxy.metric("countersign_notify_dead{target=\"email\"}").await < 1.0 {} }).await;
}

#[tokio::test]
async fn mail_and_password_go_by_tls_to_the_server_that_is_meant_or_not_at_all() {
    let certificates = Certificates::make();
    let (cert, key) = (certificates.path("server.crt"), certificates.path("server.key"));
    let environment = [("MAIL_PASSWORD", "sesame-5521")];
    for tls in ["starttls", "implicit"] {
        let login = json!(["countersign", "sesame-5521"]);
        let mut mailbox =
            Mailbox::start(json!({"tls": tls, "cert": cert.as_str(), "key": key.as_str(), "login": login})).await;
        let settings = |ca: &str, tls: &str| {
            let login = "username = \"countersign\"\npassword = { env = \"MAIL_PASSWORD\" }";
            format!("tls = \"{tls}\"\nca = \"{ca}\"\n{login}\nto = [\"dba@lists.example.com\"]\npeople = false")
        };
        // Another CA than the server's: not even the name is told.
        let other = Certificates::make();
        let proxy = with_admin(&fragment(mailbox.port, &settings(&other.path("ca.crt"), tls)), &environment).await;
        let mut alice = proxy.client("alice").await;
        let held = alice.hold(UPDATE).await;
        until(&proxy, "WAITING", "no TLS connection").await;
        proxy.edit(&other.path("ca.crt"), &certificates.path("ca.crt"));
        proxy.signal(rustix::process::Signal::HUP);
        let mail = mailbox.taken().await;
        assert_eq!((&mail.0["is_encrypted"], &mail.0["login"]), (&true.into(), &"countersign".into()));
        assert!(mail.header("Message-ID").contains(held.id.as_str()), "{}", mail.0);
        assert!(!proxy.log().contains("sesame-5521"));
    }
    // A server, or who stands in between, that does not offer encryption gets nothing.
    let mailbox = Mailbox::start(json!({"tls": "none"})).await;
    let settings = "to = [\"dba@lists.example.com\"]";
    let proxy = with_admin(&fragment(mailbox.port, settings), &[]).await;
    let mut alice = proxy.client("alice").await;
    let _held = alice.hold(UPDATE).await;
    until(&proxy, "WAITING", "the server does not offer STARTTLS").await;
}
