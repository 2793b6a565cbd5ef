//! Measures the store alone, embedded and shared: pages of a list and decisions while very many requests are open, and
//! requests that come or are decided all at once.
//!
//! Never part of the product. Invariant: both stores hold the same requests and are asked the same.

mod fill;
mod measure;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use countersign::config::{SslMode, TcpConfig, UpstreamConfig};
use countersign::store::{PostgresStore, SqliteStore, Store};
use countersign::throwaway::{SUPERUSER, ThrowawayOptions, ThrowawayPostgres};

/// Any failure ends the measurement.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Measures the stores with very many open requests")]
struct Arguments {
    /// Requests that wait for votes, and as many that have run before
    #[arg(long, default_value_t = 100_000)]
    requests: u32,
    /// Requests that come at once
    #[arg(long, default_value_t = 10_000)]
    at_once: u32,
    /// Calls of each kind
    #[arg(long, default_value_t = 200)]
    count: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome<()> {
    let sqlite = tempfile::tempdir()?;
    drop(SqliteStore::open(sqlite.path())?);
    fill::sqlite(sqlite.path(), arguments.requests)?;
    println!("embedded");
    measure::all(Arc::new(SqliteStore::open(sqlite.path())?), &arguments).await?;

    let server = ThrowawayPostgres::start(&ThrowawayOptions::default())?;
    let shared = tempfile::tempdir()?;
    let store = open(&server, shared.path()).await?;
    fill::postgres(&server, arguments.requests).await?;
    println!("shared");
    measure::all(store, &arguments).await
}

async fn open(server: &ThrowawayPostgres, data_dir: &std::path::Path) -> Outcome<Arc<dyn Store>> {
    let upstream = UpstreamConfig {
        host: server.socket_directory().display().to_string(),
        port: server.port(),
        database: "postgres".to_owned(),
        user: SUPERUSER.to_owned(),
        password: None,
        ssl_mode: SslMode::Disable,
        ssl_root_cert: None,
        ssl_identity: None,
        connect_timeout: Duration::from_secs(10),
        tcp: TcpConfig::default(),
    };
    Ok(Arc::new(PostgresStore::open(data_dir, &upstream, Duration::from_secs(10)).await?))
}
