//! Where a client comes from.
//!
//! Never believes a connection's own word, unless it comes from a load balancer that the configuration names.
//! Invariant: whether a PROXY protocol header is there is decided by the configuration alone: where one is expected,
//! nothing else is read; where none is, one is a violation.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use countersign_protocol::proxy_header::{self, HEAD_LEN, ProxyHeaderError};
use tokio::io::AsyncReadExt as _;

use super::StartupContext;
use super::error::StartupError;
use crate::stream::ClientStream;

/// A client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It came through a unix socket.
    Local,
    /// It came from there, by its own connection or by the word of a load balancer.
    Remote(SocketAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Remote(address) => address.fmt(f),
        }
    }
}

impl Peer {
    /// The address of the connection, or, from a load balancer, that in its header. `None` when it left without a word.
    pub(super) async fn of(stream: &mut ClientStream, shared: &StartupContext) -> Result<Option<Self>, StartupError> {
        let Some(address) = stream.peer_addr().map_err(StartupError::Io)? else { return Ok(Some(Self::Local)) };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !shared.config().proxy_protocol_from.iter().any(|network| network.contains(address.ip())) {
            return Ok(Some(Self::Remote(address)));
        }
        let header = read_header(stream).await?;
        Ok(header.map(|source| Self::Remote(source.unwrap_or(address))))
    }

    /// The IP address; `None` for a unix socket.
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Local => None,
            Self::Remote(address) => Some(address.ip()),
        }
    }
}

/// Reads a header and not a byte more. The inner `None` is a header that carries no address, the outer one a connection
/// that ended before its first byte, as checks of load balancers do.
async fn read_header(stream: &mut ClientStream) -> Result<Option<Option<SocketAddr>>, StartupError> {
    let mut head = [0; HEAD_LEN];
    let mut length = 0;
    while length < HEAD_LEN {
        let read = stream.read(&mut head[length..]).await.map_err(StartupError::Io)?;
        if read == 0 && length == 0 {
            return Ok(None);
        }
        if read == 0 {
            return Err(ProxyHeaderError::Missing.into());
        }
        length += read;
        proxy_header::check(&head[..length])?;
    }
    let mut rest = vec![0; proxy_header::rest_len(&head)?];
    stream.read_exact(&mut rest).await.map_err(StartupError::Io)?;
    Ok(Some(proxy_header::source(&head, &rest)?))
}
