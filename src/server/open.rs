//! What the proxy opens and settles before it serves: the store, and the databases of a configuration.
//!
//! Never fails for an upstream that is away: its clients are refused until it is back. Invariant: a database whose upstream stays
//! the same keeps its catalog over a reload.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::ServerError;
use crate::audit;
use crate::catalog::{CatalogOptions, CatalogService};
use crate::config::{AuditConfig, Config, DatabaseConfig, SslMode, StoreConfig};
use crate::database::Database;
use crate::notify::Notifier;
use crate::review::Review;
use crate::store::outbox::Outbox;
use crate::store::{Callers, PostgresStore, SqliteStore, Store, StoreError};
use crate::tls;

/// How the trail is kept; its keys are made when there are none.
pub(super) fn trail_options(config: &AuditConfig, data_dir: &Path) -> io::Result<audit::Options> {
    Ok(audit::Options {
        signer: Some(config.signer(data_dir)?),
        checkpoint_after: config.checkpoint,
        retention: config.retention,
        literals_key: config.literals_key(data_dir)?,
        ..audit::Options::default()
    })
}

/// One store: of requests, of callers, and of what is to be told.
type Opened = (Arc<dyn Store>, Arc<dyn Callers>, Arc<dyn Outbox>);

/// Opens the store.
pub(super) async fn open_store(config: &Config) -> Result<Opened, StoreError> {
    Ok(match &config.store {
        StoreConfig::Sqlite => {
            let store = Arc::new(SqliteStore::open(&config.data_dir)?);
            (Arc::<SqliteStore>::clone(&store), Arc::<SqliteStore>::clone(&store), store)
        }
        StoreConfig::Postgres { upstream, lease } => {
            let store = Arc::new(PostgresStore::open(&config.data_dir, upstream, *lease).await?);
            (Arc::<PostgresStore>::clone(&store), Arc::<PostgresStore>::clone(&store), store)
        }
    })
}

/// Ends what an earlier run has left; who is to be told of that is named before.
pub(super) async fn settle(
    review: &Review,
    notifier: &Notifier,
    trail: &Path,
    now: Timestamp,
) -> Result<(), ServerError> {
    review.refresh_people().await?;
    notifier.begin().await?;
    review.catch_up(trail, now).await?;
    review.recover(now).await?;
    Ok(())
}

/// The databases of a configuration; those whose upstream is the same are kept with their catalogs.
pub(super) async fn databases(
    config: &Config,
    known: &HashMap<String, Arc<Database>>,
) -> Result<HashMap<String, Arc<Database>>, ServerError> {
    let mut databases = HashMap::new();
    for database in &config.databases {
        let kept = known.get(&database.name).filter(|old| old.is_for(database)).cloned();
        let entry = match kept {
            Some(kept) => kept,
            None => Arc::new(open_database(database).await?),
        };
        entry.prepare(config).await;
        databases.insert(database.name.clone(), entry);
    }
    Ok(databases)
}

async fn open_database(database: &DatabaseConfig) -> Result<Database, ServerError> {
    let upstream = &database.upstream;
    let tls = match upstream.ssl_mode {
        SslMode::Disable => None,
        SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Some(tls::connector(upstream)?),
    };
    let catalog = CatalogService::start(database, tls.clone(), CatalogOptions::default()).await;
    if let Err(error) = catalog.status() {
        tracing::warn!(database = %database.name, %error, "catalog not loaded yet; clients are refused until it is");
    }
    Ok(Database::new(catalog, database, tls))
}
