//! What the integration tests stand on.
//!
//! Never decides whether a test passes. Invariant: whatever is started here ends with the test process.

pub mod api;
pub mod bench;
pub mod certificates;
pub mod client;
pub mod config;
pub mod proxy;
pub mod schema;
pub mod server;
pub mod shared_store;
pub mod wire;

use std::time::Duration;

/// How long anything may take before a test calls it lost. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for the future, but not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing happened for {PATIENCE:?}"),
    }
}
