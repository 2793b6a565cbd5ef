//! What a service manager is told (`sd_notify`): ready, reloading, stopping, still alive.
//!
//! Never waits and never fails: a manager that does not listen is none. Source: the manual page sd_notify(3).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// What `NOTIFY_SOCKET` and `WATCHDOG_USEC` name.
    #[must_use]
    pub fn from_env() -> Self {
        let to = std::env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(to) => Some(to),
            Err(error) => {
                tracing::warn!(%error, "cannot reach the service manager");
                None
            }
        });
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_meant && to.is_some()).map(Duration::from_micros);
        Self { to, watchdog }
    }

    /// Clients can connect.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving");
    }

    /// The configuration is being read again; [`Manager::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reading the configuration"));
    }

    /// The proxy drains, at most for that long.
    pub fn stopping(&self, timeout: Duration) {
        self.tell(&format!("STOPPING=1\nSTATUS=Draining for at most {} s", timeout.as_secs()));
    }

    /// What a person reads in the manager's status.
    pub fn status(&self, text: &str) {
        self.tell(&format!("STATUS={text}"));
    }

    /// The proxy is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// How often [`Manager::alive`] is wanted.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    fn tell(&self, words: &str) {
        if let Some((socket, address)) = &self.to {
            // Nothing depends on it.
            let _ = socket.send_to_addr(words.as_bytes(), address);
        }
    }
}

fn connect(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_what_happens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let ear = UnixDatagram::bind(&path).unwrap();
        let manager = Manager { to: Some(connect(&path.into()).unwrap()), watchdog: Some(Duration::from_secs(10)) };
        let heard = || {
            let mut buffer = [0; 200];
            let length = ear.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        manager.ready();
        assert_eq!(heard(), "READY=1\nSTATUS=Serving");
        manager.reloading();
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        manager.stopping(Duration::from_secs(20));
        assert_eq!(heard(), "STOPPING=1\nSTATUS=Draining for at most 20 s");
        manager.alive();
        assert_eq!(heard(), "WATCHDOG=1");
        assert_eq!(manager.watchdog_interval(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let manager = Manager { to: None, watchdog: None };
        manager.ready();
        assert_eq!(manager.watchdog_interval(), None);
    }
}
