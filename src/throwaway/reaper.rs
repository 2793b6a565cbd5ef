//! The process between us and the server that ends the server when we end.
//!
//! A shell starts the server, then reads from a pipe whose other end only we hold. When the pipe closes, because we
//! dropped it or because we are dead, it shuts the server down and removes the directory. It never acts before that.
//! Invariant: nobody else inherits the writing end (the standard library marks it close-on-exec).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Cluster, LogStatement, ThrowawayError, account, failed};

/// `$1` is the directory, the rest is the server's command line. SIGINT asks for a fast shutdown; the file `ended` says
/// that the server is gone. The one order there is, `keep`, leaves the directory in place.
const SCRIPT: &str = r#"
home=$1; shift
{
    "$@" </dev/null >>"$home/postgres.log" 2>&1 &
    echo $! >"$home/server.pid"
    wait $!
    : >"$home/ended"
} &
read -r order
until [ -s "$home/server.pid" ]; do sleep 1; done
[ -e "$home/ended" ] || kill -INT "$(cat "$home/server.pid")"
wait
[ "$order" = keep ] || { cd / && rm -rf "$home"; }
"#;

/// How long a fast shutdown may take before everything is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
const STOP_POLL: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Reaper {
    shell: Child,
    ended: PathBuf,
}

impl Reaper {
    /// Starts the shell, which starts the server on that port.
    pub(super) fn spawn(cluster: &Cluster<'_>, port: u16) -> Result<Self, ThrowawayError> {
        let home = cluster.home;
        let ended = home.join("ended");
        for stale in [&ended, &home.join("server.pid"), &super::log_file(home)] {
            match fs::remove_file(stale) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove what is left of an earlier start")(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        let shell = account::command(Path::new("/bin/sh"), cluster.account, home)
            .args(["-c", SCRIPT, "countersign-reaper"])
            .arg(home)
            .arg(&cluster.programs.postgres)
            .arg("-D")
            .arg(cluster.data())
            .args(
                server_settings(cluster, port)
                    .iter()
                    .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed("start the server"))?;
        Ok(Self { shell, ended })
    }

    pub(super) fn id(&self) -> u32 {
        self.shell.id()
    }

    /// Whether the server is gone.
    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.ended.try_exists()? || self.shell.try_wait()?.is_some())
    }

    /// Ends the server, if it still runs, but keeps the directory for another start.
    pub(super) fn stop_and_keep(mut self) -> io::Result<()> {
        if let Some(mut orders) = self.shell.stdin.take() {
            orders.write_all(b"keep\n")?;
        }
        self.shell.wait().map(drop)
    }

    /// Whether the shell is gone within the limit.
    fn wait(&mut self, limit: Duration) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            match self.shell.try_wait() {
                Ok(None) => std::thread::sleep(STOP_POLL),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        if !self.wait(STOP_LIMIT) {
            // The group is the shell's own (`process_group(0)`), so this reaches the shell and the server only. A
            // failure leaves what a failed shutdown leaves; there is nobody to tell in a destructor.
            drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", self.shell.id())]).status());
            self.wait(STOP_LIMIT);
        }
    }
}

/// The command-line settings: fast rather than safe, since the data is thrown away, then the caller's.
fn server_settings(cluster: &Cluster<'_>, port: u16) -> Vec<(String, String)> {
    let log_statement = match cluster.options.log_statement {
        LogStatement::None => "none",
        LogStatement::All => "all",
    };
    let own = [
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("unix_socket_directories", cluster.home.display().to_string()),
        ("fsync", "off".to_owned()),
        ("full_page_writes", "off".to_owned()),
        ("synchronous_commit", "off".to_owned()),
        ("shared_buffers", "32MB".to_owned()),
        ("max_connections", "100".to_owned()),
        ("autovacuum", "off".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("log_destination", "stderr".to_owned()),
        ("log_statement", log_statement.to_owned()),
    ];
    own.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(cluster.options.settings.iter().cloned())
        .collect()
}
