//! Choices and messages out of arbitrary bytes, and frames out of them in arbitrary pieces.
//!
//! Never fails: where the bytes end, the choice is the first. Invariant: equal bytes give equal choices.

use bytes::{BufMut, BytesMut};
use countersign_protocol::{Frame, ProtocolError};

/// Largest length field that the targets accept.
pub const LENGTH_MAX: u32 = 1 << 20;

/// Reads choices off the front of some bytes.
pub struct BytesIn<'a>(pub &'a [u8]);

impl<'a> BytesIn<'a> {
    /// The next byte, or 0.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = usize::from(self.byte()) % (most + 1);
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Cuts a stream into frames as it arrives in pieces of that size; ends at the first error.
pub fn frames(stream: &[u8], piece: usize) -> (Vec<Frame>, Option<ProtocolError>) {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for chunk in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(chunk);
        loop {
            match Frame::take(&mut buffer, |_| LENGTH_MAX) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// The frames of a stream, of which the first byte says in which pieces it arrives.
///
/// # Panics
/// Another chunking gives other frames.
pub fn frames_of(data: &[u8]) -> Vec<Frame> {
    let Some((piece, stream)) = data.split_first() else { return Vec::new() };
    let whole = frames(stream, usize::MAX);
    assert_eq!(whole, frames(stream, usize::from(*piece % 16)), "another chunking gives other frames");
    whole.0
}

/// Appends a frame.
pub fn put_frame(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(body);
}
