//! The program that is measured, as a child process.
//!
//! Never changes a default that costs something: it logs, audits and stores as it does for everybody.
//! Invariant: it is killed, and its directory removed, when this is dropped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::Outcome;

pub(crate) const REQUESTER: &str = "alice";
pub(crate) const REVIEWER: &str = "bob";
pub(crate) const PASSWORD: &str = "a password for measuring";
pub(crate) const TOKEN: &str = "a token for measuring";
pub(crate) const DATABASE: &str = "bench";

/// How long the proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy that holds every write.
pub(crate) struct Proxy {
    child: Child,
    ready: Ready,
    _home: TempDir,
}

/// What the program writes once clients can connect.
#[derive(Deserialize)]
struct Ready {
    postgres: Vec<SocketAddr>,
    web: SocketAddr,
}

impl Proxy {
    /// Starts it in front of an upstream on this machine.
    pub(crate) async fn start(binary: &Path, upstream_port: u16, upstream_password: &str) -> Outcome<Self> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("countersign.toml"), config(home.path(), upstream_port))?;
        let ready_file = home.path().join("ready.json");
        let log = home.path().join("log");
        let mut child = Command::new(binary)
            .args(["serve", "-c", "countersign.toml"])
            .current_dir(home.path())
            .env("BENCH_PASSWORD", PASSWORD)
            .env("BENCH_UPSTREAM_PASSWORD", upstream_password)
            .env("COUNTERSIGN_READY_FILE", &ready_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let begin = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&ready_file) {
                return Ok(Self { child, ready: serde_json::from_str(&text)?, _home: home });
            }
            if child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Err(format!("the proxy did not start:\n{}", fs::read_to_string(&log)?).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn address(&self) -> Outcome<SocketAddr> {
        self.ready.postgres.first().copied().ok_or_else(|| "the proxy listens nowhere".into())
    }

    pub(crate) fn web(&self) -> SocketAddr {
        self.ready.web
    }

    /// See [`memory_kb`].
    pub(crate) fn memory_kb(&self, field: &str) -> Outcome<f64> {
        memory_kb(self.child.id(), field)
    }

    /// CPU time of all its threads so far, in ms.
    pub(crate) fn cpu_ms(&self) -> Outcome<f64> {
        let mut total_ns = 0.0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            total_ns += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
        }
        Ok(total_ns / 1e6)
    }
}

/// Resident memory of a process in kB: now (`VmRSS`) or at its highest (`VmHWM`).
pub(crate) fn memory_kb(process: u32, field: &str) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("no such field in /proc")?;
    Ok(number.parse()?)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn config(home: &Path, upstream_port: u16) -> String {
    let data_dir = home.join("data");
    let token = hex::encode(Sha256::digest(TOKEN));
    format!(
        r#"listen = "127.0.0.1:0"
limits = {{ sessions = 1000000, unauthenticated = 1000000, requests_per_user = 1000000 }}
data_dir = {data_dir:?}

[web]
listen = "127.0.0.1:0"
public_url = "https://countersign.example.com"
calls_per_caller = 10000000
calls_per_address = 10000000

[[users]]
name = "{REQUESTER}"
groups = ["engineering"]
password = {{ env = "BENCH_PASSWORD" }}

[[users]]
name = "{REVIEWER}"
groups = ["dba-team"]
tokens = [{{ sha256 = "{token}", scopes = ["admin"] }}]

[databases.{DATABASE}]
upstream = "postgres://postgres@127.0.0.1:{upstream_port}/postgres?sslmode=disable"
password = {{ env = "BENCH_UPSTREAM_PASSWORD" }}
groups = ["engineering"]
default = "allow"
unparsed = "hold"
review = {{ groups = ["dba-team"], timeout = "1h", mode = "wait" }}

[[rules]]
name = "writes-need-review"
effects = ["insert", "update", "delete", "merge"]
relations = ["public.*"]
action = "hold"
reviewers = ["dba-team"]
"#
    )
}
