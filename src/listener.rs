//! The addresses clients connect to.
//!
//! Never reads from a connection it accepted.
//! Invariant: a unix socket that another process serves is never taken over, and only our own is removed; a socket that
//! was handed over keeps the connections that wait in it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{SockAddr, SockRef};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::config::ListenAddress;
use crate::inherited::Inherited;
use crate::stream::{ClientStream, Stream};

/// Connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// Owner and group may connect. PostgreSQL's default is everybody; put clients into the group, or change the mode.
const UNIX_SOCKET_MODE: u32 = 0o770;

/// How long to wait before the next accept when the process has run out of descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One bound address.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenAddress,
    origin: Origin,
    /// Held for its Drop.
    _file: Option<SocketFile>,
}

/// Who opened the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// We.
    Own,
    /// Whoever handed it over, who keeps it when we are gone.
    Inherited,
}

/// How a TCP address is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// For this process alone.
    Alone,
    /// Other processes may listen there, too (SO_REUSEPORT).
    ReusePort,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds the address and listens. Must be called inside a tokio runtime.
    ///
    /// A unix socket nobody serves any more is replaced; the new one has mode 0770.
    ///
    /// # Errors
    /// When the address cannot be bound; `AddrInUse` when another process serves the unix socket,
    /// `AlreadyExists` when its path is no socket.
    pub fn bind(address: &ListenAddress, sharing: Sharing) -> io::Result<Self> {
        let origin = Origin::Own;
        match address {
            ListenAddress::Tcp(address) => {
                let socket = bind_tcp(*address, sharing)?;
                let address = ListenAddress::Tcp(socket.local_addr()?);
                Ok(Self { socket: Socket::Tcp(socket), address, origin, _file: None })
            }
            ListenAddress::Unix(path) => {
                remove_stale(path)?;
                let socket = UnixListener::bind(path)?;
                let file = SocketFile::of(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_SOCKET_MODE))?;
                Ok(Self { socket: Socket::Unix(socket), address: address.clone(), origin, _file: Some(file) })
            }
        }
    }

    /// Takes the socket that was handed over for the address, or binds it.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn open(address: &ListenAddress, sharing: Sharing, inherited: &mut Inherited) -> io::Result<Self> {
        let socket = match address {
            ListenAddress::Tcp(address) => inherited.take_tcp(*address).map(TcpListener::from_std).map(tcp_socket),
            ListenAddress::Unix(path) => inherited.take_unix(path).map(UnixListener::from_std).map(unix_socket),
        };
        match socket {
            None => Self::bind(address, sharing),
            Some(socket) => {
                Ok(Self { socket: socket?, address: address.clone(), origin: Origin::Inherited, _file: None })
            }
        }
    }

    /// Clients whose connection is complete and was not accepted yet; they would be reset with the socket. A socket that
    /// was handed over keeps them for whoever takes it next.
    #[must_use]
    pub fn take_queued(&self) -> Vec<ClientStream> {
        let mut queued = Vec::new();
        if self.origin == Origin::Inherited {
            return queued;
        }
        // Not through tokio, which tries only after the system has told it of a connection.
        loop {
            let client = match &self.socket {
                Socket::Tcp(listener) => SockRef::from(listener).accept().and_then(queued_tcp),
                Socket::Unix(listener) => SockRef::from(listener).accept().and_then(queued_unix),
            };
            match client {
                Ok(client) => queued.push(client),
                Err(error) if is_of_the_client(&error) => {}
                Err(_) => return queued,
            }
        }
    }

    /// The address bound: with the real port where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> &ListenAddress {
        &self.address
    }

    /// Waits for the next client.
    ///
    /// Failures are logged and retried: a listener ends only by being dropped.
    ///
    /// # Cancel safety
    /// Cancel safe: no accepted connection is lost.
    pub async fn accept(&self) -> ClientStream {
        loop {
            let accepted = match &self.socket {
                // A client that is gone already fails here; that is not the listener's trouble.
                Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::tcp(stream).ok()),
                Socket::Unix(listener) => listener.accept().await.map(|(stream, _)| Some(Stream::Unix(stream))),
            };
            match accepted {
                Ok(Some(client)) => return client,
                Ok(None) => {}
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

fn tcp_socket(listener: io::Result<TcpListener>) -> io::Result<Socket> {
    listener.map(Socket::Tcp)
}

fn unix_socket(listener: io::Result<UnixListener>) -> io::Result<Socket> {
    listener.map(Socket::Unix)
}

fn queued_tcp((socket, _): (socket2::Socket, SockAddr)) -> io::Result<ClientStream> {
    socket.set_nonblocking(true)?;
    Stream::tcp(TcpStream::from_std(socket.into())?)
}

fn queued_unix((socket, _): (socket2::Socket, SockAddr)) -> io::Result<ClientStream> {
    socket.set_nonblocking(true)?;
    Ok(Stream::Unix(UnixStream::from_std(socket.into())?))
}

/// Binds a TCP address and listens.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn bind_tcp(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the TIME_WAIT of the old process' connections.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(sharing == Sharing::ReusePort)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Errors that `accept` reports for the one connection it took off the queue.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "path exists and is not a socket"));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The file of our unix socket, recognised by its device and inode; removed on drop.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn bind(address: &ListenAddress) -> io::Result<Listener> {
        Listener::bind(address, Sharing::Alone)
    }

    fn socket_path() -> (tempfile::TempDir, ListenAddress, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".s.PGSQL.6543");
        (directory, ListenAddress::Unix(path.clone()), path)
    }

    #[tokio::test]
    async fn a_tcp_listener_tells_its_port_and_the_peer() {
        let listener = bind(&ListenAddress::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let ListenAddress::Tcp(address) = listener.local_addr() else { panic!("it was TCP") };
        assert_ne!(address.port(), 0);
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut accepted = listener.accept().await;
        assert_eq!(accepted.peer_addr().unwrap(), Some(client.local_addr().unwrap()));
        client.write_all(b"x").await.unwrap();
        assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = bind(&ListenAddress::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let second = bind(first.local_addr());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_port_can_be_shared_and_what_waits_is_not_lost() {
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let first = Listener::bind(&address, Sharing::ReusePort).unwrap();
        let _second = Listener::bind(first.local_addr(), Sharing::ReusePort).unwrap();
        assert_eq!(bind(first.local_addr()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let alone = bind(&address).unwrap();
        let ListenAddress::Tcp(port) = alone.local_addr() else { panic!("it was TCP") };
        let clients = [TcpStream::connect(port).await.unwrap(), TcpStream::connect(port).await.unwrap()];
        let peers: Vec<_> = alone.take_queued().iter().map(|stream| stream.peer_addr().unwrap()).collect();
        assert_eq!(peers, clients.map(|client| Some(client.local_addr().unwrap())));
        assert!(alone.take_queued().is_empty());
    }

    #[tokio::test]
    async fn a_unix_socket_is_private_and_leaves_with_the_listener() {
        let (_directory, address, path) = socket_path();
        let listener = bind(&address).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, UNIX_SOCKET_MODE);
        let _client = UnixStream::connect(&path).await.unwrap();
        assert!(listener.accept().await.is_unix());
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_a_stale_socket_is_replaced() {
        let (_directory, address, path) = socket_path();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = bind(&address).expect("nobody serves the old socket");
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).await.is_ok(), "the failed bind left the socket alone");
        drop(listener);
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&address).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_of_somebody_else_is_not_removed() {
        let (_directory, address, path) = socket_path();
        let listener = bind(&address).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = bind(&address).unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
