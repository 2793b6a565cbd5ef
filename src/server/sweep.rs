//! What is tidied up while the proxy serves: connections to upstreams that have waited for a client for too long.
//!
//! Never closes one that is in use. Invariant: it ends with the proxy.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Shared;
use crate::drain::{self, Phase};

/// How often they are looked through.
const EVERY: Duration = Duration::from_secs(10);

/// Closes connections that have waited for a client for too long, until the proxy ends.
pub(super) async fn sweep_kept(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let ending = drain::reached(&mut phase, Phase::Ending);
    let mut ending = std::pin::pin!(ending);
    loop {
        // Both are cancel safe.
        tokio::select! {
            () = &mut ending => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        shared.databases().values().for_each(|database| database.kept().sweep());
    }
}
