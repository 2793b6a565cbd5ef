//! The statements of a transaction that are approved, and run, as one (`SET countersign.batch = on`; ADR 10).
//!
//! Never sends a statement that it collects, and never says that one has run: each is answered with the command tag
//! `QUEUED`. Invariant: what the end of the transaction sends is judged as one text that holds every statement since the
//! first that was held, in order and byte for byte.

use std::sync::Arc;

use bytes::BytesMut;
use countersign_policy::analysis::TransactionBound;
use countersign_policy::verdict::Verdict;
use countersign_policy::{Analysis, Effect, Effects};
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::frontend::{self, tag};
use countersign_protocol::{Frame, response, sqlstate};

use super::hopeless::Hopeless;
use super::machine::{Machine, Stop};
use super::messages;
use super::names;
use super::parked::Asked;
use super::words::Surroundings;

/// What the client is told of a statement that waits for the end of its transaction.
const QUEUED: &str = "QUEUED";

/// Statements that wait for the end of their transaction.
pub(super) struct Batch {
    text: String,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(separator(&self.text));
        self.text.push_str(text);
    }
}

/// What goes between two statements, so that the first one ends. Behind a comment only a new line is sure to.
fn separator(before: &str) -> &'static str {
    let before = before.trim_end();
    let last_line = before.rsplit('\n').next().unwrap_or_default();
    match (last_line.contains("--"), before.ends_with(';')) {
        (true, _) => "\n;\n",
        (false, true) => "\n",
        (false, false) => ";\n",
    }
}

/// Whether it can wait for the end of its transaction: it does not end it, and no data of the client's belong to it.
fn can_wait(analysis: &Analysis) -> bool {
    const CONVERSES: Effects = Effects::of(&[Effect::CopyIn, Effect::CopyOut]);
    !analysis.effects().intersects(CONVERSES)
        && analysis
            .statements
            .iter()
            .all(|statement| !statement.transaction_bound.is_some_and(TransactionBound::is_end))
        && names::changes_reading(analysis).is_none()
}

/// How the one statement of the text begins or ends the transaction, if it does.
fn bound_of(analysis: &Analysis) -> Option<TransactionBound> {
    match analysis.statements.as_slice() {
        [statement] => statement.transaction_bound,
        _ => None,
    }
}

impl Machine {
    /// Whether a Query that would be held begins a batch instead.
    pub(super) fn begins_batch(&self, frame: &Frame, analysis: &Analysis) -> bool {
        let is_in_block = self.status == TransactionStatus::InBlock && !self.status_moved && !self.in_pipeline;
        self.names.choices.batch && frame.tag == tag::QUERY && is_in_block && can_wait(analysis)
    }

    pub(super) fn begin_batch(&mut self, text: &str) {
        self.batch = Some(Batch { text: text.to_owned() });
        self.say_queued();
    }

    /// A Query while statements are collected: one of them, or what ends them.
    pub(super) fn query_in_batch(&mut self, frame: &Frame, text: &Arc<str>, around: &Surroundings) -> Result<(), Stop> {
        let Some(analysis) = self.read(text, around) else {
            self.postponed = Some(frame.clone());
            return Ok(());
        };
        match bound_of(&analysis) {
            Some(TransactionBound::Commit) => return self.send_batch(text, around),
            // Nothing of it has been sent, so there is nothing of it to take back.
            Some(TransactionBound::Rollback) => {
                self.batch = None;
                return self.query(frame, around);
            }
            Some(TransactionBound::Begin) | None => {}
        }
        let asked = Asked::query(Arc::clone(text), Arc::clone(&analysis), self.names.generation(&around.catalog));
        if let Some(hopeless) = Hopeless::of(text, &analysis).filter(|error| error.sqlstate == sqlstate::SYNTAX_ERROR) {
            self.batch = None;
            self.fail_query(text, &hopeless);
            return Ok(());
        }
        if let Some(error) = self.denied_in_batch(&asked, around) {
            self.batch = None;
            self.refuse_query(error);
            return Ok(());
        }
        let limit = around.config.limits.request_len_max;
        match &mut self.batch {
            Some(_) if !can_wait(&analysis) => {
                self.batch = None;
                self.refuse_query(messages::not_in_a_batch());
            }
            Some(batch) if batch.len().saturating_add(text.len()) > limit => {
                self.batch = None;
                self.refuse_query(messages::too_large(limit));
            }
            Some(batch) => {
                batch.push(text);
                self.say_queued();
            }
            None => {}
        }
        Ok(())
    }

    /// The refusal of what is denied wherever it stands. Whether all of it is allowed together shows at its end.
    fn denied_in_batch(&mut self, asked: &Asked, around: &Surroundings) -> Option<bytes::Bytes> {
        if let Some(setting) = names::changes_reading(&asked.analysis) {
            return Some(messages::pinned(setting));
        }
        if let Some(refusal) = self.changes_login_role(&asked.analysis, around) {
            return Some(refusal);
        }
        if let Some(wrong) = names::wrong_choice(&asked.analysis) {
            return Some(messages::wrong_choice(&wrong));
        }
        match self.judge(asked, around).verdict {
            Verdict::Deny(denial) if denial.rule.is_some() => self.refused(asked, around),
            Verdict::Allow(_) | Verdict::Hold(_) | Verdict::Deny(_) => None,
        }
    }

    /// The transaction is to be committed: everything that was collected, and its end, is one Query.
    fn send_batch(&mut self, end: &str, around: &Surroundings) -> Result<(), Stop> {
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        batch.push(end);
        let mut bytes = BytesMut::new();
        frontend::put_query(&mut bytes, &batch.text);
        match Frame::take(&mut bytes, |_| u32::MAX)? {
            Some(frame) => self.query(&frame, around),
            None => Ok(()),
        }
    }

    /// Refuses a request of the extended protocol while statements are collected: it could not be part of one text.
    pub(super) fn refused_in_batch(&mut self) -> bool {
        let collects = self.batch.take().is_some();
        if collects {
            self.refuse_extended(messages::not_in_a_batch());
        }
        collects
    }

    fn say_queued(&mut self) {
        response::command_complete(&mut self.to_client, QUEUED);
        response::ready_for_query(&mut self.to_client, self.status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(texts: &[&str], joined: &str) {
        let mut batch = Batch { text: texts[0].to_owned() };
        texts[1..].iter().for_each(|text| batch.push(text));
        assert_eq!(batch.text, joined);
    }

    #[test]
    fn statements_end_where_they_ended() {
        check(&["DELETE FROM a", "COMMIT"], "DELETE FROM a;\nCOMMIT");
        check(&["DELETE FROM a;", "COMMIT"], "DELETE FROM a;\nCOMMIT");
        check(&["DELETE FROM a; ", "COMMIT"], "DELETE FROM a; \nCOMMIT");
        check(&["DELETE FROM a -- all;", "COMMIT"], "DELETE FROM a -- all;\n;\nCOMMIT");
        check(&["DELETE FROM a /* all; */", "COMMIT"], "DELETE FROM a /* all; */;\nCOMMIT");
        check(&["SELECT 'a'", "'b'"], "SELECT 'a';\n'b'");
    }
}
