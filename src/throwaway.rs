//! A PostgreSQL of our own for the demo and the tests: made by `initdb` in a temporary directory, gone afterwards.
//!
//! Never touches an existing cluster, a fixed port, or a directory it did not make; never holds data worth keeping.
//! Invariant: the server and its directory do not outlive the process that started them, not even after SIGKILL,
//! because a shell that is their parent waits for the end of a pipe and cleans up then.

mod account;
mod programs;
mod reaper;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use thiserror::Error;

use account::Account;
use programs::Programs;
use reaper::Reaper;

/// Name of the superuser of every throwaway cluster.
pub const SUPERUSER: &str = "postgres";

/// How long a server may take to accept connections.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often readiness is looked at.
const START_POLL: Duration = Duration::from_millis(10);
/// Another process can take the port between choosing and listening; so many ports are tried.
const PORT_ATTEMPTS: u32 = 5;
/// A path of a unix socket must fit into `sun_path` (104 bytes on macOS, 108 on Linux).
const SOCKET_PATH_MAX: usize = 100;

/// What a throwaway server is to be like.
#[derive(Clone, Debug)]
pub struct ThrowawayOptions {
    /// How clients on TCP authenticate. The unix socket lies in a private directory and trusts.
    pub auth: ThrowawayAuth,
    /// `log_statement`.
    pub log_statement: LogStatement,
    /// Further settings, as on the server's command line.
    pub settings: Vec<(String, String)>,
    /// Files put into the data directory before the start, mode 0600: `server.crt` and `server.key`, say.
    pub files: Vec<(String, Vec<u8>)>,
    /// Password of the superuser; `None` chooses a random one.
    pub password: Option<String>,
}

/// Authentication methods of `pg_hba.conf` for TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrowawayAuth {
    /// `scram-sha-256`.
    ScramSha256,
    /// `md5`, with MD5 verifiers.
    Md5,
    /// `password`: cleartext.
    Password,
    /// `trust`.
    Trust,
}

/// The values of `log_statement`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStatement {
    /// `none`.
    None,
    /// `all`.
    All,
}

impl Default for ThrowawayOptions {
    fn default() -> Self {
        Self {
            auth: ThrowawayAuth::ScramSha256,
            log_statement: LogStatement::None,
            settings: Vec::new(),
            files: Vec::new(),
            password: None,
        }
    }
}

/// A running server. Dropping it stops the server and removes its directory.
#[derive(Debug)]
pub struct ThrowawayPostgres {
    reaper: Reaper,
    home: TempDir,
    port: u16,
    password: String,
    version: u32,
}

/// Why there is no throwaway server.
#[derive(Debug, Error)]
pub enum ThrowawayError {
    /// PostgreSQL's server programs are not installed.
    #[error(
        "could not find PostgreSQL's server programs (initdb, postgres) of version 13 or later\n\
         hint: install them: apt-get install postgresql (Debian, Ubuntu), dnf install postgresql-server (Fedora), \
         brew install postgresql (macOS)"
    )]
    NotInstalled,
    /// The server refuses to run as root and no other account was found.
    #[error("PostgreSQL does not run as root, and there is neither a user \"postgres\" nor \"nobody\" to run it as")]
    NoAccount,
    /// A file or process operation failed.
    #[error("could not {operation}")]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("initdb failed ({status}):\n{output}")]
    Initdb {
        /// Its exit status.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// The server ended or did not become ready.
    #[error("PostgreSQL did not start:\n{log}")]
    Start {
        /// Its log.
        log: String,
    },
}

/// Names the operation that failed.
fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> ThrowawayError {
    move |source| ThrowawayError::Io { operation, source }
}

impl ThrowawayPostgres {
    /// Makes a cluster and starts it on a free TCP port of 127.0.0.1 and on a unix socket. Blocks until it accepts
    /// connections, usually for one to three seconds.
    ///
    /// # Errors
    ///
    /// [`ThrowawayError::NotInstalled`] names the install command; the others carry what the programs printed.
    pub fn start(options: &ThrowawayOptions) -> Result<Self, ThrowawayError> {
        let programs = Programs::find().ok_or(ThrowawayError::NotInstalled)?;
        let home = new_home()?;
        let account = Account::for_owner(fs::metadata(home.path()).map_err(failed("read the new directory"))?.uid())?;
        let password = match &options.password {
            Some(password) => password.clone(),
            None => random_password(),
        };
        let cluster = Cluster { programs: &programs, account, home: home.path(), options };
        cluster.initialize(&password)?;
        let (reaper, port) = cluster.start()?;
        Ok(Self { reaper, home, port, password, version: programs.version })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password, needed on TCP.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Major version of the server.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Directory of the unix socket; private to the server's account (and root).
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        self.home.path()
    }

    /// A `postgres://` URL of the database on TCP, without the password.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Everything the server has written to its log so far.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn log(&self) -> io::Result<String> {
        fs::read(log_file(self.home.path())).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Connection settings of the superuser over the unix socket.
    #[must_use]
    pub fn superuser(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.home.path()).port(self.port).user(SUPERUSER).dbname(database);
        config
    }

    /// Runs statements as the superuser over the unix socket, for setting up.
    ///
    /// # Errors
    ///
    /// The connection failed or a statement raised an error.
    pub async fn execute(&self, database: &str, statements: &str) -> Result<(), tokio_postgres::Error> {
        let (client, connection) = self.superuser(database).connect(tokio_postgres::NoTls).await?;
        let (outcome, ()) = futures_util::future::join(
            async move { client.batch_execute(statements).await },
            // Its error also ends the client, which reports it.
            async move { drop(connection.await) },
        )
        .await;
        outcome
    }

    /// Stops the server (fast shutdown) and removes its directory, as dropping does.
    pub fn stop(self) {
        drop(self);
    }

    /// Identifier of the process that outlives neither us nor the server; for tests of exactly that.
    #[must_use]
    pub fn reaper_id(&self) -> u32 {
        self.reaper.id()
    }
}

/// What is needed to make and start one cluster.
struct Cluster<'a> {
    programs: &'a Programs,
    account: Option<Account>,
    home: &'a Path,
    options: &'a ThrowawayOptions,
}

impl Cluster<'_> {
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Writes a file with mode 0600 that belongs to the server's account.
    fn write_private(&self, path: &Path, contents: &[u8]) -> Result<(), ThrowawayError> {
        fs::write(path, contents).map_err(failed("write a file of the new cluster"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(failed("protect a file of the cluster"))?;
        account::give(path, self.account)
    }

    fn initialize(&self, password: &str) -> Result<(), ThrowawayError> {
        account::give(self.home, self.account)?;
        let password_file = self.home.join("password");
        self.write_private(&password_file, password.as_bytes())?;
        let method = match self.options.auth {
            ThrowawayAuth::ScramSha256 => "scram-sha-256",
            ThrowawayAuth::Md5 => "md5",
            ThrowawayAuth::Password => "password",
            ThrowawayAuth::Trust => "trust",
        };
        let output = account::command(&self.programs.initdb, self.account, self.home)
            .args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth-local=trust"])
            .arg(format!("--auth-host={method}"))
            .arg(format!("--username={SUPERUSER}"))
            .arg("--pgdata")
            .arg(self.data())
            .arg("--pwfile")
            .arg(&password_file)
            .output()
            .map_err(failed("run initdb"))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            return Err(ThrowawayError::Initdb {
                status: output.status,
                output: String::from_utf8_lossy(&text).into_owned(),
            });
        }
        fs::remove_file(&password_file).map_err(failed("remove the password file"))?;
        for (name, contents) in &self.options.files {
            self.write_private(&self.data().join(name), contents)?;
        }
        Ok(())
    }

    fn start(&self) -> Result<(Reaper, u16), ThrowawayError> {
        let mut last = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port().map_err(failed("find a free port"))?;
            let mut reaper = Reaper::spawn(self, port)?;
            match self.wait_until_ready(&mut reaper, port) {
                Err(ThrowawayError::Start { log }) if log.contains("Address already in use") => {
                    reaper.stop_and_keep().map_err(failed("try another port"))?;
                    last = log;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok((reaper, port)),
            }
        }
        Err(ThrowawayError::Start { log: last })
    }

    /// The server says `ready` in `postmaster.pid` when it accepts connections, which is what `pg_ctl -w` waits for.
    fn wait_until_ready(&self, reaper: &mut Reaper, port: u16) -> Result<(), ThrowawayError> {
        let status_file = self.data().join("postmaster.pid");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT {
            let ended = reaper.has_ended().map_err(failed("watch the server"))?;
            let ready = fs::read_to_string(&status_file)
                .is_ok_and(|status| status.lines().nth(7).is_some_and(|line| line.trim_end() == "ready"));
            if ready && TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            if ended {
                break;
            }
            std::thread::sleep(START_POLL);
        }
        let log = fs::read(log_file(self.home)).unwrap_or_default();
        Err(ThrowawayError::Start { log: String::from_utf8_lossy(&log).into_owned() })
    }
}

fn log_file(home: &Path) -> PathBuf {
    home.join("postgres.log")
}

fn new_home() -> Result<TempDir, ThrowawayError> {
    let preferred = std::env::temp_dir();
    let long = preferred.as_os_str().len() + "/countersign-XXXXXX/.s.PGSQL.65535".len() > SOCKET_PATH_MAX;
    let base = if long { PathBuf::from("/tmp") } else { preferred };
    tempfile::Builder::new().prefix("countersign-").tempdir_in(base).map_err(failed("make a temporary directory"))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn random_password() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn starts_logs_statements_and_leaves_nothing_behind() {
        let options = ThrowawayOptions { log_statement: LogStatement::All, ..ThrowawayOptions::default() };
        let server = ThrowawayPostgres::start(&options).expect("throwaway server");
        server.execute("postgres", "SELECT 'canary 4711'").await.expect("statement over the socket");
        let mut tcp = tokio_postgres::Config::new();
        tcp.host("127.0.0.1").port(server.port()).user(SUPERUSER).dbname("postgres");
        assert!(tcp.connect(tokio_postgres::NoTls).await.is_err(), "TCP without a password is refused");
        tcp.password(server.password());
        assert!(tcp.connect(tokio_postgres::NoTls).await.is_ok(), "TCP with the password is let in");
        assert!(server.log().expect("log").contains("canary 4711"));
        let (home, port) = (server.socket_directory().to_owned(), server.port());
        server.stop();
        assert!(!home.exists(), "the directory is gone");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "the server is gone");
    }

    #[tokio::test]
    async fn tries_another_port_when_one_is_taken() {
        let programs = Programs::find().expect("PostgreSQL");
        let home = new_home().expect("directory");
        let account = Account::for_owner(fs::metadata(home.path()).expect("metadata").uid()).expect("account");
        let options = ThrowawayOptions::default();
        let cluster = Cluster { programs: &programs, account, home: home.path(), options: &options };
        cluster.initialize("secret").expect("initdb");
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listener");
        let port = taken.local_addr().expect("address").port();
        let mut reaper = Reaper::spawn(&cluster, port).expect("shell");
        let log = match cluster.wait_until_ready(&mut reaper, port) {
            Err(ThrowawayError::Start { log }) => log,
            other => panic!("expected a failed start, found {other:?}"),
        };
        assert!(log.contains("Address already in use"), "{log}");
        reaper.stop_and_keep().expect("keep");
        let (reaper, _) = cluster.start().expect("second start in the same directory");
        drop(reaper);
        assert!(!home.path().exists());
    }
}
