use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use postgres_protocol::password::scram_sha_256;
use proptest::prelude::*;

use super::*;

const NONCE: &str = "3rfcNHYJY1ZVvWVs7j";

/// RFC 7677 section 3, with the keys computed from its password `pencil`.
const RFC_CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_CLIENT_FINAL: &str =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn rfc_verifier() -> Verifier {
    Verifier::parse(
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
         WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    )
    .unwrap()
}

fn begin(verifier: Verifier, client_first: &[u8], server_nonce: &str) -> Result<Exchange, ScramError> {
    Exchange::begin(verifier, Binding::NotOffered, client_first, server_nonce)
}

/// Runs the exchange with an independent client; returns whether the server was convinced.
fn login(verifier: Verifier, password: &[u8], binding: ChannelBinding) -> bool {
    let mut client = ScramSha256::new(password, binding);
    let exchange = begin(verifier, client.message(), NONCE).unwrap();
    client.update(exchange.server_first().as_bytes()).unwrap();
    match exchange.finish(client.message()) {
        Ok(server_final) => {
            client.finish(server_final.as_bytes()).expect("the client must accept the server's signature");
            true
        }
        Err(error) => {
            assert_eq!(error, ScramError::Rejected);
            false
        }
    }
}

#[test]
fn the_example_of_rfc_7677_passes() {
    let exchange = begin(rfc_verifier(), RFC_CLIENT_FIRST.as_bytes(), RFC_SERVER_NONCE).unwrap();
    assert_eq!(
        exchange.server_first(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    assert_eq!(exchange.finish(RFC_CLIENT_FINAL.as_bytes()).unwrap(), RFC_SERVER_FINAL);
}

#[test]
fn only_the_right_password_convinces() {
    let verifier = Verifier::parse(&scram_sha_256("pässword".as_bytes())).unwrap();
    assert!(login(verifier.clone(), "pässword".as_bytes(), ChannelBinding::unsupported()));
    assert!(login(verifier.clone(), "pässword".as_bytes(), ChannelBinding::unrequested()));
    for wrong in ["", "password", "pässword ", "PÄSSWORD"] {
        assert!(!login(verifier.clone(), wrong.as_bytes(), ChannelBinding::unsupported()), "{wrong:?}");
    }
}

#[test]
fn a_mock_looks_real_stays_the_same_and_never_passes() {
    let mock = |user| Verifier::mock(b"secret", user, DEFAULT_ITERATIONS, DEFAULT_SALT_LEN);
    let real = Verifier::parse(&scram_sha_256(b"x")).unwrap();
    assert_eq!((mock("eve").iterations(), mock("eve").salt_len()), (real.iterations(), real.salt_len()));
    assert_eq!(mock("eve").salt, mock("eve").salt);
    assert_ne!(mock("eve").salt, mock("mallory").salt);
    assert_ne!(mock("eve").salt, Verifier::mock(b"other", "eve", 4096, 16).salt);
    assert!(!login(mock("eve"), b"", ChannelBinding::unsupported()));
    assert!(!login(mock("eve"), b"secret", ChannelBinding::unsupported()));
}

#[test]
fn verifiers_are_read_strictly() {
    #[track_caller]
    fn check(text: &str) {
        assert_eq!(Verifier::parse(text).unwrap_err(), ScramError::Verifier, "{text}");
    }
    let key = BASE64.encode([7; 32]);
    let short = BASE64.encode([7; 31]);
    assert!(Verifier::parse(&format!("SCRAM-SHA-256$4096:AAAA${key}:{key}")).is_ok());
    check("");
    check("md5d41d8cd98f00b204e9800998ecf8427e");
    check(&format!("SCRAM-SHA-256$4096:AAAA${key}"));
    check(&format!("SCRAM-SHA-256$4096:AAAA${key}:"));
    check(&format!("SCRAM-SHA-256$4096:AAAA${key}:{short}"));
    check(&format!("SCRAM-SHA-256$4096:AAAA${key}:{key}x"));
    check(&format!("SCRAM-SHA-256$4096:${key}:{key}"));
    check(&format!("SCRAM-SHA-256$4096:A?AA${key}:{key}"));
    check(&format!("SCRAM-SHA-256$0:AAAA${key}:{key}"));
    check(&format!("SCRAM-SHA-256$+1:AAAA${key}:{key}"));
    check(&format!("SCRAM-SHA-256$99999999999:AAAA${key}:{key}"));
    check(&format!("SCRAM-SHA-1$4096:AAAA${key}:{key}"));
}

#[test]
fn a_bad_first_message_is_refused() {
    #[track_caller]
    fn check(message: &[u8], expected: ScramError) {
        assert_eq!(begin(rfc_verifier(), message, NONCE).unwrap_err(), expected, "{message:?}");
    }
    for benign in ["n,,n=,r=x", "y,,n=*,r=x", "n,,n=a=2Cb,r=x!~,e=1"] {
        assert!(begin(rfc_verifier(), benign.as_bytes(), NONCE).is_ok(), "{benign}");
    }
    check(b"", ScramError::Malformed("gs2-header"));
    check(b"n", ScramError::Malformed("gs2-header"));
    check(b"x,,n=,r=x", ScramError::Malformed("gs2-header"));
    check(b"p=tls-server-end-point,,n=,r=x", ScramError::ChannelBinding);
    check(b"n,a=admin,n=,r=x", ScramError::AuthorizationIdentity);
    check(b"n,", ScramError::AuthorizationIdentity);
    check(b"n,,m=x,n=,r=x", ScramError::MandatoryExtension);
    check(b"n,,", ScramError::Malformed("user name"));
    check(b"n,,r=x", ScramError::Malformed("user name"));
    check(b"n,,n=", ScramError::Malformed("nonce"));
    check(b"n,,n=,r=", ScramError::Malformed("nonce"));
    check(b"n,,n=,r=a b", ScramError::Malformed("nonce"));
    check("n,,n=,r=ä".as_bytes(), ScramError::Malformed("nonce"));
    check(b"n,,n=,r=x,", ScramError::Malformed("extension"));
    check(b"n,,n=,r=x,1=2", ScramError::Malformed("extension"));
    check(b"n,,n=,r=x\0", ScramError::Malformed("encoding"));
    check(b"n,,n=\xff,r=x", ScramError::Malformed("encoding"));
}

#[test]
fn the_header_must_fit_what_was_offered_and_chosen() {
    #[track_caller]
    fn check(binding: Binding<'_>, header: &str, expected: Result<(), ScramError>) {
        let message = format!("{header}n=,r=x");
        let got = Exchange::begin(rfc_verifier(), binding, message.as_bytes(), NONCE).map(drop);
        assert_eq!(got, expected, "{binding:?} {header}");
    }
    let end_point = Binding::EndPoint(&[7; 32]);
    check(Binding::NotOffered, "n,,", Ok(()));
    check(Binding::NotOffered, "y,,", Ok(()));
    check(Binding::NotOffered, "p=tls-server-end-point,,", Err(ScramError::ChannelBinding));
    check(Binding::Declined, "n,,", Ok(()));
    check(Binding::Declined, "y,,", Err(ScramError::Downgrade));
    check(Binding::Declined, "p=tls-server-end-point,,", Err(ScramError::ChannelBinding));
    check(end_point, "p=tls-server-end-point,,", Ok(()));
    check(end_point, "p=tls-server-end-point,a=admin,", Err(ScramError::AuthorizationIdentity));
    check(end_point, "p=tls-unique,,", Err(ScramError::ChannelBindingType));
    check(end_point, "p=tls-server-end-point", Err(ScramError::ChannelBindingType));
    check(end_point, "n,,", Err(ScramError::ChannelBindingMissing));
    check(end_point, "y,,", Err(ScramError::ChannelBindingMissing));
    check(end_point, "x,,", Err(ScramError::Malformed("gs2-header")));
    check(end_point, "", Err(ScramError::Malformed("gs2-header")));
}

#[test]
fn another_certificate_is_noticed() {
    let check = |shown: &[u8], expected: Result<(), ScramError>| {
        let mut client = ScramSha256::new(b"pencil", ChannelBinding::tls_server_end_point(shown.to_vec()));
        let own = Binding::EndPoint(b"hash of our certificate");
        let exchange = Exchange::begin(rfc_verifier(), own, client.message(), NONCE).unwrap();
        client.update(exchange.server_first().as_bytes()).unwrap();
        let got = exchange.finish(client.message());
        if let Ok(server_final) = &got {
            client.finish(server_final.as_bytes()).unwrap();
        }
        assert_eq!(got.map(drop), expected);
    };
    check(b"hash of our certificate", Ok(()));
    check(b"hash of another's certificate", Err(ScramError::ChannelBindingMismatch));
    check(b"", Err(ScramError::ChannelBindingMismatch));
}

#[test]
fn a_bad_final_message_is_refused() {
    #[track_caller]
    fn check(message: &str, expected: ScramError) {
        let exchange = begin(rfc_verifier(), RFC_CLIENT_FIRST.as_bytes(), RFC_SERVER_NONCE).unwrap();
        assert_eq!(exchange.finish(message.as_bytes()).unwrap_err(), expected, "{message}");
    }
    let nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    check("", ScramError::Malformed("proof"));
    check(&format!("c=biws,{nonce}"), ScramError::Malformed("proof"));
    check(&format!("c=biws,{nonce},p="), ScramError::Malformed("proof"));
    check(&format!("c=biws,{nonce},p=AAAA"), ScramError::Malformed("proof"));
    check(&format!("c=biws,{nonce},{proof},e=1"), ScramError::Malformed("proof"));
    check(&format!("c=biws,{nonce},{proof},{proof}"), ScramError::Malformed("extension"));
    check(&format!("{nonce},{proof}"), ScramError::Malformed("channel binding"));
    // The client said `n`; claiming `y` afterwards is what a man in the middle would cause.
    check(&format!("c=eSws,{nonce},{proof}"), ScramError::ChannelBindingMismatch);
    check(&format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,{proof}"), ScramError::Nonce);
    check(&format!("c=biws,{nonce}x,{proof}"), ScramError::Nonce);
    check(&format!("c=biws,{proof}"), ScramError::Malformed("nonce"));
    // An extension is allowed, but it is signed: the proof no longer fits.
    check(&format!("c=biws,{nonce},e=1,{proof}"), ScramError::Rejected);
    check(&format!("c=biws,{nonce},p={}", BASE64.encode([0; 32])), ScramError::Rejected);
}

#[test]
fn debug_shows_no_key() {
    let exchange = begin(rfc_verifier(), RFC_CLIENT_FIRST.as_bytes(), RFC_SERVER_NONCE).unwrap();
    assert_eq!(format!("{exchange:?}"), "Exchange { verifier: Verifier { iterations: 4096, .. }, .. }");
}

proptest! {
    #[test]
    fn no_bytes_panic_or_pass(first in any::<Vec<u8>>(), last in any::<Vec<u8>>(), verifier in ".{0,80}") {
        let _ = Verifier::parse(&verifier);
        for binding in [Binding::NotOffered, Binding::Declined, Binding::EndPoint(b"hash")] {
            let _ = Exchange::begin(rfc_verifier(), binding, &first, NONCE);
        }
        let exchange = begin(rfc_verifier(), b"n,,n=,r=x", NONCE).unwrap();
        prop_assert!(exchange.finish(&last).is_err());
    }

    #[test]
    fn one_changed_byte_never_passes(at in 0..RFC_CLIENT_FINAL.len(), to in any::<u8>()) {
        let mut message = RFC_CLIENT_FINAL.as_bytes().to_vec();
        prop_assume!(message[at] != to);
        message[at] = to;
        let exchange = begin(rfc_verifier(), RFC_CLIENT_FIRST.as_bytes(), RFC_SERVER_NONCE).unwrap();
        prop_assert!(exchange.finish(&message).is_err());
    }
}
