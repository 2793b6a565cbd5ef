//! What people do in Slack: buttons, the dialog, `/countersign`.
//!
//! Never believes a name or an address that Slack's payload brings: who somebody is is asked of Slack by their id, and is a
//! person here only by an e-mail address that one user of the configuration has. Invariant: whatever is done goes through
//! [`Review`](crate::review::Review), as that person, and who may not is told why and changes nothing.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{EVERY, SLACK, Slack, blocks, is_person};
use crate::notify::http::Outcome;
use crate::review::{Act, Actor, Consent, RequestId, ReviewError, Surface};
use crate::store::outbox::Subscription;
use crate::visible::line;

/// What may wait to be done, and is done at a time.
pub(crate) const QUEUE_MAX: usize = 256;
const AT_ONCE: usize = 8;
/// Requests that `pending` lists.
const PENDING_MAX: u32 = 10;

/// What somebody has done.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// Pressed a button of a message.
    Press(Press),
    /// Sent the dialog off.
    Submit { who: Person, id: String, channel: String, reason: String },
    /// Typed `/countersign …`.
    Command { who: Person, place: String, words: String, response_url: String },
}

/// A button, pressed.
#[derive(Clone, Debug)]
pub(crate) struct Press {
    who: Person,
    channel: String,
    action: String,
    value: String,
    trigger: String,
}

/// Somebody, as Slack calls them.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    id: String,
}

impl Deed {
    /// Reads a payload of interactivity; `None` when there is nothing to do.
    pub(crate) fn of_interaction(payload: &Value) -> Option<Self> {
        let who = Person { id: text(&payload["user"]["id"])? };
        match payload["type"].as_str()? {
            "block_actions" => {
                let action = &payload["actions"][0];
                let channel = text(&payload["channel"]["id"]).or_else(|| text(&payload["container"]["channel_id"]));
                let (action, value) = (text(&action["action_id"])?, text(&action["value"]).unwrap_or_default());
                let trigger = text(&payload["trigger_id"]).unwrap_or_default();
                (action != "open").then_some(Self::Press(Press { who, channel: channel?, action, value, trigger }))
            }
            "view_submission" if payload["view"]["callback_id"] == "reject" => {
                let about: Value = serde_json::from_str(payload["view"]["private_metadata"].as_str()?).ok()?;
                let reason = text(&payload["view"]["state"]["values"]["reason"]["reason"]["value"]).unwrap_or_default();
                Some(Self::Submit { who, id: text(&about["id"])?, channel: text(&about["channel"])?, reason })
            }
            _ => None,
        }
    }

    /// Reads a slash command.
    pub(crate) fn of_command(field: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let who = Person { id: field("user_id")? };
        // In a conversation with one person, that person is who hears.
        let is_direct = field("channel_name").as_deref() == Some("directmessage");
        let place = if is_direct { who.id.clone() } else { field("channel_id")? };
        let (words, response_url) = (field("text").unwrap_or_default(), field("response_url")?);
        Some(Self::Command { who, place, words, response_url })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Does what comes in, until the other end of `closed` is dropped.
pub(crate) async fn run(
    mut deeds: mpsc::Receiver<Deed>,
    mut closed: watch::Receiver<()>,
    slack: impl Fn() -> Option<Arc<Slack>>,
) {
    let mut doing = JoinSet::new();
    loop {
        // All are cancel safe.
        tokio::select! {
            deed = deeds.recv(), if doing.len() < AT_ONCE => match (deed, slack()) {
                (Some(deed), Some(slack)) => drop(doing.spawn(async move { slack.perform(deed, Timestamp::now()).await })),
                (Some(_unconfigured), None) => {}
                (None, _) => break,
            },
            Some(_done) = doing.join_next() => {}
            _ = closed.changed() => break,
        }
    }
    while doing.join_next().await.is_some() {}
}

impl Slack {
    /// Does it.
    pub(crate) async fn perform(&self, deed: Deed, now: Timestamp) {
        let now = self.review.time(now);
        let done = match deed {
            Deed::Press(press) => self.press(press, now).await,
            Deed::Submit { who, id, channel, reason } => {
                let said = self.reject(&who, &id, reason, now).await.err();
                self.whisper(&channel, &who, said, now).await
            }
            Deed::Command { who, place, words, response_url } => {
                let said = self.command(&who, &place, &words, now).await.unwrap_or_else(|refusal| refusal);
                self.api.answer(&response_url, &said, now).await
            }
        };
        if let Err(outcome) = done {
            tracing::warn!(answer = %outcome.answer, "could not answer somebody in Slack");
        }
    }

    async fn press(&self, press: Press, now: Timestamp) -> Result<(), Outcome> {
        let Press { who, channel, action, value, trigger } = press;
        let refusal = match action.as_str() {
            "approve" => self.approve(&who, &value, now).await.err(),
            "reject" => match self.may_reject(&who, &value, now).await {
                Ok(()) => {
                    let view = serde_json::json!({"trigger_id": trigger, "view": blocks::rejection(&value, &channel)});
                    self.api.post("views.open", &view, now).await?;
                    None
                }
                Err(refusal) => Some(refusal),
            },
            _ => Some("There is no such button.".to_owned()),
        };
        self.whisper(&channel, &who, refusal, now).await
    }

    /// Says something that only that person sees.
    async fn whisper(&self, channel: &str, who: &Person, said: Option<String>, now: Timestamp) -> Result<(), Outcome> {
        let Some(said) = said else { return Ok(()) };
        let message = serde_json::json!({"channel": channel, "user": who.id, "text": blocks::escaped(&said)});
        self.api.post("chat.postEphemeral", &message, now).await.map(drop)
    }

    /// Who that is here; or why nobody.
    async fn actor(&self, who: &Person, now: Timestamp) -> Result<Actor, String> {
        let asked =
            |outcome: Outcome| format!("Slack did not say who you are ({}). Nothing has changed.", outcome.answer);
        let us = self.api.form("auth.test", &[], now).await.map_err(asked)?;
        let them = self.api.form("users.info", &[("user", &who.id)], now).await.map_err(asked)?;
        let user = &them["user"];
        let is_same = user["id"] == who.id.as_str() && us["team_id"].is_string() && user["team_id"] == us["team_id"];
        let flags = ["deleted", "is_bot", "is_app_user", "is_restricted", "is_ultra_restricted", "is_stranger"];
        let is_member = is_same && flags.iter().all(|flag| user[*flag].as_bool() != Some(true));
        // Absent in older answers; a workspace that says no is believed.
        if !is_member || user["is_email_confirmed"].as_bool() == Some(false) {
            return Err("Only full members of this Slack workspace can do this. Nothing has changed.".to_owned());
        }
        let email = user["profile"]["email"].as_str().unwrap_or_default();
        let config = self.review.config();
        let same = |known: &&crate::config::UserConfig| {
            known.email.as_deref().is_some_and(|known| !email.is_empty() && known.eq_ignore_ascii_case(email))
        };
        let mut known = config.users.iter().filter(same);
        match (known.next(), known.next()) {
            (Some(one), None) => {
                let groups = self.review.groups_of(&one.name);
                Ok(Actor { name: one.name.clone(), groups, surface: Surface::Slack })
            }
            (Some(_), Some(_)) => {
                Err("Several users of Countersign have your e-mail address. Nothing has changed.".to_owned())
            }
            (None, _) => Err("No user of Countersign has your e-mail address. Nothing has changed.".to_owned()),
        }
    }

    async fn approve(&self, who: &Person, id: &str, now: Timestamp) -> Result<(), String> {
        let actor = self.actor(who, now).await?;
        let act = Act::Approve(Consent::default());
        self.review.act(parse(id)?, &actor, act, now).await.map(drop).map_err(|error| refusal(&error))
    }

    async fn reject(&self, who: &Person, id: &str, reason: String, now: Timestamp) -> Result<(), String> {
        let actor = self.actor(who, now).await?;
        let done = self.review.act(parse(id)?, &actor, Act::Reject(Some(reason)), now).await;
        done.map(drop).map_err(|error| refusal(&error))
    }

    /// Whether there is a point in asking for a reason; the review decides when it is given.
    async fn may_reject(&self, who: &Person, id: &str, now: Timestamp) -> Result<(), String> {
        let actor = self.actor(who, now).await?;
        let request = self.review.find(parse(id)?, &actor).await.map_err(|error| refusal(&error))?;
        if request.user == actor.name {
            return Err(refusal(&ReviewError::OwnRequest));
        }
        if !self.review.is_reviewer(&request, &actor.name, &actor.groups) {
            let groups: Vec<_> = request.reviewers.iter().map(|demand| demand.group.as_str()).collect();
            return Err(refusal(&ReviewError::NotEligible { groups: groups.join(" and ") }));
        }
        match request.state {
            crate::review::State::Pending => Ok(()),
            state => Err(refusal(&ReviewError::AlreadyDecided { state })),
        }
    }

    /// What is answered to a command.
    async fn command(&self, who: &Person, place: &str, words: &str, now: Timestamp) -> Result<String, String> {
        let actor = self.actor(who, now).await?;
        let mut words = words.split_whitespace();
        let (verb, database) = (words.next().unwrap_or_default(), words.next());
        if words.next().is_some() {
            return Err(USAGE.to_owned());
        }
        if let Some(name) = database
            && (self.review.config().database(name).is_none() || !self.review.may_know_database(&actor.groups, name))
        {
            return Err(format!("There is no database {}.", blocks::escaped(&line(name))));
        }
        match verb {
            "subscribe" => self.subscribe(&actor, place, database, now).await,
            "unsubscribe" => self.unsubscribe(&actor, place, database).await,
            "pending" => self.pending(&actor, database, now).await,
            _ => Err(USAGE.to_owned()),
        }
    }

    async fn subscribe(
        &self,
        actor: &Actor,
        place: &str,
        database: Option<&str>,
        now: Timestamp,
    ) -> Result<String, String> {
        self.may_speak_for(actor, place, database)?;
        let subscription = Subscription {
            place: place.to_owned(),
            database: database.unwrap_or(EVERY).to_owned(),
            person: actor.name.clone(),
            at: now,
        };
        let is_new = self.outbox.subscribe(SLACK.to_owned(), subscription).await.map_err(|_error| away())?;
        let what = database.map_or_else(|| "every database".to_owned(), |name| blocks::escaped(&line(name)));
        let here = if is_person(place) { "You hear" } else { "This channel hears" };
        let already = if is_new { "from now on" } else { "already" };
        Ok(format!("{here} of requests on {what} {already}. If the app is not a member here, invite it."))
    }

    async fn unsubscribe(&self, actor: &Actor, place: &str, database: Option<&str>) -> Result<String, String> {
        self.may_speak_for(actor, place, database)?;
        let database = database.map(str::to_owned);
        let ended = self.outbox.unsubscribe(SLACK.to_owned(), place.to_owned(), database).await;
        Ok(match ended.map_err(|_error| away())? {
            0 => "There was no such subscription here.".to_owned(),
            count => format!("Ended {count} subscription{} here.", if count == 1 { "" } else { "s" }),
        })
    }

    /// Whoever has a channel told of a database must be a reviewer there; of all, somebody who sees every request. What one
    /// hears oneself is looked at each time.
    fn may_speak_for(&self, actor: &Actor, place: &str, database: Option<&str>) -> Result<(), String> {
        if is_person(place) || self.review.sees_all(&actor.groups) {
            return Ok(());
        }
        let Some(name) = database else {
            return Err(
                "Only admins can have a channel told of every database; name one. Nothing has changed.".to_owned()
            );
        };
        let groups = self.review.groups_on(name, &actor.name);
        let config = self.review.config();
        let asked = |named: &[String]| named.iter().any(|group| groups.contains(group));
        let of_database = config.policy.databases.iter().any(|one| one.name == name && asked(&one.review.groups));
        let of_rules = config.policy.rules.iter().any(|rule| asked(&rule.reviewers));
        let refused = || "Only reviewers of a database can have a channel told of it. Nothing has changed.".to_owned();
        (of_database || of_rules).then_some(()).ok_or_else(refused)
    }

    async fn pending(&self, actor: &Actor, database: Option<&str>, now: Timestamp) -> Result<String, String> {
        let member = self.review.member(&actor.name, &actor.groups);
        let waiting = self.review.waiting_on(member, now, 500).await.map_err(|error| refusal(&error))?;
        let mut here = waiting.first;
        here.retain(|request| database.is_none_or(|name| request.database == name));
        if here.is_empty() {
            return Ok("Nothing waits for you.".to_owned());
        }
        let mut lines = vec![format!("{} wait{} for you:", here.len(), if here.len() == 1 { "s" } else { "" })];
        lines.extend(here.iter().take(PENDING_MAX as usize).map(|request| {
            let what = blocks::escaped(&line(&format!(
                "{}, {} on {}",
                crate::visible::head(&request.summary, 200),
                request.user,
                request.database
            )));
            format!("• <{}/requests/{}|{}>", self.public_url, request.id, what.replace('|', "¦"))
        }));
        Ok(lines.join("\n"))
    }
}

const USAGE: &str = "Type `/countersign subscribe [database]`, `/countersign unsubscribe [database]` or \
     `/countersign pending [database]`.";

fn parse(id: &str) -> Result<RequestId, String> {
    ulid::Ulid::from_string(id).map(RequestId).map_err(|_invalid| refusal(&ReviewError::NotFound))
}

/// Why something was not done, as a sentence.
fn refusal(error: &ReviewError) -> String {
    let text = match error {
        ReviewError::Store(_) | ReviewError::Audit(_) | ReviewError::Trail(_) => return away(),
        ReviewError::Changed { by } => format!("the statement was changed by {by}: approve it on its page"),
        other => other.to_string(),
    };
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    format!("{}. Nothing has changed.", first.chain(letters).collect::<String>())
}

fn away() -> String {
    "Countersign cannot record it at the moment; look at its page.".to_owned()
}
