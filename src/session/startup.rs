//! From a client's first byte to an authenticated user with a database: TLS, startup packet, certificate or SCRAM.
//!
//! Never tells a stranger more than PostgreSQL would: whether a user exists is not observable, and whether a database
//! exists only to users who may connect to it (or, by its way to ask for a password, where the upstream asks). Never
//! connects upstream except for a client that authenticates there.
//! Invariant: [`StartupOutcome::Session`] exists only after a configured user has shown a certificate that stands for
//! it or completed a SCRAM exchange, or the upstream has asked for a proof and accepted it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::BytesMut;
use countersign_protocol::proxy_header;
use countersign_protocol::startup::{self as wire, Answer, PacketError, StartupMessage, StartupPacket};
use jiff::Timestamp;

use crate::audit::{Audit, Record};
use crate::cancel::CancelKey;
use crate::config::{CONSOLE, Config, DatabaseAuth, UpstreamConfig};
use crate::failures::Failures;
use crate::identity::passwords::{Held, Passwords};
use crate::review::Review;
use crate::roles::{self, Roles};
use crate::stream::ClientStream;
use crate::tls::ClientTls;
use crate::upstream::Upstream;
use crate::visible;

mod admitted;
mod connection;
mod error;
mod passthrough;
mod password;
mod peer;
mod secret;
mod settings;

pub(crate) use admitted::{Admitted, admit};
pub use error::{Refusal, StartupError};
pub use secret::mock_secret;
pub(crate) use settings::for_upstream;

use connection::Connection;
use peer::Peer;
use settings::Settings;

/// How long a client may take from its first byte to the end of authentication; PostgreSQL's
/// `authentication_timeout`.
const DEADLINE: Duration = Duration::from_secs(60);

/// How many bytes of a name that a stranger gave are recorded.
const NAME_LEN_MAX: usize = 63;

/// What negotiations share: the configuration in force and our side of TLS.
pub struct StartupContext {
    config: Arc<ArcSwap<Config>>,
    tls: ArcSwapOption<ClientTls>,
    mock_secret: [u8; 32],
    failures: Arc<Failures>,
    audit: Option<Arc<Audit>>,
    roles: Arc<Roles>,
    passwords: Option<(Passwords, Arc<Review>)>,
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
            failures: Arc::default(),
            audit: None,
            roles: Arc::default(),
            passwords: None,
            deadline: DEADLINE,
        }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The same, with failed logins on record.
    #[must_use]
    pub fn with_audit(self, audit: Arc<Audit>) -> Self {
        Self { audit: Some(audit), ..self }
    }

    /// The same, with groups from roles.
    #[must_use]
    pub fn with_roles(self, roles: Arc<Roles>) -> Self {
        Self { roles, ..self }
    }

    /// The same, with passwords that were had on the page, by the time that the review goes by.
    #[must_use]
    pub fn with_passwords(self, passwords: Passwords, clock: Arc<Review>) -> Self {
        Self { passwords: Some((passwords, clock)), ..self }
    }

    /// What a user has been given on the page. It is looked for whoever that is, so that the time it takes tells nothing.
    async fn held(&self, user: &str) -> Option<Held> {
        // Nobody waits for a store that is away.
        let (passwords, clock) = self.passwords.as_ref().filter(|(_, clock)| clock.is_store_reachable())?;
        passwords.find(&self.config(), user, clock.time(Timestamp::now())).await
    }

    /// What failed lately, for other places where people sign in.
    #[must_use]
    pub(crate) fn failures(&self) -> Arc<Failures> {
        Arc::clone(&self.failures)
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
    /// Groups of the user on that database.
    pub groups: Vec<String>,
    /// Those of them that came with what the user has shown.
    pub brought: Vec<String>,
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
    /// The upstream, where it has authenticated the client itself.
    pub upstream: Option<Upstream>,
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
    groups: Vec<String>,
    brought: Vec<String>,
    database: String,
    settings: Settings,
    upstream: Option<Upstream>,
    cancel_secret_len: usize,
}

impl Login {
    fn with(self, connection: Connection, peer: Peer) -> ClientHandshake {
        let Self { user, groups, brought, database, settings, upstream, cancel_secret_len } = self;
        let Connection { stream, unread, .. } = connection;
        let tls = stream.is_tls();
        let Settings { all: parameters, unlisted } = settings;
        ClientHandshake {
            stream,
            unread,
            user,
            groups,
            brought,
            database,
            parameters,
            unlisted,
            peer: peer.to_string(),
            tls,
            upstream,
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
    let named = |name| message.parameters.get(name).cloned().unwrap_or_default();
    let (user, database) = (named("user"), named("database"));
    let login = authenticate(connection, message, peer, shared).await;
    if let (Err(error), Some(audit)) = (&login, &shared.audit)
        && let Some(reason) = error.audited()
    {
        let database = if database.is_empty() { &user } else { &database };
        let address = peer.to_string();
        let record = Record::LoginFailed {
            user: visible::head(&user, NAME_LEN_MAX),
            database: visible::head(database, NAME_LEN_MAX),
            client_address: &address,
            reason,
        };
        if let Err(error) = audit.record(Timestamp::now(), &record) {
            tracing::debug!(%error, "could not record a failed login");
        }
    }
    login
}

async fn authenticate(
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
    let config = shared.config();
    let passed_on = config.database(&database).filter(|database| database.auth == DatabaseAuth::Passthrough);
    let mut brought = Vec::new();
    let (settings, upstream) = match passed_on {
        Some(to) => {
            let settings = settings::settings(&message.parameters)?;
            let target = UpstreamConfig { user: user.clone(), password: None, ..to.upstream.clone() };
            let parameters = settings::for_upstream(&settings.all, &user);
            let relaying = passthrough::authenticate(connection, peer, target, &parameters);
            let Some(upstream) = limited(relaying, &user, peer, shared).await? else { return Ok(None) };
            (Some(settings), Some(upstream))
        }
        None => {
            let known = by_certificate(connection, &user, &config);
            if !known {
                let asking = password::authenticate(connection, &user, shared);
                let Some(groups) = limited(asking, &user, peer, shared).await? else { return Ok(None) };
                brought = groups;
            }
            (None, None)
        }
    };
    let groups = groups_to_connect(shared, &user, &brought, &database).await?;
    let settings = settings.map_or_else(|| settings::settings(&message.parameters), Ok)?;
    let cancel_secret_len = message.cancel_secret_len();
    Ok(Some(Login { user, groups, brought, database, settings, upstream, cancel_secret_len }))
}

/// Lets somebody try to authenticate who has not failed too often, and counts whether it fails. `None` is a client that
/// left in the middle of it.
async fn limited<T>(
    attempt: impl Future<Output = Result<Option<T>, StartupError>>,
    user: &str,
    peer: Peer,
    shared: &StartupContext,
) -> Result<Option<T>, StartupError> {
    let limits = shared.config().limits;
    let Some(turn) = shared.failures.attempt(peer.ip(), user, &limits).await else {
        return Err(StartupError::TooManyFailures);
    };
    let outcome = attempt.await;
    match &outcome {
        Ok(Some(_)) => turn.succeeded(),
        Ok(None) => {}
        Err(error) if error.is_failed_authentication() => turn.failed(),
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

/// The groups of somebody who may connect to the database.
async fn groups_to_connect(
    shared: &StartupContext,
    user: &str,
    brought: &[String],
    database: &str,
) -> Result<Vec<String>, StartupError> {
    if database == CONSOLE {
        // Everybody who is known may come in; what they may do there is decided command by command.
        return Ok(shared.config().groups_of(user));
    }
    shared.roles.refresh(database).await;
    let config = shared.config();
    let mut groups = config.groups_of(user);
    roles::add(&mut groups, brought.iter().cloned());
    let unread = match shared.roles.groups_on(database, user) {
        Ok(more) => {
            roles::add(&mut groups, more);
            None
        }
        Err(unread) => Some(unread),
    };
    let known = config.database(database);
    if !known.is_some_and(|database| database.groups.iter().any(|group| groups.contains(group))) {
        if let Some(unread) = unread {
            tracing::warn!(error = %unread, "client refused");
        }
        return Err(StartupError::NoDatabase { database: database.to_owned() });
    }
    // Rules for groups that cannot be told would not be applied.
    unread.map_or(Ok(groups), |unread| Err(unread.into()))
}

#[cfg(test)]
mod tests;
