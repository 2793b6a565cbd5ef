//! Socket Mode: a connection to Slack over which it sends what it would otherwise call, so that nobody has to reach the proxy.
//!
//! Never takes what comes over it for more than a call that Slack has signed: it is read by [`Deed`] and asked about as there.
//! Invariant: an envelope is acknowledged at once, before anything is done, and only when there is room to do it; what is not
//! acknowledged Slack sends again.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use reqwest::{StatusCode, Upgraded, Url};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::api::Api;
use super::desk::Deed;
use crate::config::{Secret, SlackConfig};
use crate::notify::guard::System;
use crate::notify::http::{Fate, Outcome};
use crate::notify::pace::pause;

/// Largest envelope, in bytes.
const ENVELOPE_MAX: usize = 1 << 20;
/// Slack sends a ping every few seconds; a connection on which nothing comes for so long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// The longest pause between attempts to connect.
const PAUSE_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// Slack wants another one.
    Refresh,
    /// It broke.
    Broken(String),
}

/// See the module documentation.
pub(crate) struct Socket {
    api: Api,
    deeds: mpsc::Sender<Deed>,
}

impl Socket {
    /// For the app with that token.
    pub(crate) fn new(config: &SlackConfig, app_token: &Secret, deeds: mpsc::Sender<Deed>) -> Self {
        let config = SlackConfig { bot_token: app_token.clone(), ..config.clone() };
        Self { api: Api::new(&config, Arc::new(System)), deeds }
    }

    /// Stays connected until the other end of `stopped` is dropped.
    pub(crate) async fn run(self, mut stopped: watch::Receiver<()>) {
        let mut failures = 0;
        loop {
            // Both are cancel safe: what was not acknowledged is sent again.
            let ended = tokio::select! {
                ended = self.serve(&mut failures) => ended,
                _ = stopped.changed() => return,
            };
            if let Ended::Broken(why) = ended {
                failures += 1;
                tracing::warn!(%why, "the connection to Slack has ended; connecting again");
                let wait = pause(0, failures).min(PAUSE_MAX);
                tokio::select! {
                    () = tokio::time::sleep(Duration::try_from(wait).unwrap_or(Duration::from_secs(1))) => {}
                    _ = stopped.changed() => return,
                }
            }
        }
    }

    /// Connects, and takes what comes until the connection ends.
    async fn serve(&self, failures: &mut u64) -> Ended {
        let mut socket = match self.connect().await {
            Ok(socket) => socket,
            Err(outcome) => return Ended::Broken(outcome.answer),
        };
        loop {
            let message = match tokio::time::timeout(SILENCE_MAX, socket.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Ended::Broken(word(&error).to_owned()),
                Ok(None) => return Ended::Broken("it was closed".to_owned()),
                Err(_elapsed) => return Ended::Broken("nothing came for long".to_owned()),
            };
            let Message::Text(text) = message else { continue };
            let Ok(envelope) = serde_json::from_str::<Value>(&text) else {
                return Ended::Broken("it brought no JSON".to_owned());
            };
            match envelope["type"].as_str().unwrap_or_default() {
                "hello" => {
                    *failures = 0;
                    tracing::info!("connected to Slack");
                }
                "disconnect" => return Ended::Refresh,
                kind => {
                    if let Some(answer) = self.take(kind, &envelope)
                        && socket.send(Message::Text(answer.to_string().into())).await.is_err()
                    {
                        return Ended::Broken("it was closed".to_owned());
                    }
                }
            }
        }
    }

    /// Has it done, and yields what acknowledges that; nothing when there is no room.
    fn take(&self, kind: &str, envelope: &Value) -> Option<Value> {
        let id = envelope["envelope_id"].as_str()?;
        let payload = &envelope["payload"];
        let deed = match kind {
            "interactive" => Deed::of_interaction(payload),
            "slash_commands" => Deed::of_command(|name| payload[name].as_str().map(str::to_owned)),
            _ => None,
        };
        let is_taken = deed.is_none_or(|deed| self.deeds.try_send(deed).is_ok());
        is_taken.then(|| json!({"envelope_id": id}))
    }

    /// A new connection, to where Slack says.
    async fn connect(&self) -> Result<WebSocketStream<Upgraded>, Outcome> {
        let answer = self.api.form("apps.connections.open", &[], Timestamp::now()).await?;
        let url =
            answer["url"].as_str().and_then(http_url).ok_or_else(|| Outcome::refused("no address of a socket"))?;
        // Where the Web API is not encrypted, which is on this machine only, neither is the socket.
        if url.scheme() != "https" && !self.api.is_plaintext() {
            return Err(Outcome::refused("the socket is not encrypted"));
        }
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let call = self.api.get(url)?.header("connection", "Upgrade").header("upgrade", "websocket");
        let call = call.header("sec-websocket-version", "13").header("sec-websocket-key", &key);
        let response = call.send().await.map_err(|error| Outcome::of_error(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Outcome { answer: response.status().as_u16().to_string(), fate: Fate::Again(None) });
        }
        let accepted = response
            .headers()
            .get("sec-websocket-accept")
            .is_some_and(|accept| accept.as_bytes() == derive_accept_key(key.as_bytes()).as_bytes());
        if !accepted {
            return Err(Outcome::again("the other end speaks no WebSocket"));
        }
        let upgraded = response.upgrade().await.map_err(|error| Outcome::of_error(&error))?;
        let limits = WebSocketConfig::default().max_message_size(Some(ENVELOPE_MAX)).max_frame_size(Some(ENVELOPE_MAX));
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(limits)).await)
    }
}

/// `wss://…` as HTTP has it.
fn http_url(url: &str) -> Option<Url> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "wss" => "https",
        "ws" => "http",
        _ => return None,
    };
    Url::parse(&format!("{scheme}://{rest}")).ok()
}

/// What broke, in words that hold nothing that came.
fn word(error: &Error) -> &'static str {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "it was closed",
        Error::Io(_) => "the network failed",
        Error::Capacity(_) => "it brought too much",
        _ => "it brought what is no WebSocket",
    }
}
