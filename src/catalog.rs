//! Keeps one immutable snapshot of a database's catalog up to date over a side connection.
//!
//! Never touches a session's own connection and never writes upstream (the side connection is read-only).
//! Invariant: a published snapshot is whole and is never changed; before the first load it is empty, and an empty
//! catalog knows no name, so everything that depends on it is not understood.

mod consequences;
mod definitions;
mod digest;
mod functions;
mod load;
pub(crate) mod look;
mod members;
mod queries;
mod settings;
pub(crate) mod side;
pub mod tls;
mod worker;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign_policy::Catalog;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::config::DatabaseConfig;
use crate::newer::newer;
use crate::roles::Memberships;

/// Callers of [`CatalogService::refresh`] that can wait in line; more wait for a place.
const WAITERS_MAX: usize = 256;

/// Times and limits of a [`CatalogService`].
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// How often the database is asked whether its catalog changed.
    pub poll_interval: Duration,
    /// `statement_timeout` of the side connection, and our own limit for one load.
    pub load_timeout: Duration,
    /// The longest pause between attempts to connect.
    pub retry_max: Duration,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(5),
            load_timeout: Duration::from_secs(30),
            retry_max: Duration::from_secs(30),
        }
    }
}

/// Why there is no (fresh) snapshot. Its texts never repeat what the upstream said; the cause is the source.
#[derive(Clone, Debug, Error)]
pub enum CatalogError {
    /// Nothing has been loaded so far.
    #[error("the catalog has not been loaded yet")]
    NotLoaded,
    /// The side connection could not be made.
    #[error("could not connect to the upstream to load its catalog")]
    Connect(#[source] Arc<tokio_postgres::Error>),
    /// A query failed or returned something else than it should.
    #[error("could not load {what} from the upstream's catalog")]
    Query {
        /// What was being loaded.
        what: &'static str,
        /// The cause.
        #[source]
        source: Arc<tokio_postgres::Error>,
    },
    /// A row holds a code that no supported version of PostgreSQL uses.
    #[error("the upstream's catalog holds an unknown {what}")]
    Unexpected {
        /// Name of the catalog column.
        what: &'static str,
    },
    /// There is more of it than is read.
    #[error("there are more than {limit} {what} upstream")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is read.
        limit: usize,
    },
    /// Connecting or loading took too long.
    #[error("loading the upstream's catalog timed out")]
    Timeout,
    /// The service has been dropped.
    #[error("the catalog service has stopped")]
    Stopped,
}

/// The catalog of one configured database.
#[derive(Debug)]
pub struct CatalogService {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Waiter>,
    worker: JoinHandle<()>,
}

/// Someone who waits for a load that starts after they asked.
type Waiter = oneshot::Sender<Result<Arc<Catalog>, CatalogError>>;

/// What the worker publishes.
#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Catalog>,
    /// Why the last attempt failed; `None` when it succeeded.
    failure: ArcSwapOption<CatalogError>,
    /// Who is a member of which role, where that counts; `None` when it could not be read.
    memberships: ArcSwapOption<Memberships>,
    wanted: Notify,
    preparation: Preparation,
}

/// What makes something of a snapshot.
type Make = dyn Fn(&Catalog) + Send + Sync;

/// What is made of a snapshot before it is published, beside the sessions' threads.
#[derive(Default)]
struct Preparation(OnceLock<Arc<Make>>);

impl std::fmt::Debug for Preparation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Preparation").field(&self.0.get().is_some()).finish()
    }
}

impl CatalogService {
    /// Starts the service and waits for its first attempt to load, successful or not; later attempts follow by
    /// themselves. `tls` is used when the database's `sslmode` asks for TLS.
    pub async fn start(database: &DatabaseConfig, tls: Option<TlsConnector>, options: CatalogOptions) -> Arc<Self> {
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Catalog::default()),
            failure: ArcSwapOption::from_pointee(CatalogError::NotLoaded),
            memberships: ArcSwapOption::empty(),
            wanted: Notify::new(),
            preparation: Preparation::default(),
        });
        let (orders, inbox) = mpsc::channel(WAITERS_MAX);
        let worker = worker::Worker::new(database, tls, options, Arc::clone(&shared));
        let service = Arc::new(Self { shared, orders, worker: tokio::spawn(worker.run(inbox)) });
        // Its failure is kept in `status`, which is what callers ask.
        drop(service.refresh().await);
        service
    }

    /// The newest snapshot; empty, with version 0, before the first load. Takes no lock.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Catalog> {
        self.shared.snapshot.load_full()
    }

    /// The newest snapshot, unless it is the one that is known.
    #[must_use]
    pub(crate) fn newer_than(&self, known: &Arc<Catalog>) -> Option<Arc<Catalog>> {
        newer(&self.shared.snapshot, known)
    }

    /// Whether the last attempt to look at the upstream's catalog succeeded. After a failure [`Self::snapshot`] still
    /// yields the last good one, which may be out of date.
    ///
    /// # Errors
    ///
    /// Why the last attempt failed, or [`CatalogError::NotLoaded`].
    pub fn status(&self) -> Result<(), CatalogError> {
        match self.shared.failure.load_full() {
            Some(failure) => Err(CatalogError::clone(&failure)),
            None => Ok(()),
        }
    }

    /// Whether a snapshot has ever been loaded.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.shared.snapshot.load().version() != 0
    }

    /// Who is a member of which role; `None` when that does not count on this database, or could not be read the last time.
    /// The same value as long as nothing has changed. Takes no lock.
    #[must_use]
    pub fn memberships(&self) -> Option<Arc<Memberships>> {
        self.shared.memberships.load_full()
    }

    /// A snapshot, and memberships, that show everything committed before this call. Concurrent callers share one load. When nothing has
    /// changed it is the same snapshot as before, with the same version.
    ///
    /// # Errors
    ///
    /// Why it could not be loaded; the old snapshot stays.
    ///
    /// # Cancel safety
    ///
    /// Cancelling loses the answer only; the load goes on.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, CatalogError> {
        let (waiter, answer) = oneshot::channel();
        self.orders.send(waiter).await.map_err(|_| CatalogError::Stopped)?;
        answer.await.map_err(|_| CatalogError::Stopped)?
    }

    /// Has this made of every snapshot from now on before it is published; only the first that is given counts.
    pub(crate) fn prepare_with(&self, make: impl Fn(&Catalog) + Send + Sync + 'static) {
        drop(self.shared.preparation.0.set(Arc::new(make)));
    }

    /// Asks for a refresh without waiting for it.
    pub fn request_refresh(&self) {
        self.shared.wanted.notify_one();
    }
}

impl Drop for CatalogService {
    fn drop(&mut self) {
        self.worker.abort();
    }
}
