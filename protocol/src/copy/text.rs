//! Rows of COPY in text format.
//!
//! Never reads what is not written by the server. Invariant: cells are told apart before anything in them is read.

use bytes::{BufMut, BytesMut};

use super::{Change, fail};
use crate::ProtocolError;
use crate::row::NewCell;

/// Options of the text format.
#[derive(Clone, Debug)]
pub struct Text {
    delimiter: u8,
    null: Vec<u8>,
    pub(super) header: bool,
}

impl Text {
    /// The options as the statement has them; `None` when a NULL marker cannot be told from data: one with a backslash in
    /// it, other than `\N`.
    #[must_use]
    pub fn new(delimiter: u8, null: Vec<u8>, header: bool) -> Option<Self> {
        (null == b"\\N" || !null.contains(&b'\\')).then_some(Self { delimiter, null, header })
    }

    /// Appends the row, a line with its end, with its changed cells.
    pub(super) fn rebuild(
        &self,
        line: &[u8],
        changes: &[bool],
        out: &mut BytesMut,
        change: Change<'_>,
    ) -> Result<(), ProtocolError> {
        let Some(mut rest) = line.strip_suffix(b"\n") else { return fail("a line does not end") };
        let (mut value, mut masked) = (Vec::new(), BytesMut::new());
        let mut index: usize = 0;
        loop {
            let end = self.cell_end(rest);
            let (cell, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if !changes.get(index).copied().unwrap_or_default() || self.is_null(cell) {
                out.put_slice(cell);
            } else {
                unescape(cell, &mut value);
                masked.clear();
                match change(index, &value, &mut masked) {
                    NewCell::Keep => out.put_slice(cell),
                    NewCell::Null => out.put_slice(&self.null),
                    NewCell::Replaced => self.put(&masked, out),
                }
            }
            index = index.saturating_add(1);
            match behind.split_first() {
                Some((delimiter, behind)) => {
                    out.put_u8(*delimiter);
                    rest = behind;
                }
                None => break,
            }
        }
        out.put_u8(b'\n');
        let is_empty_row = changes.is_empty() && line.len() == 1;
        if index == changes.len() || is_empty_row { Ok(()) } else { fail("a row has another number of columns") }
    }

    fn cell_end(&self, line: &[u8]) -> usize {
        let mut from: usize = 0;
        loop {
            let fresh = line.get(from..).unwrap_or_default();
            let Some(at) = memchr::memchr2(self.delimiter, b'\\', fresh) else { return line.len() };
            if fresh.get(at) == Some(&self.delimiter) {
                return from.saturating_add(at);
            }
            // What an escape stands for is never a delimiter.
            from = from.saturating_add(at).saturating_add(2);
        }
    }

    /// Data can look like any other NULL marker than these two, so that one who chooses the marker would learn by it
    /// which values are equal to it.
    fn is_null(&self, cell: &[u8]) -> bool {
        cell == self.null && (cell == b"\\N" || cell.is_empty())
    }

    /// Appends a value as `CopyAttributeOutText` does.
    fn put(&self, value: &[u8], out: &mut BytesMut) {
        for byte in value {
            let letter = match *byte {
                8 => b'b',
                9 => b't',
                10 => b'n',
                11 => b'v',
                12 => b'f',
                13 => b'r',
                other => {
                    if other == b'\\' || other == self.delimiter {
                        out.put_u8(b'\\');
                    }
                    out.put_u8(other);
                    continue;
                }
            };
            out.put_slice(&[b'\\', letter]);
        }
    }
}

fn unescape(cell: &[u8], value: &mut Vec<u8>) {
    value.clear();
    let mut bytes = cell.iter();
    while let Some(byte) = bytes.next() {
        let escaped = if *byte == b'\\' { bytes.next() } else { None };
        value.push(match (byte, escaped) {
            (_, Some(b'b')) => 8,
            (_, Some(b't')) => 9,
            (_, Some(b'n')) => 10,
            (_, Some(b'v')) => 11,
            (_, Some(b'f')) => 12,
            (_, Some(b'r')) => 13,
            (_, Some(other)) => *other,
            (byte, None) => *byte,
        });
    }
}
