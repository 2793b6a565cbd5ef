//! Requests held on the wire: who is to be woken when one is decided.
//!
//! Never holds a statement and never decides; the durable truth is the store.
//! Invariant: an entry exists from before its request is stored until it is decided, withdrawn or abandoned.

use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use tokio::sync::oneshot;

use super::{AccessRequest, Decision, RequestId};
use crate::telemetry::HOLDS_PENDING;

/// A parked request: a waker and nothing else.
#[derive(Debug)]
struct Hold {
    waker: oneshot::Sender<Decision>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    holds: DashMap<RequestId, Hold>,
    /// Requests whose session went away without a word.
    abandoned: Mutex<Vec<RequestId>>,
}

impl Pending {
    /// Parks a request that is about to be stored.
    pub(super) fn park(self: &Arc<Self>, request: AccessRequest) -> Waiting {
        let (waker, decision) = oneshot::channel();
        self.holds.insert(request.id, Hold { waker });
        metrics::gauge!(HOLDS_PENDING).increment(1);
        let wait = Wait { id: request.id, decision, decided: None, pending: Arc::clone(self) };
        Waiting { request, wait }
    }

    /// Wakes the session that waits for it, if one does.
    pub(super) fn wake(&self, id: RequestId, decision: Decision) {
        if let Some(hold) = self.remove(id) {
            // The session may have gone in this moment; the record tells what was decided.
            let _gone = hold.waker.send(decision);
        }
    }

    /// Forgets a request without waking anybody.
    pub(super) fn forget(&self, id: RequestId) {
        drop(self.remove(id));
    }

    pub(super) fn take_abandoned(&self) -> Vec<RequestId> {
        std::mem::take(&mut self.abandoned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put_back_abandoned(&self, ids: impl IntoIterator<Item = RequestId>) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    pub(super) fn waits(&self, id: RequestId) -> bool {
        self.holds.contains_key(&id)
    }

    /// Everything that waits at this moment.
    pub(super) fn ids(&self) -> Vec<RequestId> {
        self.holds.iter().map(|hold| *hold.key()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.holds.len()
    }

    fn remove(&self, id: RequestId) -> Option<Hold> {
        let hold = self.holds.remove(&id).map(|(_id, hold)| hold);
        if hold.is_some() {
            metrics::gauge!(HOLDS_PENDING).decrement(1);
        }
        hold
    }
}

/// A request that waits, as it was stored. Whoever waits for long keeps only the [`Wait`].
#[derive(Debug)]
pub struct Waiting {
    /// The request.
    pub request: AccessRequest,
    /// What a session waits on.
    pub wait: Wait,
}

impl Waiting {
    /// See [`Wait::decision`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn decision(&mut self) -> Decision {
        self.wait.decision().await
    }
}

/// What a session waits on while its request is held. Dropped undecided, the request is withdrawn within a second.
#[derive(Debug)]
pub struct Wait {
    id: RequestId,
    decision: oneshot::Receiver<Decision>,
    decided: Option<Decision>,
    pending: Arc<Pending>,
}

impl Wait {
    /// The request that it is about.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// How the request ended. Asked again, it answers the same.
    ///
    /// # Cancel safety
    /// Cancel safe: a decision that has come is not lost when the future is dropped.
    pub async fn decision(&mut self) -> Decision {
        if let Some(decided) = &self.decided {
            return decided.clone();
        }
        // Nobody is left who could decide: nothing may run.
        let decision = (&mut self.decision).await.unwrap_or(Decision::Cancelled);
        self.decided.insert(decision).clone()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.pending.remove(self.id).is_some() {
            self.pending.put_back_abandoned([self.id]);
        }
    }
}

/// Completes when the held request has been decided; never while none is held.
///
/// # Cancel safety
/// Cancel safe: the decision stays in `waiting`.
pub(crate) async fn decided(waiting: &mut Option<Wait>) {
    match waiting {
        Some(waiting) => {
            waiting.decision().await;
        }
        None => std::future::pending().await,
    }
}
