//! Every kind of store, for tests that hold for each.
//!
//! Never shares a database between tests. Invariant: what is opened again is what was opened before.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::config::{SslMode, TcpConfig, UpstreamConfig};
use crate::store::outbox::Outbox;
use crate::store::{Callers, PostgresStore, SqliteStore, Store, StoreError};
use crate::throwaway::{SUPERUSER, ThrowawayOptions, ThrowawayPostgres};

static SERVER: LazyLock<ThrowawayPostgres> = LazyLock::new(|| {
    // The caller may be inside a runtime, which must not be blocked on.
    let start = std::thread::spawn(|| ThrowawayPostgres::start(&ThrowawayOptions::default()).unwrap());
    start.join().unwrap()
});
static SERIAL: AtomicU32 = AtomicU32::new(1);

/// A store that can be opened.
pub(crate) struct Place {
    /// The data directory.
    pub(crate) dir: Arc<tempfile::TempDir>,
    database: Option<String>,
}

impl Place {
    /// A file of its own.
    pub(crate) fn sqlite() -> Self {
        Self { dir: Arc::new(tempfile::tempdir().unwrap()), database: None }
    }

    /// A database of its own.
    pub(crate) async fn postgres() -> Self {
        let name = format!("store_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        SERVER.execute("postgres", &format!("CREATE DATABASE {name}")).await.unwrap();
        Self { dir: Arc::new(tempfile::tempdir().unwrap()), database: Some(name) }
    }

    /// The same store as another proxy sees it, which has a data directory of its own.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { dir: Arc::new(tempfile::tempdir().unwrap()), database: self.database.clone() }
    }

    /// One of each kind.
    pub(crate) async fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match &self.database {
            None => Ok(Arc::new(SqliteStore::open(self.dir.path())?)),
            Some(_) => Ok(Arc::new(self.open_postgres(Duration::from_secs(10)).await?)),
        }
    }

    /// What it keeps of callers.
    pub(crate) async fn open_callers(&self) -> Arc<dyn Callers> {
        match &self.database {
            None => Arc::new(SqliteStore::open(self.dir.path()).unwrap()),
            Some(_) => Arc::new(self.open_postgres(Duration::from_secs(10)).await.unwrap()),
        }
    }

    /// Opened once, with what is to be told.
    pub(crate) async fn open_outbox(&self) -> (Arc<dyn Store>, Arc<dyn Outbox>) {
        match &self.database {
            None => {
                let store = Arc::new(SqliteStore::open(self.dir.path()).unwrap());
                (Arc::<SqliteStore>::clone(&store), store)
            }
            Some(_) => {
                let store = Arc::new(self.open_postgres(Duration::from_secs(10)).await.unwrap());
                (Arc::<PostgresStore>::clone(&store), store)
            }
        }
    }

    pub(crate) async fn open_postgres(&self, lease: Duration) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(self.dir.path(), &self.upstream(), lease).await
    }

    /// Where the database is.
    pub(crate) fn upstream(&self) -> UpstreamConfig {
        UpstreamConfig {
            host: SERVER.socket_directory().display().to_string(),
            port: SERVER.port(),
            database: self.database.clone().unwrap(),
            user: SUPERUSER.to_owned(),
            password: None,
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            ssl_identity: None,
            connect_timeout: Duration::from_secs(10),
            tcp: TcpConfig::default(),
        }
    }

    /// A connection past the store.
    pub(crate) fn superuser(&self) -> tokio_postgres::Config {
        SERVER.superuser(self.database.as_deref().unwrap())
    }

    /// Lets nobody connect any more, and ends all connections; or lets them connect again.
    pub(crate) async fn set_away(&self, away: bool) {
        let name = self.database.as_deref().unwrap();
        SERVER.execute("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !away)).await.unwrap();
        // Only then does nobody come back in between.
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {away} AND datname = '{name}'");
        SERVER.execute("postgres", &end).await.unwrap();
    }

    /// Runs statements past the store.
    pub(crate) async fn execute(&self, statements: &str) {
        match &self.database {
            Some(database) => SERVER.execute(database, statements).await.unwrap(),
            None => rusqlite::Connection::open(self.dir.path().join("countersign.db"))
                .and_then(|connection| connection.execute_batch(&statements.replace("countersign.", "")))
                .unwrap(),
        }
    }
}
