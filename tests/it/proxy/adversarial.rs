//! Texts made to be expensive cost those who send them, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::BytesMut;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::wire::{WireClient, cancel, tags};

/// What the memory of the proxy may grow by, in kB, whoever sends what.
const GROWTH_KB_MAX: u64 = 1 << 20;

/// How a text ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It runs.
    Runs,
    /// It fails with this SQLSTATE.
    Fails(&'static str),
    /// It is held.
    Held,
}

/// Texts, and how they end; another number makes them other texts.
fn texts(number: usize) -> Vec<(&'static str, End, Vec<u8>)> {
    let list: String = (0..100_000).map(|i| format!(",{}", i + number)).collect();
    let chain: String = (1..400).map(|i| format!(", c{i} AS (SELECT x FROM c{})", i - 1)).collect();
    let sum = format!("SELECT {number}{}", "+1".repeat(9_000));
    let deep = format!("SELECT {}{number}{}", "(".repeat(10_000), ")".repeat(10_000));
    let columns: String = (0..90_000).map(|i| format!(",id+{i}")).collect();
    let statements = format!("SELECT {number}{}", ";SELECT 1".repeat(110_000));
    vec![
        ("10,000 parentheses", End::Held, deep.into_bytes()),
        ("a string of 1 MB", End::Runs, format!("SELECT length('{number}{}')", "x".repeat(1_048_000)).into_bytes()),
        ("a list of 100,000", End::Runs, format!("SELECT 1 FROM orders WHERE id IN (0{list})").into_bytes()),
        ("400 CTEs", End::Runs, format!("WITH c0 AS (SELECT {number} AS x){chain} SELECT x FROM c399").into_bytes()),
        ("a long sum", End::Fails("54001"), sum.into_bytes()),
        ("90,000 columns", End::Held, format!("SELECT {number}{columns} FROM orders").into_bytes()),
        ("110,000 statements", End::Held, statements.into_bytes()),
        ("no UTF-8", End::Fails("22021"), b"SELECT '\xff\xfe'".to_vec()),
        ("a NUL", End::Fails("08P01"), b"SELECT 'a\0b'".to_vec()),
    ]
}

fn query(text: &[u8]) -> BytesMut {
    let length = u32::try_from(text.len() + 5).expect("length").to_be_bytes();
    BytesMut::from_iter([b"Q", length.as_slice(), text, b"\0"].concat())
}

/// Sends a text, withdraws it if it is held, and checks how it ends.
async fn check(proxy: &Proxy, wire: &mut WireClient, (what, end, text): &(&str, End, Vec<u8>)) {
    wire.send(&query(text)).await;
    let first = wire.frame().await;
    let told = first.field(b'C').unwrap_or_default();
    match end {
        End::Runs => assert_eq!(first.tag, b'T', "{what}: {told}"),
        End::Fails(sqlstate) => assert_eq!((first.tag, told.as_str()), (b'E', *sqlstate), "{what}"),
        End::Held => {
            assert_eq!(first.tag, b'N', "{what}: {told}");
            cancel(proxy.address(), wire.key).await;
        }
    }
    wire.until_ready().await;
    assert_eq!(tags(&wire.query("SELECT 1").await), "TDCZ", "the session goes on after {what}");
}

#[tokio::test]
async fn each_ends_in_order_and_its_session_goes_on() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let before = proxy.peak_kb();
    let mut wire = proxy.wire("alice").await;
    for text in &texts(0) {
        check(&proxy, &mut wire, text).await;
    }
    let grown = proxy.peak_kb() - before;
    assert!(grown < GROWTH_KB_MAX, "memory grew by {grown} kB");
}

/// A text that no cache has, because the names differ, and that takes long.
#[derive(Clone, Copy)]
enum Expensive {
    /// By its length.
    Long,
    /// Though it is short.
    Short,
}

impl Expensive {
    fn text(self, number: usize, turn: u64) -> String {
        match self {
            Self::Long => {
                let chain: String = (1..150).map(|i| format!(", c{i} AS (SELECT x FROM c{})", i - 1)).collect();
                let list = ",1".repeat(20_000);
                format!("WITH c0 AS (SELECT 1 AS x){chain} SELECT x AS a{number}_{turn} FROM c149 WHERE x IN (0{list})")
            }
            Self::Short => {
                let double = |i: usize| format!(", q{i} AS (SELECT * FROM q{0} a, q{0} b)", i - 1);
                let doubled: String = (1..7).map(double).collect();
                let list = ",(SELECT 1 FROM q6 LIMIT 0)".repeat(100);
                format!("WITH q0 AS (SELECT * FROM customers){doubled} SELECT 1 AS a{number}_{turn}{list}")
            }
        }
    }
}

/// Many who send nothing but expensive texts, until they are stopped.
struct Crowd {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    members: Vec<JoinHandle<()>>,
}

impl Crowd {
    async fn gather(proxy: &Proxy, size: usize, what: Expensive) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut members = Vec::new();
        for number in 0..size {
            let mut wire = proxy.wire("alice").await;
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            members.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let frames = wire.query(&what.text(number, served.load(Ordering::Relaxed))).await;
                    assert!(frames.iter().all(|frame| frame.tag != b'E'), "{frames:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        Self { stop, served, members }
    }
}

#[tokio::test]
async fn others_are_served_while_long_texts_are_read() {
    others_are_served_meanwhile(Expensive::Long).await;
}

#[tokio::test]
async fn others_are_served_while_short_but_expensive_texts_are_read() {
    assert!(Expensive::Short.text(8, 1_000).len() < 8 << 10);
    others_are_served_meanwhile(Expensive::Short).await;
}

/// What others get done while a crowd keeps the proxy busy is counted in texts of the crowd, not in seconds.
async fn others_are_served_meanwhile(what: Expensive) {
    const STATEMENTS: u64 = 200;
    let proxy = Proxy::start(WRITES_HELD).await;
    let before = proxy.peak_kb();
    let mut other = proxy.wire("bob").await;
    let crowd = Crowd::gather(&proxy, 8, what).await;
    // They are at it when the first is through.
    while crowd.served.load(Ordering::Relaxed) == 0 {
        other.query("SELECT 1").await;
    }
    let at_first = crowd.served.load(Ordering::Relaxed);
    for _ in 0..STATEMENTS {
        assert_eq!(tags(&other.query("SELECT 1").await), "TDCZ");
    }
    let mut newcomer = proxy.wire("carol").await;
    assert_eq!(tags(&newcomer.query("SELECT 1").await), "TDCZ");
    let meanwhile = crowd.served.load(Ordering::Relaxed) - at_first;
    crowd.stop.store(true, Ordering::Relaxed);
    join_all(crowd.members).await.into_iter().for_each(|member| member.expect("a member of the crowd"));
    assert!(meanwhile < STATEMENTS / 4, "{meanwhile} expensive texts were served before {STATEMENTS} others");
    let grown = proxy.peak_kb() - before;
    assert!(grown < GROWTH_KB_MAX, "memory grew by {grown} kB");
}
