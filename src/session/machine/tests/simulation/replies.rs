//! Whether what a client was told is what PostgreSQL could have told it.
//!
//! The client's messages are put to a PostgreSQL of its own, one by one. Each reply must be that one's, or a refusal, and
//! then that one is made to fail at the same place.

use std::collections::VecDeque;

use bytes::BytesMut;
use countersign_protocol::frontend::{Bind, Target};
use countersign_protocol::{Frame, backend};

use super::super::notation::{frontend, heard, sent};
use super::super::upstream::{Postgres, statements};

/// SQLSTATEs with which the proxy refuses, rejects, withdraws, lets expire, takes back what has too many rows or whose rows
/// cannot be counted, and cannot keep its record; and that of a
/// relation which the schema `sandbox` does not have, of which the simulated PostgreSQL knows nothing.
const REFUSALS: [&[u8]; 6] = [b"42501", b"57014", b"54000", b"0A000", b"58030", b"42P01"];

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut buffer = BytesMut::from(bytes);
    std::iter::from_fn(|| Frame::take(&mut buffer, |_| u32::MAX).unwrap()).collect()
}

fn field(frame: &Frame, code: u8) -> &[u8] {
    backend::error_field(frame.body(), code).unwrap_or_default()
}

fn is_fatal(frame: &Frame) -> bool {
    frame.tag == b'E' && field(frame, b'V') == b"FATAL"
}

/// What is bound without a decision is refused with everything collected before it; in a failed block with the block's
/// own error.
fn is_refusal(reply: &Frame, asked: &Frame, postgres: &Postgres) -> bool {
    let code = field(reply, b'C');
    let of_block = || postgres.has_failed() && code == b"25P02";
    reply.tag == b'E' && (REFUSALS.contains(&code) || of_block() || (code == b"26000" && is_unnamed(asked)))
}

/// The text of an unnamed statement that an error leaves as it was is not kept by the proxy: it must be parsed again.
fn is_unnamed(asked: &Frame) -> bool {
    match asked.tag {
        b'B' => Bind::read(asked.body()).is_ok_and(|bind| bind.statement.is_empty()),
        b'D' => matches!(Target::read("Describe", asked.body()), Ok(Target::Statement(b""))),
        _ => false,
    }
}

/// Where PostgreSQL says that a portal cannot run again, the proxy may have forgotten it: both fail.
fn is_of_portal(frame: &Frame) -> bool {
    matches!(field(frame, b'C'), b"34000" | b"55000")
}

fn is_same(one: &Frame, other: &Frame) -> bool {
    match (one.tag, other.tag) {
        (b'E', b'E') if is_of_portal(one) => is_of_portal(other),
        (b'E', b'E') => field(one, b'C') == field(other, b'C'),
        _ => one.bytes == other.bytes,
    }
}

/// How much of the replies must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of them.
    Complete,
    /// As many as have come.
    SoFar,
}

fn is_queued(frame: &Frame) -> bool {
    heard(&frame.bytes) == "C QUEUED"
}

/// Statements that wait for the end of their transaction.
#[derive(Default)]
struct Queue(Vec<String>);

impl Queue {
    fn push(&mut self, frame: &Frame, postgres: &Postgres) -> Result<(), String> {
        let text = text_of(frame).ok_or_else(|| format!("{} was queued", sent(&frame.bytes)))?;
        if !postgres.is_in_block() || (self.0.is_empty() && !text.contains("customers") && !text.contains(" a")) {
            return Err(format!("{text} begins a batch"));
        }
        self.0.push(text);
        Ok(())
    }

    /// What the upstream is to see: of a COMMIT everything that waits for it. An error and a ROLLBACK forget that.
    fn ended_by(&mut self, frame: Frame, is_refused: bool) -> Frame {
        let text = text_of(&frame).filter(|_| !self.0.is_empty());
        if is_refused || text.as_deref().is_some_and(|text| matches!(text, "COMMIT" | "ROLLBACK")) {
            let mut waiting = std::mem::take(&mut self.0);
            if text.as_deref() == Some("COMMIT") {
                waiting.push("COMMIT".to_owned());
                let whole = frontend(&format!("Q {}", waiting.join(";\\n")));
                return frames(&whole).remove(0);
            }
        }
        frame
    }
}

/// The text of a Query.
fn text_of(frame: &Frame) -> Option<String> {
    let text = frame.body().strip_suffix(b"\0").filter(|_| frame.tag == b'Q')?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The rows of a text are too many with one of its later statements: what failed, and what follows the error.
fn taken_back(frame: &Frame, completed: usize, mut postgres: Postgres) -> (Postgres, VecDeque<Frame>) {
    let text = text_of(frame).unwrap_or_default();
    let before: Vec<&str> = statements(&text).take(completed).collect();
    postgres.send(&frontend(&format!("Q {}", before.join(";\\n"))));
    postgres.step();
    let mut rest = VecDeque::from(frames(&postgres.refuse(frame, b"54000")));
    rest.pop_front();
    (postgres, rest)
}

/// Checks what came back for what was sent.
pub fn check(sent_bytes: &[u8], got: &[u8], extent: Extent) -> Result<(), String> {
    let mut postgres = Postgres::new();
    let told: Vec<Frame> = frames(got).into_iter().filter(|frame| !matches!(frame.tag, b'N' | b'S')).collect();
    let mut told = told.iter().peekable();
    let mut batch = Queue::default();
    for frame in frames(sent_bytes) {
        if told.peek().is_some_and(|next| is_fatal(next)) {
            return Ok(());
        }
        if told.peek().is_some_and(|next| is_queued(next)) {
            batch.push(&frame, &postgres)?;
            told.next();
            match told.next() {
                None if extent == Extent::SoFar => return Ok(()),
                Some(next) if heard(&next.bytes) == "Z T" || is_fatal(next) => continue,
                other => return Err(format!("{} was queued, and then {other:?}", sent(&frame.bytes))),
            }
        }
        let frame = batch.ended_by(frame, told.peek().is_some_and(|next| next.tag == b'E'));
        if postgres.is_copying() && !matches!(frame.tag, b'd' | b'c' | b'f' | b'H' | b'S' | b'X') {
            return match told.peek() {
                None if extent == Extent::SoFar => Ok(()),
                other => Err(format!("during COPY {} got {other:?}", sent(&frame.bytes))),
            };
        }
        let mut before = postgres.clone();
        postgres.send(&frame.bytes);
        let mut expected = frames(&postgres.step().unwrap_or_default());
        if expected.first().is_some_and(|first| {
            told.peek().is_some_and(|next| is_refusal(next, &frame, &before) && !is_same(first, next))
        }) {
            expected = frames(&before.refuse(&frame, field(told.peek().unwrap(), b'C')));
            postgres = before.clone();
        }
        let mut completed = 0;
        let mut expected: VecDeque<Frame> = expected.into();
        while let Some(wanted) = expected.pop_front() {
            match told.next() {
                None if extent == Extent::SoFar => return Ok(()),
                Some(next) if is_same(next, &wanted) => completed += usize::from(next.tag == b'C'),
                Some(next) if is_fatal(next) => return Ok(()),
                Some(next) if completed > 0 && field(next, b'C') == b"54000" => {
                    (postgres, expected) = taken_back(&frame, completed, before.clone());
                }
                other => {
                    let other = other.map_or("nothing".to_owned(), |frame| heard(&frame.bytes));
                    return Err(format!("{} got {other} instead of {}", sent(&frame.bytes), heard(&wanted.bytes)));
                }
            }
        }
    }
    match told.next() {
        Some(next) if !is_fatal(next) => Err(format!("nothing asked for {}", heard(&next.bytes))),
        Some(_) | None => Ok(()),
    }
}
