//! CancelRequest reaches what runs, and nothing that comes later.

use crate::support::proxy::Proxy;
use crate::support::wire::{WireClient, cancel, cancel_with};

const MISMATCHES: &str = "countersign_cancel_requests_total{outcome=\"mismatch\"}";

/// A result that never stops coming must not drown the cancel.
#[tokio::test]
async fn ctrl_c_stops_a_stream_of_rows() {
    let proxy = Proxy::start("").await;
    let mut wire = proxy.wire("alice").await;
    let key = wire.key;
    wire.send_query("SELECT generate_series(1, 1000000000), repeat('x', 500)").await;
    while wire.frame().await.tag != b'D' {}
    let address = proxy.address();
    let cancelling = tokio::spawn(async move { cancel(address, key).await });
    loop {
        let frame = wire.frame().await;
        if frame.tag == b'E' {
            assert_eq!(frame.field(b'C').as_deref(), Some("57014"));
            break;
        }
    }
    cancelling.await.expect("the cancel is sent");
    wire.until_ready().await;
    let frames = wire.query("SELECT 1").await;
    assert!(frames.iter().any(|frame| frame.tag == b'D'), "the session goes on");
}

/// A cancel that arrives while nothing runs is forgotten.
#[tokio::test]
async fn an_idle_session_is_not_cancelled_later() {
    let proxy = Proxy::start("").await;
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT 1").await;
    cancel(proxy.address(), wire.key).await;
    for _ in 0..20 {
        let frames = wire.query("SELECT count(*) FROM generate_series(1, 10000)").await;
        assert!(frames.iter().all(|frame| frame.tag != b'E'), "{frames:?}");
    }
}

/// The keys of protocol 3.2 are long. Wrong ones are counted and cost nothing: no line in the log, nothing upstream.
#[tokio::test]
async fn a_long_key_must_be_right_to_its_last_byte() {
    let proxy = Proxy::start("").await;
    let mut wire = WireClient::connect_as(proxy.address(), "alice", 2).await;
    let (process_id, secret) = wire.long_key.clone();
    assert_eq!(secret.len(), 32);
    let direct = proxy.database.direct().await;
    direct.batch_execute("SELECT pg_advisory_lock(8871)").await.expect("lock");
    wire.send_query("SELECT pg_advisory_lock(8871)").await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 8871";
    while direct.query_one(waiting, &[]).await.expect("pg_locks").get::<_, i64>(0) == 0 {}
    let (log, upstream) = (proxy.log(), proxy.database.log());
    let mut wrong = secret.clone();
    wrong[31] ^= 1;
    for secret in [&wrong[..], &secret[..4], &secret[..31], &[&secret[..], b"\0"].concat()] {
        for _ in 0..50 {
            cancel_with(proxy.address(), process_id, secret).await;
        }
    }
    assert!((proxy.metric(MISMATCHES).await - 200.0).abs() < 0.5);
    assert_eq!(proxy.log(), log, "nothing is logged");
    assert_eq!(proxy.database.log(), upstream, "nothing reaches the upstream");
    cancel_with(proxy.address(), process_id, &secret).await;
    let frames = wire.until_ready().await;
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("ErrorResponse");
    assert_eq!(error.field(b'C').as_deref(), Some("57014"));
}

/// Drivers compare the process id of a notification with their own.
#[tokio::test]
async fn the_process_id_is_the_one_of_the_backend() {
    let proxy = Proxy::start("").await;
    let mut wire = proxy.wire("alice").await;
    let process_id = wire.key.0.to_string();
    let frames = wire.query("SELECT pg_backend_pid()").await;
    let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
    assert!(row.body.ends_with(process_id.as_bytes()), "{process_id}: {row:?}");
    let frames = wire.query("LISTEN here; NOTIFY here, 'now'").await;
    let notification = frames.iter().find(|frame| frame.tag == b'A').expect("a notification");
    assert!(notification.body.starts_with(&wire.key.0.to_be_bytes()), "{process_id}: {notification:?}");
}
