//! The comment by which the upstream's log can be tied to the audit trail.
//!
//! Never part of what is analysed, approved or recorded, and never in what is not understood. Invariant: it stands behind the
//! last token, and holds nothing that a client chose.

use bytes::{Bytes, BytesMut};
use countersign_protocol::frontend::{self, tag};

use super::expected::Run;
use super::machine::Machine;
use super::words::Surroundings;
use crate::config::Correlation;

impl Machine {
    /// A Query with a comment at its end that names its request, or its session and verdict, where the database has that. What
    /// is not understood stays as it is: what follows it may not be a comment there.
    pub(super) fn marked(&self, bytes: &Bytes, run: &Run, around: &Surroundings) -> Option<Bytes> {
        let subject = &self.identity.subject;
        let is_wanted = around.config.correlation(&subject.database) == Correlation::Comment
            && bytes.first() == Some(&tag::QUERY)
            && run.analysis.not_understood().is_none();
        is_wanted.then(|| {
            let mark = match run.access_request {
                Some(id) => id.to_string(),
                None => format!("{}/{}", self.identity.session, self.serial),
            };
            // A comment of its own, also behind one that goes to the end of its line.
            let last_line = run.text.rsplit('\n').next().unwrap_or_default();
            let between = if last_line.contains("--") { '\n' } else { ' ' };
            let mut marked = BytesMut::new();
            frontend::put_query(&mut marked, &format!("{}{between}/* countersign:{mark} */", run.text));
            marked.freeze()
        })
    }
}
