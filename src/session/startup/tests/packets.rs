//! Byte by byte: what a stranger may send before authentication, and what comes back.

use super::*;

const THREE: u32 = 3 << 16;
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

#[tokio::test]
async fn strangers_are_told_what_is_wrong() {
    let shared = context(None);
    let check = async |bytes: &[u8], sqlstate: &str, message: &str| {
        let (answer, outcome) = exchange(&shared, bytes).await;
        assert_eq!(field(&answer, 'C').as_deref(), Some(sqlstate), "{}", bytes.escape_ascii());
        assert_eq!(field(&answer, 'M').as_deref(), Some(message), "{}", bytes.escape_ascii());
        assert_eq!(outcome.unwrap_err().fault(), crate::fault::Fault::Client);
    };
    let start = |version, parameters: &[(&str, &str)]| startup_packet(version, parameters);
    check(&start(2 << 16, &[]), "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2").await;
    check(&start(4 << 16, &[]), "0A000", "unsupported frontend protocol 4.0: server supports 3.0 to 3.2").await;
    check(&start(THREE, &[]), "28000", "no PostgreSQL user name specified in startup packet").await;
    check(&start(THREE, &[("user", "")]), "28000", "no PostgreSQL user name specified in startup packet").await;
    let replication = "replication connections are not supported";
    check(&start(THREE, &[("user", "alice"), ("replication", "true")]), "0A000", replication).await;
    check(&start(THREE, &[("user", "alice"), ("replication", "database")]), "0A000", replication).await;
    let mut layout = start(THREE, &[("user", "alice")]);
    layout.splice(..4, u32::try_from(layout.len() - 1).unwrap().to_be_bytes());
    check(&layout, "08P01", "invalid startup packet layout: expected terminator as last byte").await;
    let twice = "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2";
    check(&[SSL_REQUEST, SSL_REQUEST].concat(), "0A000", twice).await;
    let twice = "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2";
    check(&[GSSENC_REQUEST, GSSENC_REQUEST].concat(), "0A000", twice).await;
    let query = [&start(THREE, &[("user", "alice")])[..], b"Q\0\0\0\x0dselect 1\0"].concat();
    check(&query, "08P01", "expected password response, got another message").await;
    let huge = [&start(THREE, &[("user", "alice")])[..], b"p\0\0\x10\x01"].concat();
    check(&huge, "08P01", "invalid password message length").await;
    let malformed = [&start(THREE, &[("user", "alice")])[..], b"p\0\0\0\x06ab"].concat();
    check(&malformed, "08P01", "malformed SASLInitialResponse message").await;
    let plus = b"p\0\0\0\x20SCRAM-SHA-256-PLUS\0\0\0\0\x05p=x,,";
    let plus = [&start(THREE, &[("user", "alice")])[..], plus].concat();
    check(&plus, "08P01", "client selected an invalid SASL authentication mechanism").await;
    let binding = b"p\0\0\0\x1bSCRAM-SHA-256\0\0\0\0\x05p=x,,";
    let binding = [&start(THREE, &[("user", "alice")])[..], binding].concat();
    check(&binding, "08P01", "malformed SCRAM message").await;
}

#[tokio::test]
async fn who_speaks_something_else_gets_no_answer() {
    let shared = context(None);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\0\0\0\x07abcd"] {
        let (answer, outcome) = exchange(&shared, bytes).await;
        assert!(answer.is_empty());
        assert!(matches!(outcome, Err(StartupError::Packet(PacketError::Length))), "{outcome:?}");
    }
    let (answer, outcome) = exchange(&shared, b"\0\0\0\x20\0\x03").await;
    assert!(answer.is_empty() && matches!(outcome, Err(StartupError::Io(_))), "{outcome:?}");
}

#[tokio::test]
async fn who_leaves_between_messages_did_nothing_wrong() {
    let shared = context(None);
    let check = async |bytes: &[u8], expected: &[u8]| {
        let (answer, outcome) = exchange(&shared, bytes).await;
        assert_eq!(answer.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert!(matches!(outcome, Ok(StartupOutcome::Closed)), "{outcome:?}");
    };
    check(b"", b"").await;
    check(SSL_REQUEST, b"N").await;
    check(GSSENC_REQUEST, b"N").await;
    let alice = startup_packet(THREE, &[("user", "alice")]);
    check(&alice, SASL).await;
    check(&[GSSENC_REQUEST, SSL_REQUEST, &alice].concat(), &[b"NN", SASL].concat()).await;
}

#[tokio::test]
async fn newer_protocols_and_unknown_options_are_negotiated_away() {
    let shared = context(None);
    let check = async |version, parameters: &[(&str, &str)], negotiation: &[u8]| {
        let (answer, _) = exchange(&shared, &startup_packet(version, parameters)).await;
        assert_eq!(answer.escape_ascii().to_string(), [negotiation, SASL].concat().escape_ascii().to_string());
    };
    check(THREE, &[("user", "alice")], b"").await;
    check(THREE + 1, &[("user", "alice")], b"").await;
    check(THREE + 2, &[("user", "alice")], b"").await;
    check(THREE + 3, &[("user", "alice")], b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0").await;
    check(THREE + 9999, &[("user", "alice")], b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0").await;
    let option = [("user", "alice"), ("_pq_.x", "1")];
    check(THREE, &option, b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0").await;
    check(THREE + 2, &option, b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0").await;
}

#[tokio::test]
async fn a_cancel_request_is_handed_over_without_an_answer() {
    let check = async |secret: &[u8]| {
        let length = u32::try_from(12 + secret.len()).unwrap().to_be_bytes();
        let packet = [&length, &b"\x04\xd2\x16\x2e\0\0\0\x07"[..], secret].concat();
        let (answer, outcome) = exchange(&context(None), &packet).await;
        assert!(answer.is_empty());
        let Ok(StartupOutcome::Cancel(key, _)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(key, CancelKey { process_id: 7, secret: bytes::Bytes::copy_from_slice(secret) });
    };
    check(b"s3cr").await;
    check(&[b's'; 32]).await;
}

#[tokio::test]
async fn who_stalls_is_hung_up_on() {
    let shared = context(None).with_deadline(Duration::from_millis(20));
    for bytes in [&b""[..], b"\0\0\0", SSL_REQUEST, &startup_packet(THREE, &[("user", "alice")])] {
        let (listener, address) = loopback();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let outcome = serve(&listener, &shared).await;
        assert!(matches!(outcome, Err(StartupError::Deadline)), "{outcome:?}");
        assert!(client.read_to_end(&mut Vec::new()).await.is_ok(), "the connection is closed");
    }
}

#[tokio::test]
async fn a_user_who_does_not_exist_gets_a_lasting_salt() {
    let shared = context(None);
    let server_first = async |name: &str| {
        let (listener, address) = loopback();
        let client = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&startup_packet(THREE, &[("user", name)])).await.unwrap();
            stream.write_all(b"p\0\0\0\x1fSCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer[SASL.len() + 9..]).into_owned()
        };
        let (answer, outcome) = tokio::join!(client, serve(&listener, &shared));
        assert!(matches!(outcome, Ok(StartupOutcome::Closed)), "{outcome:?}");
        answer
    };
    let parts = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (eve, again, mallory) = (server_first("eve").await, server_first("eve").await, server_first("mallory").await);
    let (eve, again, mallory, alice) =
        (parts(&eve), parts(&again), parts(&mallory), parts(&server_first("alice").await));
    assert_eq!(eve[1], again[1], "the salt stays");
    assert_ne!(eve[0], again[0], "the nonce does not");
    assert_ne!(eve[1], mallory[1]);
    assert_eq!((eve[0].len(), eve[1].len(), &eve[2]), (alice[0].len(), alice[1].len(), &alice[2]));
}
