//! Clients behind a load balancer.

use super::tls::begin_tls;
use super::*;
use crate::config::Network;
use crate::tls::tests::TestCertificates;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// PROXY, TCP over IPv4, 192.0.2.7:12345.
const PROXIED: &[u8] = b"\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x30\x39\x19\x8f";
const LOCAL: &[u8] = b"\x20\0\0\0";

fn behind_a_load_balancer() -> StartupContext {
    context_with(None, |config| config.proxy_protocol_from = vec![Network::parse("127.0.0.0/8").unwrap()])
}

/// The shortest that can follow the header.
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07s3cr";

#[tokio::test]
async fn a_header_may_come_in_any_pieces() {
    let shared = behind_a_load_balancer();
    let whole = [SIGNATURE, PROXIED, CANCEL].concat();
    for at in 1..whole.len() {
        let (listener, address) = loopback();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&whole[..at]).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(&whole[at..]).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let ((), outcome) = tokio::join!(client, serve(&listener, &shared));
        let Ok(StartupOutcome::Cancel(key, _)) = outcome else { panic!("{at}: {outcome:?}") };
        assert_eq!(key.process_id, 7);
    }
}

#[tokio::test]
async fn the_address_in_the_header_is_the_clients() {
    let shared = behind_a_load_balancer();
    let check = async |header: &[u8], expected: &str| {
        let (listener, address) = loopback();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[SIGNATURE, header].concat()).await.unwrap();
            let mut config = tokio_postgres::Config::new();
            config.user("alice").password(PASSWORD).dbname("shop");
            config.connect_raw(stream, tokio_postgres::NoTls).await.map(drop).unwrap();
        };
        let ((), outcome) = tokio::join!(client, serve(&listener, &shared));
        let Ok(StartupOutcome::Session(client)) = outcome else { panic!("{outcome:?}") };
        assert!(client.peer.starts_with(expected), "{}", client.peer);
    };
    check(PROXIED, "192.0.2.7:12345").await;
    check(LOCAL, "127.0.0.1:").await;
    check(b"\x21\0\0\0", "127.0.0.1:").await;
}

#[tokio::test]
async fn a_header_is_there_where_it_must_be_and_nowhere_else() {
    let check = async |shared: &StartupContext, bytes: &[u8], message: Option<&str>| {
        let (answer, outcome) = exchange(shared, bytes).await;
        assert_eq!(field(&answer, 'M').as_deref(), message, "{} {outcome:?}", bytes.escape_ascii());
        assert_eq!(field(&answer, 'C').is_some(), message.is_some());
        assert!(outcome.is_err());
    };
    let expecting = behind_a_load_balancer();
    let startup = startup_packet(3 << 16, &[("user", "alice")]);
    let missing = Some("connection does not begin with a PROXY protocol header");
    check(&expecting, &startup, missing).await;
    check(&expecting, b"\0\0\0\x08\x04\xd2\x16\x2f", missing).await;
    check(&expecting, &[SIGNATURE, LOCAL].concat()[..9], missing).await;
    let version = Some("PROXY protocol version 1 is not supported; use version 2");
    check(&expecting, b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 6543\r\n", version).await;
    check(&expecting, &[SIGNATURE, b"\x21\x11\x08\x01"].concat(), Some("PROXY protocol header is too long")).await;
    check(&expecting, &[SIGNATURE, b"\x21\x11\0\0"].concat(), Some("malformed PROXY protocol header")).await;
    // Its place is before everything else, and there once.
    let twice = [SIGNATURE, PROXIED, SIGNATURE, PROXIED, &startup].concat();
    check(&expecting, &twice, None).await;
    let other = context_with(None, |config| config.proxy_protocol_from = vec![Network::parse("10.0.0.0/8").unwrap()]);
    for bytes in [[SIGNATURE, PROXIED, &startup].concat(), b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".to_vec()] {
        let (answer, outcome) = exchange(&other, &bytes).await;
        assert!(answer.is_empty() && matches!(outcome, Err(StartupError::UnexpectedProxyHeader)), "{outcome:?}");
    }
}

#[tokio::test]
async fn who_checks_whether_the_port_is_open_did_nothing_wrong() {
    let shared = behind_a_load_balancer();
    for bytes in [&b""[..], &[SIGNATURE, LOCAL].concat(), &[SIGNATURE, PROXIED].concat()] {
        let (answer, outcome) = exchange(&shared, bytes).await;
        assert!(answer.is_empty() && matches!(outcome, Ok(StartupOutcome::Closed)), "{outcome:?}");
    }
}

/// The header is read to its end and no further, so that TLS may follow it at once.
#[tokio::test]
async fn tls_of_either_kind_begins_behind_the_header() {
    let certificates = TestCertificates::new();
    let shared = context_with(Some(certificates.config("server")), |config| {
        config.proxy_protocol_from = vec![Network::parse("127.0.0.0/8").unwrap()];
    });
    for asks in [false, true] {
        let (listener, address) = loopback();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&[SIGNATURE, PROXIED].concat()).await.unwrap();
            let mut stream = begin_tls(stream, asks, &[b"postgresql"]).await.expect("TLS");
            stream.write_all(CANCEL).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let ((), outcome) = tokio::join!(client, serve(&listener, &shared));
        assert!(matches!(outcome, Ok(StartupOutcome::Cancel(..))), "{outcome:?}");
    }
}
