//! The audit trail of a session can be verified, and notices a changed byte.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

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
fn verify_without_us(directory: &Path, key: &str) -> Output {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg(repository.join("docs/verify_audit.py")).args(["--key", key]).arg(directory);
    let packages = repository.join("target/clients/python");
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1");
    command.output().expect("python3 starts (scripts/setup --tests installs it)")
}

#[tokio::test]
async fn verifies_and_notices_tampering() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let (id, key) = trail(&proxy).await;
    let verify = || proxy.run(&["audit", "verify", "-c", "countersign.toml", "--key", &key]);

    let output = verify();
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
    assert!(!verify().status.success(), "a changed byte is noticed");
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
        let known = countersign::audit::Known { keys: vec![key.parse().expect("a key")], ..Default::default() };
        let ours = countersign::audit::verify(&directory, known).expect("readable");
        let theirs = verify_without_us(&directory, &key);
        let said = String::from_utf8_lossy(&theirs.stdout);
        assert_eq!((ours.is_intact(), theirs.status.success()), (intact, intact), "{number}: {ours:#?}\n{said}");
    }
}

fn find_segments(directory: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).expect("data directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            find_segments(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
}
