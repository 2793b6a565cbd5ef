//! Nobody gets more than the limits allow, and everybody is told which one it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{TestClient, refusal_of};
use crate::support::config::{WRITES_HELD, password};
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::shared_store::SharedStore;
use crate::support::wire::WireClient;
use crate::support::within;

/// Every session ends this way, or with the connection.
async fn last_words(wire: &mut WireClient) -> (String, String) {
    let frame = wire.frame().await;
    assert_eq!((char::from(frame.tag), frame.field(b'V').as_deref()), ('E', Some("FATAL")), "{frame:?}");
    assert!(wire.next().await.is_none(), "nothing follows a FATAL error");
    (frame.field(b'C').unwrap_or_default(), frame.field(b'M').unwrap_or_default())
}

async fn enter(proxy: &Proxy, user: &str) -> Result<TestClient, tokio_postgres::Error> {
    TestClient::try_connect(proxy.address(), user, &password(user), "shop").await
}

#[tokio::test]
async fn the_last_place_is_given_back() {
    let proxy = Proxy::start("[limits]\nsessions = 3\nsessions_per_user = 2\n").await;
    let first = proxy.client("alice").await;
    let _second = proxy.client("alice").await;
    let error = refusal_of(enter(&proxy, "alice").await.err().expect("no third place for her"));
    assert_eq!((error.code().code(), error.message()), ("53300", "too many connections for user \"alice\""));
    let _third = proxy.client("bob").await;
    let error = refusal_of(enter(&proxy, "carol").await.err().expect("no fourth place"));
    assert_eq!((error.code().code(), error.message()), ("53300", "sorry, too many clients already"));
    assert_eq!(error.detail(), Some("The proxy serves 3 sessions at a time."));
    drop(first);
    let comes_in = async { while enter(&proxy, "carol").await.is_err() {} };
    within("a place to become free", comes_in).await;
}

#[tokio::test]
async fn strangers_do_not_fill_the_proxy() {
    let proxy = Proxy::start("[limits]\nunauthenticated = 2\n").await;
    let strangers = [strange(proxy.address()).await, strange(proxy.address()).await];
    let mut told = Vec::new();
    let mut third = TcpStream::connect(proxy.address()).await.expect("connection");
    within("the refusal", third.read_to_end(&mut told)).await.expect("an orderly end");
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("C53300") && told.contains("Msorry, too many clients already"), "{told}");
    drop(strangers);
    let comes_in = async { while enter(&proxy, "alice").await.is_err() {} };
    within("a place to become free", comes_in).await;
}

/// A connection that the proxy has accepted, of a client that does not go on.
async fn strange(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connection");
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.expect("SSLRequest");
    assert_eq!(within("the answer to SSLRequest", stream.read_u8()).await.expect("answer"), b'N');
    stream
}

#[tokio::test]
async fn idle_sessions_end_and_held_ones_do_not() {
    let limits = "[limits]\nidle_timeout = \"1s\"\nidle_in_transaction_timeout = \"2s\"\n";
    let proxy = Proxy::start(&format!("{WRITES_HELD}{limits}")).await;
    let mut holding = proxy.client("alice").await;
    let held = holding.hold("UPDATE orders SET status = 'shipped' WHERE id = 1").await;
    let mut in_transaction = proxy.wire("alice").await;
    in_transaction.query("BEGIN").await;
    let mut idle = proxy.wire("alice").await;
    let message = "terminating connection due to idle-session timeout";
    assert_eq!(last_words(&mut idle).await, ("57P05".to_owned(), message.to_owned()));
    let message = "terminating connection due to idle-in-transaction timeout";
    assert_eq!(last_words(&mut in_transaction).await, ("25P03".to_owned(), message.to_owned()));
    assert!(held.is_waiting());
    assert_eq!(proxy.api("bob").approve(&held.id).await, 200);
    held.outcome().await.expect("the update");
}

#[tokio::test]
async fn a_statement_that_is_too_large_fails_alone() {
    let proxy = Proxy::start("[limits]\nrequest_mib = 1\n").await;
    let mut wire = proxy.wire("alice").await;
    let frames = wire.query(&format!("SELECT length('{}')", "x".repeat(2 << 20))).await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("54000"), "{frames:?}");
    let frames = wire.query(&format!("SELECT length('{}')", "x".repeat(900 << 10))).await;
    assert!(frames.iter().any(|frame| frame.tag == b'D'), "what is just small enough runs");
}

const REFUSED: &str = "countersign_requests_refused_total";
const FEW: &str = "[limits]\nrequests_per_user = 3\n";

/// Asks for approval of so many different statements on each of these sessions at once; the SQLSTATEs of the answers.
async fn ask(clients: &[TestClient], each: usize) -> BTreeMap<String, usize> {
    let asks = clients.iter().enumerate().flat_map(|(index, client)| {
        let text = move |n| format!("DELETE FROM payments WHERE id = {n} AND {index} = {index}");
        (0..each).map(move |n| async move { client.refusal(&text(n)).await })
    });
    let mut told = BTreeMap::new();
    for refusal in futures_util::future::join_all(asks).await {
        *told.entry(refusal.code().code().to_owned()).or_default() += 1;
    }
    told
}

#[tokio::test]
async fn nobody_fills_the_inbox_of_reviewers() {
    let store = SharedStore::create().await;
    let fragment = format!("{WRITES_HELD}{FEW}{}", store.fragment("10m"));
    let launch = || Launch { fragment: &fragment, ..Launch::default() };
    let resubmit = |text: String| text.replace("mode = \"wait\"", "mode = \"resubmit\"");
    let database = Database::create().await;
    let one = Proxy::in_front_of(database.clone(), launch(), resubmit).await;
    let two = Proxy::in_front_of(database, launch(), resubmit).await;
    let mut clients = Vec::new();
    for proxy in [&one, &two, &one, &two] {
        clients.push(proxy.client("alice").await);
    }
    let told = ask(&clients, 5).await;
    assert_eq!(told, BTreeMap::from([("42501".to_owned(), 3), ("53400".to_owned(), 17)]), "3 are asked for");

    let refusal = clients[0].refusal("DELETE FROM payments").await;
    assert_eq!(refusal.message(), "too many access requests wait for approval");
    assert!(refusal.detail().is_some_and(|detail| detail.contains("\"alice\" has 3 ")), "{refusal:?}");
    assert!(refusal.hint().is_some_and(|hint| hint.contains("requests cancel")), "{refusal:?}");
    let refused = [one.metric(REFUSED).await, two.metric(REFUSED).await];
    assert!(refused.iter().sum::<f64>() >= 18.0, "{refused:?}");
    let call = json!({"database": "shop", "statement": "DELETE FROM orders"});
    let called = two.api("alice").call(Method::POST, "/requests", Some(call)).await;
    assert_eq!((called.status, &called.body["sqlstate"]), (422, &json!("53400")), "{}", called.body);
    let grant = json!({"database": "shop", "for": "10m", "reason": "many"});
    let asked = two.api("alice").call(Method::POST, "/grants", Some(grant)).await;
    assert_eq!(asked.status, 409, "{}", asked.body);

    let waiting = two.api("bob").call(Method::GET, "/requests?status=PENDING", None).await;
    let ids: Vec<_> =
        waiting.body["requests"].as_array().expect("requests").iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids.len(), 3, "{}", waiting.body);
    let told = clients[1].refusal("SELECT 1; DELETE FROM payments WHERE false").await;
    assert_eq!(told.code().code(), "53400");
    assert_eq!(clients[1].value("SELECT 'fine'").await.as_deref(), Some("fine"), "what nobody has to approve runs");
    assert_eq!(two.api("bob").reject(ids[0].as_str().expect("an id"), "no").await, 200);
    assert_eq!(
        clients[3].refusal("DELETE FROM orders WHERE false").await.code().code(),
        "42501",
        "there is room again"
    );
}
