//! COPY TO STDOUT: rows in CopyData messages, rebuilt around the cells that change.
//!
//! Never decides what changes, and never holds more than one row. Invariant: however the stream is cut into messages, the
//! same bytes come out; a cell that does not change is the same bytes, and a changed one is written as PostgreSQL would.
//! Source: PostgreSQL manual, COPY, "File Formats"; `copyto.c` of the server.

use bytes::{Buf, BytesMut};

use crate::ProtocolError;
use crate::backend::tag;
use crate::cursor::Cursor;
use crate::frontend::put_frame;
use crate::row::NewCell;

mod binary;
mod csv;
mod text;

pub use self::csv::Csv;
pub use self::text::Text;

/// Longest row that is taken apart, in bytes.
const ROW_LEN_MAX: usize = 64 << 20;

/// How rows are written.
#[derive(Clone, Debug)]
pub enum Layout {
    /// `FORMAT text`.
    Text(Text),
    /// `FORMAT csv`.
    Csv(Csv),
    /// `FORMAT binary`.
    Binary,
}

/// What becomes of a cell that may change: it gets the column's index from 0, the value without escapes and quotes, and
/// a buffer to append a new one to. A NULL stays NULL and does not come here.
pub type Change<'a> = &'a mut dyn FnMut(usize, &[u8], &mut BytesMut) -> NewCell;

/// Format codes of a CopyOutResponse body, one per column; the first is that of the whole.
///
/// # Errors
/// The body is cut off.
pub fn out_response(body: &[u8]) -> Result<(u8, Vec<i16>), ProtocolError> {
    let mut cursor = Cursor::new("CopyOutResponse", body);
    let overall = cursor.u8()?;
    let count = cursor.count()?;
    let formats = (0..count).map(|_| cursor.i16()).collect::<Result<_, _>>()?;
    cursor.end()?;
    Ok((overall, formats))
}

/// The rows of one COPY TO STDOUT on their way.
#[derive(Debug)]
pub struct CopyOut {
    layout: Layout,
    /// By column, whether its cells may change.
    changes: Vec<bool>,
    /// The beginning of a row whose end has not come.
    pending: BytesMut,
    progress: Progress,
}

/// How far the row at the front has been looked through.
#[derive(Debug, Default)]
struct Progress {
    /// What comes before the rows (a line of names, a file header) is through.
    headed: bool,
    /// The trailer of a binary file is through.
    ended: bool,
    /// Bytes of the row that need not be looked at again.
    scanned: usize,
    /// Whether a CSV row is inside quotes there.
    quoted: bool,
}

/// A row, or what stands before or behind the rows, at the front of what came.
#[derive(Clone, Copy)]
enum Unit<'a> {
    /// Passes as it is.
    Frame(&'a [u8]),
    Row(&'a [u8]),
}

impl CopyOut {
    /// A stream of rows in that layout, with one entry of `changes` per column: whether its cells may change.
    #[must_use]
    pub fn new(layout: Layout, changes: Vec<bool>) -> Self {
        Self { layout, changes, pending: BytesMut::new(), progress: Progress::default() }
    }

    /// Takes the body of one CopyData, and appends one CopyData with the rows that are complete with it, if any. Yields
    /// their number.
    ///
    /// # Errors
    /// What came is not a row of that layout and number of columns, or the row is too long; `out` is then as before.
    pub fn push(&mut self, body: &[u8], out: &mut BytesMut, change: Change<'_>) -> Result<u64, ProtocolError> {
        let start = out.len();
        let mut result = Ok(0);
        let mut is_empty = true;
        put_frame(out, tag::COPY_DATA, |out| {
            let at = out.len();
            out.reserve(body.len());
            result = self.push_body(body, out, change);
            is_empty = out.len() == at;
        });
        if is_empty || result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn push_body(&mut self, body: &[u8], out: &mut BytesMut, change: Change<'_>) -> Result<u64, ProtocolError> {
        let mut rows = 0;
        if self.pending.is_empty() {
            let used = self.rows(body, out, &mut rows, change)?;
            self.pending.extend_from_slice(body.get(used..).unwrap_or_default());
        } else {
            let mut whole = std::mem::take(&mut self.pending);
            whole.extend_from_slice(body);
            let used = self.rows(&whole, out, &mut rows, change)?;
            whole.advance(used);
            self.pending = whole;
        }
        if self.pending.len() > ROW_LEN_MAX { fail("a row is too long to be masked") } else { Ok(rows) }
    }

    /// Ends the stream, as CopyDone does.
    ///
    /// # Errors
    /// The last row is not complete.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        if self.pending.is_empty() { Ok(()) } else { fail("it ends within a row") }
    }

    /// Appends all complete rows; yields how many bytes they were.
    fn rows(
        &mut self,
        bytes: &[u8],
        out: &mut BytesMut,
        rows: &mut u64,
        change: Change<'_>,
    ) -> Result<usize, ProtocolError> {
        let mut rest = bytes;
        while let Some((unit, length)) = self.next_unit(rest)? {
            match unit {
                Unit::Frame(bytes) => out.extend_from_slice(bytes),
                Unit::Row(row) => {
                    *rows = rows.saturating_add(1);
                    match &self.layout {
                        Layout::Text(text) => text.rebuild(row, &self.changes, out, change)?,
                        Layout::Csv(csv) => csv.rebuild(row, &self.changes, out, change)?,
                        Layout::Binary => binary::rebuild(row, &self.changes, out, change)?,
                    }
                }
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(bytes.len().saturating_sub(rest.len()))
    }

    /// The next complete unit and its length, if it is there. Units are never empty.
    fn next_unit<'b>(&mut self, rest: &'b [u8]) -> Result<Option<(Unit<'b>, usize)>, ProtocolError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let has_header = match &self.layout {
            Layout::Text(text) => text.header,
            Layout::Csv(csv) => csv.header,
            Layout::Binary => return self.next_binary(rest),
        };
        let fresh = rest.get(self.progress.scanned..).unwrap_or_default();
        let end = match &self.layout {
            Layout::Csv(csv) => csv.line_end(fresh, &mut self.progress.quoted),
            Layout::Text(_) | Layout::Binary => memchr::memchr(b'\n', fresh).ok_or(fresh.len()),
        };
        match end {
            Err(scanned) => {
                self.progress.scanned = self.progress.scanned.saturating_add(scanned);
                Ok(None)
            }
            Ok(end) => {
                let length = self.progress.scanned.saturating_add(end).saturating_add(1);
                self.progress.scanned = 0;
                let line = rest.get(..length).unwrap_or(rest);
                let is_header = has_header && !std::mem::replace(&mut self.progress.headed, true);
                Ok(Some((if is_header { Unit::Frame(line) } else { Unit::Row(line) }, length)))
            }
        }
    }

    fn next_binary<'b>(&mut self, rest: &'b [u8]) -> Result<Option<(Unit<'b>, usize)>, ProtocolError> {
        if self.progress.ended {
            return fail("something follows its trailer");
        }
        if rest.len() < self.progress.scanned {
            return Ok(None);
        }
        let length = if self.progress.headed { binary::row_len(rest)? } else { binary::header_len(rest)? };
        match length {
            Err(wanted) => {
                self.progress.scanned = wanted;
                Ok(None)
            }
            Ok(length) => {
                self.progress.scanned = 0;
                let bytes = rest.get(..length).unwrap_or(rest);
                let is_header = !std::mem::replace(&mut self.progress.headed, true);
                self.progress.ended = !is_header && binary::is_trailer(bytes);
                Ok(Some((if is_header || self.progress.ended { Unit::Frame(bytes) } else { Unit::Row(bytes) }, length)))
            }
        }
    }
}

fn fail<T>(what: &'static str) -> Result<T, ProtocolError> {
    Err(ProtocolError::Body { message: "CopyData", what })
}

#[cfg(test)]
mod tests;
