//! Views of the messages an upstream sends, over the bytes of their frames.
//!
//! Never copies a body. Invariant: a view exists only when the whole body has been read.
//! Source: PostgreSQL manual, "Message Formats".

use crate::ProtocolError;
use crate::cursor::Cursor;

/// Type bytes of backend messages.
pub mod tag {
    /// Authentication…
    pub const AUTHENTICATION: u8 = b'R';
    /// BackendKeyData.
    pub const BACKEND_KEY_DATA: u8 = b'K';
    /// BindComplete.
    pub const BIND_COMPLETE: u8 = b'2';
    /// CloseComplete.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// CommandComplete.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// CopyBothResponse.
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    /// CopyData, in either direction.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone, in either direction.
    pub const COPY_DONE: u8 = b'c';
    /// CopyInResponse.
    pub const COPY_IN_RESPONSE: u8 = b'G';
    /// CopyOutResponse.
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    /// DataRow.
    pub const DATA_ROW: u8 = b'D';
    /// EmptyQueryResponse.
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    /// ErrorResponse.
    pub const ERROR_RESPONSE: u8 = b'E';
    /// FunctionCallResponse.
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    /// NegotiateProtocolVersion.
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    /// NoData.
    pub const NO_DATA: u8 = b'n';
    /// NoticeResponse.
    pub const NOTICE_RESPONSE: u8 = b'N';
    /// NotificationResponse.
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    /// ParameterDescription.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// ParameterStatus.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// ParseComplete.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// PortalSuspended.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// ReadyForQuery.
    pub const READY_FOR_QUERY: u8 = b'Z';
    /// RowDescription.
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// Transaction status of ReadyForQuery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    #[default]
    Idle,
    /// `T`: in a transaction block.
    InBlock,
    /// `E`: in a failed transaction block.
    Failed,
}

/// The status in the body of a ReadyForQuery.
///
/// # Errors
/// The body is not one of the three letters.
pub fn ready_for_query(body: &[u8]) -> Result<TransactionStatus, ProtocolError> {
    match body {
        b"I" => Ok(TransactionStatus::Idle),
        b"T" => Ok(TransactionStatus::InBlock),
        b"E" => Ok(TransactionStatus::Failed),
        _ => Err(ProtocolError::Body { message: "ReadyForQuery", what: "the status is none of I, T, E" }),
    }
}

/// One column of a RowDescription, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// OID of the table the column comes from, or 0.
    pub table_oid: u32,
    /// Attribute number in that table, or 0.
    pub attnum: i16,
    /// OID of the type.
    pub type_oid: u32,
    /// Format code; 0 (text) where it is not known yet.
    pub format: i16,
}

/// Reads the columns of a RowDescription.
///
/// # Errors
/// A field is cut off, or bytes follow the last one.
pub fn row_description(body: &[u8]) -> Result<Vec<Field>, ProtocolError> {
    let mut cursor = Cursor::new("RowDescription", body);
    let count = cursor.count()?;
    let mut fields = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        cursor.cstr()?;
        let (table_oid, attnum, type_oid) = (cursor.u32()?, cursor.i16()?, cursor.u32()?);
        let (_size, _modifier, format) = (cursor.i16()?, cursor.i32()?, cursor.i16()?);
        fields.push(Field { table_oid, attnum, type_oid, format });
    }
    cursor.end()?;
    Ok(fields)
}

/// Reads the names of the columns of a RowDescription.
///
/// # Errors
/// A field is cut off, or bytes follow the last one.
pub fn column_names(body: &[u8]) -> Result<Vec<&[u8]>, ProtocolError> {
    let mut cursor = Cursor::new("RowDescription", body);
    let count = cursor.count()?;
    let mut names = Vec::with_capacity(count.min(body.len()));
    for _ in 0..count {
        names.push(cursor.cstr()?);
        let (_table, _attnum, _type) = (cursor.u32()?, cursor.i16()?, cursor.u32()?);
        let (_size, _modifier, _format) = (cursor.i16()?, cursor.i32()?, cursor.i16()?);
    }
    cursor.end()?;
    Ok(names)
}

/// Reads the parameter type OIDs of a ParameterDescription.
///
/// # Errors
/// A field is cut off, or bytes follow the last one.
pub fn parameter_description(body: &[u8]) -> Result<Vec<u32>, ProtocolError> {
    let mut cursor = Cursor::new("ParameterDescription", body);
    let count = cursor.unsigned_count()?;
    let types = (0..count).map(|_| cursor.u32()).collect::<Result<_, _>>()?;
    cursor.end()?;
    Ok(types)
}

/// The command tag of a CommandComplete.
///
/// # Errors
/// The string is not terminated, not UTF-8, or bytes follow it.
pub fn command_complete(body: &[u8]) -> Result<&str, ProtocolError> {
    let mut cursor = Cursor::new("CommandComplete", body);
    let text = cursor.cstr()?;
    cursor.end()?;
    std::str::from_utf8(text).or_else(|_| cursor.fail("the tag is not UTF-8"))
}

/// The value of one field of an ErrorResponse or NoticeResponse: `C` is the SQLSTATE, `S` the severity, `V` the
/// severity that is never localised; `None` when it is absent or the body is malformed.
#[must_use]
pub fn error_field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut cursor = Cursor::new("ErrorResponse", body);
    loop {
        match cursor.u8().ok()? {
            0 => return None,
            field => {
                let value = cursor.cstr().ok()?;
                if field == wanted {
                    return Some(value);
                }
            }
        }
    }
}

/// Name and value of a ParameterStatus.
///
/// # Errors
/// A string is not terminated, or bytes follow.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), ProtocolError> {
    let mut cursor = Cursor::new("ParameterStatus", body);
    let pair = (cursor.cstr()?, cursor.cstr()?);
    cursor.end()?;
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = ready_for_query(&body);
            let _ = row_description(&body);
            let _ = parameter_description(&body);
            let _ = command_complete(&body);
            let _ = error_field(&body, b'C');
            let _ = parameter_status(&body);
        }
    }

    #[test]
    fn a_row_description_gives_provenance() {
        let body = b"\0\x01email\0\0\0\x40\x01\0\x03\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
        let fields = row_description(body).unwrap();
        assert_eq!(fields, [Field { table_oid: 0x4001, attnum: 3, type_oid: 25, format: 0 }]);
        assert!(row_description(&body[..body.len() - 1]).is_err());
        assert_eq!(column_names(body).unwrap().len(), 1);
        assert!(column_names(&body[..body.len() - 1]).is_err());
    }

    #[test]
    fn fields_of_an_error_are_found_by_letter() {
        let body = b"SERROR\0C42601\0Msyntax\0\0";
        assert_eq!(error_field(body, b'C'), Some(&b"42601"[..]));
        assert_eq!(error_field(body, b'D'), None);
        assert_eq!(error_field(b"C426", b'C'), None);
    }
}
