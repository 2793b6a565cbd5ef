//! The running proxy: listeners, sessions, API, sweeper, and what they share.
//!
//! Never touches a statement. Invariant: every task it starts has ended when [`Server::shutdown`] returns.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use crate::audit::{Audit, AuditError, Record};
use crate::cancel::CancelRegistry;
use crate::catalog::{CatalogOptions, CatalogService};
use crate::config::{Config, DatabaseConfig, ListenAddress, SslMode};
use crate::connection::{self, Newcomer};
use crate::database::Database;
use crate::limits::Places;
use crate::listener::Listener;
use crate::live::{Live, LiveEvent};
use crate::review::{Review, ReviewError};
use crate::session::startup::{StartupContext, mock_secret};
use crate::store::{SqliteStore, StoreError};
use crate::telemetry::VerdictCounters;
use crate::tls::{self, TlsError};
use crate::web::{self, ApiState};

/// How long sessions may finish what they are doing after the proxy was told to stop.
const DRAIN: Duration = Duration::from_secs(20);

/// What every session needs.
pub(crate) struct Shared {
    config: Arc<ArcSwap<Config>>,
    databases: ArcSwap<HashMap<String, Arc<Database>>>,
    pub(crate) startup: StartupContext,
    pub(crate) review: Arc<Review>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) cancels: CancelRegistry,
    pub(crate) places: Places,
    pub(crate) live: Live,
    pub(crate) verdicts: VerdictCounters,
    sessions: AtomicU64,
    /// Distinguishes the sessions of this process from those of earlier ones in the audit trail.
    started: Timestamp,
    web: SocketAddr,
}

impl Shared {
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    pub(crate) fn database(&self, name: &str) -> Option<Arc<Database>> {
        self.databases.load().get(name).cloned()
    }

    /// A name for a new session, unique in the audit trail.
    pub(crate) fn session_name(&self) -> String {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.started.as_second())
    }

    /// Base of links to access requests.
    pub(crate) fn public_url(&self) -> String {
        let config = self.config();
        match config.web.listen.port() {
            // The configuration could not know the port that the system chose.
            0 => format!("http://{}", self.web),
            _ => config.web.public_url.clone(),
        }
    }
}

/// A running proxy.
pub struct Server {
    shared: Arc<Shared>,
    postgres: Vec<ListenAddress>,
    drain: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Why the proxy cannot start or take over a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be bound.
    #[error("could not listen on {address}")]
    Listen {
        /// The address as configured.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("could not use data directory {path}")]
    DataDir {
        /// The directory.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Certificate or key of `[tls]`, or a root certificate, cannot be used.
    #[error("could not set up TLS")]
    Tls(#[from] TlsError),
    /// The audit trail cannot be opened.
    #[error("could not open the audit trail")]
    Audit(#[from] AuditError),
    /// The store cannot be opened.
    #[error("could not open the store")]
    Store(#[from] StoreError),
    /// Requests left by an earlier run cannot be settled.
    #[error("could not settle the requests of an earlier run")]
    Recover(#[from] ReviewError),
}

impl Server {
    /// Starts everything; returns once clients can connect.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub async fn start(mut config: Config, metrics: PrometheusHandle) -> Result<Self, ServerError> {
        let data_dir = config.data_dir.clone();
        let unusable = |source| ServerError::DataDir { path: data_dir.display().to_string(), source };
        std::fs::create_dir_all(&data_dir).map_err(unusable)?;
        config.ensure_mask_key().map_err(unusable)?;
        let now = Timestamp::now();
        let audit = Arc::new(Audit::open(&data_dir.join("audit"), now)?);
        record_config(&audit, &config);
        let store = Arc::new(SqliteStore::open(&data_dir)?);
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let secret = mock_secret(&data_dir).map_err(unusable)?;
        let databases = databases(&config, &HashMap::new()).await?;
        let listeners = listeners(&config)?;
        let web_listener = tokio::net::TcpListener::bind(config.web.listen)
            .await
            .map_err(|source| ServerError::Listen { address: config.web.listen.to_string(), source })?;
        let web = web_listener
            .local_addr()
            .map_err(|source| ServerError::Listen { address: config.web.listen.to_string(), source })?;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let review = Review::new(store, Arc::clone(&audit), Arc::clone(&config));
        review.recover(now).await?;
        let shared = Arc::new(Shared {
            startup: StartupContext::new(Arc::clone(&config), acceptor, secret),
            config: Arc::clone(&config),
            databases: ArcSwap::from_pointee(databases),
            review: Arc::clone(&review),
            audit,
            cancels: CancelRegistry::new(),
            places: Places::default(),
            live: Live::default(),
            verdicts: VerdictCounters::new(),
            sessions: AtomicU64::new(1),
            started: now,
            web,
        });
        let mut server = Self {
            postgres: listeners.iter().map(|listener| listener.local_addr().clone()).collect(),
            shared,
            drain: watch::Sender::new(false),
            tasks: JoinSet::new(),
        };
        server.spawn(listeners, web_listener, ApiState { review, config, metrics });
        Ok(server)
    }

    fn spawn(&mut self, listeners: Vec<Listener>, web_listener: tokio::net::TcpListener, state: ApiState) {
        for listener in listeners {
            self.tasks.spawn(accept(listener, Arc::clone(&self.shared), self.drain.subscribe()));
        }
        let review = Arc::clone(&self.shared.review);
        let mut drain = self.drain.subscribe();
        self.tasks.spawn(async move { review.run_sweeper(stopped(&mut drain)).await });
        let mut drain = self.drain.subscribe();
        self.tasks.spawn(async move {
            if let Err(error) = web::serve(web_listener, state, async move { stopped(&mut drain).await }).await {
                tracing::error!(%error, "the API has stopped");
            }
        });
    }

    /// Where PostgreSQL clients connect.
    #[must_use]
    pub fn postgres(&self) -> &[ListenAddress] {
        &self.postgres
    }

    /// Where the API is served.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        self.shared.web
    }

    /// Watches what happens.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<LiveEvent> {
        self.shared.live.subscribe()
    }

    /// Takes over a configuration. Addresses and the data directory stay as they are until the next start.
    ///
    /// # Errors
    /// When its TLS files or the mask key cannot be used; the old configuration stays in force.
    pub async fn reload(&self, mut config: Config) -> Result<(), ServerError> {
        config
            .ensure_mask_key()
            .map_err(|source| ServerError::DataDir { path: config.data_dir.display().to_string(), source })?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let databases = databases(&config, &self.shared.databases.load()).await?;
        record_config(&self.shared.audit, &config);
        self.shared.startup.replace_tls(acceptor);
        self.shared.databases.store(Arc::new(databases));
        tracing::info!(revision = %config.policy.revision, "configuration reloaded");
        self.shared.config.store(Arc::new(config));
        Ok(())
    }

    /// Stops accepting, lets sessions finish for a while, then ends everything.
    pub async fn shutdown(mut self) {
        self.drain.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!("sessions did not finish in time");
        }
        self.tasks.shutdown().await;
    }
}

fn record_config(audit: &Audit, config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let record = Record::Config { revision: &config.policy.revision, warnings: &config.warnings };
    if let Err(error) = audit.record(Timestamp::now(), &record) {
        tracing::error!(%error, "could not record the configuration");
    }
}

fn listeners(config: &Config) -> Result<Vec<Listener>, ServerError> {
    config
        .listen
        .iter()
        .map(|address| {
            Listener::bind(address).map_err(|source| ServerError::Listen { address: address.to_string(), source })
        })
        .collect()
}

/// The databases of a configuration; those whose upstream is the same are kept with their catalogs.
async fn databases(
    config: &Config,
    known: &HashMap<String, Arc<Database>>,
) -> Result<HashMap<String, Arc<Database>>, ServerError> {
    let mut databases = HashMap::new();
    for database in &config.databases {
        let kept = known.get(&database.name).filter(|old| old.is_for(&database.upstream)).cloned();
        let entry = match kept {
            Some(kept) => kept,
            None => Arc::new(open_database(database).await?),
        };
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
    let catalog = CatalogService::start(database, tls, CatalogOptions::default()).await;
    if let Err(error) = catalog.status() {
        tracing::warn!(database = %database.name, %error, "catalog not loaded yet; clients are refused until it is");
    }
    Ok(Database::new(catalog, upstream.clone()))
}

/// Accepts clients until the drain begins, then waits for their sessions.
async fn accept(listener: Listener, shared: Arc<Shared>, drain: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    let mut stop = drain.clone();
    loop {
        tokio::select! {
            (stream, peer) = listener.accept() => match shared.places.take_stranger(&shared.config()) {
                Ok(place) => {
                    let newcomer = Newcomer { stream, peer, place };
                    sessions.spawn(connection::serve(newcomer, Arc::clone(&shared), drain.clone()));
                }
                Err(full) => {
                    tracing::info!(limit = ?full, "client refused");
                    stream.turn_away(&full.message());
                }
            },
            Some(_) = sessions.join_next() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// Completes when the drain has begun.
///
/// # Cancel safety
/// Cancel safe.
async fn stopped(drain: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is an end too.
    let _ = drain.wait_for(|stop| *stop).await;
}
