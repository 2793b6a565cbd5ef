//! Rows of COPY in binary format.
//!
//! Never reads a length that it has not checked. Invariant: a row has as many fields as there are columns.

use bytes::{BufMut, BytesMut};

use super::{Change, ROW_LEN_MAX, fail};
use crate::ProtocolError;
use crate::cursor::Cursor;
use crate::row::{NewCell, put_cell};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Flags that a reader must know; PostgreSQL sets none of them any more.
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;
/// Signature, flags, length of the extension.
const HEADER_LEN: usize = 19;

/// The length of what is at the front, or how many bytes must be there before it can be told.
type Length = Result<usize, usize>;

/// The length of the file header.
pub(super) fn header_len(bytes: &[u8]) -> Result<Length, ProtocolError> {
    let Some((header, _)) = bytes.split_at_checked(HEADER_LEN) else { return Ok(Err(HEADER_LEN)) };
    let mut cursor = Cursor::new("CopyData", header);
    if cursor.bytes(SIGNATURE.len())? != SIGNATURE {
        return fail("it does not begin as a binary file");
    }
    if cursor.u32()? & CRITICAL_FLAGS != 0 {
        return fail("its header has unknown flags");
    }
    let Ok(extension) = usize::try_from(cursor.i32()?) else { return fail("a length is negative") };
    if extension > ROW_LEN_MAX {
        return fail("its header is too long");
    }
    let length = HEADER_LEN.saturating_add(extension);
    Ok(if bytes.len() < length { Err(length) } else { Ok(length) })
}

/// The length of a row, or of the trailer.
pub(super) fn row_len(bytes: &[u8]) -> Result<Length, ProtocolError> {
    let Some((count, _)) = bytes.split_first_chunk::<2>() else { return Ok(Err(2)) };
    let mut length: usize = 2;
    // The trailer is a count of -1.
    for _ in 0..i16::from_be_bytes(*count).max(0) {
        let Some((field, _)) = bytes.get(length..).and_then(|rest| rest.split_first_chunk::<4>()) else {
            return Ok(Err(length.saturating_add(4)));
        };
        length = length.saturating_add(4);
        match i32::from_be_bytes(*field) {
            -1 => {}
            field => match usize::try_from(field) {
                Ok(field) => length = length.saturating_add(field),
                Err(_) => return fail("a length is negative"),
            },
        }
        if length > ROW_LEN_MAX {
            return fail("a row is too long to be masked");
        }
    }
    Ok(if bytes.len() < length { Err(length) } else { Ok(length) })
}

pub(super) fn is_trailer(row: &[u8]) -> bool {
    row == [0xff, 0xff]
}

/// Appends the row with its changed cells.
pub(super) fn rebuild(
    row: &[u8],
    changes: &[bool],
    out: &mut BytesMut,
    change: Change<'_>,
) -> Result<(), ProtocolError> {
    let mut cursor = Cursor::new("CopyData", row);
    let count = cursor.i16()?;
    if usize::try_from(count) != Ok(changes.len()) {
        return fail("a row has another number of columns");
    }
    out.put_i16(count);
    for (index, changes) in changes.iter().enumerate() {
        let cell = cursor.value()?;
        put_cell(out, cell, |cell, out| if *changes { change(index, cell, out) } else { NewCell::Keep });
    }
    cursor.end()
}
