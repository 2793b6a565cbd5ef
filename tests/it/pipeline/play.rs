//! One connection on which a script is played.
//!
//! Never judges what it hears. Invariant: it ends, whatever the other side does.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::generate::{Chance, Step};
use super::message::Message;
use crate::support::wire::Frame;

/// How long nothing comes before a client takes what it has for all there is. Too short is as good: then it goes on early.
const MOMENT: Duration = Duration::from_millis(4);
/// How long nothing comes before an answer that is owed counts as lost.
const PATIENCE: Duration = Duration::from_secs(8);
/// The value in the last answer of every script.
const THE_END: &str = "the end of the script";

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the answer to its last message.
    Answered,
    /// The connection was closed.
    Closed,
    /// With silence.
    Silent,
}

/// Who listens while a script is played.
pub trait Listener {
    /// A frame has come.
    async fn hears(&mut self, frame: &Frame);
    /// Nothing comes at the moment, and the last frame was ReadyForQuery with this status. Whether that can be so; if
    /// not, it is asked again when there is more.
    async fn pauses(&mut self, status: u8) -> bool;
    /// The client wants to cancel.
    async fn cancels(&mut self);
}

/// Hears nothing.
pub struct Nobody;

impl Listener for Nobody {
    async fn hears(&mut self, _frame: &Frame) {}

    async fn pauses(&mut self, _status: u8) -> bool {
        true
    }

    async fn cancels(&mut self) {}
}

/// What came of a script.
pub struct Heard {
    /// All frames.
    pub frames: Vec<Frame>,
    /// How it ended.
    pub end: End,
    /// The status at a ReadyForQuery that was not the upstream's.
    pub untrue: Option<char>,
}

/// What ends every script: whatever it left open is closed, and something is answered.
fn ending() -> Vec<Message> {
    vec![
        Message::CopyFail,
        Message::Sync,
        Message::Query("ROLLBACK".to_owned()),
        Message::Query(format!("SELECT '{THE_END}'")),
    ]
}

/// Plays the script; `seed` says in which pieces it is sent.
pub async fn play(stream: TcpStream, steps: &[Step], seed: u64, listener: &mut impl Listener) -> Heard {
    let mut line = Line { stream, input: BytesMut::new(), frames: Vec::new(), closed: false, untrue: None };
    let mut chance = Chance(seed ^ 0x5EED);
    let mut output = BytesMut::new();
    for step in steps {
        match step {
            Step::Send(message) => message.put(&mut output),
            Step::Pause => {
                line.send(&mut output, &mut chance).await;
                line.pause(listener).await;
            }
            Step::Cancel => {
                line.send(&mut output, &mut chance).await;
                listener.cancels().await;
                line.pause(listener).await;
            }
        }
    }
    ending().iter().for_each(|message| message.put(&mut output));
    line.send(&mut output, &mut chance).await;
    let end = line.read_to_the_end(listener).await;
    Heard { frames: line.frames, end, untrue: line.untrue }
}

struct Line {
    stream: TcpStream,
    input: BytesMut,
    frames: Vec<Frame>,
    closed: bool,
    untrue: Option<char>,
}

impl Line {
    /// Sends what is there, in pieces.
    async fn send(&mut self, output: &mut BytesMut, chance: &mut Chance) {
        while !output.is_empty() {
            let piece = match chance.below(4) {
                0 => 1 + chance.below(9),
                1 => 1 + chance.below(60),
                _ => output.len(),
            };
            let piece = piece.min(output.len());
            // What cannot be sent is seen by whoever reads.
            drop(self.stream.write_all(&output[..piece]).await);
            output.advance(piece);
        }
    }

    /// Reads until nothing comes for so long.
    async fn read_for(&mut self, moment: Duration, listener: &mut impl Listener) -> bool {
        let mut any = false;
        while !self.closed {
            match timeout(moment, self.stream.read_buf(&mut self.input)).await {
                Err(_) => break,
                Ok(Ok(0) | Err(_)) => self.closed = true,
                Ok(Ok(_)) => any = true,
            }
            while let Some(frame) = self.take_frame() {
                listener.hears(&frame).await;
                self.frames.push(frame);
            }
            if self.is_at_the_end() {
                break;
            }
        }
        any
    }

    async fn pause(&mut self, listener: &mut impl Listener) {
        self.read_for(MOMENT, listener).await;
        for attempt in 0..20 {
            let Some(status) = self.status() else { return };
            if listener.pauses(status).await {
                return;
            }
            // Something may have been on its way.
            if !self.read_for(MOMENT * 10, listener).await && attempt > 2 {
                self.untrue = Some(char::from(status));
                return;
            }
        }
    }

    async fn read_to_the_end(&mut self, listener: &mut impl Listener) -> End {
        loop {
            if self.is_at_the_end() {
                return End::Answered;
            }
            if self.closed {
                return End::Closed;
            }
            if !self.read_for(PATIENCE, listener).await {
                return if self.closed { End::Closed } else { End::Silent };
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let (head, rest) = self.input.split_at_checked(5)?;
        let length = usize::try_from(u32::from_be_bytes(head[1..].try_into().expect("four bytes"))).expect("length");
        let frame = Frame { tag: head[0], body: rest.get(..length - 4)?.to_vec() };
        self.input.advance(length + 1);
        Some(frame)
    }

    /// The status, when nothing has come behind it.
    fn status(&self) -> Option<u8> {
        self.frames.last().filter(|frame| frame.tag == b'Z' && !self.closed).map(|frame| frame.body[0])
    }

    fn is_at_the_end(&self) -> bool {
        let [.., row, _complete, ready] = self.frames.as_slice() else { return false };
        ready.tag == b'Z' && row.tag == b'D' && row.body.ends_with(THE_END.as_bytes())
    }
}
