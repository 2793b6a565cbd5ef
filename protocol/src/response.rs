//! Building the messages that the proxy sends to a client in its own name.
//!
//! Never decides what to say. Invariant: a NUL in a text cannot end a field early; it is left out.
//! Source: PostgreSQL manual, "Message Formats" and "Error and Notice Message Fields".

use bytes::{BufMut, BytesMut};

use crate::FrameRef;
use crate::backend::{TransactionStatus, error_field, tag};
use crate::frontend::put_frame;

/// The fields of an ErrorResponse or NoticeResponse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// `ERROR`, `FATAL`, `NOTICE`, …
    pub severity: &'a str,
    /// Five characters.
    pub sqlstate: &'a str,
    /// Primary message, lower-case, without a final stop.
    pub message: &'a str,
    /// DETAIL, a sentence.
    pub detail: Option<&'a str>,
    /// HINT, a sentence that says what to do.
    pub hint: Option<&'a str>,
}

/// Appends an ErrorResponse.
pub fn error_response(out: &mut BytesMut, fields: &ErrorFields<'_>) {
    put_fields(out, tag::ERROR_RESPONSE, fields);
}

/// Appends a NoticeResponse.
pub fn notice_response(out: &mut BytesMut, fields: &ErrorFields<'_>) {
    put_fields(out, tag::NOTICE_RESPONSE, fields);
}

/// Appends a CommandComplete.
pub fn command_complete(out: &mut BytesMut, command_tag: &str) {
    put_frame(out, tag::COMMAND_COMPLETE, |out| put_text(out, command_tag));
}

/// Appends a ReadyForQuery.
pub fn ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    let letter = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InBlock => b'T',
        TransactionStatus::Failed => b'E',
    };
    put_frame(out, tag::READY_FOR_QUERY, |out| out.put_u8(letter));
}

/// Appends a ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    put_frame(out, tag::PARAMETER_STATUS, |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// Appends a BackendKeyData.
pub fn backend_key_data(out: &mut BytesMut, process_id: i32, secret: &[u8]) {
    put_frame(out, tag::BACKEND_KEY_DATA, |out| {
        out.put_i32(process_id);
        out.put_slice(secret);
    });
}

/// Appends an ErrorResponse or NoticeResponse again with only the fields of those letters, and another primary message.
pub fn keep_fields(out: &mut BytesMut, frame: FrameRef<'_>, letters: &[u8], message: &str) {
    put_frame(out, frame.tag, |out| {
        for letter in letters {
            if let Some(value) = error_field(frame.body(), *letter) {
                out.put_u8(*letter);
                out.put_slice(value);
                out.put_u8(0);
            }
        }
        out.put_u8(b'M');
        put_text(out, message);
        out.put_u8(0);
    });
}

fn put_fields(out: &mut BytesMut, tag: u8, fields: &ErrorFields<'_>) {
    put_frame(out, tag, |out| {
        let mut field = |letter: u8, text: &str| {
            out.put_u8(letter);
            put_text(out, text);
        };
        field(b'S', fields.severity);
        field(b'V', fields.severity);
        field(b'C', fields.sqlstate);
        field(b'M', fields.message);
        if let Some(detail) = fields.detail {
            field(b'D', detail);
        }
        if let Some(hint) = fields.hint {
            field(b'H', hint);
        }
        out.put_u8(0);
    });
}

fn put_text(out: &mut BytesMut, text: &str) {
    text.bytes().filter(|byte| *byte != 0).for_each(|byte| out.put_u8(byte));
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_fields_are_kept() {
        let mut out = BytesMut::new();
        let detail = Some("Key (email)=(a@b.c) already exists.");
        let fields =
            ErrorFields { severity: "ERROR", sqlstate: "23505", message: "duplicate a@b.c", detail, hint: None };
        error_response(&mut out, &fields);
        let frame = FrameRef::peek(&out, |_| 1000).unwrap().unwrap();
        let mut less = BytesMut::new();
        keep_fields(&mut less, frame, b"SVC", "withheld");
        let kept = FrameRef::peek(&less, |_| 1000).unwrap().unwrap();
        assert_eq!(kept.tag, frame.tag);
        assert_eq!(error_field(kept.body(), b'C'), Some(&b"23505"[..]));
        assert_eq!(error_field(kept.body(), b'M'), Some(&b"withheld"[..]));
        assert!(!kept.body().windows(5).any(|window| window == b"a@b.c"));
    }

    #[test]
    fn a_nul_in_a_text_cannot_start_another_field() {
        let mut out = BytesMut::new();
        let fields =
            ErrorFields { severity: "ERROR", sqlstate: "42501", message: "a\0C00000", detail: None, hint: Some("h") };
        error_response(&mut out, &fields);
        let frame = FrameRef::peek(&out, |_| 1000).unwrap().unwrap();
        assert_eq!(frame.bytes.len(), out.len());
        assert_eq!(error_field(frame.body(), b'C'), Some(&b"42501"[..]));
        assert_eq!(error_field(frame.body(), b'M'), Some(&b"aC00000"[..]));
        assert_eq!(error_field(frame.body(), b'H'), Some(&b"h"[..]));
    }
}
