//! Messages the proxy itself sends to a client.
//!
//! Never carries bytes of a statement or of an upstream message.
//! Invariant: what it writes is one well-formed message, whatever the texts contain.

use bytes::{BufMut, BytesMut};

/// The fields of an ErrorResponse (manual, "Error and Notice Message Fields").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorFields<'a> {
    /// Severity, sent as `S` and `V`: `ERROR`, `FATAL`, `NOTICE`, …
    pub severity: &'a str,
    /// SQLSTATE, five characters.
    pub sqlstate: &'a str,
    /// Primary message.
    pub message: &'a str,
    /// DETAIL, a sentence.
    pub detail: Option<&'a str>,
    /// HINT, a sentence that says what to do.
    pub hint: Option<&'a str>,
}

/// Appends an ErrorResponse; a NUL inside a text ends that text.
pub fn error_response(out: &mut BytesMut, fields: &ErrorFields<'_>) {
    let all = [
        (b'S', Some(fields.severity)),
        (b'V', Some(fields.severity)),
        (b'C', Some(fields.sqlstate)),
        (b'M', Some(fields.message)),
        (b'D', fields.detail),
        (b'H', fields.hint),
    ];
    let mut body = BytesMut::new();
    for (code, text) in all.into_iter().filter_map(|(code, text)| text.map(|text| (code, text))) {
        body.put_u8(code);
        body.put_slice(text.split('\0').next().unwrap_or_default().as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    out.put_u8(b'E');
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(4));
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: ErrorFields<'_>, expected: &[u8]) {
        let mut out = BytesMut::new();
        error_response(&mut out, &fields);
        assert_eq!(out[..], *expected);
    }

    #[test]
    fn fields_stand_in_the_order_postgresql_uses() {
        let fields = ErrorFields { severity: "FATAL", sqlstate: "28000", message: "no", detail: None, hint: None };
        check(fields, b"E\0\0\0\x1eSFATAL\0VFATAL\0C28000\0Mno\0\0");
        let fields = ErrorFields { detail: Some("D."), hint: Some("H."), ..fields };
        check(fields, b"E\0\0\0\x26SFATAL\0VFATAL\0C28000\0Mno\0DD.\0HH.\0\0");
    }

    #[test]
    fn a_nul_cannot_add_a_field() {
        let fields =
            ErrorFields { severity: "ERROR", sqlstate: "42501", message: "a\0Cfake", detail: None, hint: None };
        check(fields, b"E\0\0\0\x1dSERROR\0VERROR\0C42501\0Ma\0\0");
    }
}
