//! The two sockets of a session: what is read into the session core, and what it wants written.
//!
//! Never looks into a message. Invariant: while much waits to be written to one side, the other is not read; that is
//! what bounds the memory of a session. One that waits for its client, or for people, has no buffers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::buffers;
use super::machine::Machine;
use crate::stream::{ClientStream, UpstreamStream};

/// Bytes read from a socket at once.
const READ_LEN: usize = 64 << 10;
/// While more than this waits to be written to one side, the other side is not read.
const UNSENT_LEN_MAX: usize = 256 << 10;
/// How long a client may take to read its last bytes.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the sockets did.
pub(super) enum Io {
    /// Bytes came or went.
    Progress,
    /// The client sends nothing more.
    ClientEnded,
    /// The client's socket is broken.
    ClientClosed,
    /// The upstream's socket is at its end, or broken.
    UpstreamClosed,
}

/// The upstream's end of what we send.
enum Ending {
    No,
    /// Once everything has been written.
    Wanted,
    Done,
}

/// See the module documentation.
pub(super) struct Sockets {
    client: ClientStream,
    upstream: UpstreamStream,
    ending: Ending,
}

impl Sockets {
    pub(super) fn new(client: ClientStream, upstream: UpstreamStream) -> Self {
        Self { client, upstream, ending: Ending::No }
    }

    /// Whether the client is known to send nothing more, whatever of what it sent is still unread.
    pub(super) fn has_client_ended(&self) -> bool {
        self.client.is_read_closed()
    }

    /// Tells the upstream, behind what is to be written, that nothing more comes; its answers are still read.
    pub(super) fn shut_upstream(&mut self) {
        self.ending = Ending::Wanted;
    }

    /// Writes what can be written, then reads what may be read; ready when bytes came or a side ended.
    pub(super) fn poll(&mut self, machine: &mut Machine, cx: &mut Context<'_>) -> Poll<Io> {
        let polled = self.poll_both(machine, cx);
        if polled.is_ready() {
            buffers::lend(machine.client_output());
            buffers::lend(machine.upstream_output());
        } else if machine.is_owed_nothing() {
            give_back_buffers(machine);
        }
        polled
    }

    fn poll_both(&mut self, machine: &mut Machine, cx: &mut Context<'_>) -> Poll<Io> {
        if poll_write(&mut self.upstream, machine.upstream_output(), cx).is_err() {
            // Why it closed may still be there to be read.
            return match poll_read(&mut self.upstream, machine.upstream_input(), cx) {
                Poll::Ready(Ok(length)) if length > 0 => Poll::Ready(Io::Progress),
                Poll::Ready(Ok(_) | Err(_)) | Poll::Pending => Poll::Ready(Io::UpstreamClosed),
            };
        }
        self.poll_shut_upstream(machine, cx);
        if poll_write(&mut self.client, machine.client_output(), cx).is_err() {
            return Poll::Ready(Io::ClientClosed);
        }
        if machine.client_output().len() < UNSENT_LEN_MAX {
            match poll_read(&mut self.upstream, machine.upstream_input(), cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Io::UpstreamClosed),
                Poll::Ready(Ok(_)) => return Poll::Ready(Io::Progress),
                Poll::Pending => {}
            }
        }
        if machine.wants_client() && machine.upstream_output().len() < UNSENT_LEN_MAX {
            match poll_read(&mut self.client, machine.client_input(), cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Io::ClientEnded),
                Poll::Ready(Err(_)) => return Poll::Ready(Io::ClientClosed),
                Poll::Ready(Ok(_)) => return Poll::Ready(Io::Progress),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    fn poll_shut_upstream(&mut self, machine: &mut Machine, cx: &mut Context<'_>) {
        if matches!(self.ending, Ending::Wanted)
            && machine.upstream_output().is_empty()
            && Pin::new(&mut self.upstream).poll_shutdown(cx).is_ready()
        {
            // When that failed, reading will tell.
            self.ending = Ending::Done;
        }
    }

    /// Sends what is left to each side, then ends both connections. Neither waits for the other.
    pub(super) async fn part(mut self, machine: &mut Machine) {
        let to_upstream = std::mem::take(machine.upstream_output());
        let to_client = std::mem::take(machine.client_output());
        let farewell = tokio::time::timeout(
            FAREWELL,
            futures_util::future::join(part(&mut self.upstream, &to_upstream), part(&mut self.client, &to_client)),
        );
        if farewell.await.is_err() {
            tracing::debug!("a peer did not read its last bytes in time");
        }
    }
}

impl Sockets {
    /// Sends the client what is left and ends its connection; the upstream's stays.
    pub(super) async fn part_from_client(self, machine: &mut Machine) -> UpstreamStream {
        let Self { mut client, upstream, .. } = self;
        let to_client = std::mem::take(machine.client_output());
        if tokio::time::timeout(FAREWELL, part(&mut client, &to_client)).await.is_err() {
            tracing::debug!("a client did not read its last bytes in time");
        }
        upstream
    }
}

/// Writes the last bytes to a peer and ends the connection.
async fn part(stream: &mut (impl AsyncWrite + Unpin), last: &[u8]) {
    // The peer may be gone already; that is what a farewell is about.
    let _ = stream.write_all(last).await;
    let _ = stream.shutdown().await;
}

/// Gives back what is empty, of a session that waits.
fn give_back_buffers(machine: &mut Machine) {
    buffers::take_back(machine.client_input());
    buffers::take_back(machine.upstream_input());
    buffers::take_back(machine.client_output());
    buffers::take_back(machine.upstream_output());
}

/// Gives back all, of a session that waits for people: what its client has sent besides is kept by itself.
pub(super) fn give_back_all_buffers(machine: &mut Machine) {
    buffers::rest_alone(machine.client_input());
    give_back_buffers(machine);
}

fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    into: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    thread_local! {
        static SCRATCH: std::cell::RefCell<Box<[u8]>> = std::cell::RefCell::new(vec![0; READ_LEN].into());
    }
    // A buffer that a large message has blown up is not kept for the small ones that follow.
    if into.is_empty() && into.try_reclaim(UNSENT_LEN_MAX + 1) {
        *into = BytesMut::new();
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        std::task::ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        buffers::lend(into);
        into.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

fn poll_write(stream: &mut (impl AsyncWrite + Unpin), from: &mut BytesMut, cx: &mut Context<'_>) -> io::Result<()> {
    let mut wrote = false;
    while !from.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, from) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(length)) => {
                from.advance(length);
                wrote = true;
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(()),
        }
    }
    if wrote && let Poll::Ready(Err(error)) = Pin::new(stream).poll_flush(cx) {
        return Err(error);
    }
    Ok(())
}
