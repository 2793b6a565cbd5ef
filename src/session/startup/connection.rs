//! Reading and writing on a connection that has no session yet.
//!
//! Never buffers more than one startup packet and one read.
//! Invariant: a byte that arrived before TLS is never read as if TLS had protected it.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_protocol::startup::{self as wire, Answer, PacketError, StartupPacket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsStream;

use super::error::StartupError;
use crate::stream::{ClientStream, Stream};
use crate::tls::{ALPN, ClientTls, certificate};

/// How much one read asks for.
const READ_SIZE: usize = 4096;

/// First byte of a TLS handshake; no startup packet begins with it, as it would be too long.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client and what it sent ahead.
pub(super) struct Connection {
    pub(super) stream: ClientStream,
    pub(super) unread: BytesMut,
    /// The hash of the certificate we showed in TLS, for channel binding.
    pub(super) end_point: Option<Bytes>,
    /// The names in the client's certificate, which was verified in TLS.
    pub(super) certificate_names: Vec<String>,
}

impl Connection {
    pub(super) fn new(stream: ClientStream) -> Self {
        Self { stream, unread: BytesMut::new(), end_point: None, certificate_names: Vec::new() }
    }

    /// The next startup packet; `None` when the client closed the connection between packets.
    pub(super) async fn packet(&mut self) -> Result<Option<StartupPacket>, StartupError> {
        self.decode(wire::decode_packet).await
    }

    /// The body of the next password message; `None` when the client closed the connection before it.
    pub(super) async fn password_message(&mut self) -> Result<Option<Bytes>, StartupError> {
        self.decode(wire::decode_password_message).await
    }

    async fn decode<T>(
        &mut self,
        decode: fn(&mut BytesMut) -> Result<Option<T>, PacketError>,
    ) -> Result<Option<T>, StartupError> {
        loop {
            if let Some(decoded) = decode(&mut self.unread)? {
                return Ok(Some(decoded));
            }
            self.unread.reserve(READ_SIZE);
            let read = self.stream.read_buf(&mut self.unread).await.map_err(StartupError::Io)?;
            if read == 0 && self.unread.is_empty() {
                return Ok(None);
            }
            if read == 0 {
                return Err(StartupError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    pub(super) async fn answer(&mut self, answer: &Answer<'_>) -> Result<(), StartupError> {
        let mut out = BytesMut::new();
        wire::encode_answer(&mut out, answer)?;
        self.write(&out).await
    }

    /// Answers `N`: no encryption of that kind.
    pub(super) async fn answer_no(&mut self) -> Result<(), StartupError> {
        self.write(b"N").await
    }

    /// Does the handshake of a client that begins with TLS instead of asking for it. What begins otherwise, or where
    /// there is no TLS, stays as it is.
    ///
    /// Without an SSLRequest only ALPN shows that both sides mean this protocol, so it must be there (ALPACA attack).
    pub(super) async fn accept_direct_tls(mut self, tls: Option<Arc<ClientTls>>) -> Result<Self, StartupError> {
        let (Stream::Tcp(stream), Some(tls)) = (&mut self.stream, tls) else { return Ok(self) };
        let mut first = [0];
        let length = stream.peek(&mut first).await.map_err(StartupError::Io)?;
        if length == 0 || first != [TLS_HANDSHAKE] {
            return Ok(self);
        }
        let mut connection = self.encrypt(&tls).await?;
        if connection.has_alpn() { Ok(connection) } else { Err(connection.refuse(StartupError::NoAlpn).await) }
    }

    fn has_alpn(&self) -> bool {
        match &self.stream {
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(ALPN),
            Stream::Tcp(_) | Stream::Unix(_) => false,
        }
    }

    async fn encrypt(self, tls: &ClientTls) -> Result<Self, StartupError> {
        match self.stream {
            Stream::Tcp(stream) => {
                let stream = tls.accept(stream).await.map_err(StartupError::TlsHandshake)?;
                let presented = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let certificate_names = presented.map(certificate::names).unwrap_or_default();
                let connection = Self::new(Stream::Tls(Box::new(TlsStream::Server(stream))));
                Ok(Self { end_point: tls.end_point(), certificate_names, ..connection })
            }
            stream @ (Stream::Unix(_) | Stream::Tls(_)) => Ok(Self::new(stream)),
        }
    }

    /// Answers an SSLRequest: `S` and the handshake, or `N` without TLS and on a unix socket.
    pub(super) async fn answer_ssl(mut self, tls: Option<Arc<ClientTls>>) -> Result<Self, StartupError> {
        let Some(tls) = tls.filter(|_| matches!(self.stream, Stream::Tcp(_))) else {
            self.answer_no().await?;
            return Ok(self);
        };
        if !self.unread.is_empty() {
            // Whoever injects these bytes wants them to be read as the client's first ones inside TLS
            // (CVE-2021-23214).
            return Err(self.refuse(StartupError::BytesBeforeTls).await);
        }
        self.write(b"S").await?;
        self.encrypt(&tls).await
    }

    /// Tells the client what it may know of the error, closes the connection, and hands the error back.
    pub(super) async fn refuse(&mut self, error: StartupError) -> StartupError {
        if let Some(refusal) = error.refusal() {
            let mut out = BytesMut::new();
            refusal.encode(&mut out);
            // The client may be gone already; the error at hand is the one that matters.
            let _ = self.write(&out).await;
            let _ = self.stream.shutdown().await;
        }
        error
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StartupError> {
        self.stream.write_all(bytes).await.map_err(StartupError::Io)?;
        self.stream.flush().await.map_err(StartupError::Io)
    }
}
