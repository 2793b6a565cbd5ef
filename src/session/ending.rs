//! How a session ends, and what ends it: either side leaves, the proxy drains, or the client was idle for too long.
//!
//! Never loses track of an approved request: what runs is waited for, what was not sent is withdrawn.
//! Invariant: after [`Machine::stop`] nothing more goes to either side, except what already stands in the buffers.

use std::time::Duration;

use bytes::Bytes;
use countersign_policy::rule::Mode;
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::sqlstate;
use jiff::SignedDuration;

use super::copy_in::CopyIn;
use super::machine::{Draining, Machine, Stop, next_notice};
use super::messages;
use super::parked::{Gate, Shape};
use super::words::{Command, Surroundings};
use crate::relay::Control;
use crate::review::{AccessRequest, Outcome, RequestId};

impl Machine {
    pub(super) fn is_idle(&self) -> bool {
        self.is_between_transactions() && self.client_in.is_empty()
    }

    /// Whether what was begun has ended, whatever its client asks for next.
    pub(super) fn is_between_transactions(&self) -> bool {
        self.expected.is_empty()
            && self.group.is_empty()
            && self.status == TransactionStatus::Idle
            && matches!(self.gate, Gate::Open)
            && !(self.skipping || self.in_pipeline)
    }

    /// Notes since when nobody but the client is waited for. A session whose request is held is not idle, and as in
    /// PostgreSQL neither is one in the middle of a pipeline.
    pub(super) fn watch_idleness(&mut self, around: &Surroundings) {
        let Some(limit) = self.idle_limit(around) else {
            self.idle_until = None;
            return;
        };
        let waits = self.expected.is_settled()
            && self.group.is_empty()
            && matches!(self.gate, Gate::Open)
            && !(self.blocked || self.in_pipeline || self.skipping);
        if !waits {
            self.idle_until = None;
        } else if self.idle_until.is_none() {
            let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
            self.idle_until = around.now.checked_add(limit).ok();
        }
    }

    fn idle_limit(&self, around: &Surroundings) -> Option<Duration> {
        match self.status {
            TransactionStatus::Idle => around.config.limits.idle_timeout,
            TransactionStatus::InBlock | TransactionStatus::Failed => around.config.limits.idle_in_transaction_timeout,
        }
    }

    pub(super) fn tick(&mut self, around: &Surroundings) -> Result<(), Stop> {
        if let Gate::Held(held) = &mut self.gate
            && held.next_notice <= around.now
        {
            held.next_notice = next_notice(around.now);
            let notice = held.notice.clone();
            self.say(&notice);
        }
        if let Gate::Held(held) = &mut self.gate
            && held.leave_at.is_some_and(|at| at <= around.now)
        {
            held.leave_at = None;
            self.commands.push_back(Command::LeaveOpen(held.id));
        }
        match self.idle_until {
            // What it has not read yet, it is busy with.
            Some(until) if until <= around.now && !self.to_client.is_empty() => self.idle_until = None,
            Some(until) if until <= around.now => return Err(self.idle_for_too_long()),
            Some(_) | None => {}
        }
        Ok(())
    }

    fn idle_for_too_long(&self) -> Stop {
        let (sqlstate, message) = match self.status {
            TransactionStatus::Idle => (sqlstate::IDLE_SESSION, "terminating connection due to idle-session timeout"),
            TransactionStatus::InBlock | TransactionStatus::Failed => {
                (sqlstate::IDLE_IN_TRANSACTION, "terminating connection due to idle-in-transaction timeout")
            }
        };
        Stop(messages::fatal(sqlstate, message, None))
    }

    pub(super) fn client_closed(&mut self) {
        self.client_gone = true;
        self.abandon_gated();
        let stays = self.expected.runs_approved()
            && !self.client_passing.is_half_sent()
            && !matches!(self.gate, Gate::Releasing(_));
        if !stays {
            self.close();
        } else if self.expected.is_guarded() {
            // Its transaction is still to be ended; then this session leaves.
            if self.copy_in == CopyIn::Active {
                self.abort_copy();
            }
        } else if !matches!(self.gate, Gate::Leaving) {
            self.leave();
        }
    }

    /// The client sends nothing more. Once everything it has sent is worked off, the upstream is told the same; it answers
    /// what it has got, and ends. A client that is still there reads the answers. It cannot be told from one that has
    /// left, so nothing is held for it.
    pub(super) fn read_all(&mut self) {
        match self.gate {
            Gate::Open if self.blocked => return,
            // Half a CopyData frame cannot be followed by anything.
            Gate::Open if self.expected.is_guarded() && !self.client_passing.is_half_sent() => {
                if self.copy_in == CopyIn::Active {
                    self.abort_copy();
                }
                return;
            }
            Gate::Open => {}
            Gate::Held(_) => self.cancel(),
            Gate::Refreshing
            | Gate::Estimating(_)
            | Gate::Looking
            | Gate::Opening(_)
            | Gate::Approved(_)
            | Gate::Releasing(_)
            | Gate::Leaving
            | Gate::Closed => return,
        }
        self.drop_group();
        self.commands.push_back(Command::ShutUpstream);
        self.gate = Gate::Leaving;
    }

    /// The client has said that it leaves.
    pub(super) fn terminate(&mut self) {
        self.release_group();
        if self.owes_nothing() {
            self.gate = Gate::Closed;
            self.commands.push_back(Command::GiveBack);
        } else {
            self.leave();
        }
    }

    /// Whether the upstream could serve another client: it has answered everything, and has nothing of a transaction.
    fn owes_nothing(&mut self) -> bool {
        self.is_between_transactions()
            && self.copy_in == CopyIn::No
            && !(self.cancelling || self.upstream_fatal || self.upstream_cut_off || self.client_passing.is_some())
            && self.upstream_pass == 0
            && self.upstream_in.is_empty()
            && self.relay.pending().is_empty()
    }

    /// The client has said or shown that it leaves: what was sent is answered, then the upstream closes.
    pub(super) fn leave(&mut self) {
        self.relay.control(Control::Terminate);
        self.gate = Gate::Leaving;
    }

    /// A held request waits on without its client where its mode allows that, and is withdrawn where not. What has been
    /// approved runs to its end.
    pub(super) fn drain(&mut self) {
        if self.draining != Draining::WhenSettled {
            self.draining = Draining::WhenIdle;
        }
        let Gate::Held(held) = &self.gate else { return };
        match held.mode {
            Mode::Auto | Mode::Resubmit => self.commands.push_back(Command::LeaveOpen(held.id)),
            Mode::Wait => {
                self.abandon_gated();
                self.stop(Self::shutdown());
            }
        }
    }

    /// The client is told to come back when the request has been approved.
    pub(super) fn left_open(&mut self, id: RequestId, request: Option<Box<AccessRequest>>) {
        // Without one it has been decided: the decision is on its way.
        let Some(request) = request else { return };
        if matches!(&self.gate, Gate::Held(held) if held.id == id) {
            if self.draining != Draining::No {
                self.draining = Draining::WhenSettled;
            }
            let error = messages::approval_required(&request, None, &self.link(id));
            self.refuse_gated(error);
        }
    }

    pub(super) fn drain_now(&mut self) {
        self.draining = Draining::WhenSettled;
        self.flush_upstream();
        if self.expected.is_for_client() && !self.cancelling {
            self.cancelling = true;
            self.commands.push_back(Command::CancelUpstream);
        }
        if self.is_held() {
            self.stop(Self::shutdown());
        }
    }

    /// Whether the proxy shuts down and this session has nothing more to do. While the upstream reads CopyData it can be
    /// interrupted only by the end of the connection.
    pub(super) fn has_drained(&self) -> bool {
        match self.draining {
            Draining::No | Draining::Soon => false,
            // What a paused session has not begun, it does not begin any more.
            Draining::WhenIdle => self.is_idle() || (self.paused && self.is_between_transactions()),
            Draining::WhenSettled => {
                let waits = matches!(
                    self.gate,
                    Gate::Refreshing | Gate::Estimating(_) | Gate::Looking | Gate::Releasing(_) | Gate::Closed
                );
                !waits && (self.expected.is_settled() || self.copy_in == CopyIn::Active)
            }
        }
    }

    pub(super) fn shutdown() -> Stop {
        let message = "terminating connection due to administrator command";
        Stop(messages::fatal(sqlstate::ADMIN_SHUTDOWN, message, None))
    }

    /// Withdraws what is being decided; nothing of it has left.
    pub(super) fn abandon_gated(&mut self) {
        let parked = match std::mem::replace(&mut self.gate, Gate::Open) {
            Gate::Held(held) => {
                self.commands.push_back(Command::Withdraw(held.id));
                held.parked
            }
            Gate::Opening(opening) => opening.parked,
            Gate::Approved(approved) => {
                self.commands.push_back(Command::Withdraw(approved.given.id));
                approved.parked
            }
            other => {
                self.gate = other;
                return;
            }
        };
        if let Shape::Execute { group, .. } = parked.shape {
            self.group = group;
            self.drop_group();
        }
    }

    pub(super) fn upstream_closed(&mut self) -> Stop {
        if self.upstream_fatal || self.client_gone || matches!(self.gate, Gate::Leaving) {
            return Stop(Bytes::new());
        }
        let hint = "Nothing more was run. Connect again.";
        let message = "the connection to the database was closed unexpectedly";
        Stop(messages::fatal(sqlstate::CONNECTION_FAILURE, message, Some(hint)))
    }

    pub(super) fn stop(&mut self, stop: Stop) {
        self.abandon_gated();
        // A message cannot be put into the middle of another.
        if self.upstream_pass == 0 {
            self.to_client.extend_from_slice(&stop.0);
        }
        self.close();
    }

    fn close(&mut self) {
        for run in self.expected.drain_runs() {
            self.finish(run, Outcome::Unknown);
        }
        if let Gate::Releasing(releasing) = &self.gate {
            self.commands.push_back(Command::Withdraw(releasing.given.id));
        }
        // Terminate must not follow half a message: it could complete it.
        let at_boundary =
            !self.client_passing.is_half_sent() && !self.upstream_cut_off && self.relay.pending().is_empty();
        if at_boundary && !matches!(self.gate, Gate::Leaving) {
            self.relay.control(Control::Terminate);
        }
        self.gate = Gate::Closed;
        self.commands.push_back(Command::Close);
    }
}
