//! Messages in Slack.

use serde_json::Value;

use super::receiver::Answer;
use super::workspace::Workspace;
use super::*;
use crate::config::{Config, SlackConfig};
use crate::notify::slack::Slack;
use crate::review::fixture::{PEOPLE, config};

/// A bench whose people have addresses, and what tells the workspace.
pub(super) async fn stage(slack: &SlackConfig) -> (Stage, Arc<Slack>) {
    let bench = Bench::new();
    let mut config = config(PEOPLE);
    for user in &mut config.users {
        user.email = Some(format!("{}@example.com", user.name));
    }
    bench.config.store(Arc::new(Config {
        databases: vec![crate::review::fixture::database("shop", &["engineering", "dba"])],
        ..config
    }));
    let tell = Arc::new(Slack::new(slack, &bench.review, &bench.outbox, "https://countersign.example.com"));
    let stage = Stage::on(bench, Arc::<Slack>::clone(&tell) as Arc<dyn Tell>).await;
    (stage, tell)
}

/// The labels of a message's buttons.
pub(super) fn buttons(message: &Value) -> Vec<String> {
    let blocks = message["blocks"].as_array().unwrap().iter();
    let elements =
        blocks.filter(|block| block["type"] == "actions").flat_map(|block| block["elements"].as_array().unwrap());
    elements.map(|button| button["text"]["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_message_has_buttons_and_is_changed_in_place_until_it_is_decided() {
    let workspace = Workspace::start().await;
    let (mut stage, _) = stage(&workspace.config(&["C0MAIN"])).await;
    let id = stage.ask("dba*2").await;
    stage.deliver().await;
    let message = workspace.messages("C0MAIN").remove(0);
    assert_eq!(buttons(&message), ["Approve", "Reject…", "Open"]);
    let text = message.to_string();
    for told in ["alice (engineering)", "shop", "update", "2 of dba", "UPDATE t SET v = '…' WHERE id = $1"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(!text.contains('ü'), "{text}");
    stage.bench.review.approve(id, &actor("bob"), None, at(1)).await.unwrap();
    stage.deliver().await;
    assert!(workspace.messages("C0MAIN")[0].to_string().contains("bob approved"));
    assert!(workspace.messages("DALICE").is_empty());
    stage.bench.review.approve(id, &actor("carol"), Some("<!channel> fine".to_owned()), at(2)).await.unwrap();
    stage.deliver().await;
    let messages = workspace.messages("C0MAIN");
    assert_eq!((messages.len(), buttons(&messages[0])), (1, vec!["Open".to_owned()]));
    let text = messages[0].to_string();
    assert!(text.contains("Approved: ") && text.contains("approved by carol: <!channel> fine"), "{text}");
    // What people write is plain text: nobody is called by it.
    let plain = messages[0]["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "context");
    assert!(plain.flat_map(|block| block["elements"].as_array().unwrap()).all(|text| text["type"] == "plain_text"));
    let told = workspace.messages("DALICE");
    assert_eq!(told.len(), 1);
    assert!(told[0].to_string().contains("approved by carol"), "{}", told[0]);
}

#[tokio::test]
async fn whole_statements_are_escaped_and_cut_with_a_link() {
    let workspace = Workspace::start().await;
    let slack = SlackConfig { include_statement: true, ..workspace.config(&["C0MAIN"]) };
    let (mut stage, _) = stage(&slack).await;
    let statement = format!("DELETE FROM t WHERE v <> '```<!channel> {}'", "&".repeat(5000));
    let new =
        NewRequest { statement, summary: "delete <!here> & *x*".to_owned(), ..new_request("dba", Mode::Resubmit) };
    stage.bench.review.open(new, at(0)).await.unwrap();
    stage.deliver().await;
    let message = workspace.messages("C0MAIN").remove(0);
    let marked = |block: &Value| block["text"]["type"] == "mrkdwn";
    let texts: Vec<_> = message["blocks"].as_array().unwrap().iter().filter(|block| marked(block)).collect();
    for block in &texts {
        let text = block["text"]["text"].as_str().unwrap();
        assert!(!text.contains("<!") && block["text"]["verbatim"] == true, "{text}");
    }
    assert!(message.to_string().contains("The statement goes on: <https://countersign.example.com/requests/"));
}

#[tokio::test]
async fn an_outage_posts_nothing_twice_and_loses_nothing() {
    let workspace = Workspace::start().await;
    let (mut stage, _) = stage(&workspace.config(&["C0MAIN", "C0OTHER"])).await;
    let mut limited = 0;
    workspace.play(move |_calls, call| {
        if call.path != "/api/chat.postMessage" || call.json()["channel"] != "C0OTHER" || limited > 2 {
            return None;
        }
        limited += 1;
        Some(Answer { headers: vec![("retry-after", "30".to_owned())], ..Answer::of(429) })
    });
    stage.approved().await;
    stage.pass(minutes(1)).await;
    assert_eq!(workspace.messages("C0OTHER").len(), 0);
    workspace.play(|_calls, _call| Some(Answer::of(503)));
    stage.approved().await;
    stage.pass(minutes(60)).await;
    workspace.play(|_calls, _call| None);
    stage.pass(minutes(10)).await;
    for channel in ["C0MAIN", "C0OTHER"] {
        let messages = workspace.messages(channel);
        assert_eq!(messages.len(), 2, "{channel}");
        assert!(messages.iter().all(|message| message.to_string().contains("Approved: ")));
    }
    assert_eq!(stage.count(DeliveryState::Waiting).await, 0);
}

#[tokio::test]
async fn a_channel_that_is_gone_holds_up_no_other_and_one_alone_is_given_up() {
    let workspace = Workspace::start().await;
    let (mut stage, _) = stage(&workspace.config(&["C0GONE", "C0MAIN"])).await;
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(workspace.messages("C0MAIN").len(), 1);
    assert_eq!(stage.deliveries().await[0].answer.as_deref(), Some("1 of 2 places; channel_not_found"));

    let (mut stage, _) = super::slack::stage(&workspace.config(&["C0GONE"])).await;
    stage.ask("dba").await;
    stage.deliver().await;
    let delivery = stage.deliveries().await.remove(0);
    assert_eq!((delivery.state, delivery.answer.as_deref()), (DeliveryState::Dead, Some("channel_not_found")));
}
