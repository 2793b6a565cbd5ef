//! How many authentications may fail: per client address, and per user name, over the wire and on the page together.
//!
//! Never locks a user out: a stranger who fails on purpose would then lock out whom he likes. Attempts on such a user wait
//! a little; attempts from an address that fails too often are refused. Never grows: both tables have a fixed size, and
//! keep no address and no name, only keyed hashes of them.
//! Invariant: whether a user exists makes no difference here.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::LimitsConfig;
use crate::telemetry::AUTH_FAILURES;

/// The time in which a table forgets as many failures as it allows.
const PERIOD_S: f64 = 60.0;
/// The longest an attempt has to wait.
const DELAY_MAX: Duration = Duration::from_secs(5);
const SETS: usize = 512;
const WAYS: usize = 8;

/// What failed lately.
#[derive(Default)]
pub(crate) struct Failures {
    addresses: Table,
    users: Table,
}

/// One attempt to authenticate that may be made.
pub(crate) struct Attempt<'a> {
    failures: &'a Failures,
    from: Option<IpAddr>,
    user: &'a str,
    allowed: Allowed,
}

impl Failures {
    /// Waits until an attempt on the user may be made; `None` when too many from that address have failed. The address is
    /// that of the client, `None` for unix sockets, who count as one.
    pub(crate) async fn attempt<'a>(
        &'a self,
        from: Option<IpAddr>,
        user: &'a str,
        limits: &LimitsConfig,
    ) -> Option<Attempt<'a>> {
        let allowed = Allowed { per_address: limits.failures_per_address, per_user: limits.failures_per_user };
        if !self.may_try(from, allowed.per_address, Instant::now()) {
            metrics::counter!(AUTH_FAILURES, "outcome" => "refused").increment(1);
            return None;
        }
        let delay = self.delay(user, allowed.per_user, Instant::now());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Some(Attempt { failures: self, from, user, allowed })
    }

    /// Whether the address has failures left, with that many allowed per minute.
    fn may_try(&self, from: Option<IpAddr>, allowed: u32, now: Instant) -> bool {
        self.addresses.left(&network(from), allowed, now) >= 1.0
    }

    /// How long an attempt on the user has to wait, with that many failures allowed per minute without a wait.
    fn delay(&self, user: &str, allowed: u32, now: Instant) -> Duration {
        let lacking = 1.0 - self.users.left(&user, allowed, now);
        if lacking > 0.0 { Duration::from_secs_f64(lacking).min(DELAY_MAX) } else { Duration::ZERO }
    }

    /// Counts one from that address, and says whether that is one of so many allowed per minute.
    pub(crate) fn is_one_of(&self, from: Option<IpAddr>, allowed: u32) -> bool {
        let now = Instant::now();
        let may = self.may_try(from, allowed, now);
        self.addresses.take(&network(from), allowed, now);
        may
    }

    fn count(&self, from: Option<IpAddr>, user: &str, allowed: Allowed, now: Instant) {
        self.addresses.take(&network(from), allowed.per_address, now);
        self.users.take(&user, allowed.per_user, now);
    }

    fn forget(&self, from: Option<IpAddr>, user: &str) {
        self.addresses.forget(&network(from));
        self.users.forget(&user);
    }
}

impl Attempt<'_> {
    /// Forgets the failures of this address and user.
    pub(crate) fn succeeded(self) {
        self.failures.forget(self.from, self.user);
    }

    /// Counts a failure.
    pub(crate) fn failed(self) {
        metrics::counter!(AUTH_FAILURES, "outcome" => "failed").increment(1);
        self.failures.count(self.from, self.user, self.allowed, Instant::now());
    }
}

/// Failures allowed per minute.
#[derive(Clone, Copy)]
struct Allowed {
    per_address: u32,
    per_user: u32,
}

/// Who counts as one: an IPv4 address, a network of 64 bits of IPv6, and all clients of unix sockets.
pub(crate) fn network(from: Option<IpAddr>) -> Option<IpAddr> {
    match from? {
        IpAddr::V6(address) => Some(IpAddr::V6((address.to_bits() >> 64 << 64).into())),
        address @ IpAddr::V4(_) => Some(address),
    }
}

/// Token buckets by key. A key that finds no room takes that of the key with the fewest failures.
struct Table {
    hasher: RandomState,
    began: Instant,
    sets: Mutex<Box<[[Bucket; WAYS]]>>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Hash of the key; 0 in a bucket that nobody has.
    key: u64,
    /// Failures left; below 0 the debt of those that came at the same time.
    left: f64,
    /// Seconds since the table began, at the time of `left`.
    at: f64,
}

impl Bucket {
    fn left(&self, allowed: f64, now: f64) -> f64 {
        (self.left + (now - self.at).max(0.0) * allowed / PERIOD_S).min(allowed)
    }
}

impl Default for Table {
    fn default() -> Self {
        let sets = vec![[Bucket::default(); WAYS]; SETS].into_boxed_slice();
        Self { hasher: RandomState::new(), began: Instant::now(), sets: Mutex::new(sets) }
    }
}

impl Table {
    fn left(&self, key: &impl Hash, allowed: u32, now: Instant) -> f64 {
        let (allowed, now) = (f64::from(allowed), self.seconds(now));
        self.with(key, |key, set| {
            set.iter().find(|bucket| bucket.key == key).map_or(allowed, |bucket| bucket.left(allowed, now))
        })
    }

    fn take(&self, key: &impl Hash, allowed: u32, now: Instant) {
        let (allowed, now) = (f64::from(allowed), self.seconds(now));
        self.with(key, |key, set| {
            let known = set.iter().position(|bucket| bucket.key == key);
            let emptiest = || {
                let room = |bucket: &Bucket| if bucket.key == 0 { f64::MAX } else { bucket.left(allowed, now) };
                let rooms = set.iter().map(room).enumerate();
                rooms.max_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(way, _)| way)
            };
            let way = known.unwrap_or_else(emptiest);
            let before = if known.is_some() { set[way].left(allowed, now) } else { allowed };
            set[way] = Bucket { key, left: (before - 1.0).max(-allowed), at: now };
        });
    }

    fn forget(&self, key: &impl Hash) {
        self.with(key, |key, set| {
            set.iter_mut().filter(|bucket| bucket.key == key).for_each(|bucket| *bucket = Bucket::default());
        });
    }

    fn with<T>(&self, key: &impl Hash, act: impl FnOnce(u64, &mut [Bucket; WAYS]) -> T) -> T {
        let hash = self.hasher.hash_one(key).max(1);
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        // The remainder is below the number of sets, whatever the width of usize.
        let set = usize::try_from(hash % SETS as u64).unwrap_or_default();
        act(hash, &mut sets[set])
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.began).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Allowed = Allowed { per_address: 10, per_user: 10 };

    fn peer(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn an_address_is_refused_after_its_failures_and_let_in_again_later() {
        let (failures, now) = (Failures::default(), Instant::now());
        for count in 0..10 {
            assert!(failures.may_try(peer("192.0.2.7"), 10, now), "{count}");
            failures.count(peer("192.0.2.7"), &count.to_string(), ALLOWED, now);
        }
        assert!(!failures.may_try(peer("192.0.2.7"), 10, now));
        assert!(failures.may_try(peer("192.0.2.8"), 10, now), "another address is none of his business");
        assert!(!failures.may_try(peer("192.0.2.7"), 10, now + seconds(5)));
        assert!(failures.may_try(peer("192.0.2.7"), 10, now + seconds(7)), "one in six seconds");
        failures.count(peer("192.0.2.7"), "x", ALLOWED, now + seconds(7));
        assert!(!failures.may_try(peer("192.0.2.7"), 10, now + seconds(7)));
        failures.forget(peer("192.0.2.7"), "x");
        assert!(failures.may_try(peer("192.0.2.7"), 10, now + seconds(7)), "a success is a new beginning");
    }

    #[test]
    fn what_comes_at_once_is_paid_for_but_not_for_ever() {
        let (failures, now) = (Failures::default(), Instant::now());
        for _ in 0..1000 {
            failures.count(None, "alice", ALLOWED, now);
        }
        assert!(!failures.may_try(None, 10, now + seconds(60)));
        assert!(failures.may_try(None, 10, now + seconds(67)));
    }

    #[test]
    fn attempts_on_a_user_wait_whoever_makes_them() {
        let (failures, now) = (Failures::default(), Instant::now());
        for count in 0..10_u8 {
            assert_eq!(failures.delay("alice", 10, now), Duration::ZERO, "{count}");
            failures.count(peer(&format!("192.0.2.{count}")), "alice", ALLOWED, now);
        }
        assert_eq!(failures.delay("alice", 10, now), seconds(1));
        failures.count(peer("198.51.100.1"), "alice", ALLOWED, now);
        assert_eq!(failures.delay("alice", 10, now), seconds(2));
        for _ in 0..100 {
            failures.count(peer("198.51.100.2"), "alice", ALLOWED, now);
        }
        assert_eq!(failures.delay("alice", 10, now), DELAY_MAX, "never a lock-out");
        assert_eq!(failures.delay("bob", 10, now), Duration::ZERO);
        failures.forget(peer("192.0.2.1"), "alice");
        assert_eq!(failures.delay("alice", 10, now), Duration::ZERO);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (failures, now) = (Failures::default(), Instant::now());
        for count in 0..10 {
            failures.count(peer(&format!("2001:db8:1:2::{count}")), "x", ALLOWED, now);
        }
        assert!(!failures.may_try(peer("2001:db8:1:2:ffff::1"), 10, now));
        assert!(failures.may_try(peer("2001:db8:1:3::1"), 10, now));
    }

    #[test]
    fn strangers_do_not_push_the_worst_out() {
        let (failures, now) = (Failures::default(), Instant::now());
        for _ in 0..20 {
            failures.count(peer("192.0.2.7"), "alice", ALLOWED, now);
        }
        for number in 0..100_000_u32 {
            failures.count(peer(&std::net::Ipv4Addr::from(number).to_string()), &number.to_string(), ALLOWED, now);
        }
        assert!(!failures.may_try(peer("192.0.2.7"), 10, now));
        assert_eq!(failures.delay("alice", 10, now), DELAY_MAX);
    }
}
