//! What becomes of statements while the trail cannot be written, or only slowly; and kills at any moment.
//!
//! A small file system is mounted for some of these, which takes root, as the tests have in CI.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::audit::{FlawKind, Known, Report, history, verify};
use rand::Rng as _;
use rustix::process::Signal;
use serde_json::Value;
use tokio_postgres::error::SqlState;

use crate::support::client::TestClient;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::within;

/// A file system of that many kilobytes, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf, kilobytes: u32) -> Self {
        fs::create_dir_all(&at).expect("a directory");
        let size = format!("size={kilobytes}k,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        assert!(mounted.expect("mount").success(), "this test mounts a small file system: run it as root");
        Self(at)
    }

    fn read_only(&self) {
        let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(mounted.expect("mount").success());
    }

    /// Leaves no room in it.
    fn fill(&self) {
        let mut filler = fs::File::create(self.0.join("filler")).expect("a file");
        while std::io::Write::write(&mut filler, &[b'x'; 512]).is_ok_and(|written| written > 0) {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("a file");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// A proxy whose trail is on a disk of its own.
async fn on_small_disk(fragment: &str) -> (Proxy, Disk) {
    let mut disk = None;
    let adapt = |text: String| {
        let data =
            text.lines().find_map(|line| line.strip_prefix("data_dir = \"")?.strip_suffix('"')).expect("data_dir");
        disk = Some(Disk::mount(Path::new(data).join("audit"), 256));
        text
    };
    let launch = Launch { fragment, ..Launch::default() };
    let proxy = Proxy::in_front_of(Database::create().await, launch, adapt).await;
    (proxy, disk.expect("a disk"))
}

async fn until_audit_is(proxy: &Proxy, ok: bool) {
    let telling = async {
        while proxy.readiness().await["audit"]["ok"] != ok {
            tokio::task::yield_now().await;
        }
    };
    within("what /readyz says of the trail", telling).await;
}

fn verified(proxy: &Proxy) -> Report {
    verify(&proxy.data_dir().join("audit"), Known::default()).expect("the trail")
}

/// Asks until it is refused; the SQLSTATE. A session whose verdict could not be recorded ends.
async fn refused(proxy: &Proxy, statement: &str) -> SqlState {
    let asking = async {
        loop {
            let Ok(client) = TestClient::try_connect(proxy.address(), "alice", "password-of-alice", "shop").await
            else {
                continue;
            };
            match client.client.simple_query(statement).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => match error.code() {
                    Some(code) => return code.clone(),
                    None => tokio::task::yield_now().await,
                },
            }
        }
    };
    within("a refusal", asking).await
}

#[tokio::test]
async fn while_the_disk_is_full_nothing_runs_and_then_it_goes_on() {
    let (mut proxy, disk) = on_small_disk(WRITES_HELD).await;
    let client = proxy.client("alice").await;
    client.value("SELECT 1").await.expect("a row");
    disk.fill();
    assert_eq!(refused(&proxy, "SELECT 1 + 1").await, SqlState::IO_ERROR);
    let unrun = "SELECT 'canary-5803'";
    let refusal = client.refusal(unrun).await;
    assert_eq!(refusal.code(), &SqlState::IO_ERROR, "{refusal:?}");
    assert!(!proxy.database.log().contains("canary-5803"), "what cannot be recorded does not arrive");
    until_audit_is(&proxy, false).await;
    disk.make_room();
    let again = async {
        while client.client.simple_query(unrun).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within("room on the disk", again).await;
    until_audit_is(&proxy, true).await;
    // What is approved after that is told like before, votes included.
    let mut client = proxy.client("alice").await;
    let held = client.hold("UPDATE orders SET status = 'shipped' WHERE id = 1").await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    held.outcome().await.expect("the update");
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    drop(client);
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let report = verified(&proxy);
    assert!(report.is_intact(), "{report:#?}");
    assert!(report.gaps.iter().any(|gap| gap.contains("could not be written")), "{report:#?}");
    let trail = proxy.data_dir().join("audit");
    assert_eq!(history([trail.as_path()]).expect("the trail").flaws, []);
}

#[tokio::test]
async fn a_full_disk_stops_nothing_where_that_is_wanted() {
    let (mut proxy, disk) = on_small_disk("[audit]\nfail_open = true\n").await;
    let client = proxy.client("alice").await;
    client.value("SELECT 1").await.expect("a row");
    disk.fill();
    let failed = async {
        while proxy.readiness().await["audit"]["ok"] == true {
            client.value("SELECT 2").await.expect("a row");
        }
    };
    within("a write that fails", failed).await;
    assert_eq!(client.value("SELECT 40 + 2").await.as_deref(), Some("42"));
    disk.make_room();
    until_audit_is(&proxy, true).await;
    client.value("SELECT 'recorded again'").await.expect("a row");
    drop(client);
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    assert!(verified(&proxy).is_intact());
    let trail = fs::read_to_string(proxy.data_dir().join("audit/000001.jsonl")).expect("segment");
    assert!(trail.contains("recorded again") && trail.contains("could not be written"), "{trail}");
}

#[tokio::test]
async fn a_proxy_that_may_not_write_its_trail_does_not_start() {
    let (mut proxy, disk) = on_small_disk("").await;
    proxy.kill();
    disk.read_only();
    assert!(!proxy.attempt(Launch::default()).await.success());
    assert!(proxy.log().contains("audit trail") && proxy.log().contains("Read-only"), "{}", proxy.log());
}

#[tokio::test]
async fn nothing_that_has_to_be_recorded_first_is_sent_before_the_disk_has_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk_waits = directory.path().join("disk-waits");
    let environment = [("COUNTERSIGN_HOLD_DISK", disk_waits.to_str().expect("a path"))];
    let fragment = format!("[audit]\ndurability = \"before_forward\"\n{WRITES_HELD}");
    let launch = Launch { fragment: &fragment, environment: &environment, ..Launch::default() };
    let proxy = Proxy::launch(launch).await;
    let mut holder = proxy.client("alice").await;
    let held = holder.hold("UPDATE orders SET status = 'canary-held' WHERE id = 1").await;
    let id = held.id.clone();
    let reader = proxy.client("erin").await;
    fs::write(&disk_waits, "").expect("a file");
    let reading = tokio::spawn(async move { reader.value("SELECT 'canary-read'").await });
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    proxy.api("bob").wait_for_state(&id, "EXECUTING").await;
    // The proxy serves others meanwhile, and time passes in which both could have been sent.
    for _ in 0..100 {
        assert_eq!(proxy.api("bob").state(&id).await, "EXECUTING");
    }
    let log = proxy.database.log();
    assert!(!log.contains("canary-read") && !log.contains(": UPDATE orders SET status = 'canary-held'"), "{log}");
    fs::remove_file(&disk_waits).expect("a file");
    assert_eq!(within("the row", reading).await.expect("the reader").as_deref(), Some("canary-read"));
    held.outcome().await.expect("the update");
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
}

/// How often it is killed.
const KILLS: usize = 12;

/// Sends changes that approve themselves until the proxy dies; each has a number of its own.
async fn change_until_killed(proxy: &Proxy, next: &AtomicUsize, ran: &AtomicUsize) {
    let client = proxy.client("frank").await;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let statement = format!("UPDATE customers SET note = 'change-{number}.' WHERE id = {}", number % 5 + 1);
        if client.client.simple_query(&statement).await.is_err() {
            return;
        }
        ran.fetch_add(1, Ordering::Relaxed);
    }
}

/// The numbers of the changes that are in a text.
fn changes(text: &str, before: &str) -> BTreeSet<usize> {
    let begin = format!("{before}UPDATE customers SET note = 'change-");
    text.match_indices(&begin)
        .filter_map(|(at, found)| text[at + found.len()..].split('.').next()?.parse().ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_under_load_the_trail_is_whole_and_tells_of_all_that_ran() {
    let adapt = |text: String| {
        let groups = "groups = [\"engineering\", \"dba-team\"]\n";
        let frank = text.rfind(groups).expect("frank's groups");
        format!("{}groups = [\"engineering\", \"admin\"]\n{}", &text[..frank], &text[frank + groups.len()..])
    };
    let launch = Launch { fragment: WRITES_HELD, ..Launch::default() };
    let mut proxy = Proxy::in_front_of(Database::create().await, launch, adapt).await;
    let next = AtomicUsize::new(1);
    for kill in 0..KILLS {
        let ran = AtomicUsize::new(0);
        let enough = rand::rng().random_range(1..40);
        let pid = proxy.pid();
        let killing = async {
            while ran.load(Ordering::Relaxed) < enough {
                tokio::task::yield_now().await;
            }
            rustix::process::kill_process(pid, Signal::KILL).expect("SIGKILL");
        };
        let load = async {
            let change = || change_until_killed(&proxy, &next, &ran);
            tokio::join!(change(), change(), change(), change(), killing)
        };
        within("a kill under load", load).await;
        proxy.ended().await;
        let segment = proxy.data_dir().join("audit/000001.jsonl");
        if kill % 2 == 0 {
            // As a machine that lost power leaves it: the last write is there in part.
            let mut torn = fs::OpenOptions::new().append(true).open(&segment).expect("segment");
            std::io::Write::write_all(&mut torn, b"{\"seq\":99,\"prev\":\"00").expect("a torn line");
        }
        proxy.relaunch(Launch::default()).await;
        let report = verified(&proxy);
        assert!(report.is_intact(), "{report:#?}");
        let trail = fs::read_to_string(&segment).expect("segment");
        let intents: String = trail.lines().filter(|line| line.contains("\"kind\":\"intent\"")).collect();
        let intended = changes(&intents, "\"statement\":\"");
        let arrived = changes(&proxy.database.log(), "statement: ");
        assert!(
            !arrived.is_empty() && arrived.is_subset(&intended),
            "ran without an intent: {:?}",
            &arrived - &intended
        );
    }
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let report = verified(&proxy);
    assert!(report.is_intact() && report.gaps.len() >= KILLS / 2, "{report:#?}");
    let trail = proxy.data_dir().join("audit");
    let broken: Vec<_> = history([trail.as_path()]).expect("the trail").flaws.into_iter().filter(is_broken).collect();
    assert_eq!(broken, []);
    let known = fs::read_to_string(trail.join("000001.jsonl")).expect("segment");
    assert!(known.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

fn is_broken(flaw: &countersign::audit::Flaw) -> bool {
    flaw.kind == FlawKind::Broken
}
