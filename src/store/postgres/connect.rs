//! One connection to the shared store.
//!
//! Never used before it is known to lead to a server that can be written, with a schema this program knows.
//! Invariant: a call that is not answered in time ends the connection, so that nothing comes after it unseen.

use std::future::poll_fn;
use std::time::Duration;

use dashmap::DashMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Socket, Statement};
use tokio_rustls::TlsConnector;

use super::schema;
use crate::catalog::side;
use crate::catalog::tls::{MakeRustlsConnect, RustlsStream};
use crate::config::{SslMode, UpstreamConfig};
use crate::store::StoreError;
use crate::tls;

/// How long the store may take to answer one call.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(3);
/// Notifications that may wait until they are looked at; beyond it the connection is ended and begun anew.
const NOTIFICATIONS_MAX: usize = 65_536;

/// What a session of ours is like, whatever is set for the role or the database. The server gives up on a statement
/// before we do, so that what was called failed does not happen later.
const SETTINGS: &str = "SET search_path = ''; SET jit = off; SET default_transaction_read_only = off; \
    SET default_transaction_isolation = 'read committed'; SET statement_timeout = '2500ms'; SET lock_timeout = '2000ms'; \
    SET idle_in_transaction_session_timeout = '5s'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Says that this session is one of installation `$1`, and asks whether the server is a standby.
const BEGIN: &str =
    "SELECT pg_catalog.pg_is_in_recovery() FROM pg_catalog.set_config('countersign.installation', $1, false)";

/// Where the store is and how to get there.
pub(super) struct Target {
    /// What rows that are made through it are signed with.
    installation: String,
    config: tokio_postgres::Config,
    tls: Option<TlsConnector>,
    limit: Duration,
    pub(super) address: String,
}

impl Target {
    pub(super) fn new(upstream: &UpstreamConfig, installation: &str) -> Result<Self, StoreError> {
        let mut config = side::settings(upstream, "countersign store");
        config.keepalives_idle(Duration::from_secs(10)).tcp_user_timeout(Duration::from_secs(10));
        let is_socket = upstream.host.starts_with('/');
        let tls = match upstream.ssl_mode {
            SslMode::Disable => None,
            _ if is_socket => None,
            SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                Some(tls::connector(upstream)?)
            }
        };
        if tls.is_none() {
            config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        }
        let address = format!("{}:{}/{}", upstream.host, upstream.port, upstream.database);
        let installation = installation.to_owned();
        Ok(Self { installation, config, tls, limit: upstream.connect_timeout, address })
    }

    /// Connects; with `notifications` the payloads that come are handed there.
    pub(super) async fn connect(&self, notifications: Option<mpsc::Sender<String>>) -> Result<Conn, StoreError> {
        let connected = tokio::time::timeout(self.limit, self.connect_and_set(notifications)).await;
        connected.unwrap_or_else(|_elapsed| Err(self.failed("timed out")))
    }

    async fn connect_and_set(&self, notifications: Option<mpsc::Sender<String>>) -> Result<Conn, StoreError> {
        let failed = |error: tokio_postgres::Error| self.failed(error);
        let (alive, ended) = watch::channel(());
        let (client, driver) = match &self.tls {
            Some(tls) => {
                let (client, connection): (_, Connection<Socket, RustlsStream<Socket>>) =
                    self.config.connect(MakeRustlsConnect::new(tls.clone())).await.map_err(failed)?;
                (client, tokio::spawn(drive(connection, notifications, alive)))
            }
            None => {
                let (client, connection): (_, Connection<Socket, NoTlsStream>) =
                    self.config.connect(NoTls).await.map_err(failed)?;
                (client, tokio::spawn(drive(connection, notifications, alive)))
            }
        };
        let conn = Conn { client, driver, ended, statements: DashMap::new() };
        conn.client.batch_execute(SETTINGS).await.map_err(failed)?;
        let row = conn.client.query_one(BEGIN, &[&self.installation]).await.map_err(failed)?;
        if row.try_get(0)? { Err(StoreError::Standby(self.address.clone())) } else { Ok(conn) }
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Connect { address: self.address.clone(), source: source.into() }
    }

    /// Connects to a store whose schema is in place, and still one that this program knows.
    pub(super) async fn connect_to_schema(
        &self,
        notifications: Option<mpsc::Sender<String>>,
    ) -> Result<Conn, StoreError> {
        let conn = self.connect(notifications).await?;
        schema::check(&conn).await?;
        Ok(conn)
    }
}

/// Moves the bytes of a connection, and hands on what others notify us of.
async fn drive<T>(
    mut connection: Connection<Socket, T>,
    notifications: Option<mpsc::Sender<String>>,
    _alive: watch::Sender<()>,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // The connection's own error also ends the client, whose next call reports it.
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let (AsyncMessage::Notification(notification), Some(notifications)) = (message, &notifications)
            && notifications.try_send(notification.payload().to_owned()).is_err()
        {
            return;
        }
    }
}

/// Room for notifications.
pub(super) fn notifications() -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    mpsc::channel(NOTIFICATIONS_MAX)
}

/// An open connection. Calls made at the same time are pipelined.
pub(super) struct Conn {
    client: Client,
    driver: JoinHandle<()>,
    /// Its other end goes with the driver.
    ended: watch::Receiver<()>,
    statements: DashMap<&'static str, Statement>,
}

impl Conn {
    pub(super) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a statement that is prepared once per connection.
    ///
    /// # Cancel safety
    /// When the future is dropped the statement may or may not run.
    pub(super) async fn query(
        &self,
        text: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let known = self.statements.get(text).map(|statement| statement.value().clone());
        let statement = match known {
            Some(statement) => statement,
            None => {
                let statement = self.client.prepare(text).await?;
                self.statements.insert(text, statement.clone());
                statement
            }
        };
        Ok(self.client.query(&statement, parameters).await?)
    }

    /// Waits for a call, but not for ever.
    pub(super) async fn within<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match tokio::time::timeout(CALL_LIMIT, call).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                self.driver.abort();
                Err(StoreError::Timeout)
            }
        }
    }

    /// Completes when the connection has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn ended(&self) {
        // It never changes: this is the error of a sender that is gone.
        drop(self.ended.clone().changed().await);
    }

    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
