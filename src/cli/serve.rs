//! `countersign serve` and the proxy inside `countersign demo`.
//!
//! Never interprets the configuration. Invariant: the ready file appears only once clients can connect.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{broadcast, mpsc};

use super::demo::{self as demo_command, RunningProxy};
use super::output::Exit;
use super::{ConfigArgs, unavailable};
use crate::config::{Config, ConfigProblems};
use crate::fault::with_causes;
use crate::inherited::Inherited;
use crate::live::LiveEvent;
use crate::server::{Server, ServerError, Start, WhenInUse};
use crate::systemd::Manager;
use crate::telemetry::{self, LogFormat};

/// Names the file that says where the proxy listens, for programs that start it on port 0.
const READY_FILE: &str = "COUNTERSIGN_READY_FILE";
/// How many events the demo's printer may lag behind.
const EVENTS_MAX: usize = 256;

/// How `serve` is started.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// While another process uses the data directory, wait until it has ended
    #[arg(long)]
    wait: bool,
}

impl ServeArgs {
    /// Looks for what was handed over, while there is only one thread, and starts the proxy.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let inherited = match Inherited::from_env() {
            Ok(inherited) => inherited,
            Err(error) => return unavailable("cannot use a socket that was handed over", &error),
        };
        if let Err(error) = telemetry::init_logging(log_format()) {
            eprintln!("countersign: {}", with_causes(&error));
            return Exit::Config.into();
        }
        let config = match load(&self.config.config) {
            Ok(config) => config,
            Err(problems) => {
                eprintln!("{problems}");
                return Exit::Config.into();
            }
        };
        match runtime(config.threads) {
            Ok(runtime) => runtime.block_on(run(self, config, inherited)),
            Err(error) => unavailable("could not start", &error),
        }
    }
}

/// Few threads, each of which has more to do when it wakes, spend less on a statement than many.
fn runtime(threads: Option<u32>) -> io::Result<Runtime> {
    let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.map_or_else(|| (processors() / 2).max(1), |threads| threads as usize);
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Runs the proxy until SIGTERM or SIGINT; SIGHUP reloads the configuration.
async fn run(args: ServeArgs, config: Config, inherited: Inherited) -> ExitCode {
    let path = args.config.config;
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return unavailable("could not listen for signals", &error),
    };
    let data_dir = config.data_dir.clone();
    make_room_for_sessions(&config);
    let manager = Manager::from_env();
    let when_in_use = if args.wait { WhenInUse::Wait } else { WhenInUse::Fail };
    let started = tokio::select! {
        started = start(config, inherited, when_in_use) => started,
        () = signals.end() => return Exit::Ok.into(),
    };
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            eprintln!("countersign: {}", with_causes(&error));
            return Exit::Unavailable.into();
        }
    };
    let pid_file = PidFile::write(&data_dir);
    if let Err(error) = announce(&server) {
        eprintln!("countersign: could not write the file named by {READY_FILE}: {error}");
        return Exit::Io.into();
    }
    manager.ready();
    serve(&server, &mut signals, &manager, &path).await;
    let timeout = server.drain_timeout();
    tracing::info!(timeout_s = timeout.as_secs(), "draining");
    manager.stopping(timeout);
    server.shutdown(signals.end()).await;
    drop(pid_file);
    Exit::Ok.into()
}

/// Runs the demo: the proxy in this process, in front of a throwaway PostgreSQL.
pub async fn demo() -> ExitCode {
    let outcome = demo_command::run(async |path: PathBuf| -> Result<RunningProxy, StartError> {
        let config = load(&path)?;
        let server = start(config, Inherited::none(), WhenInUse::Fail).await?;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let printer = tokio::spawn(hand_over(server.subscribe(), sender));
        let shutdown = Box::pin(async move {
            server.shutdown(std::future::pending()).await;
            printer.abort();
        });
        Ok(RunningProxy { events, shutdown })
    });
    match outcome.await {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            eprintln!("countersign: {}", with_causes(&error));
            Exit::Unavailable.into()
        }
    }
}

/// Why the proxy of the demo does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigProblems),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
}

async fn hand_over(mut from: broadcast::Receiver<LiveEvent>, to: mpsc::Sender<LiveEvent>) {
    loop {
        match from.recv().await {
            Ok(event) => {
                if to.send(event).await.is_err() {
                    return;
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn start(config: Config, inherited: Inherited, when_in_use: WhenInUse) -> Result<Server, StartError> {
    let metrics = telemetry::init_metrics()?;
    Ok(Server::start(config, Start { metrics, inherited, when_in_use }).await?)
}

/// Each session takes two descriptors. The system's soft limit is often far below its hard one.
fn make_room_for_sessions(config: &Config) {
    const OTHERS: u64 = 100;
    let limits = &config.limits;
    let wanted = 2 * u64::from(limits.sessions) + u64::from(limits.unauthenticated) + OTHERS;
    let mut room = getrlimit(Resource::Nofile);
    if room.current.is_none_or(|current| current >= wanted) {
        return;
    }
    room.current = Some(room.maximum.map_or(wanted, |most| most.min(wanted)));
    if let Err(error) = setrlimit(Resource::Nofile, room) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    if room.current < Some(wanted) {
        tracing::warn!(
            wanted,
            limit = room.current,
            "the limit of open files is too low for [limits] sessions; raise LimitNOFILE or lower the number"
        );
    }
}

fn load(path: &Path) -> Result<Config, ConfigProblems> {
    Config::load(path)
}

fn log_format() -> LogFormat {
    match std::env::var("COUNTERSIGN_LOG_FORMAT").as_deref() {
        Ok("json") => LogFormat::Json,
        _ => LogFormat::Text,
    }
}

/// The signals that mean something.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Signals {
    /// Completes when the proxy is told to end.
    ///
    /// # Cancel safety
    /// Cancel safe: signals stay noted.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn serve(server: &Server, signals: &mut Signals, manager: &Manager, path: &Path) {
    for address in server.postgres() {
        tracing::info!(%address, "PostgreSQL clients can connect");
    }
    let mut pulse = manager.watchdog_interval().map(tokio::time::interval);
    loop {
        // All are cancel safe.
        tokio::select! {
            _ = signals.interrupt.recv() => return,
            _ = signals.terminate.recv() => return,
            () = server.stop_wanted() => return,
            _ = signals.hangup.recv() => {
                manager.reloading();
                reload(server, path).await;
                manager.ready();
            }
            () = beat(pulse.as_mut()) => manager.alive(),
        }
    }
}

async fn beat(pulse: Option<&mut tokio::time::Interval>) {
    match pulse {
        Some(pulse) => {
            pulse.tick().await;
        }
        None => std::future::pending().await,
    }
}

async fn reload(server: &Server, path: &Path) {
    match load(path) {
        Ok(config) => {
            if let Err(error) = server.reload(config).await {
                tracing::error!(error = %with_causes(&error), "configuration not reloaded; the old one stays in force");
            }
        }
        Err(problems) => tracing::error!("configuration not reloaded; the old one stays in force:\n{problems}"),
    }
}

#[derive(Serialize)]
struct Ready {
    postgres: Vec<String>,
    web: String,
}

/// Says where the proxy listens, if somebody asked for it.
fn announce(server: &Server) -> io::Result<()> {
    let Some(path) = std::env::var_os(READY_FILE).map(PathBuf::from) else { return Ok(()) };
    let ready =
        Ready { postgres: server.postgres().iter().map(ToString::to_string).collect(), web: server.web().to_string() };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut file, &ready)?;
    file.flush()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// The process id, for `countersign users`, which reloads the proxy after an edit.
struct PidFile(PathBuf);

impl PidFile {
    fn write(data_dir: &Path) -> Self {
        let path = data_dir.join("countersign.pid");
        if let Err(error) = std::fs::write(&path, std::process::id().to_string()) {
            tracing::warn!(%error, "could not write countersign.pid; edits by the command line need a reload by hand");
        }
        Self(path)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The next process may have written its own by now.
        if std::fs::read_to_string(&self.0).is_ok_and(|id| id == std::process::id().to_string()) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_threads_as_configured_and_otherwise_few() {
        let threads = |configured| runtime(configured).unwrap().metrics().num_workers();
        assert_eq!(threads(Some(3)), 3);
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(threads(None), (processors / 2).max(1));
    }
}
