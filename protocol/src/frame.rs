//! Cutting a byte stream into frames: one type byte, a length, a body.
//!
//! Never looks into a body. Invariant: any chunking of the same bytes gives the same frames, and a length is checked
//! against the limit of its message before a byte of the body is waited for.
//! Source: PostgreSQL manual, "Message Formats".

use bytes::{Bytes, BytesMut};

use crate::ProtocolError;

/// Bytes of a frame before its body: type byte and length.
pub const HEADER_LEN: usize = 5;

/// Type byte and length of a frame whose body may not have arrived yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type byte.
    pub tag: u8,
    /// Bytes of the whole frame, with type byte and length field.
    pub frame_len: usize,
}

impl Header {
    /// Reads a header from the first bytes of the buffer; `None` while fewer than [`HEADER_LEN`] are there.
    ///
    /// # Errors
    /// A length field below 4, or one above `limit(tag)` (both in bytes, the field itself included).
    pub fn peek(buffer: &[u8], limit: impl FnOnce(u8) -> u32) -> Result<Option<Self>, ProtocolError> {
        let Some((&[tag, a, b, c, d], _)) = buffer.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length < 4 || length > limit(tag) {
            return Err(ProtocolError::Length { tag, length });
        }
        let frame_len = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
        Ok(Some(Self { tag, frame_len }))
    }
}

/// One whole frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type byte.
    pub tag: u8,
    /// The frame as it was on the wire, header included.
    pub bytes: Bytes,
}

impl Frame {
    /// Takes the first frame off the buffer; `None` while it is not complete.
    ///
    /// # Errors
    /// As [`Header::peek`].
    pub fn take(buffer: &mut BytesMut, limit: impl FnOnce(u8) -> u32) -> Result<Option<Self>, ProtocolError> {
        match Header::peek(buffer, limit)? {
            Some(header) if buffer.len() >= header.frame_len => {
                Ok(Some(Self { tag: header.tag, bytes: buffer.split_to(header.frame_len).freeze() }))
            }
            _ => Ok(None),
        }
    }

    /// The body: everything after the length field.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// One whole frame, where it stands in the buffer it was read into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// Type byte.
    pub tag: u8,
    /// The frame as it was on the wire, header included.
    pub bytes: &'a [u8],
}

impl<'a> FrameRef<'a> {
    /// The first frame in the buffer, which stays there; `None` while it is not complete.
    ///
    /// # Errors
    /// As [`Header::peek`].
    pub fn peek(buffer: &'a [u8], limit: impl FnOnce(u8) -> u32) -> Result<Option<Self>, ProtocolError> {
        let header = Header::peek(buffer, limit)?;
        Ok(header.and_then(|header| Some(Self { tag: header.tag, bytes: buffer.get(..header.frame_len)? })))
    }

    /// The body: everything after the length field.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

impl std::fmt::Debug for FrameRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", char::from(self.tag).escape_default(), self.bytes.len())
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}, {} bytes)", char::from(self.tag).escape_default(), self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, body) in frames {
            out.push(*tag);
            out.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            out.extend_from_slice(body);
        }
        out
    }

    fn take_all(buffer: &mut BytesMut, into: &mut Vec<(u8, Vec<u8>)>) {
        loop {
            let seen = FrameRef::peek(buffer, |_| 1 << 20).unwrap().map(|frame| (frame.tag, frame.bytes.to_vec()));
            let taken = Frame::take(buffer, |_| 1 << 20).unwrap();
            assert_eq!(seen, taken.as_ref().map(|frame| (frame.tag, frame.bytes.to_vec())));
            let Some(frame) = taken else { return };
            into.push((frame.tag, frame.body().to_vec()));
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in prop::collection::vec(0_usize..400, 0..10),
        ) {
            let bytes = encode(&frames);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let (mut buffer, mut seen, mut from) = (BytesMut::new(), Vec::new(), 0);
            for cut in cuts {
                buffer.extend_from_slice(&bytes[from..cut]);
                from = cut;
                take_all(&mut buffer, &mut seen);
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::take(&mut buffer, |_| 32) {}
        }
    }

    #[track_caller]
    fn check_length(length: u32, limit: u32, accepted: bool) {
        let mut bytes = vec![b'Q'];
        bytes.extend_from_slice(&length.to_be_bytes());
        assert_eq!(Header::peek(&bytes, |_| limit).is_ok(), accepted, "length {length}, limit {limit}");
    }

    #[test]
    fn a_length_is_checked_before_the_body_is_waited_for() {
        check_length(4, 100, true);
        check_length(100, 100, true);
        check_length(101, 100, false);
        check_length(3, 100, false);
        check_length(0, 100, false);
        check_length(u32::MAX, 100, false);
        check_length(0x8000_0000, 100, false);
    }
}
