//! Delivers to one target.
//!
//! Never waits for one target because of another: each has a courier. Invariant: what it claims is settled, or becomes free
//! again when its lease is over.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, watch};

use super::event::{self, Found};
use super::http::{Fate, Outcome};
use super::pace::{Breaker, pause};
use super::{Target, Tell};
use crate::review::{Changed, Review};
use crate::store::StoreError;
use crate::store::outbox::{Claim, Delivery, End, Outbox, Settled};
use crate::telemetry::NOTIFY_ATTEMPTS;

/// Deliveries claimed at a time, and told at a time.
const CLAIM_MAX: u32 = 64;
const AT_ONCE: usize = 16;
/// Those that have ended are settled together, at most so many.
const SETTLE_AT_ONCE: usize = 16;
/// How long nobody else gets what is claimed. A claim ends by then: so many rounds of calls, each of which ends in time.
const LEASE: SignedDuration = SignedDuration::from_secs(90);
/// How long one delivery may take, all its calls together.
const DELIVERY_LIMIT: Duration = Duration::from_secs(20);
/// How often the outbox is asked without being told that something has changed.
const POLL: Duration = Duration::from_secs(1);
/// How long what is under way may take when the proxy ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// See the module documentation.
pub(super) struct Courier {
    target: String,
    tell: Arc<dyn Tell>,
    review: Arc<Review>,
    outbox: Arc<dyn Outbox>,
    give_up_after: SignedDuration,
    /// A number that no other has.
    by: i64,
    breaker: Breaker,
}

impl Courier {
    pub(super) fn new(target: Target, review: &Arc<Review>, outbox: Arc<dyn Outbox>, give_up_after: Duration) -> Self {
        Self {
            target: target.name,
            tell: target.tell,
            review: Arc::clone(review),
            outbox,
            give_up_after: SignedDuration::try_from(give_up_after).unwrap_or(SignedDuration::MAX),
            by: rand::random_range(1..i64::MAX),
            breaker: Breaker::default(),
        }
    }

    /// Delivers until the other end of `stopped` is dropped.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<()>) {
        let review = Arc::clone(&self.review);
        let mut changed = review.watch();
        let mut farewell = stopped.clone();
        loop {
            let now = review.time(Timestamp::now());
            let ended = async {
                // Nothing is ever sent: it ends when the other end goes.
                while farewell.changed().await.is_ok() {}
                tokio::time::sleep(FAREWELL).await;
            };
            // What is dropped in the middle is told again later: at least once.
            let round = tokio::select! {
                round = self.round(now) => round,
                () = ended => return,
            };
            let is_idle = round.is_ok_and(|claimed| claimed == 0);
            if stopped.has_changed().is_err() {
                return;
            }
            if !is_idle {
                continue;
            }
            // All are cancel safe.
            tokio::select! {
                event = changed.recv() => drain(&mut changed, event),
                () = tokio::time::sleep(POLL) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// Delivers what is due at that time; how many it has claimed.
    ///
    /// # Errors
    /// When the store fails: what was claimed is free again when the lease is over.
    pub(super) async fn round(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let limit = self.breaker.room(now, CLAIM_MAX);
        if limit == 0 {
            return Ok(0);
        }
        let until = now.checked_add(LEASE).unwrap_or(Timestamp::MAX);
        let claim = Claim { target: self.target.clone(), by: self.by, now, until, limit };
        let claimed = self.outbox.claim(claim).await?;
        let count = claimed.len();
        let (review, tell) = (Arc::clone(&self.review), Arc::clone(&self.tell));
        let told = stream::iter(claimed).map(|delivery| {
            let (review, tell) = (&review, &tell);
            async move {
                let outcome = deliver(review, &**tell, &delivery, now).await;
                (delivery, outcome)
            }
        });
        let mut ended = std::pin::pin!(told.buffer_unordered(AT_ONCE).ready_chunks(SETTLE_AT_ONCE));
        while let Some(some) = ended.next().await {
            let settled = some.into_iter().map(|(delivery, outcome)| self.settled(&delivery, outcome, now)).collect();
            self.outbox.settle(self.by, settled).await?;
        }
        Ok(count)
    }

    /// What becomes of a delivery.
    fn settled(&mut self, delivery: &Delivery, outcome: Outcome, now: Timestamp) -> Settled {
        let (end, label) = match outcome.fate {
            Fate::Delivered => {
                self.breaker.succeeded();
                (End::Delivered, "delivered")
            }
            Fate::Refused => (End::Dead, "refused"),
            Fate::Again(asked) => {
                self.breaker.failed(now, asked);
                let pause = pause(delivery.id, delivery.attempts).max(asked.unwrap_or(SignedDuration::ZERO));
                let due = now.checked_add(pause).unwrap_or(Timestamp::MAX);
                let is_too_late = due.duration_since(delivery.since) >= self.give_up_after;
                if is_too_late { (End::Dead, "given_up") } else { (End::Again(due), "again") }
            }
        };
        metrics::counter!(NOTIFY_ATTEMPTS, "target" => self.target.clone(), "outcome" => label).increment(1);
        if end == End::Dead {
            let (target, answer) = (&self.target, &outcome.answer);
            tracing::warn!(%target, delivery = delivery.id, %answer, "a notification was given up");
        }
        Settled { id: delivery.id, end, answer: outcome.answer, at: now }
    }
}

/// Takes what else has been told already: one look at the outbox is for all of it.
fn drain(changed: &mut broadcast::Receiver<Changed>, first: Result<Changed, broadcast::error::RecvError>) {
    let mut more = first.is_ok();
    while more {
        more = changed.try_recv().is_ok();
    }
}

async fn deliver(review: &Review, tell: &dyn Tell, delivery: &Delivery, now: Timestamp) -> Outcome {
    let told = async {
        match event::find(review, &delivery.event).await {
            Ok(Found::Story(story)) => tell.tell(&story, now).await,
            Ok(Found::WithAnother) => Outcome::delivered("told with the decision"),
            Ok(Found::Missing) => Outcome::refused("no longer in the store"),
            Err(_store) => Outcome::again("the store did not answer"),
        }
    };
    match tokio::time::timeout(DELIVERY_LIMIT, told).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Outcome::again("no answer in time"),
    }
}
