//! What happens right now, for those who watch: the demo prints it.
//!
//! Never the record of anything; the audit trail is. Invariant: nobody waits for a watcher, and no event holds a
//! statement, a parameter or a value.

use tokio::sync::broadcast;

/// How many events a slow watcher may lag behind before it misses some.
const LAG_MAX: usize = 256;

/// Something that happened in the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// A statement waits.
    Held {
        /// Id of the access request.
        id: String,
        /// Requester.
        user: String,
        /// What it would do: `update on public.orders`.
        summary: String,
        /// Groups that must approve.
        reviewers: Vec<String>,
    },
    /// A statement was denied by a rule.
    Denied {
        /// Requester.
        user: String,
        /// Name of the rule, if it was one.
        rule: Option<String>,
    },
    /// Enough people approved.
    Approved {
        /// Id of the access request.
        id: String,
        /// The last of them.
        by: String,
    },
    /// A reviewer said no.
    Rejected {
        /// Id of the access request.
        id: String,
        /// Who.
        by: String,
    },
    /// It ended without a decision: timed out, withdrawn.
    Closed {
        /// Id of the access request.
        id: String,
        /// The state it ended in, lower case.
        state: String,
    },
    /// It ran, or failed upstream.
    Finished {
        /// Id of the access request.
        id: String,
        /// Command tag or SQLSTATE.
        outcome: Result<String, String>,
    },
    /// A result left with masked columns.
    Masked {
        /// Requester.
        user: String,
        /// The columns, by name.
        columns: Vec<String>,
    },
}

/// The source of events.
pub struct Live {
    sender: broadcast::Sender<LiveEvent>,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(LAG_MAX) }
    }
}

impl Live {
    /// Starts watching.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<LiveEvent> {
        self.sender.subscribe()
    }

    /// Whether anybody watches; making an event can be spared otherwise.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells the watchers, if there are any.
    pub fn tell(&self, event: LiveEvent) {
        // Without a receiver there is nobody to tell.
        let _ = self.sender.send(event);
    }
}
