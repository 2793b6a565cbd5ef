//! Requests that were approved for a number of rows: they are counted as they run, and taken back when they are more.
//!
//! Never lets a transaction end before its rows are counted: nothing of the client's is sent behind such a request, and
//! around a Query outside of a transaction block the proxy puts one. Invariant: the client hears of a success only after
//! the rows are known to be within the limit and, where the proxy commits them, committed.

use bytes::{Bytes, BytesMut};
use countersign_policy::Analysis;
use countersign_policy::analysis::syntax;
use countersign_protocol::backend::{self, TransactionStatus, tag};
use countersign_protocol::frontend::{self, Execute};
use countersign_protocol::{FrameRef, Header, frame, sqlstate};

use super::expected::{ExecuteReply, Expected, QueryReply, Run};
use super::machine::{Machine, Stop};
use super::messages;
use super::parked::{Gate, Parked, Shape};
use super::results::ResultPlan;
use super::upstream_side::unexpected;
use crate::crash_point::CrashPoint;
use crate::relay::{Poison, Transaction};
use crate::review::Outcome;

/// What watches over the rows of a Query.
pub(super) struct Guard {
    limit: u64,
    affected: u64,
    /// The last CommandComplete and its tag, until it is known to be true.
    kept: Option<(Bytes, String)>,
    /// The transaction is the proxy's own.
    is_wrapped: bool,
    /// The client has sent a Sync within a COPY, which PostgreSQL ignores if that succeeds.
    owes_sync: bool,
    phase: Phase,
}

/// What the upstream's next replies are about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The proxy's BEGIN.
    Beginning,
    /// The Query; of one that ends its block, all but that end.
    Running,
    /// The Query, which has written too many rows; the client has been told.
    Exceeded,
    /// The end of the block, which the Query brought along.
    Ending,
    /// The proxy's COMMIT.
    Committing,
    /// The proxy's ROLLBACK.
    RollingBack,
    /// A text that fails, for the client's block to fail.
    Failing,
}

/// Whether the rows of a text can be counted before they are there to stay. What ends a block must be in one: the proxy
/// does not put another around it.
pub(super) fn can_be_counted(analysis: &Analysis, in_transaction: bool) -> bool {
    analysis.counted().is_some_and(|counted| in_transaction || counted.begins || !counted.ends)
}

/// A Query that ends its block in two: what is counted, and the end.
pub(super) fn split(run: &Run) -> Option<(Bytes, Bytes)> {
    let ends = run.analysis.counted().is_some_and(|counted| counted.ends);
    let (counted, end) = ends.then(|| syntax::split_last(&run.text)).flatten()?;
    let query = |text| {
        let mut bytes = BytesMut::new();
        frontend::put_query(&mut bytes, text);
        bytes.freeze()
    };
    Some((query(counted), query(end)))
}

/// The error in place of what completes an Execute, if its rows are too many or not known.
pub(super) fn excess_of(frame_tag: u8, command_tag: &str, limit: u64) -> Option<Bytes> {
    let counted = (frame_tag == tag::COMMAND_COMPLETE).then(|| affected(command_tag)).flatten();
    excess(counted, limit)
}

fn excess(affected: Option<u64>, limit: u64) -> Option<Bytes> {
    match affected {
        Some(affected) if affected <= limit => None,
        Some(affected) => Some(messages::too_many_rows(affected, limit)),
        None => Some(messages::cannot_be_limited()),
    }
}

/// The number of rows in a command tag: `UPDATE 5`, `INSERT 0 5`.
fn affected(command_tag: &str) -> Option<u64> {
    command_tag.rsplit_once(' ')?.1.parse().ok()
}

impl Machine {
    /// Begins to watch over a Query that is about to be forwarded, if its approval asks for it.
    pub(super) fn guard_query(&mut self, run: &Run) -> Option<Box<Guard>> {
        let limit = run.max_affected?;
        let begins = run.analysis.counted().is_some_and(|counted| counted.begins);
        let is_wrapped = self.status == TransactionStatus::Idle && !begins;
        if is_wrapped {
            self.relay.transaction(Transaction::Begin);
        }
        let phase = if is_wrapped { Phase::Beginning } else { Phase::Running };
        Some(Box::new(Guard { limit, affected: 0, kept: None, is_wrapped, owes_sync: false, phase }))
    }

    /// Whether the rows of a request that is about to run can be counted.
    pub(super) fn can_be_guarded(&self, parked: &Parked) -> bool {
        let is_whole = match &parked.shape {
            // Behind a BEGIN without a Sync nobody knows of the client's block, which our COMMIT would end.
            Shape::Query(query) => query.first() == Some(&frontend::tag::QUERY) && !self.status_moved,
            Shape::Execute { execute, .. } => {
                let body = execute.get(frame::HEADER_LEN..).unwrap_or_default();
                Execute::read(body).is_ok_and(|execute| execute.max_rows <= 0)
            }
        };
        is_whole && can_be_counted(&parked.asked.analysis, self.status != TransactionStatus::Idle)
    }

    /// Takes in a reply to a Query that is watched over; false when it is to be looked at as any other.
    pub(super) fn guard_reply(&mut self, frame: FrameRef<'_>) -> Result<bool, Stop> {
        let Some(Expected::Query(reply)) = self.expected.front() else { return Ok(false) };
        let QueryReply { run, completed, failed, plan, guard: Some(guard), .. } = &mut **reply else {
            return Ok(false);
        };
        match (guard.phase, frame.tag) {
            (Phase::Beginning | Phase::RollingBack, tag::COMMAND_COMPLETE) => {}
            (Phase::Beginning, tag::READY_FOR_QUERY) => guard.phase = Phase::Running,
            (Phase::Running, tag::COMMAND_COMPLETE) => {
                guard.tell(&mut self.to_client);
                guard.owes_sync = false;
                let copies = run.may_copy_in();
                let command_tag = backend::command_complete(frame.body())?;
                let is_counted = run.analysis.statements.get(*completed).is_none_or(|statement| statement.rows_counted);
                *plan = ResultPlan::Unknown;
                *completed = completed.saturating_add(1);
                match guard.count(if is_counted { affected(command_tag) } else { Some(0) }) {
                    None => guard.kept = Some((Bytes::copy_from_slice(frame.bytes), command_tag.to_owned())),
                    Some(error) => {
                        self.to_client.extend_from_slice(&error);
                        run.outcome = Some(Err(sqlstate::LIMIT_EXCEEDED.to_owned()));
                        *failed = true;
                        guard.phase = Phase::Exceeded;
                    }
                }
                if copies {
                    self.copy_may_follow();
                }
            }
            (Phase::Running | Phase::Exceeded, tag::READY_FOR_QUERY) => return self.guarded_has_run(frame),
            (Phase::Running, _) => {
                guard.tell(&mut self.to_client);
                return Ok(false);
            }
            // Nobody is going to send its data.
            (Phase::Exceeded, tag::COPY_IN_RESPONSE) => self.relay.interrupt_copy(),
            (Phase::Exceeded, _) => {}
            (Phase::Ending, _) => return Ok(false),
            (Phase::Committing, tag::COMMAND_COMPLETE) if backend::command_complete(frame.body())? == "COMMIT" => {
                run.outcome = guard.tell(&mut self.to_client).map(Ok);
            }
            (Phase::Committing | Phase::RollingBack | Phase::Failing, tag::READY_FOR_QUERY) => return Ok(false),
            (Phase::Beginning | Phase::Committing | Phase::RollingBack | Phase::Failing, _) => {
                return Err(unexpected(frame));
            }
        }
        Ok(true)
    }

    /// The Query has been answered up to its ReadyForQuery: its transaction is ended, or goes on.
    fn guarded_has_run(&mut self, ready: FrameRef<'_>) -> Result<bool, Stop> {
        let status = backend::ready_for_query(ready.body())?;
        let Some(Expected::Query(reply)) = self.expected.front() else { return Ok(false) };
        let QueryReply { run, failed, guard: Some(guard), .. } = &mut **reply else { return Ok(false) };
        if !guard.is_wrapped {
            if guard.phase == Phase::Exceeded {
                self.relay.forget_rest();
                guard.phase = Phase::Failing;
                self.relay.poison(Poison::Query);
                return Ok(true);
            }
            if let Some(command_tag) = guard.tell(&mut self.to_client) {
                run.outcome = Some(Ok(command_tag));
            }
            if *failed || status != TransactionStatus::InBlock {
                self.relay.forget_rest();
            }
            let ends = self.relay.forward_rest();
            if ends {
                run.outcome = None;
                guard.phase = Phase::Ending;
            }
            return Ok(ends);
        }
        match (status, *failed) {
            (TransactionStatus::Idle, _) => {
                let message = "a statement has ended the transaction in which its rows were counted";
                return Err(Stop(messages::fatal(sqlstate::INTERNAL_ERROR, message, None)));
            }
            (TransactionStatus::InBlock, false) => {
                guard.phase = Phase::Committing;
                self.relay.transaction(Transaction::Commit);
            }
            (TransactionStatus::InBlock | TransactionStatus::Failed, _) => {
                guard.phase = Phase::RollingBack;
                self.relay.transaction(Transaction::Rollback);
            }
        }
        Ok(true)
    }

    /// Takes in an error while a Query is watched over; false when the client is to see it.
    pub(super) fn guard_error(&mut self, error: FrameRef<'_>) -> Result<bool, Stop> {
        let Some(Expected::Query(reply)) = self.expected.front() else { return Ok(false) };
        let Some(guard) = &mut reply.guard else { return Ok(false) };
        match guard.phase {
            Phase::Running => {
                guard.tell(&mut self.to_client);
                Ok(false)
            }
            // Committing failed: what was kept is not true.
            Phase::Ending | Phase::Committing => Ok(false),
            // The client has been told why.
            Phase::Exceeded | Phase::Failing => Ok(true),
            Phase::Beginning | Phase::RollingBack => Err(unexpected(error)),
        }
    }

    /// In place of the CommandComplete of an Execute, the upstream is made to fail, and its transaction with it.
    pub(super) fn exceeded(&mut self, reply: ExecuteReply, error: Bytes) {
        let ExecuteReply { mut run, portal, .. } = reply;
        if let Some(portal) = self.statements.portal(&portal) {
            portal.approved = None;
        }
        self.copy_ended(&run);
        self.forget_copy_sent();
        run.outcome = Some(Err(sqlstate::LIMIT_EXCEEDED.to_owned()));
        self.finish(run, Outcome::Unknown);
        self.relay.poison(Poison::Execute);
        self.in_pipeline = true;
        self.expect(Expected::PoisonExecute(error));
        self.skipping = true;
        self.guard_over();
    }

    /// Notes a Sync within a COPY around which the proxy has put a transaction: what it is answered, if the COPY fails, must
    /// not stand between the replies to ours. False when it is to be sent.
    pub(super) fn owes_sync_after_guard(&mut self) -> bool {
        let Some(Expected::Query(reply)) = self.expected.front() else { return false };
        let Some(guard) = reply.guard.as_mut().filter(|guard| guard.is_wrapped) else { return false };
        guard.owes_sync = true;
        true
    }

    /// How far the release of a request has come.
    pub(super) fn crash_point(&mut self, has_begun: bool) -> Option<CrashPoint> {
        let is_sent = self.relay.pending().is_empty();
        let guard = match self.expected.front() {
            Some(Expected::Query(reply)) => reply.guard.as_ref(),
            _ => None,
        };
        match guard.is_some_and(|guard| matches!(guard.phase, Phase::Ending | Phase::Committing)) {
            true if is_sent => Some(CrashPoint::AfterCommit),
            true => Some(CrashPoint::BeforeCommit),
            false => (has_begun && is_sent).then_some(CrashPoint::AfterForward),
        }
    }

    /// Lets a session go whose client has left meanwhile. A Sync that it has sent still ends its pipeline.
    pub(super) fn guard_over(&mut self) {
        if !self.client_gone || !matches!(self.gate, Gate::Open) {
            return;
        }
        let next = Header::peek(&self.client_in, |_| u32::MAX);
        if matches!(next, Ok(Some(header)) if header.tag == frontend::tag::SYNC) {
            self.sync();
        }
        self.leave();
    }
}

impl Guard {
    /// Whether a Sync of the client is still to be answered.
    pub(super) fn owes_sync(&self) -> bool {
        self.owes_sync
    }

    /// Counts what a statement has written; the error, if it is too much.
    fn count(&mut self, affected: Option<u64>) -> Option<Bytes> {
        self.affected = self.affected.saturating_add(affected.unwrap_or_default());
        excess(affected.map(|_| self.affected), self.limit)
    }

    /// Gives the client what was kept; yields its tag.
    fn tell(&mut self, to_client: &mut bytes::BytesMut) -> Option<String> {
        let (bytes, command_tag) = self.kept.take()?;
        to_client.extend_from_slice(&bytes);
        Some(command_tag)
    }
}
