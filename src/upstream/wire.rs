//! Messages of an upstream before its first ReadyForQuery.
//!
//! Never holds more than one message and one read; never keeps the text of an ErrorResponse or NoticeResponse.
//! Invariant: an ErrorResponse is always an error here, whatever was expected.

use bytes::{Bytes, BytesMut};
use countersign_protocol::startup::UPSTREAM_MESSAGE_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::UpstreamError;
use crate::stream::UpstreamStream;

const READ_SIZE: usize = 4096;

pub(super) struct Wire {
    pub(super) stream: UpstreamStream,
    pub(super) unread: BytesMut,
}

impl Wire {
    pub(super) fn new(stream: UpstreamStream) -> Self {
        Self { stream, unread: BytesMut::new() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        self.stream.write_all(bytes).await.map_err(UpstreamError::Io)?;
        self.stream.flush().await.map_err(UpstreamError::Io)
    }

    /// The next message but notices: its tag and body.
    pub(super) async fn receive(&mut self) -> Result<(u8, Bytes), UpstreamError> {
        loop {
            match take_message(&mut self.unread)? {
                Some((b'E', body)) => return Err(UpstreamError::Rejected { sqlstate: sqlstate(&body) }),
                Some((b'N', _)) => {}
                Some(message) => return Ok(message),
                None => {
                    self.unread.reserve(READ_SIZE);
                    if self.stream.read_buf(&mut self.unread).await.map_err(UpstreamError::Io)? == 0 {
                        return Err(UpstreamError::Closed);
                    }
                }
            }
        }
    }
}

fn take_message(unread: &mut BytesMut) -> Result<Option<(u8, Bytes)>, UpstreamError> {
    let Some((tag, rest)) = unread.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk() else { return Ok(None) };
    let (tag, length) = (*tag, u32::from_be_bytes(*length) as usize);
    if !(4..=UPSTREAM_MESSAGE_MAX).contains(&length) {
        return Err(UpstreamError::Protocol("invalid message length during startup"));
    }
    if unread.len() <= length {
        return Ok(None);
    }
    Ok(Some((tag, unread.split_to(length + 1).split_off(5).freeze())))
}

/// The `C` field of an ErrorResponse; `XX000` when there is no well-formed one.
fn sqlstate(body: &[u8]) -> String {
    let code = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
    let code = code.filter(|code| code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric));
    code.map_or_else(|| "XX000".to_owned(), |code| String::from_utf8_lossy(code).into_owned())
}

/// Name and value of a ParameterStatus.
pub(super) fn parameter_status(body: &[u8]) -> Result<(String, String), UpstreamError> {
    let malformed = UpstreamError::Protocol("malformed ParameterStatus");
    let Ok(text) = std::str::from_utf8(body) else { return Err(malformed) };
    let pair = text.strip_suffix('\0').and_then(|pair| pair.split_once('\0'));
    match pair {
        Some((name, value)) if !value.contains('\0') => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_bounded() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Result<Option<(u8, &'static [u8])>, ()>) {
            let got = take_message(&mut BytesMut::from(bytes)).map_err(|_| ());
            assert_eq!(got, expected.map(|message| message.map(|(tag, body)| (tag, Bytes::from_static(body)))));
        }
        check(b"", Ok(None));
        check(b"Z\0\0\0", Ok(None));
        check(b"Z\0\0\0\x05", Ok(None));
        check(b"Z\0\0\0\x05I", Ok(Some((b'Z', b"I"))));
        check(b"Z\0\0\0\x04I", Ok(Some((b'Z', b""))));
        check(b"Z\0\0\0\x03", Err(()));
        check(b"S\0\0\x75\x31", Err(()));
        check(b"S\xff\xff\xff\xff", Err(()));
    }

    #[test]
    fn of_an_error_only_a_clean_sqlstate_is_kept() {
        let check = |body: &[u8], expected: &str| assert_eq!(sqlstate(body), expected);
        check(b"SFATAL\0VFATAL\0C28P01\0Mpassword for C\0\0", "28P01");
        check(b"SFATAL\0Cno\0\0", "XX000");
        check(b"SFATAL\0C\xff\xff\xff\xff\xff\0\0", "XX000");
        check(b"FATAL: old protocol\n\0", "XX000");
        check(b"", "XX000");
    }

    #[test]
    fn a_parameter_status_has_two_texts() {
        assert_eq!(parameter_status(b"a\0b\0").unwrap(), ("a".to_owned(), "b".to_owned()));
        for malformed in [&b""[..], b"a\0", b"a\0b", b"a\0b\0c\0", b"a\0\xff\0"] {
            assert!(parameter_status(malformed).is_err(), "{malformed:?}");
        }
    }
}
