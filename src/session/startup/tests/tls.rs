//! Encryption towards clients, with psql where it has an opinion.

use std::process::Output;

use tokio::net::UnixStream;
use tokio::process::Command;

use super::*;
use crate::tls::tests::TestCertificates;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

fn required(certificates: &TestCertificates) -> TlsConfig {
    TlsConfig { require: true, ..certificates.config("server") }
}

async fn psql(shared: &StartupContext, options: &str) -> (Output, Result<StartupOutcome, StartupError>) {
    let (listener, address) = loopback();
    let conninfo =
        format!("host=localhost hostaddr=127.0.0.1 port={} user=alice dbname=shop {options}", address.port());
    let mut command = Command::new("psql");
    command.args(["-X", "-w", "-d", &conninfo, "-c", "\\conninfo"]).env("PGPASSWORD", PASSWORD).kill_on_drop(true);
    let (output, outcome) = tokio::join!(command.output(), serve(&listener, shared));
    (output.expect("psql is installed (apt-get install postgresql-client)"), outcome)
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
    let listener = Listener::bind(&ListenAddress::Unix(path.clone())).unwrap();
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
