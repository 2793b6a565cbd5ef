//! The session core: client bytes, upstream bytes, decisions, cancels and ticks in; bytes for either side and commands
//! out.
//!
//! Does no IO, reads no clock and waits for nothing. Invariant: no byte of a request leaves for the upstream without
//! the [`countersign_policy::Permit`] of its own judgement; the client's frames are looked at one by one, in order, and
//! not at all while one of them is being decided.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::{Frame, Header, ProtocolError, sqlstate};
use jiff::{SignedDuration, Timestamp};

use super::batch::Batch;
use super::copy_in::{CopyIn, CopySent};
use super::definitions::Definitions;
use super::estimates::Answer;
use super::expected::{Expected, ExpectedQueue, Run};
use super::messages;
use super::names::Names;
use super::parked::{Gate, Group};
use super::passing::Passing;
use super::settings::Settings;
use super::statements::Statements;
use super::words::{Command, Event, Finished, Identity, Looked, Opening, Ran, Surroundings};
use crate::relay::{Control, Relay};
use crate::review::Outcome;

/// How often a waiting client is told that it still waits.
const NOTICE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// What is at most so long is looked at in next to no time, in bytes.
pub(super) const QUICK_LEN_MAX: usize = 8 << 10;

/// How a session leaves when the proxy shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draining {
    /// It does not.
    No,
    /// After the first thing its client asks for.
    Soon,
    /// When it is idle.
    WhenIdle,
    /// When nothing is owed any more: it has left a request open, or what it does has been cancelled.
    WhenSettled,
}

/// One session. See the module documentation.
pub struct Machine {
    pub(super) identity: Identity,
    pub(super) names: Names,
    pub(super) settings: Settings,
    /// Statements that wait for the end of their transaction.
    pub(super) batch: Option<Batch>,
    /// The cycle of the open transaction in which something may have been locked.
    pub(super) locked_in: Option<u64>,
    pub(super) definitions: Definitions,
    pub(super) status: TransactionStatus,
    /// Something was sent since that may have begun or ended a transaction.
    pub(super) status_moved: bool,
    pub(super) statements: Statements,
    pub(super) expected: ExpectedQueue,
    pub(super) relay: Relay,
    pub(super) group: Group,
    pub(super) gate: Gate,
    pub(super) copy_in: CopyIn,
    pub(super) copy_sent: CopySent,
    /// Extended-protocol messages were sent since the last Sync.
    pub(super) in_pipeline: bool,
    /// A frame that was taken but has to wait for the catalog, or until what was sent has been answered.
    pub(super) postponed: Option<Frame>,
    /// It waits for the latter.
    pub(super) until_settled: bool,
    /// The client has sent a text that takes longer than a look: where there is room, its texts are read to the end.
    pub(super) laborious: bool,
    /// The upstream skips to Sync, and so do we.
    pub(super) skipping: bool,
    /// The next request waits until everything before it has completed.
    pub(super) barrier: bool,
    /// The client's next frame waits for a barrier.
    pub(super) blocked: bool,
    /// A Flush was sent since the last message that needs one.
    pub(super) flushed: bool,
    /// A CancelRequest is on its way to the upstream: nothing new may start.
    pub(super) cancelling: bool,
    /// The catalog must be loaded again before the next judgement outside a transaction.
    pub(super) catalog_stale: bool,
    /// The planner's estimate for the frame that waited for it.
    pub(super) rows: Option<Answer>,
    pub(super) catalog_asked: Timestamp,
    /// The catalog was loaded again for the frame that waits.
    pub(super) catalog_tried: bool,
    /// What a look at the definitions has shown for that frame.
    pub(super) looked: Option<Looked>,
    /// The upstream announced its end.
    pub(super) upstream_fatal: bool,
    pub(super) draining: Draining,
    /// Between transactions nothing new begins.
    pub(super) paused: bool,
    pub(super) client_gone: bool,
    /// The client has sent a message.
    pub(super) asked: bool,
    /// The client sends nothing more.
    pub(super) client_ended: bool,
    /// When the client has been idle for too long.
    pub(super) idle_until: Option<Timestamp>,
    /// A Query, Parse or Bind that is thrown away because it is too large: its type.
    pub(super) too_large: Option<u8>,
    pub(super) serial: u64,
    pub(super) commands: VecDeque<Command>,
    pub(super) client_in: BytesMut,
    pub(super) upstream_in: BytesMut,
    pub(super) to_client: BytesMut,
    /// The CopyData frame of the client that is passing.
    pub(super) client_passing: Passing,
    /// Bytes of a large frame of the upstream that still pass.
    pub(super) upstream_pass: usize,
    /// Bytes for the upstream were thrown away; what it has may end in the middle of a message.
    pub(super) upstream_cut_off: bool,
    /// Messages of ours that wait for the end of that frame.
    pub(super) behind_pass: BytesMut,
}

/// Why a session ends at once: what the client is told.
pub(super) struct Stop(pub(super) Bytes);

impl From<ProtocolError> for Stop {
    fn from(error: ProtocolError) -> Self {
        Self(messages::fatal(sqlstate::PROTOCOL_VIOLATION, &error.to_string(), None))
    }
}

impl Machine {
    /// A session after the greeting, with whatever both sides have sent since.
    #[must_use]
    pub fn new(identity: Identity, client_in: BytesMut, upstream_in: BytesMut) -> Self {
        Self {
            identity,
            names: Names::unknown(),
            settings: Settings::default(),
            batch: None,
            locked_in: None,
            definitions: Definitions::default(),
            status: TransactionStatus::Idle,
            status_moved: false,
            statements: Statements::default(),
            expected: ExpectedQueue::default(),
            relay: Relay::default(),
            group: Group::default(),
            gate: Gate::Open,
            copy_in: CopyIn::No,
            copy_sent: CopySent::default(),
            in_pipeline: false,
            postponed: None,
            until_settled: false,
            laborious: false,
            skipping: false,
            barrier: true,
            blocked: false,
            flushed: false,
            cancelling: false,
            catalog_stale: false,
            rows: None,
            catalog_asked: Timestamp::UNIX_EPOCH,
            catalog_tried: false,
            looked: None,
            upstream_fatal: false,
            draining: Draining::No,
            paused: false,
            client_gone: false,
            asked: false,
            client_ended: false,
            idle_until: None,
            too_large: None,
            serial: 0,
            commands: VecDeque::new(),
            client_in,
            upstream_in,
            to_client: BytesMut::new(),
            client_passing: Passing::NOTHING,
            upstream_pass: 0,
            upstream_cut_off: false,
            behind_pass: BytesMut::new(),
        }
    }

    /// Where client bytes are appended before [`Machine::advance`].
    pub fn client_input(&mut self) -> &mut BytesMut {
        &mut self.client_in
    }

    /// Where upstream bytes are appended before [`Machine::advance`].
    pub fn upstream_input(&mut self) -> &mut BytesMut {
        &mut self.upstream_in
    }

    /// Bytes for the client; the driver takes what it has written off the front.
    pub fn client_output(&mut self) -> &mut BytesMut {
        &mut self.to_client
    }

    /// Bytes for the upstream; the driver takes what it has written off the front.
    pub fn upstream_output(&mut self) -> &mut BytesMut {
        self.relay.pending()
    }

    /// The next thing for the driver to do.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Whether more client bytes can be taken in: always to complete a frame, and up to a bound behind one that waits.
    #[must_use]
    pub fn wants_client(&self) -> bool {
        const WAITING_LEN_MAX: usize = 256 << 10;
        !(self.client_gone || self.client_ended)
            && (self.client_in.len() < WAITING_LEN_MAX || (matches!(self.gate, Gate::Open) && !self.blocked))
    }

    /// When [`Event::Tick`] is wanted at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.gate {
            Gate::Held(held) => Some(held.leave_at.map_or(held.next_notice, |at| at.min(held.next_notice))),
            Gate::Open => self.idle_until,
            Gate::Refreshing
            | Gate::Estimating(_)
            | Gate::Looking
            | Gate::Opening(_)
            | Gate::Approved(_)
            | Gate::Releasing(_)
            | Gate::Leaving
            | Gate::Closed => None,
        }
    }

    /// Whether everything that was sent to the upstream has been answered.
    #[must_use]
    pub(super) fn is_owed_nothing(&self) -> bool {
        self.expected.is_empty()
    }

    /// Whether a request of this session is waiting for people.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.gate, Gate::Held(_) | Gate::Opening(_) | Gate::Approved(_))
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.gate, Gate::Closed)
    }

    /// How many bytes of text are to be looked at next, where that may take long: it depends on a long text, or there is
    /// much to look at, or the client has sent such texts before. What only passes, and what is not complete, takes no time.
    #[must_use]
    pub fn lengthy(&self) -> Option<usize> {
        let waits = self.gate.text_len().max(self.postponed.as_ref().map_or(0, |frame| frame.bytes.len()));
        let waits = waits.max(self.batch.as_ref().map_or(0, Batch::len));
        let comes = match self.client_in.len() {
            0 => 0,
            _ if self.client_passing.is_some() || self.copy_in == CopyIn::Active => 0,
            length if self.statements.has_long_texts() => length.max(QUICK_LEN_MAX + 1),
            length if (length > QUICK_LEN_MAX || self.laborious) && self.has_whole_frame() => length,
            _ => 0,
        };
        match waits.max(comes) {
            0 => None,
            length if self.laborious => Some(length.max(QUICK_LEN_MAX + 1)),
            length => Some(length).filter(|length| *length > QUICK_LEN_MAX),
        }
    }

    /// The same of a text that was found to take long, so that [`Machine::step`] left it.
    #[must_use]
    pub fn interrupted(&self) -> Option<usize> {
        (self.laborious && self.postponed.is_some()).then(|| self.lengthy())?
    }

    fn has_whole_frame(&self) -> bool {
        // One that is no frame ends the session.
        let header = Header::peek(&self.client_in, |_| u32::MAX);
        matches!(header, Ok(Some(header)) if header.frame_len <= self.client_in.len())
    }

    /// Takes in an event if there is one, and works off all input that can be worked off now.
    pub fn step(&mut self, event: Option<Event>, around: &Surroundings) {
        match event {
            Some(event) => self.on_event(event, around),
            None => self.advance(around),
        }
    }

    /// Works off all input that can be worked off now.
    pub fn advance(&mut self, around: &Surroundings) {
        if self.is_closed() {
            return;
        }
        let result = self.read_upstream(around).and_then(|()| self.read_client(around));
        if let Err(stop) = result {
            self.stop(stop);
        }
        if self.client_ended {
            self.read_all();
        }
        if matches!(self.gate, Gate::Leaving) {
            // PostgreSQL reads nothing after Terminate either.
            self.client_in.clear();
        }
        if self.client_gone {
            self.to_client.clear();
        }
        if self.has_drained() {
            self.stop(Self::shutdown());
        }
        self.watch_idleness(around);
    }

    /// Takes in an event, then works off what it sets free.
    pub fn on_event(&mut self, event: Event, around: &Surroundings) {
        if self.is_closed() {
            return self.too_late(event);
        }
        let result = self.take_in(event, around);
        match result {
            Ok(()) => self.advance(around),
            Err(stop) => self.stop(stop),
        }
    }

    fn take_in(&mut self, event: Event, around: &Surroundings) -> Result<(), Stop> {
        match event {
            Event::Opened(number, opening) => self.opened(number, opening, around),
            Event::Decided(id, decision) => self.decided(id, decision),
            Event::Begun(id, begun) => return self.begun(id, begun, around),
            Event::CatalogRefreshed => self.catalog_refreshed(around),
            Event::Estimated(rows) => self.estimated(rows),
            Event::Looked(stake, looked) => return self.looked(stake, looked),
            Event::RecordFailed => {
                // What it was about must not run, and it may already stand in the buffer.
                self.relay.pending().clear();
                self.upstream_cut_off = true;
                let message = "the proxy cannot keep a record of this session";
                return Err(Stop(messages::fatal(sqlstate::IO_ERROR, message, None)));
            }
            Event::Cancel => self.cancel(),
            Event::CancelSent => self.cancelling = false,
            Event::Tick => return self.tick(around),
            Event::ClientEnded => self.client_ended = true,
            Event::ClientClosed => self.client_closed(),
            Event::UpstreamClosed => return Err(self.upstream_closed()),
            Event::LeftOpen(id, request) => self.left_open(id, request),
            Event::Paused(is_paused) => self.paused = is_paused,
            Event::Drain => self.drain(),
            Event::DrainSoon if !self.asked => self.draining = Draining::Soon,
            Event::DrainSoon => self.drain(),
            Event::DrainNow => self.drain_now(),
        }
        Ok(())
    }

    /// Answers of store and catalog that arrive after the end: what they began is ended.
    fn too_late(&mut self, event: Event) {
        match event {
            Event::Opened(_, Some(Opening::Waiting(request, _misfit))) => {
                self.commands.push_back(Command::Withdraw(request.id));
            }
            Event::Begun(id, Ok(())) => self.finish_unrun(id),
            Event::Opened(..)
            | Event::Decided(..)
            | Event::Begun(_, Err(_))
            | Event::CatalogRefreshed
            | Event::Estimated(_)
            | Event::Looked(..)
            | Event::RecordFailed
            | Event::Cancel
            | Event::CancelSent
            | Event::Tick
            | Event::ClientEnded
            | Event::ClientClosed
            | Event::UpstreamClosed
            | Event::LeftOpen(..)
            | Event::Paused(_)
            | Event::Drain
            | Event::DrainSoon
            | Event::DrainNow => {}
        }
    }

    /// Whether the upstream is in a transaction block that has failed, and nothing was sent since that could have ended it.
    pub(super) fn in_failed_block(&self) -> bool {
        self.status == TransactionStatus::Failed && !self.status_moved
    }

    /// Notes that a message was sent which will be answered.
    pub(super) fn expect(&mut self, entry: Expected) {
        if !matches!(entry, Expected::Own(_)) {
            self.settings.forget();
        }
        if matches!(entry, Expected::Query(_) | Expected::PoisonQuery(_) | Expected::Sync | Expected::CopySyncs(_)) {
            self.statements.cycle_sent();
            // It may end a transaction, and with it what names mean in what follows.
            self.barrier |= self.names.may_change_with_transaction() || self.catalog_stale;
        }
        self.expected.push(entry);
        self.flushed = false;
    }

    /// Sends the client a message of ours, behind the one that is passing.
    pub(super) fn say(&mut self, message: &[u8]) {
        if self.upstream_pass > 0 {
            self.behind_pass.extend_from_slice(message);
        } else {
            self.to_client.extend_from_slice(message);
        }
    }

    /// Makes replies that the upstream keeps until Flush or Sync come now.
    pub(super) fn flush_upstream(&mut self) {
        if !self.flushed && self.in_pipeline && !self.expected.is_empty() {
            self.relay.control(Control::Flush);
            self.flushed = true;
        }
    }

    pub(super) fn finish(&mut self, run: Run, otherwise: Outcome) {
        let masked_cells = run.masked_cells();
        if !masked_cells.is_empty() {
            self.commands.push_back(Command::CountMasked(masked_cells.clone()));
        }
        if !run.is_told() {
            return;
        }
        let outcome = match run.outcome {
            Some(Ok(tag)) => Outcome::Executed(tag),
            Some(Err(sqlstate)) => Outcome::Failed(sqlstate),
            None => otherwise,
        };
        let (rows, masked) = (run.rows, run.masked);
        if let Some(id) = run.access_request {
            let output = run.keeping.map(|keeping| keeping.end());
            let finished = Finished { id, outcome, rows, masked, masked_cells, output };
            self.commands.push_back(Command::Finish(Box::new(finished)));
        } else if let Some((number, judged_at)) = run.told {
            let ran = Ran { number, judged_at, outcome, rows, masked, masked_cells };
            self.commands.push_back(Command::Ran(Box::new(ran)));
        }
    }

    pub(super) fn cancel(&mut self) {
        match &self.gate {
            Gate::Held(held) => {
                let id = held.id;
                self.commands.push_back(Command::Withdraw(id));
                self.refuse_gated(messages::withdrawn());
            }
            Gate::Approved(approved) => {
                let id = approved.given.id;
                self.commands.push_back(Command::Withdraw(id));
                self.refuse_gated(messages::withdrawn());
            }
            Gate::Open | Gate::Leaving if self.expected.is_for_client() && !self.cancelling => {
                self.cancelling = true;
                self.commands.push_back(Command::CancelUpstream);
            }
            Gate::Opening(_) => self.refuse_gated(messages::withdrawn()),
            // Between a decision and the first byte upstream there is nothing to cancel that has begun; the record of
            // the run is being written and its outcome will follow.
            Gate::Open
            | Gate::Refreshing
            | Gate::Estimating(_)
            | Gate::Looking
            | Gate::Releasing(_)
            | Gate::Leaving
            | Gate::Closed => {}
        }
    }
}

/// When the waiting client is told again.
pub(super) fn next_notice(now: Timestamp) -> Timestamp {
    now.saturating_add(NOTICE_INTERVAL).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
