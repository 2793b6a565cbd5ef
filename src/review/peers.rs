//! Whether all proxies on one store go by the same rules.
//!
//! Never decides by it: each goes by its own. Invariant: a difference is told when it begins and when it has ended, not at
//! every look.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::{Review, ReviewError};
use crate::telemetry::OTHER_RULES;

/// How often it is looked at.
const EVERY: SignedDuration = SignedDuration::from_secs(2);

/// What was found the last time.
#[derive(Debug, Default)]
pub(super) struct Peers {
    others: AtomicUsize,
    looked: super::telling::Due,
}

impl Review {
    /// Says by which rules this proxy goes, and looks by which the others do.
    pub(super) async fn compare_rules(&self, now: Timestamp) -> Result<(), ReviewError> {
        if !self.peers.looked.is_over(now, EVERY) {
            return Ok(());
        }
        let rules = self.config.load().rules_digest.clone();
        let others = self.store.compare_rules(rules.clone()).await?;
        metrics::gauge!(OTHER_RULES).set(others.len() as f64);
        let before = self.peers.others.swap(others.len(), Ordering::Relaxed);
        match (before, others.len()) {
            (0, 1..) => tracing::warn!(%rules, others = ?others, "proxies on the same store go by different rules"),
            (1.., 0) => tracing::info!(%rules, "all proxies on the same store go by the same rules again"),
            (0, 0) | (1.., 1..) => {}
        }
        Ok(())
    }
}
