//! DataRow: its cells, and a row rebuilt around the cells that change.
//!
//! Never knows why a cell changes. Invariant: a rebuilt row has as many cells as the original, and an unchanged cell
//! is the same bytes.

use bytes::{BufMut, BytesMut};

use crate::ProtocolError;
use crate::backend::tag;
use crate::cursor::Cursor;
use crate::frame::HEADER_LEN;
use crate::frontend::put_frame;

/// The cells of a DataRow body.
#[derive(Clone, Copy)]
pub struct Cells<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Cells<'a> {
    /// Starts reading the body of a DataRow frame.
    ///
    /// # Errors
    /// The count is cut off or negative.
    pub fn read(body: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut cursor = Cursor::new("DataRow", body);
        let left = cursor.count()?;
        Ok(Self { cursor, left })
    }

    /// How many cells are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Result<Option<&'a [u8]>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return self.cursor.end().err().map(Err);
        }
        self.left = self.left.saturating_sub(1);
        let cell = self.cursor.value();
        if cell.is_err() {
            self.left = 0;
        }
        Some(cell)
    }
}

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewCell {
    /// It stays as it is.
    Keep,
    /// It becomes NULL.
    Null,
    /// It becomes what was appended to the buffer.
    Replaced,
}

/// Appends a DataRow made from the cells of `body`. `change` gets each cell that is not NULL and that `keeps` does not say
/// to keep, with its index, and a buffer to append a new value to. Cells between those are appended together.
///
/// # Errors
/// The body is not a DataRow; `out` is then as before.
pub fn rebuild(
    out: &mut BytesMut,
    body: &[u8],
    keeps: impl Fn(usize) -> bool,
    mut change: impl FnMut(usize, &[u8], &mut BytesMut) -> NewCell,
) -> Result<(), ProtocolError> {
    let start = out.len();
    // Most masks shorten: one look for room instead of one for each cell.
    out.reserve(body.len().saturating_add(HEADER_LEN));
    let mut result = Ok(());
    put_frame(out, tag::DATA_ROW, |out| result = put_cells(out, body, keeps, &mut change));
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn put_cells(
    out: &mut BytesMut,
    body: &[u8],
    keeps: impl Fn(usize) -> bool,
    change: &mut impl FnMut(usize, &[u8], &mut BytesMut) -> NewCell,
) -> Result<(), ProtocolError> {
    let mut cursor = Cursor::new("DataRow", body);
    let count = cursor.count()?;
    // What was not appended yet.
    let mut rest = body;
    for index in 0..count {
        let before = cursor.rest();
        let cell = cursor.value()?;
        if cell.is_none() || keeps(index) {
            continue;
        }
        out.put_slice(rest.get(..rest.len().saturating_sub(before.len())).unwrap_or_default());
        put_cell(out, cell, |value, out| change(index, value, out));
        rest = cursor.rest();
    }
    cursor.end()?;
    out.put_slice(rest);
    Ok(())
}

pub(crate) fn put_cell(out: &mut BytesMut, cell: Option<&[u8]>, change: impl FnOnce(&[u8], &mut BytesMut) -> NewCell) {
    let Some(value) = cell else {
        out.put_i32(-1);
        return;
    };
    let at = out.len();
    out.put_i32(-1);
    let start = out.len();
    match change(value, out) {
        NewCell::Keep => {
            out.truncate(start);
            out.put_slice(value);
        }
        NewCell::Null => {
            out.truncate(start);
            return;
        }
        NewCell::Replaced => {}
    }
    let length = i32::try_from(out.len().saturating_sub(start)).unwrap_or(i32::MAX);
    if let Some(field) = out.get_mut(at..).and_then(|tail| tail.first_chunk_mut::<4>()) {
        *field = length.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;

    fn body(cells: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&u16::try_from(cells.len()).unwrap().to_be_bytes());
        for cell in cells {
            match cell {
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    out.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
                    out.extend_from_slice(value);
                }
            }
        }
        out
    }

    fn read(body: &[u8]) -> Vec<Option<Vec<u8>>> {
        Cells::read(body).unwrap().map(|cell| cell.unwrap().map(<[u8]>::to_vec)).collect()
    }

    proptest! {
        #[test]
        fn only_the_changed_cell_differs(
            cells in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), 1..8),
            at in 0_usize..8,
        ) {
            let mut out = BytesMut::new();
            rebuild(&mut out, &body(&cells), |index| index != at, |_, _, out| {
                out.put_slice(b"***");
                NewCell::Replaced
            }).unwrap();
            let frame = Frame::take(&mut out, |_| 4096).unwrap().unwrap();
            let mut wanted = cells;
            if let Some(Some(value)) = wanted.get_mut(at) {
                *value = b"***".to_vec();
            }
            prop_assert_eq!(read(frame.body()), wanted);
            prop_assert!(out.is_empty());
        }

        #[test]
        fn no_body_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut out = BytesMut::new();
            if rebuild(&mut out, &bytes, |index| index == 1, |_, _, _| NewCell::Null).is_err() {
                prop_assert!(out.is_empty());
            }
        }
    }

    #[test]
    fn a_row_with_bytes_after_its_last_cell_is_refused() {
        let mut bytes = body(&[Some(b"x".to_vec())]);
        bytes.push(0);
        assert!(rebuild(&mut BytesMut::new(), &bytes, |_| true, |_, _, _| NewCell::Keep).is_err());
    }
}
