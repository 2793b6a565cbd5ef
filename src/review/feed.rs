//! What has changed, for those who watch: pages that show it.
//!
//! Never the record of anything. Invariant: nobody waits for a watcher, and an event holds nothing but an id: who may know
//! more asks for it.

use tokio::sync::broadcast;

use super::{RequestId, Review};
use crate::store::StoreEvent;

/// How many events a slow watcher may lag behind before it misses some.
const LAG_MAX: usize = 1024;

/// Something has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// This request, or what is shown of it.
    Request(RequestId),
    /// Some grant.
    Grants,
}

/// The source of events.
#[derive(Debug)]
pub(super) struct Feed(broadcast::Sender<Changed>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(LAG_MAX))
    }
}

impl Feed {
    pub(super) fn tell(&self, changed: Changed) {
        // Without a receiver there is nobody to tell.
        let _ = self.0.send(changed);
    }

    /// Passes on what another process has changed.
    pub(super) fn tell_of(&self, event: StoreEvent) {
        match event {
            StoreEvent::Changed(id) => self.tell(Changed::Request(id)),
            StoreEvent::Grants | StoreEvent::Missed => self.tell(Changed::Grants),
        }
    }
}

impl Review {
    /// Starts watching.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Changed> {
        self.feed.0.subscribe()
    }
}
