//! What happens to requests without a person: withdrawal from the wire, expiry, restart.
//!
//! Never approves. Invariant: time-outs are swept from the store, so they hold whatever this process remembers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use countersign_policy::rule::Mode;

use super::decide::{plan_end, unchanged};
use super::{AccessRequest, Actor, Decision, RequestId, Review, ReviewError, State, Surface};
use crate::fault::with_causes;
use crate::store::Change;

/// Requests expired in one transaction.
const SWEEP_BATCH: u32 = 1000;

/// Longest and shortest pause between sweeps.
const PAUSE_MAX: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(10);

impl Review {
    /// Withdraws what a client waits for: Ctrl-C or disconnect. An approval that came in this moment is withdrawn too;
    /// what runs already, or has ended, stays as it is.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub async fn withdraw(&self, id: RequestId, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.time(now);
        self.pending.forget(id);
        let reason = Some("withdrawn by the client".to_owned());
        let withdrawn = self
            .decide_after(id, |request| {
                let requester =
                    Actor { name: request.user.clone(), groups: request.groups.clone(), surface: Surface::Wire };
                plan_end(request, State::Cancelled, &requester, reason.clone(), now)
            })
            .await;
        match withdrawn {
            Ok(_) | Err(ReviewError::AlreadyDecided { .. } | ReviewError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets a client in mode `auto` go without withdrawing: the request stays open, and once it is approved the same
    /// statement sent again uses the approval.
    ///
    /// # Errors
    /// When it is no longer PENDING or it cannot be recorded.
    pub async fn park(&self, id: RequestId, now: Timestamp) -> Result<AccessRequest, ReviewError> {
        let now = self.time(now);
        let parked = self
            .decide_after(id, |request| match request.state {
                State::Pending if request.expires_at <= now => Err(ReviewError::Expired),
                State::Pending => Ok(Change { mode: Some(Mode::Resubmit), ..unchanged(request) }),
                state => Err(ReviewError::AlreadyDecided { state }),
            })
            .await;
        self.pending.forget(id);
        parked
    }

    /// Ends what a process that is gone has left open. Call it once, before the first session.
    ///
    /// # Errors
    /// When the store or the audit trail fails.
    pub async fn recover(&self, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.time(now);
        let ended = self.store.recover(now).await?;
        ended.iter().try_for_each(|(id, transition)| self.note_transition(*id, transition))?;
        self.sweep_grants(now).await
    }

    /// Expires what is due, and withdraws what sessions have abandoned.
    ///
    /// # Errors
    /// When the store or the audit trail fails; what could not be done is done by the next sweep, and the rest by this one:
    /// nobody waits longer because of the trail.
    pub async fn sweep(&self, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.time(now);
        let mut swept = Ok(());
        let mut abandoned = self.pending.take_abandoned().into_iter();
        while let Some(id) = abandoned.next() {
            if let Err(error) = self.withdraw(id, now).await {
                self.pending.put_back_abandoned([id]);
                // A store that is away would let each of them wait.
                if matches!(error, ReviewError::Store(_)) {
                    self.pending.put_back_abandoned(abandoned.by_ref());
                }
                swept = swept.and(Err(error));
            }
        }
        swept = swept.and(self.settle(now).await);
        for (id, transition) in self.store.reap().await? {
            swept = swept.and(self.note_transition(id, &transition));
        }
        loop {
            let expired = self.store.expire_due(now, SWEEP_BATCH).await?;
            for (id, transition) in &expired {
                self.pending.wake(*id, Decision::Expired);
                swept = swept.and(self.note_transition(*id, transition));
            }
            if expired.len() < SWEEP_BATCH as usize {
                let grants = self.sweep_grants(now).await;
                let told = self.settle_trail(now).await;
                let compared = self.compare_rules(now).await;
                return swept.and(grants).and(told).and(compared);
            }
        }
    }

    /// Tells other proxies on the same store that this one is about to end.
    pub async fn leave(&self) {
        if let Err(error) = self.confirm().await {
            tracing::debug!(error = %with_causes(&error), "the store does not know what the trail has told; the next start finds out");
        }
        if let Err(error) = self.store.leave().await {
            tracing::debug!(error = %with_causes(&error), "could not take leave of the store");
        }
    }

    /// Sweeps until `shutdown`, at every expiry and at least once a second.
    pub async fn run_sweeper(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut failing = false;
        loop {
            let swept = self.sweep(Timestamp::now()).await;
            match &swept {
                Err(error) if !failing => {
                    tracing::warn!(error = %with_causes(error), "could not sweep access requests")
                }
                Ok(()) if failing => tracing::info!("access requests are swept again"),
                Ok(()) | Err(_) => {}
            }
            failing = swept.is_err();
            let next = match self.store.next_expiry().await {
                Ok(Some(next)) => {
                    Duration::try_from(self.time(Timestamp::now()).duration_until(next)).unwrap_or_default()
                }
                Ok(None) | Err(_) => PAUSE_MAX,
            };
            // Both are cancel safe: a timer and the caller's signal.
            tokio::select! {
                () = tokio::time::sleep(next.clamp(PAUSE_MIN, PAUSE_MAX)) => {}
                () = &mut shutdown => return,
            }
        }
    }
}
