//! What wakes a session besides its sockets.
//!
//! Never says why it was rung: whoever has something for the session has left it where the session looks. Invariant: a ring
//! between two looks is seen at the second, and the session need not ask anew between them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    /// Has the session look.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ready when it was rung since the last time that this was ready.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        // First, so that who rings after the look below wakes.
        self.waker.register(cx.waker());
        if self.rung.load(Ordering::Acquire) && self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_ring_is_heard_once_whenever_it_comes() {
        let bell = Arc::new(Bell::default());
        let heard = || poll_fn(|cx| bell.poll(cx));
        assert!(heard().now_or_never().is_none());
        bell.ring();
        bell.ring();
        assert!(heard().now_or_never().is_some());
        assert!(heard().now_or_never().is_none());
        let far = Arc::clone(&bell);
        let (_, ()) = tokio::join!(tokio::task::spawn_blocking(move || far.ring()), heard());
    }
}
