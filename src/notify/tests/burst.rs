//! How soon many requests are told of.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::receiver::{Answer, Receiver};
use super::*;
use crate::config::{Config, Endpoint, Network, NotifyConfig, Secret, SigningSecret, WebhookConfig};
use crate::review::fixture::{PEOPLE, config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_requests_at_once_the_reviewer_hears_within_two_seconds() {
    const REQUESTS: usize = 1000;
    let (all, told_of_all) = oneshot::channel();
    let mut all = Some(all);
    let heard = Arc::new(std::sync::Mutex::new(HashMap::new()));
    let hears = Arc::clone(&heard);
    let receiver = Receiver::start(move |_calls, call| {
        let id = call.json()["data"]["request"]["id"].as_str().unwrap().to_owned();
        let mut heard = hears.lock().unwrap();
        heard.insert(id, Instant::now());
        if heard.len() == REQUESTS {
            all.take().map(|all| all.send(()));
        }
        Answer::of(200)
    })
    .await;
    let bench = Bench::new();
    let webhook = WebhookConfig {
        name: "siem".to_owned(),
        endpoint: Endpoint {
            url: Secret::new(receiver.url()),
            allow_addresses: vec![Network::parse("127.0.0.1").unwrap()],
            ca: None,
        },
        secret: SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap(),
        former_secret: None,
        include_statement: false,
    };
    let notify = NotifyConfig { webhooks: vec![webhook], ..NotifyConfig::default() };
    bench.config.store(Arc::new(Config { notify, ..config(PEOPLE) }));
    let notifier = bench.notifier();
    notifier.begin().await.unwrap();
    let (end, ended) = oneshot::channel::<()>();
    let running = tokio::spawn(Arc::clone(&notifier).run(async { drop(ended.await) }));
    let hold = || async {
        let new = NewRequest { binding: Binding(rand::random()), ..new_request("dba", Mode::Resubmit) };
        match bench.review.open(new, bench.review.time(jiff::Timestamp::now())).await.unwrap() {
            Opened::Resubmit(request) => (request.id.to_string(), Instant::now()),
            other => panic!("{other:?}"),
        }
    };
    let held = join_all((0..REQUESTS).map(|_| hold())).await;
    told_of_all.await.unwrap();
    end.send(()).unwrap();
    running.await.unwrap();
    let heard = heard.lock().unwrap();
    let mut waited: Vec<_> = held.iter().map(|(id, at)| heard[id].saturating_duration_since(*at)).collect();
    waited.sort_unstable();
    let (median, p99) = (waited[REQUESTS / 2], waited[REQUESTS * 99 / 100]);
    println!("from held to told: median {median:?}, p99 {p99:?}");
    assert!(p99 < Duration::from_secs(2), "median {median:?}, p99 {p99:?}");
}
