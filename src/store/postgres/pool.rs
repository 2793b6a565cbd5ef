//! A few connections to the shared store, each made again when it ends.
//!
//! Never lets a caller wait for long for a store that is not there. Invariant: what is handed out was connected and
//! checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connect::{Conn, Target};
use crate::fault::with_causes;
use crate::store::StoreError;

/// Connections of one proxy, besides the one that listens.
const SIZE: usize = 4;
/// How long a caller waits for a connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// Calls under way at once. Further ones wait for their turn, so that the time for a call is not spent in a queue.
const CALLS_MAX: usize = 64;
/// How long a caller waits for its turn.
const QUEUE_PATIENCE: Duration = Duration::from_secs(15);
/// The first and the longest pause between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

type Slot = watch::Receiver<Option<Arc<Conn>>>;

pub(super) struct Pool {
    slots: Vec<Slot>,
    next: AtomicUsize,
    turns: Arc<Semaphore>,
    _keepers: JoinSet<()>,
}

impl Pool {
    /// Begins with one connection that is open already.
    pub(super) fn start(target: &Arc<Target>, first: Conn) -> Self {
        let mut keepers = JoinSet::new();
        let mut first = Some(Arc::new(first));
        let mut slots = Vec::with_capacity(SIZE);
        for _slot in 0..SIZE {
            let (sender, slot) = watch::channel(first.take());
            keepers.spawn(keep(Arc::clone(target), sender));
            slots.push(slot);
        }
        Self { slots, next: AtomicUsize::new(0), turns: Arc::new(Semaphore::new(CALLS_MAX)), _keepers: keepers }
    }

    /// Whether there is a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.slots.iter().any(|slot| slot.borrow().as_ref().is_some_and(|conn| conn.is_open()))
    }

    /// A connection for one call at a time: none within a second when there is none, and none within 15 when there are
    /// too many calls.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn connection(&self) -> Result<Turn, StoreError> {
        let place = tokio::time::timeout(QUEUE_PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(StoreError::Timeout) };
        Ok(Turn { conn: self.open_connection().await?, _place: place })
    }

    async fn open_connection(&self) -> Result<Arc<Conn>, StoreError> {
        let begin = self.next.fetch_add(1, Ordering::Relaxed);
        let slots = self.slots.iter().cycle().skip(begin % SIZE).take(SIZE);
        let open = slots.filter_map(|slot| slot.borrow().clone()).find(|conn| conn.is_open());
        if let Some(conn) = open {
            return Ok(conn);
        }
        let mut waits: Vec<Slot> = self.slots.clone();
        let any = futures_util::future::select_all(waits.iter_mut().map(|slot| Box::pin(open_in(slot))));
        match tokio::time::timeout(PATIENCE, any).await {
            Ok((Some(conn), _, _)) => Ok(conn),
            Ok((None, _, _)) | Err(_) => Err(StoreError::Unreachable),
        }
    }
}

/// A connection, and the turn to use it.
pub(super) struct Turn {
    conn: Arc<Conn>,
    _place: OwnedSemaphorePermit,
}

impl std::ops::Deref for Turn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

async fn open_in(slot: &mut Slot) -> Option<Arc<Conn>> {
    slot.wait_for(|conn| conn.as_ref().is_some_and(|conn| conn.is_open())).await.ok()?.clone()
}

/// Keeps one slot filled.
async fn keep(target: Arc<Target>, slot: watch::Sender<Option<Arc<Conn>>>) {
    let mut pause = PAUSE_MIN;
    loop {
        let open = slot.borrow().clone();
        if let Some(conn) = open {
            conn.ended().await;
            slot.send_replace(None);
            drop(conn);
            tracing::warn!(store = %target.address, "connection to the store has ended");
        }
        match target.connect_to_schema(None).await {
            Ok(conn) => {
                pause = PAUSE_MIN;
                slot.send_replace(Some(Arc::new(conn)));
            }
            Err(error) => {
                tracing::debug!(error = %with_causes(&error), "could not connect to the store");
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}
