//! The audit trail of a session can be verified, and notices a changed byte.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use countersign::audit::{Audit, Known, Options, Record, Signer, SigningKey, verify};
use rustix::process::Signal;

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

/// A trail with a held statement that was approved, the request's id, and the public key of the proxy that wrote it.
async fn trail(proxy: &Proxy) -> (String, String) {
    let mut client = proxy.client("alice").await;
    let held = client.hold("UPDATE orders SET status = 'shipped' WHERE id = 1").await;
    let id = held.id.clone();
    proxy.api("bob").approve(&id).await;
    held.outcome().await.expect("the update");
    client.refusal("DROP TABLE payments").await;
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    let key = proxy.run(&["audit", "key", "-c", "countersign.toml"]);
    assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
    (id, String::from_utf8(key.stdout).expect("a key").trim().to_owned())
}

/// The verifier that the documentation offers to auditors who would rather not run ours.
pub(super) fn verify_without_us(directory: &Path, key: &str, anchors: &[String]) -> Output {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(repository.join("docs/verify_audit.py")).args(["--key", key]).arg(directory);
    command.args(anchors.iter().flat_map(|anchor| ["--anchor", anchor]));
    let packages = repository.join("target/clients/python");
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command.output().expect("python3 starts (scripts/setup --tests installs it)")
}

#[tokio::test]
async fn verifies_and_notices_tampering() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (id, key) = trail(&proxy).await;
    let verify_here = || proxy.run(&["audit", "verify", "-c", "countersign.toml", "--key", &key]);

    let output = verify_here();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let another = "00".repeat(32);
    let output = proxy.run(&["audit", "verify", "-c", "countersign.toml", "--key", &another]);
    assert_eq!(output.status.code(), Some(65), "another proxy's key has signed nothing here");

    let mut segments = Vec::new();
    find_segments(&proxy.data_dir(), &mut segments);
    let segment = segments.first().expect("an audit segment");
    let text = fs::read_to_string(segment).expect("segment");
    assert!(text.contains(&id), "the request is in the trail");
    fs::write(segment, text.replacen("alice", "alicf", 1)).expect("segment");
    assert!(!verify_here().status.success(), "a changed byte is noticed");
}

#[tokio::test]
async fn a_verifier_that_shares_no_code_agrees() {
    let mut proxy = Proxy::start(WRITES_HELD).await;
    let (_, key) = trail(&proxy).await;
    proxy.signal(Signal::TERM);
    assert!(proxy.ended().await.success());
    let directory = proxy.data_dir().join("audit");
    let segment = directory.join("000001.jsonl");
    let genuine = fs::read_to_string(&segment).expect("segment");
    let lines: Vec<_> = genuine.lines().collect();
    let without = |left_out: usize| {
        let kept = lines.iter().enumerate().filter(|(index, _)| *index != left_out);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let trails = [
        (genuine.clone(), true),
        (genuine.replacen("alice", "alicf", 1), false),
        (without(3), false),
        (without(lines.len() - 1), false),
        (format!("{genuine}{}\n", lines[2]), false),
        (genuine.replacen("\"signature\":\"", "\"signature\":\"00", 1), false),
    ];
    for (number, (text, intact)) in trails.into_iter().enumerate() {
        fs::write(&segment, text).expect("segment");
        let known = Known { keys: vec![key.parse().expect("a key")], ..Known::default() };
        let ours = verify(&directory, known).expect("readable");
        let theirs = verify_without_us(&directory, &key, &[]);
        let said = String::from_utf8_lossy(&theirs.stdout);
        assert_eq!((ours.is_intact(), theirs.status.success()), (intact, intact), "{number}: {ours:#?}\n{said}");
    }
}

#[tokio::test]
async fn a_statement_is_on_disk_before_it_is_forwarded_where_that_is_wanted() {
    let proxy = Proxy::start("[audit]\ndurability = \"before_forward\"\n").await;
    let client = proxy.client("alice").await;
    let segment = proxy.data_dir().join("audit/000001.jsonl");
    for number in 1..=20 {
        let statement = format!("SELECT {number} + 4000");
        client.value(&statement).await.expect("the result");
        assert!(fs::read_to_string(&segment).expect("segment").contains(&statement), "{statement}");
    }
}

#[test]
fn both_verifiers_read_compressed_segments_and_know_what_was_retired() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = SigningKey::from_pem(&SigningKey::new_pem().expect("a key")).expect("a key");
    let public = key.public();
    let options = Options {
        segment_bytes_max: 1000,
        signer: Some(Signer::new(key, None)),
        retention: Some(Duration::from_secs(86_400)),
        ..Options::default()
    };
    let long_ago = "2020-01-01T00:00:00Z".parse().expect("a time");
    let audit = Audit::open_with(directory.path(), options, long_ago).expect("a trail");
    for session in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        let record = Record::SessionClose { session, user: "alice", database: "shop", reason: "closed" };
        audit.record(long_ago, &record).expect("recorded");
    }
    let first = directory.path().join("000001.jsonl.gz");
    let plain = directory.path().join("000001.jsonl");
    let deadline = Instant::now() + Duration::from_secs(60);
    while first.exists() || plain.exists() {
        assert!(Instant::now() < deadline, "the first segment is still there");
        std::thread::yield_now();
    }
    drop(audit);
    for intact in [true, false] {
        let known = Known { keys: vec![public], ..Known::default() };
        let ours = verify(directory.path(), known).expect("readable");
        let theirs = verify_without_us(directory.path(), &public.to_string(), &[]);
        let said = String::from_utf8_lossy(&theirs.stdout);
        assert_eq!((ours.is_intact(), theirs.status.success()), (intact, intact), "{ours:#?}\n{said}");
        // The next round misses a segment that nobody has written down as removed.
        let mut segments = Vec::new();
        find_segments(directory.path(), &mut segments);
        fs::remove_file(segments.iter().min().expect("a segment")).expect("removed");
    }
}

fn find_segments(directory: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("data directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_segments(&path, found);
        } else if path.to_string_lossy().contains(".jsonl") {
            found.push(path);
        }
    }
}
