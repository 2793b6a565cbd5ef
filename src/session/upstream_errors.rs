//! Errors of the upstream, and what they take back.
//!
//! Never hides one: the client sees the upstream's error, or ours in its place. Invariant: what the upstream skips after an
//! error is not believed to have happened.
//! Source: PostgreSQL manual, "Extended Query".

use bytes::Bytes;
use countersign_protocol::FrameRef;
use countersign_protocol::backend;

use super::copy_in::CopyIn;
use super::expected::Expected;
use super::machine::{Machine, Stop};
use super::results::ResultPlan;
use super::upstream_side::{names_unknown, unexpected};
use super::words::Surroundings;
use crate::review::Outcome;

impl Machine {
    pub(super) fn error_response(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        let error = self.scrubbed(frame, around);
        let severity = backend::error_field(frame.body(), b'V').unwrap_or_default();
        if matches!(severity, b"FATAL" | b"PANIC") {
            self.upstream_fatal = true;
            self.to_client.extend_from_slice(&error);
            return Ok(());
        }
        let code = backend::error_field(frame.body(), b'C').unwrap_or_default();
        let code = String::from_utf8_lossy(code).into_owned();
        if self.guard_error(frame)? {
            return Ok(());
        }
        match self.expected.front() {
            None | Some(Expected::CopySyncs(_)) => return Err(unexpected(frame)),
            Some(Expected::Own(_)) => return Err(names_unknown()),
            Some(Expected::Query(reply)) => {
                reply.run.outcome = Some(Err(code));
                reply.failed = true;
                reply.plan = ResultPlan::Unknown;
                if reply.run.may_copy_in() {
                    self.copy_in = CopyIn::No;
                    self.copy_failed(frame)?;
                }
                self.to_client.extend_from_slice(&error);
            }
            Some(Expected::PoisonQuery(ours)) => {
                let ours = std::mem::replace(ours, Bytes::new());
                self.to_client.extend_from_slice(&ours);
            }
            // Committing failed.
            Some(Expected::Sync) => self.to_client.extend_from_slice(&error),
            Some(Expected::PoisonExecute(ours)) => {
                let ours = ours.clone();
                self.to_client.extend_from_slice(&ours);
                self.skip_to_sync(&code);
            }
            Some(Expected::Execute(_)) => {
                self.skip_to_sync(&code);
                self.copy_failed(frame)?;
                self.to_client.extend_from_slice(&error);
            }
            Some(
                Expected::Parse(_)
                | Expected::OwnParse
                | Expected::Bind(_)
                | Expected::Close(_)
                | Expected::Describe(_)
                | Expected::OwnDescribe(_),
            ) => {
                self.to_client.extend_from_slice(&error);
                self.skip_to_sync(&code);
            }
        }
        Ok(())
    }

    /// The upstream skips everything up to Sync; so does what we believe.
    fn skip_to_sync(&mut self, code: &str) {
        let (skipped, has_sync) = self.expected.skip_to_sync();
        if !has_sync {
            // Newest first: what was not sent yet comes after what was.
            self.abandon_gated();
            self.drop_group();
            self.postponed = None;
            self.until_settled = false;
            self.skipping = true;
        }
        // The oldest is what failed; the others have not been looked at.
        let failed = skipped.len().saturating_sub(1);
        for (index, entry) in skipped.into_iter().enumerate() {
            if let Expected::Execute(reply) = entry {
                let mut run = reply.run;
                self.copy_ended(&run);
                if index == failed {
                    let changes = run.analysis.statements.iter().flat_map(|statement| &statement.session_changes);
                    changes.for_each(|change| self.statements.forget_failed(change));
                }
                if let Some(portal) = self.statements.portal(&reply.portal) {
                    portal.approved = None;
                }
                run.outcome = Some(Err(code.to_owned()));
                self.finish(run, Outcome::Unknown);
            } else {
                self.take_back(entry);
            }
        }
    }
}
