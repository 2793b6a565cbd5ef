//! A few side connections to one database, for questions in transactions that are rolled back.
//!
//! Never used for a client's statements. Invariant: what is put back is in no transaction and has nothing set; what is
//! not put back is closed.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::Client;
use tokio_rustls::TlsConnector;

use crate::catalog::side::Side;
use crate::config::UpstreamConfig;

/// See the module documentation.
pub(crate) struct SidePool {
    upstream: UpstreamConfig,
    tls: Option<TlsConnector>,
    turns: Semaphore,
    idle: Mutex<Vec<Side>>,
}

impl SidePool {
    /// One that connects when it is first asked, and at most so often at the same time.
    pub(crate) fn new(upstream: UpstreamConfig, tls: Option<TlsConnector>, connections_max: usize) -> Self {
        Self { upstream, tls, turns: Semaphore::new(connections_max), idle: Mutex::default() }
    }

    /// A connection, once it is its turn; `None` when there is none to be had.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn take(&self) -> Option<Lent<'_>> {
        let turn = self.turns.acquire().await.ok()?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let side = match idle.filter(|side| !side.is_closed()) {
            Some(side) => side,
            None => match Side::connect_plain(&self.upstream, self.tls.as_ref()).await {
                Ok(side) => side,
                Err(error) => {
                    tracing::warn!(%error, "could not connect to ask the upstream");
                    return None;
                }
            },
        };
        Some(Lent { pool: self, side, _turn: turn })
    }
}

/// A connection that is in use.
pub(crate) struct Lent<'a> {
    pool: &'a SidePool,
    side: Side,
    _turn: SemaphorePermit<'a>,
}

impl Lent<'_> {
    pub(crate) fn client(&self) -> &Client {
        self.side.client()
    }

    /// Rolls back and gives the connection back.
    pub(crate) async fn put_back(self) {
        if self.side.client().batch_execute("ROLLBACK").await.is_ok() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.side);
        }
    }
}
