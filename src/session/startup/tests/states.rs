//! Every packet in every state before the session: the last table of `docs/wire.md`.

use super::tls::exchange_in_tls;
use super::*;
use crate::tls::tests::TestCertificates;

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const CANCEL_REQUEST: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07s3cr";
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";

/// What came back, in short: the SQLSTATE of an ErrorResponse, `ask` for an authentication request, or the letter that
/// answers a request.
fn short(answer: &[u8], outcome: &Result<StartupOutcome, StartupError>) -> String {
    if matches!(outcome, Ok(StartupOutcome::Cancel(..))) {
        assert!(answer.is_empty(), "a CancelRequest has no answer");
        return "cancel".to_owned();
    }
    match (field(answer, 'C'), answer.first()) {
        (Some(sqlstate), _) => sqlstate,
        (None, Some(b'R')) => "ask".to_owned(),
        (None, Some(letter)) => char::from(*letter).to_string(),
        (None, None) => "end".to_owned(),
    }
}

#[tokio::test]
async fn every_packet_in_every_state() {
    let certificates = TestCertificates::new();
    let (none, some) = (context(None), context(Some(certificates.config("server"))));
    let required = context(Some(TlsConfig { require: true, ..certificates.config("server") }));
    let startup = startup_packet(3 << 16, &[("user", "alice")]);
    let first = async |shared: &StartupContext, packet: &[u8]| {
        let (answer, outcome) = exchange(shared, packet).await;
        short(&answer, &outcome)
    };
    let after = async |request: &[u8], packet: &[u8]| {
        let (answer, outcome) = exchange(&none, &[request, packet].concat()).await;
        assert_eq!(answer.first(), Some(&b'N'));
        short(&answer[1..], &outcome)
    };
    let inside = async |packet: &[u8]| {
        let (answer, outcome) = exchange_in_tls(&some, true, &[], packet).await;
        short(&answer.expect("TLS"), &outcome)
    };
    // Without TLS and where it is required; after either request; inside TLS.
    let check = async |packet: &[u8], expected: [&str; 5]| {
        let got = [
            first(&none, packet).await,
            first(&required, packet).await,
            after(SSL_REQUEST, packet).await,
            after(GSSENC_REQUEST, packet).await,
            inside(packet).await,
        ];
        assert_eq!(got, expected, "{}", packet.escape_ascii());
    };
    check(&startup, ["ask", "28000", "ask", "ask", "ask"]).await;
    check(SSL_REQUEST, ["N", "S", "0A000", "N", "0A000"]).await;
    check(GSSENC_REQUEST, ["N", "N", "N", "0A000", "N"]).await;
    check(CANCEL_REQUEST, ["cancel", "cancel", "cancel", "cancel", "cancel"]).await;
    check(CLIENT_HELLO, ["end", "end", "end", "end", "end"]).await;
    check(b"GET / HTTP/1.1\r\n\r\n", ["end", "end", "end", "end", "end"]).await;
}
