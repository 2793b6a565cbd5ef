//! The side connection: how it is made and what is set on it.
//!
//! Never used for a client's statements. Invariant: read-only, an empty search path (so that every name PostgreSQL
//! prints outside `pg_catalog` is qualified), and time limits on statements and locks.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};
use tokio_rustls::TlsConnector;

use super::tls::MakeRustlsConnect;
use super::{CatalogError, CatalogOptions};
use crate::config::{Secret, SslMode, UpstreamConfig};

pub(crate) struct Side {
    client: Client,
    connection: JoinHandle<()>,
}

impl Side {
    pub(crate) async fn connect(
        upstream: &UpstreamConfig,
        tls: Option<&TlsConnector>,
        options: &CatalogOptions,
    ) -> Result<Self, CatalogError> {
        timeout(upstream.connect_timeout, Self::connect_and_set(upstream, tls, options))
            .await
            .map_err(|_| CatalogError::Timeout)?
    }

    async fn connect_and_set(
        upstream: &UpstreamConfig,
        tls: Option<&TlsConnector>,
        options: &CatalogOptions,
    ) -> Result<Self, CatalogError> {
        let side = Self::connect_plain(upstream, tls).await?;
        let limit_ms = options.load_timeout.as_millis();
        let set = format!(
            "SET search_path = ''; SET jit = off; SET default_transaction_read_only = on; SET lock_timeout = '100ms'; \
             SET statement_timeout = {limit_ms}; SET idle_in_transaction_session_timeout = {limit_ms}"
        );
        side.client.batch_execute(&set).await.map_err(|error| CatalogError::Connect(Arc::new(error)))?;
        Ok(side)
    }

    /// Connects as a new session of the upstream role would find itself, with nothing set.
    pub(crate) async fn connect_plain(
        upstream: &UpstreamConfig,
        tls: Option<&TlsConnector>,
    ) -> Result<Self, CatalogError> {
        let failed = |error| CatalogError::Connect(Arc::new(error));
        let config = settings(upstream, "countersign catalog");
        // The connection's own error also ends the client, whose next query reports it.
        let (client, connection) = match tls {
            Some(tls) if upstream.ssl_mode != SslMode::Disable => {
                let make = MakeRustlsConnect::new(tls.clone());
                let (client, connection) = config.connect(make).await.map_err(failed)?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
            Some(_) | None => {
                let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
        };
        Ok(Self { client, connection })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// How `tokio_postgres` connects there.
pub(crate) fn settings(upstream: &UpstreamConfig, application: &str) -> Config {
    let mut config = Config::new();
    config
        .host(&upstream.host)
        .port(upstream.port)
        .user(&upstream.user)
        .dbname(&upstream.database)
        .connect_timeout(upstream.connect_timeout)
        .application_name(application)
        .ssl_mode(match upstream.ssl_mode {
            SslMode::Disable => tokio_postgres::config::SslMode::Disable,
            SslMode::Prefer => tokio_postgres::config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
        });
    if let Some(password) = upstream.password.as_ref().map(Secret::expose) {
        config.password(password);
    }
    config
}
