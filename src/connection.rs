//! From an accepted socket to a session, and to its end.
//!
//! Never relays; [`crate::session`] does. Invariant: a client gets a session only after it has authenticated, its
//! upstream is connected and the catalog of its database is loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use countersign_policy::subject::Subject;
use countersign_protocol::response::error_response;
use countersign_protocol::sqlstate;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use crate::audit::Record;
use crate::bell::Bell;
use crate::cancel::CancelKey;
use crate::config::CONSOLE;
use crate::console;
use crate::database::Database;
use crate::drain::{self, Phase};
use crate::fault::{Fault, with_causes};
use crate::limits::{Place, Stranger};
use crate::server::Shared;
use crate::session::driver::{Driver, Parts};
use crate::session::messages::fatal;
use crate::session::preset;
use crate::session::startup::{self, ClientHandshake, StartupOutcome};
use crate::session::words::Identity;
use crate::sessions::{Connected, Entered, Order};
use crate::stream::ClientStream;
use crate::telemetry::SESSIONS;
use crate::upstream::{self, Origin, Reported, Upstream, UpstreamError};

/// How long the end of a CancelRequest's connection is put off until the session has noticed.
const CANCEL_NOTICE: Duration = Duration::from_secs(5);

/// How long a client may take to read its greeting, or why there is none.
const GREETING: Duration = Duration::from_secs(10);
/// The ParameterStatus that tells who was logged in.
const LOGIN_ROLE: &str = "session_authorization";

/// A client that was just accepted.
pub(crate) struct Newcomer {
    pub(crate) stream: ClientStream,
    /// Its place among those who have not authenticated.
    pub(crate) place: Stranger,
}

/// Serves one client from its first byte to its last.
pub(crate) async fn serve(newcomer: Newcomer, shared: Arc<Shared>, mut drain: watch::Receiver<Phase>) {
    let Newcomer { stream, place } = newcomer;
    if let Err(error) = stream.tune(&shared.config().tcp) {
        tracing::debug!(%error, "client left at once");
        return;
    }
    // Dropping the negotiation closes the connection.
    // What only the beginning needs is given back before the session runs.
    let outcome = tokio::select! {
        outcome = Box::pin(startup::accept(stream, &shared.startup)) => outcome,
        () = drain::reached(&mut drain, Phase::Ending) => return,
    };
    match outcome {
        Ok(StartupOutcome::Session(handshake)) => {
            drop(place);
            if handshake.database == CONSOLE {
                return Box::pin(console::serve(handshake, shared)).await;
            }
            if let Some(session) = Box::pin(begin(handshake, &shared)).await {
                session.run(&shared).await;
            }
        }
        Ok(StartupOutcome::Cancel(key, stream)) => Box::pin(cancel(&key, stream, &shared)).await,
        Ok(StartupOutcome::Closed) => {}
        Err(error) if error.is_repeated() => tracing::debug!(error = %with_causes(&error), "client refused"),
        Err(error) if error.fault() == Fault::Client => {
            tracing::info!(error = %with_causes(&error), "client refused");
        }
        Err(error) => {
            tracing::warn!(fault = ?error.fault(), error = %with_causes(&error), "client could not be let in");
        }
    }
}

/// Serves somebody who has been let in by other means than on the wire.
pub(crate) async fn serve_admitted(handshake: Box<ClientHandshake>, shared: Arc<Shared>) {
    if let Some(session) = Box::pin(begin(handshake, &shared)).await {
        session.run(&shared).await;
    }
}

/// Wakes the session that is meant, and closes the connection once that session has noticed: whatever its client sends
/// after that is not what it wanted to cancel.
async fn cancel(key: &CancelKey, mut stream: ClientStream, shared: &Shared) {
    let closed = async {
        if let Some(notice) = shared.cancels.cancel(key) {
            notice.taken().await;
        }
        // The client may be gone already.
        let _ = stream.shutdown().await;
    };
    if tokio::time::timeout(CANCEL_NOTICE, closed).await.is_err() {
        tracing::debug!("a session took too long to notice a cancel");
    }
}

/// Begins the session of a client that has authenticated; `None` when it was turned away, and told why.
async fn begin(mut handshake: Box<ClientHandshake>, shared: &Arc<Shared>) -> Option<Session> {
    let place = match shared.places.take(&shared.config(), &handshake.user, &handshake.database) {
        Ok(place) => place,
        Err(full) => {
            tracing::info!(database = %handshake.database, limit = ?full, "client refused");
            refuse(&mut handshake.stream, &full.message()).await;
            return None;
        }
    };
    let name = shared.session_name();
    let mut identity = identity(&handshake, &name, shared);
    let connected = match connect(&mut handshake, &identity.subject, shared).await {
        Ok(connected) => connected,
        Err(refusal) => {
            refuse(&mut handshake.stream, &refusal).await;
            return None;
        }
    };
    let (database, upstream, origin) = connected;
    identity.login_role = upstream.parameters.iter().find(|(name, _)| name == LOGIN_ROLE).map(|(_, role)| role.clone());
    let bell = Arc::<Bell>::default();
    let process_id = upstream.cancel.process_id();
    let (entered, orders) = shared.sessions.enter(&name, connected_as(&identity, process_id), Arc::clone(&bell));
    let (key, cancels) = shared.cancels.register(process_id, handshake.cancel_secret_len, Arc::clone(&bell));
    if let Err(error) = greet(&mut handshake.stream, &upstream.parameters, &key).await {
        tracing::debug!(%error, "client left during the greeting");
        return None;
    }
    if !record_open(shared, &name, &identity) {
        let message = "the proxy cannot keep a record of this session";
        refuse(&mut handshake.stream, &fatal(sqlstate::IO_ERROR, message, None)).await;
        return None;
    }
    let ClientHandshake { user, database: database_name, stream, unread, parameters, brought, .. } = *handshake;
    let settings = parameters.into_iter().map(|(name, _)| name).collect();
    let (client, client_unread) = (stream, unread);
    let session = name.clone();
    let parts =
        Parts { client, client_unread, upstream, origin, bell, cancels, identity, brought, name: session, settings };
    let driver = Driver::new(Arc::clone(shared), database, parts);
    Some(Session { driver, place, entered, orders, user, database: database_name, name })
}

/// A session that has begun, and what its end is recorded by.
struct Session {
    driver: Box<Driver>,
    place: Place,
    entered: Entered,
    orders: watch::Receiver<Order>,
    user: String,
    database: String,
    name: String,
}

impl Session {
    async fn run(self, shared: &Arc<Shared>) {
        let Self { driver, place: _place, entered: _entered, orders, user, database, name } = self;
        metrics::gauge!(SESSIONS).increment(1.0);
        driver.run(orders).await;
        metrics::gauge!(SESSIONS).decrement(1.0);
        let record = Record::SessionClose { session: &name, user: &user, database: &database, reason: "closed" };
        if let Err(error) = shared.audit.record(Timestamp::now(), &record) {
            tracing::error!(%error, "could not record the end of a session");
        }
    }
}

fn identity(handshake: &ClientHandshake, name: &str, shared: &Shared) -> Identity {
    let subject = Subject {
        user: handshake.user.clone(),
        groups: handshake.groups.clone(),
        database: handshake.database.clone(),
        application: parameter(handshake, "application_name").unwrap_or_default().to_owned(),
    };
    let session = name.to_owned();
    let (client_address, public_url) = (handshake.peer.clone(), shared.public_url());
    Identity { subject, session, client_address, public_url, login_role: None }
}

fn connected_as(identity: &Identity, process_id: Option<i32>) -> Connected {
    let Subject { user, database, application, .. } = identity.subject.clone();
    let client_address = identity.client_address.clone();
    Connected { user, database, application, client_address, process_id, since: Timestamp::now() }
}

fn parameter<'a>(handshake: &'a ClientHandshake, wanted: &str) -> Option<&'a str> {
    let found = handshake.parameters.iter().find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.as_str())
}

/// Finds or makes a connection to the upstream; on failure, what the client is told. One that can serve others afterwards
/// comes with what it has to be to do so.
async fn connect(
    handshake: &mut ClientHandshake,
    subject: &Subject,
    shared: &Shared,
) -> Result<(Arc<Database>, Upstream, Option<Origin>), Bytes> {
    let name = handshake.database.clone();
    let gone = || {
        let message = format!("database \"{name}\" does not exist");
        fatal(sqlstate::UNKNOWN_DATABASE, &message, None)
    };
    let config = shared.config();
    let target = &config.database(&handshake.database).ok_or_else(gone)?.upstream;
    let database = shared.database(&handshake.database).ok_or_else(gone)?;
    if !database.is_ready() {
        let message = "the proxy has not read the catalog of the database yet";
        let hint = "Try again in a moment; if it stays so, an operator finds the cause in the proxy's log.";
        return Err(fatal(sqlstate::CANNOT_CONNECT_NOW, message, Some(hint)));
    }
    preset::judge(&handshake.unlisted, subject, &config, &database)?;
    if let Some(upstream) = handshake.upstream.take() {
        return Ok((database, upstream, None));
    }
    let settings = startup::for_upstream(&handshake.parameters, &handshake.user);
    if let Some((upstream, origin)) = database.kept().take(&settings).await {
        return Ok((database, upstream, Some(origin)));
    }
    let mut connected = upstream::connect(target, &settings).await;
    if connected.as_ref().is_err_and(UpstreamError::is_full) && database.kept().make_room().await {
        connected = upstream::connect(target, &settings).await;
    }
    let upstream = connected.map_err(|error| {
        let cause = with_causes(&error);
        tracing::warn!(database = %handshake.database, fault = ?error.fault(), error = %cause, "could not connect upstream");
        let mut out = BytesMut::new();
        error_response(&mut out, &error.fields());
        out.freeze()
    })?;
    let origin = Origin { settings, reported: Reported::new(&upstream.parameters), born: Instant::now() };
    Ok((database, upstream, Some(origin)))
}

/// Ends the handshake of a client.
pub(crate) async fn greet(
    stream: &mut ClientStream,
    parameters: &[(String, String)],
    key: &CancelKey,
) -> std::io::Result<()> {
    let greeting = startup::greeting(parameters, key);
    let sending = async {
        stream.write_all(&greeting).await?;
        stream.flush().await
    };
    tokio::time::timeout(GREETING, sending).await.unwrap_or(Err(std::io::ErrorKind::TimedOut.into()))
}

fn record_open(shared: &Shared, name: &str, identity: &Identity) -> bool {
    let subject = &identity.subject;
    let record = Record::SessionOpen {
        session: name,
        user: &subject.user,
        database: &subject.database,
        client_address: &identity.client_address,
        application: &subject.application,
    };
    let written = shared.audit.record(Timestamp::now(), &record);
    written.is_ok() || shared.config().audit.fail_open
}

/// Says why a client gets no session, and closes the connection.
pub(crate) async fn refuse(stream: &mut ClientStream, error: &[u8]) {
    let sending = async {
        stream.write_all(error).await?;
        stream.shutdown().await
    };
    // The client may be gone already.
    let _ = tokio::time::timeout(GREETING, sending).await;
}
