//! What becomes of closed segments: they are compressed, and removed when they are older than `retention`.
//!
//! Never touches the segment that is written to, and never removes one before the trail says, durably, which records go with
//! it. Invariant: at every moment each record that was not retired is in a file that is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::read::began;
use super::segment::{self, Link};
use super::{Record, line_hash};

/// How often retention is looked at when no segment is closed meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// What is compressed between two looks at whether the trail is being closed.
const CHUNK_BYTES: usize = 1 << 20;

pub(super) struct Keeper {
    dir: PathBuf,
    retention: Option<Duration>,
    queue: Arc<Queue>,
}

/// Why there was nothing more to do.
enum Stop {
    Closing,
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Keeper {
    pub(super) fn new(dir: &Path, retention: Option<Duration>, queue: Arc<Queue>) -> Self {
        Self { dir: dir.to_owned(), retention, queue }
    }

    /// Works after each closed segment until the writer is gone.
    pub(super) fn run(&self, closed: &Receiver<()>) {
        loop {
            match self.keep(Timestamp::now()) {
                Ok(()) => {}
                Err(Stop::Closing) => return,
                // Nothing is lost: the segments stay as they are, and the next look tries again.
                Err(Stop::Failed(error)) => tracing::error!(%error, "could not tidy up closed audit segments"),
            }
            match closed.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn keep(&self, now: Timestamp) -> Result<(), Stop> {
        let mut segments = segment::list(&self.dir)?;
        // The last one is written to.
        segments.pop();
        for &number in &segments {
            if segment::path(&self.dir, number).exists() {
                self.compress(number)?;
            }
        }
        let Some(retention) = self.retention else { return Ok(()) };
        for number in segments {
            let ended = began(&self.dir, number + 1)?.unwrap_or(Timestamp::MAX);
            if now.duration_since(ended).unsigned_abs() < retention || now < ended {
                break;
            }
            self.retire(now, number)?;
        }
        Ok(())
    }

    fn compress(&self, number: u32) -> Result<(), Stop> {
        let plain = segment::path(&self.dir, number);
        let unfinished = self.dir.join(format!("{number:06}.jsonl.gz.unfinished"));
        let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let mut encoder = GzEncoder::new(target, Compression::fast());
        let mut source = io::BufReader::with_capacity(CHUNK_BYTES, File::open(&plain)?);
        loop {
            let chunk = source.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            encoder.write_all(chunk)?;
            let read = chunk.len();
            source.consume(read);
            if self.queue.is_closed() {
                return Err(Stop::Closing);
            }
        }
        encoder.finish()?.sync_all()?;
        fs::rename(&unfinished, segment::packed_path(&self.dir, number))?;
        segment::sync_dir(&self.dir)?;
        fs::remove_file(&plain)?;
        Ok(())
    }

    fn retire(&self, now: Timestamp, number: u32) -> Result<(), Stop> {
        let (name, lines) = segment::reader(&self.dir, number)?;
        let ends = ends(lines)?;
        let record = Record::Retired {
            segment: &name,
            first_seq: ends.first_seq,
            last_seq: ends.last_seq,
            last_hash: &ends.last_hash,
        };
        let (done, written) = oneshot::channel();
        let queued = self.queue.push(now, &record, Some(done));
        if queued.is_err() || written.blocking_recv().is_err() {
            let failed = || Stop::Failed(io::Error::other("the trail cannot be written"));
            return Err(if self.queue.is_closed() { Stop::Closing } else { failed() });
        }
        fs::remove_file(self.dir.join(&name))?;
        segment::sync_dir(&self.dir)?;
        tracing::info!(
            segment = name,
            records = ends.last_seq + 1 - ends.first_seq,
            "audit segment is past its retention"
        );
        Ok(())
    }
}

/// Where a segment begins and ends in the chain.
struct Ends {
    first_seq: u64,
    last_seq: u64,
    last_hash: String,
}

fn ends(mut lines: impl BufRead) -> io::Result<Ends> {
    let (mut line, mut first, mut last) = (Vec::new(), None, None);
    while lines.read_until(b'\n', &mut line)? > 0 {
        line.pop();
        let link: Link = serde_json::from_slice(&line)?;
        first.get_or_insert(link.seq);
        last = Some((link.seq, line_hash(&line)));
        line.clear();
    }
    let (Some(first_seq), Some((last_seq, last_hash))) = (first, last) else {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the segment is empty"));
    };
    Ok(Ends { first_seq, last_seq, last_hash: hex::encode(last_hash) })
}
