//! The real proxy binary as a child process.
//!
//! Never talks to it except through its ports. Invariant: it is killed when dropped.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Instant;

use countersign::audit::{Known, verify};
use rustix::process::{Pid, Signal};
use serde::Deserialize;
use tempfile::TempDir;

use super::PATIENCE;
use super::api::Api;
use super::client::TestClient;
use super::config;
use super::schema;
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
        Self::launch(Launch { fragment, ..Launch::default() }).await
    }

    /// Starts a proxy in front of a new copy of the sample shop.
    pub async fn launch(launch: Launch<'_>) -> Self {
        Self::in_front_of(Database::create().await, launch, |text| text).await
    }

    /// Starts a proxy in front of that database, with what `adapt` makes of the configuration.
    pub async fn in_front_of(database: Database, launch: Launch<'_>, adapt: impl FnOnce(String) -> String) -> Self {
        let home = tempfile::tempdir().expect("temporary directory");
        let text = adapt(config::render(&database, &home.path().join("data"), launch.fragment));
        let text = match launch.socket {
            Some(socket) => {
                let listen = format!("listen = \"{}\"", socket.local_addr().expect("address"));
                text.replacen("listen = \"127.0.0.1:0\"", &listen, 1)
            }
            None => text,
        };
        fs::write(home.path().join("countersign.toml"), format!("{}\n{text}", launch.top)).expect("configuration");
        let mut child = launch.spawn(home.path(), "ready.json");
        let ready = until_ready(home.path(), "ready.json", &mut child).await;
        Self { database, home, child, ready }
    }

    /// Starts the next process with the same files while this one runs, ends this one, and waits until the next one
    /// serves.
    pub async fn replace(&mut self, launch: Launch<'_>) {
        let mut next = launch.spawn(self.home.path(), "next.json");
        let waits = async {
            while !self.log().contains("waiting until another process has given up") {
                tokio::task::yield_now().await;
            }
        };
        super::within("the next process waits", waits).await;
        self.signal(Signal::TERM);
        assert!(self.ended().await.success(), "{}", self.log());
        self.ready = until_ready(self.home.path(), "next.json", &mut next).await;
        self.child = next;
    }

    /// Starts the proxy again after it has ended.
    pub async fn relaunch(&mut self, launch: Launch<'_>) {
        fs::remove_file(self.home.path().join("ready.json")).expect("ready file");
        self.child = launch.spawn(self.home.path(), "ready.json");
        self.ready = until_ready(self.home.path(), "ready.json", &mut self.child).await;
    }

    /// Starts the proxy again where that must fail.
    pub async fn attempt(&mut self, launch: Launch<'_>) -> ExitStatus {
        self.child = launch.spawn(self.home.path(), "attempt.json");
        self.ended().await
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("signal");
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let ending = async {
            loop {
                match self.child.try_wait().expect("state of the proxy") {
                    Some(status) => return status,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        super::within("end of the proxy", ending).await
    }

    /// Replaces a part of the configuration file.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.home.path().join("countersign.toml");
        let text = fs::read_to_string(&path).expect("configuration");
        assert!(text.contains(from), "{from} is not in the configuration");
        fs::write(path, text.replacen(from, to, 1)).expect("configuration");
    }

    /// Kills the proxy (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("end of the proxy");
    }

    /// Kills the proxy (SIGKILL) and starts it again with the same files; its ports may change.
    pub async fn restart(&mut self) {
        self.kill();
        self.relaunch(Launch::default()).await;
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

    /// What `/healthz` answers.
    pub async fn health(&self) -> serde_json::Value {
        drop(rustls::crypto::ring::default_provider().install_default());
        let answer = super::within("health", reqwest::get(format!("http://{}/healthz", self.ready.web))).await;
        answer.expect("health").json().await.expect("health")
    }

    /// What `/readyz` says of each part.
    pub async fn readiness(&self) -> serde_json::Value {
        drop(rustls::crypto::ring::default_provider().install_default());
        let answer = super::within("readiness", reqwest::get(format!("{}/readyz", self.web()))).await;
        let mut told: serde_json::Value = answer.expect("readiness").json().await.expect("readiness");
        // Where one is not well, they stand in a problem.
        if told["parts"].is_null() { told } else { told["parts"].take() }
    }

    /// Address of the page.
    pub fn web(&self) -> String {
        format!("http://{}", self.ready.web)
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

    /// Runs the program as that person of the API.
    pub fn run_as(&self, user: &str, arguments: &[&str]) -> Output {
        let url = format!("http://{}", self.ready.web);
        command(self.home.path())
            .args(arguments)
            .env("COUNTERSIGN_URL", url)
            .env("COUNTERSIGN_TOKEN", config::token(user))
            .output()
            .expect("the proxy binary")
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
        let trail = self.data_dir().join("audit");
        // Some tests alter the trail.
        let is_intact = verify(&trail, Known::default()).is_ok_and(|report| report.is_intact());
        if is_intact && !std::thread::panicking() {
            schema::check_trail(&trail);
        }
    }
}

fn command(home: &Path) -> Command {
    command_of(Command::new(env!("CARGO_BIN_EXE_countersign")), home)
}

fn command_of(mut command: Command, home: &Path) -> Command {
    command.current_dir(home).envs(config::environment()).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// How a proxy is started.
#[derive(Clone, Copy, Default)]
pub struct Launch<'a> {
    /// Keys before the first table.
    pub top: &'a str,
    /// Rules, masks and other tables.
    pub fragment: &'a str,
    /// The listening socket that is handed over.
    pub socket: Option<&'a TcpListener>,
    /// Socket of the service manager.
    pub notify: Option<&'a Path>,
    /// Further environment variables.
    pub environment: &'a [(&'a str, &'a str)],
    /// File for standard output.
    pub stdout: Option<&'a Path>,
    /// Further arguments of `serve`.
    pub arguments: &'a [&'a str],
}

impl Launch<'_> {
    fn spawn(&self, home: &Path, ready: &str) -> Child {
        // The socket must become descriptor 3; a shell can do that.
        const HAND_OVER: &str = r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@""#;
        let log = File::options().create(true).append(true).open(home.join("stderr")).expect("log file");
        let mut command = command(home);
        if let Some(socket) = self.socket {
            let program = command.get_program().to_owned();
            command = command_of(Command::new("sh"), home);
            command.args(["-c", HAND_OVER, "sh"]).arg(program);
            command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().expect("socket"))));
        }
        if let Some(notify) = self.notify {
            command.env("NOTIFY_SOCKET", notify);
        }
        let append = |path| File::options().create(true).append(true).open(path).expect("a file");
        let stdout = self.stdout.map_or_else(Stdio::null, |path| append(path).into());
        command
            .args(["serve", "-c", "countersign.toml"])
            .args(self.arguments)
            .env("COUNTERSIGN_READY_FILE", home.join(ready))
            .envs(self.environment.iter().copied())
            .stdout(stdout)
            .stderr(log)
            .spawn()
            .expect("the proxy binary")
    }
}

async fn until_ready(home: &Path, ready: &str, child: &mut Child) -> Ready {
    let stderr = home.join("stderr");
    let begin = Instant::now();
    loop {
        // The file is renamed into place, so what can be read is whole.
        if let Ok(text) = fs::read_to_string(home.join(ready)) {
            return serde_json::from_str(&text).expect("ready file");
        }
        let ended = child.try_wait().expect("state of the proxy");
        let told = || fs::read_to_string(&stderr).unwrap_or_default();
        assert!(ended.is_none(), "the proxy ended ({ended:?}):\n{}", told());
        assert!(begin.elapsed() < PATIENCE, "the proxy did not become ready:\n{}", told());
        tokio::task::yield_now().await;
    }
}
