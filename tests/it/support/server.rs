//! One throwaway PostgreSQL per test process, one database per test.
//!
//! Never shares a database between tests. Invariant: every database starts as a copy of the same sample shop.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign::audit::Literals;
use countersign::config::{
    Correlation, DatabaseAuth, DatabaseConfig, GroupsFrom, Secret, SslMode, TcpConfig, UpstreamConfig,
};
use countersign::demo::shop;
use countersign::throwaway::{LogStatement, ThrowawayOptions, ThrowawayPostgres};
use tokio_postgres::{Client, NoTls};

/// Password of the role that the proxy uses upstream.
pub const UPSTREAM_PASSWORD: &str = "upstream-password-not-a-secret";

const TEMPLATE: &str = "shop_template";

/// The server logs every statement, so that tests can show what did not arrive.
pub static SERVER: LazyLock<ThrowawayPostgres> = LazyLock::new(|| {
    // The caller may be inside a runtime, which must not be blocked on.
    let start = std::thread::spawn(|| {
        let options = ThrowawayOptions {
            log_statement: LogStatement::All,
            settings: vec![("log_line_prefix".to_owned(), "%m [%p] %d ".to_owned())],
            ..ThrowawayOptions::default()
        };
        let server = ThrowawayPostgres::start(&options).unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            shop::create_role(&server, UPSTREAM_PASSWORD).await.expect("role");
            shop::create_database(&server, TEMPLATE).await.expect("sample shop");
        });
        server
    });
    start.join().expect("throwaway server")
});

static SERIAL: AtomicU32 = AtomicU32::new(1);

/// A database of its own, a copy of the sample shop.
#[derive(Clone)]
pub struct Database {
    /// Name upstream.
    pub name: String,
}

impl Database {
    /// Copies the template.
    pub async fn create() -> Self {
        Self { name: TEMPLATE.to_owned() }.copy().await
    }

    /// A copy of this one as it is, with the same OIDs. Nobody may be connected to it.
    pub async fn copy(&self) -> Self {
        let name = format!("shop_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let statement = format!("CREATE DATABASE {name} TEMPLATE {} OWNER {}", self.name, shop::SHOP_ROLE);
        SERVER.execute("postgres", &statement).await.expect("copy of the template");
        Self { name }
    }

    /// A direct connection of the superuser, past the proxy.
    pub async fn direct(&self) -> Client {
        let (client, connection) = SERVER.superuser(&self.name).connect(NoTls).await.expect("direct connection");
        tokio::spawn(connection);
        client
    }

    /// What `[databases.shop]` would mean for this database.
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig {
            name: "shop".to_owned(),
            upstream: UpstreamConfig {
                host: "127.0.0.1".to_owned(),
                port: SERVER.port(),
                database: self.name.clone(),
                user: shop::SHOP_ROLE.to_owned(),
                password: Some(Secret::new(UPSTREAM_PASSWORD.to_owned())),
                ssl_mode: SslMode::Disable,
                ssl_root_cert: None,
                ssl_identity: None,
                connect_timeout: Duration::from_secs(10),
                tcp: TcpConfig::default(),
            },
            auth: DatabaseAuth::Proxy,
            groups: vec!["engineering".to_owned()],
            groups_from: GroupsFrom::default(),
            sessions: None,
            kept_connections: 10,
            hold_budget: None,
            unbound_settings: Vec::new(),
            literals: Literals::Full,
            correlation: Correlation::Off,
        }
    }

    /// The lines of the server's log that belong to this database, direct connections included.
    pub fn log(&self) -> String {
        let marker = format!(" {} ", self.name);
        let log = SERVER.log().expect("server log");
        let mut ours = false;
        let mut lines = String::new();
        for line in log.lines() {
            // A continuation line of a statement starts with a tab.
            ours = if line.starts_with('\t') { ours } else { line.contains(&marker) };
            if ours {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }
}
