//! Decisions that other proxies make on the same store: whoever waits here is woken.
//!
//! Never decides. Invariant: what is notified is only a hint to look; what the store says is what the session is told, and
//! a hint that is lost is made good by a look at everything that waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use super::decide::decision_of;
use super::pending::Pending;
use super::{AccessRequest, Decision, RequestId, Review, ReviewError};
use crate::store::StoreEvent;

/// Requests looked at in one call.
const LOOK_MAX: usize = 500;
/// How often a part of what waits is looked at without a hint.
const POLL: Duration = Duration::from_secs(1);

/// What is to be looked at.
#[derive(Default)]
struct Hints {
    wanted: Vec<RequestId>,
    grants: bool,
}

impl Hints {
    fn add(&mut self, event: Result<StoreEvent, RecvError>, pending: &Pending) {
        match event {
            Ok(StoreEvent::Changed(id)) if pending.waits(id) => self.wanted.push(id),
            Ok(StoreEvent::Changed(_)) | Err(RecvError::Closed) => {}
            Ok(StoreEvent::Grants) => self.grants = true,
            Ok(StoreEvent::Missed) | Err(RecvError::Lagged(_)) => {
                self.wanted.extend(pending.ids());
                self.grants = true;
            }
        }
    }
}

impl Review {
    /// Wakes sessions whose requests are decided elsewhere, until `shutdown`. Ends at once where there is no elsewhere.
    pub async fn run_follower(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let Some(mut events) = self.store.subscribe() else { return };
        let mut shutdown = std::pin::pin!(shutdown);
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut turn = 0;
        loop {
            // All are cancel safe: an event is taken or not, and the signal stays set.
            let looked = tokio::select! {
                event = events.recv() => {
                    let mut hints = Hints::default();
                    event.iter().for_each(|event| self.feed.tell_of(*event));
                    hints.add(event, &self.pending);
                    while hints.wanted.len() < LOOK_MAX && let Some(event) = queued(&mut events) {
                        event.iter().for_each(|event| self.feed.tell_of(*event));
                        hints.add(event, &self.pending);
                    }
                    let grants = if hints.grants { self.reload_grants().await.map(drop) } else { Ok(()) };
                    self.look(hints.wanted).await.and(grants)
                }
                _ = poll.tick() => {
                    // Hints are lost only with the connection, which is told; so a part of many is enough each time.
                    let waiting = self.pending.ids();
                    let parts = waiting.len().div_ceil(LOOK_MAX).max(1);
                    turn = (turn + 1) % parts;
                    self.look(waiting.into_iter().skip(turn * LOOK_MAX).take(LOOK_MAX).collect()).await
                }
                () = &mut shutdown => return,
            };
            if let Err(error) = looked {
                tracing::debug!(%error, "could not look for decisions of other proxies");
            }
        }
    }

    /// Asks the store about these, and wakes whose request no longer waits for votes.
    pub(super) async fn look(&self, mut wanted: Vec<RequestId>) -> Result<(), ReviewError> {
        wanted.sort_unstable();
        wanted.dedup();
        for part in wanted.chunks(LOOK_MAX) {
            for request in self.store.decided(part.to_vec()).await? {
                self.pending.wake(request.id, ended_how(&request));
            }
        }
        Ok(())
    }
}

/// The next event, if one has come already.
fn queued(events: &mut broadcast::Receiver<StoreEvent>) -> Option<Result<StoreEvent, RecvError>> {
    match events.try_recv() {
        Ok(event) => Some(Ok(event)),
        Err(TryRecvError::Lagged(missed)) => Some(Err(RecvError::Lagged(missed))),
        Err(TryRecvError::Empty | TryRecvError::Closed) => None,
    }
}

/// What the session is told. Whatever is neither a decision nor open was used through another session.
fn ended_how(request: &AccessRequest) -> Decision {
    let last = request.transitions.last();
    last.and_then(|transition| decision_of(request, transition)).unwrap_or(Decision::Cancelled)
}
