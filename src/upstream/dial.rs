//! From a host name to a connected, where wanted encrypted, stream.
//!
//! Never falls back to plaintext once TLS was offered, and never reads past the one byte that answers an SSLRequest.
//! Invariant: a [`Route`] leads to the very address, over the very kind of connection, that the session uses.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use countersign_protocol::startup::{StartupPacket, encode_packet};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::UpstreamError;
use crate::config::{SslMode, UpstreamConfig};
use crate::stream::{Stream, UpstreamStream};
use crate::tls;

/// How to reach the same server again.
#[derive(Clone)]
pub(super) enum Route {
    Unix(PathBuf),
    Plain(SocketAddr),
    Tls { address: SocketAddr, name: ServerName<'static>, connector: TlsConnector },
}

impl Route {
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Plain(address) | Self::Tls { address, .. } => Some(*address),
        }
    }

    pub(super) async fn dial(&self) -> Result<UpstreamStream, UpstreamError> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix).map_err(UpstreamError::Connect),
            Self::Plain(address) => tcp(*address).await.and_then(Stream::tcp).map_err(UpstreamError::Connect),
            Self::Tls { address, name, connector } => {
                let mut stream = tcp(*address).await.map_err(UpstreamError::Connect)?;
                if !offers_tls(&mut stream).await? {
                    return Err(UpstreamError::TlsNotOffered);
                }
                encrypt(stream, name.clone(), connector).await
            }
        }
    }
}

/// Connects as the configuration says. A unix socket has no TLS, whatever the mode, as in libpq.
pub(super) async fn dial(target: &UpstreamConfig) -> Result<(UpstreamStream, Route), UpstreamError> {
    if target.host.starts_with('/') {
        let route = Route::Unix(PathBuf::from(&target.host).join(format!(".s.PGSQL.{}", target.port)));
        return Ok((route.dial().await?, route));
    }
    let (mut stream, address) = first_reachable(target).await?;
    let plain = |stream| Ok((Stream::tcp(stream).map_err(UpstreamError::Connect)?, Route::Plain(address)));
    if target.ssl_mode == SslMode::Disable {
        return plain(stream);
    }
    // Before the first byte is sent, so that a wrong file is not reported as the upstream's fault.
    let connector = tls::connector(target)?;
    let name = server_name(target, address)?;
    if offers_tls(&mut stream).await? {
        let stream = encrypt(stream, name.clone(), &connector).await?;
        return Ok((stream, Route::Tls { address, name, connector }));
    }
    match target.ssl_mode {
        SslMode::Disable | SslMode::Prefer => plain(stream),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Err(UpstreamError::TlsNotOffered),
    }
}

async fn first_reachable(target: &UpstreamConfig) -> Result<(TcpStream, SocketAddr), UpstreamError> {
    let addresses =
        tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(UpstreamError::Resolve)?;
    let mut failure = UpstreamError::Resolve(io::ErrorKind::NotFound.into());
    for address in addresses {
        match tcp(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => failure = UpstreamError::Connect(error),
        }
    }
    Err(failure)
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

/// The name a certificate must be made for; where names are not checked, an address will do.
fn server_name(target: &UpstreamConfig, address: SocketAddr) -> Result<ServerName<'static>, UpstreamError> {
    match ServerName::try_from(target.host.clone()) {
        Ok(name) => Ok(name),
        Err(_) if target.ssl_mode == SslMode::VerifyFull => Err(UpstreamError::HostName),
        Err(_) => Ok(ServerName::IpAddress(address.ip().into())),
    }
}

/// Sends an SSLRequest and reads its one-byte answer, not a byte more (CVE-2021-23222).
async fn offers_tls(stream: &mut TcpStream) -> Result<bool, UpstreamError> {
    let request = encode_packet(StartupPacket::SslRequest)
        .map_err(|_| UpstreamError::Protocol("SSLRequest cannot be encoded"))?;
    stream.write_all(&request).await.map_err(UpstreamError::Io)?;
    match stream.read_u8().await {
        Ok(b'S') => Ok(true),
        Ok(b'N') => Ok(false),
        Ok(b'E') => Err(UpstreamError::Protocol("error instead of an answer to SSLRequest")),
        Ok(_) => Err(UpstreamError::Protocol("unknown answer to SSLRequest")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(UpstreamError::Closed),
        Err(error) => Err(UpstreamError::Io(error)),
    }
}

async fn encrypt(
    stream: TcpStream,
    name: ServerName<'static>,
    connector: &TlsConnector,
) -> Result<UpstreamStream, UpstreamError> {
    let Stream::Tcp(stream) = Stream::tcp(stream).map_err(UpstreamError::Connect)? else {
        return Err(UpstreamError::Closed);
    };
    let stream = connector.connect(name, stream).await.map_err(UpstreamError::TlsHandshake)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
