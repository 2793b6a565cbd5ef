//! A PostgreSQL of our own, in a temporary directory, until the test is over.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::*;
use crate::tls::tests::TestCertificates;

/// `nobody`; PostgreSQL refuses to run as root.
const UNPRIVILEGED: u32 = 65534;

pub(crate) struct Throwaway {
    directory: tempfile::TempDir,
    server: Child,
    pub(crate) port: u16,
}

impl Throwaway {
    /// Starts it with TLS and this `pg_hba.conf`.
    pub(crate) async fn start(hba: &str, certificates: &TestCertificates) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        give_away(&data);
        let mut initdb = command("initdb");
        initdb.args(["-A", "trust", "-U", "admin", "-E", "UTF8", "--no-locale", "--no-sync", "-D"]).arg(&data);
        let output = initdb.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let write = |name: &str, content: Vec<u8>| {
            std::fs::write(data.join(name), content).unwrap();
            std::fs::set_permissions(data.join(name), PermissionsExt::from_mode(0o600)).unwrap();
            give_away(&data.join(name));
        };
        write("pg_hba.conf", hba.as_bytes().to_vec());
        write("server.crt", std::fs::read(certificates.path("server.crt")).unwrap());
        write("ca.crt", std::fs::read(certificates.path("ca.crt")).unwrap());
        write("server.key", std::fs::read(certificates.path("server.key")).unwrap());
        // PostgreSQL cannot choose a port by itself; the system names one that was free a moment ago.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(&data).arg("-k").arg(&data).args(["-h", "localhost", "-p", &port.to_string()]);
        postgres
            .args(["-c", "ssl=on", "-c", "ssl_ca_file=ca.crt", "-c", "fsync=off"])
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut server = postgres.spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("database system is ready to accept connections") {
                    return;
                }
            }
            panic!("postgres ended before it was ready");
        };
        tokio::time::timeout(TIMEOUT, ready).await.unwrap();
        // Somebody has to read on, or the server would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { directory, server, port }
    }

    /// Directory of the unix socket.
    pub(crate) fn socket_directory(&self) -> String {
        self.directory.path().join("data").to_str().unwrap().to_owned()
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // Killing it would leave its shared memory behind.
        let mut stop = std::process::Command::new(program("pg_ctl"));
        stop.args(["stop", "-s", "-m", "immediate", "-D"]).arg(self.directory.path().join("data"));
        if is_root() {
            stop.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        let _ = stop.current_dir("/").status();
        let _ = self.server.try_wait();
    }
}

fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir("/").env("LC_ALL", "C");
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command
}

/// On PATH, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    places.extend(std::env::split_paths(&path));
    let found = places.into_iter().map(|place| place.join(name)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("{name} not found: apt-get install postgresql"))
}

fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
