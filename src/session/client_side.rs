//! The client's frames, one by one and in order.
//!
//! Never forwards a request: a Query or an Execute goes to [`super::decide`]. Invariant: while something before it may
//! change how a text reads, or whether it may run, the next request is not looked at.
//! Source: PostgreSQL manual, "Message Flow".

use std::sync::Arc;

use bytes::{Buf, Bytes};
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::frontend::{Bind, Execute, Parse, Target, tag};
use countersign_protocol::{Frame, Header, sqlstate};

use super::expected::{DescribeTarget, Expected, OwnReply};
use super::machine::{CopyIn, Machine, Stop};
use super::messages;
use super::names;
use super::parked::Gate;
use super::statements::{Portal, PreparedStatement, Undo};
use super::words::{Command, Surroundings};
use crate::relay::{self, Control};

/// Largest Query, Parse and Bind frame, in bytes.
const REQUEST_LEN_MAX: u32 = 64 << 20;
/// Largest frame of the messages that carry only names.
const NAME_LEN_MAX: u32 = 64 << 10;
/// Largest CopyData frame; it passes in pieces.
const COPY_LEN_MAX: u32 = (1 << 30) + 64;
/// Messages that wait for an Execute are sent on when they grow beyond this.
const GROUP_LEN_MAX: usize = 1 << 20;

/// Largest length field of a frontend message.
fn limit(frame_tag: u8) -> u32 {
    match frame_tag {
        tag::QUERY | tag::PARSE | tag::BIND | tag::FUNCTION_CALL => REQUEST_LEN_MAX,
        tag::COPY_DATA => COPY_LEN_MAX,
        _ => NAME_LEN_MAX,
    }
}

impl Machine {
    /// Works off the client's frames until one has to wait.
    pub(super) fn read_client(&mut self, around: &Surroundings) -> Result<(), Stop> {
        while matches!(self.gate, Gate::Open) {
            if self.client_pass > 0 {
                if self.client_in.is_empty() {
                    return Ok(());
                }
                self.pass_copy_data();
                continue;
            }
            if let Some(frame) = self.postponed.take() {
                self.client_frame(&frame, around)?;
                continue;
            }
            let Some(header) = Header::peek(&self.client_in, limit)? else { return Ok(()) };
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
            let Some(frame) = Frame::take(&mut self.client_in, limit)? else { return Ok(()) };
            self.client_frame(&frame, around)?;
        }
        Ok(())
    }

    /// Whether this message must not be looked at before everything earlier has completed.
    fn must_wait(&self, frame_tag: u8) -> bool {
        if self.skipping || self.copy_in == CopyIn::Active {
            return false;
        }
        if self.copy_in == CopyIn::Awaited {
            return frame_tag != tag::TERMINATE;
        }
        match frame_tag {
            tag::QUERY | tag::FUNCTION_CALL => {
                !self.expected.is_empty() || self.barrier || self.names.stale || self.catalog_due() || self.cancelling
            }
            tag::PARSE | tag::BIND | tag::EXECUTE => {
                self.barrier || self.names.stale || self.catalog_due() || self.cancelling
            }
            _ => false,
        }
    }

    fn catalog_due(&self) -> bool {
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
        if self.names.stale && self.status != TransactionStatus::Failed {
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

    pub(super) fn catalog_refreshed(&mut self) {
        if matches!(self.gate, Gate::Refreshing) {
            self.gate = Gate::Open;
            // What this session has changed and not committed is in no catalog.
            self.catalog_stale &= self.in_pipeline || self.status != TransactionStatus::Idle;
        }
    }

    /// Asks the upstream what names mean now. Within a pipeline the question must not end the client's transaction.
    fn ask_names(&mut self) {
        let in_pipeline = self.in_pipeline;
        self.relay.own_query(names::QUERY);
        self.expect(Expected::Own(OwnReply::new(!in_pipeline)));
        if in_pipeline {
            self.flush_upstream();
        } else {
            self.relay.control(Control::Sync);
        }
    }

    fn client_frame(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        if self.copy_in == CopyIn::Active {
            return self.frame_in_copy(frame);
        }
        if self.skipping && !matches!(frame.tag, tag::SYNC | tag::TERMINATE) {
            return Ok(());
        }
        match frame.tag {
            tag::QUERY => self.query(frame, around),
            tag::PARSE => self.parse(frame, around),
            tag::BIND => self.bind(frame),
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
                self.release_group();
                self.skipping = false;
                self.in_pipeline = false;
                self.relay.control(Control::Sync);
                self.expect(Expected::Sync);
                Ok(())
            }
            // PostgreSQL accepts and ignores what is left of a COPY that failed.
            tag::COPY_DONE | tag::COPY_FAIL => Ok(()),
            tag::FUNCTION_CALL => {
                self.release_group();
                self.refuse_query(messages::not_supported("function calls by message are not supported"));
                Ok(())
            }
            tag::TERMINATE => Err(Stop(Bytes::new())),
            other => {
                let message = format!("invalid frontend message type {other}");
                Err(Stop(messages::fatal(sqlstate::PROTOCOL_VIOLATION, &message, None)))
            }
        }
    }

    /// While the upstream reads CopyData it ignores Flush and Sync and takes nothing else.
    fn frame_in_copy(&mut self, frame: &Frame) -> Result<(), Stop> {
        match frame.tag {
            tag::COPY_DONE | tag::COPY_FAIL => {
                self.relay.copy(&frame.bytes);
                self.copy_in = CopyIn::No;
                Ok(())
            }
            tag::FLUSH | tag::SYNC => Ok(()),
            tag::TERMINATE => Err(Stop(Bytes::new())),
            other => {
                let message = format!("unexpected message type 0x{other:02X} during COPY from stdin");
                Err(Stop(messages::fatal(sqlstate::PROTOCOL_VIOLATION, &message, None)))
            }
        }
    }

    fn start_copy_data(&mut self, header: Header) {
        self.client_pass = header.frame_len;
        self.pass_copy_data();
    }

    /// CopyData passes as it comes; outside a COPY PostgreSQL ignores it, and so do we.
    fn pass_copy_data(&mut self) {
        let length = self.client_pass.min(self.client_in.len());
        if self.copy_in == CopyIn::Active {
            let (bytes, _) = self.client_in.split_at(length);
            self.relay.copy(bytes);
        }
        self.client_in.advance(length);
        self.client_pass -= length;
    }

    fn parse(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        let parse = Parse::read(frame.body())?;
        if relay::is_reserved(parse.statement) {
            self.refuse_extended(messages::not_supported("prepared statement name is reserved"));
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(parse.query) else {
            self.refuse_extended(messages::not_utf8());
            return Ok(());
        };
        let text: Arc<str> = Arc::from(text);
        let Some(analysis) = self.analyze(&text, around) else {
            self.postponed = Some(frame.clone());
            return Ok(());
        };
        if let Some(refusal) = self.refused_at_parse(&text, &analysis, around) {
            self.refuse_extended(refusal);
            return Ok(());
        }
        let statement = PreparedStatement {
            text,
            analysis,
            generation: self.names.generation(&around.catalog),
            parameter_types: parse.parameter_types,
            fields: None,
        };
        let undo = self.statements.prepare(Bytes::copy_from_slice(parse.statement), statement);
        self.collect(frame, Expected::Parse(undo));
        Ok(())
    }

    fn bind(&mut self, frame: &Frame) -> Result<(), Stop> {
        let bind = Bind::read(frame.body())?;
        if relay::is_reserved(bind.portal) {
            self.refuse_extended(messages::not_supported("portal name is reserved"));
            return Ok(());
        }
        let Some(statement) = self.statements.statement(bind.statement).cloned() else {
            self.refuse_extended(messages::unknown_statement(bind.statement));
            return Ok(());
        };
        let portal = Portal {
            statement,
            bind: frame.bytes.clone(),
            result_formats: bind.result_formats,
            fields: None,
            approved: None,
        };
        let undo = self.statements.bind(Bytes::copy_from_slice(bind.portal), portal);
        self.collect(frame, Expected::Bind(undo));
        Ok(())
    }

    fn describe(&mut self, frame: &Frame) -> Result<(), Stop> {
        let target = match Target::read("Describe", frame.body())? {
            Target::Statement(name) => DescribeTarget::Statement(Bytes::copy_from_slice(name)),
            Target::Portal(name) => DescribeTarget::Portal(Bytes::copy_from_slice(name)),
        };
        self.collect(frame, Expected::Describe(target));
        Ok(())
    }

    fn close_name(&mut self, frame: &Frame) -> Result<(), Stop> {
        let undo = match Target::read("Close", frame.body())? {
            Target::Statement(name) => self.statements.close_statement(name),
            Target::Portal(name) => self.statements.close_portal(name),
        };
        self.collect(frame, Expected::Close(undo));
        Ok(())
    }

    fn execute(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        let execute = Execute::read(frame.body())?;
        if self.statements.portal(execute.portal).is_none() {
            self.refuse_extended(messages::unknown_portal(execute.portal));
            return Ok(());
        }
        self.decide_execute(frame, Bytes::copy_from_slice(execute.portal), around)
    }

    /// Keeps a message that executes nothing until the message that makes its reply visible.
    fn collect(&mut self, frame: &Frame, entry: Expected) {
        relay::collect(&mut self.group.bytes, frame);
        self.group.expected.push(entry);
        if self.group.bytes.len() > GROUP_LEN_MAX {
            self.release_group();
        }
    }

    /// Sends on what was collected; it executes nothing.
    pub(super) fn release_group(&mut self) {
        if self.group.is_empty() {
            return;
        }
        let group = std::mem::take(&mut self.group);
        self.relay.describe(&group.bytes);
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
            | Expected::Describe(_)
            | Expected::OwnDescribe(_)
            | Expected::Execute(_)
            | Expected::PoisonExecute(_)
            | Expected::Sync
            | Expected::Own(_) => self.statements.undo(Undo::Nothing),
        }
    }
}
