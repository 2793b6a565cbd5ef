use bytes::BufMut;
use proptest::prelude::*;

use super::*;

fn packet(code: u32, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(body.len()).unwrap() + 8);
    out.put_u32(code);
    out.put_slice(body);
    out
}

fn message(minor: u16, parameters: &[(&str, &str)], options: &[&str]) -> StartupPacket {
    StartupPacket::StartupMessage(StartupMessage {
        minor,
        parameters: parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        protocol_options: options.iter().map(|name| (*name).to_owned()).collect(),
    })
}

#[track_caller]
fn check(bytes: &[u8], expected: Result<StartupPacket, PacketError>) {
    let mut buf = BytesMut::from(bytes);
    buf.put_slice(b"next");
    let got = decode_packet(&mut buf).map(|packet| packet.expect("the packet is complete"));
    match (&got, &expected) {
        (Ok(StartupPacket::StartupMessage(got)), Ok(StartupPacket::StartupMessage(expected))) => {
            assert_eq!(got.parameters, expected.parameters);
            assert_eq!((got.minor, &got.protocol_options), (expected.minor, &expected.protocol_options));
        }
        _ => assert_eq!(got, expected),
    }
    if expected.is_ok() {
        assert_eq!(buf[..], b"next"[..], "only the packet is taken");
    }
}

#[test]
fn each_kind_of_packet_is_read() {
    let three = 3 << 16;
    check(&packet(SSL_REQUEST_CODE, b""), Ok(StartupPacket::SslRequest));
    check(&packet(GSSENC_REQUEST_CODE, b""), Ok(StartupPacket::GssEncRequest));
    let cancel = |secret| StartupPacket::CancelRequest { process_id: -2, secret: Bytes::from_static(secret) };
    check(&packet(CANCEL_REQUEST_CODE, b"\xff\xff\xff\xfeabcd"), Ok(cancel(b"abcd")));
    check(&packet(CANCEL_REQUEST_CODE, b"\xff\xff\xff\xfeabcdefgh"), Ok(cancel(b"abcdefgh")));
    check(&packet(three, b"\0"), Ok(message(0, &[], &[])));
    check(
        &packet(three, b"user\0al\0database\0\0options\0\0\0"),
        Ok(message(0, &[("user", "al"), ("database", ""), ("options", "")], &[])),
    );
    check(
        &packet(three + 2, b"user\0al\0_pq_.b\x001\0_pq_.a\0\0\0"),
        Ok(message(2, &[("user", "al")], &["_pq_.a", "_pq_.b"])),
    );
}

#[test]
fn what_is_not_whole_is_refused() {
    let three = 3 << 16;
    let layout = || Err(PacketError::Layout);
    check(&packet(three, b""), layout());
    check(&packet(three, b"user\0al\0"), layout());
    check(&packet(three, b"user\0al"), layout());
    check(&packet(three, b"user\0\0"), layout());
    check(&packet(three, b"user\0al\0\0junk"), layout());
    check(&packet(three, b"user\0al\0\0junk\0\0"), layout());
    check(&packet(three, b"user\0al\0\0junk\0junk\0\0"), layout());
    check(&packet(three, b"\0\0"), layout());
    check(&packet(three, b"\0\0\0"), layout());
    check(&packet(three, b"user\0a\xff\0\0"), Err(PacketError::Encoding));
    check(&packet(three, b"user\0al\0user\0bob\0\0"), Err(PacketError::Duplicate));
    check(&packet(2 << 16, &[0; 288]), Err(PacketError::Version { major: 2, minor: 0 }));
    check(&packet((4 << 16) + 7, b"\0"), Err(PacketError::Version { major: 4, minor: 7 }));
    check(&packet(SSL_REQUEST_CODE, b"x"), Err(PacketError::Length));
    check(&packet(GSSENC_REQUEST_CODE, b"x"), Err(PacketError::Length));
    check(&packet(CANCEL_REQUEST_CODE, b""), Err(PacketError::Length));
    check(&packet(CANCEL_REQUEST_CODE, b"pppp"), Err(PacketError::Length));
    check(&packet(CANCEL_REQUEST_CODE, b"ppppsss"), Err(PacketError::Length));
    check(&packet(CANCEL_REQUEST_CODE, &[1; 4 + 257]), Err(PacketError::Length));
}

#[test]
fn a_bad_length_is_refused_at_once() {
    for length in [0, 4, 7, 10_001, u32::MAX, 0x1603_0100] {
        let mut buf = BytesMut::from(&length.to_be_bytes()[..]);
        assert_eq!(decode_packet(&mut buf), Err(PacketError::Length), "{length}");
    }
    let mut longest = packet(3 << 16, &[b'a'; STARTUP_PACKET_MAX - 8]);
    assert_eq!(decode_packet(&mut longest), Err(PacketError::Layout));
}

#[test]
fn a_packet_is_read_at_every_split_point() {
    let whole = packet(3 << 16, b"user\0al\0\0");
    for at in 0..whole.len() {
        let mut buf = BytesMut::from(&whole[..at]);
        assert_eq!(decode_packet(&mut buf), Ok(None), "{at}");
        buf.put_slice(&whole[at..]);
        assert!(decode_packet(&mut buf).unwrap().is_some(), "{at}");
    }
}

#[test]
fn password_messages_are_framed_strictly() {
    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Option<&'static [u8]>, PacketError>) {
        let got = decode_password_message(&mut BytesMut::from(bytes));
        assert_eq!(got, expected.map(|body| body.map(Bytes::from_static)), "{bytes:?}");
    }
    check(b"", Ok(None));
    check(b"p\0\0", Ok(None));
    check(b"p\0\0\0\x06a", Ok(None));
    check(b"p\0\0\0\x06ab", Ok(Some(b"ab")));
    check(b"p\0\0\0\x06abQ", Ok(Some(b"ab")));
    check(b"p\0\0\0\x04", Ok(Some(b"")));
    check(b"Q", Err(PacketError::NotPassword));
    check(b"p\0\0\0\x03", Err(PacketError::PasswordLength));
    check(b"p\0\0\x10\x01", Err(PacketError::PasswordLength));
    check(b"p\xff\xff\xff\xff", Err(PacketError::PasswordLength));
}

#[test]
fn a_sasl_initial_response_fits_its_length() {
    #[track_caller]
    fn check(body: &'static [u8], expected: Option<(&str, &'static [u8])>) {
        let body = Bytes::from_static(body);
        let got = sasl_initial_response(&body).ok();
        assert_eq!(got, expected.map(|(name, data)| (name, Bytes::from_static(data))), "{body:?}");
    }
    check(b"M\0\0\0\0\x02ab", Some(("M", b"ab")));
    check(b"\0\0\0\0\0", Some(("", b"")));
    check(b"", None);
    check(b"M", None);
    check(b"M\0", None);
    check(b"M\0\0\0\0", None);
    check(b"M\0\0\0\0\x03ab", None);
    check(b"M\0\0\0\0\x01ab", None);
    check(b"M\0\xff\xff\xff\xff", None);
    check(b"\xff\0\0\0\0\0", None);
}

#[test]
fn answers_have_the_bytes_of_the_manual() {
    #[track_caller]
    fn check(answer: &Answer<'_>, expected: &[u8]) {
        let mut out = BytesMut::new();
        encode_answer(&mut out, answer).unwrap();
        assert_eq!(out[..], *expected);
    }
    check(&Answer::NegotiateProtocolVersion(2, &[]), b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0");
    check(&Answer::NegotiateProtocolVersion(0, &["_pq_.a".into()]), b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.a\0");
    check(&Answer::AuthenticationCleartextPassword, b"R\0\0\0\x08\0\0\0\x03");
    check(&Answer::AuthenticationMd5Password(*b"salt"), b"R\0\0\0\x0c\0\0\0\x05salt");
    check(&Answer::AuthenticationSasl(&["X"]), b"R\0\0\0\x0b\0\0\0\x0aX\0\0");
    check(&Answer::AuthenticationSasl(&["X-Y", "X"]), b"R\0\0\0\x0f\0\0\0\x0aX-Y\0X\0\0");
    check(&Answer::AuthenticationSaslContinue("ab"), b"R\0\0\0\x0a\0\0\0\x0bab");
    check(&Answer::AuthenticationSaslFinal("ab"), b"R\0\0\0\x0a\0\0\0\x0cab");
}

#[test]
fn versions_are_spoken_as_postgresql_18_speaks_them() {
    #[track_caller]
    fn check(minor: u16, options: &[&str], expected: (u16, bool, usize)) {
        let StartupPacket::StartupMessage(message) = message(minor, &[], options) else { panic!("a StartupMessage") };
        let got = (message.minor_spoken(), message.needs_negotiation(), message.cancel_secret_len());
        assert_eq!(got, expected, "3.{minor} {options:?}");
    }
    check(0, &[], (0, false, 4));
    check(1, &[], (1, false, 4));
    check(2, &[], (2, false, 32));
    check(3, &[], (2, true, 32));
    check(u16::MAX, &[], (2, true, 32));
    check(0, &["_pq_.a"], (0, true, 4));
    check(2, &["_pq_.a"], (2, true, 32));
}

#[test]
fn the_greeting_carries_a_long_secret_whole() {
    let secret = Bytes::from_static(&[b's'; 32]);
    let greeting = encode_greeting(&[], 7, &secret);
    let key = [b"K\0\0\0\x28\0\0\0\x07", &secret[..]].concat();
    assert!(greeting.windows(key.len()).any(|window| window == key), "{greeting:?}");
}

#[test]
fn the_greeting_ends_with_ready_for_query() {
    #[track_caller]
    fn check(name: &str, value: &str, status: &[u8]) {
        let greeting = encode_greeting(&[(name.into(), value.into())], 7, &Bytes::from_static(b"abcd"));
        let expected = [b"R\0\0\0\x08\0\0\0\0", status, b"K\0\0\0\x0c\0\0\0\x07abcdZ\0\0\0\x05I"].concat();
        assert_eq!(greeting[..], expected[..]);
    }
    check("a", "b", b"S\0\0\0\x08a\0b\0");
    check("a", "b\0c", b"");
    check("a\0b", "c", b"");
    check("a", &"b".repeat(UPSTREAM_MESSAGE_MAX), b"");
}

#[test]
fn packets_come_back_as_they_were_sent() {
    #[track_caller]
    fn check(packet: StartupPacket) {
        let mut bytes = encode_packet(packet.clone()).unwrap();
        assert!(decode_packet(&mut bytes).unwrap().as_ref() == Some(&packet));
        assert!(bytes.is_empty());
    }
    check(StartupPacket::SslRequest);
    check(StartupPacket::GssEncRequest);
    check(StartupPacket::CancelRequest { process_id: 5, secret: Bytes::from_static(b"abcd") });
    check(StartupPacket::CancelRequest { process_id: -5, secret: Bytes::from_static(&[7; 32]) });
    check(StartupPacket::CancelRequest { process_id: 5, secret: Bytes::from_static(&[7; 256]) });
    check(message(0, &[("user", "al"), ("database", "d"), ("options", "")], &[]));
    for (name, value) in [("", "x"), ("a\0b", "x"), ("a", "x\0y"), ("a", &"x".repeat(STARTUP_PACKET_MAX))] {
        assert_eq!(encode_packet(message(0, &[(name, value)], &[])), Err(PacketError::Encode));
    }
}

#[test]
fn debug_shows_no_content() {
    assert_eq!(format!("{:?}", message(0, &[("user", "al")], &[])), "StartupMessage");
    let cancel = StartupPacket::CancelRequest { process_id: 1, secret: Bytes::from_static(b"abcd") };
    assert_eq!(format!("{cancel:?}"), "CancelRequest");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), code in prop_oneof![
        Just(SSL_REQUEST_CODE), Just(GSSENC_REQUEST_CODE), Just(CANCEL_REQUEST_CODE), Just(3 << 16), any::<u32>()
    ]) {
        let _ = decode_packet(&mut BytesMut::from(&bytes[..]));
        let _ = decode_packet(&mut packet(code, &bytes));
        let _ = decode_password_message(&mut BytesMut::from(&bytes[..]));
        let _ = sasl_initial_response(&Bytes::from(bytes));
    }

    #[test]
    fn any_parameters_come_back(
        minor in 0..=PROTOCOL_MINOR_MAX,
        parameters in proptest::collection::btree_map("[a-z]{1,9}", "[^\0]{0,30}", 0..9),
    ) {
        let packet = StartupPacket::StartupMessage(
            StartupMessage { minor, parameters, protocol_options: Vec::new() });
        let mut bytes = encode_packet(packet.clone()).unwrap();
        prop_assert!(decode_packet(&mut bytes).unwrap() == Some(packet));
    }
}
