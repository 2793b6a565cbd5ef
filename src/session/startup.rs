//! From a client's first byte to an authenticated user with a database: TLS, startup packet, certificate or SCRAM.
//!
//! Never connects upstream and never tells a stranger more than PostgreSQL would: whether a user exists is not
//! observable, and whether a database exists only to users who may connect to it.
//! Invariant: [`StartupOutcome::Session`] exists only after a configured user has shown a certificate that stands for
//! it, or completed a SCRAM exchange.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::BytesMut;
use countersign_protocol::proxy_header;
use countersign_protocol::startup::{self as wire, Answer, PacketError, StartupMessage, StartupPacket};

use crate::cancel::CancelKey;
use crate::config::Config;
use crate::stream::ClientStream;
use crate::telemetry::AUTH_FAILURES;
use crate::tls::ClientTls;

mod connection;
mod error;
mod failures;
mod password;
mod peer;
mod secret;
mod settings;

pub use error::{Refusal, StartupError};
pub use secret::mock_secret;

use connection::Connection;
use failures::{Allowed, Failures};
use peer::Peer;
use settings::Settings;

/// How long a client may take from its first byte to the end of authentication; PostgreSQL's
/// `authentication_timeout`.
const DEADLINE: Duration = Duration::from_secs(60);

/// What negotiations share: the configuration in force and our side of TLS.
pub struct StartupContext {
    config: Arc<ArcSwap<Config>>,
    tls: ArcSwapOption<ClientTls>,
    mock_secret: [u8; 32],
    failures: Failures,
    deadline: Duration,
}

impl StartupContext {
    /// Takes the configuration, our side of TLS if there is a `[tls]`, and the secret of [`mock_secret`].
    #[must_use]
    pub fn new(config: Arc<ArcSwap<Config>>, tls: Option<ClientTls>, mock_secret: [u8; 32]) -> Self {
        Self {
            config,
            tls: ArcSwapOption::from_pointee(tls),
            mock_secret,
            failures: Failures::default(),
            deadline: DEADLINE,
        }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Exchanges our side of TLS for the clients to come, after a reload.
    pub fn replace_tls(&self, tls: Option<ClientTls>) {
        self.tls.store(tls.map(Arc::new));
    }

    /// The configuration in force now.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }
}

/// An authenticated client that waits for the greeting.
pub struct ClientHandshake {
    /// The connection.
    pub stream: ClientStream,
    /// Bytes the client already sent behind its last authentication message.
    pub unread: BytesMut,
    /// Name of the authenticated user.
    pub user: String,
    /// Database as the client named it: a key of `[databases]` open to one of the user's groups.
    pub database: String,
    /// Settings asked for, by their canonical names, each once.
    pub parameters: Vec<(String, String)>,
    /// Those of them on which the rules have to decide.
    pub unlisted: Vec<(String, String)>,
    /// `ip:port`, or `local`.
    pub peer: String,
    /// Whether TLS protects the connection.
    pub tls: bool,
    /// How long a secret its BackendKeyData has room for, in bytes.
    pub cancel_secret_len: usize,
}

impl fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientHandshake");
        shown.field("user", &self.user).field("database", &self.database).field("peer", &self.peer);
        shown.field("tls", &self.tls).field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}

/// How a negotiation ended.
#[derive(Debug)]
pub enum StartupOutcome {
    /// A session can begin.
    Session(Box<ClientHandshake>),
    /// The connection is there to cancel another session. The client takes its end for the sign that the cancel was
    /// delivered.
    Cancel(CancelKey, ClientStream),
    /// The client left without an error: a port check, or a client that has to ask its user for the password.
    Closed,
}

/// Does the whole negotiation, within an overall deadline.
///
/// The last message sent is AuthenticationSASLFinal: the caller ends the handshake with [`greeting`], or with a FATAL
/// ErrorResponse when no upstream is to be had.
///
/// # Errors
/// [`StartupError`]; the client has been told whatever it may know, and the connection is closed.
pub async fn accept(stream: ClientStream, shared: &StartupContext) -> Result<StartupOutcome, StartupError> {
    match tokio::time::timeout(shared.deadline, negotiate(Connection::new(stream), shared)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StartupError::Deadline),
    }
}

/// What ends the handshake once an upstream is connected: AuthenticationOk, ParameterStatus for each parameter,
/// BackendKeyData, ReadyForQuery (idle).
///
/// A parameter that no ParameterStatus can carry (too long, or with a NUL) is left out; `upstream::connect` returns
/// none.
#[must_use]
pub fn greeting(parameters: &[(String, String)], key: &CancelKey) -> BytesMut {
    wire::encode_greeting(parameters, key.process_id, &key.secret)
}

async fn negotiate(mut connection: Connection, shared: &StartupContext) -> Result<StartupOutcome, StartupError> {
    let peer = match Peer::of(&mut connection.stream, shared).await {
        Ok(Some(peer)) => peer,
        Ok(None) => return Ok(StartupOutcome::Closed),
        Err(error) => return Err(connection.refuse(error).await),
    };
    connection = connection.accept_direct_tls(shared.tls.load_full()).await?;
    let (mut ssl_asked, mut gssenc_asked) = (connection.stream.is_tls(), false);
    let message = loop {
        match connection.packet().await {
            Ok(Some(StartupPacket::SslRequest)) if !ssl_asked => {
                ssl_asked = true;
                connection = connection.answer_ssl(shared.tls.load_full()).await?;
            }
            Ok(Some(StartupPacket::GssEncRequest)) if !gssenc_asked => {
                gssenc_asked = true;
                connection.answer_no().await?;
            }
            // PostgreSQL takes a repeated request for a protocol version of that number, and so do we.
            Ok(Some(StartupPacket::SslRequest)) => return Err(connection.refuse(unsupported(5679)).await),
            Ok(Some(StartupPacket::GssEncRequest)) => return Err(connection.refuse(unsupported(5680)).await),
            Ok(Some(StartupPacket::CancelRequest { process_id, secret })) => {
                return Ok(StartupOutcome::Cancel(CancelKey { process_id, secret }, connection.stream));
            }
            Ok(Some(StartupPacket::StartupMessage(message))) => break message,
            Ok(None) => return Ok(StartupOutcome::Closed),
            Err(StartupError::Packet(PacketError::Length)) if proxy_header::is_begun(&connection.unread) => {
                return Err(StartupError::UnexpectedProxyHeader);
            }
            Err(error) => return Err(connection.refuse(error).await),
        }
    };
    match log_in(&mut connection, message, peer, shared).await {
        Ok(Some(login)) => Ok(StartupOutcome::Session(Box::new(login.with(connection, peer)))),
        Ok(None) => Ok(StartupOutcome::Closed),
        Err(error) => Err(connection.refuse(error).await),
    }
}

fn unsupported(minor: u16) -> StartupError {
    StartupError::Packet(PacketError::Version { major: 1234, minor })
}

/// Who logged in, where to, with which settings.
struct Login {
    user: String,
    database: String,
    settings: Settings,
    cancel_secret_len: usize,
}

impl Login {
    fn with(self, connection: Connection, peer: Peer) -> ClientHandshake {
        let Self { user, database, settings, cancel_secret_len } = self;
        let Connection { stream, unread, .. } = connection;
        let tls = stream.is_tls();
        let Settings { all: parameters, unlisted } = settings;
        ClientHandshake {
            stream,
            unread,
            user,
            database,
            parameters,
            unlisted,
            peer: peer.to_string(),
            tls,
            cancel_secret_len,
        }
    }
}

/// From the StartupMessage to the end of authentication; `None` when the client left instead of proving its password.
async fn log_in(
    connection: &mut Connection,
    message: StartupMessage,
    peer: Peer,
    shared: &StartupContext,
) -> Result<Option<Login>, StartupError> {
    if message.needs_negotiation() {
        let answer = Answer::NegotiateProtocolVersion(message.minor_spoken(), &message.protocol_options);
        connection.answer(&answer).await?;
    }
    let tls_required = shared.config().tls.as_ref().is_some_and(|tls| tls.require);
    if tls_required && !connection.stream.is_tls() && !connection.stream.is_unix() {
        return Err(StartupError::TlsRequired);
    }
    settings::refuse_replication(&message.parameters)?;
    let user = named(&message.parameters, "user").ok_or(StartupError::NoUser)?;
    let database = named(&message.parameters, "database").unwrap_or_else(|| user.clone());
    if !authenticate(connection, &user, peer, shared).await? {
        return Ok(None);
    }
    if !may_connect(&shared.config(), &user, &database) {
        return Err(StartupError::NoDatabase { database });
    }
    let settings = settings::settings(&message.parameters)?;
    Ok(Some(Login { user, database, settings, cancel_secret_len: message.cancel_secret_len() }))
}

/// By certificate or by password; `false` when the client left in the middle of it.
async fn authenticate(
    connection: &mut Connection,
    user: &str,
    peer: Peer,
    shared: &StartupContext,
) -> Result<bool, StartupError> {
    let config = shared.config();
    if by_certificate(connection, user, &config) {
        return Ok(true);
    }
    let allowed =
        Allowed { per_address: config.limits.failures_per_address, per_user: config.limits.failures_per_user };
    if !shared.failures.may_try(peer, allowed.per_address, Instant::now()) {
        metrics::counter!(AUTH_FAILURES, "outcome" => "refused").increment(1);
        return Err(StartupError::TooManyFailures);
    }
    let delay = shared.failures.delay(user, allowed.per_user, Instant::now());
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let outcome = password::authenticate(connection, user, shared).await;
    match &outcome {
        Ok(true) => shared.failures.forget(peer, user),
        Ok(false) => {}
        Err(error) if error.is_failed_authentication() => {
            metrics::counter!(AUTH_FAILURES, "outcome" => "failed").increment(1);
            shared.failures.count(peer, user, allowed, Instant::now());
        }
        Err(_) => {}
    }
    outcome
}

/// Whether the client's certificate stands for the user.
fn by_certificate(connection: &Connection, user: &str, config: &Config) -> bool {
    let stands = |name: &String| connection.certificate_names.contains(name);
    config.user(user).is_some_and(|user| user.certificates.iter().any(stands))
}

fn named(parameters: &BTreeMap<String, String>, name: &str) -> Option<String> {
    parameters.get(name).filter(|value| !value.is_empty()).cloned()
}

fn may_connect(config: &Config, user: &str, database: &str) -> bool {
    match (config.user(user), config.database(database)) {
        (Some(user), Some(database)) => database.groups.iter().any(|group| user.groups.contains(group)),
        (None, _) | (_, None) => false,
    }
}

#[cfg(test)]
mod tests;
