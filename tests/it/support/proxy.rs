//! The real proxy binary as a child process.
//!
//! Never talks to it except through its ports. Invariant: it is killed when dropped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde::Deserialize;
use tempfile::TempDir;

use super::PATIENCE;
use super::api::Api;
use super::client::TestClient;
use super::config;
use super::server::Database;
use super::wire::WireClient;

/// A running proxy in front of one database.
pub struct Proxy {
    /// The database behind it.
    pub database: Database,
    home: TempDir,
    child: Child,
    ready: Ready,
}

/// What `serve` writes into the file that `COUNTERSIGN_READY_FILE` names, once it accepts connections.
#[derive(Deserialize)]
struct Ready {
    postgres: Vec<SocketAddr>,
    web: SocketAddr,
}

impl Proxy {
    /// Starts a proxy in front of a new copy of the sample shop, with these rules and masks.
    pub async fn start(fragment: &str) -> Self {
        let database = Database::create().await;
        let home = tempfile::tempdir().expect("temporary directory");
        let text = config::render(&database, &home.path().join("data"), fragment);
        fs::write(home.path().join("countersign.toml"), text).expect("configuration");
        let (child, ready) = spawn(home.path()).await;
        Self { database, home, child, ready }
    }

    /// Kills the proxy (SIGKILL) and starts it again with the same files; its ports may change.
    pub async fn restart(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("end of the proxy");
        fs::remove_file(self.home.path().join("ready.json")).expect("ready file");
        (self.child, self.ready) = spawn(self.home.path()).await;
    }

    /// Address of the PostgreSQL port.
    pub fn address(&self) -> SocketAddr {
        self.ready.postgres[0]
    }

    /// Directory of the embedded store and the audit segments.
    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// A connection of that person to the database `shop`.
    pub async fn client(&self, user: &str) -> TestClient {
        TestClient::connect(self.address(), user).await
    }

    /// A connection on the level of protocol messages.
    pub async fn wire(&self, user: &str) -> WireClient {
        WireClient::connect(self.address(), user).await
    }

    /// What `/metrics` says of one series: its name with its labels.
    pub async fn metric(&self, series: &str) -> f64 {
        drop(rustls::crypto::ring::default_provider().install_default());
        let answer = super::within("metrics", reqwest::get(format!("http://{}/metrics", self.ready.web))).await;
        let text = answer.expect("metrics").text().await.expect("metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// The HTTP API as that person.
    pub fn api(&self, user: &str) -> Api {
        Api::new(self.ready.web, config::token(user))
    }

    /// `psql` as that person; to be run or spawned.
    pub fn psql_command(&self, user: &str, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("psql");
        command
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &self.address().port().to_string()])
            .args(["-U", user, "-d", "shop"])
            .args(arguments)
            .env("PGPASSWORD", config::password(user))
            .env("PAGER", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `psql` as that person to its end.
    pub async fn psql(&self, user: &str, arguments: &[&str]) -> Output {
        let running = self.psql_command(user, arguments).output();
        super::within("psql", running).await.expect("psql (apt-get install postgresql-client)")
    }

    /// Runs the program with these arguments (`audit verify`, …) on the proxy's own configuration.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command(self.home.path()).args(arguments).output().expect("the proxy binary")
    }

    /// Resident memory of the proxy in kB.
    pub fn resident_kb(&self) -> u64 {
        self.status_kb("VmRSS:")
    }

    /// The most resident memory that the proxy has had so far, in kB.
    pub fn peak_kb(&self) -> u64 {
        self.status_kb("VmHWM:")
    }

    fn status_kb(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status of the proxy");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line of the status");
        line.trim().trim_end_matches(" kB").parse().expect("number of kB")
    }

    /// What the proxy wrote to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("stderr")).expect("log of the proxy")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(home).envs(config::environment()).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

async fn spawn(home: &Path) -> (Child, Ready) {
    let ready_file = home.join("ready.json");
    let stderr = home.join("stderr");
    let log = File::options().create(true).append(true).open(&stderr).expect("log file");
    let mut child = command(home)
        .args(["serve", "-c", "countersign.toml"])
        .env("COUNTERSIGN_READY_FILE", &ready_file)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the proxy binary");
    let begin = Instant::now();
    loop {
        // The file is renamed into place, so what can be read is whole.
        if let Ok(text) = fs::read_to_string(&ready_file) {
            return (child, serde_json::from_str(&text).expect("ready file"));
        }
        let ended = child.try_wait().expect("state of the proxy");
        let told = || fs::read_to_string(&stderr).unwrap_or_default();
        assert!(ended.is_none(), "the proxy ended ({ended:?}):\n{}", told());
        assert!(begin.elapsed() < PATIENCE, "the proxy did not become ready:\n{}", told());
        tokio::task::yield_now().await;
    }
}
