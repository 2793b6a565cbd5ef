//! Where cards are asked for: a queue, and a few at a time gathered from it.
//!
//! Never lets a session wait, and never loses a card silently: one that there is no time for says so. Invariant: the
//! tasks it starts have ended when [`CardDesk::run`] returns.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::gather;
use super::{Card, Inquiry};
use crate::database::Database;
use crate::fault::with_causes;
use crate::review::{RequestId, Review};

/// Requests that wait for their cards at most.
const QUEUE_MAX: usize = 4096;
/// Cards that are gathered at the same time, of all databases.
const AT_ONCE: usize = 16;

/// A request whose card is to be gathered.
pub(crate) struct Case {
    pub(crate) request: RequestId,
    pub(crate) database: Arc<Database>,
    pub(crate) card: Card,
    pub(crate) inquiry: Inquiry,
    /// Process id of the session's backend.
    pub(crate) backend: Option<i32>,
}

/// See the module documentation.
pub(crate) struct CardDesk {
    cases: mpsc::Sender<Case>,
    queue: Mutex<Option<mpsc::Receiver<Case>>>,
}

impl CardDesk {
    pub(crate) fn new() -> Self {
        let (cases, queue) = mpsc::channel(QUEUE_MAX);
        Self { cases, queue: Mutex::new(Some(queue)) }
    }

    /// Has a card gathered. Returns at once; when too many wait, the card stays as it is.
    pub(crate) fn gather(&self, case: Case) {
        if let Err(error) = self.cases.try_send(case) {
            tracing::warn!(%error, "too many cards are waiting to be gathered; one stays incomplete");
        }
    }

    /// Gathers until `shutdown`. Does nothing when it runs already.
    pub(crate) async fn run(&self, review: Arc<Review>, shutdown: impl Future<Output = ()>) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut queue) = queue else { return };
        let mut shutdown = std::pin::pin!(shutdown);
        let mut gathering = JoinSet::new();
        loop {
            // All are cancel safe: a queue, tasks and the caller's signal.
            tokio::select! {
                () = &mut shutdown => break,
                Some(_done) = gathering.join_next() => {}
                Some(case) = queue.recv(), if gathering.len() < AT_ONCE => {
                    gathering.spawn(finish(case, Arc::clone(&review)));
                }
            }
        }
        gathering.shutdown().await;
    }
}

async fn finish(case: Case, review: Arc<Review>) {
    let Case { request, database, card, inquiry, backend } = case;
    let card = gather::fill(database.cards(), card, &inquiry, backend).await;
    if let Err(error) = review.fill_card(request, card).await {
        tracing::warn!(error = %with_causes(&error), %request, "could not keep the card of a request");
    }
}
