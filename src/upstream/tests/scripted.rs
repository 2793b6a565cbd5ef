//! Upstreams that misbehave in ways PostgreSQL does not.

use super::*;

/// What the upstream does next.
enum Step<'a> {
    /// Read as many bytes as these, and check the first ones.
    Expect(&'a [u8]),
    /// Read one packet or message of whatever content; carries the length of its tag.
    Skip(usize),
    /// Write.
    Send(&'a [u8]),
}

use Step::{Expect, Send, Skip};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const SETTINGS: &[u8] = b"S\0\0\0\x19client_encoding\0UTF8\0S\0\0\0\x23standard_conforming_strings\0on\0";
const READY: &[u8] = b"Z\0\0\0\x05I";

/// Plays the script on one connection, then closes it and checks that nothing else was sent; returns what `connect`
/// made of it, and the connection without a word if that was a session.
async fn play(
    script: &[Step<'_>],
    change: impl FnOnce(UpstreamConfig) -> UpstreamConfig,
) -> Result<Upstream, UpstreamError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = change(target("127.0.0.1", listener.local_addr().unwrap().port(), "any_user"));
    let upstream = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for step in script {
            step.play(&mut stream).await;
        }
        stream.shutdown().await.unwrap();
        stream
    };
    let both = async { tokio::join!(connect(&target, &[]), upstream) };
    let (result, mut stream) = tokio::time::timeout(TIMEOUT, both).await.unwrap();
    if result.is_err() {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "unexpected: {}", rest.escape_ascii());
    }
    result
}

impl Step<'_> {
    async fn play(&self, stream: &mut TcpStream) {
        match self {
            Expect(bytes) => {
                let mut got = vec![0; bytes.len()];
                stream.read_exact(&mut got).await.unwrap();
                assert_eq!(got.escape_ascii().to_string(), bytes.escape_ascii().to_string());
            }
            Skip(tag_len) => {
                stream.read_exact(&mut vec![0; *tag_len]).await.unwrap();
                let length = stream.read_u32().await.unwrap() as usize;
                stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
            }
            Send(bytes) => stream.write_all(bytes).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_pooler_without_a_cancel_key_will_do() {
    let script = [Skip(0), Send(OK), Send(SETTINGS), Send(READY), Send(b"N\0\0\0\x05\0")];
    let upstream = play(&script, |target| target).await.unwrap();
    assert_eq!(upstream.parameters.len(), 2);
    upstream.cancel.cancel().await.expect("there is nothing to cancel");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused() {
    let check = async |script: &[Step<'_>], sqlstate: &str| {
        check_error(play(script, |target| target).await, sqlstate, Fault::Upstream);
    };
    check(&[Skip(0)], "08006").await;
    check(&[Skip(0), Send(b"R\0\0\0\x08\0")], "08006").await;
    check(&[Skip(0), Send(b"R\0\0\0\x04")], "08001").await;
    check(&[Skip(0), Send(b"R\xff\xff\xff\xff")], "08001").await;
    check(&[Skip(0), Send(b"HTTP/1.1 400 Bad Request\r\n")], "08001").await;
    check(&[Skip(0), Send(b"R\0\0\0\x08\0\0\0\x07")], "08001").await;
    check(&[Skip(0), Send(b"R\0\0\0\x0a\0\0\0\x05ab")], "08001").await;
    check(&[Skip(0), Send(b"R\0\0\0\x0c\0\0\0\x0aX\0\0\0")], "08001").await;
    check(&[Skip(0), Send(OK), Send(b"K\0\0\0\x08\0\0\0\x01")], "08001").await;
    check(&[Skip(0), Send(OK), Send(b"D\0\0\0\x04")], "08001").await;
    check(&[Skip(0), Send(OK), Send(READY)], "08001").await;
    let strings_off = b"S\0\0\0\x24standard_conforming_strings\0off\0";
    check(&[Skip(0), Send(OK), Send(SETTINGS), Send(strings_off), Send(READY)], "08001").await;
}

#[tokio::test]
async fn an_upstream_that_skips_its_scram_proof_is_not_believed() {
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    check_error(play(&[Skip(0), Send(sasl), Skip(1), Send(OK)], |target| target).await, "08001", Fault::Upstream);
    let forged = b"R\0\0\0\x15\0\0\0\x0br=x,s=AAAA,i=1";
    let script = [Skip(0), Send(&sasl[..]), Skip(1), Send(&forged[..])];
    check_error(play(&script, |target| target).await, "08001", Fault::Upstream);
}

#[tokio::test]
async fn rejections_are_told_apart_without_their_texts() {
    let check = async |code: &str, sqlstate: &str, fault| {
        let body = format!("SFATAL\0C{code}\0Mrole any_user at 127.0.0.1\0\0");
        let mut error = b"E".to_vec();
        error.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        error.extend(body.as_bytes());
        check_error(play(&[Skip(0), Send(&error)], |target| target).await, sqlstate, fault);
    };
    check("53300", "53300", Fault::Upstream).await;
    check("57P03", "57P03", Fault::Upstream).await;
    check("22023", "22023", Fault::Upstream).await;
    check("28P01", "08001", Fault::Proxy).await;
    check("3D000", "08001", Fault::Proxy).await;
    check("XX000", "08001", Fault::Upstream).await;
}

#[tokio::test]
async fn tls_is_never_given_up_silently() {
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let root = crate::tls::tests::TestCertificates::new();
        let change = |target| with_tls(target, mode, Some(&root.path("ca.crt")));
        check_error(play(&[Expect(SSL_REQUEST), Send(b"N")], change).await, "08001", Fault::Upstream);
    }
    let prefer = |target| with_tls(target, SslMode::Prefer, None);
    // Prefer goes on in plaintext only after a clear no.
    check_error(play(&[Expect(SSL_REQUEST), Send(b"N"), Skip(0)], prefer).await, "08006", Fault::Upstream);
    check_error(play(&[Expect(SSL_REQUEST), Send(b"E\0\0\0\x05\0")], prefer).await, "08001", Fault::Upstream);
    check_error(play(&[Expect(SSL_REQUEST), Send(b"X")], prefer).await, "08001", Fault::Upstream);
    check_error(play(&[Expect(SSL_REQUEST)], prefer).await, "08006", Fault::Upstream);
}

#[tokio::test]
async fn unreachable_upstreams_are_errors() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // It accepts in the kernel but never answers.
    let silent = UpstreamConfig { connect_timeout: Duration::from_millis(20), ..target("127.0.0.1", port, "any_user") };
    let stalled = connect(&silent, &[]).await;
    assert!(matches!(stalled, Err(UpstreamError::Timeout)), "{stalled:?}");
    check_error(stalled, "08001", Fault::Upstream);
    // Nobody listens there, and nobody else can.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let closed_port = closed.local_addr().unwrap().port();
    let refused = connect(&target("127.0.0.1", closed_port, "any_user"), &[]).await;
    assert!(matches!(refused, Err(UpstreamError::Connect(_))), "{refused:?}");
    check_error(refused, "08001", Fault::Upstream);
    check_error(connect(&target("/nonexistent", 5432, "any_user"), &[]).await, "08001", Fault::Upstream);
    let missing =
        with_tls(target("127.0.0.1", closed_port, "any_user"), SslMode::VerifyFull, Some(Path::new("/missing.crt")));
    check_error(connect(&missing, &[]).await, "08001", Fault::Upstream);
}

#[test]
fn nobody_overrides_who_connects_and_how_sql_is_read() {
    let setting = |name: &str| (name.to_owned(), "evil".to_owned());
    let names = ["user", "database", "replication", "options", "client_encoding", "Standard_Conforming_Strings"];
    let mut startup: Vec<_> = names.into_iter().map(setting).collect();
    startup.push(setting("search_path"));
    let StartupPacket::StartupMessage(message) = startup_message(&target("h", 1, "any_user"), &startup) else {
        panic!("it is a StartupMessage")
    };
    let parameters: Vec<_> = message.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("client_encoding", "UTF8"),
        ("database", "postgres"),
        ("search_path", "evil"),
        ("standard_conforming_strings", "on"),
        ("user", "any_user"),
    ];
    assert_eq!(parameters, expected);
}
