//! Passing the trail on: each sink follows the files and sends what is on stable storage to one receiver, in order.
//!
//! Never holds anything up: the files are the queue, and a receiver that is away is tried again until it is there. What it
//! has missed because the segments are gone, or refuses, is counted and told. Invariant: a record is passed on only after
//! it is on stable storage, and at least once while its segment is kept.

mod http;
mod position;
mod stdout;
mod syslog;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use self::position::Tail;
use crate::audit::{TrailAnchor, line_hash};
use crate::config::{SinkConfig, SinkTarget};
use crate::fault::with_causes;
use crate::store::{Store, StoreError};
use crate::telemetry::{AUDIT_SINK_DROPPED, AUDIT_SINK_FAILURES, AUDIT_SINK_LAG};

/// Most records that are sent at once.
const BATCH_RECORDS: usize = 512;
/// After so many bytes no record is added to a batch.
const BATCH_BYTES: usize = 1 << 20;
/// How long after a failure it is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A line of the trail, and what sinks want to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) seq: u64,
    pub(super) at: String,
    pub(super) kind: String,
    /// Without its line feed.
    pub(super) text: String,
}

/// What every line begins with.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    at: String,
    kind: String,
}

impl Line {
    fn read(text: String) -> Option<Self> {
        let Head { seq, at, kind } = serde_json::from_str(&text).ok()?;
        Some(Self { seq, at, kind, text })
    }

    fn anchor(&self) -> TrailAnchor {
        TrailAnchor { seq: self.seq, hash: hex::encode(line_hash(self.text.as_bytes())), line: self.text.clone() }
    }

    /// What is said in the place of records that are lost to a sink.
    fn of_lost(lost: u64, next: &Self) -> Self {
        let (seq, at, kind) = (next.seq, next.at.clone(), "sink_gap".to_owned());
        let text = format!("{{\"kind\":\"{kind}\",\"at\":\"{at}\",\"lost\":{lost},\"before\":{seq}}}");
        Self { seq, at, kind, text }
    }
}

/// Why a batch could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SinkError {
    /// The receiver could not be reached, or the connection was lost.
    #[error("could not send")]
    Io(#[from] io::Error),
    /// As [`SinkError::Io`], over HTTP.
    #[error("could not send")]
    Http(#[from] reqwest::Error),
    /// The shared store could not keep it.
    #[error("could not keep checkpoints")]
    Store(#[from] StoreError),
    /// It answered, and may take it later.
    #[error("the receiver answered {0}")]
    Later(u16),
    /// It answered that it will never take this.
    #[error("the receiver refused records with {0}")]
    Refused(u16),
}

/// How records get to one receiver.
enum Transport {
    Stdout(stdout::Stdout),
    Syslog(Box<syslog::Syslog>),
    Http(Box<http::Http>),
    Store(Arc<dyn Store>),
}

impl Transport {
    fn new(config: &SinkConfig) -> Result<Self, SinkError> {
        Ok(match &config.to {
            SinkTarget::Stdout => Self::Stdout(stdout::Stdout::start()?),
            SinkTarget::Syslog(address) => Self::Syslog(Box::new(syslog::Syslog::new(address.clone()))),
            SinkTarget::Otlp(_) | SinkTarget::Webhook(_) => Self::Http(Box::new(http::Http::new(config)?)),
        })
    }

    /// Sends a batch; how many of it the receiver has dropped.
    async fn send(&mut self, lines: &[Line]) -> Result<u64, SinkError> {
        match self {
            Self::Stdout(stdout) => stdout.send(lines).await.map(|()| 0),
            Self::Syslog(syslog) => syslog.send(lines).await.map(|()| 0),
            Self::Http(http) => http.send(lines).await,
            Self::Store(store) => Ok(store.anchor(lines.iter().map(Line::anchor).collect()).await.map(|()| 0)?),
        }
    }
}

/// One sink and how far it is.
pub(crate) struct Sink {
    config: SinkConfig,
    /// What takes the records in the place of that which the configuration names.
    store: Option<Arc<dyn Store>>,
    /// Number of the last record on stable storage.
    synced: watch::Receiver<u64>,
    tail: Option<Tail>,
}

impl Sink {
    /// A sink of the trail in `dir`, which goes on where it was when the process before ended. `synced` tells how far the trail
    /// is on stable storage.
    pub(crate) fn new(config: SinkConfig, dir: &Path, synced: watch::Receiver<u64>) -> Self {
        let tail = Tail::resume(dir, &config.name);
        Self { config, store: None, synced, tail: Some(tail) }
    }

    /// Has a store keep the checkpoints of the trail.
    pub(crate) fn anchoring(store: Arc<dyn Store>, dir: &Path, synced: watch::Receiver<u64>) -> Self {
        // No name of a configured sink has a dot.
        let (name, kinds) = ("store.anchors".to_owned(), vec!["checkpoint".to_owned()]);
        let config = SinkConfig { name, to: SinkTarget::Stdout, kinds, authorization: None, secret: None, ca: None };
        Self { store: Some(store), ..Self::new(config, dir, synced) }
    }

    /// Sends until `stop` completes or the trail is closed. What has not been sent by then is sent after the next start.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        // Cancel safe: a batch that was not confirmed is sent again.
        tokio::select! {
            () = stop => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let transport =
            self.store.take().map_or_else(|| Transport::new(&self.config), |store| Ok(Transport::Store(store)));
        let mut transport = match transport {
            Ok(transport) => transport,
            Err(error) => {
                tracing::error!(sink = self.config.name, error = with_causes(&error), "an audit sink cannot be used");
                return;
            }
        };
        loop {
            let Some(batch) = self.read().await else { return };
            if !batch.lines.is_empty() {
                self.deliver(&mut transport, &batch.lines).await;
            }
            let Some(tail) = &self.tail else { return };
            if let Err(error) = tail.keep() {
                tracing::warn!(sink = self.config.name, %error, "could not note how far an audit sink is");
            }
            let (next, synced) = (tail.next_seq(), *self.synced.borrow_and_update());
            count_lag(&self.config.name, next, synced);
            if next > synced && self.synced.changed().await.is_err() {
                return;
            }
        }
    }

    /// The next records; `None` when nothing can be read any more.
    async fn read(&mut self) -> Option<Batch> {
        let up_to = *self.synced.borrow();
        let mut tail = self.tail.take()?;
        let reading = tokio::task::spawn_blocking(move || {
            let read = tail.read(up_to, BATCH_RECORDS, BATCH_BYTES);
            (tail, read)
        });
        let (tail, read) = reading.await.ok()?;
        let next = tail.next_seq();
        self.tail = Some(tail);
        match read {
            Ok(read) => Some(self.wanted(read)),
            Err(error) => {
                tracing::error!(sink = self.config.name, %error, "an audit sink cannot read the trail");
                self.wait(RETRY.0, next).await;
                Some(Batch { lines: Vec::new() })
            }
        }
    }

    /// What of it this sink passes on, with a word about what is lost before it.
    fn wanted(&self, read: position::Read) -> Batch {
        let gap = (read.lost > 0).then(|| {
            self.dropped(read.lost, "segments were removed before they were sent");
            read.lines.first().map(|next| Line::of_lost(read.lost, next))
        });
        let kinds = &self.config.kinds;
        let wanted = read.lines.into_iter().filter(|line| kinds.is_empty() || kinds.contains(&line.kind));
        Batch { lines: gap.flatten().into_iter().chain(wanted).collect() }
    }

    /// Sends a batch, however often it takes.
    async fn deliver(&mut self, transport: &mut Transport, lines: &[Line]) {
        let mut patience = RETRY.0;
        loop {
            let error = match transport.send(lines).await {
                Ok(0) => return,
                Ok(dropped) => return self.dropped(dropped, "the receiver has rejected them"),
                Err(SinkError::Refused(status)) => {
                    tracing::error!(sink = self.config.name, status, "the receiver of an audit sink refused records");
                    return self.dropped(lines.len() as u64, "the receiver has refused them");
                }
                Err(error) => error,
            };
            metrics::counter!(AUDIT_SINK_FAILURES, "sink" => self.config.name.clone()).increment(1);
            tracing::warn!(sink = self.config.name, error = with_causes(&error), "an audit sink does not get through");
            self.wait(patience, lines.first().map_or(0, |line| line.seq)).await;
            patience = (patience * 2).min(RETRY.1);
        }
    }

    /// Waits for a time, and has the metric tell meanwhile how far the receiver is behind.
    async fn wait(&mut self, patience: Duration, next: u64) {
        let (name, mut synced) = (self.config.name.clone(), self.synced.clone());
        let counting = async {
            while synced.changed().await.is_ok() {
                count_lag(&name, next, *synced.borrow_and_update());
            }
            std::future::pending::<()>().await;
        };
        // It only ends by the time: both are cancel safe.
        let _over = tokio::time::timeout(patience, counting).await;
    }

    fn dropped(&self, records: u64, why: &'static str) {
        tracing::error!(sink = self.config.name, records, why, "an audit sink has lost records");
        metrics::counter!(AUDIT_SINK_DROPPED, "sink" => self.config.name.clone()).increment(records);
    }
}

fn count_lag(sink: &str, next: u64, synced: u64) {
    let lag = synced.saturating_add(1).saturating_sub(next);
    metrics::gauge!(AUDIT_SINK_LAG, "sink" => sink.to_owned()).set(lag as f64);
}

/// What is sent at once.
struct Batch {
    lines: Vec<Line>,
}

#[cfg(test)]
mod tests;
