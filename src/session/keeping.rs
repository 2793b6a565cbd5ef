//! What the trail keeps of the output of a held statement: how much it was, or the rows as its client got them.
//!
//! Never sees a value that the client does not: it is given what goes to the client. Invariant: no more than
//! [`KEPT_BYTES_MAX`] of it are kept, whatever the statement returns.

use bytes::BytesMut;
use countersign_protocol::Frame;
use countersign_protocol::backend::{self, tag};
use countersign_protocol::row::Cells;

use crate::audit::Output;
use crate::config::Results;

/// Bytes of output that are kept.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Keeping {
    with_rows: bool,
    columns: Vec<String>,
    bytes: u64,
    /// Frames for the client; the last may be cut.
    frames: BytesMut,
}

impl Keeping {
    /// Begins with nothing; `None` where nothing is to be kept.
    pub(super) fn new(results: Results) -> Option<Box<Self>> {
        let with_rows = match results {
            Results::None => return None,
            Results::Counts => false,
            Results::Masked => true,
        };
        Some(Box::new(Self { with_rows, columns: Vec::new(), bytes: 0, frames: BytesMut::new() }))
    }

    /// Takes in a RowDescription; the names of the last are kept.
    pub(super) fn describe(&mut self, body: &[u8]) {
        let names = backend::column_names(body).unwrap_or_default();
        self.columns = names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    }

    /// Takes in what goes to the client of rows and COPY data, wherever it is cut.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.with_rows {
            let room = KEPT_BYTES_MAX - self.frames.len();
            self.frames.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// What is to be kept of it.
    pub(super) fn end(mut self) -> Output {
        let is_cut = self.with_rows && self.bytes > self.frames.len() as u64;
        let mut rows = Vec::new();
        // What is left in the middle of a row is not kept.
        while let Ok(Some(frame)) = Frame::take(&mut self.frames, |_| u32::MAX) {
            match frame.tag {
                tag::DATA_ROW => rows.push(cells(frame.body())),
                tag::COPY_DATA => rows.push(vec![Some(readable(frame.body()))]),
                _ => {}
            }
        }
        Output { columns: self.columns, bytes: self.bytes, values: self.with_rows.then_some(rows), is_cut }
    }
}

fn cells(body: &[u8]) -> Vec<Option<String>> {
    let Ok(cells) = Cells::read(body) else { return Vec::new() };
    cells.map_while(Result::ok).map(|cell| cell.map(readable)).collect()
}

/// A value in its text form; what is not text is written in hexadecimal.
fn readable(value: &[u8]) -> String {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
    text.map_or_else(|| format!("\\x{}", hex::encode(value)), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = u16::try_from(cells.len()).unwrap().to_be_bytes().to_vec();
        for cell in cells {
            body.extend(cell.map_or(-1, |cell| i32::try_from(cell.len()).unwrap()).to_be_bytes());
            body.extend(cell.unwrap_or_default());
        }
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag::DATA_ROW][..], &length, &body].concat()
    }

    #[test]
    fn rows_are_kept_however_they_come() {
        let frames = [row(&[Some(b"1"), None]), row(&[Some(b"a\"b"), Some(&[0, 7])])].concat();
        for cut in 0..frames.len() {
            let mut keeping = Keeping::new(Results::Masked).unwrap();
            keeping.take(&frames[..cut]);
            keeping.take(&frames[cut..]);
            let kept = keeping.end();
            let text = |text: &str| Some(text.to_owned());
            let want = vec![vec![text("1"), None], vec![text("a\"b"), text("\\x0007")]];
            assert_eq!((kept.values, kept.is_cut, kept.bytes), (Some(want), false, frames.len() as u64));
        }
    }

    #[test]
    fn no_more_is_kept_than_has_room() {
        let frame = row(&[Some(&[b'x'; 1000])]);
        let mut keeping = Keeping::new(Results::Masked).unwrap();
        (0..200).for_each(|_| keeping.take(&frame));
        let kept = keeping.end();
        assert_eq!(kept.values.unwrap().len(), KEPT_BYTES_MAX / frame.len());
        assert!(kept.is_cut);
        assert_eq!(kept.bytes, 200 * frame.len() as u64);
    }

    #[test]
    fn counts_are_without_rows_and_nothing_is_nothing() {
        let mut keeping = Keeping::new(Results::Counts).unwrap();
        keeping.take(&row(&[Some(b"secret")]));
        let kept = keeping.end();
        assert_eq!((kept.values, kept.is_cut), (None, false));
        assert!(Keeping::new(Results::None).is_none());
    }
}
