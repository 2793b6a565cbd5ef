//! Frames of the client that pass, or are thrown away, in pieces: CopyData, and what is too large to be looked at.
//!
//! Never forwards a part of a request. Invariant: whether a frame passes is decided once, before its first byte.
//! Source: PostgreSQL manual, "COPY Operations".

use bytes::Buf;
use countersign_protocol::Header;
use countersign_protocol::frontend::tag;

use super::copy_in::CopyIn;
use super::machine::Machine;
use super::messages;
use super::words::Surroundings;

/// A CopyData frame of the client that passes in pieces: how many of its bytes are still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// To the upstream.
    Forward(usize),
    /// To nowhere.
    Discard(usize),
}

impl Passing {
    pub(super) const NOTHING: Self = Self::Discard(0);

    pub(super) fn left(self) -> usize {
        match self {
            Self::Forward(left) | Self::Discard(left) => left,
        }
    }

    pub(super) fn is_some(self) -> bool {
        self.left() > 0
    }

    /// Whether the upstream has seen a part of a frame.
    pub(super) fn is_half_sent(self) -> bool {
        matches!(self, Self::Forward(left) if left > 0)
    }

    pub(super) fn advance(&mut self, length: usize) {
        match self {
            Self::Forward(left) | Self::Discard(left) => *left = left.saturating_sub(length),
        }
    }
}

impl Machine {
    /// Answers a request that was thrown away because of its size; the session lives.
    pub(super) fn refuse_too_large(&mut self, frame_tag: u8, around: &Surroundings) {
        if self.skipping {
            return;
        }
        let error = messages::too_large(around.config.limits.request_len_max);
        match frame_tag {
            tag::QUERY | tag::FUNCTION_CALL => self.refuse_query(error),
            _ => self.fail_extended(error),
        }
    }

    /// CopyData passes as it comes; outside a COPY PostgreSQL ignores it, and so do we. Which of the two it is, is
    /// decided once per frame: half a frame would make the upstream take what follows for the rest of it.
    pub(super) fn start_copy_data(&mut self, header: Header) {
        self.client_passing = match self.copy_in {
            CopyIn::Active => Passing::Forward(header.frame_len),
            CopyIn::No | CopyIn::Awaited => Passing::Discard(header.frame_len),
        };
        self.pass_copy_data();
    }

    pub(super) fn pass_copy_data(&mut self) {
        let length = self.client_passing.left().min(self.client_in.len());
        if let Passing::Forward(_) = self.client_passing {
            let (bytes, _) = self.client_in.split_at(length);
            self.relay.copy(bytes);
        }
        self.client_in.advance(length);
        self.client_passing.advance(length);
        self.count_syncs();
    }
}
