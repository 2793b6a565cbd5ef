//! The upstream's messages: matched with what is owed, masked where a plan says so, passed on.
//!
//! Never invents a state: a message that does not fit what was sent ends the session. Invariant: replies to the proxy's
//! own messages never reach the client, and every other message does, in order.
//! Source: PostgreSQL manual, "Message Flow".

use bytes::Buf;
use countersign_protocol::backend::{self, TransactionStatus, tag};
use countersign_protocol::{FrameRef, Header, sqlstate};

use super::copy_in::CopyIn;
use super::copying::Copying;
use super::expected::{DescribeTarget, ExecuteReply, Expected, QueryReply, Run};
use super::guarded;
use super::machine::{Machine, Stop};
use super::messages;
use super::parked::Gate;
use super::results::ResultPlan;
use super::statements::Described;
use super::words::Surroundings;
use crate::review::Outcome;

/// Largest frame that is looked into, in bytes; rows and COPY data that pass unchanged may be larger.
pub(super) const LOOKED_INTO_MAX: usize = 64 << 20;
/// Largest row or COPY data frame: PostgreSQL's own limit of a message.
const FRAME_LEN_MAX: u32 = (1 << 30) + 64;

pub(super) fn limit(frame_tag: u8) -> u32 {
    match frame_tag {
        tag::DATA_ROW | tag::COPY_DATA => FRAME_LEN_MAX,
        _ => u32::try_from(LOOKED_INTO_MAX).unwrap_or(u32::MAX),
    }
}

impl Machine {
    /// Works off what the upstream sent.
    pub(super) fn read_upstream(&mut self, around: &Surroundings) -> Result<(), Stop> {
        loop {
            self.pass_run()?;
            if self.upstream_pass > 0 {
                return Ok(());
            }
            self.mask_run(around)?;
            if self.rows_wait()? {
                return Ok(());
            }
            let length = match Header::peek(&self.upstream_in, limit)? {
                Some(header) if header.frame_len > LOOKED_INTO_MAX => {
                    let hint = "Select fewer or smaller columns.";
                    let message = "a row with masked columns is too large to be masked";
                    return Err(Stop(messages::fatal(sqlstate::LIMIT_EXCEEDED, message, Some(hint))));
                }
                Some(header) if header.frame_len <= self.upstream_in.len() => header.frame_len,
                Some(_) | None => return Ok(()),
            };
            // The buffer is set aside while one of its frames is looked at: nothing is counted or copied for it.
            let mut input = std::mem::take(&mut self.upstream_in);
            let looked_at = match FrameRef::peek(&input, limit)? {
                Some(frame) => self.upstream_frame(frame, around),
                None => Ok(()),
            };
            input.advance(length);
            self.upstream_in = input;
            looked_at?;
        }
    }

    /// Passes on rows and COPY data that nothing in the proxy changes: a run of frames in one copy, of which the last
    /// need not be complete.
    fn pass_run(&mut self) -> Result<(), Stop> {
        let mut run = self.upstream_pass.min(self.upstream_in.len());
        self.upstream_pass -= run;
        if self.upstream_pass == 0 && self.passes_rows() {
            let mut rows: u64 = 0;
            while let Some(header) = Header::peek(self.upstream_in.get(run..).unwrap_or_default(), limit)? {
                if !matches!(header.tag, tag::DATA_ROW | tag::COPY_DATA) {
                    break;
                }
                rows = rows.saturating_add(1);
                let here = header.frame_len.min(self.upstream_in.len() - run);
                run += here;
                self.upstream_pass = header.frame_len - here;
                if self.upstream_pass > 0 {
                    break;
                }
            }
            if let Some(current) = self.current_run() {
                current.rows = current.rows.saturating_add(rows);
            }
        }
        if run > 0 {
            self.keep(run);
        }
        self.pass_bytes(run);
        if self.upstream_pass == 0 && !self.behind_pass.is_empty() {
            let ours = std::mem::take(&mut self.behind_pass);
            self.to_client.extend_from_slice(&ours);
        }
        Ok(())
    }

    /// Has so many bytes that pass kept for the trail, where that is wanted.
    fn keep(&mut self, length: usize) {
        let run = match self.expected.front() {
            Some(Expected::Query(reply)) => &mut reply.run,
            Some(Expected::Execute(reply)) => &mut reply.run,
            _ => return,
        };
        if let Some(keeping) = &mut run.keeping {
            keeping.take(self.upstream_in.get(..length).unwrap_or_default());
        }
    }

    /// Passes on so many bytes as they are.
    fn pass_bytes(&mut self, length: usize) {
        let rest = self.upstream_in.get(length..).unwrap_or_default();
        if !self.to_client.is_empty() || rest.len() >= length {
            self.to_client.extend_from_slice(self.upstream_in.get(..length).unwrap_or_default());
            self.upstream_in.advance(length);
            return;
        }
        // Nearly everything passes: the buffers change places, and only what stays is copied.
        self.to_client.extend_from_slice(rest);
        self.upstream_in.truncate(length);
        std::mem::swap(&mut self.to_client, &mut self.upstream_in);
    }

    fn passes_rows(&mut self) -> bool {
        match self.expected.front() {
            Some(Expected::Query(reply)) => matches!(reply.plan, ResultPlan::Pass),
            Some(Expected::Execute(reply)) => matches!(reply.plan, ResultPlan::Pass),
            _ => false,
        }
    }

    fn current_run(&mut self) -> Option<&mut Run> {
        match self.expected.front() {
            Some(Expected::Query(reply)) => Some(&mut reply.run),
            Some(Expected::Execute(reply)) => Some(&mut reply.run),
            _ => None,
        }
    }

    fn upstream_frame(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        match frame.tag {
            tag::NOTIFICATION_RESPONSE => {
                self.pass(frame);
                return Ok(());
            }
            tag::NOTICE_RESPONSE => {
                let notice = self.scrubbed(frame, around);
                self.to_client.extend_from_slice(&notice);
                return Ok(());
            }
            tag::PARAMETER_STATUS => return self.parameter_status(frame),
            tag::ERROR_RESPONSE => return self.error_response(frame, around),
            _ => {}
        }
        match self.expected.front() {
            Some(Expected::Own(_)) => self.own_reply(frame),
            Some(Expected::CopySyncs(_)) => self.doubt_reply(frame, around),
            Some(Expected::Query(_)) => self.query_reply(frame, around),
            Some(Expected::Execute(_)) => self.execute_reply(frame, around),
            Some(Expected::Describe(_)) => self.describe_reply(frame, around),
            Some(Expected::OwnDescribe(_)) => self.own_describe_reply(frame, around),
            Some(Expected::Parse(_)) => self.acknowledged(frame, tag::PARSE_COMPLETE),
            Some(Expected::OwnParse) if frame.tag == tag::PARSE_COMPLETE => {
                self.expected.pop();
                Ok(())
            }
            Some(Expected::Bind(_)) => self.acknowledged(frame, tag::BIND_COMPLETE),
            Some(Expected::Close(_)) => self.acknowledged(frame, tag::CLOSE_COMPLETE),
            Some(Expected::Sync | Expected::PoisonQuery(_)) => self.ready(frame, around),
            Some(Expected::OwnParse | Expected::PoisonExecute(_)) | None => Err(unexpected(frame)),
        }
    }

    fn pass(&mut self, frame: FrameRef<'_>) {
        self.to_client.extend_from_slice(frame.bytes);
    }

    /// A reply of one message that completes its entry.
    fn acknowledged(&mut self, frame: FrameRef<'_>, wanted: u8) -> Result<(), Stop> {
        if frame.tag != wanted {
            return Err(unexpected(frame));
        }
        self.expected.pop();
        self.pass(frame);
        Ok(())
    }

    fn parameter_status(&mut self, frame: FrameRef<'_>) -> Result<(), Stop> {
        let (name, value) = backend::parameter_status(frame.body())?;
        let pinned = match name {
            b"standard_conforming_strings" => value == b"on",
            b"client_encoding" => matches!(value, b"UTF8" | b"UNICODE"), // Another name, repeated as it was given.
            _ => true,
        };
        if !pinned {
            let message =
                format!("parameter \"{}\" cannot be changed on this connection", String::from_utf8_lossy(name));
            let hint = "It changes how statements are read; set it back and connect again.";
            return Err(Stop(messages::fatal(sqlstate::FEATURE_NOT_SUPPORTED, &message, Some(hint))));
        }
        self.pass(frame);
        Ok(())
    }

    fn ready(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        if frame.tag != tag::READY_FOR_QUERY {
            return Err(unexpected(frame));
        }
        self.expected.pop();
        self.pass(frame);
        self.learn_status(frame, around)
    }

    pub(super) fn learn_status(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        self.status = backend::ready_for_query(frame.body())?;
        self.status_moved = self.expected.may_change_transaction();
        let in_transaction = self.status != TransactionStatus::Idle;
        let cycles = self.statements.cycle_done(in_transaction);
        if !in_transaction {
            self.names.transaction_ended(cycles);
            self.locked_in = self.locked_in.filter(|cycle| *cycle >= cycles);
        }
        if self.status != TransactionStatus::InBlock {
            self.batch = None;
        }
        // Whoever hears that a definition is made may count on it being known, in this session and in others.
        if matches!(self.gate, Gate::Open) && self.catalog_due() {
            self.refresh_catalog(around);
        }
        Ok(())
    }

    fn query_reply(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        if self.guard_reply(frame)? {
            return Ok(());
        }
        let Some(Expected::Query(reply)) = self.expected.front() else { return Err(unexpected(frame)) };
        match frame.tag {
            tag::ROW_DESCRIPTION => {
                if let Some(keeping) = &mut reply.run.keeping {
                    keeping.describe(frame.body());
                }
                reply.plan = match reply.run.masks(around) {
                    // Nothing depends on what the columns are.
                    masks if !masks.touches_database() => ResultPlan::Pass,
                    masks => {
                        let statement = reply.run.analysis.statements.get(reply.completed);
                        let fields = backend::row_description(frame.body())?;
                        ResultPlan::new(masks, &around.catalog, &fields, statement)
                    }
                };
            }
            tag::COPY_OUT_RESPONSE => {
                let statement = reply.run.analysis.statements.get(reply.completed);
                let masks = (reply.run.masks(around), &*around.catalog);
                reply.plan = Copying::plan(masks, frame.body(), statement)?.ok_or_else(copy_not_showable)?;
            }
            tag::COPY_IN_RESPONSE if self.copy_in == CopyIn::Awaited => self.copy_begins(),
            tag::COPY_DATA => return self.copy_data(frame, around),
            tag::COPY_DONE => copy_done(&reply.plan)?,
            tag::FUNCTION_CALL_RESPONSE if reply.is_call => reply.run.outcome = Some(Ok("FunctionCall".to_owned())),
            tag::DATA_ROW => return self.data_row(frame),
            tag::COMMAND_COMPLETE | tag::EMPTY_QUERY_RESPONSE => {
                if frame.tag == tag::COMMAND_COMPLETE && reply.run.is_told() {
                    reply.run.outcome = Some(Ok(backend::command_complete(frame.body())?.to_owned()));
                }
                reply.plan = ResultPlan::Unknown;
                reply.completed = reply.completed.saturating_add(1);
                if reply.run.may_copy_in() {
                    self.copy_may_follow();
                }
            }
            tag::READY_FOR_QUERY => return self.query_done(frame, around),
            _ => return Err(unexpected(frame)),
        }
        self.pass(frame);
        Ok(())
    }

    fn query_done(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        let Some(Expected::Query(reply)) = self.expected.pop() else { return Err(unexpected(frame)) };
        let QueryReply { run, completed, guard, .. } = *reply;
        self.copy_ended(&run);
        self.apply_changes(&run, completed);
        self.finish(run, Outcome::Unknown);
        self.pass(frame);
        self.learn_status(frame, around)?;
        if let Some(guard) = guard {
            if guard.owes_sync() {
                self.sync();
            }
            self.guard_over();
        }
        Ok(())
    }

    /// A statement of a string has completed; the next one may read CopyData.
    pub(super) fn copy_may_follow(&mut self) {
        self.copy_in = CopyIn::Awaited;
        self.forget_copy_sent();
    }

    fn copy_begins(&mut self) {
        self.copy_in = CopyIn::Active;
        self.forget_copy_sent();
    }

    /// A request has ended; a COPY of another one that was sent behind it has not.
    pub(super) fn copy_ended(&mut self, run: &Run) {
        if run.may_copy_in() {
            self.copy_in = CopyIn::No;
        }
    }

    /// Applies what completed statements changed in the session. One that failed has made no name mean anything else, and
    /// whether what it was to remove is still there, the upstream tells whoever asks for it.
    pub(super) fn apply_changes(&mut self, run: &Run, completed: usize) {
        for (index, statement) in run.analysis.statements.iter().enumerate() {
            for change in statement.session_changes.iter().filter(|_| index < completed) {
                self.statements.apply(change, &run.text, run.generation);
            }
        }
    }

    fn execute_reply(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        let Some(Expected::Execute(reply)) = self.expected.front() else { return Err(unexpected(frame)) };
        match frame.tag {
            tag::COPY_OUT_RESPONSE => {
                let statement = reply.run.analysis.statements.first();
                let masks = (reply.run.masks(around), &*around.catalog);
                reply.plan = Copying::plan(masks, frame.body(), statement)?.ok_or_else(copy_not_showable)?;
            }
            tag::COPY_IN_RESPONSE if self.copy_in == CopyIn::Awaited => self.copy_begins(),
            tag::COPY_DATA => return self.copy_data(frame, around),
            tag::COPY_DONE => copy_done(&reply.plan)?,
            tag::DATA_ROW => return self.data_row(frame),
            tag::COMMAND_COMPLETE => {
                return self.execute_done(frame, backend::command_complete(frame.body())?);
            }
            tag::EMPTY_QUERY_RESPONSE => return self.execute_done(frame, ""),
            tag::PORTAL_SUSPENDED => return self.execute_done(frame, "PortalSuspended"),
            _ => return Err(unexpected(frame)),
        }
        self.pass(frame);
        Ok(())
    }

    fn execute_done(&mut self, frame: FrameRef<'_>, command_tag: &str) -> Result<(), Stop> {
        let Some(Expected::Execute(reply)) = self.expected.pop() else { return Err(unexpected(frame)) };
        if let Some(limit) = reply.run.max_affected
            && let Some(error) = guarded::excess_of(frame.tag, command_tag, limit)
        {
            self.exceeded(*reply, error);
            return Ok(());
        }
        let guarded = reply.run.max_affected.is_some();
        let ExecuteReply { mut run, portal, .. } = *reply;
        self.copy_ended(&run);
        self.forget_copy_sent();
        if frame.tag == tag::COMMAND_COMPLETE {
            // A portal that has run to its end has used its approval up.
            if let Some(portal) = self.statements.portal(&portal) {
                portal.approved = None;
            }
        }
        self.apply_changes(&run, 1);
        run.outcome = run.is_told().then(|| Ok(command_tag.to_owned()));
        self.finish(run, Outcome::Unknown);
        self.pass(frame);
        if guarded {
            self.guard_over();
        }
        Ok(())
    }

    /// A row that neither passed nor was masked together with others: there is no plan for it.
    fn data_row(&mut self, frame: FrameRef<'_>) -> Result<(), Stop> {
        let plan = match self.expected.front() {
            Some(Expected::Query(reply)) => &reply.plan,
            Some(Expected::Execute(reply)) => &reply.plan,
            _ => return Err(unexpected(frame)),
        };
        match plan {
            ResultPlan::Unknown => Err(not_showable("its columns are not known")),
            ResultPlan::Pass | ResultPlan::Mask(_) | ResultPlan::Copy(_) | ResultPlan::Unconfirmed(_) => {
                Err(unexpected(frame))
            }
        }
    }

    /// Rows of a COPY with masked columns; of any other, they pass before they come here.
    fn copy_data(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        let (plan, run) = match self.expected.front() {
            Some(Expected::Query(reply)) => (&mut reply.plan, &mut reply.run),
            Some(Expected::Execute(reply)) => (&mut reply.plan, &mut reply.run),
            _ => return Err(unexpected(frame)),
        };
        let ResultPlan::Copy(copying) = plan else { return Err(unexpected(frame)) };
        if run.masked.is_empty() && run.is_told() {
            run.masked = copying.masking().columns(&around.catalog);
        }
        let before = self.to_client.len();
        let rows = copying.put(&mut self.to_client, frame.body())?;
        if let Some(keeping) = &mut run.keeping {
            keeping.take(self.to_client.get(before..).unwrap_or_default());
        }
        run.rows = run.rows.saturating_add(rows);
        run.count_masked(copying.masking().plan.rules(), rows);
        Ok(())
    }

    fn describe_reply(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        let Some(Expected::Describe(target)) = self.expected.front() else { return Err(unexpected(frame)) };
        match (frame.tag, &*target) {
            (tag::PARAMETER_DESCRIPTION, DescribeTarget::Statement(name, id)) => {
                let types = backend::parameter_description(frame.body())?;
                if let Some(statement) = self.statements.statement(name)
                    && Some(statement.id) == *id
                {
                    statement.parameter_types = types.into();
                }
            }
            (tag::ROW_DESCRIPTION | tag::NO_DATA, _) => {
                // Where no mask depends on them, nobody asks; an Execute that must know them and does not, asks for them.
                if around.all_masks.touches_database() {
                    self.learn_fields(described(frame)?);
                }
                self.expected.pop();
            }
            _ => return Err(unexpected(frame)),
        }
        self.pass(frame);
        Ok(())
    }

    /// Remembers columns, unless the name has gone over to something else meanwhile.
    fn learn_fields(&mut self, described: Described) {
        // What a statement returns is settled anew whenever it is bound.
        if let Some(Expected::Describe(target) | Expected::OwnDescribe(target)) = self.expected.front()
            && let DescribeTarget::Portal(name, id) = target
            && let Some(portal) = self.statements.portal(name)
            && Some(portal.id) == *id
        {
            portal.fields = Some(described);
        }
    }

    /// The columns that the proxy asked for: they complete the plan of the Execute behind.
    fn own_describe_reply(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        if !matches!(frame.tag, tag::ROW_DESCRIPTION | tag::NO_DATA) {
            return Err(unexpected(frame));
        }
        let described = described(frame)?;
        self.learn_fields(described.clone());
        self.expected.pop();
        let Some(Expected::Execute(reply)) = self.expected.front() else { return Err(unexpected(frame)) };
        if let Described::Fields(fields) = described {
            let statement = reply.run.analysis.statements.first();
            reply.plan = ResultPlan::new(reply.run.masks(around), &around.catalog, &fields, statement);
        }
        Ok(())
    }
}

fn described(frame: FrameRef<'_>) -> Result<Described, Stop> {
    Ok(match frame.tag {
        tag::ROW_DESCRIPTION => Described::Fields(backend::row_description(frame.body())?.into()),
        _ => Described::NoData,
    })
}

pub(super) fn unexpected(frame: FrameRef<'_>) -> Stop {
    let message = format!("the database sent an unexpected message of type 0x{:02X}", frame.tag);
    Stop(messages::fatal(sqlstate::PROTOCOL_VIOLATION, &message, None))
}

pub(super) fn names_unknown() -> Stop {
    let message = "the proxy could not learn the search path of the session";
    Stop(messages::fatal(sqlstate::INTERNAL_ERROR, message, Some("Connect again.")))
}

fn copy_done(plan: &ResultPlan) -> Result<(), Stop> {
    match plan {
        ResultPlan::Copy(copying) => Ok(copying.finish()?),
        ResultPlan::Unknown | ResultPlan::Pass | ResultPlan::Mask(_) | ResultPlan::Unconfirmed(_) => Ok(()),
    }
}

fn copy_not_showable() -> Stop {
    not_showable("how the COPY writes it is not known")
}

pub(super) fn not_showable(why: &str) -> Stop {
    let message = format!("the result cannot be shown with its masks: {why}");
    Stop(messages::fatal(sqlstate::INSUFFICIENT_PRIVILEGE, &message, None))
}
