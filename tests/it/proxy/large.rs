//! Memory stays small, however much passes.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use crate::support::config::PII_MASKED;
use crate::support::proxy::Proxy;
use crate::support::within;

/// What may be added to the memory of the proxy, in kB; everything here is many times larger.
const GROWTH_KB_MAX: u64 = 24 << 10;

#[track_caller]
fn check_memory(proxy: &Proxy, before: u64, what: &str) {
    let peak = proxy.peak_kb();
    assert!(peak < before + GROWTH_KB_MAX, "{what}: memory grew from {before} kB to {peak} kB");
}

#[tokio::test]
async fn a_value_of_200_mb_passes_in_pieces() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT 1").await;
    let before = proxy.peak_kb();
    wire.send_query("SELECT repeat('x', 200000000)").await;
    assert_eq!(wire.frame().await.tag, b'T');
    assert_eq!(wire.frame().await.body.len(), 200_000_006);
    wire.until_ready().await;
    check_memory(&proxy, before, "one value of 200 MB");
}

#[tokio::test]
async fn copies_of_200_mb_pass_in_pieces() {
    let proxy = Proxy::start(PII_MASKED).await;
    let client = proxy.client("alice").await;
    assert!(client.client.simple_query("CREATE UNLOGGED TABLE large (line text)").await.is_ok());
    let before = proxy.peak_kb();
    let copy_out = "COPY (SELECT repeat('x', 999) FROM generate_series(1, 200000)) TO STDOUT";
    let mut psql = proxy.psql_command("alice", &["-o", "/dev/null", "-c", copy_out]);
    assert!(within("COPY out", psql.status()).await.expect("psql").success());
    check_memory(&proxy, before, "COPY of 200 MB to the client");
    let mut psql = proxy.psql_command("alice", &["-c", "COPY large FROM STDIN"]);
    let mut running = psql.stdin(Stdio::piped()).spawn().expect("psql");
    let mut input = running.stdin.take().expect("standard input of psql");
    let lines = format!("{}\n", "x".repeat(999)).repeat(1000);
    for _ in 0..200 {
        input.write_all(lines.as_bytes()).await.expect("writing to psql");
    }
    drop(input);
    let output = within("COPY in", running.wait_with_output()).await.expect("psql");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "COPY 200000\n", "{}", String::from_utf8_lossy(&output.stderr));
    check_memory(&proxy, before, "COPY of 200 MB from the client");
}

/// A client that does not read holds the upstream up, not the memory of the proxy.
#[tokio::test]
async fn a_client_that_does_not_read_costs_little() {
    let proxy = Proxy::start(PII_MASKED).await;
    let before = proxy.peak_kb();
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut wire = proxy.wire("alice").await;
        wire.send_query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)").await;
        idle.push(wire);
    }
    // When a session has passed on its own rows, the others have had the time to pass theirs.
    let mut reading = proxy.wire("alice").await;
    reading.query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)").await;
    check_memory(&proxy, before, "eight clients that do not read");
}

/// What a client announces and does not send takes no room.
#[tokio::test]
async fn messages_that_are_only_announced_cost_nothing() {
    let proxy = Proxy::start("").await;
    let before = proxy.peak_kb();
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut wire = proxy.wire("alice").await;
        wire.send(b"Q\x03\xff\xff\xff").await;
        silent.push(wire);
    }
    let mut other = proxy.wire("alice").await;
    other.query("SELECT 1").await;
    check_memory(&proxy, before, "eight announced statements of 64 MB");
}

/// An upstream that takes nothing holds the client up, not the memory of the proxy.
#[tokio::test]
async fn an_upstream_that_does_not_read_costs_little() {
    let proxy = Proxy::start("").await;
    let mut locking = proxy.wire("alice").await;
    locking.query("CREATE UNLOGGED TABLE large (line text)").await;
    locking.query("BEGIN; LOCK TABLE large").await;
    let before = proxy.peak_kb();
    let mut copying = proxy.wire("alice").await;
    copying.send_query("COPY large FROM STDIN").await;
    let writing = tokio::spawn(async move {
        let mut data = vec![b'd'];
        data.extend_from_slice(&(4_u32 + 1_000_000).to_be_bytes());
        data.extend_from_slice(&format!("{}\n", "x".repeat(99)).repeat(10_000).into_bytes());
        for _ in 0..100 {
            copying.send(&data).await;
        }
        copying.send(b"c\0\0\0\x04").await;
        copying.until_ready().await
    });
    // When a session has passed on its own rows, the other has had the time to pass what it can.
    let mut reading = proxy.wire("alice").await;
    reading.query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)").await;
    assert!(!writing.is_finished(), "100 MB went nowhere");
    check_memory(&proxy, before, "a COPY that the upstream does not take");
    locking.query("COMMIT").await;
    let frames = within("end of the COPY", writing).await.expect("the task that copies");
    assert!(frames.iter().any(|frame| frame.body == b"COPY 1000000\0"), "{frames:?}");
    check_memory(&proxy, before, "a COPY that the upstream takes at last");
}
