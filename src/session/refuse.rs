//! Refusing a request so that client and upstream are in the state PostgreSQL would be in.
//!
//! Never claims a transaction status: inside a transaction the upstream itself is made to fail, its error is replaced by
//! ours, and what follows is its own. Invariant: nothing of the refused request leaves.

use bytes::Bytes;
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::{ProtocolError, response};

use super::expected::Expected;
use super::hopeless::Hopeless;
use super::machine::Machine;
use super::messages;
use super::parked::{Gate, Parked, Shape};
use crate::relay::Poison;

impl Machine {
    /// Refuses the request behind the gate, whatever it is.
    pub(super) fn refuse_gated(&mut self, error: Bytes) {
        match std::mem::replace(&mut self.gate, Gate::Open) {
            Gate::Held(held) => self.refuse_parked(held.parked, error),
            Gate::Opening(request) => self.refuse_parked(request.parked, error),
            Gate::Approved(request) => self.refuse_parked(request.parked, error),
            other => self.gate = other,
        }
    }

    pub(super) fn refuse_parked(&mut self, parked: Parked, error: Bytes) {
        match parked.shape {
            Shape::Query(_) => self.refuse_query(error),
            Shape::Execute { group, .. } => {
                self.group = group;
                self.refuse_extended(error);
            }
        }
    }

    /// Answers a Query with an error. Outside a transaction the upstream never hears of it; inside one, it is made to
    /// fail, and its own error is replaced.
    pub(super) fn refuse_query(&mut self, error: Bytes) {
        if self.status == TransactionStatus::Idle && !self.in_pipeline && self.expected.is_empty() {
            self.to_client.extend_from_slice(&error);
            response::ready_for_query(&mut self.to_client, TransactionStatus::Idle);
        } else {
            self.relay.poison(Poison::Query);
            self.expect(Expected::PoisonQuery(error));
            self.in_pipeline = false;
        }
    }

    /// What a message of the extended protocol says; `None` when it is malformed, which is answered with an error, as
    /// PostgreSQL does: where the next message begins is still known.
    pub(super) fn well_formed<T>(&mut self, read: Result<T, ProtocolError>) -> Option<T> {
        read.map_err(|error| self.refuse_extended(messages::malformed(error))).ok()
    }

    /// Answers an extended-protocol message with an error: the upstream is made to fail in its place and skips to Sync.
    /// What was collected before it is answered first, except for what waits for the very decision that has been made.
    pub(super) fn refuse_extended(&mut self, error: Bytes) {
        if self.group.is_undecided() {
            let unsent = self.group.split_guarded();
            self.release_group();
            self.group = unsent;
            self.drop_group();
        } else {
            self.release_group();
        }
        self.relay.poison(Poison::Execute);
        self.in_pipeline = true;
        self.expect(Expected::PoisonExecute(error));
        self.skipping = true;
    }

    /// Answers an extended-protocol message that fails whatever is decided. When something collected before it waits for a
    /// decision, that is what fails: its replies, which would come before this error, are not to be had.
    pub(super) fn fail_extended(&mut self, error: Bytes) {
        self.release_group();
        if !self.skipping {
            self.refuse_extended(error);
        }
    }

    /// Answers a Query that can only fail (ADR 5). The upstream is to say why, in its own words and with the position: it
    /// gets the text to parse, and nothing that could execute it.
    pub(super) fn fail_query(&mut self, text: &str, hopeless: &Hopeless) {
        if !hopeless.upstream_agrees {
            return self.refuse_query(messages::hopeless(hopeless));
        }
        self.relay.parse_only(text);
        self.expect(Expected::OwnParse);
        self.expect(Expected::PoisonExecute(messages::hopeless(hopeless)));
        self.expect(Expected::Sync);
        self.in_pipeline = false;
    }

    /// The same for an Execute: its Parse is sent, if it is among what was collected, and its Bind is not.
    pub(super) fn fail_execute(&mut self, hopeless: &Hopeless) {
        let unsent = self.group.split_undecided();
        self.release_group();
        self.group = unsent;
        self.drop_group();
        self.refuse_extended(messages::hopeless(hopeless));
    }
}
