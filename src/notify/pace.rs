//! When to try again: after a pause that grows, and not at all for a while at a target that fails again and again.
//!
//! Never reads a clock and never draws a random number: the time is given, and pauses are spread by what is to be delivered.
//! Invariant: a target that works again is told within [`REST_MAX`].

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// The first pause and the longest, in milliseconds.
const PAUSE_MIN_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 300_000;
/// Failures in a row after which a target is given rest.
const FAILURES: u32 = 5;
/// The first rest and the longest.
const REST_MIN: SignedDuration = SignedDuration::from_secs(5);
const REST_MAX: SignedDuration = SignedDuration::from_secs(60);
/// No target is believed that wants to be left alone for longer.
const RETRY_AFTER_MAX: SignedDuration = SignedDuration::from_hours(1);

/// How long to wait after the attempt of that number, which was the last for the delivery of that id. From half of the full
/// pause to all of it, so that what failed together is not tried together again.
pub(super) fn pause(id: i64, attempts: u64) -> SignedDuration {
    let doublings = u32::try_from(attempts.saturating_sub(1).min(20)).unwrap_or(20);
    let full = PAUSE_MIN_MS.saturating_mul(1 << doublings).min(PAUSE_MAX_MS);
    let mut digest = Sha256::new();
    digest.update(id.to_be_bytes());
    digest.update(attempts.to_be_bytes());
    let drawn = digest.finalize().first().copied().unwrap_or_default();
    let pause = full / 2 + full / 2 * u64::from(drawn) / 255;
    SignedDuration::from_millis(i64::try_from(pause).unwrap_or(i64::MAX))
}

/// Whether a target is to be called: its circuit breaker.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    rests_until: Option<Timestamp>,
}

impl Breaker {
    /// How many calls may be made now, of those that one would make: none while it rests, one to see whether it is back.
    pub(super) fn room(&self, now: Timestamp, full: u32) -> u32 {
        match self.rests_until {
            Some(until) if now < until => 0,
            Some(_) if self.failures >= FAILURES => 1,
            Some(_) | None => full,
        }
    }

    /// It answered as it should.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not, and may have said for how long it wants to be left alone.
    pub(super) fn failed(&mut self, now: Timestamp, retry_after: Option<SignedDuration>) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(FAILURES).min(10);
        let rest = (self.failures >= FAILURES).then(|| (REST_MIN * (1 << doublings)).min(REST_MAX));
        let asked = retry_after.map(|asked| asked.clamp(SignedDuration::ZERO, RETRY_AFTER_MAX));
        if let Some(rest) = rest.max(asked) {
            let until = now.checked_add(rest).unwrap_or(Timestamp::MAX);
            self.rests_until = self.rests_until.max(Some(until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::fixture::at;

    #[test]
    fn pauses_grow_to_five_minutes_and_are_spread() {
        for (attempts, least, most) in [(1, 500, 1_000), (2, 1_000, 2_000), (5, 8_000, 16_000), (99, 150_000, 300_000)]
        {
            let pauses: Vec<_> = (0..200).map(|id| pause(id, attempts).as_millis()).collect();
            assert!(pauses.iter().all(|pause| (least..=most).contains(pause)), "{attempts}: {pauses:?}");
            let spread = pauses.iter().max().unwrap() - pauses.iter().min().unwrap();
            assert!(spread * 10 > (most - least) * 8, "{attempts}: {spread}");
        }
        assert_eq!(pause(7, 3), pause(7, 3));
    }

    #[test]
    fn a_target_that_fails_rests_and_is_tried_with_one_call() {
        let mut breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.failed(at(0), None);
            assert_eq!(breaker.room(at(0), 32), 32);
        }
        breaker.failed(at(0), None);
        assert_eq!((breaker.room(at(4), 32), breaker.room(at(5), 32)), (0, 1));
        for _ in 0..20 {
            breaker.failed(at(5), None);
        }
        assert_eq!((breaker.room(at(64), 32), breaker.room(at(65), 32)), (0, 1));
        breaker.succeeded();
        assert_eq!(breaker.room(at(6), 32), 32);
    }

    #[test]
    fn a_target_is_left_alone_for_as_long_as_it_asks_but_not_for_days() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), Some(SignedDuration::from_secs(30)));
        assert_eq!((breaker.room(at(29), 32), breaker.room(at(30), 32)), (0, 32));
        breaker.failed(at(30), Some(SignedDuration::from_hours(48)));
        assert_eq!((breaker.room(at(3629), 32), breaker.room(at(3630), 32)), (0, 32));
    }
}
