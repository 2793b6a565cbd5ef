//! CancelRequest reaches what runs, and nothing that comes later.

use crate::support::proxy::Proxy;
use crate::support::wire::cancel;

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
