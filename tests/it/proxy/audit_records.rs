//! What the trail keeps of statements: outcomes of all, literals or not, changes of the configuration; and that each record
//! is as `docs/audit.schema.json` says.

use std::collections::{BTreeMap, BTreeSet};

use countersign::audit::{Audit, KINDS, Options, Question, Record, Signer, SigningKey, VerdictId, history, search};
use countersign::review::{GrantScope, GrantState, Offer, Parameter, Scope, State, Surface};
use countersign_policy::verdict::ReviewerDemand;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_postgres::SimpleQueryMessage;

use crate::support::client::request_id;
use crate::support::config::{PII_MASKED, WRITES_HELD};
use crate::support::proxy::Proxy;
use crate::support::{schema, within};

/// Ends the proxy; the records of that kind.
async fn records(proxy: &mut Proxy, kind: &str) -> Vec<Value> {
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success(), "{}", proxy.log());
    let mut found = Vec::new();
    let question = Question { kinds: vec![kind.to_owned()], ..Question::default() };
    search(&proxy.data_dir().join("audit"), &question, |entry| {
        found.push(Value::Object(entry.fields));
        true
    })
    .expect("the trail");
    found
}

/// Every byte of the trail.
fn whole(proxy: &Proxy) -> String {
    std::fs::read_to_string(proxy.data_dir().join("audit/000001.jsonl")).expect("segment")
}

#[tokio::test]
async fn the_outcome_of_everything_is_told_where_that_is_wanted() {
    let mut proxy = Proxy::start(&format!("[audit]\noutcomes = \"all\"\n{PII_MASKED}")).await;
    let client = proxy.client("alice").await;
    client.client.simple_query("SELECT email FROM customers ORDER BY id LIMIT 2").await.expect("rows");
    client.client.execute("UPDATE orders SET status = $1 WHERE id = 1", &[&"shipped"]).await.expect("an update");
    client.refusal("SELECT 1 / 0").await;
    drop(client);
    let outcomes = records(&mut proxy, "outcome").await;
    let verdicts = records_again(&proxy, "verdict");
    let of = |part: &str| {
        let verdict =
            verdicts.iter().find(|verdict| verdict["statement"].as_str().is_some_and(|text| text.contains(part)));
        let verdict = verdict.unwrap_or_else(|| panic!("a verdict on {part}"));
        let told: Vec<_> = outcomes
            .iter()
            .filter(|outcome| outcome["session"] == verdict["session"] && outcome["number"] == verdict["number"])
            .collect();
        assert_eq!(told.len(), 1, "{part}: {told:?}");
        (verdict.clone(), told[0].clone())
    };
    let (_, masked) = of("FROM customers");
    assert_eq!(
        (&masked["outcome"], &masked["detail"], &masked["rows"]),
        (&json!("executed"), &json!("SELECT 2"), &json!(2))
    );
    assert_eq!(masked["masked_columns"], json!(["public.customers.email"]));
    assert_eq!(masked["masked_cells"], json!({ "customer-email": 2 }));
    assert_eq!(masked["request"], Value::Null);
    let (verdict, changed) = of("UPDATE orders");
    assert_eq!(verdict["parameters"], json!([{ "type": "text", "value": "shipped" }]));
    assert_eq!(changed["detail"], json!("UPDATE 1"));
    let (_, failed) = of("1 / 0");
    assert_eq!((&failed["outcome"], &failed["detail"]), (&json!("failed"), &json!("22012")));
    // Each that was allowed has one.
    let allowed = verdicts.iter().filter(|verdict| verdict["verdict"] == "allow").count();
    assert_eq!(outcomes.len(), allowed);
}

fn records_again(proxy: &Proxy, kind: &str) -> Vec<Value> {
    let lines = whole(proxy);
    let read = |line: &str| serde_json::from_str::<Value>(line).expect("a record");
    lines.lines().map(read).filter(|record| record["kind"] == kind).collect()
}

#[tokio::test]
async fn the_outcome_of_what_was_allowed_is_not_told_where_nobody_wants_it() {
    let mut proxy = Proxy::start("").await;
    let client = proxy.client("alice").await;
    client.value("SELECT 41 + 1").await.expect("a row");
    drop(client);
    assert_eq!(records(&mut proxy, "outcome").await, Vec::<Value>::new());
    assert!(whole(&proxy).contains("SELECT 41 + 1"));
}

/// Holds, approves and runs statements with a secret in every place where one can be; the proxy has ended.
async fn secrets(literals: &str) -> Proxy {
    let adapt = |text: String| {
        let database = "[databases.shop]\n";
        assert!(text.contains(database), "{text}");
        text.replace(database, &format!("{database}literals = \"{literals}\"\n"))
    };
    let database = crate::support::server::Database::create().await;
    let fragment = format!("{WRITES_HELD}[audit]\noutcomes = \"all\"\n");
    let launch = crate::support::proxy::Launch { fragment: &fragment, ..Default::default() };
    let mut proxy = Proxy::in_front_of(database, launch, adapt).await;
    let mut client = proxy.client("alice").await;
    client.value("SELECT 'canary-1', 8123456789 -- canary-2").await;
    client.client.query("SELECT $1::text", &[&"canary-3"]).await.expect("a row");
    client.refusal("SELECT 'canary-4").await;
    let update = "UPDATE customers SET note = $1 WHERE id = 1";
    let held = client.hold_execute(update, vec![Box::new("canary-5")]).await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    assert_eq!(held.outcome().await.expect("the update"), 1);
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    let held = client.hold("UPDATE customers SET note = 'canary-6'").await;
    let id = held.id.clone();
    let edited = json!({ "statement": "UPDATE customers SET note = 'canary-7' WHERE id = 2" });
    let answer = proxy.api("bob").call(reqwest::Method::POST, &format!("/requests/{id}/approve"), Some(edited)).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    within("the changed statement", held.outcome()).await.expect("the update");
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    drop(client);
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let trail = proxy.data_dir().join("audit");
    assert_eq!(history([trail.as_path()]).expect("the trail").flaws, []);
    proxy
}

#[tokio::test]
async fn no_literal_is_in_the_trail_of_a_database_that_has_them_left_out() {
    for literals in ["redacted", "hashed"] {
        let proxy = secrets(literals).await;
        let trail = whole(&proxy);
        assert!(!trail.contains("canary") && !trail.contains("8123456789"), "{literals}: {trail}");
        let (verdicts, intents) = (records_again(&proxy, "verdict"), records_again(&proxy, "intent"));
        let verdicts_with = |digest: &Value| verdicts.iter().filter(|verdict| verdict["digest"] == *digest).count();
        // What was held, what was approved and judged again, and what ran are one and the same.
        assert_eq!(verdicts_with(&intents[0]["digest"]), 2, "{literals}: {trail}");
        let edit = records_again(&proxy, "vote").into_iter().find(|vote| !vote["edited"].is_null()).expect("an edit");
        assert_eq!(edit["edited_digest"], intents[1]["digest"], "{literals}: {trail}");
        assert_eq!(edit["edited"], intents[1]["statement"], "{literals}: {trail}");
        // Who knows the text and has the key can find it.
        let update = "UPDATE customers SET note = $1 WHERE id = 1";
        let digest = proxy.run(&["audit", "digest", "-c", "countersign.toml", update, "--parameter", "canary-5"]);
        assert_eq!(String::from_utf8_lossy(&digest.stdout).trim(), intents[0]["digest"], "{literals}");
        let value = intents[0]["parameters"][0]["value"].as_str().expect("a value").to_owned();
        match literals {
            "redacted" => assert_eq!(value, "?"),
            _ => assert!(value.starts_with("hmac:"), "{value}"),
        }
    }
}

#[tokio::test]
async fn literals_are_in_the_trail_where_nothing_says_otherwise() {
    let proxy = secrets("full").await;
    let trail = whole(&proxy);
    for number in 1..=7 {
        assert!(trail.contains(&format!("canary-{number}")), "{number}: {trail}");
    }
    assert!(!trail.contains("\"digest\""));
}

/// Runs an approved statement with each protocol; what its outcomes keep of the output.
async fn outputs(settings: &str) -> Vec<Value> {
    let fragment = format!("{settings}\n{WRITES_HELD}\n{PII_MASKED}");
    let mut proxy = Proxy::start(&fragment).await;
    let mut client = proxy.client("alice").await;
    let direct = proxy.database.direct().await;
    let address: String =
        direct.query_one("SELECT email FROM customers WHERE id = 1", &[]).await.expect("an address").get(0);
    let text = "UPDATE customers SET note = 'x' WHERE id IN (1, 2) RETURNING id, email, NULL AS nothing";
    let held = client.hold(text).await;
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    within("the rows", held.outcome()).await.expect("rows");
    let held = client.hold_execute("DELETE FROM customers WHERE id = $1", vec![Box::new(9_999_999_i32)]).await;
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    within("the end", held.outcome()).await.expect("the end");
    drop(client);
    let outcomes = records(&mut proxy, "outcome").await;
    assert!(!whole(&proxy).contains(&address), "a masked value is nowhere");
    outcomes.iter().map(|outcome| outcome["output"].clone()).collect()
}

#[tokio::test]
async fn of_the_output_of_what_was_approved_as_much_is_kept_as_is_wanted() {
    assert_eq!(outputs("").await, [Value::Null, Value::Null]);
    let counts = outputs("[audit]\nrecord_results = \"counts\"").await;
    assert_eq!(counts[0]["columns"], json!(["id", "email", "nothing"]));
    assert!(counts[0]["bytes"].as_u64() > Some(40) && counts[0]["values"].is_null(), "{counts:?}");
    assert_eq!(counts[1], json!({ "bytes": 0 }));
    let masked = outputs("[audit]\nrecord_results = \"masked\"").await;
    assert_eq!(masked[0]["bytes"], counts[0]["bytes"]);
    let rows = masked[0]["values"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0][0], &rows[0][2]), (&json!("1"), &Value::Null));
    assert!(rows[0][1].as_str().is_some_and(|email| email.contains("***@")), "{rows:?}");
    assert_eq!(masked[1], json!({ "bytes": 0, "values": [] }));
}

#[tokio::test]
async fn what_somebody_sees_unmasked_is_not_kept() {
    let exempt = PII_MASKED.replacen("privacy-officers", "engineering", 1);
    let mut proxy = Proxy::start(&format!("[audit]\nrecord_results = \"masked\"\n{WRITES_HELD}\n{exempt}")).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold("UPDATE customers SET note = 'x' WHERE id = 1 RETURNING email AS seen").await;
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    let shown = within("the row", held.outcome()).await.expect("a row");
    let row = shown.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    let seen = row.expect("an address");
    assert!(!seen.contains("***"), "{seen}");
    drop(client);
    let outcomes = records(&mut proxy, "outcome").await;
    assert_eq!(outcomes[0]["output"]["columns"], json!(["seen"]));
    assert_eq!(outcomes[0]["output"]["values"], Value::Null);
    assert!(!whole(&proxy).contains(&seen));
}

#[tokio::test]
async fn a_change_of_the_configuration_is_told_with_its_lines() {
    let mut proxy = Proxy::start(WRITES_HELD).await;
    proxy.edit("no-destructive-ddl", "nothing-destructive");
    proxy.signal(Signal::HUP);
    let client = proxy.client("alice").await;
    let renamed = async {
        while !client.refusal("DROP TABLE payments").await.message().contains("nothing-destructive") {
            tokio::task::yield_now().await;
        }
    };
    within("the new configuration", renamed).await;
    let told = async {
        while !whole(&proxy).contains("+name = ") {
            tokio::task::yield_now().await;
        }
    };
    within("its record", told).await;
    proxy.edit("\"truncate\"", "\"truncate\", \"grant\"");
    // This time nothing of ours runs while it changes.
    proxy.restart().await;
    let configs = records(&mut proxy, "config").await;
    let diffs: Vec<_> = configs.iter().map(|config| config["diff"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(configs[0]["format"], 1);
    assert_eq!(diffs[0], "");
    assert_eq!(diffs[1], "-name = \"no-destructive-ddl\"\n+name = \"nothing-destructive\"\n");
    assert_eq!(diffs[2], "-effects = [\"drop\", \"truncate\"]\n+effects = [\"drop\", \"truncate\", \"grant\"]\n");
    assert_eq!(diffs.len(), 3);
    assert_ne!(configs[0]["revision"], configs[2]["revision"]);
}

/// What records are made of.
struct Parts {
    request: countersign::review::RequestId,
    grant: countersign::review::GrantId,
    told_at: Option<jiff::Timestamp>,
    names: Vec<String>,
    demands: Vec<ReviewerDemand>,
    parameters: Vec<Parameter>,
    cells: Vec<(std::sync::Arc<str>, u64)>,
    output: countersign::audit::Output,
    scope: GrantScope,
    digest: String,
}

impl Parts {
    fn new() -> Self {
        let value = |value: Option<&str>| Parameter { type_name: "text".to_owned(), value: value.map(str::to_owned) };
        let names = vec!["one".to_owned(), "two".to_owned()];
        let some = Some(names.clone());
        Self {
            request: countersign::review::RequestId(ulid::Ulid(7)),
            grant: countersign::review::GrantId(ulid::Ulid(8)),
            told_at: Some(jiff::Timestamp::UNIX_EPOCH),
            demands: vec![ReviewerDemand { group: "dba-team".to_owned(), approvals: 2 }],
            parameters: vec![value(Some("a")), value(None)],
            output: countersign::audit::Output {
                columns: names.clone(),
                bytes: 7,
                values: Some(vec![vec![Some("a".to_owned()), None]]),
                is_cut: true,
            },
            cells: vec![("emails".into(), 2)],
            scope: GrantScope {
                rules: some.clone(),
                shape: Some("0".repeat(64)),
                relations: some.clone(),
                masks: some,
            },
            digest: "0".repeat(64),
            names,
        }
    }

    /// One record of each kind with everything that it can hold, but for the checkpoint, which the writer makes.
    fn one_of_each(&self) -> Vec<Record<'_>> {
        let mut all = self.of_people();
        all.extend(self.of_statements());
        all.extend(self.of_decisions());
        all.extend(self.of_grants_and_files());
        all
    }

    fn of_people(&self) -> Vec<Record<'_>> {
        let (session, user, database, text) = ("1", "alice", "shop", "text");
        let names = &*self.names;
        let (told_at, client_address) = (self.told_at, "192.0.2.1:5000");
        vec![
            Record::SessionOpen { session, user, database, client_address, application: "psql" },
            Record::LoginFailed { user, database, client_address, reason: text },
            Record::SignIn { user, client_address, with: "password", accepted: true },
            Record::Password { user, client_address, expires_at: told_at },
            Record::ApiCall { user, client_address, with: "token", method: "POST", path: "/", status: 200 },
            Record::ConsoleCommand { session, user, command: text, parameters: names, permitted: true },
            Record::SessionClose { session, user, database, reason: text },
        ]
    }

    fn of_statements(&self) -> Vec<Record<'_>> {
        let (session, user, database, text) = ("1", "alice", "shop", "text");
        let names = &*self.names;
        let (request, told_at) = (self.request, self.told_at);
        vec![
            Record::Verdict {
                session,
                number: 1,
                user,
                database,
                statement: text,
                parameters: &self.parameters,
                digest: Some(&self.digest),
                effects: [countersign_policy::Effect::Delete].into_iter().collect(),
                verdict: "hold",
                rules: names,
                observed: names,
                request: Some(request),
                not_opened: Some("too_many"),
                grant: Some("0000000000000000000000000B"),
                unmasked_by: names,
            },
            Record::Intent {
                request,
                user,
                database,
                statement: text,
                parameters: &self.parameters,
                digest: Some(&self.digest),
                approvers: names,
                reviewers: &self.demands,
            },
            Record::Outcome {
                request: None,
                verdict: Some(VerdictId { session, number: 1 }),
                user,
                database,
                outcome: "executed",
                detail: Some(text),
                rows: 1,
                duration_ms: 1,
                masked_columns: names,
                masked_cells: &self.cells,
                output: Some(&self.output),
                told_at,
            },
        ]
    }

    fn of_decisions(&self) -> Vec<Record<'_>> {
        let text = "text";
        let names = &*self.names;
        let (request, told_at) = (self.request, self.told_at);
        let (by, surface, reason, groups) = ("bob", Surface::Web, Some("fine"), names);
        vec![
            Record::Vote {
                request,
                version: 2,
                by,
                groups,
                approve: true,
                surface,
                reason,
                edited: Some(text),
                edited_digest: Some(&self.digest),
                offer: Some(Offer { seconds: 60, scope: Scope::Shape }),
                forced: true,
                max_affected: Some(1),
                told_at,
            },
            Record::Comment { request, by, surface, text },
            Record::Justification { request, by, surface, reason: text },
            Record::Transition { request, from: None, to: State::Pending, by, surface, reason, told_at },
        ]
    }

    fn of_grants_and_files(&self) -> Vec<Record<'_>> {
        let (user, database, text) = ("alice", "shop", "text");
        let names = &*self.names;
        let (request, grant, told_at) = (self.request, self.grant, self.told_at);
        let (by, surface, reason, groups) = ("bob", Surface::Web, Some("fine"), names);
        vec![
            Record::Grant {
                grant,
                from: Some(GrantState::Requested),
                to: GrantState::Active,
                by,
                surface,
                reason,
                user,
                database,
                scope: &self.scope,
                reviewers: &self.demands,
                expires_at: jiff::Timestamp::MAX,
                request: Some(request),
                told_at,
            },
            Record::GrantVote { grant, by, groups, approve: false, surface, reason, told_at },
            Record::Config { format: countersign::audit::FORMAT, revision: text, warnings: names, diff: Some(text) },
            Record::ConfigChange { by, surface, before: text, after: text, diff: text },
            Record::Retired { segment: text, first_seq: 1, last_seq: 2, last_hash: &self.digest },
            Record::Gap { reason: text, segment: text, bytes: 1, sha256: &self.digest, kept_as: text },
        ]
    }
}

#[test]
fn every_kind_of_record_is_described_with_every_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = SigningKey::from_pem(&SigningKey::new_pem().expect("a key")).expect("a key");
    let former = SigningKey::from_pem(&SigningKey::new_pem().expect("a key")).expect("a key");
    let signer = Some(Signer::new(key, Some(&former)));
    let options = Options { signer, ..Options::default() };
    let audit = Audit::open_with(directory.path(), options, jiff::Timestamp::UNIX_EPOCH).expect("a trail");
    let parts = Parts::new();
    for record in parts.one_of_each() {
        audit.record(jiff::Timestamp::UNIX_EPOCH, &record).expect("recorded");
    }
    drop(audit);
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    search(directory.path(), &Question::default(), |entry| {
        let record = Value::Object(entry.fields.clone());
        assert_eq!(schema::flaw(&record), None);
        written.entry(entry.text("kind").to_owned()).or_default().extend(entry.fields.keys().cloned());
        // Nothing may be missing, and nothing may be there that is not described.
        for key in ["seq", "at", "prev"] {
            let mut less = record.clone();
            less.as_object_mut().expect("an object").remove(key);
            assert!(schema::flaw(&less).is_some(), "{key}");
        }
        let mut more = record.clone();
        more["another"] = json!(1);
        assert!(schema::flaw(&more).is_some());
        true
    })
    .expect("the trail");
    let known: BTreeSet<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(written.keys().cloned().collect::<BTreeSet<_>>(), known);
    assert_eq!(schema::kinds(), known);
    assert_eq!(schema::keys(), written, "a key that is described is written, and the other way round");
}

#[tokio::test]
async fn a_verdict_that_holds_names_its_request_or_why_there_is_none() {
    const AGAIN: &str = "DELETE FROM payments WHERE id = 1";
    let reasons = "[[rules]]\nname = \"why\"\neffects = [\"delete\"]\naction = \"hold\"\nreviewers = [\"dba-team\"]\n\
                   justification = \"required\"\nrelations = [\"public.orders\"]\n";
    let mut proxy = Proxy::start(&format!("{WRITES_HELD}{reasons}[limits]\nrequests_per_user = 1\n")).await;
    let mut waits = proxy.client("alice").await;
    let held = waits.hold("DELETE FROM payments WHERE id = 2").await;
    let other = proxy.client("alice").await;
    other.client.simple_query("SET countersign.mode = 'resubmit'").await.expect("a setting");
    assert_eq!(other.refusal(AGAIN).await.code().code(), "53400");
    let bob = proxy.api("bob");
    assert_eq!(bob.approve(&held.id).await, 200);
    let first = held.id.clone();
    held.outcome().await.expect("it runs");
    let id = request_id(other.refusal(AGAIN).await.detail().unwrap_or_default()).expect("an id");
    assert_eq!(request_id(other.refusal(AGAIN).await.detail().unwrap_or_default()).as_ref(), Some(&id));
    assert_eq!(bob.approve(&id).await, 200);
    other.client.simple_query(AGAIN).await.expect("it runs");
    waits.refusal("DELETE FROM orders WHERE false").await;
    drop((waits, other));

    let verdicts = records(&mut proxy, "verdict").await;
    let of = |text: &str| -> Vec<Value> {
        let found = verdicts.iter().filter(|verdict| verdict["statement"] == text);
        found.map(|verdict| json!([verdict["verdict"], verdict["request"], verdict["not_opened"]])).collect()
    };
    let [waited, allowed] = [json!(["hold", first, null]), json!(["allow", first, null])];
    assert_eq!(of("DELETE FROM payments WHERE id = 2"), [waited, allowed]);
    let (held, allowed) = (json!(["hold", id, null]), json!(["allow", id, null]));
    assert_eq!(of(AGAIN), [json!(["hold", null, "too_many"]), held.clone(), held.clone(), held, allowed]);
    assert_eq!(of("DELETE FROM orders WHERE false"), [json!(["hold", null, "unjustified"])]);
    let opened = records_again(&proxy, "transition");
    let opened =
        opened.iter().filter(|transition| transition["to"] == "PENDING").map(|opened| opened["request"].clone());
    assert_eq!(opened.collect::<Vec<_>>(), [json!(first), json!(id)], "each can be joined");
    schema::check_trail(&proxy.data_dir().join("audit"));
}
