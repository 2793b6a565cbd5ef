//! Statements that come over the HTTP API: a session like any other, whose client is the proxy itself.
//!
//! Never a way around anything: [`connection`](crate::connection) begins the session, and it is sent what a client on a socket
//! would send. Invariant: the session belongs to the server and not to the call, so that a call which ends early leaves
//! cancelling, and telling how it ended, to the session.

mod conversation;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::connection;
use crate::drain::{self, Phase};
use crate::fault::with_causes;
use crate::review::RequestId;
use crate::server::Shared;
use crate::session::startup::{Admitted, ClientHandshake, admit};
use crate::stream::Stream;
use conversation::Conversation;

/// How many calls of one user may be under way, so that nobody takes the room of all.
const CALLS_OF_USER_MAX: usize = 8;
/// How many calls may be under way.
const CALLS_MAX: usize = 32;
static CALLS: Semaphore = Semaphore::const_new(CALLS_MAX);

/// A statement, and who wants it to run.
pub(crate) struct Call {
    pub(crate) user: String,
    /// Groups that an identity provider says the user is in.
    pub(crate) brought: Vec<String>,
    pub(crate) client_address: String,
    pub(crate) database: String,
    pub(crate) statement: String,
    /// In text format; with them it is one statement, in the extended protocol.
    pub(crate) parameters: Option<Vec<Option<String>>>,
    pub(crate) reason: Option<String>,
}

/// What came of it.
pub(crate) enum Called {
    /// It ran to its end.
    Done(Vec<ResultSet>),
    /// It waits for approval.
    Held(RequestId),
    /// It was refused, or failed.
    Failed(SqlError),
}

/// What one statement gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ResultSet {
    /// The command tag: `UPDATE 1`.
    pub(crate) command: String,
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// The rows: values in text format, as psql prints them.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// How many more rows there were, for which an answer has no room.
    pub(crate) rows_left_out: u64,
}

/// An ErrorResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SqlError {
    /// It ended the session: its severity is FATAL or PANIC.
    pub(crate) is_fatal: bool,
    pub(crate) sqlstate: String,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

/// Why it could not be tried, or nobody knows what came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// There is no such database, or it is not open to the user.
    #[error("there is no such database, or it is not open to you")]
    NoDatabase,
    /// The database cannot be used in this way.
    #[error("clients of this database authenticate themselves to PostgreSQL; connect with one of them")]
    Passthrough,
    /// Too much is under way.
    #[error("too many statements are under way")]
    Busy,
    /// Too much of the same user is.
    #[error("{CALLS_OF_USER_MAX} of your statements are under way, which is as many as one user may have")]
    BusyWithYours,
    /// It moves data in a COPY.
    #[error("COPY from or to the client needs a connection of its own; connect with psql")]
    Copy,
    /// The proxy is about to end, or the connection broke.
    #[error("the session ended before the statement had: look in the audit trail what became of it")]
    Lost,
    /// The proxy cannot open a session.
    #[error("a session could not be opened")]
    Unavailable,
}

/// Where calls meet the server, which owns their sessions.
pub(crate) struct Door {
    visitors: mpsc::Sender<Box<ClientHandshake>>,
    /// How many calls of each user are under way.
    under_way: Mutex<HashMap<String, usize>>,
}

/// A call that is under way, until it is dropped.
struct UnderWay<'a> {
    door: &'a Door,
    user: String,
}

/// The other side of a [`Door`].
pub(crate) struct Visitors(mpsc::Receiver<Box<ClientHandshake>>);

impl Door {
    pub(crate) fn new() -> (Self, Visitors) {
        let (visitors, arriving) = mpsc::channel(CALLS_MAX);
        (Self { visitors, under_way: Mutex::default() }, Visitors(arriving))
    }
}

impl Door {
    fn begin(&self, user: &str) -> Result<UnderWay<'_>, CallError> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let own = under_way.entry(user.to_owned()).or_default();
        if *own >= CALLS_OF_USER_MAX {
            return Err(CallError::BusyWithYours);
        }
        *own += 1;
        Ok(UnderWay { door: self, user: user.to_owned() })
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut under_way = self.door.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = under_way.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                under_way.remove(&self.user);
            }
        }
    }
}

impl Visitors {
    /// Serves those who arrive until the drain begins, then waits for their sessions.
    pub(crate) async fn serve(mut self, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
        let mut sessions = JoinSet::new();
        loop {
            // All are cancel safe.
            tokio::select! {
                Some(visitor) = self.0.recv() => {
                    sessions.spawn(connection::serve_admitted(visitor, Arc::clone(&shared)));
                }
                Some(_) = sessions.join_next() => {}
                () = drain::reached(&mut phase, Phase::Draining) => break,
            }
        }
        drop(self);
        while sessions.join_next().await.is_some() {}
    }
}

/// Has a statement run as if its user had sent it from a client, and waits for its end.
///
/// # Errors
/// [`CallError`].
pub(crate) async fn run(call: Call, shared: &Shared) -> Result<Called, CallError> {
    let _turn = shared.door.begin(&call.user)?;
    let _room = CALLS.try_acquire().map_err(|_full| CallError::Busy)?;
    let unavailable = |error: std::io::Error| {
        tracing::error!(%error, "could not open a session for a call of the API");
        CallError::Unavailable
    };
    let (ours, theirs) = UnixStream::pair().map_err(unavailable)?;
    let Call { user, brought, client_address: peer, database, statement, parameters, reason } = call;
    let mut settings = BTreeMap::from([
        ("application_name".to_owned(), "countersign api".to_owned()),
        ("countersign.mode".to_owned(), "resubmit".to_owned()),
    ]);
    settings.extend(reason.map(|reason| ("countersign.reason".to_owned(), reason)));
    let who = Admitted { user, brought, database, parameters: settings, peer };
    let handshake = admit(Stream::Unix(theirs), who, &shared.startup).await.map_err(|error| {
        tracing::debug!(error = %with_causes(&error), "a call of the API was refused");
        let refusal = error.refusal();
        match refusal.map_or("", |refusal| refusal.sqlstate) {
            "3D000" => CallError::NoDatabase,
            "28000" | "28P01" => CallError::Passthrough,
            _ => CallError::Unavailable,
        }
    })?;
    shared.door.visitors.send(handshake).await.map_err(|_closed| CallError::Lost)?;
    Conversation::new(ours, shared.cancels.clone()).run(&statement, parameters.as_deref()).await
}
