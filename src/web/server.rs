//! Accepts connections and serves the router on them.
//!
//! Never waits for a peer without a limit: headers, idle connections, their number and the farewell are all bounded.
//! Invariant: every connection task is joined or aborted before [`serve`] returns.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::events::Leaving;
use super::peer::Peer;
use super::{ApiState, router};

/// Connections served at the same time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 2048;

/// How long the header of a call may take, and a connection may be idle between calls.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes read ahead for the header of a call.
const HEADER_BYTES_MAX: usize = 32 << 10;

/// How long calls may go on after `shutdown`.
const FAREWELL: Duration = Duration::from_secs(5);

/// Pause after the system refused a connection, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API on `listener` until `shutdown`, then lets running calls end.
///
/// # Errors
/// When the listener has no local address, so it never was one.
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "API listens");
    let router = router(state);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (farewell, leaving) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // All branches are cancel safe: a permit and a connection are either taken or not.
        tokio::select! {
            (stream, peer, permit) = accept(&listener, &room) => {
                let router = router.clone().layer(Extension(Peer(peer))).layer(Extension(Leaving(leaving.clone())));
                connections.spawn(connection(stream, router, leaving.clone(), permit));
            }
            Some(_ended) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    farewell.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so the permit is always there.
    let permit = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, permit),
            Err(error) => {
                tracing::warn!(error = %error, "could not accept API connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    mut leaving: watch::Receiver<bool>,
    _permit: Option<OwnedSemaphorePermit>,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    // Both are cancel safe: the connection is polled on, and the signal stays set.
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = async { drop(leaving.wait_for(|leaving| *leaving).await) } => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "API connection ended");
    }
}
