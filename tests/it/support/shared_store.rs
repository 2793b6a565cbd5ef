//! A store on PostgreSQL for several proxies.
//!
//! Never shared between tests. Invariant: it is a database of its own, which the proxies' own role owns.

use std::sync::atomic::{AtomicU32, Ordering};

use countersign::demo::shop;

use super::server::SERVER;

static SERIAL: AtomicU32 = AtomicU32::new(1);

/// A database for access requests.
pub struct SharedStore {
    name: String,
}

impl SharedStore {
    /// Makes an empty one.
    pub async fn create() -> Self {
        let name = format!("requests_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let statement = format!("CREATE DATABASE {name} OWNER {}", shop::SHOP_ROLE);
        SERVER.execute("postgres", &statement).await.expect("database of the store");
        Self { name }
    }

    /// `[store]` of a proxy that uses it.
    pub fn fragment(&self, lease: &str) -> String {
        format!(
            r#"
[store]
url = "postgres://{}@127.0.0.1:{}/{}?sslmode=disable"
password = {{ env = "COUNTERSIGN_TEST_UPSTREAM_PASSWORD" }}
lease = "{lease}"
"#,
            shop::SHOP_ROLE,
            SERVER.port(),
            self.name
        )
    }

    /// The checkpoints that it keeps, as `audit verify --anchors` reads them.
    pub async fn anchors(&self) -> Vec<String> {
        let text = "SELECT seq || ':' || hash FROM countersign.audit_anchors ORDER BY seq";
        let (client, connection) =
            SERVER.superuser(&self.name).connect(tokio_postgres::NoTls).await.expect("the store");
        let asking = async move { client.query(text, &[]).await.expect("anchors") };
        let (rows, ended) = futures_util::future::join(asking, connection).await;
        ended.expect("the end of the connection");
        rows.into_iter().map(|row| row.get(0)).collect()
    }

    /// Lets nobody connect any more, and ends all connections; or lets them connect again.
    pub async fn set_away(&self, away: bool) {
        let allow = format!("ALTER DATABASE {} ALLOW_CONNECTIONS {}", self.name, !away);
        SERVER.execute("postgres", &allow).await.expect("access to the store");
        // Only then does nobody come back in between.
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {away} AND datname = '{}'",
            self.name
        );
        SERVER.execute("postgres", &end).await.expect("end of connections to the store");
    }
}
