//! Slack: one message for each request and place, which always says how things stand.
//!
//! Never decides: who presses a button is found out and asked for by [`desk`], and [`Review`] decides. Invariant: a message
//! about a request is posted once to each place, as far as Slack says that it has it, and changed from then on.

pub(crate) mod api;
mod blocks;
pub(crate) mod desk;
pub(crate) mod signature;
pub(crate) mod socket;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::api::Api;
use super::Tell;
use super::event::{GrantStep, Literals, Step, Story, Subject};
use super::guard::System;
use super::http::{Fate, Outcome};
use super::words::Words;
use crate::config::SlackConfig;
use crate::review::{AccessRequest, GrantRecord, Review, State};
use crate::store::outbox::{Outbox, Posted};

/// The target's name.
pub(crate) const SLACK: &str = "slack";
/// A subscription to every database.
const EVERY: &str = "*";

/// One workspace.
pub(crate) struct Slack {
    api: Api,
    review: Arc<Review>,
    outbox: Arc<dyn Outbox>,
    channels: Vec<String>,
    literals: Literals,
    public_url: String,
}

/// What a message is about.
struct Topic<'a> {
    subject: &'a str,
    database: &'a str,
    request: Option<&'a AccessRequest>,
    grant: Option<&'a GrantRecord>,
    blocks: Value,
    /// What notifications and old clients show.
    text: String,
}

impl Slack {
    pub(crate) fn new(config: &SlackConfig, review: &Arc<Review>, outbox: &Arc<dyn Outbox>, public_url: &str) -> Self {
        Self {
            api: Api::new(config, Arc::new(System)),
            review: Arc::clone(review),
            outbox: Arc::clone(outbox),
            channels: config.channels.clone(),
            literals: Literals::of(config.include_statement),
            public_url: public_url.to_owned(),
        }
    }

    async fn send(&self, story: &Story, now: Timestamp) -> Outcome {
        match &story.subject {
            Subject::Request(request, step) => self.send_request(request, step, now).await,
            Subject::Grant(grant, step) => self.send_grant(grant, step, now).await,
            Subject::Config(_) => Outcome::delivered("not told here"),
        }
    }

    async fn send_request(&self, request: &AccessRequest, step: &Step, now: Timestamp) -> Outcome {
        let words = Words::of_request(request, (request.state, step), self.literals, &self.public_url);
        let id = request.id.to_string();
        let topic = Topic {
            subject: &id,
            database: &request.database,
            request: Some(request),
            grant: None,
            blocks: blocks::of_request(&words, request),
            text: words.in_short(),
        };
        let told = self.spread(&topic, now).await;
        let Fate::Delivered = told.fate else { return told };
        match self.tell_requester(request, step, &words, now).await {
            Ok(()) => told,
            Err(outcome) => outcome,
        }
    }

    async fn send_grant(&self, grant: &GrantRecord, step: &GrantStep, now: Timestamp) -> Outcome {
        let words = Words::of_grant(grant, (grant.state, step), &self.public_url);
        let id = grant.id.to_string();
        let topic = Topic {
            subject: &id,
            database: &grant.database,
            request: None,
            grant: Some(grant),
            blocks: blocks::of_grant(&words),
            text: words.in_short(),
        };
        self.spread(&topic, now).await
    }

    /// Posts to every place that is to hear of it, and changes what was posted before.
    async fn spread(&self, topic: &Topic<'_>, now: Timestamp) -> Outcome {
        let places = match self.places(topic).await {
            Ok(places) => places,
            Err(outcome) => return outcome,
        };
        let Ok(posted) = self.outbox.posted(SLACK.to_owned(), topic.subject.to_owned()).await else {
            return Outcome::again("the store did not answer");
        };
        let mut refused: Option<Outcome> = None;
        let mut told = 0_usize;
        for place in &places {
            let known = posted.iter().find(|one| one.place == *place);
            match self.put(topic, place, known, now).await {
                Ok(()) => told += 1,
                Err(outcome) if outcome.fate == Fate::Refused => refused = Some(outcome),
                // What was posted already is known, and will be changed only.
                Err(outcome) => return outcome,
            }
        }
        match refused {
            Some(outcome) if told == 0 => outcome,
            Some(outcome) => Outcome::delivered(format!("{told} of {} places; {}", places.len(), outcome.answer)),
            None if places.is_empty() => Outcome::delivered("no channel has subscribed"),
            None => Outcome::delivered("ok"),
        }
    }

    async fn put(&self, topic: &Topic<'_>, place: &str, known: Option<&Posted>, now: Timestamp) -> Result<(), Outcome> {
        let mut message = json!({"text": topic.text, "blocks": topic.blocks, "unfurl_links": false});
        if let Some((channel, ts)) = known.and_then(|known| known.reference.split_once(' ')) {
            message["channel"] = channel.into();
            message["ts"] = ts.into();
            return self.api.post("chat.update", &message, now).await.map(drop);
        }
        message["channel"] = place.into();
        let answer = self.api.post("chat.postMessage", &message, now).await?;
        self.remember(topic.subject, place, &answer, now).await
    }

    /// Remembers what Slack calls a message.
    async fn remember(&self, subject: &str, place: &str, answer: &Value, now: Timestamp) -> Result<(), Outcome> {
        let (Some(channel), Some(ts)) = (answer["channel"].as_str(), answer["ts"].as_str()) else {
            return Err(Outcome::again("Slack did not say where the message is"));
        };
        let posted = Posted { place: place.to_owned(), reference: format!("{channel} {ts}") };
        let noted = self.outbox.note_posted(SLACK.to_owned(), subject.to_owned(), posted, now).await;
        noted.map_err(|_error| Outcome::again("the store did not answer"))
    }

    /// Who is to hear of it: the channels of the configuration, and who has subscribed and may know of it.
    async fn places(&self, topic: &Topic<'_>) -> Result<Vec<String>, Outcome> {
        let subscriptions = self.outbox.subscriptions(SLACK.to_owned()).await;
        let subscriptions = subscriptions.map_err(|_error| Outcome::again("the store did not answer"))?;
        let mut places = self.channels.clone();
        for one in subscriptions {
            let is_wanted = one.database == EVERY || one.database == topic.database;
            if is_wanted && !places.contains(&one.place) && self.may_hear(topic, &one.place, &one.person) {
                places.push(one.place);
            }
        }
        Ok(places)
    }

    /// Whether who has subscribed may still know of it; of a channel, whether they may still speak for it.
    fn may_hear(&self, topic: &Topic<'_>, place: &str, person: &str) -> bool {
        let groups = self.review.groups_of(person);
        if !is_person(place) {
            return self.review.may_know_database(&groups, topic.database);
        }
        let of_request = topic.request.is_none_or(|request| self.review.may_see(request, person, &groups));
        of_request && topic.grant.is_none_or(|grant| self.review.may_see_grant(grant, person, &groups))
    }

    /// Tells the requester how it went, unless it was their own doing.
    async fn tell_requester(
        &self,
        request: &AccessRequest,
        step: &Step,
        words: &Words,
        now: Timestamp,
    ) -> Result<(), Outcome> {
        let Step::Transition(transition) = step else { return Ok(()) };
        let is_outcome = match transition.to {
            State::Approved | State::Rejected | State::Expired | State::Cancelled | State::Revoked => true,
            State::Unknown => true,
            State::Pending | State::Executing | State::Executed | State::Failed => false,
        };
        let config = self.review.config();
        let email = config.user(&request.user).and_then(|user| user.email.clone());
        let Some(email) = email.filter(|_| is_outcome && transition.by != request.user) else { return Ok(()) };
        let (subject, place) = (request.id.to_string(), format!("requester {}", transition.to));
        let posted = self.outbox.posted(SLACK.to_owned(), subject.clone()).await;
        let posted = posted.map_err(|_error| Outcome::again("the store did not answer"))?;
        if posted.iter().any(|one| one.place == place) {
            return Ok(());
        }
        let found = self.api.form("users.lookupByEmail", &[("email", &email)], now).await;
        let found = match found {
            Ok(found) => found,
            // Not everybody is in Slack.
            Err(outcome) if outcome.fate == Fate::Refused => return Ok(()),
            Err(outcome) => return Err(outcome),
        };
        let Some(user) = found["user"]["id"].as_str() else { return Ok(()) };
        let message = json!({
            "channel": user,
            "text": words.in_short(),
            "blocks": blocks::to_requester(words),
            "unfurl_links": false,
        });
        match self.api.post("chat.postMessage", &message, now).await {
            Ok(answer) => self.remember(&subject, &place, &answer, now).await,
            Err(outcome) if outcome.fate == Fate::Refused => Ok(()),
            Err(outcome) => Err(outcome),
        }
    }
}

/// Whether a place is somebody, not a channel.
fn is_person(place: &str) -> bool {
    place.starts_with(['U', 'W'])
}

impl Tell for Slack {
    fn tell<'a>(&'a self, story: &'a Story, now: Timestamp) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send(story, now))
    }
}
