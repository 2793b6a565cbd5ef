//! What becomes of requests when something ends that they depend on: the client's connection, the proxy, time. The table of
//! docs/workflow.md says the same.

use rustix::process::Signal;

use crate::support::client::{TestClient, request_id};
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::shared_store::SharedStore;
use tokio_postgres::Client;

/// One request in each situation, in the order of [`Scene::ids`].
const BEFORE: [&str; 5] = ["PENDING", "PENDING", "PENDING", "APPROVED", "EXECUTING"];

fn update(row: u32) -> String {
    format!("UPDATE customers SET note = 'endings' WHERE id = {row}")
}

struct Scene {
    proxy: Proxy,
    clients: Vec<TestClient>,
    /// Of what waits in mode `wait`, waits in mode `auto`, is to be sent again, likewise and approved, and runs.
    ids: Vec<String>,
    /// Has locked the row that the last one wants.
    lock: Client,
}

impl Scene {
    async fn set_up(store: &str) -> Self {
        let fragment = format!("{WRITES_HELD}{store}");
        let launch = Launch { fragment: &fragment, top: "drain_timeout = \"1s\"", ..Launch::default() };
        let adapt = |text: String| text.replace("mode = \"wait\"", "mode = \"auto\"");
        let proxy = Proxy::in_front_of(Database::create().await, launch, adapt).await;
        let lock = proxy.database.direct().await;
        lock.batch_execute("BEGIN; SELECT FROM customers WHERE id = 5 FOR UPDATE").await.expect("lock");
        let mut scene = Self { proxy, clients: Vec::new(), ids: Vec::new(), lock };
        for (row, mode) in [(1, "wait"), (2, "auto"), (3, "resubmit"), (4, "resubmit"), (5, "auto")] {
            let mut client = scene.proxy.client("alice").await;
            client.client.simple_query(&format!("SET countersign.mode = '{mode}'")).await.expect("SET");
            let id = if mode == "resubmit" {
                let refused = client.refusal(&update(row)).await;
                request_id(refused.detail().unwrap_or_default()).expect("id")
            } else {
                client.hold(&update(row)).await.id
            };
            scene.ids.push(id);
            scene.clients.push(client);
        }
        for approved in [3, 4] {
            assert_eq!(scene.proxy.api("bob").approve(&scene.ids[approved]).await, 200);
        }
        scene.states(BEFORE).await;
        scene
    }

    async fn states(&self, wanted: [&str; 5]) {
        for (id, wanted) in self.ids.iter().zip(wanted) {
            self.proxy.api("bob").wait_for_state(id, wanted).await;
        }
    }

    /// How often each of them has run.
    fn runs(&self) -> Vec<usize> {
        let log = self.proxy.database.log();
        (1..=5).map(|row| log.matches(&format!(": {}", update(row))).count()).collect()
    }

    /// Whether the ticket is still one, and the only one.
    async fn uses_the_ticket(&self) {
        let client = self.proxy.client("alice").await;
        client.client.simple_query("SET countersign.mode = 'resubmit'").await.expect("SET");
        client.client.simple_query(&update(4)).await.expect("an approval waits for it");
        self.proxy.api("bob").wait_for_state(&self.ids[3], "EXECUTED").await;
        assert_eq!(client.refusal(&update(4)).await.message(), "approval required");
    }
}

#[tokio::test]
async fn when_clients_vanish_what_waits_for_them_is_withdrawn_and_what_runs_goes_on() {
    let mut scene = Scene::set_up("").await;
    scene.clients.drain(..).for_each(TestClient::vanish);
    scene.states(["CANCELLED", "CANCELLED", "PENDING", "APPROVED", "EXECUTING"]).await;
    scene.lock.batch_execute("ROLLBACK").await.expect("unlock");
    scene.states(["CANCELLED", "CANCELLED", "PENDING", "APPROVED", "EXECUTED"]).await;
    assert_eq!(scene.runs(), [0, 0, 0, 0, 1]);
    scene.uses_the_ticket().await;
}

#[tokio::test]
async fn when_the_proxy_drains_what_can_be_sent_again_stays() {
    let mut scene = Scene::set_up("").await;
    scene.proxy.signal(Signal::TERM);
    assert!(scene.proxy.ended().await.success());
    scene.proxy.relaunch(Launch::default()).await;
    // What ran was cancelled upstream at the end of drain_timeout.
    scene.states(["CANCELLED", "PENDING", "PENDING", "APPROVED", "FAILED"]).await;
    let outcome = scene.proxy.api("bob").request(&scene.ids[4]).await["outcome"].clone();
    assert_eq!(outcome, "57014");
    assert_eq!(scene.runs(), [0, 0, 0, 0, 1]);
    scene.uses_the_ticket().await;
}

async fn killed(store: &str) {
    let mut scene = Scene::set_up(store).await;
    scene.proxy.restart().await;
    let after = ["CANCELLED", "CANCELLED", "PENDING", "APPROVED", "UNKNOWN"];
    scene.states(after).await;
    scene.lock.batch_execute("ROLLBACK").await.expect("unlock");
    scene.proxy.restart().await;
    scene.states(after).await;
    assert_eq!(scene.runs(), [0, 0, 0, 0, 1]);
    scene.uses_the_ticket().await;
}

#[tokio::test]
async fn when_the_proxy_is_killed_what_waited_is_withdrawn_and_what_ran_is_unknown() {
    killed("").await;
    killed(&SharedStore::create().await.fragment("10m")).await;
}
