//! The connection to the PostgreSQL behind a database: made, authenticated, ready; and the way to cancel what it
//! runs.
//!
//! Never sends a password in clear over a network, and never shows anybody a text an upstream sent before the
//! session.
//! Invariant: an [`Upstream`] has reported ReadyForQuery, `client_encoding` UTF8 and `standard_conforming_strings`
//! on.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_protocol::startup::{StartupMessage, StartupPacket, encode_packet};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::UpstreamConfig;
use crate::stream::UpstreamStream;

mod authentication;
mod dial;
mod error;
mod kept;
mod relay_login;
mod wire;

pub use error::UpstreamError;
pub(crate) use kept::{Kept, Origin, Reported};
pub use relay_login::{AuthenticationRequest, LoginRelay};

use dial::Route;
use wire::Wire;

/// Settings that decide how SQL is read; what was analysed must be what is executed.
const PINNED: [(&str, &str); 2] = [("client_encoding", "UTF8"), ("standard_conforming_strings", "on")];

/// Parameters only [`UpstreamConfig`] decides.
const RESERVED: [&str; 4] = ["user", "database", "replication", "options"];

/// An upstream ready for its first query.
pub struct Upstream {
    /// The connection.
    pub stream: UpstreamStream,
    /// Bytes that came behind ReadyForQuery; usually none.
    pub unread: BytesMut,
    /// Each ParameterStatus in the order reported.
    pub parameters: Vec<(String, String)>,
    /// How to cancel what it runs.
    pub cancel: UpstreamCancel,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Upstream");
        shown.field("cancel", &self.cancel).field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

/// Connects, authenticates and waits for ReadyForQuery, all within `connect_timeout`.
///
/// `startup` are settings for the StartupMessage; user and database come from `target`, and the settings that decide
/// how SQL is read are pinned, whatever `startup` says.
///
/// # Errors
/// [`UpstreamError`]; [`UpstreamError::fields`] is what a client may read of it.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn connect(target: &UpstreamConfig, startup: &[(String, String)]) -> Result<Upstream, UpstreamError> {
    within(target.connect_timeout, async {
        let (mut wire, route) = open(target, startup).await?;
        authentication::authenticate(&mut wire, target).await?;
        ready(wire, route, target).await
    })
    .await
}

/// Connects and sends the StartupMessage.
async fn open(target: &UpstreamConfig, startup: &[(String, String)]) -> Result<(Wire, Route), UpstreamError> {
    let (stream, route) = dial::dial(target).await?;
    stream.tune(&target.tcp).map_err(UpstreamError::Io)?;
    let mut wire = Wire::new(stream);
    wire.send(&encode_packet(startup_message(target, startup)).map_err(|_| UpstreamError::Setting)?).await?;
    Ok((wire, route))
}

/// From AuthenticationOk to ReadyForQuery.
async fn ready(mut wire: Wire, route: Route, target: &UpstreamConfig) -> Result<Upstream, UpstreamError> {
    let ready = until_ready(&mut wire).await?;
    let cancel = UpstreamCancel { route, connect_timeout: target.connect_timeout, key: ready.key };
    Ok(Upstream { stream: wire.stream, unread: wire.unread, parameters: ready.parameters, cancel })
}

async fn within<T>(
    timeout: Duration,
    future: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    tokio::time::timeout(timeout, future).await.unwrap_or(Err(UpstreamError::Timeout))
}

fn startup_message(target: &UpstreamConfig, startup: &[(String, String)]) -> StartupPacket {
    let pinned = |name: &str| PINNED.iter().any(|(pinned, _)| pinned.eq_ignore_ascii_case(name));
    let reserved = |name: &str| RESERVED.contains(&name);
    let mut parameters: BTreeMap<String, String> =
        startup.iter().filter(|(name, _)| !pinned(name) && !reserved(name)).cloned().collect();
    let own = [("user", target.user.as_str()), ("database", target.database.as_str())];
    parameters.extend(own.into_iter().chain(PINNED).map(|(name, value)| (name.to_owned(), value.to_owned())));
    StartupPacket::StartupMessage(StartupMessage { minor: 0, parameters, protocol_options: Vec::new() })
}

struct Ready {
    parameters: Vec<(String, String)>,
    key: Option<Key>,
}

/// Reads what follows AuthenticationOk (manual, "Start-up").
async fn until_ready(wire: &mut Wire) -> Result<Ready, UpstreamError> {
    let mut ready = Ready { parameters: Vec::new(), key: None };
    loop {
        let (tag, body) = wire.receive().await?;
        match tag {
            b'S' => {
                let (name, value) = wire::parameter_status(&body)?;
                ready.parameters.retain(|(earlier, _)| *earlier != name);
                ready.parameters.push((name, value));
            }
            b'K' => ready.key = Some(Key::read(&body)?),
            b'Z' => break,
            _ => return Err(UpstreamError::Protocol("unexpected message before ReadyForQuery")),
        }
    }
    for (name, value) in PINNED {
        if !ready.parameters.iter().any(|(reported, is)| reported == name && is.eq_ignore_ascii_case(value)) {
            return Err(UpstreamError::Pinned(name));
        }
    }
    Ok(ready)
}

/// What BackendKeyData carried.
#[derive(Clone)]
struct Key {
    process_id: i32,
    secret: Bytes,
}

impl Key {
    fn read(body: &[u8]) -> Result<Self, UpstreamError> {
        match body.split_first_chunk() {
            Some((process_id, secret)) if (4..=256).contains(&secret.len()) => {
                // A copy: the bytes it came in are not to live as long as the connection.
                let secret = Bytes::copy_from_slice(secret);
                Ok(Self { process_id: i32::from_be_bytes(*process_id), secret })
            }
            Some(_) | None => Err(UpstreamError::Protocol("malformed BackendKeyData")),
        }
    }
}

/// How to cancel what one upstream connection runs. Clones mean the same connection.
#[derive(Clone)]
pub struct UpstreamCancel {
    route: Route,
    connect_timeout: Duration,
    key: Option<Key>,
}

impl UpstreamCancel {
    /// Sends a CancelRequest over a connection of its own, to the same address and with the same TLS mode, and waits
    /// until the upstream has closed it, which it does when the signal is sent. Does nothing if there was no
    /// BackendKeyData.
    ///
    /// # Errors
    /// [`UpstreamError`] when the request could not be delivered within `connect_timeout`.
    pub async fn cancel(&self) -> Result<(), UpstreamError> {
        let Some(Key { process_id, secret }) = self.key.clone() else { return Ok(()) };
        let packet = encode_packet(StartupPacket::CancelRequest { process_id, secret });
        let packet = packet.map_err(|_| UpstreamError::Protocol("malformed BackendKeyData"))?;
        within(self.connect_timeout, async {
            let mut stream = self.route.dial().await?;
            stream.write_all(&packet).await.map_err(UpstreamError::Io)?;
            stream.flush().await.map_err(UpstreamError::Io)?;
            // There is no reply; an end by reset, or without a TLS close_notify, is as good as any other.
            let _ = stream.read(&mut [0]).await;
            Ok(())
        })
        .await
    }

    /// The backend's process id, if there was BackendKeyData.
    #[must_use]
    pub fn process_id(&self) -> Option<i32> {
        self.key.as_ref().map(|key| key.process_id)
    }

    /// Address of the upstream, for logs; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.route.address()
    }
}

impl fmt::Debug for UpstreamCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process_id = self.process_id();
        f.debug_struct("UpstreamCancel").field("process_id", &process_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
