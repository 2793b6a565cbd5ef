//! How many calls there may be: of one caller, and from one address.
//!
//! Never grows without end: who has not called for a while is forgotten. Invariant: a new limit counts from the next call.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::WebConfig;
use crate::failures::network;

/// Callers and addresses remembered before those that have not called for a while are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// How often callers have called lately.
pub(super) struct Pace {
    limits: ArcSwap<Limits>,
}

struct Limits {
    per_caller: NonZeroU32,
    per_address: NonZeroU32,
    callers: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<Option<IpAddr>>,
}

impl Limits {
    fn of(config: &WebConfig) -> Self {
        let (per_caller, per_address) = (config.calls_per_caller, config.calls_per_address);
        Self {
            per_caller,
            per_address,
            callers: RateLimiter::keyed(Quota::per_minute(per_caller)),
            addresses: RateLimiter::keyed(Quota::per_minute(per_address)),
        }
    }
}

impl Pace {
    pub(super) fn new(config: &WebConfig) -> Self {
        Self { limits: ArcSwap::from_pointee(Limits::of(config)) }
    }

    /// Counts a call from there.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(super) fn count_address(&self, from: Option<IpAddr>, config: &WebConfig) -> Result<(), Duration> {
        let limits = self.limits(config);
        take(&limits.addresses, &network(from))
    }

    /// Counts a call of that caller.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub(super) fn count_caller(&self, name: &str, config: &WebConfig) -> Result<(), Duration> {
        let limits = self.limits(config);
        take(&limits.callers, &name.to_owned())
    }

    fn limits(&self, config: &WebConfig) -> Arc<Limits> {
        let limits = self.limits.load_full();
        if (limits.per_caller, limits.per_address) == (config.calls_per_caller, config.calls_per_address) {
            return limits;
        }
        let limits = Arc::new(Limits::of(config));
        self.limits.store(Arc::clone(&limits));
        limits
    }
}

fn take<K: Clone + Eq + std::hash::Hash>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), Duration> {
    if limiter.len() > REMEMBERED_MAX {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(per_caller: u32, per_address: u32) -> WebConfig {
        let mut config = WebConfig::at(([127, 0, 0, 1], 0).into(), String::new());
        config.calls_per_caller = per_caller.try_into().unwrap();
        config.calls_per_address = per_address.try_into().unwrap();
        config
    }

    #[test]
    fn each_caller_and_address_counts_by_itself() {
        let config = config(2, 3);
        let pace = Pace::new(&config);
        let from = |address: &str| Some(address.parse().unwrap());
        for _ in 0..2 {
            assert!(pace.count_caller("bob", &config).is_ok());
        }
        let wait = pace.count_caller("bob", &config).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(pace.count_caller("carol", &config).is_ok());
        for last in 1..=3 {
            assert!(pace.count_address(from(&format!("2001:db8::{last}")), &config).is_ok());
        }
        assert!(pace.count_address(from("2001:db8::9"), &config).is_err(), "a network of 64 bits is one");
        assert!(pace.count_address(from("2001:db8:1::9"), &config).is_ok());
        assert!(pace.count_address(None, &config).is_ok());
    }

    #[test]
    fn a_new_limit_counts_at_once() {
        let (narrow, wide) = (config(1, 1), config(5, 5));
        let pace = Pace::new(&narrow);
        assert!(pace.count_caller("bob", &narrow).is_ok() && pace.count_caller("bob", &narrow).is_err());
        assert!(pace.count_caller("bob", &wide).is_ok());
    }
}
