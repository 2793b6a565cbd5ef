//! Which session a CancelRequest means.
//!
//! Never answers the sender: a CancelRequest gets no reply, right key or wrong (manual, "Canceling Requests in
//! Progress").
//! Invariant: a cancel reaches a session only with both halves of the key that session was given, and only while it
//! lives.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rand::Rng as _;
use subtle::ConstantTimeEq as _;
use tokio::sync::mpsc;

/// Length of the secrets handed out: what protocol 3.0 has room for.
const SECRET_LEN: usize = 4;

/// What BackendKeyData carries and a CancelRequest repeats.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelKey {
    /// Process id as clients see it: positive, made up by the proxy.
    pub process_id: i32,
    /// Secret key; 4 bytes in protocol 3.0.
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
    sessions: Arc<DashMap<i32, Registered>>,
}

struct Registered {
    secret: Bytes,
    wake: mpsc::Sender<()>,
}

impl CancelRegistry {
    /// A registry without sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a key for a new session. The session can be cancelled until the listener is dropped.
    #[must_use]
    pub fn register(&self) -> (CancelKey, CancelListener) {
        let secret = Bytes::copy_from_slice(&rand::random::<[u8; SECRET_LEN]>());
        let (wake, woken) = mpsc::channel(1);
        loop {
            let process_id = rand::rng().random_range(1..=i32::MAX);
            if let Entry::Vacant(vacant) = self.sessions.entry(process_id) {
                vacant.insert(Registered { secret: secret.clone(), wake });
                let listener = CancelListener { process_id, woken, sessions: Arc::clone(&self.sessions) };
                return (CancelKey { process_id, secret }, listener);
            }
        }
    }

    /// Wakes the session that has this key; returns whether there is one.
    pub fn cancel(&self, key: &CancelKey) -> bool {
        let known = self.sessions.get(&key.process_id).is_some_and(|session| {
            let matches = bool::from(session.secret.ct_eq(&key.secret));
            if matches {
                // A full channel means that the session has not yet seen an earlier cancel: one is enough.
                let _ = session.wake.try_send(());
            }
            matches
        });
        let outcome = if known { "match" } else { "mismatch" };
        metrics::counter!("countersign_cancel_requests_total", "outcome" => outcome).increment(1);
        known
    }

    /// How many sessions can be cancelled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl fmt::Debug for CancelRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelRegistry").field("sessions", &self.sessions.len()).finish()
    }
}

/// A session's ear for cancels; dropping it ends the key's life.
pub struct CancelListener {
    process_id: i32,
    woken: mpsc::Receiver<()>,
    sessions: Arc<DashMap<i32, Registered>>,
}

impl CancelListener {
    /// Waits for the next cancel; several that came since the last call count as one.
    ///
    /// # Cancel safety
    /// Cancel safe: a cancel that arrives while the future is dropped is returned by the next call.
    pub async fn recv(&mut self) {
        if self.woken.recv().await.is_none() {
            // Unreachable while registered, which is as long as this lives; waiting forever is the harmless answer.
            std::future::pending::<()>().await;
        }
    }

    /// Takes a cancel that has already come, without waiting; for a session that turns idle and wants to forget it.
    pub fn try_recv(&mut self) -> bool {
        self.woken.try_recv().is_ok()
    }
}

impl fmt::Debug for CancelListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelListener").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

impl Drop for CancelListener {
    fn drop(&mut self) {
        self.sessions.remove(&self.process_id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_whole_key_cancels() {
        let registry = CancelRegistry::new();
        let (key, mut listener) = registry.register();
        let (other, mut other_listener) = registry.register();
        let wrong = |process_id, secret: &Bytes| CancelKey { process_id, secret: secret.clone() };
        assert!(!registry.cancel(&wrong(key.process_id, &other.secret)));
        assert!(!registry.cancel(&wrong(key.process_id, &Bytes::new())));
        assert!(!registry.cancel(&wrong(key.process_id, &key.secret.slice(..3))));
        assert!(!registry.cancel(&wrong(0, &key.secret)));
        assert!(!listener.try_recv() && !other_listener.try_recv());
        assert!(registry.cancel(&key));
        listener.recv().await;
        assert!(!other_listener.try_recv());
    }

    #[tokio::test]
    async fn cancels_are_kept_and_counted_once() {
        let registry = CancelRegistry::new();
        let (key, mut listener) = registry.register();
        assert!(listener.recv().now_or_never().is_none(), "nothing came yet");
        assert!(registry.cancel(&key) && registry.cancel(&key));
        listener.recv().await;
        assert!(listener.recv().now_or_never().is_none(), "two that came together are one");
    }

    #[test]
    fn keys_are_unique_positive_and_die_with_the_session() {
        let registry = CancelRegistry::new();
        let sessions: Vec<_> = (0..1000).map(|_| registry.register()).collect();
        assert_eq!(registry.len(), 1000);
        assert!(sessions.iter().all(|(key, _)| key.process_id > 0 && key.secret.len() == SECRET_LEN));
        let keys: Vec<_> = sessions.iter().map(|(key, _)| key.clone()).collect();
        drop(sessions);
        assert!(registry.is_empty());
        assert!(keys.iter().all(|key| !registry.cancel(key)));
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = CancelKey { process_id: 7, secret: Bytes::from_static(b"s3cr") };
        assert_eq!(format!("{key:?}"), "CancelKey { process_id: 7, .. }");
    }
}
