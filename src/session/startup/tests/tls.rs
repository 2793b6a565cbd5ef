//! Encryption towards clients, with psql where it has an opinion.

use std::process::Output;

use rustls_pki_types::ServerName;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::*;
use crate::tls::tests::TestCertificates;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

fn required(certificates: &TestCertificates) -> TlsConfig {
    TlsConfig { require: true, ..certificates.config("server") }
}

/// Runs psql against that port as alice.
pub(super) async fn psql_at(address: SocketAddr, options: &str) -> Output {
    let conninfo =
        format!("host=localhost hostaddr=127.0.0.1 port={} user=alice dbname=shop {options}", address.port());
    let mut command = Command::new("psql");
    command.args(["-X", "-w", "-d", &conninfo, "-c", "\\conninfo"]).env("PGPASSWORD", PASSWORD).kill_on_drop(true);
    command.output().await.expect("psql is installed (apt-get install postgresql-client)")
}

async fn psql(shared: &StartupContext, options: &str) -> (Output, Result<StartupOutcome, StartupError>) {
    let (listener, address) = loopback();
    tokio::join!(psql_at(address, options), serve(&listener, shared))
}

#[tokio::test]
async fn psql_verifies_us() {
    let certificates = TestCertificates::new();
    let shared = context(Some(required(&certificates)));
    let options = format!("sslmode=verify-full sslrootcert={}", certificates.path("ca.crt").display());
    let (output, outcome) = psql(&shared, &options).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("SSL connection (protocol: TLSv1.3"),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let Ok(StartupOutcome::Session(client)) = outcome else { panic!("{outcome:?}") };
    assert!(client.tls);
}

#[tokio::test]
async fn psql_falls_back_when_there_is_no_tls() {
    let (output, outcome) = psql(&context(None), "sslmode=prefer").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let Ok(StartupOutcome::Session(client)) = outcome else { panic!("{outcome:?}") };
    assert!(!client.tls);
}

#[tokio::test]
async fn plaintext_is_refused_where_tls_is_required() {
    let certificates = TestCertificates::new();
    let (output, outcome) = psql(&context(Some(required(&certificates))), "sslmode=disable").await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("FATAL:  connection requires TLS"), "{stderr}");
    assert!(stderr.contains("HINT:  Connect with sslmode=require or stronger."), "{stderr}");
    assert!(matches!(outcome, Err(StartupError::TlsRequired)), "{outcome:?}");
}

#[tokio::test]
async fn a_unix_socket_needs_no_tls() {
    let certificates = TestCertificates::new();
    let shared = context(Some(required(&certificates)));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = Listener::bind(&ListenAddress::Unix(path.clone()), Sharing::Alone).unwrap();
    let client = async {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(SSL_REQUEST).await.unwrap();
        stream.write_all(&startup_packet(3 << 16, &[("user", "alice")])).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let (answer, outcome) = tokio::join!(client, serve(&listener, &shared));
    assert!(answer.starts_with(b"NR"), "{}", answer.escape_ascii());
    assert!(matches!(outcome, Ok(StartupOutcome::Closed)), "{outcome:?}");
}

#[tokio::test]
async fn bytes_sent_ahead_of_tls_end_the_connection() {
    let certificates = TestCertificates::new();
    let shared = context(Some(certificates.config("server")));
    for injected in [&startup_packet(3 << 16, &[("user", "alice")])[..], b"x", SSL_REQUEST] {
        let (answer, outcome) = exchange(&shared, &[SSL_REQUEST, injected].concat()).await;
        assert_eq!(field(&answer, 'M').as_deref(), Some("received unencrypted data after SSL request"));
        assert_eq!(answer.first(), Some(&b'E'), "TLS is not agreed to");
        assert!(matches!(outcome, Err(StartupError::BytesBeforeTls)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_failed_handshake_ends_the_connection() {
    let certificates = TestCertificates::new();
    let shared = context(Some(certificates.config("server")));
    let (listener, address) = loopback();
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(SSL_REQUEST).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        stream.write_all(&startup_packet(3 << 16, &[("user", "alice")])).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let ((), outcome) = tokio::join!(client, serve(&listener, &shared));
    assert!(matches!(outcome, Err(StartupError::TlsHandshake(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_reload_exchanges_the_certificate() {
    let certificates = TestCertificates::new();
    let shared = context(Some(certificates.config("self")));
    let options = format!("sslmode=verify-full sslrootcert={}", certificates.path("ca.crt").display());
    let (output, outcome) = psql(&shared, &options).await;
    assert!(!output.status.success() && outcome.is_err(), "{outcome:?}");
    shared.replace_tls(Some(crate::tls::acceptor(&certificates.config("server")).unwrap()));
    let (output, _) = psql(&shared, &options).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A client that speaks TLS from the first byte, or after an SSLRequest, naming these protocols; `None` when the
/// handshake failed.
async fn tls_client(
    address: SocketAddr,
    asks: bool,
    protocols: &[&[u8]],
) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    begin_tls(TcpStream::connect(address).await.unwrap(), asks, protocols).await
}

/// Likewise, on a connection that is there already.
pub(super) async fn begin_tls(
    mut stream: TcpStream,
    asks: bool,
    protocols: &[&[u8]],
) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config =
        crate::tls::connector(&crate::tls::tests::upstream(SslMode::Require, None)).unwrap().config().as_ref().clone();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    if asks {
        stream.write_all(SSL_REQUEST).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
    }
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

/// Sends bytes inside TLS; returns what came back, or `None` when there was no TLS.
pub(super) async fn exchange_in_tls(
    shared: &StartupContext,
    asks: bool,
    protocols: &[&[u8]],
    bytes: &[u8],
) -> (Option<Vec<u8>>, Result<StartupOutcome, StartupError>) {
    let (listener, address) = loopback();
    let client = async {
        let mut stream = tls_client(address, asks, protocols).await?;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A client that has left is not told goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        Some(answer)
    };
    tokio::join!(client, serve(&listener, shared))
}

#[tokio::test]
async fn tls_from_the_first_byte_needs_alpn() {
    let certificates = TestCertificates::new();
    let shared = context(Some(required(&certificates)));
    let startup = startup_packet(3 << 16, &[("user", "alice")]);
    let check = async |asks: bool, protocols: &[&[u8]], starts: Option<&[u8]>| {
        let (answer, outcome) = exchange_in_tls(&shared, asks, protocols, &startup).await;
        let got = answer.as_ref().map(|answer| &answer[..answer.len().min(1)]);
        assert_eq!(got, starts, "{asks} {protocols:?} {outcome:?}");
    };
    check(false, &[b"postgresql"], Some(b"R")).await;
    check(false, &[b"h2", b"postgresql"], Some(b"R")).await;
    check(false, &[], Some(b"E")).await;
    check(false, &[b"http/1.1"], None).await;
    check(true, &[b"postgresql"], Some(b"R")).await;
    check(true, &[], Some(b"R")).await;
    check(true, &[b"http/1.1"], None).await;
}

#[tokio::test]
async fn tls_is_not_begun_twice() {
    let certificates = TestCertificates::new();
    let shared = context(Some(required(&certificates)));
    for asks in [false, true] {
        let (answer, outcome) = exchange_in_tls(&shared, asks, &[b"postgresql"], SSL_REQUEST).await;
        let message = "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2";
        assert_eq!(field(&answer.unwrap(), 'M').as_deref(), Some(message), "{outcome:?}");
    }
}

#[tokio::test]
async fn tls_from_the_first_byte_means_nothing_where_there_is_no_tls() {
    let (listener, address) = loopback();
    let shared = context(None);
    let (client, outcome) = tokio::join!(tls_client(address, false, &[b"postgresql"]), serve(&listener, &shared));
    assert!(client.is_none());
    assert!(matches!(outcome, Err(StartupError::Packet(PacketError::Length))), "{outcome:?}");
}

#[tokio::test]
async fn a_cancel_comes_through_tls_of_either_kind() {
    let certificates = TestCertificates::new();
    let shared = context(Some(required(&certificates)));
    let packet = [b"\0\0\0\x2c\x04\xd2\x16\x2e\0\0\0\x07", &[9; 32][..]].concat();
    for asks in [false, true] {
        let (answer, outcome) = exchange_in_tls(&shared, asks, &[b"postgresql"], &packet).await;
        assert_eq!(answer.as_deref(), Some(&b""[..]));
        let Ok(StartupOutcome::Cancel(key, _)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((key.process_id, &key.secret[..]), (7, &[9; 32][..]));
    }
}
