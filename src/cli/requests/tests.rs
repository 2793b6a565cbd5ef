use jiff::Timestamp;

use super::watch::Seen;
use super::*;
use crate::review::fixture::{Bench, actor, new_request};
use crate::review::{NewRequest, Opened, RequestId};
use crate::web::serve;
use countersign_policy::rule::Mode;

struct Site {
    bench: Bench,
    url: String,
    server: tokio::task::JoinHandle<io::Result<()>>,
}

impl Site {
    async fn start() -> Self {
        let bench = Bench::new();
        let state = bench.site();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener, state, std::future::pending()));
        Self { bench, url, server }
    }

    async fn ask(&self) -> RequestId {
        let evil = NewRequest { summary: "update \u{1b}[2J\non t".to_owned(), ..new_request("dba*2", Mode::Resubmit) };
        match self.bench.review.open(evil, Timestamp::now()).await.unwrap() {
            Opened::Resubmit(request) => request.id,
            other => panic!("{other:?}"),
        }
    }

    fn client(&self, who: &str) -> Client {
        Client::new(&self.url, Some(format!("{who}-token"))).unwrap()
    }

    async fn run(&self, who: &str, format: Format, command: RequestsCommand) -> Result<String, Failure> {
        let mut out = Vec::new();
        execute(command, &self.client(who), Print { format, colour: Colour::Off, width: None, out: &mut out }).await?;
        Ok(String::from_utf8(out).unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn approve(id: &str) -> RequestsCommand {
    RequestsCommand::Approve {
        id: id.to_owned(),
        reason: None,
        time: None,
        scope: None,
        force: false,
        statement: None,
        max_affected: None,
    }
}

fn list() -> RequestsCommand {
    RequestsCommand::List { status: None, database: None, user: None, after: None, limit: 50 }
}

#[tokio::test]
async fn a_request_is_listed_shown_and_decided() {
    let site = Site::start().await;
    assert_eq!(site.run("bob", Format::Text, list()).await.unwrap(), "no requests\n");
    let id = site.ask().await.to_string();
    let table = site.run("bob", Format::Text, list()).await.unwrap();
    assert!(table.contains(&id) && table.contains("2 of dba"), "{table}");
    assert!(table.contains("update <U+001B>[2J\\non t") && !table.contains('\u{1b}'), "{table}");

    let shown = site.run("bob", Format::Text, RequestsCommand::Show { id: id.clone() }).await.unwrap();
    assert!(shown.ends_with("UPDATE t SET v = 'ü\n<U+202E>' WHERE id = $1\n"), "{shown}");
    assert!(shown.contains("$2           NULL (text)") && shown.contains("inside an open transaction"), "{shown}");

    let approving = approve(&id);
    let line = site.run("bob", Format::Text, approving.clone()).await.unwrap();
    assert!(line.contains("PENDING") && line.contains("(1 so far)"), "{line}");
    let failure = site.run("bob", Format::Text, approving.clone()).await.unwrap_err();
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Data, "You have approved this request already"));
    let json = site.run("carol", Format::Json, approving).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["state"].as_str(), json["id"].as_str()), (Some("APPROVED"), Some(id.as_str())));
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let site = Site::start().await;
    let id = site.ask().await.to_string();
    let check = async |who: &str, command: RequestsCommand, want: Exit| {
        let failure = site.run(who, Format::Text, command).await.unwrap_err();
        assert_eq!(failure.exit, want, "{failure}");
        assert!(failure.hint.is_some(), "{failure}");
    };
    check("alice", approve(&id), Exit::Permission).await;
    check("nobody", list(), Exit::Permission).await;
    check("bob", RequestsCommand::Show { id: "nonsense".to_owned() }, Exit::Data).await;
    check("bob", RequestsCommand::Show { id: "../me".to_owned() }, Exit::Data).await;
    check("bob", RequestsCommand::Reject { id, reason: " ".to_owned() }, Exit::Usage).await;
    assert_eq!(Client::new("ftp://x", Some("t".to_owned())).unwrap_err().exit, Exit::Usage);
    assert_eq!(Client::new("nonsense", Some("t".to_owned())).unwrap_err().exit, Exit::Usage);
    assert_eq!(Client::new(&site.url, None).unwrap_err().exit, Exit::Permission);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{closed}"), Some("t".to_owned())).unwrap();
    let print = Print { format: Format::Text, colour: Colour::Off, width: None, out: Vec::new() };
    assert_eq!(execute(list(), &client, print).await.unwrap_err().exit, Exit::Unavailable);
}

#[tokio::test]
async fn watch_tells_each_change_once() {
    let site = Site::start().await;
    let client = site.client("bob");
    let mut seen = Seen::default();
    let done = site.ask().await;
    site.bench.review.cancel(done, &actor("alice"), None, Timestamp::now()).await.unwrap();
    let first = site.ask().await;
    let ids = async |seen: &mut Seen| -> Vec<RequestId> {
        seen.poll(&client, None).await.unwrap().iter().map(|view| view.request.id).collect()
    };
    assert_eq!(ids(&mut seen).await, [first]);
    assert!(ids(&mut seen).await.is_empty());
    site.bench.review.reject(first, &actor("bob"), "no".to_owned(), Timestamp::now()).await.unwrap();
    assert_eq!(ids(&mut seen).await, [first]);
    assert!(ids(&mut seen).await.is_empty());
    assert!(seen.poll(&client, Some("other")).await.unwrap().is_empty());
}

#[test]
fn a_token_in_clear_is_noticed() {
    for (url, want) in [
        ("http://127.0.0.1:8543", false),
        ("http://[::1]:8543", false),
        ("http://localhost", false),
        ("https://countersign.example.com", false),
        ("http://countersign.example.com", true),
        ("http://10.0.0.5", true),
    ] {
        assert_eq!(Client::new(url, Some("t".to_owned())).unwrap().is_in_clear(), want, "{url}");
    }
}
