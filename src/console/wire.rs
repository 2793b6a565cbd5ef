//! The console on the wire, by pgwire's server API: simple and extended protocol.
//!
//! Never understands a command. Invariant: no message of a client takes more than [`MESSAGE_LEN_MAX`] bytes of memory.

use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::BytesMut;
use countersign_protocol::sqlstate;
use futures_util::{Sink, SinkExt as _, StreamExt as _};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, DefaultClient, NoopHandler, PgWireConnectionState, Type};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_util::codec::{Framed, FramedParts};

use super::command::{self, Command};
use super::failure::Failure;
use super::{Console, Reply, show, table};
use crate::drain::Phase;
use crate::sessions::Order;
use crate::stream::ClientStream;

/// Longest message of a client, in bytes.
const MESSAGE_LEN_MAX: usize = 1 << 20;

/// A prepared command.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    text: String,
    parameters: usize,
    columns: Vec<table::Column>,
}

type Socket = Framed<Bounded, PgWireMessageServerCodec<Prepared>>;

/// Answers a client until it leaves or has to; says why it ended.
pub(super) async fn run(
    console: Arc<Console>,
    stream: ClientStream,
    unread: BytesMut,
    mut orders: watch::Receiver<Order>,
) -> &'static str {
    let client = DefaultClient::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), false);
    let codec = PgWireMessageServerCodec::new(client);
    let read = unread.len();
    let mut parts = FramedParts::new::<PgWireBackendMessage>(Bounded { stream, read }, codec);
    parts.read_buf = unread;
    let mut socket = Framed::from_parts(parts);
    socket.set_state(PgWireConnectionState::ReadyForQuery);
    loop {
        // Both are cancel safe: a message is taken whole or not at all.
        let message = tokio::select! {
            message = socket.next() => message,
            () = leaving(&mut orders) => {
                dismiss(&mut socket).await;
                return "closed";
            }
        };
        match message {
            Some(Ok(PgWireFrontendMessage::Terminate(_))) | None => return "closed",
            Some(Ok(message)) => {
                socket.get_mut().read = 0;
                if answer(&console, &mut socket, message).await.is_err() {
                    return "closed";
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a console was closed");
                return "closed";
            }
        }
    }
}

/// Completes when this session is to end.
///
/// # Cancel safety
/// Cancel safe.
async fn leaving(orders: &mut watch::Receiver<Order>) {
    // An error means that the proxy is gone, which is an end too.
    let _ = orders.wait_for(|order| order.phase > Phase::Serving).await;
}

/// Ends the connection as PostgreSQL does when it shuts down.
async fn dismiss(socket: &mut Socket) {
    let message = "terminating connection due to administrator command".to_owned();
    let mut info = ErrorInfo::new("FATAL".to_owned(), sqlstate::ADMIN_SHUTDOWN.to_owned(), message);
    info.severity_nonlocalized = Some("FATAL".to_owned());
    // The client may be gone already.
    let _ = socket.send(PgWireBackendMessage::ErrorResponse(info.into())).await;
    let _ = socket.close().await;
}

async fn answer(console: &Arc<Console>, socket: &mut Socket, message: PgWireFrontendMessage) -> io::Result<()> {
    let is_extended = !matches!(message, PgWireFrontendMessage::Query(_));
    let nothing = Arc::new(NoopHandler);
    let (simple, extended) = (Arc::clone(console), Arc::clone(console));
    let done =
        process_message(message, socket, Arc::clone(&nothing), simple, extended, Arc::clone(&nothing), nothing).await;
    match done {
        Ok(()) => Ok(()),
        Err(PgWireError::IoError(error)) => Err(error),
        Err(error) => process_error(socket, error, is_extended).await,
    }
}

/// A client's stream, of which no more than one message of [`MESSAGE_LEN_MAX`] is read ahead.
struct Bounded {
    stream: ClientStream,
    /// Since the last whole message.
    read: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read > MESSAGE_LEN_MAX {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read += buf.filled().len() - before;
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Console {
    async fn respond(
        &self,
        command: Command,
        text: (&str, &[String]),
        format: Option<&Format>,
    ) -> PgWireResult<Response> {
        let columns = show::columns(&command);
        Ok(match self.execute(command, text).await? {
            Reply::Rows(rows) => Response::Query(table::response(&columns, format, rows)?),
            Reply::Done(tag) => Response::Execution(Tag::new(&tag)),
        })
    }
}

#[async_trait]
impl SimpleQueryHandler for Console {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut responses = Vec::new();
        for command in command::parse(query, Some(&[]))? {
            match self.respond(command, (query, &[]), None).await {
                Ok(response) => responses.push(response),
                // What came before it was done, and is answered.
                Err(PgWireError::UserError(info)) => {
                    responses.push(Response::Error(info));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(responses)
    }
}

/// Reads commands once, before their parameters are known.
pub(super) struct Reader;

#[async_trait]
impl QueryParser for Reader {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, _client: &C, text: &str, _types: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let commands = command::parse(text, None)?;
        let [command] = commands.as_slice() else {
            let message = "cannot insert multiple commands into a prepared statement";
            return match commands.len() {
                0 => Ok(None),
                _ => Err(Failure::new(sqlstate::SYNTAX_ERROR, message).into()),
            };
        };
        let (parameters, columns) = (command::parameters(text)?, show::columns(command));
        Ok(Some(Prepared { text: text.to_owned(), parameters, columns }))
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        Ok(vec![Type::TEXT; prepared.parameters])
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(table::fields(&prepared.columns, format))
    }
}

#[async_trait]
impl ExtendedQueryHandler for Console {
    type Statement = Prepared;
    type QueryParser = Reader;

    fn query_parser(&self) -> Arc<Reader> {
        Arc::new(Reader)
    }

    async fn do_query<C>(&self, _client: &mut C, portal: &Portal<Prepared>, _max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let prepared = &portal.statement.statement;
        let mut values = Vec::with_capacity(portal.parameter_len());
        for number in 0..portal.parameter_len() {
            let value = portal.parameter::<String>(number, &Type::TEXT)?;
            let null = || Failure::new(sqlstate::INVALID_PARAMETER_VALUE, format!("parameter ${} is NULL", number + 1));
            values.push(value.ok_or_else(null)?);
        }
        let Some(command) = command::parse(&prepared.text, Some(&values))?.pop() else {
            return Ok(Response::EmptyQuery);
        };
        self.respond(command, (&prepared.text, &values), Some(&portal.result_column_format)).await
    }
}
