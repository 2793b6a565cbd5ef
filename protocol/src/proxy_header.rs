//! The PROXY protocol, version 2: what a load balancer says of its client before the client's first byte.
//!
//! Never reads past the header: its length is known from its first 16 bytes. Never looks at the additions (TLV) behind
//! the addresses.
//! Invariant: a header is refused at its first wrong byte, and one that is longer than [`LEN_MAX`] at its length.
//! Source: "The PROXY protocol, versions 1 & 2" (HAProxy), sections 2.1 and 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of the fixed part, in bytes.
pub const HEAD_LEN: usize = 16;

/// Longest header accepted after the fixed part, in bytes. The addresses take 36 at most; load balancers add some
/// hundred.
pub const LEN_MAX: usize = 2048;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const SIGNATURE_V1: &[u8] = b"PROXY ";

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// The connection begins with something else.
    #[error("connection does not begin with a PROXY protocol header")]
    Missing,
    /// The header is of version 1.
    #[error("PROXY protocol version 1 is not supported; use version 2")]
    Version1,
    /// Version, command, family or transport is none that exists for streams.
    #[error("malformed PROXY protocol header")]
    Malformed,
    /// It says that it is longer than [`LEN_MAX`].
    #[error("PROXY protocol header is too long")]
    TooLong,
}

/// Whether the bytes begin like a header of either version; for connections that must not have one.
#[must_use]
pub fn is_begun(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\r\n\r\n") || bytes.starts_with(b"PROX")
}

/// Checks the beginning of a header, as far as it has come.
///
/// # Errors
/// [`ProxyHeaderError`] as soon as it cannot become one.
pub fn check(begun: &[u8]) -> Result<(), ProxyHeaderError> {
    let agrees = |with: &[u8]| begun.iter().zip(with).all(|(byte, expected)| byte == expected);
    if !agrees(SIGNATURE) {
        let is_v1 = !begun.is_empty() && agrees(SIGNATURE_V1);
        return Err(if is_v1 { ProxyHeaderError::Version1 } else { ProxyHeaderError::Missing });
    }
    match begun.get(SIGNATURE.len()) {
        None | Some(0x20 | 0x21) => Ok(()),
        Some(_) => Err(ProxyHeaderError::Malformed),
    }
}

/// How many bytes follow the fixed part.
///
/// # Errors
/// [`ProxyHeaderError`] when the fixed part is wrong, or the length too large.
pub fn rest_len(head: &[u8; HEAD_LEN]) -> Result<usize, ProxyHeaderError> {
    check(head)?;
    let [.., high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LEN_MAX { Err(ProxyHeaderError::TooLong) } else { Ok(length) }
}

/// The client's address; `None` when the connection is the load balancer's own (LOCAL), or it does not say.
///
/// # Errors
/// [`ProxyHeaderError`] when the fixed part is wrong, or the rest too short for its addresses.
pub fn source(head: &[u8; HEAD_LEN], rest: &[u8]) -> Result<Option<SocketAddr>, ProxyHeaderError> {
    check(head)?;
    let [.., command, family, _, _] = *head;
    if command == 0x20 {
        return Ok(None);
    }
    let malformed = ProxyHeaderError::Malformed;
    match family {
        // Unspecified; a unix socket, whose path says nothing about who connected.
        0x00 | 0x31 => Ok(None),
        0x11 => {
            let addresses: &[u8; 12] = rest.first_chunk().ok_or(malformed)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            Ok(Some(address(Ipv4Addr::new(a, b, c, d).into(), [high, low])))
        }
        0x21 => {
            let ip: [u8; 16] = *rest.first_chunk().ok_or(malformed)?;
            let port: &[u8; 2] = rest.get(32..36).and_then(|ports| ports.first_chunk()).ok_or(malformed)?;
            Ok(Some(address(Ipv6Addr::from(ip).into(), *port)))
        }
        _ => Err(malformed),
    }
}

fn address(ip: IpAddr, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    #[track_caller]
    fn check_source(bytes: &[u8], expected: Result<Option<&str>, ProxyHeaderError>) {
        let (head, rest) = bytes.split_first_chunk().unwrap();
        let got = rest_len(head).and_then(|length| {
            assert_eq!(length, rest.len());
            source(head, rest)
        });
        assert_eq!(got, expected.map(|text| text.map(|text| text.parse().unwrap())), "{bytes:?}");
    }

    #[test]
    fn the_source_is_read_and_the_rest_passed_over() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x19, 0x8f];
        check_source(&header(0x21, 0x11, &v4), Ok(Some("192.0.2.7:12345")));
        check_source(&header(0x21, 0x11, &[&v4[..], b"\x03\0\x04abcd"].concat()), Ok(Some("192.0.2.7:12345")));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[9; 16], &[0, 80, 0, 81]].concat();
        check_source(&header(0x21, 0x21, &v6), Ok(Some("[2001:db8::1]:80")));
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[9; 16], &[0, 80, 0, 81]].concat();
        check_source(&header(0x21, 0x21, &mapped), Ok(Some("192.0.2.7:80")));
        check_source(&header(0x20, 0x11, &v4), Ok(None));
        check_source(&header(0x20, 0x00, b""), Ok(None));
        check_source(&header(0x21, 0x00, b""), Ok(None));
        check_source(&header(0x21, 0x31, &[0; 216]), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let malformed = Err(ProxyHeaderError::Malformed);
        check_source(&header(0x21, 0x11, &[0; 11]), malformed);
        check_source(&header(0x21, 0x21, &[0; 35]), malformed);
        check_source(&header(0x21, 0x12, &[0; 12]), malformed);
        check_source(&header(0x21, 0xff, &[0; 36]), malformed);
        check_source(&header(0x22, 0x11, &[0; 12]), malformed);
        check_source(&header(0x11, 0x11, &[0; 12]), malformed);
        check_source(&header(0x21, 0x11, &[0; LEN_MAX + 1]), Err(ProxyHeaderError::TooLong));
        check_source(b"PROXY TCP4 1.2.3", Err(ProxyHeaderError::Version1));
        check_source(b"\0\0\0\x08\x04\xd2\x16\x2f........", Err(ProxyHeaderError::Missing));
    }

    #[test]
    fn it_is_refused_at_its_first_wrong_byte() {
        let whole = header(0x21, 0x11, &[0; 12]);
        for at in 0..=HEAD_LEN {
            assert_eq!(check(&whole[..at]), Ok(()), "{at}");
        }
        for at in 0..13 {
            let mut wrong = whole[..=at].to_vec();
            wrong[at] ^= 0x80;
            assert!(check(&wrong).is_err(), "{at}");
        }
        assert_eq!(check(b"P"), Err(ProxyHeaderError::Version1));
        assert!(is_begun(&whole) && is_begun(b"PROXY TCP4") && !is_begun(b"\0\0\0\x08"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(head in any::<[u8; HEAD_LEN]>(), tail in any::<[u8; 4]>(), rest in any::<Vec<u8>>()) {
            let _ = (rest_len(&head), source(&head, &rest));
            let mut likely = head;
            likely[..12].copy_from_slice(SIGNATURE);
            likely[12..].copy_from_slice(&tail);
            let _ = (rest_len(&likely), source(&likely, &rest));
            likely[12] = 0x21;
            let _ = (rest_len(&likely), source(&likely, &rest));
        }
    }
}
