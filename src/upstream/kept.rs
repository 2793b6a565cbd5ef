//! Connections to an upstream that wait for the next client of the same user.
//!
//! Never hands on what another client has left: a connection is kept once `DISCARD ALL` has been answered, and goes only to a
//! client that would open the same one, with the same settings and the same name in `application_name`.
//! Invariant: no more than [`LIMIT`](Kept::new) wait, none longer than [`IDLE_MAX`], none is older than [`AGE_MAX`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use countersign_protocol::frontend;
use tokio::sync::RwLock;

use super::wire::{self, Wire};
use super::{Upstream, UpstreamCancel, UpstreamError};
use crate::stream::UpstreamStream;

/// How long a connection waits.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How old a connection becomes; settings of roles and databases are read once, when it is made.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// One that has waited for longer is asked whether it is still there.
const FRESH: Duration = Duration::from_secs(2);
/// How long an upstream may take to forget a client.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client waits for connections to answer that they are there, however many are asked.
const ASKING_MAX: Duration = Duration::from_secs(2);

/// Returns a row, which is unexpected, when the session has a schema of temporary tables, be it empty.
const NOT_UNLESS_CLEAN: &str = "SELECT WHERE pg_catalog.pg_my_temp_schema() <> 0::pg_catalog.oid";

/// What was asked for when a connection was opened.
pub(crate) type Settings = Vec<(String, String)>;

/// What tells a connection from others of the same database, and what its server reported at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) settings: Settings,
    pub(crate) reported: Reported,
    pub(crate) born: Instant,
}

/// What a server reported at its start, in one piece: each session has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reported(Box<str>);

impl Reported {
    pub(crate) fn new(parameters: &[(String, String)]) -> Self {
        // PostgreSQL ends texts with that byte, so that there is none in them.
        Self(parameters.iter().flat_map(|(name, value)| [name, "\0", value, "\0"]).collect())
    }

    fn contains(&self, name: &str, value: &str) -> bool {
        self.pairs().any(|pair| pair == (name, value))
    }

    fn parameters(&self) -> Vec<(String, String)> {
        self.pairs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.split_terminator('\0');
        std::iter::from_fn(move || texts.next().zip(texts.next()))
    }
}

struct Waiting {
    origin: Origin,
    stream: UpstreamStream,
    cancel: UpstreamCancel,
    since: Instant,
}

/// The connections of one database.
pub(crate) struct Kept {
    limit: usize,
    waiting: Mutex<Vec<Waiting>>,
    /// Held while one is on its way here.
    arriving: RwLock<()>,
}

impl Kept {
    /// Keeps so many at most.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, waiting: Mutex::default(), arriving: RwLock::default() }
    }

    /// How many it keeps at most.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The one that was used last of those that were opened with these settings, if it is still there. When an upstream does
    /// not answer in time, none that would have to be asked is kept any longer.
    pub(crate) async fn take(&self, settings: &Settings) -> Option<(Upstream, Origin)> {
        let until = Instant::now() + ASKING_MAX;
        loop {
            let waiting = self.take_one(settings)?;
            let is_asked = waiting.since.elapsed() > FRESH;
            match waiting.wake(is_asked.then_some(until)).await {
                Awoken::Here(found) => return Some(*found),
                Awoken::Gone => {}
                Awoken::Silent => self.lock().retain(|kept| kept.since.elapsed() <= FRESH),
            }
        }
    }

    fn take_one(&self, settings: &Settings) -> Option<Waiting> {
        let mut waiting = self.lock();
        let place = waiting.iter().rposition(|kept| kept.origin.settings == *settings && !kept.is_over())?;
        Some(waiting.remove(place))
    }

    /// Has an upstream that owes nothing forget its client, and keeps it.
    pub(crate) async fn give_back(&self, upstream: Upstream, origin: Origin) {
        if self.limit == 0 || origin.born.elapsed() > AGE_MAX {
            return part(upstream).await;
        }
        let _arriving = self.arriving.read().await;
        let forgotten = tokio::time::timeout(PATIENCE, forget(upstream, &origin)).await;
        let Ok(Ok(Upstream { stream, cancel, .. })) = forgotten else {
            tracing::debug!("an upstream could not be kept");
            return;
        };
        let mut waiting = self.lock();
        waiting.retain(|kept| !kept.is_over());
        if waiting.len() >= self.limit {
            // The one that has waited longest.
            waiting.remove(0);
        }
        waiting.push(Waiting { origin, stream, cancel, since: Instant::now() });
    }

    /// Closes those that have waited for too long.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|kept| !kept.is_over());
    }

    /// Closes all, with those that are on their way here, and waits until their server has the room; whether there were any.
    pub(crate) async fn make_room(&self) -> bool {
        let _nothing_arrives = self.arriving.write().await;
        let closing: Vec<Waiting> = self.lock().drain(..).collect();
        let any = !closing.is_empty();
        for Waiting { stream, cancel, .. } in closing {
            part(Upstream { stream, unread: BytesMut::new(), parameters: Vec::new(), cancel }).await;
        }
        any
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a connection that has waited.
enum Awoken {
    Here(Box<(Upstream, Origin)>),
    /// Its upstream has closed it, or said something.
    Gone,
    /// Its upstream does not answer.
    Silent,
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.since.elapsed() > IDLE_MAX || self.origin.born.elapsed() > AGE_MAX
    }

    /// Asks whether it is still there if there is a time until when.
    async fn wake(self, asked: Option<Instant>) -> Awoken {
        let Self { origin, stream, cancel, .. } = self;
        if !stream.is_silent() {
            return Awoken::Gone;
        }
        let mut upstream =
            Upstream { stream, unread: BytesMut::new(), parameters: origin.reported.parameters(), cancel };
        if let Some(until) = asked {
            upstream = match tokio::time::timeout_at(until.into(), exchange(upstream, "", &origin)).await {
                Ok(Ok(upstream)) => upstream,
                Ok(Err(_broken)) => return Awoken::Gone,
                Err(_elapsed) => return Awoken::Silent,
            };
        }
        Awoken::Here(Box::new((upstream, origin)))
    }
}

/// Tells an upstream that its client leaves, and waits until it has.
async fn part(upstream: Upstream) {
    let Upstream { stream, unread, .. } = upstream;
    let mut wire = Wire { stream, unread };
    let mut terminate = BytesMut::new();
    frontend::put_empty(&mut terminate, frontend::tag::TERMINATE);
    let parting = async {
        wire.send(&terminate).await?;
        while wire.receive().await.is_ok() {}
        Ok::<(), UpstreamError>(())
    };
    // It notices the end of the connection in any case.
    let _ = tokio::time::timeout(PATIENCE, parting).await;
}

/// Who has made temporary tables leaves their schema behind, which the next client would find in its search path.
async fn forget(upstream: Upstream, origin: &Origin) -> Result<Upstream, UpstreamError> {
    let forgotten = exchange(upstream, "DISCARD ALL", origin).await?;
    exchange(forgotten, NOT_UNLESS_CLEAN, origin).await
}

/// Has it answer a Query that returns no rows. What it then reports of itself must be what it has reported at its start.
async fn exchange(upstream: Upstream, text: &str, origin: &Origin) -> Result<Upstream, UpstreamError> {
    let Upstream { stream, unread, parameters, cancel } = upstream;
    let mut wire = Wire { stream, unread };
    let mut query = BytesMut::new();
    frontend::put_query(&mut query, text);
    wire.send(&query).await?;
    loop {
        match wire.receive().await? {
            (b'C' | b'I' | b'A' | b'T', _) => {}
            (b'S', body) => {
                let (name, value) = wire::parameter_status(&body)?;
                if !origin.reported.contains(&name, &value) {
                    return Err(UpstreamError::Protocol(
                        "an upstream that was to be kept reports other settings than before",
                    ));
                }
            }
            (b'Z', body) if body.as_ref() == b"I" => break,
            _ => return Err(UpstreamError::Protocol("unexpected answer of an upstream that was to be kept")),
        }
    }
    if !wire.unread.is_empty() {
        return Err(UpstreamError::Protocol("unexpected message behind ReadyForQuery"));
    }
    Ok(Upstream { stream: wire.stream, unread: BytesMut::new(), parameters, cancel })
}

#[cfg(test)]
mod tests;
