//! Transcripts of the book: commands are run, and what they print is compared with the page.
//!
//! `COUNTERSIGN_WRITE_TRANSCRIPTS=1 cargo test --workspace --test it documents::transcripts` writes them anew.

use std::path::PathBuf;
use std::process::Stdio;

use clap::{CommandFactory as _, Parser as _};
use countersign::cli::Cli;
use regex::Regex;

use super::{in_repository, page, pages};
use crate::support::config::{password, token};
use crate::support::proxy::Proxy;
use crate::support::server::{Database, SERVER, UPSTREAM_PASSWORD};
use crate::support::within;
use crate::workflow::check_page;

/// The rules and masks of the demo.
const DEMO: &str = r#"
[[rules]]
name = "no-destructive-ddl"
effects = ["drop", "truncate"]
action = "deny"
message = "Drop and truncate go through a migration, never through a session"

[[rules]]
name = "writes-need-a-dba"
effects = ["insert", "update", "delete", "merge", "copy_in"]
relations = ["public.*"]
action = "hold"
reviewers = ["dba-team"]
timeout = "30m"

[[masks]]
name = "customer-email"
columns = ["public.customers.email"]
mask = "email"

[[masks]]
name = "customer-ssn"
columns = ["*.*.ssn"]
mask = "last4"
"#;

/// Where lines are typed, and what is in the environment there.
struct Desk {
    directory: PathBuf,
    environment: Vec<(String, String)>,
}

impl Desk {
    fn new(directory: PathBuf) -> Self {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_countersign"));
        let own = binary.parent().expect("a directory").display();
        let path = format!("{own}:{}", std::env::var("PATH").unwrap_or_default());
        let packages = in_repository("target/clients/python").display().to_string();
        let environment = [("PATH", path), ("PYTHONPATH", packages), ("PYTHONDONTWRITEBYTECODE", "1".to_owned())];
        Self { directory, environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec() }
    }

    /// Of a person in front of a proxy.
    fn of(proxy: &Proxy, user: &str) -> Self {
        let mut desk = Self::new(in_repository("docs"));
        for (name, value) in [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", proxy.address().port().to_string()),
            ("PGUSER", user.to_owned()),
            ("PGDATABASE", "shop".to_owned()),
            ("PGPASSWORD", password(user)),
            ("PGSSLMODE", "disable".to_owned()),
            ("COUNTERSIGN_URL", proxy.web()),
            ("COUNTERSIGN_TOKEN", token(user)),
        ] {
            desk.environment.push((name.to_owned(), value));
        }
        desk
    }

    /// A line of a shell and what it prints, with its exit code where that is not 0.
    async fn runs(&self, line: &str) -> String {
        let mut command = tokio::process::Command::new("bash");
        command.args(["-c", &format!("({line}) 2>&1")]).current_dir(&self.directory);
        command.env_remove("COUNTERSIGN_CONFIG").envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = within(line, command.output()).await.expect("the shell");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().expect("an exit code");
        let end = if code == 0 || line.starts_with("psql") { String::new() } else { format!("$ echo $?\n{code}\n") };
        format!("$ {line}\n{told}{end}")
    }
}

/// Ids, digests, times, ports and versions look the same every time.
fn tidied(transcript: &str) -> String {
    let mut text = transcript.to_owned();
    for (pattern, word) in [
        (r"[0-9A-HJKMNP-TV-Z]{26}", "01KAN6ZC3V0E7Q4T8W2Y5X9RMB"),
        (r"[0-9]{2}:[0-9]{2} UTC", "16:40 UTC"),
        (r"[0-9]{2}m [0-9]{2}s", "29m 58s"),
        (r"http://127\.0\.0\.1:[0-9]+", "http://127.0.0.1:8543"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", "2026-01-02 03:04:05"),
        (r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b", "03:04:05"),
        (r"\b[0-9a-f]{64}\b", "5d41402a…"),
        (r"session=[0-9a-f-]+", "session=1795371943-7"),
        (r"revision [0-9a-f]{12}, rules [0-9a-f]{12}", "revision 9f2c6a01b7de, rules 41d0c2a7e35b"),
        (r"PostgreSQL [0-9][0-9.]*( \([^)]*\))?", "PostgreSQL 18.1"),
        (r"/tmp/\.tmp[A-Za-z0-9]+", "/srv/audit-2026-01"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, word).into_owned();
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn check(page: &str, marker: &str, told: &str) {
    check_page(page, &format!("transcript: {marker}"), "", &tidied(told));
}

#[tokio::test]
async fn the_main_job_is_done_as_shown() {
    let proxy = Proxy::start(DEMO).await;
    let (alice, bob) = (Desk::of(&proxy, "alice"), Desk::of(&proxy, "bob"));
    let mut told = String::new();
    for statement in [
        "SELECT name, email, ssn FROM customers ORDER BY id LIMIT 2",
        "SELECT 'leak ' || upper(email) AS harmless FROM customers LIMIT 1",
        "DROP TABLE payments",
    ] {
        told += &alice.runs(&format!("psql -X -c \"{statement}\"")).await;
    }
    let decides = async {
        let found = async {
            loop {
                let list = bob.runs("countersign requests list").await;
                if list.contains("PENDING") {
                    return list;
                }
            }
        };
        let list = within("a request", found).await;
        let id = list.split_whitespace().find(|word| word.len() == 26).expect("an id").to_owned();
        list + &bob.runs(&format!("countersign requests approve {id} --reason 'order 4 is on its way'")).await
    };
    let update = alice.runs("psql -X -c \"UPDATE orders SET status = 'shipped' WHERE id = 4\"");
    let (updated, decided) = futures_util::future::join(update, decides).await;
    for (page, alice, bob) in [("docs/quick-start.md", "alice", "bob"), ("README.md", "readme", "readme decided")] {
        check(page, alice, &format!("{told}{updated}"));
        check(page, bob, &decided);
    }
}

#[tokio::test]
async fn a_configuration_is_begun_as_shown() {
    let database = Database::create().await;
    let home = tempfile::tempdir().expect("temporary directory");
    std::fs::write(home.path().join("alice.password"), "correct horse\n").expect("a file");
    let mut desk = Desk::new(home.path().to_owned());
    desk.environment.push(("COUNTERSIGN_UPSTREAM_PASSWORD".to_owned(), UPSTREAM_PASSWORD.to_owned()));
    let address = format!("127.0.0.1:{}/{}", SERVER.port(), database.name);
    let shown = |told: &str| {
        told.replace(&format!("{address}?sslmode=disable"), "db.internal/shop")
            .replace(&address, "db.internal:5432/shop")
    };
    let url = format!("postgres://shop_rw@{address}?sslmode=disable");
    let init = desk.runs(&format!("countersign init --name shop --upstream '{url}' --pack writes-need-review")).await;
    let users = desk.runs("countersign users passwd alice < alice.password").await;
    check("docs/quick-start.md", "init", &shown(&(init + &users)));
    check("docs/quick-start.md", "check", &shown(&desk.runs("countersign check").await));
    let mut told = desk.runs("countersign explain -d shop -u alice \"DELETE FROM orders WHERE id = 7\"").await;
    told += &desk.runs("countersign explain -d shop -u alice \"DELETE FROM orders\"").await;
    check("docs/quick-start.md", "explain", &shown(&told));
}

#[tokio::test]
async fn a_trail_is_verified_as_shown() {
    let mut proxy = Proxy::start(DEMO).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold("UPDATE orders SET status = 'shipped' WHERE id = 4").await;
    let id = held.id.clone();
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    held.outcome().await.expect("the update");
    client.refusal("DROP TABLE payments").await;
    proxy.api("bob").wait_for_state(&id, "EXECUTED").await;
    let key = proxy.run(&["audit", "key", "-c", "countersign.toml"]);
    let key = String::from_utf8(key.stdout).expect("a key").trim().to_owned();
    drop(client);
    proxy.signal(rustix::process::Signal::TERM);
    assert!(proxy.ended().await.success());

    let home = tempfile::tempdir().expect("temporary directory");
    let copied = home.path().join("audit");
    std::fs::create_dir(&copied).expect("a directory");
    for entry in std::fs::read_dir(proxy.data_dir().join("audit")).expect("the trail").flatten() {
        std::fs::copy(entry.path(), copied.join(entry.file_name())).expect("a copy");
    }
    std::fs::copy(in_repository("docs/verify_audit.py"), home.path().join("verify_audit.py")).expect("a copy");
    let desk = Desk::new(home.path().to_owned());
    let page = "docs/audit-for-auditors.md";
    check(page, "verify", &numbered(&desk.runs(&format!("countersign audit verify --key {key} audit")).await));
    check(page, "verify python", &numbered(&desk.runs(&format!("python3 verify_audit.py --key {key} audit")).await));
    check("docs/audit.md", "tail", &desk.runs("countersign audit tail -n 3 audit").await);
    let story = desk.runs(&format!("countersign audit search --request {id} audit")).await;
    check(page, "story", &story);
    let mut told = desk.runs("sed -i 's/shipped/skipped/' audit/000001.jsonl").await;
    let told_of = desk.runs(&format!("countersign audit verify --key {key} audit")).await;
    assert!(told_of.ends_with("65\n"), "{told_of}");
    told += &told_of;
    told += &desk.runs(&format!("python3 verify_audit.py --key {key} audit")).await;
    check(page, "tampered", &numbered(&told));
}

/// How many records there are depends on when the proxy checks its own.
fn numbered(told: &str) -> String {
    let counts = Regex::new(r"\b[0-9]+( records\b|:[0-9a-f]{64}\b)").expect("a pattern");
    counts.replace_all(told, "16$1").into_owned()
}

/// `countersign --help`, and the same of each command and of those below it.
fn help() -> String {
    fn pages(command: &clap::Command, above: &str, out: &mut Vec<String>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let name = format!("{above} {}", below.get_name());
            out.push(name.clone());
            pages(below, &name, out);
        }
    }
    let mut names = vec!["countersign".to_owned()];
    pages(&Cli::command(), "countersign", &mut names);
    names.join("\n")
}

#[tokio::test]
async fn every_command_is_described_as_it_describes_itself() {
    let desk = Desk::new(in_repository("docs"));
    let mut told = String::new();
    for name in help().lines() {
        told += &format!("{}\n", desk.runs(&format!("{name} -h")).await);
    }
    assert!(told.lines().count() > 300, "{told}");
    check("docs/commands.md", "help", &told);
}

/// The lines of a page that somebody is to type, with what stands before their block.
fn typed(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let (mut before, mut fenced) = (String::new(), None::<Vec<String>>);
    for line in text.lines() {
        match (&mut fenced, line.starts_with("```")) {
            (None, true) => fenced = Some(Vec::new()),
            (Some(_), true) => found.extend(fenced.take().map(|lines| (std::mem::take(&mut before), lines))),
            (Some(lines), false) => lines.push(line.to_owned()),
            (None, false) => line.clone_into(&mut before),
        }
    }
    found
}

#[test]
fn what_is_shown_with_a_prompt_is_run_or_says_why_not() {
    let tests = [page("tests/it/workflow.rs"), page("tests/it/documents/transcripts.rs")].concat();
    let mut findings = Vec::new();
    for (path, text) in pages() {
        for (before, lines) in typed(&text) {
            if !lines.iter().any(|line| line.starts_with("$ ")) {
                continue;
            }
            let run = before.strip_prefix("<!-- transcript: ").and_then(|rest| rest.strip_suffix(" -->"));
            let is_run = run.is_some_and(|name| {
                tests.contains(&format!("\"{name}\"")) || tests.contains(&format!("transcript: {name}\""))
            });
            let reason = before.strip_prefix("<!-- not run: ").is_some_and(|reason| reason.len() > 20);
            if !is_run && !reason {
                findings.push(format!("{path}: {}", lines[0]));
            }
        }
    }
    assert!(findings.is_empty(), "put a marker before it:\n{}", findings.join("\n"));
}

/// The commands of ours in a line of a shell.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.trim_start_matches("$ ").split(" #").next().unwrap_or_default();
    let parts = line.split(['|', ';', '>', '<']).flat_map(|part| part.split("&&"));
    let quoted = Regex::new(r#"'[^']*'|"[^"]*"|[^\s'"]+"#).expect("a pattern");
    // A digest that is cut short for the page.
    let cut = Regex::new("[0-9a-f]{3,}…").expect("a pattern");
    let digest = "0".repeat(64);
    let words = |part: &str| -> Vec<String> {
        let words = quoted.find_iter(part).map(|word| word.as_str().trim_matches(['\'', '"']));
        words.map(|word| cut.replace(word, &*digest).into_owned()).collect()
    };
    parts.map(words).filter(|words| words.first().is_some_and(|word| word == "countersign")).collect()
}

/// What clap has against a command; prose may name one without all that it needs.
fn fault(words: &[String]) -> Option<String> {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion, MissingRequiredArgument,
    };
    let harmless = [DisplayHelp, DisplayVersion, DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument];
    let error = Cli::try_parse_from(words).err().filter(|error| !harmless.contains(&error.kind()))?;
    Some(format!("{}: {}", words.join(" "), error.kind()))
}

#[test]
fn every_command_of_the_documentation_is_one() {
    let (mut findings, mut count) = (Vec::new(), 0);
    let inline = Regex::new("`(countersign [a-z][^`]*)`").expect("a pattern");
    for (path, text) in pages() {
        let prose = inline.captures_iter(&text).map(|found| found[1].to_owned());
        let blocks = typed(&text).into_iter().flat_map(|(_, lines)| {
            let has_prompt = lines.iter().any(|line| line.starts_with("$ "));
            lines.into_iter().filter(move |line| !has_prompt || line.starts_with("$ "))
        });
        // What stands in front of a digest, and the name of an application, are no commands.
        let others = ["countersign statement", "countersign api"];
        for line in prose.chain(blocks).filter(|line| !others.contains(&line.as_str())) {
            for words in commands(&line).into_iter().filter(|words| words.len() > 1) {
                count += 1;
                let words: Vec<_> = words.into_iter().filter(|word| word != "…").collect();
                findings.extend(fault(&words).map(|fault| format!("{path}: {fault}")));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(count > 60, "only {count} commands were found");
}
