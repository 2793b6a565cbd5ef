//! The audit trail: append-only segments of JSON lines, each carrying the hash of the line before it.
//!
//! Never decides anything and never reads SQL: it writes down what it is given, in the order it is given.
//! Invariant: [`Audit::record_durable`] returns `Ok` only after its record, and all before it, are on stable storage.

mod frequent;
mod history;
mod keeper;
mod literals;
mod output;
mod queue;
mod read;
mod record;
mod segment;
mod signing;
mod sink;
mod verify;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::config::SinkConfig;
use crate::review::Parameter;
use crate::store::Store;

#[cfg(test)]
pub(crate) use history::history_of;
pub use history::{Flaw, FlawKind, History, history};
pub use literals::{Literals, LiteralsKey, Told};
pub use output::Output;
use queue::Queue;
pub use read::{Entry, Follower, InChain, Newest, Question, in_chain, last, newest, search, tail};
pub use record::{FORMAT, KINDS, Record, VerdictId};
pub use signing::{CHECKPOINT_RECORDS, PublicKey, Signer, SigningKey};
pub(crate) use sink::Sink;
pub use verify::{Anchor, Fault, Finding, Known, Report, verify};

/// Size at which a segment is closed and the next one begun.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// How long a record waits for a checkpoint over it when nothing else is configured.
pub const CHECKPOINT_AFTER: Duration = Duration::from_secs(60);

/// SHA-256 of a line without its line feed.
type LineHash = [u8; 32];

/// What the first line of a trail has in place of the hash of the line before it.
const NO_HASH: LineHash = [0; 32];

fn line_hash(line: &[u8]) -> LineHash {
    Sha256::digest(line).into()
}

/// Why the audit trail could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory or a segment could not be read or created.
    #[error("could not open audit trail \"{}\"", path.display())]
    Open {
        /// What was being opened.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process writes to the same directory.
    #[error("audit trail \"{}\" is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A record could not be encoded.
    #[error("could not encode audit record")]
    Encode(#[source] serde_json::Error),
    /// Writing has failed; nothing is accepted until it succeeds again.
    #[error("could not write audit trail")]
    Failed,
    /// The disk does not keep up: more than the bounded queue holds is waiting.
    #[error("audit queue is full")]
    QueueFull,
}

/// How a trail is written.
#[derive(Debug)]
pub struct Options {
    /// Size at which a segment is closed.
    pub segment_bytes_max: u64,
    /// What signs checkpoints; without it there are none.
    pub signer: Option<Signer>,
    /// How long a record may wait for a checkpoint over it; [`CHECKPOINT_RECORDS`] records never wait.
    pub checkpoint_after: Duration,
    /// How long a closed segment is kept; without it, for ever.
    pub retention: Option<Duration>,
    /// What hashes the literals of statements where they are not kept.
    pub literals_key: LiteralsKey,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: SEGMENT_BYTES_MAX,
            signer: None,
            checkpoint_after: CHECKPOINT_AFTER,
            retention: None,
            literals_key: LiteralsKey::default(),
        }
    }
}

/// A checkpoint of a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailAnchor {
    /// Number of the record.
    pub seq: u64,
    /// SHA-256 of its line, hexadecimal.
    pub hash: String,
    /// The line.
    pub line: String,
}

/// Handle to the one writer of a trail. Dropping it writes and syncs what is queued.
#[derive(Debug)]
pub struct Audit {
    dir: PathBuf,
    queue: Arc<Queue>,
    literals_key: LiteralsKey,
    /// Number of the last record on stable storage.
    synced: watch::Receiver<u64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Audit {
    /// Opens the trail in `dir`, making the directory if needed, and starts its writer.
    ///
    /// The end of the trail is checked; what is torn or damaged there is moved aside and written down as a `gap` record.
    ///
    /// # Errors
    /// When the directory cannot be read or written, or another process holds it.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, AuditError> {
        Self::open_with(dir, Options::default(), now)
    }

    /// As [`Audit::open`], signed, or with segments of another size.
    ///
    /// # Errors
    /// As [`Audit::open`].
    pub fn open_with(dir: &Path, options: Options, now: Timestamp) -> Result<Self, AuditError> {
        let opened = segment::open(dir)?;
        let queue = Arc::new(Queue::default());
        for gap in &opened.gaps {
            tracing::error!(segment = %gap.segment, reason = %gap.reason, "audit trail was damaged");
            queue.push(now, &gap.record(), None)?;
        }
        let (closed, closings) = std::sync::mpsc::channel();
        let keeper = keeper::Keeper::new(dir, options.retention, Arc::clone(&queue));
        let literals_key = options.literals_key.clone();
        let (told, synced) = watch::channel(opened.next_seq.saturating_sub(1));
        let mut writer = writer::Writer::new(dir, opened, options, writer::Tells { closed, synced: told });
        let source = Arc::clone(&queue);
        let spawned = |source| AuditError::Open { path: dir.to_owned(), source };
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = vec![
            named("audit").spawn(move || writer.run(&source)).map_err(spawned)?,
            named("audit-keeper").spawn(move || keeper.run(&closings)).map_err(spawned)?,
        ];
        Ok(Self { dir: dir.to_owned(), queue, literals_key, synced, threads })
    }

    /// Where its segments are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What a record tells of a statement on a database whose literals are kept so.
    #[must_use]
    pub fn told<'a>(&self, literals: Literals, statement: &'a str, parameters: &'a [Parameter]) -> Told<'a> {
        self.literals_key.told(literals, statement, parameters)
    }

    /// Queues a record; it reaches the file within milliseconds and stable storage within about a second.
    ///
    /// # Errors
    /// When writing has failed before or the queue is full: the caller refuses the statement unless `audit.fail_open`.
    pub fn record(&self, at: Timestamp, record: &Record<'_>) -> Result<(), AuditError> {
        self.queue.push(at, record, None)
    }

    /// Queues a record, which the writer then hurries to put on stable storage.
    ///
    /// # Errors
    /// As [`Audit::record`].
    pub fn record_hurried(&self, at: Timestamp, record: &Record<'_>) -> Result<Written, AuditError> {
        let (done, written) = tokio::sync::oneshot::channel();
        self.queue.push(at, record, Some(done))?;
        Ok(Written(written))
    }

    /// Queues a record and waits until it is on stable storage.
    ///
    /// # Errors
    /// When it cannot be queued or written.
    ///
    /// # Cancel safety
    /// When the future is dropped the record may or may not be written.
    pub async fn record_durable(&self, at: Timestamp, record: &Record<'_>) -> Result<(), AuditError> {
        self.record_hurried(at, record)?.wait().await
    }

    /// Waits until everything that was queued before is on stable storage.
    ///
    /// # Errors
    /// When it could not be written.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing.
    pub async fn synced(&self) -> Result<(), AuditError> {
        let (done, written) = tokio::sync::oneshot::channel();
        self.queue.wait(done)?;
        Written(written).wait().await
    }

    /// Whether records are accepted: `Err` from a write that has failed until one that succeeds.
    ///
    /// # Errors
    /// [`AuditError::Failed`] when a write has failed.
    pub fn health(&self) -> Result<(), AuditError> {
        self.queue.health()
    }

    /// How often writing has failed so far: what was accepted before the last time may be lost.
    #[must_use]
    pub(crate) fn losses(&self) -> u64 {
        self.queue.losses()
    }

    /// Lets it fail, as when the disk is full.
    #[cfg(test)]
    pub(crate) fn fail(&self) {
        self.queue.fail();
    }

    /// A trail without a writer: what is queued stays there until [`Audit::written`] takes it, or is lost with it.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        let literals_key = LiteralsKey::default();
        let synced = watch::channel(0).1;
        Self { dir: PathBuf::new(), queue: Arc::default(), literals_key, synced, threads: Vec::new() }
    }

    /// Writes what is queued in a detached trail, and tells those who wait for it; the records, without their place in the
    /// chain.
    #[cfg(test)]
    pub(crate) fn written(&self) -> Vec<String> {
        self.queue.take_all()
    }

    /// What passes records on to these receivers, once it is run.
    pub(crate) fn sinks(&self, configs: &[SinkConfig]) -> Vec<Sink> {
        configs.iter().map(|config| Sink::new(config.clone(), &self.dir, self.synced.clone())).collect()
    }

    /// What has the store keep checkpoints, if it is one that does.
    pub(crate) fn anchoring(&self, store: &Arc<dyn Store>) -> Option<Sink> {
        store.keeps_anchors().then(|| Sink::anchoring(Arc::clone(store), &self.dir, self.synced.clone()))
    }

    /// Bytes waiting to be written.
    #[must_use]
    pub fn lag_bytes(&self) -> usize {
        self.queue.lag_bytes()
    }
}

/// A record on its way to stable storage.
#[derive(Debug)]
pub struct Written(tokio::sync::oneshot::Receiver<()>);

impl Written {
    /// Waits until the record, and all before it, are on stable storage.
    ///
    /// # Errors
    /// [`AuditError::Failed`] when it could not be written.
    ///
    /// # Cancel safety
    /// When the future is dropped the record may or may not be written.
    pub async fn wait(self) -> Result<(), AuditError> {
        self.0.await.map_err(|_closed| AuditError::Failed)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread of the audit trail panicked");
            }
        }
    }
}

/// Every line of a trail.
#[cfg(test)]
pub(crate) fn lines(dir: &Path) -> Vec<String> {
    let segment = |number| std::io::BufRead::lines(segment::reader(dir, number).unwrap().1);
    segment::list(dir).unwrap().into_iter().flat_map(segment).map(Result::unwrap).collect()
}

#[cfg(test)]
mod tests;
