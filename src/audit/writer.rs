//! The one thread that writes the trail.
//!
//! Never drops a record silently: a write that fails makes the whole trail refuse records until one succeeds, and that one
//! says how many are lost.
//! Invariant: sequence numbers grow by one and each line carries the hash of the line before it, over segments and restarts.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::queue::{Batch, Queue, Taken};
use super::record::encode_body;
use super::segment::{self, Head, Opened};
use super::signing::{CHECKPOINT_RECORDS, Signer};
use super::{LineHash, Options, line_hash};
use crate::crash_point;

/// How long written records may wait for a sync that nobody asked for.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// Bytes of a line before the record itself, and its line feed, at most.
const PLACE_BYTES_MAX: usize = r#"{"seq":18446744073709551615,"prev":"","#.len() + 64 + 1;

/// Age at which a segment is closed, so that what is past its retention does not stay for the sake of what is not.
const SEGMENT_AGE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// How long after a write that has failed the next one is tried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long the writer sleeps when nothing comes.
const IDLE: Duration = Duration::from_secs(3600);

/// Records that no checkpoint vouches for yet.
struct Unsigned {
    signer: Option<Signer>,
    /// How long a record may wait for one; the first ones wait for nothing, so that no trail is without a signature.
    after: Duration,
    first: u64,
    since: Option<Instant>,
}

/// Whom the writer tells what.
pub(super) struct Tells {
    /// That a segment was closed.
    pub(super) closed: Sender<()>,
    /// Number of the last record on stable storage.
    pub(super) synced: watch::Sender<u64>,
}

pub(super) struct Writer {
    dir: PathBuf,
    segment_bytes_max: u64,
    number: u32,
    file: File,
    size: u64,
    /// When its first record was made.
    began: Option<Timestamp>,
    tells: Tells,
    head_file: File,
    next_seq: u64,
    last_hash: LineHash,
    out: Vec<u8>,
    unsynced_since: Option<Instant>,
    unsigned: Unsigned,
    checkpoint_after: Duration,
    // Held for as long as the writer lives: keeps a second process out.
    lock: File,
}

impl Writer {
    pub(super) fn new(dir: &Path, opened: Opened, options: Options, tells: Tells) -> Self {
        let Options { segment_bytes_max, signer, checkpoint_after, retention: _, literals_key: _ } = options;
        Self {
            dir: dir.to_owned(),
            segment_bytes_max,
            unsigned: Unsigned { signer, after: Duration::ZERO, first: opened.next_seq, since: None },
            checkpoint_after,
            number: opened.number,
            file: opened.file,
            size: opened.size,
            began: opened.began,
            tells,
            head_file: opened.head_file,
            next_seq: opened.next_seq,
            last_hash: opened.last_hash,
            out: Vec::new(),
            unsynced_since: None,
            lock: opened.lock,
        }
    }

    /// Writes until the queue is closed.
    pub(super) fn run(&mut self, queue: &Queue) {
        let mut batch = Batch::default();
        loop {
            let written = match queue.take(&mut batch, self.patience()) {
                Taken::Records => self.write_batch(&batch),
                Taken::Nothing => self.settle(),
                Taken::Closed => {
                    if let Err(error) = self.sign().and_then(|()| self.flush()).and_then(|()| self.sync()) {
                        tracing::error!(error = %error, "could not sync audit trail");
                    }
                    return;
                }
            };
            metrics::gauge!(crate::telemetry::AUDIT_LAG_BYTES).set(queue.lag_bytes() as f64);
            if let Err(error) = written {
                tracing::error!(error = %error, "could not write audit trail; statements are refused");
                let lost = batch.ends.len() + queue.fail();
                batch.waiters.clear();
                if !self.recover(queue, lost, &error) {
                    return;
                }
                tracing::info!("the audit trail can be written again");
                continue;
            }
            batch.waiters.drain(..).for_each(|waiter| {
                // Whoever no longer waits does not need to know.
                let _gone = waiter.send(());
            });
        }
    }

    /// Tries until the trail can be written again; `false` when it was closed meanwhile.
    fn recover(&mut self, queue: &Queue, lost: usize, error: &io::Error) -> bool {
        let reason = format!("up to {lost} records could not be written: {error}");
        while !queue.closed_within(RETRY_AFTER) {
            match self.reopen(&reason) {
                Ok(()) => {
                    queue.recovered();
                    return true;
                }
                Err(error) => tracing::debug!(%error, "the audit trail cannot be written yet"),
            }
        }
        false
    }

    /// Goes on behind what is whole in the files, as at a start, with a record of what is lost.
    fn reopen(&mut self, reason: &str) -> io::Result<()> {
        self.out.clear();
        self.unsynced_since = None;
        let opened = segment::open_locked(&self.dir, self.head_file.try_clone()?, self.lock.try_clone()?)?;
        (self.number, self.file, self.size, self.began) = (opened.number, opened.file, opened.size, opened.began);
        (self.next_seq, self.last_hash) = (opened.next_seq, opened.last_hash);
        // What it finds it does not sign, though it is likely its own.
        (self.unsigned.first, self.unsigned.since, self.unsigned.after) = (self.next_seq, None, Duration::ZERO);
        let lost = segment::Gap::of_lost(reason, self.number);
        for gap in opened.gaps.iter().chain([&lost]) {
            let mut body = Vec::new();
            encode_body(Timestamp::now(), &gap.record(), &mut body).map_err(io::Error::other)?;
            self.append(&body)?;
        }
        self.sign()?;
        self.flush()?;
        self.sync()
    }

    /// How long nothing has to be done when no record comes.
    fn patience(&self) -> Duration {
        let left =
            |since: Option<Instant>, after: Duration| since.map_or(IDLE, |since| after.saturating_sub(since.elapsed()));
        left(self.unsynced_since, SYNC_AFTER).min(left(self.unsigned.since, self.unsigned.after))
    }

    /// Does what is due: signs, and syncs.
    fn settle(&mut self) -> io::Result<()> {
        if self.unsigned.since.is_some_and(|since| since.elapsed() >= self.unsigned.after) {
            self.sign()?;
            self.flush()?;
        }
        self.sync()
    }

    fn write_batch(&mut self, batch: &Batch) -> io::Result<()> {
        let age = self.began.zip(batch.at).map(|(began, at)| at.duration_since(began));
        if age.is_some_and(|age| age >= SEGMENT_AGE_MAX) {
            self.sign()?;
            self.rotate()?;
        }
        let mut start = 0;
        for &end in &batch.ends {
            self.append(&batch.bytes[start..end])?;
            start = end;
        }
        self.began = self.began.or(batch.at);
        if self.unsigned.since.is_some_and(|since| since.elapsed() >= self.unsigned.after) {
            self.sign()?;
        }
        self.flush()?;
        let due = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER);
        if due || !batch.waiters.is_empty() { self.sync() } else { Ok(()) }
    }

    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let used = self.size + self.out.len() as u64;
        if used > 0 && used + (PLACE_BYTES_MAX + body.len()) as u64 > self.segment_bytes_max {
            self.sign()?;
            self.rotate()?;
        }
        let start = self.begin_line()?;
        self.out.extend_from_slice(body);
        self.end_line(start);
        self.unsigned.since.get_or_insert_with(Instant::now);
        if self.next_seq - self.unsigned.first >= CHECKPOINT_RECORDS { self.sign() } else { Ok(()) }
    }

    /// Appends a checkpoint over what was written since the last one.
    fn sign(&mut self) -> io::Result<()> {
        let since = self.unsigned.first;
        if since == self.next_seq {
            return Ok(());
        }
        if let Some(mut signer) = self.unsigned.signer.take() {
            let start = self.begin_line()?;
            signer.finish_line(&mut self.out, Timestamp::now(), since, start)?;
            self.end_line(start);
            self.unsigned.signer = Some(signer);
        }
        self.unsigned.after = self.checkpoint_after;
        (self.unsigned.first, self.unsigned.since) = (self.next_seq, None);
        Ok(())
    }

    fn begin_line(&mut self) -> io::Result<usize> {
        let start = self.out.len();
        let mut prev = [0; 64];
        hex::encode_to_slice(self.last_hash, &mut prev).map_err(io::Error::other)?;
        self.out.extend_from_slice(br#"{"seq":"#);
        self.out.extend_from_slice(itoa::Buffer::new().format(self.next_seq).as_bytes());
        self.out.extend_from_slice(br#","prev":""#);
        self.out.extend_from_slice(&prev);
        self.out.extend_from_slice(b"\",");
        Ok(start)
    }

    fn end_line(&mut self, start: usize) {
        self.last_hash = line_hash(&self.out[start..]);
        self.next_seq += 1;
        self.out.push(b'\n');
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.write_all(&self.out)?;
        self.out.clear();
        self.file.sync_all()?;
        self.number += 1;
        let path = segment::path(&self.dir, self.number);
        self.file = OpenOptions::new().append(true).create_new(true).open(path)?;
        (self.size, self.began) = (0, None);
        segment::sync_dir(&self.dir)?;
        // Without a keeper the segment stays as it is.
        let _alone = self.tells.closed.send(());
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.out)?;
        self.size += self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(1 << 20);
        self.unsynced_since.get_or_insert_with(Instant::now);
        let head = Head { seq: self.next_seq - 1, hash: self.last_hash };
        self.head_file.write_all_at(head.to_line().as_bytes(), 0)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced_since.take().is_some() {
            crash_point::wait_for_disk();
            self.file.sync_data()?;
            self.tells.synced.send_replace(self.next_seq - 1);
        }
        Ok(())
    }
}
