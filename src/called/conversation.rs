//! The conversation with a session of the proxy's own: one request, and everything up to its ReadyForQuery.
//!
//! Never keeps more of an answer than [`ROOM`]. Invariant: what is left unfinished is cancelled.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use countersign_protocol::backend::{self, error_field, tag};
use countersign_protocol::frontend::{self, Target};
use countersign_protocol::row::Cells;
use countersign_protocol::{Frame, ProtocolError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{CallError, Called, ResultSet, SqlError};
use crate::cancel::{CancelKey, CancelRegistry};
use crate::session::messages;

/// Bytes of values in one answer.
const ROOM: usize = 4 << 20;
/// What a cell costs besides its bytes.
const CELL_COST: usize = 32;
/// Longest message that is taken in.
const MESSAGE_LEN_MAX: u32 = 64 << 20;

/// How long a statement may run before it is cancelled.
const TIME_MAX: Duration = Duration::from_secs(10);
/// How long the end of what was cancelled is waited for.
const CANCELLED: Duration = Duration::from_secs(3);

/// See the module documentation.
pub(super) struct Conversation {
    stream: UnixStream,
    unread: BytesMut,
    cancels: CancelRegistry,
    /// What cancels it, while it is under way.
    key: Option<CancelKey>,
    results: Vec<ResultSet>,
    /// The result whose rows come.
    current: ResultSet,
    room: usize,
    error: Option<SqlError>,
    has_copied: bool,
}

impl Conversation {
    pub(super) fn new(stream: UnixStream, cancels: CancelRegistry) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            cancels,
            key: None,
            results: Vec::new(),
            current: ResultSet::default(),
            room: ROOM,
            error: None,
            has_copied: false,
        }
    }

    /// Has it run.
    pub(super) async fn run(mut self, statement: &str, values: Option<&[Option<String>]>) -> Result<Called, CallError> {
        if self.until_ready().await.is_err() {
            // Whoever is turned away is told why.
            return self.error.take().map(Called::Failed).ok_or(CallError::Unavailable);
        }
        self.stream.write_all(&request(statement, values)).await.map_err(|error| lost(&error))?;
        if let Ok(done) = tokio::time::timeout(TIME_MAX, self.until_ready()).await {
            done?;
        } else {
            self.cancel();
            tokio::time::timeout(CANCELLED, self.until_ready()).await.map_err(|_elapsed| CallError::Lost)??;
        }
        self.key = None;
        let mut terminate = BytesMut::new();
        frontend::put_empty(&mut terminate, frontend::tag::TERMINATE);
        // Everything has been answered: whether the session hears of our leaving changes nothing.
        let _gone = self.stream.write_all(&terminate).await;
        self.end()
    }

    fn end(&mut self) -> Result<Called, CallError> {
        if self.has_copied {
            return Err(CallError::Copy);
        }
        let Some(error) = self.error.take() else { return Ok(Called::Done(std::mem::take(&mut self.results))) };
        let detail = error.detail.as_deref().unwrap_or_default();
        let held = messages::required_request(&error.message, detail);
        Ok(held.map_or(Called::Failed(error), Called::Held))
    }

    /// Takes in what comes up to a ReadyForQuery.
    ///
    /// # Cancel safety
    /// Cancel safe, but for an answer to COPY, which is a few bytes.
    async fn until_ready(&mut self) -> Result<(), CallError> {
        loop {
            while let Some(frame) = Frame::take(&mut self.unread, |_| MESSAGE_LEN_MAX).map_err(broken)? {
                if frame.tag == tag::READY_FOR_QUERY {
                    return Ok(());
                }
                if frame.tag == tag::COPY_IN_RESPONSE {
                    let mut fail = BytesMut::new();
                    frontend::put_copy_fail(&mut fail, "the API sends no data");
                    self.stream.write_all(&fail).await.map_err(|error| lost(&error))?;
                }
                self.take_in(&frame).map_err(broken)?;
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => return Err(CallError::Lost),
                Ok(_) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    fn take_in(&mut self, frame: &Frame) -> Result<(), ProtocolError> {
        let body = frame.body();
        match frame.tag {
            tag::BACKEND_KEY_DATA => self.key = key(frame),
            tag::ROW_DESCRIPTION => {
                let columns = backend::column_names(body)?.into_iter().map(text).collect();
                self.current = ResultSet { columns, ..ResultSet::default() };
            }
            tag::DATA_ROW => self.row(body)?,
            tag::COMMAND_COMPLETE => {
                let command = backend::command_complete(body)?.to_owned();
                self.results.push(ResultSet { command, ..std::mem::take(&mut self.current) });
            }
            tag::COPY_IN_RESPONSE | tag::COPY_OUT_RESPONSE => self.has_copied = true,
            tag::ERROR_RESPONSE => {
                let field = |letter| error_field(body, letter).map(text);
                self.error = Some(SqlError {
                    is_fatal: matches!(error_field(body, b'V'), Some(b"FATAL" | b"PANIC")),
                    sqlstate: field(b'C').unwrap_or_default(),
                    message: field(b'M').unwrap_or_default(),
                    detail: field(b'D'),
                    hint: field(b'H'),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn row(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let cells = Cells::read(body)?.collect::<Result<Vec<_>, _>>()?;
        let costs = body.len() + cells.len() * CELL_COST;
        match self.room.checked_sub(costs).filter(|_| self.current.rows_left_out == 0) {
            Some(left) => {
                self.room = left;
                self.current.rows.push(cells.into_iter().map(|cell| cell.map(text)).collect());
            }
            None => self.current.rows_left_out += 1,
        }
        Ok(())
    }

    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            // The session may have come to its end by itself.
            let _notice = self.cancels.cancel(&key);
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// A Query; with values a Parse and what follows.
fn request(statement: &str, values: Option<&[Option<String>]>) -> BytesMut {
    let mut out = BytesMut::new();
    let Some(values) = values else {
        frontend::put_query(&mut out, statement);
        return out;
    };
    let values: Vec<_> = values.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
    frontend::put_parse(&mut out, b"", statement);
    frontend::put_bind(&mut out, b"", b"", &values);
    frontend::put_describe(&mut out, Target::Portal(b""));
    frontend::put_execute(&mut out, b"");
    frontend::put_empty(&mut out, frontend::tag::SYNC);
    out
}

fn key(frame: &Frame) -> Option<CancelKey> {
    let (process_id, secret) = frame.body().split_first_chunk()?;
    Some(CancelKey { process_id: i32::from_be_bytes(*process_id), secret: secret.to_vec().into() })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lost(error: &io::Error) -> CallError {
    tracing::debug!(%error, "a session of the API broke");
    CallError::Lost
}

fn broken(error: ProtocolError) -> CallError {
    tracing::debug!(%error, "a session of the API could not be understood");
    CallError::Lost
}
