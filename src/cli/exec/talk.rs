//! The conversation with the proxy: one Query, and everything up to its ReadyForQuery.
//!
//! Never sends a second Query. Invariant: Ctrl-C withdraws or cancels, and the end is still what the proxy says it is.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use bytes::BytesMut;
use countersign_protocol::backend::{self, error_field, tag};
use countersign_protocol::row::Cells;
use countersign_protocol::{Frame, ProtocolError, frontend};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Failed;
use super::print::Printer;
use crate::cli::output::{Colour, Exit, visible};
use crate::session::messages;
use crate::upstream::{Upstream, UpstreamCancel};

/// See the module documentation.
pub(super) struct Talk<W> {
    upstream: Upstream,
    printer: Printer<W>,
    /// Whether only the id of an access request is wanted.
    no_wait: bool,
    spinner: ProgressBar,
    /// The last notice; a statement that waits repeats it.
    told: String,
    end: Exit,
    /// The access request that has to be approved first.
    required: Option<String>,
}

impl<W: Write> Talk<W> {
    pub(super) fn new(upstream: Upstream, printer: Printer<W>, no_wait: bool) -> Self {
        let (spinner, told) = (ProgressBar::hidden(), String::new());
        Self { upstream, printer, no_wait, spinner, told, end: Exit::Ok, required: None }
    }

    /// Sends the text and shows what comes.
    pub(super) async fn run(mut self, text: &str) -> Result<Exit, Failed> {
        let mut query = BytesMut::new();
        frontend::put_query(&mut query, text);
        self.upstream.stream.write_all(&query).await.map_err(|error| lost(&error))?;
        self.upstream.stream.flush().await.map_err(|error| lost(&error))?;
        let cancel = self.upstream.cancel.clone();
        loop {
            while let Some(frame) = Frame::take(&mut self.upstream.unread, |_| u32::MAX).map_err(broken)? {
                if self.take_in(&frame)? {
                    return self.leave().await;
                }
            }
            if let Some(reply) = self.reply_due() {
                self.upstream.stream.write_all(&reply).await.map_err(|error| lost(&error))?;
            }
            let Upstream { stream, unread, .. } = &mut self.upstream;
            // Both are cancel safe: read_buf, which has read nothing when it is dropped, and a signal.
            tokio::select! {
                read = stream.read_buf(unread) => match read {
                    Ok(0) => return Err(Failed::new(Exit::Unavailable, "the proxy closed the connection")),
                    Ok(_) => {}
                    Err(error) => return Err(lost(&error)),
                },
                _signal = tokio::signal::ctrl_c() => withdraw(&cancel).await?,
            }
        }
    }

    /// COPY … FROM STDIN has nothing to read here.
    fn reply_due(&mut self) -> Option<BytesMut> {
        self.printer.take_copy_in().then(|| {
            let mut reply = BytesMut::new();
            frontend::put_copy_fail(&mut reply, "countersign exec sends no data; use psql");
            reply
        })
    }

    /// Shows one message; whether it was the last.
    fn take_in(&mut self, frame: &Frame) -> Result<bool, Failed> {
        let body = frame.body();
        if !matches!(frame.tag, tag::NOTICE_RESPONSE | tag::PARAMETER_STATUS | tag::NOTIFICATION_RESPONSE) {
            self.spinner.finish_and_clear();
        }
        match frame.tag {
            tag::ROW_DESCRIPTION => self.printer.columns(&backend::column_names(body).map_err(broken)?)?,
            tag::DATA_ROW => {
                let cells: Result<Vec<_>, _> = Cells::read(body).map_err(broken)?.collect();
                self.printer.row(&cells.map_err(broken)?)?;
            }
            tag::COMMAND_COMPLETE => self.printer.complete(backend::command_complete(body).map_err(broken)?)?,
            tag::COPY_DATA => self.printer.raw(body)?,
            tag::COPY_IN_RESPONSE => self.printer.begin_copy_in(),
            tag::NOTICE_RESPONSE => self.notice(body),
            tag::ERROR_RESPONSE => self.error(body)?,
            tag::READY_FOR_QUERY => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn notice(&mut self, body: &[u8]) {
        let text = in_words(body);
        let waits = field(body, b'D').starts_with(messages::ABOUT);
        if text != self.told {
            self.spinner.suspend(|| eprintln!("{text}"));
            self.told = text;
        }
        if waits && self.spinner.is_hidden() && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{spinner} waiting for approval, {elapsed}; Ctrl-C withdraws it");
            let spinner = ProgressBar::new_spinner();
            self.spinner = style.map_or(spinner.clone(), |style| spinner.with_style(style));
            self.spinner.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn error(&mut self, body: &[u8]) -> Result<(), Failed> {
        self.printer.drop_result();
        let (sqlstate, detail) = (field(body, b'C'), field(body, b'D'));
        if let Some(id) = messages::required_request(&field(body, b'M'), &detail) {
            self.required = Some(id.to_string());
            self.end = if self.no_wait { Exit::Ok } else { Exit::Temporary };
            if self.no_wait {
                eprintln!("{}", in_words(body).replacen("ERROR", "NOTICE", 1));
                return Ok(self.printer.raw(format!("{id}\n").as_bytes())?);
            }
        } else {
            self.end = if sqlstate == "42501" { Exit::Permission } else { Exit::Data };
        }
        eprintln!("{}", in_words(body));
        if field(body, b'V') == "FATAL" {
            return Err(Failed::new(Exit::Unavailable, "the connection has ended"));
        }
        Ok(())
    }

    async fn leave(mut self) -> Result<Exit, Failed> {
        let mut terminate = BytesMut::new();
        frontend::put_empty(&mut terminate, frontend::tag::TERMINATE);
        // Everything has been answered: whether the proxy hears of our leaving changes nothing.
        let _gone = self.upstream.stream.write_all(&terminate).await;
        self.printer.finish()?;
        Ok(self.end)
    }
}

async fn withdraw(cancel: &UpstreamCancel) -> Result<(), Failed> {
    let sent = cancel.cancel().await;
    sent.map_err(|error| Failed::new(Exit::Unavailable, format!("could not withdraw it: {error}")))
}

fn lost(error: &std::io::Error) -> Failed {
    Failed::new(Exit::Unavailable, format!("the connection to the proxy broke: {error}"))
}

fn broken(error: ProtocolError) -> Failed {
    Failed::new(Exit::Unavailable, format!("the proxy breaks the protocol: {error}"))
}

fn field(body: &[u8], code: u8) -> String {
    String::from_utf8_lossy(error_field(body, code).unwrap_or_default()).into_owned()
}

/// As psql shows it.
fn in_words(body: &[u8]) -> String {
    let mut text = format!("{}:  {}", field(body, b'S'), field(body, b'M'));
    for (name, code) in [("DETAIL", b'D'), ("HINT", b'H')] {
        let value = field(body, code);
        if !value.is_empty() {
            text.push_str(&format!("\n{name}:  {value}"));
        }
    }
    visible(&text, Colour::Off)
}
