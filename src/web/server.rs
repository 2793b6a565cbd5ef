//! Accepts connections and serves the router on them.
//!
//! Never waits for a peer without a limit: headers, idle connections, their number and the farewell are all bounded.
//! Invariant: every connection task is joined or aborted before [`serve`] returns.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::events::Leaving;
use super::peer::Peer;
use super::room::{Place, Room, Watch};
use super::{ApiState, router};

/// Connections at the same time. For one more, one on which nothing is served is ended.
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
    serve_at_most(CONNECTIONS_MAX, listener, state, shutdown).await
}

pub(super) async fn serve_at_most(
    most: usize,
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "API listens");
    let router = router(state);
    let room = Room::new(most);
    let (farewell, leaving) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // All branches are cancel safe: a connection is either taken or not.
        tokio::select! {
            (stream, peer) = accept(&listener) => {
                let Some(place) = room.enter(peer.ip()) else {
                    tracing::warn!("connection refused: calls are served on as many as there may be");
                    continue;
                };
                let router = router.clone().layer(middleware::from_fn_with_state(place.watch(), watched));
                let router = router.layer(Extension(Peer(peer))).layer(Extension(Leaving(leaving.clone())));
                connections.spawn(connection(stream, router, leaving.clone(), place));
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

async fn watched(axum::extract::State(watch): axum::extract::State<Watch>, request: Request, next: Next) -> Response {
    let answer = next.run(watch.arrives(request)).await;
    watch.answers(answer)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(error = %error, "could not accept API connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, mut leaving: watch::Receiver<bool>, place: Place) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    // All are cancel safe: the connection is polled on, and the signals stay set.
    let ended = tokio::select! {
        ended = serving.as_mut() => Some(ended),
        () = place.lost() => {
            tracing::debug!("API connection ended to make room");
            return;
        }
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
