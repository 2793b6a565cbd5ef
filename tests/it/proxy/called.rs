//! Statements that come over the HTTP API.

use countersign::demo::shop;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::api::{Answer, Api};
use crate::support::config::{PII_MASKED, WRITES_HELD, token};
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::{Database, SERVER};
use crate::support::within;

const UPDATE: &str = "UPDATE products SET stock = stock + 1 WHERE id = 1";

async fn send(api: &Api, body: Value) -> Answer {
    api.call(Method::POST, "/requests", Some(body)).await
}

async fn run(api: &Api, statement: &str) -> Answer {
    send(api, json!({"database": "shop", "statement": statement})).await
}

#[track_caller]
fn check(answer: &Answer, status: u16, kind: &str) {
    let found = answer.body["type"].as_str().unwrap_or_default();
    assert_eq!((answer.status, found), (status, format!("urn:countersign:problem:{kind}").as_str()), "{}", answer.body);
}

#[tokio::test]
async fn rows_come_back_as_the_rules_and_masks_have_it() {
    let proxy = Proxy::start(&format!("{WRITES_HELD}{PII_MASKED}")).await;
    let alice = proxy.api("alice");
    let answer = run(&alice, "SELECT id, email AS e, NULL AS n FROM customers ORDER BY id LIMIT 1; SELECT 'x'").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let results = &answer.body["results"];
    assert_eq!((&results[0]["command"], &results[0]["columns"]), (&json!("SELECT 1"), &json!(["id", "e", "n"])));
    let row = &results[0]["rows"][0];
    assert!(row[1].as_str().is_some_and(|email| email.contains("***")), "{row}");
    assert_eq!((&row[0], &row[2], &results[1]["rows"]), (&json!("1"), &Value::Null, &json!([["x"]])));

    let with = json!({"database": "shop", "statement": "SELECT $1::int + 1, $2::text", "parameters": ["41", null]});
    assert_eq!(send(&alice, with).await.body["results"][0]["rows"], json!([["42", null]]));

    check(&run(&alice, "DROP TABLE payments").await, 422, "statement-failed");
    let denied = run(&alice, "TRUNCATE payments").await;
    assert_eq!(denied.body["sqlstate"], "42501");
    assert!(denied.body["detail"].as_str().is_some_and(|text| text.contains("go through a migration")));
    let wrong = run(&alice, "SELECT 1 +").await;
    assert_eq!((wrong.status, &wrong.body["sqlstate"]), (422, &json!("42601")));
}

/// An error of the statement is the caller's to mend, also where its number is one of connections or of databases.
#[tokio::test]
async fn what_a_statement_raises_is_not_taken_for_a_fault_of_the_proxy() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let alice = proxy.api("alice");
    for (statement, values, sqlstate) in [
        ("", json!(["1"]), "08P01"),
        ("SELECT 1", json!(["1", null]), "08P01"),
        ("SELECT $1::int, $2::int", json!(["1"]), "08P01"),
        ("SELECT pg_relation_size(0), pg_database_size($1::text)", json!(["nowhere"]), "3D000"),
    ] {
        let answer = send(&alice, json!({"database": "shop", "statement": statement, "parameters": values})).await;
        check(&answer, 422, "statement-failed");
        assert_eq!(answer.body["sqlstate"], sqlstate, "{statement}: {}", answer.body);
    }
    assert_eq!(run(&alice, "SELECT 1").await.status, 200);
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_is_no_fault_of_the_statement() {
    let database = Database::create().await;
    let deny = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name);
    let proxy = Proxy::in_front_of(database, Launch { fragment: WRITES_HELD, ..Launch::default() }, |text| text).await;
    SERVER.execute("postgres", &deny).await.expect("no more connections");
    let answer = run(&proxy.api("alice"), "SELECT 1").await;
    check(&answer, 503, "unavailable");
    assert_eq!(answer.body["sqlstate"], "08001");
}

#[tokio::test]
async fn what_is_held_runs_once_when_it_is_sent_again_after_approval() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (alice, bob) = (proxy.api("alice"), proxy.api("bob"));
    let ask = || send(&alice, json!({"database": "shop", "statement": UPDATE, "reason": "ticket 31"}));
    let held = ask().await;
    assert_eq!(
        (held.status, &held.body["state"], &held.body["justification"]),
        (202, &json!("PENDING"), &json!("ticket 31"))
    );
    let id = held.body["id"].as_str().expect("id").to_owned();
    assert_eq!(ask().await.body["id"], id, "the same request");
    assert_eq!(alice.approve(&id).await, 403);
    assert_eq!(bob.approve(&id).await, 200);
    let other = send(&proxy.api("erin"), json!({"database": "shop", "statement": UPDATE})).await;
    assert!(other.status == 202 && other.body["id"] != id, "an approval is its requester's: {}", other.body);
    assert_eq!(ask().await.body["results"][0]["command"], "UPDATE 1");
    alice.wait_for_state(&id, "EXECUTED").await;
    let again = ask().await;
    assert!(again.status == 202 && again.body["id"] != id, "it was used: {}", again.body);
}

#[tokio::test]
async fn a_key_makes_it_once_and_keeps_no_rows() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (alice, bob) = (proxy.api("alice"), proxy.api("bob"));
    let keyed = async |key: &str, statement: &str| -> (u16, Value) {
        let http = reqwest::Client::builder().no_proxy().build().expect("client");
        let request = http.post(format!("{}/api/v1/requests", proxy.web())).bearer_auth(token("alice"));
        let request = request.header("Idempotency-Key", key).json(&json!({"database": "shop", "statement": statement}));
        let answer = request.send().await.expect("answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    };
    let (status, held) = keyed("one", UPDATE).await;
    let id = held["id"].as_str().expect("id").to_owned();
    assert_eq!((status, bob.approve(&id).await), (202, 200));
    let ran = keyed("one", UPDATE).await;
    assert_eq!(
        (ran.0, &ran.1["results"][0]["command"]),
        (200, &json!("UPDATE 1")),
        "that it is held is no answer to keep"
    );
    assert_eq!(keyed("one", UPDATE).await, ran, "the same answer, and nothing else");
    assert_eq!(run(&alice, UPDATE).await.status, 202, "the approval was used once");
    assert_eq!(keyed("two", "SELECT name FROM products").await.0, 200);
    let (status, again) = keyed("two", "SELECT name FROM products").await;
    assert_eq!((status, &again["type"]), (409, &json!("urn:countersign:problem:call-done")));
}

#[tokio::test]
async fn values_are_part_of_what_is_approved() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let alice = proxy.api("alice");
    let ask = |id: &str| {
        let statement = "DELETE FROM payments WHERE id = $1";
        send(&alice, json!({"database": "shop", "statement": statement, "parameters": [id]}))
    };
    let held = ask("1").await;
    assert_eq!(proxy.api("bob").approve(held.body["id"].as_str().expect("id")).await, 200);
    assert_eq!(ask("2").await.status, 202);
    assert_eq!(ask("1").await.body["results"][0]["command"], "DELETE 1");
}

#[tokio::test]
async fn who_may_not_connect_may_not_call() {
    let database = Database::create().await;
    let fragment = format!(
        "{WRITES_HELD}\n[databases.direct]\nupstream = \"postgres://{role}@127.0.0.1:{port}/{name}?sslmode=disable\"\n\
         password = {{ env = \"COUNTERSIGN_TEST_UPSTREAM_PASSWORD\" }}\nauth = \"passthrough\"\n\
         groups = [\"dba-team\"]\ndefault = \"allow\"\n",
        role = shop::SHOP_ROLE,
        port = SERVER.port(),
        name = database.name,
    );
    let proxy = Proxy::start(&fragment).await;
    let alice = proxy.api("alice");
    for name in ["nowhere", "direct", "countersign", ""] {
        let answer = send(&alice, json!({"database": name, "statement": "SELECT 1"})).await;
        check(&answer, 404, "no-such-database");
    }
    let bob = send(&proxy.api("bob"), json!({"database": "direct", "statement": "SELECT 1"})).await;
    check(&bob, 422, "passthrough");
    for (body, status, kind) in [
        (json!({"database": "shop"}), 400, "bad-request"),
        (json!({"statement": "SELECT 1"}), 400, "bad-request"),
        (json!({"database": "shop", "statement": "SELECT 1", "mode": "wait"}), 400, "bad-request"),
        (json!({"database": "shop", "statement": "SELECT 1\u{0}; DROP TABLE payments"}), 422, "contradiction"),
        (json!({"database": "shop", "statement": "COPY payments TO STDOUT"}), 422, "no-copy"),
        (json!({"database": "shop", "statement": "COPY products (name) FROM STDIN", "reason": "x"}), 202, ""),
    ] {
        let answer = send(&alice, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body["type"].as_str().unwrap_or_default().ends_with(kind), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_token_that_is_not_for_it_runs_nothing() {
    let proxy = Proxy::start(WRITES_HELD).await;
    proxy.edit("scopes = [\"admin\"]", "scopes = [\"requests:write\", \"requests:read\", \"requests:decide\"]");
    assert!(proxy.run(&["check"]).status.success());
    proxy.signal(Signal::HUP);
    let alice = proxy.api("alice");
    let refused = async {
        loop {
            let answer = run(&alice, "SELECT 1").await;
            if answer.status != 200 {
                return answer;
            }
        }
    };
    check(&within("the reload", refused).await, 403, "no-scope");
}

#[tokio::test]
async fn a_call_that_is_given_up_cancels_its_statement() {
    const COUNT: &str = "SELECT count(*) AS waits FROM payments";
    let database = Database::create().await;
    let (blocker, direct) = (database.direct().await, database.direct().await);
    blocker.batch_execute("BEGIN; LOCK TABLE payments").await.expect("a lock");
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    let proxy = Proxy::in_front_of(database, launch, |text| text).await;
    let running = async || -> i64 {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = $1";
        direct.query_one(count, &[&COUNT]).await.expect("activity").get(0)
    };
    let alice = proxy.api("alice");
    let call = run(&alice, COUNT);
    let began = async { while running().await == 0 {} };
    tokio::select! {
        answer = call => panic!("{}", answer.body),
        () = within("it runs", began) => {}
    }
    // The call is dropped now, and its connection with it.
    within("it is cancelled", async { while running().await > 0 {} }).await;
    assert_eq!(run(&alice, "SELECT 1").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_is_too_large_says_what_is_left_out() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let answer = run(&proxy.api("alice"), "SELECT repeat('x', 1000) FROM generate_series(1, 10000)").await;
    let result = &answer.body["results"][0];
    let (rows, left) =
        (result["rows"].as_array().expect("rows").len(), result["rows_left_out"].as_u64().expect("number"));
    assert!(left > 0 && rows as u64 + left == 10_000, "{rows} + {left}");
    assert_eq!(result["command"], "SELECT 10000");
}

/// Somebody whose statements hang takes the room of nobody else.
#[tokio::test]
async fn one_user_has_no_more_than_a_share_of_the_calls() {
    let database = Database::create().await;
    let (blocker, direct) = (database.direct().await, database.direct().await);
    blocker.batch_execute("BEGIN; LOCK TABLE payments").await.expect("a lock");
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    let proxy = Proxy::in_front_of(database, launch, |text| text).await;
    let hanging = async || -> i64 {
        let count =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT % AS hangs %'";
        direct.query_one(count, &[]).await.expect("activity").get(0)
    };
    let (alice, erin) = (proxy.api("alice"), proxy.api("erin"));
    let hang = || run(&alice, "SELECT count(*) AS hangs FROM payments");
    let all = futures_util::future::join_all((0..8).map(|_each| hang()));
    let meanwhile = async {
        within("they hang", async { while hanging().await < 8 {} }).await;
        check(&run(&alice, "SELECT 1").await, 503, "busy");
        assert_eq!(run(&erin, "SELECT 1").await.status, 200);
    };
    tokio::select! {
        answers = all => panic!("{:?}", answers.len()),
        () = meanwhile => {}
    }
    // They are dropped now, and cancelled.
    within("their room comes back", async { while run(&alice, "SELECT 1").await.status != 200 {} }).await;
}

/// What a function raises is believed of nobody but the proxy.
#[tokio::test]
async fn an_error_that_looks_like_a_hold_shows_no_request_of_somebody_else() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let held = run(&proxy.api("alice"), UPDATE).await;
    let id = held.body["id"].as_str().expect("id");
    let statement = format!(
        "CREATE FUNCTION pg_temp.forge() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'approval required' \
         USING ERRCODE = '42501', DETAIL = 'Access request {id}: nothing'; END $$; SELECT pg_temp.forge()"
    );
    for user in ["erin", "bob"] {
        let answer = run(&proxy.api(user), &statement).await;
        assert!(answer.status != 202 && !answer.body.to_string().contains("products"), "{user}: {}", answer.body);
    }
}
