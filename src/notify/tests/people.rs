//! What people do in Slack.

use serde_json::{Value, json};

use super::slack::{buttons, stage};
use super::workspace::{Workspace, member};
use super::*;
use crate::notify::slack::desk::Deed;
use crate::review::State;

fn press(who: &str, action: &str, id: &str, trigger: &str) -> Deed {
    let payload = json!({
        "type": "block_actions", "user": {"id": who, "name": "root", "username": "root"}, "trigger_id": trigger,
        "channel": {"id": "C0MAIN"}, "actions": [{"action_id": action, "value": id}],
    });
    Deed::of_interaction(&payload).unwrap()
}

fn submit(who: &str, view: &Value, reason: &str) -> Deed {
    let mut view = view.clone();
    view["state"] = json!({"values": {"reason": {"reason": {"value": reason}}}});
    Deed::of_interaction(&json!({"type": "view_submission", "user": {"id": who}, "view": view})).unwrap()
}

fn command(who: &str, channel: &str, words: &str, port: u16) -> Deed {
    let fields = [
        ("user_id", who.to_owned()),
        ("channel_id", channel.to_owned()),
        ("channel_name", if channel.starts_with('D') { "directmessage" } else { "general" }.to_owned()),
        ("text", words.to_owned()),
        ("response_url", format!("http://127.0.0.1:{port}/response/1")),
    ];
    Deed::of_command(|name| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())).unwrap()
}

#[tokio::test]
async fn a_click_counts_for_who_may_review_and_others_are_told_why() {
    let workspace = Workspace::start().await;
    let (mut stage, slack) = stage(&workspace.config(&["C0MAIN"])).await;
    {
        let people = &mut workspace.rooms.lock().unwrap().people;
        let mut add = |id: &str, changes: Value| {
            let mut user = member(id, "bob@example.com");
            changes.as_object().unwrap().iter().for_each(|(key, value)| user[key] = value.clone());
            people.insert(id.to_owned(), user);
        };
        add("UGUEST", json!({"is_restricted": true}));
        add("UONCE", json!({"is_ultra_restricted": true}));
        add("UELSEWHERE", json!({"team_id": "T0THEM"}));
        add("UGONE", json!({"deleted": true}));
        add("UBOT", json!({"is_bot": true}));
        add("UNEW", json!({"is_email_confirmed": false}));
        add("UBLANK", json!({"profile": {"email": ""}}));
        add("UNOMAIL", json!({"profile": {}}));
    }
    let id = stage.ask("dba").await;
    let text = id.to_string();
    let state = async || stage.bench.review.get(id).await.unwrap().state;
    for (who, why) in [
        ("UALICE", "Requesters do not review their own requests"),
        ("UOLGA", "Access request does not exist"),
        ("UROOT", "Only members of dba may do this"),
        ("UGUEST", "Only full members"),
        ("UONCE", "Only full members"),
        ("UELSEWHERE", "Only full members"),
        ("UGONE", "Only full members"),
        ("UBOT", "Only full members"),
        ("UNEW", "Only full members"),
        ("UBLANK", "No user of Countersign"),
        ("UNOMAIL", "No user of Countersign"),
        ("UNOBODY", "Slack did not say who you are (user_not_found)"),
    ] {
        for action in ["approve", "reject"] {
            let before = workspace.whispers().len();
            slack.perform(press(who, action, &text, "t1"), at(5)).await;
            let whispers = workspace.whispers();
            // An admin sees every request, so is asked for the reason; that it does not count is said then.
            let is_asked = who == "UROOT" && action == "reject";
            assert_eq!(whispers.len(), before + usize::from(!is_asked), "{who} {action}");
            let last = whispers.last().unwrap();
            assert!(is_asked || last.starts_with(&format!("C0MAIN {who}: {why}")), "{who} {action}: {last}");
            assert_eq!(state().await, State::Pending, "{who} {action}");
        }
    }
    let dialog = workspace.rooms.lock().unwrap().dialogs.pop().unwrap();
    slack.perform(submit("UROOT", &dialog, "no"), at(5)).await;
    assert!(workspace.whispers().last().unwrap().contains("Only members of dba"));
    assert_eq!((state().await, stage.bench.review.get(id).await.unwrap().votes.len()), (State::Pending, 0));

    slack.perform(press("UBOB", "approve", &text, "t2"), at(6)).await;
    let request = stage.bench.review.get(id).await.unwrap();
    let vote = &request.votes[0];
    assert_eq!(
        (request.state, vote.by.as_str(), vote.surface.to_owned()),
        (State::Approved, "bob", crate::review::Surface::Slack)
    );
    slack.perform(press("UBOB", "approve", &text, "t2"), at(6)).await;
    assert!(workspace.whispers().last().unwrap().contains("Access request is already APPROVED. Nothing has changed."));
    stage.deliver().await;
    assert_eq!(buttons(&workspace.messages("C0MAIN")[0]), ["Open"]);
}

#[tokio::test]
async fn two_users_with_one_address_are_nobody() {
    let workspace = Workspace::start().await;
    let (stage, slack) = stage(&workspace.config(&["C0MAIN"])).await;
    let mut users = stage.bench.config.load().users.clone();
    users
        .iter_mut()
        .filter(|user| user.name == "carol")
        .for_each(|user| user.email = Some("BOB@example.com".to_owned()));
    let config = crate::config::Config { users, ..crate::review::fixture::config("") };
    stage.bench.config.store(Arc::new(config));
    let id = stage.ask("dba").await;
    slack.perform(press("UBOB", "approve", &id.to_string(), "t1"), at(5)).await;
    assert!(workspace.whispers()[0].contains("Several users"), "{:?}", workspace.whispers());
    assert_eq!(stage.bench.review.get(id).await.unwrap().state, State::Pending);
}

#[tokio::test]
async fn a_rejection_asks_for_a_reason_that_the_requester_reads() {
    let workspace = Workspace::start().await;
    let (mut stage, slack) = stage(&workspace.config(&["C0MAIN"])).await;
    let id = stage.ask("dba").await;
    slack.perform(press("UBOB", "reject", &id.to_string(), "t1"), at(5)).await;
    let dialog = workspace.rooms.lock().unwrap().dialogs.pop().unwrap();
    assert_eq!(stage.bench.review.get(id).await.unwrap().state, State::Pending, "nothing before the reason");
    slack.perform(submit("UBOB", &dialog, "  "), at(6)).await;
    assert!(workspace.whispers()[0].contains("A reason is required"));
    slack.perform(submit("UBOB", &dialog, "not on a Friday"), at(7)).await;
    let request = stage.bench.review.get(id).await.unwrap();
    assert_eq!((request.state, request.votes[0].reason.as_deref()), (State::Rejected, Some("not on a Friday")));
    stage.deliver().await;
    assert!(workspace.messages("DALICE")[0].to_string().contains("rejected by bob: not on a Friday"));
    assert!(workspace.messages("C0MAIN")[0].to_string().contains("Rejected: "));
}

#[tokio::test]
async fn an_edit_since_the_message_is_not_approved_by_a_click() {
    let workspace = Workspace::start().await;
    let (stage, slack) = stage(&workspace.config(&["C0MAIN"])).await;
    let id = stage.ask("dba*2").await;
    let edited = crate::review::Consent { edited: Some("UPDATE t SET v = 'other'".to_owned()), ..Default::default() };
    stage.bench.review.approve(id, &actor("carol"), edited, at(2)).await.unwrap();
    slack.perform(press("UBOB", "approve", &id.to_string(), "t1"), at(5)).await;
    assert!(workspace.whispers()[0].contains("The statement was changed by carol: approve it on its page"));
    assert_eq!(stage.bench.review.get(id).await.unwrap().state, State::Pending);
}

#[tokio::test]
async fn places_subscribe_to_what_they_may_hear_of() {
    let workspace = Workspace::start().await;
    let (mut stage, slack) = stage(&workspace.config(&[])).await;
    let port = workspace.receiver.port;
    let say = async |who: &str, channel: &str, words: &str| {
        slack.perform(command(who, channel, words, port), at(5)).await;
        workspace.rooms.lock().unwrap().answers.last().unwrap()["text"].as_str().unwrap().to_owned()
    };
    assert!(say("UBOB", "C0MAIN", "").await.starts_with("Type `/countersign subscribe"));
    assert!(say("UBOB", "C0MAIN", "subscribe crm").await.starts_with("There is no database crm"));
    assert!(say("UOLGA", "C0MAIN", "subscribe shop").await.starts_with("There is no database shop"));
    assert!(say("UALICE", "C0MAIN", "subscribe shop").await.starts_with("Only reviewers of a database"));
    assert!(say("UBOB", "C0MAIN", "subscribe").await.starts_with("Only admins"));
    assert!(say("UROOT", "C0MAIN", "subscribe").await.starts_with("This channel hears of requests on every database"));
    assert!(say("UALICE", "DALICE", "subscribe shop").await.starts_with("You hear of requests on shop"));
    assert!(say("UOLGA", "DOLGA", "subscribe").await.starts_with("You hear of requests on every database"));
    let id = stage.ask("dba").await;
    stage.deliver().await;
    // olga may not know of it.
    let heard = ["C0MAIN", "DALICE", "DOLGA"].map(|channel| workspace.messages(channel).len());
    assert_eq!(heard, [1, 1, 0]);
    let pending = say("UBOB", "C0OTHER", "pending shop").await;
    assert!(pending.contains(&format!("https://countersign.example.com/requests/{id}|")), "{pending}");
    assert_eq!(say("UOLGA", "C0OTHER", "pending").await, "Nothing waits for you.");
    assert!(say("UALICE", "C0MAIN", "unsubscribe").await.starts_with("Only admins"));
    assert_eq!(say("UROOT", "C0MAIN", "unsubscribe").await, "Ended 1 subscription here.");
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(workspace.messages("C0MAIN").len(), 1);
    // An answer is sent to Slack only.
    let before = workspace.receiver.calls().len();
    let elsewhere = Deed::of_command(|name| {
        Some(match name {
            "user_id" => "UBOB".to_owned(),
            "channel_id" => "C0MAIN".to_owned(),
            "channel_name" => "general".to_owned(),
            "response_url" => format!("http://127.0.0.2:{port}/response/2"),
            _ => String::new(),
        })
    });
    slack.perform(elsewhere.unwrap(), at(5)).await;
    assert_eq!(workspace.receiver.calls().len(), before + 2, "only who it is was asked");
}
