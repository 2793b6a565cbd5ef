//! What happens right now, for those who watch: the demo prints it, later pages show it.
//!
//! Never the record of anything; the audit trail is. Invariant: nobody waits for a watcher.

use countersign_policy::subject::Subject;
use tokio::sync::broadcast;

use crate::session::machine::Judged;

/// How many happenings a slow watcher may lag behind before it misses some.
const LAG_MAX: usize = 256;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Who asked.
    pub user: String,
    /// Database as the client named it.
    pub database: String,
    /// `allow`, `hold` or `deny`.
    pub verdict: &'static str,
    /// Names of the statement's effects.
    pub effects: Vec<&'static str>,
    /// Rules that matched.
    pub rules: Vec<String>,
    /// The access request, when it was judged again after an approval.
    pub access_request: Option<String>,
    /// The statement text.
    pub statement: String,
}

/// The source of happenings.
pub struct Live {
    sender: broadcast::Sender<Happening>,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(LAG_MAX) }
    }
}

impl Live {
    /// Starts watching.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Happening> {
        self.sender.subscribe()
    }

    /// Tells the watchers, if there are any.
    pub(crate) fn judged(&self, subject: &Subject, judged: &Judged) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        let happening = Happening {
            user: subject.user.clone(),
            database: subject.database.clone(),
            verdict: judged.verdict,
            effects: judged.effects.iter().map(countersign_policy::Effect::as_str).collect(),
            rules: judged.rules.clone(),
            access_request: judged.access_request.map(|id| id.to_string()),
            statement: judged.statement.to_string(),
        };
        // Without a receiver there is nobody to tell.
        let _ = self.sender.send(happening);
    }
}
