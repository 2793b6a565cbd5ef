//! Rows of COPY in CSV format.
//!
//! Never takes a line end inside quotes for the end of a row. Invariant: a cell is quoted where PostgreSQL would quote
//! its new value, whether or not the old one was.

use bytes::{BufMut, BytesMut};

use super::{Change, fail};
use crate::ProtocolError;
use crate::row::NewCell;

/// Options of the CSV format.
#[derive(Clone, Debug)]
pub struct Csv {
    /// DELIMITER.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Vec<u8>,
    /// Whether the first line has the names of the columns.
    pub header: bool,
    /// QUOTE.
    pub quote: u8,
    /// ESCAPE.
    pub escape: u8,
    /// By column, whether it is quoted whatever it holds.
    pub force_quote: Vec<bool>,
}

impl Csv {
    /// The place of the line's end, or how many bytes need not be looked at again. `quoted` says whether the bytes begin
    /// inside of quotes, and then whether they end so.
    pub(super) fn line_end(&self, bytes: &[u8], quoted: &mut bool) -> Result<usize, usize> {
        let mut from: usize = 0;
        loop {
            let fresh = bytes.get(from..).unwrap_or_default();
            let found = if *quoted {
                memchr::memchr2(self.quote, self.escape, fresh)
            } else {
                memchr::memchr2(self.quote, b'\n', fresh)
            };
            let Some(at) = found else { return Err(bytes.len()) };
            let place = from.saturating_add(at);
            let byte = fresh.get(at).copied().unwrap_or_default();
            from = place.saturating_add(1);
            if byte == self.quote && (self.escape == self.quote || !*quoted || byte != self.escape) {
                // A doubled quote closes and opens again.
                *quoted = !*quoted;
            } else if !*quoted {
                return Ok(place);
            } else {
                // What is behind an escape may not have come yet.
                from = from.saturating_add(1);
                if from > bytes.len() {
                    return Err(place);
                }
            }
        }
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
            let (end, is_quoted) = self.read_cell(rest, &mut value);
            let (cell, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if !changes.get(index).copied().unwrap_or_default() || (!is_quoted && cell == self.null) {
                out.put_slice(cell);
            } else {
                masked.clear();
                match change(index, &value, &mut masked) {
                    NewCell::Keep => out.put_slice(cell),
                    NewCell::Null => out.put_slice(&self.null),
                    NewCell::Replaced => self.put(index, &masked, changes.len() == 1, out),
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

    /// Reads the first cell, without quotes and escapes; yields where it ends, and whether it is quoted.
    fn read_cell(&self, line: &[u8], value: &mut Vec<u8>) -> (usize, bool) {
        value.clear();
        let (mut quoted, mut any_quotes) = (false, false);
        let mut bytes = line.iter().enumerate().peekable();
        while let Some((place, byte)) = bytes.next() {
            if !quoted && *byte == self.delimiter {
                return (place, any_quotes);
            }
            let escapes = |next: u8| quoted && (next == self.quote || next == self.escape);
            if *byte == self.escape
                && let Some((_, next)) = bytes.next_if(|(_, next)| escapes(**next))
            {
                value.push(*next);
            } else if *byte == self.quote {
                quoted = !quoted;
                any_quotes = true;
            } else {
                value.push(*byte);
            }
        }
        (line.len(), any_quotes)
    }

    /// Appends a value as `CopyAttributeOutCSV` does.
    fn put(&self, index: usize, value: &[u8], is_single: bool, out: &mut BytesMut) {
        let is_special = |byte: &u8| *byte == self.delimiter || *byte == self.quote || matches!(byte, b'\n' | b'\r');
        let quoted = self.force_quote.get(index).copied().unwrap_or_default()
            || value == self.null
            || (is_single && value == b"\\.")
            || value.iter().any(is_special);
        if !quoted {
            out.put_slice(value);
            return;
        }
        out.put_u8(self.quote);
        for byte in value {
            if *byte == self.quote || *byte == self.escape {
                out.put_u8(self.escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(self.quote);
    }
}
