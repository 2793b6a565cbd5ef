//! Where a call comes from.
//!
//! Never believes `X-Forwarded-For`, unless the connection comes from where the configuration says that a proxy is.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderName;
use axum::http::request::Parts;

use crate::config::Config;

/// The other end of a call's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// The address of the person, or program, that calls.
pub(super) fn client_address(parts: &Parts, config: &Config) -> Option<IpAddr> {
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical())?;
    if !config.web.forwarded_from.iter().any(|network| network.contains(peer)) {
        return Some(peer);
    }
    // The last entry is the one that the proxy itself has added.
    let forwarded = parts.headers.get_all(HeaderName::from_static("x-forwarded-for")).iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()).and_then(|text| text.rsplit(',').next());
    Some(last.and_then(|text| text.trim().parse().ok()).map_or(peer, |address: IpAddr| address.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Network;

    #[track_caller]
    fn check(peer: &str, forwarded: &[&str], want: &str) {
        let mut request = axum::http::Request::builder();
        for value in forwarded {
            request = request.header("x-forwarded-for", *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer(SocketAddr::new(peer.parse().unwrap(), 5000)));
        let mut config = crate::review::fixture::config("alice:engineering");
        config.web.forwarded_from = vec![Network::parse("10.0.0.0/8").unwrap()];
        assert_eq!(client_address(&parts, &config), Some(want.parse().unwrap()));
    }

    #[test]
    fn only_known_proxies_are_believed() {
        check("192.0.2.7", &[], "192.0.2.7");
        check("192.0.2.7", &["198.51.100.1"], "192.0.2.7");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["203.0.113.5, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["203.0.113.5", "198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["unknown"], "10.0.0.1");
        check("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1");
    }
}
