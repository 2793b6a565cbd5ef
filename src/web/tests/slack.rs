//! Calls of Slack, and of those who would like to be Slack.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::*;
use crate::config::{Endpoint, NotifyConfig, Secret, SlackConfig};
use crate::review::fixture::{PEOPLE, config};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

async fn site() -> Site {
    let site = Site::start().await;
    let url = Secret::new("https://slack.com/api/".to_owned());
    let slack = SlackConfig {
        endpoint: Endpoint { url, allow_addresses: Vec::new(), ca: None },
        bot_token: Secret::new("xoxb-test".to_owned()),
        app_token: None,
        signing_secret: Some(Secret::new(SECRET.to_owned())),
        channels: Vec::new(),
        include_statement: false,
    };
    let notify = NotifyConfig { slack: Some(slack), ..NotifyConfig::default() };
    site.bench.config.store(Arc::new(Config { notify, ..config(PEOPLE) }));
    site
}

fn signature(secret: &str, at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{at}:{body}").as_bytes());
    format!("v0={}", hex::encode(mac.finalize().into_bytes()))
}

async fn call(site: &Site, path: &str, (at, signature): (&str, &str), body: &str) -> (u16, String) {
    let call = site.client.post(format!("http://{}{path}", site.address));
    let call = call.header("x-slack-request-timestamp", at).header("x-slack-signature", signature);
    let call = call.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
    let response = call.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn only_a_fresh_call_that_slack_has_signed_is_taken_and_that_once() {
    let site = site().await;
    let (id, _waiting) = site.hold("dba").await;
    let payload = json!({"type": "block_actions", "user": {"id": "UBOB"}, "trigger_id": "t", "channel": {"id": "C"},
        "actions": [{"action_id": "approve", "value": id}]});
    let mut form = form_urlencoded::Serializer::new(String::new());
    let body = form.append_pair("payload", &payload.to_string()).finish();
    let now = Timestamp::now().as_second();
    let path = "/slack/interactions";
    for (at, secret, signed, sent) in [
        (now, "guessed", body.as_str(), body.as_str()),
        (now, SECRET, "other", &body),
        (now, SECRET, &body, "payload=%7B%7D"),
        (now - 301, SECRET, &body, &body),
        (now + 330, SECRET, &body, &body),
    ] {
        let (status, text) = call(&site, path, (&at.to_string(), &signature(secret, at, signed)), sent).await;
        assert_eq!(status, 401, "{at} {text}");
    }
    for headers in [("", ""), (now.to_string().as_str(), "")] {
        assert_eq!(call(&site, path, headers, &body).await.0, 401);
    }
    let (at, signed) = (now.to_string(), signature(SECRET, now, &body));
    // Taken at once, and nothing said: nobody is there to do it.
    assert_eq!(call(&site, path, (&at, &signed), &body).await, (200, String::new()));
    let (status, text) = call(&site, path, (&at, &signed), &body).await;
    assert!(status == 409 && text.contains("problem:replayed"), "{text}");
    // To the other address it is the same call.
    assert_eq!(call(&site, "/slack/commands", (&at, &signed), &body).await.0, 409);
    site.stop().await;
}

#[tokio::test]
async fn a_proxy_without_a_secret_takes_no_calls() {
    let site = Site::start().await;
    let now = Timestamp::now().as_second();
    for path in ["/slack/interactions", "/slack/commands"] {
        let (status, _) = call(&site, path, (&now.to_string(), &signature("", now, "x=y")), "x=y").await;
        assert_eq!(status, 404, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn more_than_there_is_room_for_is_said_at_once() {
    let site = site().await;
    let now = Timestamp::now().as_second();
    let mut said = Vec::new();
    for number in 0..=crate::notify::slack::desk::QUEUE_MAX {
        let body = format!(
            "user_id=UBOB&channel_id=C&channel_name=general&text=pending&response_url=https%3A%2F%2Fhooks.slack.com%2F{number}"
        );
        let headers = (now.to_string(), signature(SECRET, now, &body));
        said.push(call(&site, "/slack/commands", (&headers.0, &headers.1), &body).await);
    }
    let (last, others) = said.split_last().unwrap();
    assert!(others.iter().all(|answer| *answer == (200, String::new())));
    assert!(last.0 == 200 && last.1.contains("Too much is going on"), "{last:?}");
    site.stop().await;
}
