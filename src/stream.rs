//! A connection to a client or to an upstream, whatever carries it.
//!
//! Never interprets a byte.
//! Invariant: a TCP stream is made with TCP_NODELAY, so that small answers leave at once; that of a session is tuned,
//! so that a peer which vanished while a statement is held is noticed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::config::TcpConfig;

/// A connected byte stream.
#[derive(Debug)]
pub enum Stream {
    /// TCP, plaintext.
    Tcp(TcpStream),
    /// Unix socket.
    Unix(UnixStream),
    /// TLS over TCP, either side.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The client's side of a session.
pub type ClientStream = Stream;

/// The upstream's side of a session.
pub type UpstreamStream = Stream;

impl Stream {
    /// Takes over a TCP connection.
    ///
    /// # Errors
    /// When the socket refuses an option: it is no longer connected.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Sets when the peer counts as gone; does nothing for a unix socket.
    ///
    /// # Errors
    /// When the socket refuses an option: it is no longer connected.
    pub fn tune(&self, tcp: &TcpConfig) -> io::Result<()> {
        let socket = match self {
            Self::Unix(_) => return Ok(()),
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
        };
        let keepalive = TcpKeepalive::new().with_time(tcp.keepalive_idle).with_interval(tcp.keepalive_interval);
        socket.set_tcp_keepalive(&keepalive.with_retries(tcp.keepalive_count))?;
        if tcp.user_timeout.is_some() {
            socket.set_tcp_user_timeout(tcp.user_timeout)?;
        }
        Ok(())
    }

    /// Says a few last words to a peer that is not waited for, and closes the connection. They get lost when the peer is
    /// just sending.
    pub fn turn_away(self, words: &[u8]) {
        // Neither call waits. Whoever cannot be told finds the connection closed.
        let _ = match self {
            Self::Tcp(stream) => stream.into_std().map(|stream| say_and_close(stream, words)),
            Self::Unix(stream) => stream.into_std().map(|stream| say_and_close(stream, words)),
            Self::Tls(_) => Ok(()),
        };
    }

    /// Whether TLS protects it.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether it is a unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Whether the peer is there, as far as it is known, and has said nothing that was not read.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
        };
        let mut byte = [std::mem::MaybeUninit::uninit()];
        // Of all the ways in which this can end, only one says that there is neither something to read nor an end.
        socket.peek(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the peer is known to send nothing more, whatever of what it sent is still unread.
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        let ready = match self {
            Self::Tcp(stream) => stream.ready(Interest::READABLE).now_or_never(),
            Self::Unix(stream) => stream.ready(Interest::READABLE).now_or_never(),
            Self::Tls(stream) => stream.get_ref().0.ready(Interest::READABLE).now_or_never(),
        };
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }

    /// Address of the peer; `None` for a unix socket.
    ///
    /// # Errors
    /// When the socket is no longer connected.
    pub fn peer_addr(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Some),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }
}

/// What the peer has sent is read first, as far as it is small: unread bytes would make the system reset the connection.
fn say_and_close(mut stream: impl io::Read + io::Write, words: &[u8]) {
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write(words);
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_tuned_stream_has_nodelay_keepalive_and_a_time_limit() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Stream::tcp(stream).unwrap();
        let tcp = TcpConfig {
            keepalive_idle: Duration::from_secs(70),
            keepalive_interval: Duration::from_secs(11),
            keepalive_count: 7,
            user_timeout: Some(Duration::from_secs(33)),
        };
        stream.tune(&tcp).unwrap();
        let Stream::Tcp(stream) = stream else { panic!("a TCP stream stays one") };
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), tcp.keepalive_idle);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), tcp.keepalive_interval);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), tcp.keepalive_count);
        assert_eq!(socket.tcp_user_timeout().unwrap(), tcp.user_timeout);
    }
}
