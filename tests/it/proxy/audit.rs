//! The audit trail of a session can be verified, and notices a changed byte.

use std::fs;

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;

#[tokio::test]
async fn verifies_and_notices_tampering() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold("UPDATE orders SET status = 'shipped' WHERE id = 1").await;
    let id = held.id.clone();
    proxy.api("bob").approve(&id).await;
    held.outcome().await.expect("the update");
    client.refusal("DROP TABLE payments").await;
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;

    let verify = || proxy.run(&["audit", "verify", "-c", "countersign.toml"]);
    let output = verify();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut segments = Vec::new();
    find_segments(&proxy.data_dir(), &mut segments);
    let segment = segments.first().expect("an audit segment");
    let text = fs::read_to_string(segment).expect("segment");
    assert!(text.contains(&id), "the request is in the trail");
    fs::write(segment, text.replacen("alice", "alicf", 1)).expect("segment");
    assert!(!verify().status.success(), "a changed byte is noticed");
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
