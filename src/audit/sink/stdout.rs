//! Records on standard output, as JSON lines.
//!
//! Never has the process wait for whoever reads it, not even at its end: one thread writes, and nobody joins it.

use std::io::{self, Write as _};
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::sync::oneshot;

use super::{Line, SinkError};

/// A text, and whom to tell that it is written.
type Order = (String, oneshot::Sender<io::Result<()>>);

/// The thread that writes.
pub(super) struct Stdout(SyncSender<Order>);

impl Stdout {
    pub(super) fn start() -> io::Result<Self> {
        let (orders, come) = sync_channel::<Order>(1);
        let write = move || {
            for (text, done) in come {
                let mut out = io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                // Whoever no longer waits does not need to know.
                let _gone = done.send(written);
            }
        };
        std::thread::Builder::new().name("audit-stdout".to_owned()).spawn(write)?;
        Ok(Self(orders))
    }

    /// Writes all of them.
    pub(super) async fn send(&self, lines: &[Line]) -> Result<(), SinkError> {
        let text = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        let (done, written) = oneshot::channel();
        let gone = || SinkError::Io(io::Error::from(io::ErrorKind::BrokenPipe));
        // One order at a time: the last one has been waited for.
        self.0.try_send((text, done)).map_err(|_full| gone())?;
        Ok(written.await.map_err(|_closed| gone())??)
    }
}
