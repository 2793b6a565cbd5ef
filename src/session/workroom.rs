//! Room for looking at texts that are long, or take long: they need time and memory, which other sessions need too.
//!
//! Never looks at a text. Invariant: no more is looked at than there are processors, and no more than one text of the
//! largest length, or shorter ones that are as long together.

use std::num::NonZeroUsize;
use std::thread;

use countersign_policy::analysis::TEXT_BYTES_MAX;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of text that may be looked at, all together.
const BYTES_MAX: usize = TEXT_BYTES_MAX;

/// See the module documentation.
pub(crate) struct Workroom {
    bytes: Semaphore,
    /// What each takes at least.
    share: usize,
}

impl Workroom {
    pub(crate) fn new() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { bytes: Semaphore::new(BYTES_MAX), share: BYTES_MAX / processors }
    }

    /// Waits until there is room for so many bytes; those who came first go first.
    pub(super) async fn enter(&self, length: usize) -> Option<SemaphorePermit<'_>> {
        let bytes = u32::try_from(length.max(self.share).min(BYTES_MAX)).unwrap_or(u32::MAX);
        // It is never closed.
        self.bytes.acquire_many(bytes).await.ok()
    }
}

/// Runs what may take long; the other tasks of this thread go on in another one, where the runtime has several.
pub(super) fn lengthy(work: impl FnOnce()) {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}
