//! This proxy as one node of several: its lease, the time at the store, and what others change.
//!
//! Never goes by this machine's clock: what is over is told by the store's. Invariant: one connection listens and renews,
//! so that a node that does not hear of decisions does not keep a lease either.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, mpsc};
use tokio_postgres::Row;

use super::connect::{self, Conn, Target};
use super::queries::{REGISTER, RENEW};
use super::rows;
use crate::fault::with_causes;
use crate::store::{StoreError, StoreEvent, facts};

/// Events that may wait; who falls behind is told that some were missed.
const EVENTS_MAX: usize = 16_384;
/// The first and the longest pause between attempts to connect.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A lease is renewed so many times before it would be over.
const RENEWALS: u32 = 4;

/// The store's clock as it was read once.
#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Timestamp,
    taken: Instant,
}

/// What the rest of the store knows of its node.
#[derive(Debug)]
pub(super) struct Node {
    installation: String,
    id: AtomicI64,
    clock: Mutex<Reading>,
    events: broadcast::Sender<StoreEvent>,
}

impl Node {
    /// Its number; another one after its lease was lost.
    pub(super) fn id(&self) -> i64 {
        self.id.load(Ordering::Acquire)
    }

    /// The name of its data directory, the same over restarts.
    pub(super) fn installation(&self) -> &str {
        &self.installation
    }

    /// The time at the store.
    pub(super) fn now(&self) -> Timestamp {
        let reading = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let since = SignedDuration::try_from(reading.taken.elapsed()).unwrap_or(SignedDuration::ZERO);
        reading.time.checked_add(since).unwrap_or(reading.time)
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.events.subscribe()
    }

    fn tell(&self, event: StoreEvent) {
        // Nobody may listen yet, or any more.
        drop(self.events.send(event));
    }
}

/// Keeps a node alive.
pub(super) struct Keeper {
    target: Arc<Target>,
    lease: Duration,
    node: Arc<Node>,
    line: Option<Line>,
}

/// A connection that listens.
struct Line {
    conn: Conn,
    notifications: mpsc::Receiver<String>,
}

impl Line {
    async fn open(target: &Target) -> Result<Self, StoreError> {
        let (sender, notifications) = connect::notifications();
        let conn = target.connect_to_schema(Some(sender)).await?;
        conn.within(async { Ok(conn.client().batch_execute("LISTEN countersign").await?) }).await?;
        Ok(Self { conn, notifications })
    }
}

impl Keeper {
    /// Joins the others; what the same installation has left is given up to whoever comes.
    pub(super) async fn join(target: Arc<Target>, installation: String, lease: Duration) -> Result<Self, StoreError> {
        let line = Line::open(&target).await?;
        let (id, clock) = register(&line.conn, &installation, lease, true).await?;
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let node = Arc::new(Node { installation, id: AtomicI64::new(id), clock: Mutex::new(clock), events });
        Ok(Self { target, lease, node, line: Some(line) })
    }

    pub(super) fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node)
    }

    /// Keeps listening and renewing; connects again whenever the connection ends.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(line) = self.line.take() {
                let error = self.keep(line).await;
                // What is only read once in a while is not to be trusted until it has been read again.
                self.node.tell(StoreEvent::Missed);
                tracing::warn!(error = %with_causes(&error), "no longer hear of decisions of other proxies; connecting again");
            }
            match self.rejoin().await {
                Ok(line) => {
                    self.line = Some(line);
                    pause = PAUSE_MIN;
                    self.node.tell(StoreEvent::Missed);
                    tracing::info!("hear of decisions of other proxies again");
                }
                Err(error) => {
                    tracing::debug!(error = %with_causes(&error), "could not connect to the store");
                    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn rejoin(&self) -> Result<Line, StoreError> {
        let line = Line::open(&self.target).await?;
        self.renew(&line.conn).await?;
        Ok(line)
    }

    /// Until something fails.
    async fn keep(&self, mut line: Line) -> StoreError {
        let mut renewal = tokio::time::interval(self.lease / RENEWALS);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Both are cancel safe.
            tokio::select! {
                payload = line.notifications.recv() => match payload {
                    Some(what) if what == "grants" => self.node.tell(StoreEvent::Grants),
                    Some(id) => self.node.tell(facts::id_from(&id).map_or(StoreEvent::Missed, StoreEvent::Changed)),
                    None => return StoreError::Unreachable,
                },
                _ = renewal.tick() => {
                    if let Err(error) = self.renew(&line.conn).await {
                        return error;
                    }
                }
            }
        }
    }

    /// Renews the lease, or begins anew as another node when others count this one as gone.
    async fn renew(&self, conn: &Conn) -> Result<(), StoreError> {
        let begin = Instant::now();
        let renewed = conn.within(conn.query(RENEW, &[&self.node.id()])).await?;
        let clock = match renewed.first() {
            Some(row) => reading(row, 0, begin)?,
            None => {
                let (id, clock) = register(conn, &self.node.installation, self.lease, false).await?;
                tracing::warn!("this proxy had lost its lease at the store; what it held was withdrawn");
                self.node.id.store(id, Ordering::Release);
                self.node.tell(StoreEvent::Missed);
                clock
            }
        };
        *self.node.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
        Ok(())
    }
}

async fn register(
    conn: &Conn,
    installation: &str,
    lease: Duration,
    is_new: bool,
) -> Result<(i64, Reading), StoreError> {
    let begin = Instant::now();
    let lease_ms = rows::bigint(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX));
    let made = conn.within(conn.query(REGISTER, &[&installation, &lease_ms, &is_new])).await?;
    let row = made.first().ok_or(StoreError::Invalid("node"))?;
    Ok((row.try_get(0)?, reading(row, 1, begin)?))
}

/// The store read its clock somewhere between the call and its answer.
fn reading(row: &Row, column: usize, begin: Instant) -> Result<Reading, StoreError> {
    let time = facts::time_from(row.try_get(column)?)?;
    Ok(Reading { time, taken: begin + begin.elapsed() / 2 })
}
