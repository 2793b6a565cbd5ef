//! What several proxies did to many requests under load, while one of them was killed again and again, told by their audit
//! trails alone.
//!
//! `COUNTERSIGN_CLUSTER_SECONDS=600 cargo test --test it history -- --nocapture` plays for so long.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use countersign::audit::{FlawKind, history};
use tokio::process::Command;
use tokio::sync::Mutex;

use super::nodes::proxies;
use crate::support::api::Api;
use crate::support::client::{TestClient, request_id};
use crate::support::config::password;
use crate::support::proxy::{Launch, Proxy};
use crate::support::shared_store::SharedStore;
use crate::support::within;

const WORKERS: usize = 6;
/// How long a normal run takes.
const SECONDS: u64 = 5;
/// Statements that the killed proxy releases before it is killed again.
const BETWEEN_KILLS: usize = 3;

/// What is run meanwhile, and held by nobody.
const READS: &str = "\\set id random(1, 5)\nSELECT name FROM customers WHERE id = :id;\n";

fn update(worker: usize, round: usize) -> String {
    format!("UPDATE customers SET note = 'history-{worker}-{round}-' WHERE id = {}", worker % 3 + 1)
}

/// Sends a text once, on a connection of its own; what it is refused with. Whatever happens to the proxy is no failure.
async fn send(address: SocketAddr, text: &str) -> Option<String> {
    let client = TestClient::try_connect(address, "alice", &password("alice"), "shop").await.ok()?;
    let error = within(text, client.client.simple_query(text)).await.err()?;
    error.as_db_error().and_then(|error| error.detail().map(str::to_owned))
}

/// Three proxies; the first is killed and started again.
struct Cluster {
    killed: Mutex<Proxy>,
    others: [Proxy; 2],
    until: Instant,
    kills: Cell<usize>,
}

impl Cluster {
    fn goes_on(&self) -> bool {
        // On a busy machine, too, something is to happen.
        Instant::now() < self.until || self.kills.get() == 0
    }

    async fn address(&self, node: usize) -> SocketAddr {
        match node % 3 {
            0 => self.killed.lock().await.address(),
            other => self.others[other - 1].address(),
        }
    }

    async fn api(&self, node: usize, user: &str) -> Api {
        match node % 3 {
            0 => self.killed.lock().await.api(user),
            other => self.others[other - 1].api(user),
        }
    }

    /// Asks through one proxy, has it decided through another, and runs it through any two at once.
    async fn work(&self, worker: usize) {
        let mut round = 0;
        while self.goes_on() {
            round += 1;
            let text = update(worker, round);
            let at = async |step: usize| self.address(worker + round + step).await;
            let Some(id) = send(at(0).await, &text).await.as_deref().and_then(request_id) else { continue };
            let reviewer = if (worker + round).is_multiple_of(2) { "bob" } else { "dave" };
            let api = self.api(worker + round / 3, reviewer).await;
            match round % 8 {
                3 => drop(api.attempt(&id, "reject", "no").await),
                5 => {
                    futures_util::future::join(api.attempt(&id, "approve", "yes"), self.cancel(&id, round)).await;
                }
                _ => drop(api.attempt(&id, "approve", "yes").await),
            }
            let (one, two) = (at(1).await, at(2).await);
            futures_util::future::join(send(one, &text), send(two, &text)).await;
        }
    }

    /// The requester thinks better of it.
    async fn cancel(&self, id: &str, node: usize) {
        self.api(node, "alice").await.attempt(id, "cancel", "").await;
    }

    /// `kill -9`, and a new start with the same files, again and again.
    async fn kill(&self) {
        loop {
            let released = self.killed.lock().await.log().matches("to=EXECUTED").count();
            while self.killed.lock().await.log().matches("to=EXECUTED").count() < released + BETWEEN_KILLS {
                if !self.goes_on() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let mut killed = self.killed.lock().await;
            killed.kill();
            self.kills.set(self.kills.get() + 1);
            killed.relaunch(Launch::default()).await;
        }
    }

    /// Reads through any proxy, as fast as they come.
    async fn read(&self, script: &PathBuf) -> f64 {
        let mut transactions = 0.0;
        for node in 0.. {
            if !self.goes_on() {
                break;
            }
            let port = self.address(node).await.port().to_string();
            let bench = Command::new("pgbench")
                .args(["-n", "-c", "4", "-T", "3", "-h", "127.0.0.1", "-p", &port, "-U", "alice", "-f"])
                .arg(script)
                .arg("shop")
                .env("PGPASSWORD", password("alice"))
                .output();
            let output = within("pgbench", bench).await.expect("pgbench (apt-get install postgresql-contrib)");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let count = text.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
            // One that was killed under it is no failure.
            transactions += count.and_then(|count| count.parse::<f64>().ok()).unwrap_or_default();
        }
        transactions
    }
}

#[tokio::test]
async fn the_trails_of_all_proxies_together_tell_one_history() {
    let seconds = std::env::var("COUNTERSIGN_CLUSTER_SECONDS").map_or(SECONDS, |text| text.parse().expect("a number"));
    let store = SharedStore::create().await;
    let [one, two, three] = proxies(&store, ["3s"; 3], "resubmit").await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let cluster = Cluster { killed: Mutex::new(one), others: [two, three], until, kills: Cell::new(0) };
    let home = tempfile::tempdir().expect("temporary directory");
    let script = home.path().join("reads.sql");
    fs::write(&script, READS).expect("script");
    let workers = futures_util::future::join_all((0..WORKERS).map(|worker| cluster.work(worker)));
    let (_, (), reads) = futures_util::future::join3(workers, cluster.kill(), cluster.read(&script)).await;

    let Cluster { killed, others: [two, three], kills, .. } = cluster;
    let mut nodes = [killed.into_inner(), two, three];
    for proxy in &mut nodes {
        proxy.signal(rustix::process::Signal::TERM);
        assert!(proxy.ended().await.success());
        let verified = proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
    let trails = nodes.each_ref().map(|proxy| proxy.data_dir().join("audit"));
    let told = history(trails.iter().map(PathBuf::as_path)).expect("trails");
    let missing = told.flaws.iter().filter(|flaw| flaw.kind == FlawKind::Missing).count();
    println!(
        "{seconds} s, {} kills, {reads} reads: {} requests, {} votes, {} released, ended as {:?}, {missing} flaws of lost ends",
        kills.get(),
        told.requests,
        told.votes,
        told.intents,
        told.ended
    );
    assert!(told.intents > WORKERS && kills.get() > 0, "too little has happened: {told:?}");
    assert_eq!(told.broken().collect::<Vec<_>>(), Vec::<&countersign::audit::Flaw>::new());
    // What a killed proxy had not told in its last milliseconds was told after its next start.
    assert_eq!(missing, 0, "{:#?}", told.flaws);
    // What really ran.
    let log = nodes[1].database.log();
    let ran = log.lines().filter_map(|line| line.split("statement: UPDATE customers SET note = 'history-").nth(1));
    let mut texts: Vec<&str> = ran.collect();
    let before = texts.len();
    assert!(before <= told.intents, "{before} ran, and {} were released", told.intents);
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(before, texts.len(), "a text ran twice, and each was approved once");
}
