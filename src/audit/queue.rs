//! The bounded queue between those who record and the one thread that writes.
//!
//! Never waits for the disk: a record is encoded outside the lock and copied in under it.
//! Invariant: records leave in the order in which they were pushed, and no waiter is told before its record is synced.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::record::encode_body;
use super::{AuditError, Record};

/// Encoded bytes that may wait; beyond it the disk does not keep up and records are refused.
const QUEUE_BYTES_MAX: usize = 256 << 20;

/// How long records that nobody waits for are gathered before they are written.
const GATHER: Duration = Duration::from_millis(10);

/// Capacity of a thread's encoding buffer that is kept from one record to the next.
const SCRATCH_KEPT_BYTES: usize = 64 << 10;

/// Capacity of a batch that is kept from one to the next.
const BATCH_KEPT_BYTES: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What the writer takes at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Encoded records, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Where each record ends in `bytes`.
    pub(super) ends: Vec<usize>,
    /// When the last of them was made.
    pub(super) at: Option<Timestamp>,
    /// Whom to tell once all of it is synced.
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.waiters.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_KEPT_BYTES);
        self.ends.clear();
        self.waiters.clear();
    }
}

/// What the writer found in the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Records to write, or somebody who waits for those before.
    Records,
    /// Nothing came in the time given.
    Nothing,
    /// Closed and empty.
    Closed,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Batch,
    writer_sleeps: bool,
    closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    shared: Mutex<Shared>,
    wake: Condvar,
    /// Set under the lock; read without it, because every session asks at every turn.
    failed: AtomicBool,
    /// How often it has failed: what was accepted before the last time may be lost.
    losses: AtomicU64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(
        &self,
        at: Timestamp,
        record: &Record<'_>,
        waiter: Option<oneshot::Sender<()>>,
    ) -> Result<(), AuditError> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.shrink_to(SCRATCH_KEPT_BYTES);
            encode_body(at, record, scratch).map_err(AuditError::Encode)?;
            self.push_encoded(at, scratch, waiter)
        })
    }

    /// Has the waiter told once everything that was pushed before is synced.
    pub(super) fn wait(&self, waiter: oneshot::Sender<()>) -> Result<(), AuditError> {
        let mut shared = self.lock();
        if self.has_failed() || shared.closed {
            return Err(AuditError::Failed);
        }
        shared.waiting.waiters.push(waiter);
        shared.writer_sleeps = false;
        drop(shared);
        self.wake.notify_one();
        Ok(())
    }

    fn push_encoded(&self, at: Timestamp, body: &[u8], waiter: Option<oneshot::Sender<()>>) -> Result<(), AuditError> {
        let mut shared = self.lock();
        if self.has_failed() || shared.closed {
            return Err(AuditError::Failed);
        }
        if shared.waiting.bytes.len().saturating_add(body.len()) > QUEUE_BYTES_MAX {
            return Err(AuditError::QueueFull);
        }
        shared.waiting.bytes.extend_from_slice(body);
        let end = shared.waiting.bytes.len();
        shared.waiting.ends.push(end);
        shared.waiting.at = Some(at);
        let urgent = waiter.is_some();
        shared.waiting.waiters.extend(waiter);
        let wake = shared.writer_sleeps || urgent;
        shared.writer_sleeps = false;
        drop(shared);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Swaps what waits into `batch`, after at most `patience` without any record.
    pub(super) fn take(&self, batch: &mut Batch, patience: Duration) -> Taken {
        batch.clear();
        let mut shared = self.lock();
        if shared.waiting.is_empty() && !shared.closed {
            shared.writer_sleeps = true;
            let idle = |shared: &mut Shared| shared.waiting.is_empty() && !shared.closed;
            shared = self.wake.wait_timeout_while(shared, patience, idle).unwrap_or_else(PoisonError::into_inner).0;
            shared.writer_sleeps = false;
        }
        if shared.waiting.is_empty() {
            return if shared.closed { Taken::Closed } else { Taken::Nothing };
        }
        let gather = |shared: &mut Shared| shared.waiting.waiters.is_empty() && !shared.closed;
        shared = self.wake.wait_timeout_while(shared, GATHER, gather).unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut shared.waiting, batch);
        Taken::Records
    }

    /// Refuses everything from now on; those who wait are told by dropping their senders. How many records are lost with it.
    pub(super) fn fail(&self) -> usize {
        let mut shared = self.lock();
        self.failed.store(true, Ordering::Release);
        self.losses.fetch_add(1, Ordering::AcqRel);
        let lost = shared.waiting.ends.len();
        shared.waiting.clear();
        lost
    }

    /// Accepts records again.
    pub(super) fn recovered(&self) {
        let _shared = self.lock();
        self.failed.store(false, Ordering::Release);
    }

    /// How often it has failed.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Waits for its end, but not longer than that; whether it has come.
    pub(super) fn closed_within(&self, patience: Duration) -> bool {
        let open = |shared: &mut Shared| !shared.closed;
        let waited = self.wake.wait_timeout_while(self.lock(), patience, open);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// What waits, as if it were on stable storage now.
    #[cfg(test)]
    pub(super) fn take_all(&self) -> Vec<String> {
        let batch = std::mem::take(&mut self.lock().waiting);
        let mut begin = 0;
        let mut lines = Vec::new();
        for end in batch.ends {
            lines.push(format!("{{{}", String::from_utf8_lossy(&batch.bytes[begin..end])));
            begin = end;
        }
        for waiter in batch.waiters {
            // Who no longer waits does not need to know.
            let _gone = waiter.send(());
        }
        lines
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn health(&self) -> Result<(), AuditError> {
        if self.has_failed() { Err(AuditError::Failed) } else { Ok(()) }
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub(super) fn lag_bytes(&self) -> usize {
        self.lock().waiting.bytes.len()
    }
}
