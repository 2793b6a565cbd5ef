//! Frames and messages of an upstream.
//!
//! Checked: any chunking gives the same frames; a view exists only of a whole body; an ErrorResponse cut down to some
//! fields has only those, and is one.

use bytes::BytesMut;
use countersign_protocol::backend::{self, TransactionStatus, tag};
use countersign_protocol::row::Cells;
use countersign_protocol::{Frame, FrameRef, response};

use super::bytes_in::{LENGTH_MAX, frames_of};

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    for frame in frames_of(data) {
        let body = frame.body();
        match frame.tag {
            tag::READY_FOR_QUERY => ready_for_query(body),
            tag::ROW_DESCRIPTION => row_description(body),
            tag::PARAMETER_DESCRIPTION => {
                if let Ok(types) = backend::parameter_description(body) {
                    assert_eq!(types.len() * 4 + 2, body.len());
                }
            }
            tag::COMMAND_COMPLETE => {
                if let Ok(text) = backend::command_complete(body) {
                    assert_eq!(text.len() + 1, body.len());
                }
            }
            tag::PARAMETER_STATUS => {
                if let Ok((name, value)) = backend::parameter_status(body) {
                    assert_eq!(name.len() + value.len() + 2, body.len());
                }
            }
            tag::DATA_ROW => cells(body),
            _ => error_response(&frame),
        }
    }
}

fn ready_for_query(body: &[u8]) {
    if let Ok(status) = backend::ready_for_query(body) {
        let letter = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InBlock => b'T',
            TransactionStatus::Failed => b'E',
        };
        assert_eq!(body, [letter]);
    }
}

fn row_description(body: &[u8]) {
    if let Ok(fields) = backend::row_description(body) {
        let names = body.len().checked_sub(2 + 18 * fields.len());
        assert!(names.is_some_and(|names| names >= fields.len()), "each field has its bytes");
    }
}

fn cells(body: &[u8]) {
    let Ok(cells) = Cells::read(body) else { return };
    let count = cells.left();
    let read: Result<Vec<_>, _> = cells.collect();
    if let Ok(read) = read {
        let bytes: usize = read.iter().map(|cell| 4 + cell.map_or(0, <[u8]>::len)).sum();
        assert_eq!((read.len(), bytes + 2), (count, body.len()), "every byte of a row is accounted for");
    }
}

fn error_response(frame: &Frame) {
    let code = backend::error_field(frame.body(), b'C');
    let detail = backend::error_field(frame.body(), b'D');
    let mut out = BytesMut::new();
    response::keep_fields(&mut out, FrameRef { tag: frame.tag, bytes: &frame.bytes }, b"SVC", "hidden");
    let kept = Frame::take(&mut out, |_| LENGTH_MAX + 64).ok().flatten().expect("a whole frame");
    assert!(out.is_empty() && kept.tag == frame.tag);
    assert_eq!(backend::error_field(kept.body(), b'M'), Some(&b"hidden"[..]), "the message is replaced");
    assert_eq!(backend::error_field(kept.body(), b'C'), code, "the SQLSTATE stays");
    assert!(detail.is_none() || backend::error_field(kept.body(), b'D').is_none(), "nothing else stays");
}
