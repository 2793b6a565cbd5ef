//! Notifications of the real proxy, taken by servers on this machine.

#[path = "../../src/notify/tests/receiver.rs"]
mod receiver;

mod email;

use std::process::Stdio;

use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::AsyncWriteExt;

use self::receiver::{Answer, Call, Receiver};
use crate::browser::{chromium, in_repository};
use crate::support::client::affected;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::within;

const UPDATE: &str = "UPDATE customers SET note = 'canary-5521' WHERE id = 1";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FORMER: &str = "whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";

/// A proxy that holds writes and tells that receiver; carol is an admin.
async fn proxy(receiver: &Receiver) -> Proxy {
    let fragment = format!(
        "{WRITES_HELD}\n[[notify.webhooks]]\nname = \"siem\"\nurl = \"{}\"\nallow_addresses = [\"127.0.0.1\"]\n\
         secret = {{ env = \"HOOK_SECRET\" }}\nformer_secret = {{ env = \"HOOK_FORMER\" }}\n",
        receiver.url()
    );
    let environment = [("HOOK_SECRET", SECRET), ("HOOK_FORMER", FORMER)];
    let launch = Launch { fragment: &fragment, environment: &environment, ..Launch::default() };
    let adapt =
        |text: String| text.replacen("groups = [\"security-team\"]", "groups = [\"security-team\", \"admin\"]", 1);
    Proxy::in_front_of(Database::create().await, launch, adapt).await
}

/// Waits until so many calls were answered with 200.
async fn taken(receiver: &Receiver, count: usize) -> Vec<Call> {
    let all = async {
        loop {
            let calls: Vec<_> = receiver.calls().into_iter().filter(|call| call.status == 200).collect();
            if calls.len() >= count {
                return calls;
            }
            tokio::task::yield_now().await;
        }
    };
    within("calls of the webhook", all).await
}

/// The body of the first call of that path, once there is one.
async fn first_call(receiver: &Receiver, path: &str) -> Value {
    let found = async {
        loop {
            if let Some(call) = receiver.calls().into_iter().find(|call| call.path == path) {
                return call.json();
            }
            tokio::task::yield_now().await;
        }
    };
    within(path, found).await
}

/// What the reference implementation and the schema make of the calls: their types.
async fn verified(calls: &[Call], secret: &str) -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let lines = calls.iter().map(|call| {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name, call.header(name)));
        let headers: std::collections::BTreeMap<_, _> = headers.into_iter().collect();
        let body = std::str::from_utf8(&call.body).expect("UTF-8");
        format!("{}\n", json!({"secret": secret, "headers": headers, "body": body}))
    });
    let mut child = tokio::process::Command::new("python3")
        .arg(root.join("tests/clients/webhooks.py"))
        .arg(root.join("docs/webhook-event.schema.json"))
        .env("PYTHONPATH", root.join("target/clients/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 (scripts/setup --tests installs what it needs)");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(lines.collect::<String>().as_bytes()).await.expect("the script reads");
    drop(stdin);
    let output = within("the script", child.wait_with_output()).await.expect("the script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_transition_is_told_with_a_signature_that_others_verify() {
    let receiver = Receiver::answering(200).await;
    let proxy = proxy(&receiver).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let (id, begun) = (held.id.clone(), std::time::Instant::now());
    let created = taken(&receiver, 1).await;
    assert!(begun.elapsed().as_secs() < 2, "the reviewer hears of it within two seconds");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    let calls = taken(&receiver, 4).await;
    let expected = ["created", "approved", "executing", "executed"].map(|what| format!("access_request.{what}"));
    for secret in [SECRET, FORMER] {
        assert_eq!(verified(&calls, secret).await, expected);
    }
    let request = created[0].json()["data"]["request"].clone();
    assert_eq!((request["id"].as_str(), request["user"].as_str()), (Some(id.as_str()), Some("alice")));
    assert_eq!(request["statement"]["text"], "UPDATE customers SET note = '…' WHERE id = …");
    for call in &calls {
        assert!(!String::from_utf8_lossy(&call.body).contains("canary-5521"));
    }
    assert!(!proxy.log().contains("canary-5521"));
}

#[tokio::test]
async fn what_was_not_told_before_a_crash_is_told_after_it() {
    let receiver = Receiver::answering(503).await;
    let mut proxy = proxy(&receiver).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let id = held.id.clone();
    within("an attempt", async {
        while receiver.calls().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    proxy.kill();
    receiver.play(|_calls, _call| Answer::of(200));
    let environment = [("HOOK_SECRET", SECRET), ("HOOK_FORMER", FORMER)];
    proxy.relaunch(Launch { environment: &environment, ..Launch::default() }).await;
    let calls = taken(&receiver, 2).await;
    let kinds: Vec<_> = calls.iter().map(|call| call.json()["type"].as_str().expect("type").to_owned()).collect();
    assert_eq!(kinds, ["access_request.created", "access_request.cancelled"]);
    assert!(calls.iter().all(|call| call.json()["data"]["request"]["id"] == id.as_str()));
    assert_eq!(calls[0].header("webhook-id"), receiver.calls()[0].header("webhook-id"), "sent again, not anew");
}

#[tokio::test]
async fn admins_see_what_was_told_and_have_it_sent_again() {
    let receiver = Receiver::start(|_calls, _call| Answer::of(410)).await;
    let proxy = proxy(&receiver).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let dead = async |count: usize| -> Vec<Value> {
        let found = async {
            loop {
                let page = proxy.api("carol").call(Method::GET, "/notifications?state=DEAD", None).await;
                let list = page.body["notifications"].as_array().expect("a list").clone();
                if list.len() >= count {
                    return list;
                }
            }
        };
        within("what was given up", found).await
    };
    let given_up = dead(1).await;
    assert_eq!((&given_up[0]["subject"], &given_up[0]["answer"]), (&held.id.as_str().into(), &"410".into()));
    assert_eq!((&given_up[0]["target"], &given_up[0]["what"]), (&"webhook siem".into(), &"PENDING".into()));
    let shown = proxy.psql("carol", &["-At", "-d", "countersign", "-c", "SHOW NOTIFICATIONS"]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("|webhook siem|request|{}|PENDING|", held.id)), "{shown}");
    let refused = proxy.psql("bob", &["-d", "countersign", "-c", "SHOW NOTIFICATIONS"]).await;
    assert!(!refused.status.success());
    receiver.play(|_calls, _call| Answer::of(200));
    let number = given_up[0]["id"].as_i64().expect("a number");
    let path = format!("/notifications/{number}/redeliver");
    assert_eq!(proxy.api("bob").call(Method::POST, &path, None).await.status, 403);
    assert_eq!(proxy.api("carol").call(Method::POST, &path, None).await.status, 200);
    let calls = taken(&receiver, 1).await;
    assert_eq!(calls[0].json()["data"]["request"]["id"], held.id.as_str());
    let delivered = "countersign_notify_attempts_total{target=\"webhook siem\",outcome=\"delivered\"}";
    within("the counter", async { while proxy.metric(delivered).await < 1.0 {} }).await;
}

/// What Slack and a workflow of Teams would answer.
fn everywhere(call: &Call) -> Answer {
    match call.path.as_str() {
        "/hook" => Answer::of(202),
        "/api/chat.postMessage" | "/api/chat.update" => {
            Answer::json(json!({"ok": true, "channel": "C0MAIN", "ts": "1700000000.000100"}))
        }
        "/api/auth.test" => Answer::json(json!({"ok": true, "team_id": "T0US"})),
        "/api/users.info" if call.body.ends_with(b"=UBOB") => Answer::json(json!({"ok": true, "user": {
            "id": "UBOB", "team_id": "T0US", "profile": {"email": "bob@example.com"}}})),
        "/api/chat.postEphemeral" => Answer::json(json!({"ok": true})),
        _ => Answer::json(json!({"ok": false, "error": "users_not_found"})),
    }
}

/// Draws the payloads, and yields the text of each picture.
async fn drawn(pictures: &Value) -> Vec<String> {
    let mut command = tokio::process::Command::new("node");
    command
        .arg(in_repository("tests/browser/cards.js"))
        .env("NODE_PATH", in_repository("target/browser/node_modules"))
        .env("CHROMIUM", chromium())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(folder) = std::env::var_os("COUNTERSIGN_SCREENSHOTS") {
        command.env("SCREENSHOTS", in_repository(&folder.to_string_lossy()));
    }
    let mut child = command.spawn().expect("node (scripts/setup --tests installs what it needs)");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(pictures.to_string().as_bytes()).await.expect("the script reads");
    drop(stdin);
    let output = within("the pictures", child.wait_with_output()).await.expect("the script");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.lines().map(|line| serde_json::from_str(line).expect("a text")).collect()
}

#[tokio::test]
async fn messages_and_cards_can_be_read() {
    let receiver = Receiver::start(|_calls, call| everywhere(call)).await;
    let port = receiver.port;
    let fragment = format!(
        "{WRITES_HELD}\n[notify.slack]\nbot_token = {{ env = \"SLACK_TOKEN\" }}\nchannels = [\"C0MAIN\"]\n\
         url = \"http://127.0.0.1:{port}/api/\"\nallow_addresses = [\"127.0.0.1\"]\n\
         [notify.teams]\nurl = {{ env = \"TEAMS_URL\" }}\nallow_addresses = [\"127.0.0.1\"]\n"
    );
    let teams = receiver.url();
    let environment = [("SLACK_TOKEN", "xoxb-test"), ("TEAMS_URL", teams.as_str())];
    let proxy = Proxy::launch(Launch { fragment: &fragment, environment: &environment, ..Launch::default() }).await;
    let mut alice = proxy.client("alice").await;
    let statement = "/* reason: ticket 4711, wrong address */ UPDATE customers SET note = '<b>moved</b>' WHERE id = 1";
    let held = alice.hold(statement).await;
    let (message, card) = (first_call(&receiver, "/api/chat.postMessage").await, first_call(&receiver, "/hook").await);
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    let last = async {
        loop {
            let calls = receiver.calls();
            let told = calls.iter().rev().find(|call| call.path == "/api/chat.update").map(Call::json);
            if let Some(told) = told.filter(|told| told["text"].as_str().is_some_and(|text| text.contains("has run"))) {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let done = within("the last change of the message", last).await;
    let pictures = json!([
        {"name": "slack-pending", "kind": "slack", "payload": message},
        {"name": "slack-decided", "kind": "slack", "payload": done},
        {"name": "teams-card", "kind": "teams", "payload": card},
    ]);
    let texts = drawn(&pictures).await;
    for (text, wanted) in texts.iter().zip([
        &["Approval needed: update on public.customers", "alice", "dba-team", "Approve", "Reject…"][..],
        &["Approved, has run: update on public.customers", "approved by bob", "UPDATE 1"],
        &["Approval needed: update on public.customers", "ticket 4711", "Open in Countersign"],
    ]) {
        for part in wanted {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("UPDATE customers SET note = '…' WHERE id = …") && !text.contains("moved"), "{text}");
    }
    assert_eq!(texts.len(), 3);
    assert!(!texts[1].contains("Reject"), "{}", texts[1]);
}

/// Presses a button, as Slack calls the proxy; the status that it answers.
async fn press(proxy: &Proxy, who: &str, message: &Value) -> u16 {
    let blocks = message["blocks"].as_array().expect("blocks");
    let button = &blocks.last().expect("buttons")["elements"][0];
    let payload = json!({"type": "block_actions", "user": {"id": who}, "trigger_id": "t",
        "channel": {"id": "C0MAIN"}, "actions": [button]});
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish();
    let at = jiff::Timestamp::now().as_second();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"signed-by-slack").expect("a key");
    mac.update(format!("v0:{at}:{body}").as_bytes());
    let signature = format!("v0={}", hex::encode(mac.finalize().into_bytes()));
    drop(rustls::crypto::ring::default_provider().install_default());
    let call = reqwest::Client::new().post(format!("{}/slack/interactions", proxy.web()));
    let call = call.header("x-slack-request-timestamp", at).header("x-slack-signature", signature).body(body);
    within("the answer to Slack", call.send()).await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_statement_runs_when_a_reviewer_presses_the_button_and_not_when_another_does() {
    let receiver = Receiver::start(|_calls, call| everywhere(call)).await;
    let fragment = format!(
        "{WRITES_HELD}\n[notify.slack]\nbot_token = {{ env = \"SLACK_TOKEN\" }}\nchannels = [\"C0MAIN\"]\n\
         signing_secret = {{ env = \"SLACK_SECRET\" }}\nurl = \"http://127.0.0.1:{}/api/\"\n\
         allow_addresses = [\"127.0.0.1\"]\n",
        receiver.port
    );
    let environment = [("SLACK_TOKEN", "xoxb-test"), ("SLACK_SECRET", "signed-by-slack")];
    let proxy = Proxy::launch(Launch { fragment: &fragment, environment: &environment, ..Launch::default() }).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold(UPDATE).await;
    let message = first_call(&receiver, "/api/chat.postMessage").await;
    assert_eq!(press(&proxy, "UEVE", &message).await, 200);
    let told = first_call(&receiver, "/api/chat.postEphemeral").await;
    assert_eq!(
        (&told["user"], told["text"].as_str().is_some_and(|text| text.contains("Nothing has changed"))),
        (&"UEVE".into(), true)
    );
    assert!(held.is_waiting());
    assert_eq!(press(&proxy, "UBOB", &message).await, 200);
    let id = held.id.clone();
    assert_eq!(affected(&held.outcome().await.expect("the update")), Some(1));
    let request = proxy.api("bob").request(&id).await;
    assert_eq!((&request["votes"][0]["by"], &request["votes"][0]["surface"]), (&"bob".into(), &"slack".into()));
    assert!(!proxy.log().contains("canary-5521"), "{}", proxy.log());
}

#[tokio::test]
async fn grants_are_told_from_asking_to_the_end_and_so_is_another_configuration() {
    let receiver = Receiver::answering(200).await;
    let proxy = proxy(&receiver).await;
    let post = async |who: &str, path: String, body: Value| proxy.api(who).call(Method::POST, &path, Some(body)).await;
    let ask = json!({"database": "shop", "for": "30m", "rules": ["writes-need-review"], "reason": "ticket 7"});
    let asked = post("alice", "/grants".to_owned(), ask.clone()).await;
    let id = asked.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(post("bob", format!("/grants/{id}/approve"), json!({})).await.status, 200);
    assert_eq!(post("bob", format!("/grants/{id}/revoke"), json!({"reason": "done"})).await.status, 200);
    let again = post("alice", "/grants".to_owned(), ask).await;
    let other = again.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(post("bob", format!("/grants/{other}/reject"), json!({"reason": "enough"})).await.status, 200);
    let calls = taken(&receiver, 5).await;
    let kinds = verified(&calls, SECRET).await;
    let of = |grant: &str| -> Vec<&str> {
        let told = calls.iter().zip(&kinds).filter(|(call, _)| call.json()["data"]["grant"]["id"] == grant);
        told.map(|(_, kind)| kind.as_str()).collect()
    };
    assert_eq!(of(&id), ["grant.requested", "grant.active", "grant.revoked"]);
    assert_eq!(of(&other), ["grant.requested", "grant.rejected"]);
    // Of a file that means the same nothing is told: what comes next is about the one that does not.
    let reloads = || proxy.log().matches("configuration reloaded").count();
    proxy.signal(rustix::process::Signal::HUP);
    within("a reload", async {
        while reloads() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    proxy.edit("\"merge\", \"copy_in\"", "\"merge\"");
    proxy.signal(rustix::process::Signal::HUP);
    within("another reload", async {
        while reloads() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let calls = taken(&receiver, 6).await;
    let last = calls[5].json();
    assert_eq!((verified(&calls[5..], SECRET).await, calls.len()), (vec!["config.changed".to_owned()], 6));
    let revision = last["data"]["config"]["revision"].as_str().expect("a revision").to_owned();
    assert!(proxy.log().contains(&revision), "{last}");
}
