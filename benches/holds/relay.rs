//! The bare relay in the place of the proxy: what its idle sessions take is what the proxy's are measured against.
//!
//! Never part of the product. Invariant: it is killed when this is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Outcome;
use crate::proxy::memory_kb;

/// A running bare relay.
pub(crate) struct Relay {
    child: Child,
    address: SocketAddr,
}

impl Relay {
    /// Starts it in front of a port of this machine.
    pub(crate) fn start(binary: &Path, upstream_port: u16) -> Outcome<Self> {
        let mut command = Command::new(binary);
        command.arg(format!("127.0.0.1:{upstream_port}")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{} does not start: {error}", binary.display()))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address }),
            Err(_) => {
                child.kill()?;
                child.wait()?;
                Err("the bare relay did not tell its address".into())
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its resident memory in kB.
    pub(crate) fn memory_kb(&self) -> Outcome<f64> {
        memory_kb(self.child.id(), "VmRSS")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
