//! A client that sends nothing more, but still reads.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use countersign::demo::shop;
use postgres_protocol::message::frontend;

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::server::{SERVER, UPSTREAM_PASSWORD};
use crate::support::wire::{Frame, Pipeline, WireClient};

fn query(text: &str) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frontend::query(text, &mut bytes).expect("Query");
    bytes.to_vec()
}

fn copy_data(announced: u8, sent: &[u8]) -> Vec<u8> {
    [b"d\0\0\0", &[announced + 4][..], sent].concat()
}

/// What came, as one reads it: the type of each message, and of errors the SQLSTATE.
fn story(frames: &[Frame]) -> String {
    let told = |frame: &Frame| match frame.tag {
        b'E' => format!("E {}", frame.field(b'C').unwrap_or_default()),
        b'C' => format!("C {}", String::from_utf8_lossy(&frame.body).trim_end_matches('\0')),
        tag => char::from(tag).to_string(),
    };
    frames.iter().map(told).collect::<Vec<_>>().join(" | ")
}

/// The proxy answers whatever PostgreSQL answers.
#[tokio::test]
async fn a_client_that_sends_nothing_more_gets_what_postgresql_gives_it() {
    let proxy = Proxy::start("").await;
    let direct = SocketAddr::from((Ipv4Addr::LOCALHOST, SERVER.port()));
    proxy.wire("alice").await.query("CREATE TABLE lines (line text)").await;
    let copy = query("COPY lines FROM STDIN");
    let pipeline = || Pipeline::default().execute("SELECT 1", &[], 0);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("one Query", query("SELECT 1")),
        ("several", [query("SELECT 1"), query("SELECT 1/0"), query("SELECT 2")].concat()),
        ("a long one", query("SELECT count(*) FROM generate_series(1, 1000000)")),
        ("much output", query("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")),
        ("an open transaction", [query("BEGIN"), query("SELECT 1")].concat()),
        ("half a Query behind a whole one", [query("SELECT 1"), query("SELECT 2")[..7].to_vec()].concat()),
        ("a pipeline", pipeline().sync().0.to_vec()),
        ("a pipeline without Sync", pipeline().0.to_vec()),
        ("a failed pipeline without Sync", Pipeline::default().execute("SELECT 1/0", &[], 0).0.to_vec()),
        ("a Flush", [&pipeline().0[..], b"H\0\0\0\x04"].concat()),
        ("Terminate", [&query("SELECT 1")[..], b"X\0\0\0\x04"].concat()),
        ("COPY without end", [&copy[..], &copy_data(4, b"abc\n")].concat()),
        ("COPY within a row", [&copy[..], &copy_data(9, b"abc\n")].concat()),
        ("COPY with its end", [&copy[..], &copy_data(4, b"abc\n"), b"c\0\0\0\x04"].concat()),
    ];
    for (what, bytes) in cases {
        let mut told = Vec::new();
        for mut wire in [
            WireClient::connect_to(direct, shop::SHOP_ROLE, UPSTREAM_PASSWORD, &proxy.database.name).await,
            proxy.wire("alice").await,
        ] {
            wire.send(&bytes).await;
            told.push(story(&wire.end().await));
        }
        assert_eq!(told[1], told[0], "{what}: left is what the proxy answers, right is PostgreSQL");
    }
}

/// It cannot be told from one that has left.
#[tokio::test]
async fn nothing_is_held_for_a_client_that_sends_nothing_more() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    wire.send_query("UPDATE orders SET status = 'shipped' WHERE id = 1").await;
    let frames = wire.end().await;
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
    assert_eq!(error.field(b'M').as_deref(), Some("canceling statement due to user request"));
    let notice = frames.iter().find(|frame| frame.tag == b'N').and_then(|frame| frame.field(b'D'));
    let id = notice.as_deref().and_then(crate::support::client::request_id).expect("id in the notice");
    proxy.api("bob").wait_for_state(&id, "CANCELLED").await;
}
