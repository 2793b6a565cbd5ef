//! Views of the messages a client sends, over the bytes of their frames.
//!
//! Never copies a body. Invariant: a view exists only when the whole body has been read and nothing follows it.
//! Source: PostgreSQL manual, "Message Formats".

use bytes::{BufMut, BytesMut};

use crate::ProtocolError;
use crate::cursor::Cursor;

/// Type bytes of frontend messages.
pub mod tag {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close.
    pub const CLOSE: u8 = b'C';
    /// CopyData, in either direction.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone, in either direction.
    pub const COPY_DONE: u8 = b'c';
    /// CopyFail.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe.
    pub const DESCRIBE: u8 = b'D';
    /// Execute.
    pub const EXECUTE: u8 = b'E';
    /// Flush.
    pub const FLUSH: u8 = b'H';
    /// FunctionCall.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse.
    pub const PASSWORD: u8 = b'p';
    /// Query.
    pub const QUERY: u8 = b'Q';
    /// Sync.
    pub const SYNC: u8 = b'S';
    /// Terminate.
    pub const TERMINATE: u8 = b'X';
}

/// Query: a simple query string, without its NUL.
///
/// # Errors
/// The string is not terminated, or bytes follow it.
pub fn query(body: &[u8]) -> Result<&[u8], ProtocolError> {
    let mut cursor = Cursor::new("Query", body);
    let text = cursor.cstr()?;
    cursor.end()?;
    Ok(text)
}

/// Parse.
#[derive(Clone, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Name of the prepared statement; empty for the unnamed one.
    pub statement: &'a [u8],
    /// Query string.
    pub query: &'a [u8],
    /// Parameter type OIDs that were given; 0 leaves a type unspecified.
    pub parameter_types: Vec<u32>,
}

impl<'a> Parse<'a> {
    /// Reads the body of a Parse frame.
    ///
    /// # Errors
    /// A field is cut off, or bytes follow the last one.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new("Parse", body);
        let (statement, query) = (cursor.cstr()?, cursor.cstr()?);
        let count = cursor.unsigned_count()?;
        let parameter_types = (0..count).map(|_| cursor.u32()).collect::<Result<_, _>>()?;
        cursor.end()?;
        Ok(Self { statement, query, parameter_types })
    }
}

/// Bind.
#[derive(Clone, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Name of the portal; empty for the unnamed one.
    pub portal: &'a [u8],
    /// Name of the prepared statement.
    pub statement: &'a [u8],
    /// Parameter format codes: none (all text), one for all, or one each.
    pub formats: Vec<i16>,
    /// Parameter values; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
    /// Result format codes: none (all text), one for all, or one each.
    pub result_formats: Vec<i16>,
    /// Everything after the two names, as it was on the wire: what an approval is bound to.
    pub parameter_part: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads the body of a Bind frame.
    ///
    /// # Errors
    /// A field is cut off, a count or length is impossible, or bytes follow the last field.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new("Bind", body);
        let (portal, statement) = (cursor.cstr()?, cursor.cstr()?);
        let parameter_part = cursor.rest();
        let formats = format_codes(&mut cursor)?;
        let count = cursor.unsigned_count()?;
        let values = (0..count).map(|_| cursor.value()).collect::<Result<Vec<_>, _>>()?;
        if formats.len() > 1 && formats.len() != values.len() {
            return cursor.fail("the number of format codes differs from the number of parameters");
        }
        let result_formats = format_codes(&mut cursor)?;
        cursor.end()?;
        Ok(Self { portal, statement, formats, values, result_formats, parameter_part })
    }
}

/// The values in the parameter part of a Bind or a FunctionCall, and their format codes.
///
/// # Errors
/// A field is cut off, or a count or length is impossible.
pub fn bound_values(parameter_part: &[u8]) -> Result<BoundValues<'_>, ProtocolError> {
    let mut cursor = Cursor::new("Bind", parameter_part);
    let formats = format_codes(&mut cursor)?;
    let count = cursor.unsigned_count()?;
    let values = (0..count).map(|_| cursor.value()).collect::<Result<Vec<_>, _>>()?;
    Ok(BoundValues { formats, values })
}

/// See [`bound_values`].
#[derive(Clone, PartialEq, Eq)]
pub struct BoundValues<'a> {
    /// Format codes: none (all text), one for all, or one each.
    pub formats: Vec<i16>,
    /// Values; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
}

/// FunctionCall.
#[derive(Clone, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// OID of the function.
    pub function: u32,
    /// Argument format codes: none (all text), one for all, or one each.
    pub formats: Vec<i16>,
    /// Argument values; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
    /// Format code of the result.
    pub result_format: i16,
    /// Everything after the OID, as it was on the wire: what an approval is bound to.
    pub parameter_part: &'a [u8],
}

impl<'a> FunctionCall<'a> {
    /// Reads the body of a FunctionCall frame.
    ///
    /// # Errors
    /// A field is cut off, a count or length is impossible, or bytes follow the last field.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new("FunctionCall", body);
        let function = cursor.u32()?;
        let parameter_part = cursor.rest();
        let formats = format_codes(&mut cursor)?;
        let count = cursor.unsigned_count()?;
        let values = (0..count).map(|_| cursor.value()).collect::<Result<Vec<_>, _>>()?;
        if formats.len() > 1 && formats.len() != values.len() {
            return cursor.fail("the number of format codes differs from the number of arguments");
        }
        let result_format = cursor.i16()?;
        cursor.end()?;
        Ok(Self { function, formats, values, result_format, parameter_part })
    }
}

fn format_codes(cursor: &mut Cursor<'_>) -> Result<Vec<i16>, ProtocolError> {
    let count = cursor.unsigned_count()?;
    (0..count).map(|_| cursor.i16()).collect()
}

/// The format code of column or parameter `index`, given the codes of a Bind.
#[must_use]
pub fn format_of(codes: &[i16], index: usize) -> i16 {
    match codes {
        [] => 0,
        [all] => *all,
        each => each.get(index).copied().unwrap_or(0),
    }
}

/// What Describe and Close name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement (`S`).
    Statement(&'a [u8]),
    /// A portal (`P`).
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Reads the body of a Describe or Close frame; `message` is its name in the manual.
    ///
    /// # Errors
    /// The kind is neither `S` nor `P`, the name is cut off, or bytes follow it.
    pub fn read(message: &'static str, body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new(message, body);
        let kind = cursor.u8()?;
        let name = cursor.cstr()?;
        cursor.end()?;
        match kind {
            b'S' => Ok(Self::Statement(name)),
            b'P' => Ok(Self::Portal(name)),
            _ => cursor.fail("the kind is neither S nor P"),
        }
    }
}

/// Execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// Name of the portal; empty for the unnamed one.
    pub portal: &'a [u8],
    /// Most rows to return; 0 and less mean all.
    pub max_rows: i32,
}

impl<'a> Execute<'a> {
    /// Reads the body of an Execute frame.
    ///
    /// # Errors
    /// A field is cut off, or bytes follow the last one.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new("Execute", body);
        let portal = cursor.cstr()?;
        let max_rows = cursor.i32()?;
        cursor.end()?;
        Ok(Self { portal, max_rows })
    }
}

/// Appends a frame with this type byte whose body `write` produces.
pub(crate) fn put_frame(out: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let at = out.len();
    out.put_u32(0);
    write(out);
    let length = u32::try_from(out.len().saturating_sub(at)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<4>()) {
        *field = length.to_be_bytes();
    }
}

fn put_cstr(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(text);
    out.put_u8(0);
}

/// Appends a Query. `text` must not hold a NUL.
pub fn put_query(out: &mut BytesMut, text: &str) {
    put_frame(out, tag::QUERY, |out| put_cstr(out, text.as_bytes()));
}

/// Appends a Parse without parameter types.
pub fn put_parse(out: &mut BytesMut, statement: &[u8], text: &str) {
    put_frame(out, tag::PARSE, |out| {
        put_cstr(out, statement);
        put_cstr(out, text.as_bytes());
        out.put_i16(0);
    });
}

/// Appends a Bind with at most 65,535 values in text format, all results as text.
pub fn put_bind(out: &mut BytesMut, portal: &[u8], statement: &[u8], values: &[Option<&[u8]>]) {
    put_frame(out, tag::BIND, |out| {
        put_cstr(out, portal);
        put_cstr(out, statement);
        out.put_u16(0);
        out.put_u16(u16::try_from(values.len()).unwrap_or(u16::MAX));
        for value in values {
            out.put_i32(value.map_or(-1, |value| i32::try_from(value.len()).unwrap_or(i32::MAX)));
            out.put_slice(value.unwrap_or_default());
        }
        out.put_u16(0);
    });
}

/// Appends a Describe.
pub fn put_describe(out: &mut BytesMut, target: Target<'_>) {
    put_frame(out, tag::DESCRIBE, |out| put_target(out, target));
}

/// Appends a Close.
pub fn put_close(out: &mut BytesMut, target: Target<'_>) {
    put_frame(out, tag::CLOSE, |out| put_target(out, target));
}

fn put_target(out: &mut BytesMut, target: Target<'_>) {
    let (kind, name) = match target {
        Target::Statement(name) => (b'S', name),
        Target::Portal(name) => (b'P', name),
    };
    out.put_u8(kind);
    put_cstr(out, name);
}

/// Appends an Execute without a row limit.
pub fn put_execute(out: &mut BytesMut, portal: &[u8]) {
    put_frame(out, tag::EXECUTE, |out| {
        put_cstr(out, portal);
        out.put_i32(0);
    });
}

/// Appends a CopyFail.
pub fn put_copy_fail(out: &mut BytesMut, reason: &str) {
    put_frame(out, tag::COPY_FAIL, |out| put_cstr(out, reason.as_bytes()));
}

/// Appends a message without a body: Flush, Sync, Terminate, CopyDone.
pub fn put_empty(out: &mut BytesMut, tag: u8) {
    put_frame(out, tag, |_| {});
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = query(&body);
            let _ = Parse::read(&body);
            let _ = Bind::read(&body);
            let _ = Target::read("Close", &body);
            let _ = Execute::read(&body);
            let _ = FunctionCall::read(&body);
        }
    }

    #[test]
    fn a_bind_is_written_as_it_is_read() {
        let mut out = BytesMut::new();
        put_bind(&mut out, b"p", b"s", &[Some(b"one"), None, Some(b"")]);
        let bind = Bind::read(out.get(5..).unwrap()).unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(bind.values, [Some(&b"one"[..]), None, Some(&b""[..])]);
    }

    #[track_caller]
    fn check_bind(body: &[u8], accepted: bool) {
        assert_eq!(Bind::read(body).is_ok(), accepted, "{body:?}");
    }

    #[test]
    fn a_bind_is_read_whole_or_not_at_all() {
        check_bind(b"\0s\0\0\0\0\0\0\0", true);
        check_bind(b"\0s\0\0\0\0\0\0\0x", false);
        check_bind(b"\0s\0\0\0\0\x01\xff\xff\xff\xff\0\0", true);
        check_bind(b"\0s\0\0\0\0\x01\xff\xff\xff\xfe\0\0", false);
        check_bind(b"\0s\0\0\0\0\x01\0\0\0\x09abc\0\0", false);
        check_bind(b"\0s\0\0\x02\0\0\0\0\0\x01\0\0\0\0\0\0", false);
        check_bind(b"\0s", false);
    }

    #[test]
    fn a_function_call_is_read_whole_or_not_at_all() {
        let body = b"\0\0\x03\xb8\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\x01";
        let call = FunctionCall::read(body).unwrap();
        assert_eq!((call.function, call.formats, call.result_format), (952, vec![1], 1));
        assert_eq!((call.values, call.parameter_part), (vec![Some(&b"a"[..]), None], &body[4..]));
        assert!((0..body.len()).all(|end| FunctionCall::read(&body[..end]).is_err()));
        assert!(FunctionCall::read(&[&body[..], b"x"].concat()).is_err());
        assert!(
            FunctionCall::read(b"\0\0\x03\xb8\0\x02\0\x01\0\x01\0\x01\0\0\0\0\0\0").is_err(),
            "two formats, one value"
        );
    }

    #[test]
    fn a_query_ends_at_its_only_nul() {
        assert_eq!(query(b"SELECT 1\0"), Ok(&b"SELECT 1"[..]));
        assert!(query(b"SELECT 1").is_err());
        assert!(query(b"SELECT 1\0; DROP TABLE t\0").is_err());
    }

    #[test]
    fn a_built_parse_reads_back() {
        let mut out = BytesMut::new();
        put_parse(&mut out, b"s1", "SELECT 1");
        let parse = Parse::read(&out[crate::frame::HEADER_LEN..]).unwrap();
        assert_eq!((parse.statement, parse.query), (&b"s1"[..], &b"SELECT 1"[..]));
        assert_eq!(out[4] as usize + 1, out.len());
    }
}
