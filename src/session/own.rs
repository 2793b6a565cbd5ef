//! What the proxy asks the upstream by itself, on the session's own connection: what names mean, and values of settings.
//!
//! Never ends the client's transaction, and never lets it see the answer. Invariant: an answer that is not what was asked for
//! ends the session.

use bytes::Bytes;
use countersign_protocol::FrameRef;
use countersign_protocol::backend::{self, tag};

use super::expected::{Expected, OwnReply};
use super::machine::{Machine, Stop};
use super::names;
use super::upstream_side::{names_unknown, unexpected};
use crate::relay::Control;

impl Machine {
    /// Asks the upstream what names mean now.
    pub(super) fn ask_names(&mut self) {
        self.ask_own(names::QUERY, None);
    }

    /// Asks the upstream something. Within a pipeline the question must not end the client's transaction.
    pub(super) fn ask_own(&mut self, text: &str, settings: Option<Vec<String>>) {
        let in_pipeline = self.in_pipeline;
        self.relay.own_query(text);
        self.expect(Expected::Own(OwnReply::new(!in_pipeline, settings)));
        if in_pipeline {
            self.flush_upstream();
        } else {
            self.relay.control(Control::Sync);
        }
    }

    pub(super) fn own_reply(&mut self, frame: FrameRef<'_>) -> Result<(), Stop> {
        let Some(Expected::Own(reply)) = self.expected.front() else { return Err(unexpected(frame)) };
        let done = match frame.tag {
            tag::PARSE_COMPLETE | tag::BIND_COMPLETE | tag::COMMAND_COMPLETE => false,
            tag::DATA_ROW => {
                reply.row = Some(Bytes::copy_from_slice(frame.body()));
                false
            }
            tag::CLOSE_COMPLETE => {
                reply.closed = reply.closed.saturating_add(1);
                reply.closed == 2 && !reply.with_sync
            }
            tag::READY_FOR_QUERY if reply.with_sync => true,
            _ => return Err(unexpected(frame)),
        };
        if !done {
            return Ok(());
        }
        let (row, settings) = (reply.row.take(), reply.settings.take());
        self.expected.pop();
        if frame.tag == tag::READY_FOR_QUERY {
            self.status = backend::ready_for_query(frame.body())?;
        }
        let learned = row.and_then(|row| match settings {
            Some(names) => self.learn_settings(names, &row),
            None => self.names.learn(&row),
        });
        if learned.is_none() {
            return Err(names_unknown());
        }
        Ok(())
    }
}
