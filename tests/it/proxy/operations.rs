//! Reload, drain, restart: clients notice as little as can be.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::support::client::{TestClient, affected, refusal_of};
use crate::support::config::password;
use crate::support::proxy::{Launch, Proxy};
use crate::support::wire::{Frame, WireClient, tags};
use crate::support::{PATIENCE, within};

const UPDATE: &str = "UPDATE orders SET status = 'shipped' WHERE id = 1";
const HELD: &str =
    "[[rules]]\nname = \"held\"\neffects = [\"update\"]\naction = \"hold\"\nreviewers = [\"dba-team\"]\n";
/// Runs until it is cancelled.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000)";

/// A session whose client has not just connected.
async fn settled(proxy: &Proxy) -> WireClient {
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT 1").await;
    wire
}

/// The SQLSTATEs of the errors among them.
fn sqlstates(frames: &[Frame]) -> Vec<String> {
    frames.iter().filter(|frame| frame.tag == b'E').filter_map(|frame| frame.field(b'C')).collect()
}

async fn rest(wire: &mut WireClient) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = wire.next().await {
        frames.push(frame);
    }
    frames
}

async fn until_logged(proxy: &Proxy, words: &str) {
    let logged = async {
        while !proxy.log().contains(words) {
            tokio::task::yield_now().await;
        }
    };
    within(words, logged).await;
}

#[tokio::test]
async fn a_drain_ends_idle_sessions_and_lets_transactions_finish() {
    let mut proxy = Proxy::start("").await;
    let (mut idle, mut busy) = (settled(&proxy).await, settled(&proxy).await);
    busy.query("BEGIN").await;
    proxy.signal(Signal::TERM);
    assert_eq!(sqlstates(&rest(&mut idle).await), ["57P01"]);
    assert_eq!(tags(&busy.query("SELECT 1").await), "TDCZ");
    busy.send_query("COMMIT").await;
    let frames = rest(&mut busy).await;
    assert_eq!((tags(&frames).as_str(), sqlstates(&frames)), ("CZE", vec!["57P01".to_owned()]));
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn what_is_held_during_a_drain_becomes_a_ticket() {
    let mut proxy = Proxy::start(&format!("{HELD}mode = \"auto\"\n")).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    proxy.signal(Signal::TERM);
    let id = held.id.clone();
    let error = held.refusal().await;
    assert_eq!((error.code().code(), error.message()), ("42501", "approval required"));
    assert!(error.detail().unwrap_or_default().contains(&id), "{error:?}");
    assert!(proxy.ended().await.success());
    proxy.relaunch(Launch::default()).await;
    assert_eq!(proxy.api("bob").state(&id).await, "PENDING");
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    let client = proxy.client("alice").await;
    let messages = within("the update", client.client.simple_query(UPDATE)).await.expect("it is approved");
    assert_eq!(affected(&messages), Some(1));
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
}

#[tokio::test]
async fn what_waits_in_mode_wait_is_withdrawn_by_a_drain() {
    let mut proxy = Proxy::start(HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold(UPDATE).await;
    proxy.signal(Signal::TERM);
    let id = held.id.clone();
    assert_eq!(held.refusal().await.code().code(), "57P01");
    assert!(proxy.ended().await.success());
    proxy.relaunch(Launch::default()).await;
    assert_eq!(proxy.api("bob").state(&id).await, "CANCELLED");
}

#[tokio::test]
async fn at_its_deadline_a_drain_cancels_what_runs() {
    let mut proxy = Proxy::launch(Launch { top: "drain_timeout = \"1s\"", ..Launch::default() }).await;
    let mut busy = settled(&proxy).await;
    busy.send_query(ENDLESS).await;
    let direct = proxy.database.direct().await;
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%1000000000000)'
                   AND pid <> pg_backend_pid() AND datname = current_database()";
    let count = async || direct.query_one(running, &[]).await.expect("count").get::<_, i64>(0);
    within("the statement runs", async { while count().await == 0 {} }).await;
    proxy.signal(Signal::TERM);
    assert_eq!(sqlstates(&rest(&mut busy).await), ["57014", "57P01"]);
    assert!(proxy.ended().await.success());
    assert_eq!(count().await, 0, "it was cancelled upstream");
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut proxy = Proxy::launch(Launch { top: "drain_timeout = \"1h\"", ..Launch::default() }).await;
    let mut busy = settled(&proxy).await;
    busy.query("BEGIN").await;
    proxy.signal(Signal::TERM);
    until_logged(&proxy, "draining").await;
    proxy.signal(Signal::TERM);
    assert_eq!(sqlstates(&rest(&mut busy).await), ["57P01"]);
    assert!(proxy.ended().await.success());
}

#[tokio::test]
async fn a_reload_takes_over_limits_and_a_bad_file_keeps_the_old_ones() {
    let proxy = Proxy::start("[limits]\nsessions_per_user = 1\n").await;
    let enter = async || TestClient::try_connect(proxy.address(), "alice", &password("alice"), "shop").await;
    let _first = enter().await.expect("one place");
    let refusal = refusal_of(enter().await.err().expect("one place only"));
    assert_eq!(refusal.code().code(), "53300");
    proxy.edit("sessions_per_user = 1", "sessions_per_users = 2");
    proxy.signal(Signal::HUP);
    until_logged(&proxy, "configuration not reloaded; the old one stays in force").await;
    until_logged(&proxy, "unknown key \"sessions_per_users\" in [limits]; did you mean \"sessions_per_user\"?").await;
    assert!(enter().await.is_err(), "the old limit is in force");
    proxy.edit("sessions_per_users = 2", "sessions_per_user = 2");
    proxy.signal(Signal::HUP);
    until_logged(&proxy, "configuration reloaded").await;
    let _second = enter().await.expect("another place");
}

#[tokio::test]
async fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("notify");
    let ear = UnixDatagram::bind(&path).expect("socket");
    ear.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let heard = || {
        let mut buffer = [0; 500];
        let length = ear.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap_or_default().to_owned()
    };
    let mut proxy = Proxy::launch(Launch { notify: Some(&path), ..Launch::default() }).await;
    assert_eq!(heard(), "READY=1");
    proxy.signal(Signal::HUP);
    assert_eq!((heard().as_str(), heard().as_str()), ("RELOADING=1", "READY=1"));
    proxy.signal(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    assert!(proxy.ended().await.success());
}

/// Clients that connect, ask and leave, again and again; each failure is kept.
struct Crowd {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Crowd {
    fn gather(proxy: &Proxy) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        let address = proxy.address();
        for _ in 0..4 {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            clients.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match TestClient::try_connect(address, "alice", &password("alice"), "shop").await {
                        Err(error) => failures.push(format!("connecting: {error}")),
                        Ok(client) => match client.client.simple_query("SELECT 1").await {
                            Err(error) => failures.push(format!("asking: {error:?}")),
                            Ok(_) => drop(served.fetch_add(1, Ordering::Relaxed)),
                        },
                    }
                }
                failures
            });
        }
        Self { stop, served, clients }
    }

    /// Waits until that many more have been served.
    async fn serve(&self, more: usize) {
        let wanted = self.served.load(Ordering::Relaxed) + more;
        let begin = Instant::now();
        while self.served.load(Ordering::Relaxed) < wanted {
            assert!(begin.elapsed() < PATIENCE, "nobody is served");
            tokio::task::yield_now().await;
        }
    }

    async fn go_home(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(failures) = self.clients.join_next().await {
            assert_eq!(failures.expect("a client"), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_an_inherited_socket_refuses_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("socket");
    let launch = Launch { socket: Some(&socket), ..Launch::default() };
    let mut proxy = Proxy::launch(launch).await;
    let crowd = Crowd::gather(&proxy);
    crowd.serve(10).await;
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    proxy.relaunch(launch).await;
    crowd.serve(10).await;
    proxy.replace(Launch { arguments: &["--wait"], ..launch }).await;
    crowd.serve(10).await;
    crowd.go_home().await;
}

#[tokio::test]
async fn a_socket_that_nobody_configured_is_an_error() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("socket");
    let address = socket.local_addr().expect("address").to_string();
    let mut proxy = Proxy::launch(Launch { socket: Some(&socket), ..Launch::default() }).await;
    proxy.edit(&format!("listen = \"{address}\""), "listen = \"127.0.0.1:0\"");
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let status = proxy.attempt(Launch { socket: Some(&socket), ..Launch::default() }).await;
    assert_eq!(status.code(), Some(69));
    let told = format!("a socket for {address} was handed over, but neither \"listen\" nor [web] names that address");
    assert!(proxy.log().contains(&told), "{}", proxy.log());
}

#[tokio::test]
async fn two_proxies_share_a_port_that_may_be_reused() {
    let first = Proxy::launch(Launch { top: "reuse_port = true", ..Launch::default() }).await;
    let listen = format!("listen = \"{}\"", first.address());
    let mut second = Proxy::launch(Launch { top: "reuse_port = true", ..Launch::default() }).await;
    second.edit("listen = \"127.0.0.1:0\"", &listen);
    second.signal(Signal::TERM);
    assert!(second.ended().await.success());
    second.relaunch(Launch::default()).await;
    assert_eq!(second.address(), first.address());
    drop(first);
    second.client("alice").await;
}
