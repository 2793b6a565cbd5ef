//! Which addresses may be called.
//!
//! Never lets a name lead into the network that the proxy stands in: a name is looked up once, what it stands for is checked,
//! and exactly that is connected to. Invariant: an address that is not public is called only when the configuration names it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::Network;

/// An address may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is not public, and not in \"allow_addresses\"")]
pub(super) struct NotAllowed;

/// Looks names up.
pub(super) trait Lookup: Send + Sync {
    /// What a name stands for now.
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>>;
}

/// As the system does.
pub(super) struct System;

impl Lookup for System {
    fn lookup(&self, name: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

/// What may be called of one target.
#[derive(Clone)]
pub(super) struct Guard {
    allowed: Arc<[Network]>,
    lookup: Arc<dyn Lookup>,
}

impl Guard {
    pub(super) fn new(allowed: &[Network], lookup: Arc<dyn Lookup>) -> Self {
        Self { allowed: allowed.into(), lookup }
    }

    /// Whether the URL may be called, as far as it says where it leads: names are looked at when they are looked up.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), NotAllowed> {
        // The parser has read all the ways there are to write an address as a number.
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(address) => self.check(address),
            Err(_name) => Ok(()),
        }
    }

    fn check(&self, address: IpAddr) -> Result<(), NotAllowed> {
        let is_named = self.allowed.iter().any(|network| network.contains(address));
        if is_named || is_public(address) { Ok(()) } else { Err(NotAllowed) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = guard.lookup.lookup(name.as_str().to_owned()).await?;
            // One that is not allowed makes the name suspect: it is not called at all.
            for address in &found {
                guard.check(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether it is an address of the internet at large, by the registries of IANA for special purposes.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Between providers and their customers; protocols; relays that lead elsewhere; measuring.
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19))
        // The metadata of a cloud that does not have it in 169.254.0.0/16.
        || address == Ipv4Addr::new(168, 63, 129, 16);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is given out; of it, what leads to IPv4 elsewhere, protocols and documentation are not.
    let is_given_out = first & 0xe000 == 0x2000;
    let is_special = (first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        || first == 0x2002
        || (first == 0x3fff && second < 0x1000);
    is_given_out && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "100::1",
            "fec0::1",
            "3fff::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_seen_however_it_is_written() {
        let guard = Guard::new(&[], Arc::new(System));
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://①②⑦.⓪.⓪.①/",
            "https://%31%32%37.0.0.1/",
            "https://user@10.0.0.1:443/",
            "https://[::ffff:7f00:1]/",
            "https://[0:0:0:0:0:ffff:a00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fe80::1]/",
        ] {
            assert_eq!(guard.check_url(&Url::parse(url).unwrap()), Err(NotAllowed), "{url}");
        }
        for url in ["https://1.1.1.1/", "https://example.com/"] {
            assert_eq!(guard.check_url(&Url::parse(url).unwrap()), Ok(()), "{url}");
        }
        let named = Guard::new(&[Network::parse("10.0.0.0/8").unwrap()], Arc::new(System));
        assert_eq!(named.check_url(&Url::parse("https://10.9.8.7/").unwrap()), Ok(()));
        assert_eq!(named.check_url(&Url::parse("https://192.168.0.1/").unwrap()), Err(NotAllowed));
    }
}
