//! With `correlation = "comment"` statements carry into the upstream's log what they are in the trail, and mean what they meant.

use countersign::audit::{Question, search};

use crate::support::client::affected;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;

async fn start(correlation: &str) -> Proxy {
    let line = format!("default = \"allow\"\ncorrelation = \"{correlation}\"");
    let adapt = |text: String| text.replacen("default = \"allow\"", &line, 1);
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    Proxy::in_front_of(Database::create().await, launch, adapt).await
}

/// Session and number of the verdict on that statement.
fn verdict(proxy: &Proxy, statement: &str) -> String {
    let mut found = None;
    search(&proxy.data_dir().join("audit"), &Question::default(), |entry| {
        if entry.text("kind") == "verdict" && entry.text("statement") == statement {
            found = Some(format!("{}/{}", entry.text("session"), entry.fields["number"]));
        }
        true
    })
    .expect("the trail");
    found.unwrap_or_else(|| panic!("a verdict on exactly {statement}"))
}

async fn recorded(proxy: &Proxy) {
    // Another session's record is behind them, and durable by its intent.
    let mut client = proxy.client("alice").await;
    let held = client.hold("UPDATE orders SET status = 'lost' WHERE id = 2").await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    held.outcome().await.expect("the update");
}

#[tokio::test]
async fn queries_name_their_verdict_or_their_access_request_in_the_log() {
    let proxy = start("comment").await;
    let mut client = proxy.client("alice").await;
    let texts = ["SELECT 40 + 2", "SELECT 42 -- to the end", "SELECT 1; SELECT 42;", "SELECT 42 AS \"--\""];
    for text in texts {
        let row = client.client.simple_query(text).await.expect("rows");
        assert!(format!("{row:?}").contains("42"), "{text}: {row:?}");
    }
    let update = "UPDATE orders SET status = 'shipped' WHERE id = 1";
    let held = client.hold(update).await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    recorded(&proxy).await;
    let log = proxy.database.log();
    assert!(log.contains(&format!("{update} /* countersign:{id} */")), "{log}");
    for text in texts {
        let mark = verdict(&proxy, text);
        let between = if text.contains("--") { "\n" } else { " " };
        let whole = format!("{text}{between}/* countersign:{mark} */");
        let is_there = whole.lines().all(|line| log.contains(line));
        assert!(is_there, "{whole}\n{log}");
    }
}

#[tokio::test]
async fn what_is_not_understood_goes_as_it_came() {
    let proxy = start("comment").await;
    let mut client = proxy.client("alice").await;
    // Behind an open comment or quote nothing is a comment of ours.
    for text in ["SELECT 'canary-1", "SELECT 1 /* canary-2", "SELECT $x$ canary-3"] {
        let refused = client.client.simple_query(text).await.expect_err(text);
        let position = refused.as_db_error().and_then(|error| error.position()).map(|at| format!("{at:?}"));
        let direct = proxy.database.direct().await.simple_query(text).await.expect_err(text);
        let directly = direct.as_db_error().and_then(|error| error.position()).map(|at| format!("{at:?}"));
        assert_eq!(position, directly, "{text}");
    }
    // Errors point to the same place, too.
    let wrong = client.refusal("SELECT nothing_such FROM orders").await;
    assert_eq!(format!("{:?}", wrong.position()), "Some(Original(8))");
    // The extended protocol has one text for all its executions.
    client.client.query("SELECT 43 + $1::int4", &[&1_i32]).await.expect("a row");
    let held = client.hold_execute("UPDATE orders SET status = $1 WHERE id = 1", vec![Box::new("x")]).await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    held.outcome().await.expect("the update");
    let log = proxy.database.log();
    let marked = log.lines().filter(|line| line.contains("/* countersign:"));
    for line in marked {
        assert!(!line.contains("canary") && !line.contains("43 +") && !line.contains("status = $1"), "{line}");
    }
}

#[tokio::test]
async fn nothing_is_added_where_nobody_asks_for_it() {
    let proxy = start("off").await;
    let client = proxy.client("alice").await;
    client.value("SELECT 40 + 2").await.expect("a row");
    drop(client);
    assert!(!proxy.database.log().contains("/* countersign:"));
}
