//! A workspace of Slack: its documented methods, as strict as Slack is.
//!
//! Refuses what Slack refuses: a wrong token, a method called with the wrong kind of body, blocks beyond the limits of Block
//! Kit, channels and messages that are not there, triggers that were used.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::receiver::{Answer, Call, Receiver};
use crate::config::{Endpoint, Network, Secret, SlackConfig};

pub(super) const TEAM: &str = "T0US";

/// What the workspace holds.
#[derive(Default)]
pub(super) struct Rooms {
    /// By channel and time.
    pub(super) messages: BTreeMap<(String, String), Value>,
    /// Channel, person, text.
    pub(super) whispers: Vec<(String, String, String)>,
    pub(super) dialogs: Vec<Value>,
    /// Answers to commands.
    pub(super) answers: Vec<Value>,
    /// Profiles by id.
    pub(super) people: BTreeMap<String, Value>,
    /// Where the socket is.
    pub(super) socket: Option<String>,
    triggers: Vec<String>,
    clock: u32,
}

pub(super) struct Workspace {
    pub(super) receiver: Receiver,
    pub(super) rooms: Arc<Mutex<Rooms>>,
}

/// A full member with that address.
pub(super) fn member(id: &str, email: &str) -> Value {
    json!({"id": id, "team_id": TEAM, "deleted": false, "is_bot": false, "is_restricted": false,
        "is_ultra_restricted": false, "is_email_confirmed": true, "profile": {"email": email}})
}

impl Workspace {
    pub(super) async fn start() -> Self {
        let rooms = Arc::new(Mutex::new(Rooms::default()));
        {
            let mut rooms = rooms.lock().unwrap();
            for name in ["alice", "bob", "carol", "olga", "root"] {
                let id = format!("U{}", name.to_uppercase());
                rooms.people.insert(id.clone(), member(&id, &format!("{}@Example.com", name)));
            }
            rooms.triggers = vec!["t1".to_owned(), "t2".to_owned()];
        }
        let inside = Arc::clone(&rooms);
        let receiver = Receiver::start(move |_calls, call| inside.lock().unwrap().answer(call)).await;
        Self { receiver, rooms }
    }

    /// Plays otherwise: what that yields goes before what Slack would answer.
    pub(super) fn play(&self, mut play: impl FnMut(&[Call], &Call) -> Option<Answer> + Send + 'static) {
        let inside = Arc::clone(&self.rooms);
        self.receiver.play(move |calls, call| play(calls, call).unwrap_or_else(|| inside.lock().unwrap().answer(call)));
    }

    pub(super) fn config(&self, channels: &[&str]) -> SlackConfig {
        SlackConfig {
            endpoint: Endpoint {
                url: Secret::new(format!("http://127.0.0.1:{}/api/", self.receiver.port)),
                allow_addresses: vec![Network::parse("127.0.0.1").unwrap()],
                ca: None,
            },
            bot_token: Secret::new("xoxb-test".to_owned()),
            app_token: None,
            signing_secret: Some(Secret::new("shh".to_owned())),
            channels: channels.iter().map(|channel| (*channel).to_owned()).collect(),
            include_statement: false,
        }
    }

    /// Messages of a channel, as they stand.
    pub(super) fn messages(&self, channel: &str) -> Vec<Value> {
        let rooms = self.rooms.lock().unwrap();
        rooms.messages.iter().filter(|((of, _), _)| of == channel).map(|(_, message)| message.clone()).collect()
    }

    pub(super) fn whispers(&self) -> Vec<String> {
        let rooms = self.rooms.lock().unwrap();
        rooms.whispers.iter().map(|(channel, who, text)| format!("{channel} {who}: {text}")).collect()
    }
}

impl Rooms {
    fn answer(&mut self, call: &Call) -> Answer {
        if call.path.starts_with("/response/") {
            self.answers.push(call.json());
            return Answer::of(200);
        }
        match self.method(call) {
            Ok(mut answer) => {
                answer["ok"] = true.into();
                Answer::json(answer)
            }
            Err(error) => Answer::json(json!({"ok": false, "error": error})),
        }
    }

    fn method(&mut self, call: &Call) -> Result<Value, &'static str> {
        let method = call.path.strip_prefix("/api/").ok_or("unknown_method")?;
        let token = if method == "apps.connections.open" { "xapp-test" } else { "xoxb-test" };
        if call.header("authorization") != format!("Bearer {token}") {
            return Err("invalid_auth");
        }
        let is_json = call.header("content-type") == "application/json; charset=utf-8";
        let is_form = call.header("content-type") == "application/x-www-form-urlencoded";
        // These take no JSON.
        let takes_form = ["users.", "auth.", "apps."].iter().any(|kind| method.starts_with(kind));
        if (takes_form && !is_form) || (!takes_form && !is_json) {
            return Err("invalid_form_data");
        }
        let form: BTreeMap<String, String> = form_urlencoded::parse(&call.body).into_owned().collect();
        match method {
            "auth.test" => Ok(json!({"team_id": TEAM, "user_id": "UBOT"})),
            "apps.connections.open" => Ok(json!({"url": self.socket.clone().ok_or("internal_error")?})),
            "users.info" => {
                let user = form.get("user").and_then(|id| self.people.get(id)).ok_or("user_not_found")?;
                Ok(json!({"user": user}))
            }
            "users.lookupByEmail" => {
                let email = form.get("email").map(|email| email.to_lowercase());
                let is = |user: &&Value| user["profile"]["email"].as_str().map(str::to_lowercase) == email;
                Ok(json!({"user": self.people.values().find(is).ok_or("users_not_found")?}))
            }
            "chat.postMessage" => self.post(&call.json()),
            "chat.update" => self.update(&call.json()),
            "chat.postEphemeral" => {
                let body = call.json();
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                self.whispers.push((text("channel"), text("user"), text("text")));
                Ok(json!({"message_ts": "1.1"}))
            }
            "views.open" => {
                let body = call.json();
                let trigger = body["trigger_id"].as_str().unwrap_or_default();
                let known = self.triggers.iter().position(|one| one == trigger).ok_or("expired_trigger_id")?;
                self.triggers.remove(known);
                check_view(&body["view"])?;
                self.dialogs.push(body["view"].clone());
                Ok(json!({"view": {"id": "V1"}}))
            }
            _ => Err("unknown_method"),
        }
    }

    fn post(&mut self, body: &Value) -> Result<Value, &'static str> {
        check_message(body)?;
        let place = body["channel"].as_str().ok_or("channel_not_found")?;
        // A message to a person is in the conversation with them.
        let channel = match place {
            "C0MAIN" | "C0OTHER" => place.to_owned(),
            _ if self.people.contains_key(place) => place.replacen('U', "D", 1),
            _ => return Err("channel_not_found"),
        };
        self.clock += 1;
        let ts = format!("1700000000.{:06}", self.clock);
        self.messages.insert((channel.clone(), ts.clone()), body.clone());
        Ok(json!({"channel": channel, "ts": ts}))
    }

    fn update(&mut self, body: &Value) -> Result<Value, &'static str> {
        check_message(body)?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let key = (text("channel"), text("ts"));
        let message = self.messages.get_mut(&key).ok_or("message_not_found")?;
        *message = body.clone();
        Ok(json!({"channel": key.0, "ts": key.1}))
    }
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.chars().count())
}

/// A text object: of one of these types, not empty, not too long.
fn check_text(text: &Value, types: &[&str], most: usize) -> Result<(), &'static str> {
    let is_known = types.iter().any(|one| text["type"] == *one);
    if is_known && (1..=most).contains(&length(&text["text"])) { Ok(()) } else { Err("invalid_blocks") }
}

fn check_message(body: &Value) -> Result<(), &'static str> {
    if length(&body["text"]) == 0 || length(&body["text"]) > 4000 {
        return Err("msg_too_long");
    }
    let blocks = body["blocks"].as_array().ok_or("invalid_blocks")?;
    if blocks.is_empty() || blocks.len() > 50 {
        return Err("invalid_blocks");
    }
    blocks.iter().try_for_each(check_block)
}

fn check_block(block: &Value) -> Result<(), &'static str> {
    let list = |name: &str, most: usize| -> Result<Vec<Value>, &'static str> {
        let list = block[name].as_array().ok_or("invalid_blocks")?;
        if (1..=most).contains(&list.len()) { Ok(list.clone()) } else { Err("invalid_blocks") }
    };
    match block["type"].as_str().unwrap_or_default() {
        "section" if block["fields"].is_array() => {
            list("fields", 10)?.iter().try_for_each(|field| check_text(field, &["plain_text", "mrkdwn"], 2000))
        }
        "section" => check_text(&block["text"], &["plain_text", "mrkdwn"], 3000),
        "context" => {
            list("elements", 10)?.iter().try_for_each(|text| check_text(text, &["plain_text", "mrkdwn"], 3000))
        }
        "actions" => {
            let elements = list("elements", 25)?;
            let ids: std::collections::BTreeSet<_> =
                elements.iter().map(|one| one["action_id"].as_str().unwrap_or_default()).collect();
            if ids.len() != elements.len() || ids.contains("") {
                return Err("invalid_blocks");
            }
            elements.iter().try_for_each(|button| {
                check_text(&button["text"], &["plain_text"], 75)?;
                let fits = length(&button["value"]) <= 2000 && length(&button["url"]) <= 3000;
                if !fits || button["type"] != "button" {
                    return Err("invalid_blocks");
                }
                if button["confirm"].is_null() {
                    return Ok(());
                }
                check_text(&button["confirm"]["title"], &["plain_text"], 100)?;
                check_text(&button["confirm"]["text"], &["plain_text"], 300)?;
                check_text(&button["confirm"]["confirm"], &["plain_text"], 30)?;
                check_text(&button["confirm"]["deny"], &["plain_text"], 30)
            })
        }
        _ => Err("invalid_blocks"),
    }
}

fn check_view(view: &Value) -> Result<(), &'static str> {
    for name in ["title", "submit", "close"] {
        check_text(&view[name], &["plain_text"], 24)?;
    }
    let input = &view["blocks"][0];
    check_text(&input["label"], &["plain_text"], 2000)?;
    let most = input["element"]["max_length"].as_u64().unwrap_or_default();
    let fits = length(&view["private_metadata"]) <= 3000 && (1..=3000).contains(&most);
    if fits && view["type"] == "modal" && input["type"] == "input" { Ok(()) } else { Err("invalid_arguments") }
}
