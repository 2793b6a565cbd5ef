//! Values with a form of their own: listen addresses.
//!
//! Never resolves host names.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ListenAddress;

/// Reads `127.0.0.1:6543`, `[::1]:6543`, `localhost:6543`, `unix:/path`.
pub(super) fn listen(text: &str) -> Option<ListenAddress> {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/').then(|| ListenAddress::Unix(PathBuf::from(path)));
    }
    socket(text).map(ListenAddress::Tcp)
}

/// Reads an IP address and port; `localhost` stands for 127.0.0.1.
pub(super) fn socket(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ip_and_port_or_a_socket_path() {
        assert_eq!(listen("0.0.0.0:6543"), Some(ListenAddress::Tcp(SocketAddr::from(([0, 0, 0, 0], 6543)))));
        assert_eq!(listen("localhost:0"), Some(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))));
        assert_eq!(listen("unix:/run/x"), Some(ListenAddress::Unix(PathBuf::from("/run/x"))));
        for bad in ["unix:run/x", "6543", "db.example.com:5432", "127.0.0.1"] {
            assert_eq!(listen(bad), None, "{bad}");
        }
    }
}
