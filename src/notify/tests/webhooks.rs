//! Webhooks, from the transition to the receiver.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;

use super::receiver::{Answer, Call, Receiver};
use super::*;
use crate::config::{Endpoint, Network, Secret, SigningSecret, WebhookConfig};
use crate::notify::guard::{Lookup, System};
use crate::notify::webhook::Webhook;
use crate::store::tests::both::Place;

fn config(url: &str) -> WebhookConfig {
    let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    WebhookConfig {
        name: "siem".to_owned(),
        endpoint: Endpoint {
            url: Secret::new(url.to_owned()),
            allow_addresses: vec![Network::parse("127.0.0.0/8").unwrap()],
            ca: None,
        },
        secret,
        former_secret: None,
        include_statement: false,
    }
}

async fn stage(config: &WebhookConfig) -> Stage {
    stage_with(config, Arc::new(System)).await
}

async fn stage_with(config: &WebhookConfig, lookup: Arc<dyn Lookup>) -> Stage {
    Stage::new(Arc::new(Webhook::with_lookup(config, "https://countersign.example.com", lookup))).await
}

fn kind(call: &Call) -> String {
    call.json()["type"].as_str().unwrap().to_owned()
}

/// Ids and types that were taken, by request, in the order in which they were.
fn taken(calls: &[Call]) -> BTreeMap<String, Vec<String>> {
    let mut by_request = BTreeMap::<String, Vec<String>>::new();
    for call in calls.iter().filter(|call| call.status == 200) {
        let of = by_request.entry(call.json()["data"]["request"]["id"].as_str().unwrap().to_owned()).or_default();
        of.push(kind(call));
    }
    by_request
}

#[tokio::test]
async fn an_hour_without_the_target_loses_nothing_and_keeps_the_order() {
    let receiver = Receiver::answering(503).await;
    let mut stage = stage(&config(&receiver.url())).await;
    let mut requests = BTreeSet::new();
    for _ in 0..12 {
        requests.insert(stage.approved().await);
        stage.pass(minutes(5)).await;
    }
    // Of each request its making, its vote, and the approval that tells of that.
    assert_eq!(stage.count(DeliveryState::Waiting).await, 36);
    let in_vain = receiver.calls().len();
    assert!(in_vain < 200, "a target that is away is left alone: {in_vain} calls in an hour");
    receiver.play(|_calls, _call| Answer::of(200));
    stage.pass(minutes(10)).await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 36);
    let taken = taken(&receiver.calls());
    assert_eq!(taken.keys().cloned().collect::<BTreeSet<_>>(), requests);
    for (request, kinds) in taken {
        assert_eq!(kinds, ["access_request.created", "access_request.approved"], "{request}");
    }
}

#[tokio::test]
async fn of_several_proxies_on_one_store_each_event_is_told_by_one() {
    let receiver = Receiver::answering(200).await;
    let place = Place::postgres().await;
    let lease = Duration::from_secs(600);
    let tell = || Webhook::with_lookup(&config(&receiver.url()), "https://countersign.example.com", Arc::new(System));
    let mut one = Stage::on(Bench::node(&place, lease).await, Arc::new(tell())).await;
    let mut two = Stage::on(Bench::node(&place.elsewhere(), lease).await, Arc::new(tell())).await;
    for _ in 0..20 {
        one.ask("dba").await;
        two.ask("dba").await;
    }
    // Neither knows of the other but by the store; each claims as much as it gets.
    tokio::join!(one.deliver(), two.deliver());
    let ids: BTreeSet<_> = receiver.calls().iter().map(|call| call.header("webhook-id").to_owned()).collect();
    assert_eq!((ids.len(), receiver.calls().len()), (40, 40));
    assert_eq!(one.count(DeliveryState::Delivered).await, 40);
}

#[tokio::test]
async fn what_is_sent_again_has_the_same_id_and_body() {
    // Takes it, and the answer is lost.
    let receiver =
        Receiver::start(|calls, _call| Answer::of(if calls.len().is_multiple_of(2) { 500 } else { 200 })).await;
    let mut stage = stage(&config(&receiver.url())).await;
    stage.approved().await;
    stage.pass(10).await;
    let calls = receiver.calls();
    let ids: Vec<_> = calls.iter().map(|call| call.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[1] != ids[2], "{ids:?}");
    assert_eq!(calls[0].body, calls[1].body);
    assert_ne!(calls[0].header("webhook-timestamp"), calls[1].header("webhook-timestamp"));
    assert_ne!(calls[0].header("webhook-signature"), calls[1].header("webhook-signature"));
}

#[tokio::test]
async fn a_vote_that_decides_is_told_with_the_decision_and_another_by_itself() {
    let receiver = Receiver::answering(200).await;
    let mut stage = stage(&config(&receiver.url())).await;
    let id = stage.ask("dba*2").await;
    for name in ["bob", "carol"] {
        stage.bench.review.approve(id, &actor(name), None, at(1)).await.unwrap();
    }
    stage.bench.review.comment(id, &actor("bob"), "well", at(2)).await.unwrap();
    stage.deliver().await;
    let calls = receiver.calls();
    let kinds: Vec<_> = calls.iter().map(kind).collect();
    let expected =
        ["access_request.created", "access_request.voted", "access_request.approved", "access_request.commented"];
    assert_eq!(kinds, expected);
    let data = |index: usize| calls[index].json()["data"].clone();
    assert_eq!(data(1)["vote"]["by"], "bob");
    assert_eq!((&data(1)["request"]["state"], &data(3)["request"]["state"]), (&"PENDING".into(), &"APPROVED".into()));
    assert_eq!((&data(2)["transition"]["by"], &data(3)["comment"]["text"]), (&"carol".into(), &"well".into()));
}

#[tokio::test]
async fn values_leave_only_where_the_configuration_says_so() {
    let receiver = Receiver::answering(200).await;
    let mut stage = stage(&config(&receiver.url())).await;
    stage.approved().await;
    stage.deliver().await;
    let request = receiver.calls()[0].json()["data"]["request"].clone();
    assert_eq!(request["statement"]["text"], "UPDATE t SET v = '…' WHERE id = $1");
    assert_eq!(request["statement"]["is"], "without_literals");
    assert!(request["parameters"].is_null() && !receiver.calls()[0].body.windows(2).any(|two| two == "ü".as_bytes()));

    let receiver = Receiver::answering(200).await;
    let whole = WebhookConfig { include_statement: true, ..config(&receiver.url()) };
    let mut stage = super::webhooks::stage(&whole).await;
    stage.approved().await;
    stage.deliver().await;
    let request = receiver.calls()[0].json()["data"]["request"].clone();
    assert_eq!(request["statement"]["text"], "UPDATE t SET v = 'ü\n\u{202e}' WHERE id = $1");
    assert_eq!((&request["statement"]["is"], &request["parameters"][0]["value"]), (&"whole".into(), &"1".into()));
}

#[tokio::test]
async fn two_signatures_are_sent_while_a_secret_is_changed() {
    let receiver = Receiver::answering(200).await;
    let former = SigningSecret::parse("whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=").unwrap();
    let rotating = WebhookConfig { former_secret: Some(former), ..config(&receiver.url()) };
    let mut stage = stage(&rotating).await;
    stage.approved().await;
    stage.deliver().await;
    let signatures = receiver.calls()[0].header("webhook-signature").to_owned();
    assert_eq!(receiver.calls()[0].path, "/hook");
    assert_eq!(signatures.split(' ').filter(|one| one.starts_with("v1,")).count(), 2, "{signatures}");
}

#[tokio::test]
async fn a_target_that_says_when_is_called_then_and_one_that_is_gone_never() {
    let receiver = Receiver::start(|calls, _call| {
        let headers = vec![("retry-after", "120".to_owned())];
        if calls.is_empty() { Answer { headers, ..Answer::of(429) } } else { Answer::of(200) }
    })
    .await;
    let mut stage = stage(&config(&receiver.url())).await;
    stage.approved().await;
    stage.pass(119).await;
    assert_eq!(receiver.calls().len(), 1);
    stage.pass(2).await;
    assert_eq!((receiver.calls().len(), stage.count(DeliveryState::Delivered).await), (3, 3));

    let receiver = Receiver::answering(410).await;
    let mut stage = super::webhooks::stage(&config(&receiver.url())).await;
    stage.approved().await;
    stage.pass(60).await;
    // A vote with its transition is no call.
    assert_eq!((receiver.calls().len(), stage.count(DeliveryState::Dead).await), (2, 2));
    let dead = stage.deliveries().await.remove(0);
    assert_eq!((dead.answer.as_deref(), dead.attempts), (Some("410"), 1));
    receiver.play(|_calls, _call| Answer::of(200));
    assert!(stage.bench.outbox.redeliver(dead.id, at(60)).await.unwrap());
    stage.deliver().await;
    assert_eq!(receiver.calls().last().unwrap().header("webhook-id"), receiver.calls()[0].header("webhook-id"));
}

#[tokio::test]
async fn a_target_that_is_away_for_longer_than_a_day_is_given_up() {
    let receiver = Receiver::answering(500).await;
    let mut stage = stage(&config(&receiver.url())).await;
    stage.ask("dba").await;
    for _ in 0..=24 * 12 {
        stage.now += minutes(5);
        stage.deliver().await;
    }
    assert_eq!((stage.count(DeliveryState::Dead).await, stage.count(DeliveryState::Waiting).await), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_long_answer_not_read() {
    let elsewhere = Receiver::answering(200).await;
    let location = elsewhere.url();
    let receiver = Receiver::start(move |_calls, _call| Answer {
        headers: vec![("location", location.clone())],
        ..Answer::of(307)
    })
    .await;
    let mut stage = stage(&config(&receiver.url())).await;
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!((receiver.calls().len(), elsewhere.calls().len()), (1, 0));
    assert_eq!(stage.deliveries().await[0].answer.as_deref(), Some("307"));

    receiver.play(|_calls, _call| Answer { body: 256 << 20, ..Answer::of(200) });
    stage.pass(2).await;
    assert_eq!(stage.count(DeliveryState::Delivered).await, 1);
}

/// Names that stand for other addresses each time.
struct Rebinding {
    asked: AtomicUsize,
    answers: Vec<Vec<SocketAddr>>,
}

impl Lookup for Rebinding {
    fn lookup(&self, _name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[turn.min(self.answers.len() - 1)].clone();
        Box::pin(std::future::ready(Ok(answer)))
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_called_whatever_else_it_stands_for() {
    let receiver = Receiver::answering(200).await;
    let here = SocketAddr::from(([127, 0, 0, 1], receiver.port));
    let public = SocketAddr::from(([203, 0, 114, 7], receiver.port));
    for answers in [vec![vec![here]], vec![vec![public, here]], vec![vec![here, public]]] {
        let lookup = Arc::new(Rebinding { asked: AtomicUsize::new(0), answers });
        let mut guarded = config(&format!("http://hooks.example.com:{}/", receiver.port));
        guarded.endpoint.allow_addresses = Vec::new();
        let mut stage = stage_with(&guarded, Arc::<Rebinding>::clone(&lookup) as Arc<dyn Lookup>).await;
        stage.ask("dba").await;
        stage.deliver().await;
        assert_eq!(stage.deliveries().await[0].answer.as_deref(), Some("address not allowed"));
        assert_eq!((receiver.calls().len(), lookup.asked.load(Ordering::SeqCst)), (0, 1));
    }
    // Allowed, it is looked up once for the call, and that is where the call goes: what it stands for next does not count.
    let elsewhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let lookup = Arc::new(Rebinding { asked: AtomicUsize::new(0), answers: vec![vec![here], vec![elsewhere]] });
    let allowed = config(&format!("http://hooks.example.com:{}/", receiver.port));
    let mut stage = stage_with(&allowed, Arc::<Rebinding>::clone(&lookup) as Arc<dyn Lookup>).await;
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!((receiver.calls().len(), lookup.asked.load(Ordering::SeqCst)), (1, 1));
    // An address in the URL is not looked up, and guarded all the same.
    let mut literal = config(&receiver.url());
    literal.endpoint.allow_addresses = Vec::new();
    let mut stage = super::webhooks::stage(&literal).await;
    stage.ask("dba").await;
    stage.deliver().await;
    assert_eq!(stage.deliveries().await[0].answer.as_deref(), Some("address not allowed"));
    assert_eq!(receiver.calls().len(), 1);
}
