//! COPY … FROM STDIN: what a client sends while the upstream reads CopyData, and what it is owed for it.
//!
//! Never forwards a request. While the COPY goes on, PostgreSQL ignores Sync and Flush, and ends the connection over any
//! other message; once it has failed, all of them mean what they mean elsewhere. Which of the two a message meets, only
//! the upstream knows. Invariant: before anything more is sent for the client, it is known which of its messages were read.
//! Source: PostgreSQL manual, "COPY Operations".

use bytes::Bytes;
use countersign_protocol::backend;
use countersign_protocol::frontend::tag;
use countersign_protocol::{Frame, FrameRef, sqlstate};

use super::expected::Expected;
use super::machine::{Machine, Stop};
use super::messages;
use super::parked::Gate;
use super::upstream_side::unexpected;
use super::words::Surroundings;
use crate::relay;

/// COPY … FROM STDIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyIn {
    /// None.
    No,
    /// Forwarded, or at its end; the upstream has not answered yet.
    Awaited,
    /// The upstream reads CopyData.
    Active,
}

/// What was sent while the upstream read CopyData, besides that.
#[derive(Default)]
pub(super) struct CopySent {
    /// A Sync of the client.
    sync: bool,
    /// The end of the data, and the Sync that belongs to it is still to come.
    done: bool,
    /// A CopyFail of ours, because the client has sent a message of this type.
    fail: Option<u8>,
}

/// A COPY has failed, and the upstream has read some of the client's Syncs before, some after that. Those it has read after
/// are answered. Behind them it gets a Sync, a Close and another Sync of ours: of the ReadyForQuery before CloseComplete
/// all but one belong to the client.
#[derive(Default)]
pub(super) struct Doubt {
    /// Ours were sent.
    asked: bool,
    /// The last ReadyForQuery since then.
    kept: Option<Bytes>,
    /// CloseComplete has come.
    counted: bool,
}

/// Whether such a message may come while the upstream reads CopyData.
pub(super) fn belongs_in_copy(frame_tag: u8) -> bool {
    matches!(frame_tag, tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH | tag::SYNC | tag::TERMINATE)
}

impl Machine {
    /// A Sync causes nothing but ReadyForQuery, and that only if the COPY has failed before.
    pub(super) fn frame_in_copy(&mut self, frame: &Frame) -> Result<(), Stop> {
        match frame.tag {
            tag::COPY_DONE | tag::COPY_FAIL => {
                self.relay.copy(&frame.bytes);
                // A Query may hold a second COPY; an Execute cannot, and its Sync must not wait. What follows must, if there
                // is another Sync that is perhaps answered, too.
                let in_query = self.expected.is_in_query();
                let waits = in_query || self.copy_sent.sync;
                self.copy_in = if waits { CopyIn::Awaited } else { CopyIn::No };
                self.copy_sent.done = !in_query;
                // A Flush that was sent before may have been ignored, too.
                self.flushed = false;
                Ok(())
            }
            tag::SYNC if self.owes_sync_after_guard() => Ok(()),
            tag::SYNC => {
                self.relay.control(relay::Control::Sync);
                self.copy_sent.sync = true;
                Ok(())
            }
            tag::FLUSH => Ok(()),
            tag::TERMINATE if self.expected.is_guarded() => {
                self.client_gone = true;
                self.abort_copy();
                Ok(())
            }
            tag::TERMINATE => {
                self.leave();
                Ok(())
            }
            other => Err(out_of_place(other)),
        }
    }

    /// Whether a Sync is answered whatever becomes of the COPY: it is the first behind the data of an Execute.
    pub(super) fn is_sync_of_copy(&self) -> bool {
        self.copy_sent.done
    }

    /// The client has sent what does not belong into a COPY. CopyFail ends the COPY if it goes on, and is ignored if it has
    /// failed: then the message is looked at as ever.
    pub(super) fn interrupt_copy(&mut self, frame_tag: u8) {
        self.abort_copy();
        self.copy_sent.fail = Some(frame_tag);
    }

    /// Makes the COPY fail that goes on.
    pub(super) fn abort_copy(&mut self) {
        self.relay.interrupt_copy();
        self.copy_in = CopyIn::Awaited;
        // An error comes without being asked for.
        self.flushed = true;
    }

    /// That Sync has been sent.
    pub(super) fn copy_synced(&mut self) {
        self.copy_sent.done = false;
    }

    /// A COPY begins or has succeeded: Syncs that were sent within it were ignored.
    pub(super) fn forget_copy_sent(&mut self) {
        self.copy_sent = CopySent::default();
    }

    /// The request that reads CopyData, if one does, has failed with this ErrorResponse.
    pub(super) fn copy_failed(&mut self, error: FrameRef<'_>) -> Result<(), Stop> {
        let sent = std::mem::take(&mut self.copy_sent);
        if let Some(frame_tag) = sent.fail
            && is_interruption(error)
        {
            return Err(out_of_place(frame_tag));
        }
        if sent.sync {
            self.expect(Expected::CopySyncs(Doubt::default()));
            self.count_syncs();
        }
        Ok(())
    }

    /// Asks how many of the client's Syncs were read, unless a CopyData frame is still on its way: then behind that.
    pub(super) fn count_syncs(&mut self) {
        if self.client_passing.is_half_sent() || !matches!(self.gate, Gate::Open) {
            return;
        }
        if let Some(doubt) = self.expected.in_doubt()
            && !doubt.asked
        {
            doubt.asked = true;
            self.relay.count_syncs();
            self.in_pipeline = false;
        }
    }

    pub(super) fn doubt_reply(&mut self, frame: FrameRef<'_>, around: &Surroundings) -> Result<(), Stop> {
        let Some(Expected::CopySyncs(doubt)) = self.expected.front() else { return Err(unexpected(frame)) };
        match frame.tag {
            backend::tag::READY_FOR_QUERY if doubt.counted => {
                self.expected.pop();
                self.learn_status(frame, around)
            }
            backend::tag::READY_FOR_QUERY => {
                let answer = Bytes::copy_from_slice(frame.bytes);
                let answer = if doubt.asked { doubt.kept.replace(answer) } else { Some(answer) };
                if let Some(answer) = answer {
                    // With its Sync the client has ended the pipeline.
                    self.skipping = false;
                    self.to_client.extend_from_slice(&answer);
                }
                Ok(())
            }
            backend::tag::CLOSE_COMPLETE if doubt.kept.is_some() => {
                doubt.counted = true;
                Ok(())
            }
            _ => Err(unexpected(frame)),
        }
    }
}

/// Whether the COPY failed because of our CopyFail.
fn is_interruption(error: FrameRef<'_>) -> bool {
    let message = backend::error_field(error.body(), b'M').unwrap_or_default();
    message.windows(relay::INTERRUPTION.len()).any(|part| part == relay::INTERRUPTION.as_bytes())
}

fn out_of_place(frame_tag: u8) -> Stop {
    let message = format!("unexpected message type 0x{frame_tag:02X} during COPY from stdin");
    Stop(messages::fatal(sqlstate::PROTOCOL_VIOLATION, &message, None))
}
