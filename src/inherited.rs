//! Listening sockets handed over by a service manager (`LISTEN_FDS`).
//!
//! Never opens or closes an address: the sockets live on in whoever handed them over, and so do the connections that
//! wait in them. Invariant: each is taken once, by the address it listens on.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    tcp: Vec<(SocketAddr, TcpListener)>,
    unix: Vec<(PathBuf, UnixListener)>,
}

impl Inherited {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// What the environment names. Call it once.
    ///
    /// # Errors
    /// When one of them is no listening socket of TCP or of a path.
    pub fn from_env() -> io::Result<Self> {
        let mut handed_over = ListenFd::from_env();
        let mut inherited = Self::none();
        for index in 0..handed_over.len() {
            // Each attempt leaves what is of another kind in its place.
            if let Ok(Some(listener)) = handed_over.take_tcp_listener(index) {
                listener.set_nonblocking(true)?;
                inherited.tcp.push((listener.local_addr()?, listener));
            } else if let Some(listener) = handed_over.take_unix_listener(index)? {
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let path = address.as_pathname().ok_or_else(|| io::Error::other("it listens on no path"))?;
                inherited.unix.push((path.to_owned(), listener));
            }
        }
        Ok(inherited)
    }

    /// The socket that listens on that address.
    pub fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.tcp.iter().position(|(own, _)| *own == address)?;
        Some(self.tcp.swap_remove(at).1)
    }

    /// The socket that listens on that path.
    pub fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let at = self.unix.iter().position(|(own, _)| own == path)?;
        Some(self.unix.swap_remove(at).1)
    }

    /// The address of a socket that is left over.
    #[must_use]
    pub fn left_over(&self) -> Option<String> {
        let tcp = self.tcp.first().map(|(address, _)| address.to_string());
        tcp.or_else(|| self.unix.first().map(|(path, _)| format!("unix:{}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_taken_by_their_address() {
        let mut inherited = Inherited::none();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        inherited.tcp.push((address, listener));
        assert!(inherited.take_tcp(([127, 0, 0, 2], address.port()).into()).is_none());
        assert_eq!(inherited.left_over(), Some(address.to_string()));
        assert!(inherited.take_tcp(address).is_some());
        assert!(inherited.take_tcp(address).is_none());
        assert_eq!(inherited.left_over(), None);
    }
}
