//! Which session a CancelRequest means.
//!
//! Never answers the sender: a CancelRequest gets no reply, right key or wrong (manual, "Canceling Requests in
//! Progress").
//! Invariant: a cancel reaches a session only with both halves of the key that session was given, and only while it
//! lives.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::{Rng as _, RngCore as _};
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;

use crate::bell::Bell;
use crate::telemetry::CANCEL_REQUESTS;

/// What BackendKeyData carries and a CancelRequest repeats.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// Process id as clients see it: the backend's, so that it is the one in `pg_stat_activity` and in notifications.
    pub process_id: i32,
    /// Secret key: 4 bytes in protocol 3.0, 32 in 3.2.
    pub secret: Bytes,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

/// The keys of all live sessions. Clones share them.
#[derive(Clone, Default)]
pub struct CancelRegistry {
    /// By process id; backends of several servers may share one.
    sessions: Sessions,
}

type Sessions = Arc<DashMap<i32, Vec<Registered>>>;

struct Registered {
    secret: Bytes,
    cancels: Arc<Cancels>,
    bell: Arc<Bell>,
}

/// What a session shares with those who cancel it.
#[derive(Debug, Default)]
struct Cancels {
    /// How many came.
    asked: AtomicU64,
    /// Up to which of them the session has taken notice; all there can be, once it has ended.
    taken: AtomicU64,
    noticed: Notify,
}

impl Cancels {
    fn take_notice(&self, up_to: u64) {
        self.taken.store(up_to, Ordering::Release);
        self.noticed.notify_waiters();
    }
}

impl CancelRegistry {
    /// A registry without sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a key for a new session, with the process id of its backend, or one made up, and a secret of that many
    /// bytes. The session can be cancelled until the listener is dropped; its bell is rung when it is.
    #[must_use]
    pub(crate) fn register(
        &self,
        process_id: Option<i32>,
        secret_len: usize,
        bell: Arc<Bell>,
    ) -> (CancelKey, CancelListener) {
        let process_id = process_id.unwrap_or_else(|| rand::rng().random_range(1..=i32::MAX));
        let cancels = Arc::<Cancels>::default();
        // More than one would need two servers, or a key that was made up.
        let mut same = self.sessions.entry(process_id).or_insert_with(|| Vec::with_capacity(1));
        let secret = loop {
            let mut secret = vec![0; secret_len];
            rand::rng().fill_bytes(&mut secret);
            if same.iter().all(|session| session.secret != secret) {
                break Bytes::from(secret);
            }
        };
        same.push(Registered { secret: secret.clone(), cancels: Arc::clone(&cancels), bell });
        let key = CancelKey { process_id, secret };
        let sessions = Arc::clone(&self.sessions);
        (key.clone(), CancelListener { key, cancels, given: 0, confirmed: 0, sessions })
    }

    /// Wakes the session that has this key, if there is one. A wrong key costs a look-up and a comparison that takes as
    /// long wherever it differs.
    pub fn cancel(&self, key: &CancelKey) -> Option<CancelNotice> {
        let notice = self.sessions.get(&key.process_id).and_then(|same| {
            let session = same.iter().find(|session| bool::from(session.secret.ct_eq(&key.secret)))?;
            let number = session.cancels.asked.fetch_add(1, Ordering::AcqRel) + 1;
            session.bell.ring();
            Some(CancelNotice { number, cancels: Arc::clone(&session.cancels) })
        });
        let outcome = if notice.is_some() { "match" } else { "mismatch" };
        metrics::counter!(CANCEL_REQUESTS, "outcome" => outcome).increment(1);
        notice
    }

    /// How many sessions can be cancelled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.iter().map(|same| same.len()).sum()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl fmt::Debug for CancelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelRegistry").field("sessions", &self.len()).finish()
    }
}

/// A cancel on its way to a session.
#[derive(Debug)]
pub struct CancelNotice {
    number: u64,
    cancels: Arc<Cancels>,
}

impl CancelNotice {
    /// Waits until the session has taken notice, or has ended: what its client sends from then on is not cancelled.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn taken(self) {
        loop {
            // Before the look, so that what is noticed behind it wakes.
            let noticed = self.cancels.noticed.notified();
            if self.cancels.taken.load(Ordering::Acquire) >= self.number {
                return;
            }
            noticed.await;
        }
    }
}

/// A session's ear for cancels; dropping it ends the key's life.
pub struct CancelListener {
    key: CancelKey,
    cancels: Arc<Cancels>,
    /// Up to which cancel it has been told.
    given: u64,
    /// Up to which others know that.
    confirmed: u64,
    sessions: Sessions,
}

impl CancelListener {
    /// Takes a cancel that has come; several that came since the last call count as one.
    pub fn try_recv(&mut self) -> bool {
        self.confirm();
        let asked = self.cancels.asked.load(Ordering::Acquire);
        let came = asked != self.given;
        self.given = asked;
        came
    }

    /// The session has acted on what it has been given: lets those know who wait for that.
    pub fn confirm(&mut self) {
        if self.confirmed != self.given {
            self.confirmed = self.given;
            self.cancels.take_notice(self.given);
        }
    }
}

impl fmt::Debug for CancelListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelListener").field("process_id", &self.key.process_id).finish_non_exhaustive()
    }
}

impl Drop for CancelListener {
    fn drop(&mut self) {
        if let Entry::Occupied(mut same) = self.sessions.entry(self.key.process_id) {
            same.get_mut().retain(|session| session.secret != self.key.secret);
            if same.get().is_empty() {
                same.remove();
            }
        }
        // Whoever has cancelled it in this moment waits for nothing.
        self.cancels.take_notice(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_whole_key_cancels() {
        for secret_len in [4, 32] {
            let registry = CancelRegistry::new();
            let (key, mut listener) = registry.register(Some(7), secret_len, Arc::default());
            let (other, mut other_listener) = registry.register(Some(key.process_id), secret_len, Arc::default());
            let wrong = |process_id, secret: Bytes| {
                assert!(registry.cancel(&CancelKey { process_id, secret }).is_none());
            };
            wrong(key.process_id, Bytes::new());
            wrong(key.process_id, key.secret.slice(..secret_len - 1));
            wrong(key.process_id, [&key.secret[..], b"\0"].concat().into());
            wrong(0, key.secret.clone());
            assert!(!listener.try_recv() && !other_listener.try_recv());
            assert!(registry.cancel(&key).is_some());
            assert!(listener.try_recv());
            assert!(!other_listener.try_recv(), "backends of two servers have the same process id");
            assert!(registry.cancel(&other).is_some() && other_listener.try_recv());
            drop(other_listener);
            assert!(registry.cancel(&other).is_none() && registry.cancel(&key).is_some());
        }
    }

    #[tokio::test]
    async fn cancels_are_kept_and_counted_once() {
        let (registry, bell) = (CancelRegistry::new(), Arc::<Bell>::default());
        let rings = || std::future::poll_fn(|cx| bell.poll(cx)).now_or_never().is_some();
        let (key, mut listener) = registry.register(None, 4, Arc::clone(&bell));
        assert!(!rings());
        assert!(!listener.try_recv(), "nothing came yet");
        assert!(registry.cancel(&key).is_some() && registry.cancel(&key).is_some());
        assert!(rings() && listener.try_recv());
        assert!(!listener.try_recv(), "two that came together are one");
    }

    #[tokio::test]
    async fn a_cancel_is_noticed_once_the_session_asks_for_the_next() {
        let registry = CancelRegistry::new();
        let (key, mut listener) = registry.register(None, 32, Arc::default());
        let cancel = || Box::pin(registry.cancel(&key).expect("the key is right").taken());
        let mut first = cancel();
        assert!(first.as_mut().now_or_never().is_none());
        assert!(listener.try_recv());
        assert!(first.as_mut().now_or_never().is_none(), "the session may still be acting on it");
        let mut second = cancel();
        assert!(listener.try_recv());
        assert!(first.now_or_never().is_some());
        assert!(second.as_mut().now_or_never().is_none());
        drop(listener);
        assert!(second.now_or_never().is_some(), "a session that is gone needs no notice");
    }

    #[test]
    fn keys_are_unique_positive_and_die_with_the_session() {
        let registry = CancelRegistry::new();
        let sessions: Vec<_> = (0..1000).map(|_| registry.register(None, 32, Arc::default())).collect();
        assert_eq!(registry.len(), 1000);
        assert!(sessions.iter().all(|(key, _)| key.process_id > 0 && key.secret.len() == 32));
        let keys: Vec<_> = sessions.iter().map(|(key, _)| key.clone()).collect();
        drop(sessions);
        assert!(registry.is_empty());
        assert!(keys.iter().all(|key| registry.cancel(key).is_none()));
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = CancelKey { process_id: 7, secret: Bytes::from_static(b"s3cr") };
        assert_eq!(format!("{key:?}"), "CancelKey { process_id: 7, .. }");
    }
}
