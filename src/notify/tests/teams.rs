//! Cards in Teams.

use serde_json::Value;

use super::receiver::{Answer, Call, Receiver};
use super::*;
use crate::config::{Endpoint, Network, Secret, TeamsConfig};
use crate::notify::teams::Teams;

/// What a workflow takes: an Adaptive Card 1.4 of at most 28 KiB, of elements that Teams knows.
fn check(call: &Call) -> Result<Value, &'static str> {
    if call.body.len() > 28 << 10 || call.header("content-type") != "application/json" {
        return Err("too large, or no JSON");
    }
    let body = call.json();
    let attachment = &body["attachments"][0];
    if body["type"] != "message" || attachment["contentType"] != "application/vnd.microsoft.card.adaptive" {
        return Err("no message with a card");
    }
    let card = attachment["content"].clone();
    if card["type"] != "AdaptiveCard" || card["version"] != "1.4" {
        return Err("no Adaptive Card 1.4");
    }
    let runs = |block: &Value| {
        let inlines = block["inlines"].as_array().cloned().unwrap_or_default();
        let is_run =
            |run: &Value| run["type"] == "TextRun" && run["text"].as_str().is_some_and(|text| !text.is_empty());
        block["type"] == "RichTextBlock" && !inlines.is_empty() && inlines.iter().all(is_run)
    };
    let known = |block: &Value| match block["type"].as_str().unwrap_or_default() {
        "Container" => block["items"].as_array().is_some_and(|items| items.iter().all(runs)),
        _ => runs(block),
    };
    let is_known = card["body"].as_array().is_some_and(|body| body.iter().all(known));
    let leads = card["actions"][0]["type"] == "Action.OpenUrl" && card["actions"][0]["url"].is_string();
    if is_known && leads { Ok(card) } else { Err("an element that is not known") }
}

fn config(receiver: &Receiver) -> TeamsConfig {
    TeamsConfig {
        endpoint: Endpoint {
            url: Secret::new(format!("{}?sig=secret", receiver.url())),
            allow_addresses: vec![Network::parse("127.0.0.1").unwrap()],
            ca: None,
        },
        include_statement: false,
    }
}

async fn workflow() -> Receiver {
    Receiver::start(|_calls, call| Answer::of(if check(call).is_ok() { 202 } else { 400 })).await
}

#[tokio::test]
async fn every_transition_is_a_card_that_leads_to_the_page() {
    let receiver = workflow().await;
    let mut stage = Stage::new(Arc::new(Teams::new(&config(&receiver), "https://countersign.example.com"))).await;
    let id = stage.ask("dba").await;
    stage.bench.review.reject(id, &actor("bob"), "[x](https://evil.example) **no**".to_owned(), at(1)).await.unwrap();
    stage.deliver().await;
    let cards: Vec<Value> = receiver.calls().iter().map(|call| check(call).unwrap()).collect();
    assert_eq!(cards.len(), 2);
    let link = format!("https://countersign.example.com/requests/{id}");
    assert!(cards.iter().all(|card| card["actions"][0]["url"] == link.as_str()));
    let title = |card: &Value| card["body"][0]["inlines"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(title(&cards[0]), "Approval needed: update on public.t");
    assert_eq!(title(&cards[1]), "Rejected: update on public.t");
    assert!(cards[0].to_string().contains("UPDATE t SET v = '…' WHERE id = $1") && !cards[0].to_string().contains('ü'));
    assert!(cards[1].to_string().contains("rejected by bob: [x](https://evil.example) **no**"), "{}", cards[1]);
    assert_eq!(stage.count(DeliveryState::Delivered).await, 3);
}

#[tokio::test]
async fn everybody_is_told_when_one_approved_alone() {
    let receiver = workflow().await;
    let mut stage = Stage::new(Arc::new(Teams::new(&config(&receiver), ""))).await;
    let mut config = crate::review::fixture::config(crate::review::fixture::PEOPLE);
    config.review.force_groups = vec!["security".to_owned()];
    stage.bench.config.store(Arc::new(config));
    let id = stage.ask("dba*2").await;
    let alone = crate::review::Consent { forced: true, reason: Some("site is down".to_owned()), ..Default::default() };
    stage.bench.review.approve(id, &actor("sven"), alone, at(1)).await.unwrap();
    stage.deliver().await;
    let told = check(&receiver.calls()[1]).unwrap().to_string();
    assert!(told.contains("approved alone (break-glass) by sven: site is down"), "{told}");
}

#[tokio::test]
async fn a_card_is_small_whatever_it_is_about() {
    let receiver = workflow().await;
    let whole = TeamsConfig { include_statement: true, ..config(&receiver) };
    let mut stage = Stage::new(Arc::new(Teams::new(&whole, "https://countersign.example.com"))).await;
    let long = |text: &str| text.repeat(20_000);
    let new = NewRequest {
        statement: format!("DELETE FROM t WHERE v = '{}'", long("\u{202e}")),
        summary: long("s"),
        user: "alice".to_owned(),
        groups: vec![long("g")],
        effects: vec![long("e")],
        rules: vec![long("\u{1d400}")],
        justification: Some(long("\u{200b}")),
        ..new_request("dba", Mode::Resubmit)
    };
    stage.bench.review.open(new, at(0)).await.unwrap();
    stage.deliver().await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 1, "{:?}", stage.deliveries().await);
    let card = check(&receiver.calls()[0]).unwrap().to_string();
    assert!(card.contains("The statement goes on") && !card.contains('\u{202e}'), "{card}");
}

#[tokio::test]
async fn a_workflow_that_is_busy_is_called_later_and_one_that_refuses_is_not() {
    let receiver = Receiver::start(|calls, _call| {
        let headers = vec![("retry-after", "60".to_owned())];
        if calls.is_empty() { Answer { headers, ..Answer::of(429) } } else { Answer::of(202) }
    })
    .await;
    let mut stage = Stage::new(Arc::new(Teams::new(&config(&receiver), ""))).await;
    stage.ask("dba").await;
    stage.pass(59).await;
    assert_eq!(receiver.calls().len(), 1);
    stage.pass(2).await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 1);
    receiver.play(|_calls, _call| Answer::of(400));
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(stage.count(DeliveryState::Dead).await, 1);
}
