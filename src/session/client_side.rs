//! The client's frames, one by one and in order.
//!
//! Never forwards a request: a Query or an Execute goes to [`super::decide`]. Invariant: while something before it may
//! change how a text reads, or whether it may run, the next request is not looked at.
//! Source: PostgreSQL manual, "Message Flow".

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::frontend::{Bind, Execute, Parse, Target, tag};
use countersign_protocol::{Frame, Header, sqlstate};

use super::buffers;
use super::copy_in::{CopyIn, belongs_in_copy};
use super::doubt::with_parameter_types;
use super::expected::{DescribeTarget, Expected};
use super::machine::{Draining, Machine, Stop};
use super::messages;
use super::parked::{Gate, runs_a_name};
use super::passing::Passing;
use super::statements::{NameId, Portal, PreparedStatement, Undo, cut};
use super::words::{Command, Surroundings};
use crate::relay::{self, Control};

/// Largest Query, Parse and Bind frame that PostgreSQL reads, in bytes. What is larger than the configuration allows is
/// thrown away as it comes.
const REQUEST_LEN_MAX: u32 = (1 << 30) - 1;
/// Largest frame of the messages that carry only names.
const NAME_LEN_MAX: u32 = 64 << 10;
/// Largest CopyData frame; it passes in pieces.
const COPY_LEN_MAX: u32 = (1 << 30) + 64;
/// Messages that wait for an Execute are sent on when they grow beyond this.
const GROUP_LEN_MAX: usize = 1 << 20;
/// Those with a Bind that must be decided first are refused when they grow beyond this.
const UNDECIDED_LEN_MAX: usize = 128 << 20;
/// How many replies the upstream may owe before the client has to wait.
const OWED_MAX: usize = 16 << 10;

/// Largest length field of a frontend message.
fn limit(frame_tag: u8) -> u32 {
    match frame_tag {
        tag::QUERY | tag::PARSE | tag::BIND | tag::FUNCTION_CALL => REQUEST_LEN_MAX,
        tag::COPY_DATA => COPY_LEN_MAX,
        _ => NAME_LEN_MAX,
    }
}

fn is_request(frame_tag: u8) -> bool {
    matches!(frame_tag, tag::QUERY | tag::PARSE | tag::BIND | tag::FUNCTION_CALL)
}

/// Whether a session takes such a message, in some state.
fn is_message(frame_tag: u8) -> bool {
    const KNOWN: [u8; 13] = [
        tag::BIND,
        tag::CLOSE,
        tag::COPY_DATA,
        tag::COPY_DONE,
        tag::COPY_FAIL,
        tag::DESCRIBE,
        tag::EXECUTE,
        tag::FLUSH,
        tag::FUNCTION_CALL,
        tag::PARSE,
        tag::QUERY,
        tag::SYNC,
        tag::TERMINATE,
    ];
    KNOWN.contains(&frame_tag)
}

impl Machine {
    /// Works off the client's frames until one has to wait.
    pub(super) fn read_client(&mut self, around: &Surroundings) -> Result<(), Stop> {
        // Nothing new begins while what runs is being cancelled.
        while matches!(self.gate, Gate::Open) && self.draining != Draining::WhenSettled {
            self.blocked = false;
            if self.until_settled {
                self.blocked = !self.expected.is_empty();
                if self.blocked {
                    self.flush_upstream();
                    return Ok(());
                }
                self.until_settled = false;
            }
            if self.client_passing.is_some() {
                if self.client_in.is_empty() {
                    return Ok(());
                }
                self.pass_copy_data();
                continue;
            }
            if let Some(frame_tag) = self.too_large.take() {
                self.refuse_too_large(frame_tag, around);
                continue;
            }
            if let Some(frame) = self.postponed.take() {
                if !self.look_at(&frame, around)? {
                    return Ok(());
                }
                continue;
            }
            let Some(header) = Header::peek(&self.client_in, limit)? else { return Ok(()) };
            if self.paused && self.is_between_transactions() && header.tag != tag::TERMINATE {
                self.blocked = true;
                return Ok(());
            }
            if matches!(header.tag, tag::QUERY | tag::FUNCTION_CALL) {
                // It waits for the end of what comes before it, and that must have been sent for it.
                self.release_group();
            }
            if self.copy_in == CopyIn::Active && !belongs_in_copy(header.tag) {
                self.interrupt_copy(header.tag);
            }
            self.blocked = self.must_wait(header.tag) && !self.pass_barrier(around)?;
            if self.blocked {
                return Ok(());
            }
            if !matches!(self.gate, Gate::Open) {
                return Ok(());
            }
            if header.tag == tag::COPY_DATA {
                self.start_copy_data(header);
                continue;
            }
            if is_request(header.tag) && header.frame_len > around.config.limits.request_len_max {
                self.too_large = Some(header.tag);
                self.client_passing = Passing::Discard(header.frame_len);
                continue;
            }
            let Some(frame) = Frame::take(&mut self.client_in, limit)? else { return Ok(()) };
            self.looked = None;
            if !self.look_at(&frame, around)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes in a frame; false when it takes longer than a look and is kept until there is room for it.
    fn look_at(&mut self, frame: &Frame, around: &Surroundings) -> Result<bool, Stop> {
        let known = self.laborious;
        self.client_frame(frame, around)?;
        Ok(known || !self.laborious)
    }

    /// Whether this message must not be looked at before everything earlier has completed.
    fn must_wait(&self, frame_tag: u8) -> bool {
        if self.expected.is_guarded() && self.copy_in != CopyIn::Active {
            return true;
        }
        if self.expected.is_in_doubt() {
            return frame_tag != tag::TERMINATE;
        }
        if self.skipping || self.copy_in == CopyIn::Active {
            return false;
        }
        if self.copy_in == CopyIn::Awaited && frame_tag == tag::SYNC && self.is_sync_of_copy() {
            return false;
        }
        if self.copy_in == CopyIn::Awaited || self.expected.len() >= OWED_MAX {
            return frame_tag != tag::TERMINATE;
        }
        match frame_tag {
            tag::QUERY | tag::FUNCTION_CALL => {
                !self.expected.is_empty() || self.barrier || self.names.stale || self.catalog_due() || self.cancelling
            }
            tag::PARSE | tag::BIND | tag::EXECUTE => {
                self.barrier || self.names.stale || self.catalog_due() || self.cancelling
            }
            // What is no message ends the session, after what came before it.
            other => !is_message(other) && !self.expected.is_empty(),
        }
    }

    /// Keeps a message until everything that was sent has been answered: what it names is not settled before.
    pub(super) fn postpone(&mut self, frame: &Frame) {
        debug_assert!(!self.expected.is_empty(), "what was answered is settled");
        self.postponed = Some(frame.clone());
        self.until_settled = true;
    }

    pub(super) fn catalog_due(&self) -> bool {
        self.catalog_stale && self.status == TransactionStatus::Idle && !self.in_pipeline && self.expected.is_empty()
    }

    /// Whether everything earlier has completed and is known; starts what is still to be asked.
    fn pass_barrier(&mut self, around: &Surroundings) -> Result<bool, Stop> {
        if !self.expected.is_empty() {
            self.flush_upstream();
            return Ok(false);
        }
        if self.cancelling {
            return Ok(false);
        }
        if self.catalog_due() {
            self.refresh_catalog(around);
            return Ok(false);
        }
        if self.names.stale && !self.in_failed_block() {
            self.ask_names();
            return Ok(false);
        }
        self.barrier = false;
        Ok(true)
    }

    pub(super) fn refresh_catalog(&mut self, around: &Surroundings) {
        self.catalog_asked = around.now;
        self.commands.push_back(Command::RefreshCatalog);
        self.gate = Gate::Refreshing;
    }

    pub(super) fn catalog_refreshed(&mut self, around: &Surroundings) {
        match std::mem::replace(&mut self.gate, Gate::Open) {
            // Within a transaction the catalog cannot see what the session has defined in it.
            Gate::Refreshing if self.status == TransactionStatus::Idle && !self.in_pipeline => {
                self.catalog_stale = false;
                self.definitions.loaded();
            }
            Gate::Refreshing => {}
            Gate::Approved(approved) => self.judge_approved(*approved, around),
            other => self.gate = other,
        }
    }

    fn client_frame(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        self.asked = true;
        if self.draining == Draining::Soon {
            self.draining = Draining::WhenIdle;
        }
        if self.copy_in == CopyIn::Active {
            return self.frame_in_copy(frame);
        }
        if self.skipping && is_message(frame.tag) && !matches!(frame.tag, tag::SYNC | tag::TERMINATE) {
            return Ok(());
        }
        match frame.tag {
            tag::QUERY => self.query(frame, around),
            tag::PARSE => self.parse(frame, around),
            tag::BIND => self.bind(frame, around),
            tag::DESCRIBE => self.describe(frame),
            tag::EXECUTE => self.execute(frame, around),
            tag::CLOSE => self.close_name(frame),
            tag::FLUSH => {
                self.release_group();
                self.flushed = false;
                self.flush_upstream();
                Ok(())
            }
            tag::SYNC => {
                self.sync();
                Ok(())
            }
            // PostgreSQL accepts and ignores what is left of a COPY that failed.
            tag::COPY_DONE | tag::COPY_FAIL => Ok(()),
            tag::FUNCTION_CALL if self.batch.take().is_some() => {
                self.refuse_query(messages::not_in_a_batch());
                Ok(())
            }
            tag::FUNCTION_CALL => self.function_call(frame, around),
            tag::TERMINATE => {
                self.terminate();
                Ok(())
            }
            other => {
                let message = format!("invalid frontend message type {other}");
                Err(Stop(messages::fatal(sqlstate::PROTOCOL_VIOLATION, &message, None)))
            }
        }
    }

    pub(super) fn sync(&mut self) {
        self.release_group();
        self.skipping = false;
        self.in_pipeline = false;
        self.copy_synced();
        self.relay.control(Control::Sync);
        self.expect(Expected::Sync);
    }

    fn parse(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        let Some(parse) = self.well_formed(Parse::read(frame.body())) else { return Ok(()) };
        if relay::is_reserved(parse.statement) {
            self.fail_extended(messages::not_supported("prepared statement name is reserved"));
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(parse.query) else {
            self.fail_extended(messages::not_utf8(parse.query));
            return Ok(());
        };
        let name = cut(parse.statement);
        if !name.is_empty() && self.statements.is_unsettled_statement(name) {
            self.postpone(frame);
            return Ok(());
        }
        if !self.statements.has_room(text.len()) {
            self.fail_extended(messages::too_much_kept());
            return Ok(());
        }
        let text: Arc<str> = Arc::from(text);
        let Some(analysis) = self.analyze(&text, around) else {
            self.postponed = Some(frame.clone());
            return Ok(());
        };
        let analysis = with_parameter_types(analysis, &parse.parameter_types, around);
        if runs_a_name(&analysis) && self.statements.is_any_unsettled() {
            self.postpone(frame);
            return Ok(());
        }
        if let Some(refusal) = self.refused_at_parse(&text, &analysis, around) {
            self.refuse_extended(refusal);
            return Ok(());
        }
        let statement = PreparedStatement {
            id: NameId::default(),
            text,
            named_by_sql: false,
            analysis,
            generation: self.names.generation(&around.catalog),
            parameter_types: parse.parameter_types.into(),
            cycle: 0,
        };
        // It may have to wait for its Execute, as a Bind does.
        let waits = statement.analysis.runs_when_parsed() && !self.is_allowed(&statement, around);
        let undo = self.statements.prepare(Bytes::copy_from_slice(name), statement);
        if let Undo::Statement(_, made, _) = &undo
            && waits
        {
            self.group.mark_undecided_parse(*made);
        }
        self.collect(frame, Expected::Parse(undo));
        Ok(())
    }

    fn bind(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        let Some(bind) = self.well_formed(Bind::read(frame.body())) else { return Ok(()) };
        if relay::is_reserved(bind.portal) {
            self.fail_extended(messages::not_supported("portal name is reserved"));
            return Ok(());
        }
        let name = cut(bind.statement);
        if self.statements.is_unsettled_statement(name) {
            self.postpone(frame);
            return Ok(());
        }
        let Some(mut statement) = self.statements.bound(name) else {
            self.fail_extended(messages::unknown_statement(bind.statement));
            return Ok(());
        };
        if !self.statements.has_room(frame.bytes.len()) {
            self.fail_extended(messages::too_much_kept());
            return Ok(());
        }
        let generation = self.names.generation(&around.catalog);
        if statement.generation != generation {
            let Some(anew) = self.planned_now(statement, generation, around) else {
                self.postponed = Some(frame.clone());
                return Ok(());
            };
            if let Some(known) = self.statements.statement(name) {
                *known = anew.clone();
            }
            statement = anew;
        }
        let is_allowed = self.is_allowed(&statement, around);
        let mut bytes = frame.bytes.clone();
        if !is_allowed || self.in_pipeline || self.status != TransactionStatus::Idle {
            // It may be there while people, or its client, take their time. Others end with their Sync.
            buffers::alone(&mut bytes);
        }
        let portal = Portal {
            id: NameId::default(),
            statement,
            parameter_part: bytes.slice(bytes.len() - bind.parameter_part.len()..),
            bind: bytes,
            result_formats: bind.result_formats,
            fields: None,
            approved: None,
            cycle: 0,
        };
        let undo = self.statements.bind(Bytes::copy_from_slice(cut(bind.portal)), portal);
        if let Undo::Portal(_, made, _) = &undo
            && !is_allowed
        {
            self.group.mark_undecided(*made);
        }
        self.collect(frame, Expected::Bind(undo));
        Ok(())
    }

    fn describe(&mut self, frame: &Frame) -> Result<(), Stop> {
        let Some(target) = self.well_formed(Target::read("Describe", frame.body())) else { return Ok(()) };
        let target = match target {
            Target::Statement(name) => {
                let name = Bytes::copy_from_slice(cut(name));
                let id = self.statements.statement(&name).map(|known| known.id);
                DescribeTarget::Statement(name, id)
            }
            Target::Portal(name) => {
                let name = Bytes::copy_from_slice(cut(name));
                let id = self.statements.portal(&name).map(|known| known.id);
                DescribeTarget::Portal(name, id)
            }
        };
        self.collect(frame, Expected::Describe(target));
        Ok(())
    }

    fn close_name(&mut self, frame: &Frame) -> Result<(), Stop> {
        let Some(target) = self.well_formed(Target::read("Close", frame.body())) else { return Ok(()) };
        let undo = match target {
            Target::Statement(name) if self.statements.is_unsettled_statement(cut(name)) => {
                self.postpone(frame);
                return Ok(());
            }
            Target::Statement(name) => self.statements.close_statement(cut(name)),
            Target::Portal(name) => self.statements.close_portal(cut(name)),
        };
        self.collect(frame, Expected::Close(undo));
        Ok(())
    }

    fn execute(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        let Some(execute) = self.well_formed(Execute::read(frame.body())) else { return Ok(()) };
        let name = cut(execute.portal);
        if self.statements.is_unsettled_portal(name) {
            self.postpone(frame);
            return Ok(());
        }
        if self.statements.portal(name).is_none() && !self.statements.adopt_cursor(name) {
            self.fail_extended(messages::unknown_portal(execute.portal));
            return Ok(());
        }
        self.decide_execute(frame, Bytes::copy_from_slice(name), around)
    }

    /// Keeps a message that executes nothing until the message that makes its reply visible.
    fn collect(&mut self, frame: &Frame, entry: Expected) {
        buffers::lend(&mut self.group.bytes);
        relay::collect(&mut self.group.bytes, frame);
        self.group.expected.push(entry);
        let limit = if self.group.is_undecided() { UNDECIDED_LEN_MAX } else { GROUP_LEN_MAX };
        if self.group.bytes.len() > limit {
            self.release_group();
        }
    }

    /// Sends on what was collected; it executes nothing. Binding runs code, though: the functions that read parameters,
    /// check domains and are folded by the planner. So does parsing, where a literal is read as a value with checked parts.
    /// Such a message of a statement that is not allowed goes with its Execute or not at all.
    pub(super) fn release_group(&mut self) {
        if self.group.is_empty() {
            return;
        }
        if self.group.is_undecided() {
            self.refuse_extended(messages::bound_undecided());
            return;
        }
        let mut group = std::mem::take(&mut self.group);
        self.relay.describe(&group.bytes);
        buffers::done_with(&mut group.bytes);
        self.in_pipeline = true;
        group.expected.into_iter().for_each(|entry| self.expect(entry));
    }

    /// Takes back what was collected and will not be sent.
    pub(super) fn drop_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        group.expected.into_iter().rev().for_each(|entry| self.take_back(entry));
    }

    /// Takes back what was believed because of a message that the upstream never executes.
    pub(super) fn take_back(&mut self, entry: Expected) {
        match entry {
            Expected::Parse(undo) | Expected::Bind(undo) | Expected::Close(undo) => self.statements.undo(undo),
            Expected::Query(_)
            | Expected::PoisonQuery(_)
            | Expected::OwnParse
            | Expected::Describe(_)
            | Expected::OwnDescribe(_)
            | Expected::Execute(_)
            | Expected::PoisonExecute(_)
            | Expected::Sync
            | Expected::CopySyncs(_)
            | Expected::Own(_) => self.statements.undo(Undo::Nothing),
        }
    }
}
