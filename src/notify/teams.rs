//! Microsoft Teams: an Adaptive Card for each event, to the webhook of a workflow.
//!
//! Never changes a card: a workflow cannot, so what follows is another card. Invariant: what comes from people is in runs of
//! text, which Teams shows as they are, and a card is smaller than the 28 KiB that Teams takes.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Tell;
use super::event::{Literals, Story, Subject};
use super::guard::System;
use super::http::{Caller, Outcome};
use super::words::{Cut, Tone, Words};
use crate::config::TeamsConfig;

/// One channel of Teams.
pub(super) struct Teams {
    caller: Caller,
    literals: Literals,
    public_url: String,
}

impl Teams {
    pub(super) fn new(config: &TeamsConfig, public_url: &str) -> Self {
        let (caller, literals) =
            (Caller::new(&config.endpoint, Arc::new(System)), Literals::of(config.include_statement));
        Self { caller, literals, public_url: public_url.to_owned() }
    }

    async fn send(&self, story: &Story, now: Timestamp) -> Outcome {
        let Some(card) = card(story, self.literals, &self.public_url) else {
            return Outcome::delivered("not told here");
        };
        let call = match self.caller.post() {
            Ok(call) => call,
            Err(outcome) => return outcome,
        };
        match call.json(&message(card)).send().await {
            // The same card would be wrong again.
            Ok(response) if matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE) => {
                Outcome::refused(response.status().as_u16().to_string())
            }
            Ok(response) => Outcome::of_status(&response, now),
            Err(error) => Outcome::of_error(&error),
        }
    }
}

impl Tell for Teams {
    fn tell<'a>(&'a self, story: &'a Story, now: Timestamp) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send(story, now))
    }
}

/// What a workflow's trigger takes.
fn message(card: Value) -> Value {
    json!({
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card}
        ],
    })
}

/// The card of an event; none of what Teams is not told.
pub(super) fn card(story: &Story, literals: Literals, public_url: &str) -> Option<Value> {
    let words = match &story.subject {
        Subject::Request(request, step) => {
            Words::of_request(request, (step.state(request), step), literals, public_url)
        }
        Subject::Grant(grant, step) => Words::of_grant(grant, (step.state(), step), public_url),
        Subject::Config(_) => return None,
    };
    let colour = match words.tone {
        Tone::Waits => "Warning",
        Tone::Good => "Good",
        Tone::Bad => "Attention",
        Tone::Over => "Default",
    };
    let mut body = vec![text(vec![
        json!({"type": "TextRun", "text": words.title, "weight": "Bolder", "size": "Medium", "color": colour}),
    ])];
    let facts = words.facts.iter().map(|(name, value)| {
        let (name, value) = (format!("{name}: "), value.clone());
        text(vec![json!({"type": "TextRun", "text": name, "weight": "Bolder"}), run(&value)])
    });
    body.extend(facts);
    if let Some((statement, is_cut)) = &words.statement {
        let code = json!({"type": "TextRun", "text": statement, "fontType": "Monospace"});
        body.push(json!({"type": "Container", "style": "emphasis", "items": [text(vec![code])]}));
        if *is_cut == Cut::Cut {
            body.push(text(vec![run("The statement goes on; the page has all of it.")]));
        }
    }
    body.extend(words.not_shown.map(|why| text(vec![run(why)])));
    if let Some((by, said)) = &words.written {
        let said = if said.is_empty() { by.clone() } else { format!("{by}: {said}") };
        body.push(text(vec![json!({"type": "TextRun", "text": said, "italic": true})]));
    }
    Some(json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": words.in_short(),
        "msteams": {"width": "Full"},
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open in Countersign", "url": words.url}],
    }))
}

fn run(said: &str) -> Value {
    json!({"type": "TextRun", "text": said})
}

fn text(runs: Vec<Value>) -> Value {
    json!({"type": "RichTextBlock", "inlines": runs})
}
