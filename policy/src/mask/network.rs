//! IP addresses cut to their network: the first 24 bits of IPv4, the first 48 of IPv6.
//!
//! Never shows a host part. Invariant: what is not read completely yields `None` and is hidden whole. Binary form:
//! `inet_send` in `src/backend/utils/adt/network.c`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, BytesMut};

const V4_BITS: u8 = 24;
const V6_BITS: u8 = 48;
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// `192.168.1.77`, `192.168.1.77/16` → `192.168.1.0`; `2001:db8:1:2::3` → `2001:db8:1::`.
pub(super) fn address_text(value: &str, out: &mut BytesMut) -> Option<()> {
    let (address, _) = parse(value)?;
    write!(out, "{}", cut(address)).ok()
}

/// As [`address_text`] for `cidr`, whose output needs a prefix length that covers what is shown.
pub(super) fn cidr_text(value: &str, out: &mut BytesMut) -> Option<()> {
    let (address, bits) = parse(value)?;
    let address = cut(address);
    write!(out, "{address}/{}", bits.unwrap_or(u8::MAX).min(shown_bits(address))).ok()
}

/// Family, prefix length, whether it is a `cidr`, length, address.
pub(super) fn binary(value: &[u8], out: &mut BytesMut) -> Option<()> {
    let (&[family, bits, is_cidr, length], address) = value.split_first_chunk::<4>()?;
    let address = match (family, length) {
        (FAMILY_V4, 4) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
        (FAMILY_V6, 16) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
        _ => return None,
    };
    let address = cut(address);
    let bits = match is_cidr {
        0 => length.checked_mul(8)?,
        1 => bits.min(shown_bits(address)),
        _ => return None,
    };
    out.put_slice(&[family, bits, is_cidr, length]);
    match address {
        IpAddr::V4(address) => out.put_slice(&address.octets()),
        IpAddr::V6(address) => out.put_slice(&address.octets()),
    }
    Some(())
}

fn parse(value: &str) -> Option<(IpAddr, Option<u8>)> {
    match value.split_once('/') {
        None => Some((value.parse().ok()?, None)),
        Some((address, bits)) => Some((address.parse().ok()?, Some(bits.parse().ok()?))),
    }
}

fn shown_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => V4_BITS,
        IpAddr::V6(_) => V6_BITS,
    }
}

fn cut(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) & (u32::MAX << (32 - V4_BITS)))),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << (128 - V6_BITS)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(form: fn(&str, &mut BytesMut) -> Option<()>, value: &str, expected: Option<&str>) {
        let mut out = BytesMut::new();
        let shown = form(value, &mut out).map(|()| String::from_utf8(out.to_vec()).unwrap());
        assert_eq!(shown.as_deref(), expected, "{value}");
    }

    #[test]
    fn text_keeps_the_network() {
        check(address_text, "192.168.1.77", Some("192.168.1.0"));
        check(address_text, "192.168.1.77/16", Some("192.168.1.0"));
        check(address_text, "2001:db8:1:2::3", Some("2001:db8:1::"));
        check(address_text, "::ffff:1.2.3.4", Some("::"));
        check(address_text, "not an address", None);
        check(address_text, "1.2.3.4/secret", None);
        check(cidr_text, "192.168.1.64/26", Some("192.168.1.0/24"));
        check(cidr_text, "10.0.0.0/8", Some("10.0.0.0/8"));
    }

    #[test]
    fn binary_keeps_the_network() {
        let run = |value: &[u8]| {
            let mut out = BytesMut::new();
            binary(value, &mut out).map(|()| out.to_vec())
        };
        assert_eq!(run(&[2, 16, 0, 4, 192, 168, 1, 77]), Some(vec![2, 32, 0, 4, 192, 168, 1, 0]));
        assert_eq!(run(&[2, 26, 1, 4, 192, 168, 1, 64]), Some(vec![2, 24, 1, 4, 192, 168, 1, 0]));
        assert_eq!(run(&[2, 32, 0, 4, 192, 168, 1]), None);
        assert_eq!(run(&[2, 32, 0, 16, 192, 168, 1, 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(value in prop::collection::vec(any::<u8>(), 0..24)) {
            binary(&value, &mut BytesMut::new());
        }
    }
}
