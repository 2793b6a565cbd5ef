//! The transcripts in `docs/workflow.md` and `docs/console.md` are what clients really print.
//!
//! `COUNTERSIGN_WRITE_TRANSCRIPTS=1 cargo test --test it workflow::` writes them anew.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use regex::Regex;
use serde_json::Value;
use tokio::process::Command;

use crate::support::config::{WRITES_HELD, password};
use crate::support::proxy::Proxy;
use crate::support::within;

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What a person types, and where: in a directory with the files of that name.
struct Desk<'a> {
    proxy: &'a Proxy,
    directory: PathBuf,
    /// Whose name clients take when a line gives none.
    user: &'static str,
}

impl Desk<'_> {
    /// Runs a line of a shell, as it stands in the transcript, and answers what it and its output look like.
    async fn runs(&self, line: &str) -> String {
        let address = self.proxy.address();
        let mut command = Command::new("bash");
        let binary = Path::new(env!("CARGO_BIN_EXE_countersign")).parent().expect("a directory").display().to_string();
        command
            .args(["-c", &format!("{line} 2>&1")])
            .current_dir(&self.directory)
            .env("PATH", format!("{binary}:{}", std::env::var("PATH").unwrap_or_default()))
            .envs([("PGHOST", "127.0.0.1"), ("PGUSER", self.user), ("PGDATABASE", "shop"), ("PGSSLMODE", "disable")])
            .env("PGPORT", address.port().to_string())
            .env("PGPASSWORD", password(self.user))
            .env("DATABASE_URL", format!("postgresql+psycopg://alice:{}@{address}/shop", password("alice")))
            .env("COUNTERSIGN_PROXY", format!("postgres://alice@{address}?sslmode=disable"))
            .env("PYTHONPATH", in_repository("target/clients/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = within(line, command.output()).await.expect("the shell");
        format!("$ {line}\n{}", String::from_utf8_lossy(&output.stdout))
    }

    /// The same, while somebody approves the request that it makes.
    async fn is_approved(&self, line: &str) -> String {
        let (told, ()) = futures_util::future::join(self.runs(line), self.approve()).await;
        told
    }

    async fn approve(&self) {
        let bob = self.proxy.api("bob");
        let found = async {
            loop {
                let page: Value = bob.call(reqwest::Method::GET, "/requests?status=pending", None).await.body;
                if let Some(id) = page["requests"][0]["id"].as_str() {
                    return id.to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        let id = within("a request", found).await;
        assert_eq!(bob.approve(&id).await, 200);
    }
}

fn check_drivers() {
    let installed = in_repository("target/clients/python/django").exists();
    assert!(installed, "Django and SQLAlchemy are not installed; run: scripts/setup --tests");
}

/// Ids, times and ports look the same every time.
fn tidied(transcript: &str) -> String {
    let mut text = transcript.to_owned();
    for (pattern, word) in [
        (r"[0-9A-HJKMNP-TV-Z]{26}", "01KAN6ZC3V0E7Q4T8W2Y5X9RMB"),
        (r"[0-9]{2}:[0-9]{2} UTC", "16:40 UTC"),
        (r"[0-9]{2}m [0-9]{2}s", "59m 59s"),
        (r"http://127\.0\.0\.1:[0-9]+", "http://127.0.0.1:8543"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, word).into_owned();
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn check(marker: &str, language: &str, wanted: &str) {
    check_page("docs/workflow.md", marker, language, wanted);
}

/// Compares what stands behind a marker of the page, or writes it there.
pub fn check_page(page: &str, marker: &str, language: &str, wanted: &str) {
    static WRITING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = in_repository(page);
    let left = page;
    let page = std::fs::read_to_string(&path).expect("the page");
    let marker = format!("<!-- {marker} -->\n");
    let (before, behind) = page.split_once(&marker).unwrap_or_else(|| panic!("no {marker}"));
    let fence = format!("```{language}\n");
    let (found, rest) = match behind.strip_prefix(&fence).and_then(|block| block.split_once("```\n")) {
        Some((found, rest)) => (found, rest),
        None => ("", behind),
    };
    let wanted = wanted.trim_end().to_owned() + "\n";
    if std::env::var_os("COUNTERSIGN_WRITE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, format!("{before}{marker}{fence}{wanted}```\n{rest}")).expect("the page");
    } else {
        assert_eq!(found, wanted, "{marker}left is {left}; COUNTERSIGN_WRITE_TRANSCRIPTS=1 writes it anew");
    }
}

#[tokio::test]
async fn psql_waits() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let desk = Desk { proxy: &proxy, directory: in_repository("tests/clients"), user: "alice" };
    let told = desk.is_approved("psql -X -c \"UPDATE orders SET status = 'lost' WHERE id = 1\"").await;
    check("transcript: psql", "", &tidied(&told));
}

#[tokio::test]
async fn a_reviewer_types_into_the_console() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut alice = proxy.client("alice").await;
    let held = alice.hold("UPDATE orders SET status = 'lost' WHERE id = 1").await;
    let desk = Desk { proxy: &proxy, directory: in_repository("tests/clients"), user: "bob" };
    let psql = "psql -X -d countersign";
    let mut told = desk.runs(&format!("{psql} -c \"SHOW REQUESTS\"")).await;
    let approve = format!("APPROVE {} REASON 'ticket 17'", held.id);
    told += &desk.runs(&format!("{psql} -c \"{approve}\"")).await;
    held.outcome().await.expect("the update");
    for command in ["SHOW REQESTS", "SHUTDOWN", "SELECT * FROM orders"] {
        told += &desk.runs(&format!("{psql} -c \"{command}\"")).await;
    }
    check_page("docs/console.md", "transcript: console", "", &tidied(&told));
}

#[tokio::test]
async fn exec_sends_a_file() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let home = tempfile::tempdir().expect("temporary directory");
    let text = "UPDATE orders SET status = 'lost' WHERE id = 1;\nUPDATE orders SET status = 'lost' WHERE id = 2;\n\
                SELECT id, status FROM orders WHERE status = 'lost' ORDER BY id;\n";
    std::fs::write(home.path().join("lost.sql"), text).expect("the file");
    let desk = Desk { proxy: &proxy, directory: home.path().to_owned(), user: "alice" };
    let mut told = desk.runs("cat lost.sql").await;
    told += &desk.is_approved("countersign exec shop -f lost.sql --reason 'ticket 17'").await;
    check("transcript: exec", "", &tidied(&told));
}

#[tokio::test]
async fn a_script_comes_back() {
    check_drivers();
    let proxy = Proxy::start(WRITES_HELD).await;
    let desk = Desk { proxy: &proxy, directory: in_repository("tests/clients"), user: "alice" };
    let mut told = desk.runs("python3 resubmit.py").await;
    desk.approve().await;
    told += &desk.runs("python3 resubmit.py").await;
    let script = std::fs::read_to_string(in_repository("tests/clients/resubmit.py")).expect("the script");
    check("file: tests/clients/resubmit.py", "python", &script);
    check("transcript: resubmit", "", &tidied(&told));
}

#[tokio::test]
async fn a_migration_is_a_batch() {
    check_drivers();
    let rules = WRITES_HELD.replace("\"copy_in\"]", "\"copy_in\", \"create\"]");
    let proxy = Proxy::start(&rules).await;
    let desk = Desk { proxy: &proxy, directory: in_repository("tests/clients/django"), user: "alice" };
    let mut told = desk.runs("python3 manage.py sqlmigrate returns 0001").await;
    let line = "python3 manage.py sqlmigrate returns 0001 | PGOPTIONS='-c countersign.batch=on' stdbuf -oL psql -X -v ON_ERROR_STOP=1";
    told += &desk.is_approved(line).await.replace("stdbuf -oL ", "");
    let returned = proxy.client("alice").await.value("SELECT count(*) FROM returns_return").await;
    assert_eq!(returned.as_deref(), Some("2"), "{told}");
    check("transcript: django", "", &tidied(&told));
}
