//! `countersign demo`: prepares the demo, runs the proxy in this process, prints what happens until Ctrl-C.
//!
//! Never starts the proxy by itself: the caller passes how. Invariant: on Ctrl-C and SIGTERM the proxy is shut down
//! before the server behind it is stopped and everything is removed.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::demo::guide::{Paint, guide};
use crate::demo::live;
use crate::demo::{Demo, DemoError};
use crate::live::LiveEvent;

/// A proxy that runs in this process.
pub struct RunningProxy {
    /// What happens in it.
    pub events: mpsc::Receiver<LiveEvent>,
    /// Ends it.
    pub shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs the demo to its end. `start` starts the proxy with the configuration at that path.
///
/// # Errors
///
/// The demo could not be prepared, the proxy did not start, or standard output is gone.
pub async fn run<E>(start: impl AsyncFnOnce(PathBuf) -> Result<RunningProxy, E>) -> Result<(), RunError<E>> {
    let paint = Paint::for_stdout();
    let signals = |source| RunError::Io { operation: "listen for signals", source };
    let output = |source| RunError::Io { operation: "write to standard output", source };
    // Registered before anything is made, so that an early Ctrl-C cleans up too.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let demo = tokio::select! {
        demo = Demo::prepare() => demo?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let RunningProxy { mut events, shutdown } = start(demo.config_path()).await.map_err(RunError::Proxy)?;
    write!(std::io::stdout(), "{}", guide(&demo, paint)).map_err(output)?;
    loop {
        // All are cancel safe.
        let event = tokio::select! {
            event = events.recv() => event,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        match event {
            Some(event) => {
                writeln!(std::io::stdout(), "{}", live::line(&event, Timestamp::now(), paint)).map_err(output)?
            }
            None => break,
        }
    }
    shutdown.await;
    drop(demo);
    Ok(())
}

/// Why the demo ended early. `E` is what the proxy's start fails with.
#[derive(Debug, thiserror::Error)]
pub enum RunError<E> {
    /// It could not be prepared.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The proxy did not start.
    #[error("could not start the proxy")]
    Proxy(#[source] E),
    /// A signal or output operation failed.
    #[error("could not {operation}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
