//! Socket Mode, with the other end played as Slack documents it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::workspace::Workspace;
use crate::config::Secret;
use crate::notify::slack::desk::Deed;
use crate::notify::slack::socket::Socket;

/// Slack's end.
struct End(WebSocketStream<TcpStream>);

impl End {
    async fn accept(listener: &TcpListener) -> Self {
        let accepting = async {
            let (stream, _) = listener.accept().await.unwrap();
            tokio_tungstenite::accept_async(stream).await.unwrap()
        };
        let mut end = Self(tokio::time::timeout(Duration::from_secs(30), accepting).await.unwrap());
        end.send(&json!({"type": "hello", "num_connections": 1})).await;
        end
    }

    async fn send(&mut self, envelope: &Value) {
        self.0.send(Message::Text(envelope.to_string().into())).await.unwrap();
    }

    /// The id that is acknowledged next.
    async fn acknowledged(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.0.next().await.unwrap().unwrap() {
                let answer: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
                return answer["envelope_id"].as_str().unwrap().to_owned();
            }
        }
    }
}

fn press(envelope: &str) -> Value {
    let payload = json!({"type": "block_actions", "user": {"id": "UBOB"}, "trigger_id": "t", "channel": {"id": "C"},
        "actions": [{"action_id": "approve", "value": "x"}]});
    json!({"envelope_id": envelope, "type": "interactive", "accepts_response_payload": true, "payload": payload})
}

#[tokio::test]
async fn what_comes_over_the_socket_is_acknowledged_before_it_is_done_and_the_socket_kept_up() {
    let workspace = Workspace::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    workspace.rooms.lock().unwrap().socket = Some(format!("ws://127.0.0.1:{port}/link/?ticket=1"));
    let (deeds, mut to_do) = mpsc::channel(1);
    let socket = Socket::new(&workspace.config(&[]), &Secret::new("xapp-test".to_owned()), deeds);
    let (stop, stopped) = watch::channel(());
    let running = tokio::spawn(socket.run(stopped));

    let mut end = End::accept(&listener).await;
    end.send(&press("1")).await;
    assert_eq!(end.acknowledged().await, "1", "nobody has done it yet");
    // There is no room: it is not acknowledged, and Slack will send it again.
    end.send(&press("2")).await;
    // What is no business of ours is acknowledged, and takes no room.
    end.send(&json!({"envelope_id": "3", "type": "events_api", "payload": {}})).await;
    assert_eq!(end.acknowledged().await, "3");
    assert!(matches!(to_do.recv().await, Some(Deed::Press(_))));
    let command = json!({"user_id": "UBOB", "channel_id": "C", "channel_name": "general", "text": "pending",
        "response_url": "https://hooks.slack.com/commands/1"});
    end.send(&json!({"envelope_id": "4", "type": "slash_commands", "payload": command})).await;
    assert_eq!(end.acknowledged().await, "4");
    assert!(matches!(to_do.recv().await, Some(Deed::Command { .. })));

    end.send(&json!({"type": "disconnect", "reason": "refresh_requested"})).await;
    let mut next = End::accept(&listener).await;
    next.send(&press("5")).await;
    assert_eq!(next.acknowledged().await, "5");
    assert!(to_do.recv().await.is_some());
    // What breaks is built up again.
    next.0.send(Message::Text("no JSON".into())).await.unwrap();
    let mut last = End::accept(&listener).await;
    last.send(&press("6")).await;
    assert_eq!(last.acknowledged().await, "6");

    drop(stop);
    tokio::time::timeout(Duration::from_secs(30), running).await.unwrap().unwrap();
}
