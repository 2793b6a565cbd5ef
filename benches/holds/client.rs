//! A requester on the level of messages, so that ten thousand of them fit into one process.
//!
//! Never retries. Invariant: whatever is not expected is an error that says what it was.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use countersign_protocol::Frame;
use countersign_protocol::backend::{self, tag};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Outcome;
use crate::proxy::{DATABASE, PASSWORD, REQUESTER};

/// AuthenticationOk.
const AUTHENTICATION_OK: u32 = 0;
/// Largest message this client takes.
const MESSAGE_LEN_MAX: u32 = 1 << 20;

/// One session.
pub(crate) struct Client {
    stream: TcpStream,
    unread: BytesMut,
}

impl Client {
    /// Connects under that name of an application, and authenticates with SCRAM-SHA-256 where it is asked to.
    pub(crate) async fn connect(address: SocketAddr, application: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, unread: BytesMut::new() };
        let parameters = [("user", REQUESTER), ("database", DATABASE), ("application_name", application)];
        client.send(|out| frontend::startup_message(parameters, out)).await?;
        client.authenticate().await?;
        while client.receive().await?.tag != tag::READY_FOR_QUERY {}
        Ok(client)
    }

    async fn authenticate(&mut self) -> Outcome<()> {
        // What the exchange asks for is the same each time: begin, answer, believe.
        let mut scram = ScramSha256::new(PASSWORD.as_bytes(), ChannelBinding::unsupported());
        if self.authentication().await?.0 == AUTHENTICATION_OK {
            return Ok(());
        }
        let first = scram.message().to_vec();
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out)).await?;
        let (_, challenge) = self.authentication().await?;
        scram.update(&challenge)?;
        let answer = scram.message().to_vec();
        self.send(|out| frontend::sasl_response(&answer, out)).await?;
        let (_, signature) = self.authentication().await?;
        scram.finish(&signature)?;
        match self.authentication().await? {
            (AUTHENTICATION_OK, _) => Ok(()),
            (code, _) => Err(format!("authentication went on with {code}").into()),
        }
    }

    async fn authentication(&mut self) -> Outcome<(u32, Vec<u8>)> {
        let frame = self.receive().await?;
        match (frame.tag, frame.body().split_first_chunk()) {
            (tag::AUTHENTICATION, Some((code, data))) => Ok((u32::from_be_bytes(*code), data.to_vec())),
            _ => Err(format!("expected an authentication request, found {frame:?}").into()),
        }
    }

    async fn send(&mut self, message: impl FnOnce(&mut BytesMut) -> std::io::Result<()>) -> Outcome<()> {
        let mut out = BytesMut::new();
        message(&mut out)?;
        Ok(self.stream.write_all(&out).await?)
    }

    async fn receive(&mut self) -> Outcome<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.unread, |_| MESSAGE_LEN_MAX)? {
                if frame.tag == tag::ERROR_RESPONSE {
                    let message = backend::error_field(frame.body(), b'M').unwrap_or_default();
                    return Err(String::from_utf8_lossy(message).into());
                }
                if self.unread.is_empty() {
                    self.unread = BytesMut::new();
                }
                return Ok(frame);
            }
            self.unread.reserve(1 << 10);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err("the proxy closed the connection".into());
            }
        }
    }

    /// Sends a Query.
    pub(crate) async fn query(&mut self, text: &str) -> Outcome<()> {
        self.send(|out| frontend::query(text, out)).await
    }

    /// Sends Parse, Bind, Describe, Execute and Sync of the unnamed statement, as drivers do.
    pub(crate) async fn execute(&mut self, text: &str) -> Outcome<()> {
        self.send(|out| {
            frontend::parse("", text, [], out)?;
            let no_values: [&str; 0] = [];
            let bound = frontend::bind("", "", [], no_values, |_, _| Ok(postgres_protocol::IsNull::Yes), [], out);
            bound.map_err(|_too_long| std::io::Error::other("a Bind that is too long"))?;
            frontend::describe(b'P', "", out)?;
            frontend::execute("", 0, out)?;
            frontend::sync(out);
            Ok(())
        })
        .await
    }

    /// Waits for the notice of a hold; the id of its access request.
    pub(crate) async fn held(&mut self) -> Outcome<String> {
        let frame = self.receive().await?;
        let detail = backend::error_field(frame.body(), b'D').unwrap_or_default();
        let id = String::from_utf8_lossy(detail)
            .strip_prefix("Access request ")
            .and_then(|rest| rest.split_once(':').map(|(id, _)| id.to_owned()));
        match id {
            Some(id) if frame.tag == tag::NOTICE_RESPONSE => Ok(id),
            _ => Err(format!("expected the notice of a hold, found {frame:?}").into()),
        }
    }

    /// Waits for CommandComplete and ReadyForQuery; when the former came.
    pub(crate) async fn completed(&mut self) -> Outcome<Instant> {
        let mut completed = None;
        loop {
            match self.receive().await?.tag {
                tag::COMMAND_COMPLETE => completed = Some(Instant::now()),
                tag::READY_FOR_QUERY => return completed.ok_or_else(|| "ready, but nothing completed".into()),
                _ => {}
            }
        }
    }
}

/// Appends a backend message; for the stub.
pub(crate) fn put_message(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(body);
}
