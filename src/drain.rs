//! How far the proxy is on its way out.
//!
//! Never goes back. Invariant: each phase includes the one before.

use tokio::sync::watch;

/// What sessions and services are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing.
    Serving,
    /// No new clients; whoever is idle goes, the others finish.
    Draining,
    /// Everything ends now.
    Ending,
}

/// Completes when the phase has begun.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn reached(now: &mut watch::Receiver<Phase>, phase: Phase) {
    // An error means that the server is gone, which is an end too.
    let _ = now.wait_for(|now| *now >= phase).await;
}
