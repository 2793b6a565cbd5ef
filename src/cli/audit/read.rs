//! `countersign audit tail|search|export`: records for people, and for other programs.
//!
//! Never lets a terminal, or a spreadsheet, interpret what a requester wrote. Invariant: one record is one line, but for
//! statements that are shown to people.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::super::output::{Colour, Exit, Format, visible_line};
use super::super::{ConfigArgs, csv};
use super::{configured, ocsf};
use crate::audit::{self, Entry, Follower, Question};

/// How often `tail --follow` looks.
const FOLLOW_PERIOD: Duration = Duration::from_millis(300);

/// What a statement is cut to where people read it.
const STATEMENT_CHARS: usize = 200;

/// Columns of an exported table, in this order.
const COLUMNS: [&str; 33] = [
    "seq",
    "at",
    "kind",
    "session",
    "request",
    "grant",
    "user",
    "by",
    "database",
    "client_address",
    "application",
    "verdict",
    "effects",
    "rules",
    "observed",
    "statement",
    "command",
    "permitted",
    "parameters",
    "approvers",
    "approve",
    "groups",
    "from",
    "to",
    "outcome",
    "detail",
    "rows",
    "duration_ms",
    "masked_columns",
    "masked_cells",
    "unmasked_by",
    "surface",
    "reason",
];

/// Which trail, and which of its records.
#[derive(Clone, Debug, clap::Args)]
pub struct TrailArgs {
    /// Directory of the segments; by default that of the configuration
    dir: Option<PathBuf>,
    /// Configuration that says where the segments are
    #[command(flatten)]
    config: ConfigArgs,
    /// Of this kind, such as verdict or vote; may be given several times
    #[arg(long)]
    kind: Vec<String>,
    /// Of a session of this user, or made by them
    #[arg(long)]
    user: Option<String>,
    /// On this database
    #[arg(long)]
    database: Option<String>,
    /// About this access request
    #[arg(long)]
    request: Option<String>,
    /// With this in the statement, whatever the case
    #[arg(long)]
    text: Option<String>,
    /// Made at this time or later: 2026-01-02T03:04:05Z, or 2h for two hours ago
    #[arg(long, value_parser = time)]
    since: Option<Timestamp>,
    /// Made before this time
    #[arg(long, value_parser = time)]
    until: Option<Timestamp>,
}

/// Format of `audit export`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// The lines as they were written.
    #[default]
    Jsonl,
    /// A table for spreadsheets, with a first line of names.
    Csv,
    /// Events of the Open Cybersecurity Schema Framework 1.3.0, one a line.
    Ocsf,
}

fn time(text: &str) -> Result<Timestamp, String> {
    let read = crate::duration::moment(text, Timestamp::now());
    read.ok_or_else(|| format!("write it like {}", crate::duration::MOMENTS))
}

impl TrailArgs {
    fn dir(&self) -> Result<PathBuf, Exit> {
        self.dir.clone().map_or_else(|| configured(&self.config.config), Ok)
    }

    fn question(&self) -> Question {
        Question {
            kinds: self.kind.clone(),
            user: self.user.clone(),
            database: self.database.clone(),
            request: self.request.clone(),
            text: self.text.clone(),
            since: self.since,
            until: self.until,
            after: 0,
            before: None,
        }
    }
}

/// Prints the newest records, and goes on when it is told to.
pub(super) fn tail(trail: &TrailArgs, lines: usize, follow: bool, format: Format) -> Exit {
    with(trail, |dir, question| {
        let mut follower = follow.then(|| Follower::from_end(dir, question.clone())).transpose()?;
        for entry in audit::last(dir, &question, lines)? {
            print(&entry, format)?;
        }
        while let Some(follower) = &mut follower {
            for entry in follower.read_on()? {
                print(&entry, format)?;
            }
            std::thread::sleep(FOLLOW_PERIOD);
        }
        Ok(())
    })
}

/// Prints all records that fit, oldest first.
pub(super) fn search(trail: &TrailArgs, format: Format) -> Exit {
    each(trail, |entry| print(entry, format))
}

/// Prints all records that fit for other programs.
pub(super) fn export(trail: &TrailArgs, format: ExportFormat) -> Exit {
    if format == ExportFormat::Csv
        && let Err(error) = write!(io::stdout(), "{}", csv::record(&COLUMNS.map(str::to_owned)))
    {
        return ended(&error);
    }
    each(trail, |entry| match format {
        ExportFormat::Jsonl => writeln!(io::stdout(), "{}", entry.line),
        ExportFormat::Csv => write!(io::stdout(), "{}", csv_record(entry)),
        ExportFormat::Ocsf => writeln!(io::stdout(), "{}", ocsf::event(entry)),
    })
}

fn each(trail: &TrailArgs, mut show: impl FnMut(&Entry) -> io::Result<()>) -> Exit {
    with(trail, |dir, question| {
        let mut shown = Ok(());
        audit::search(dir, &question, |entry| {
            shown = show(&entry);
            shown.is_ok()
        })?;
        shown
    })
}

fn with(trail: &TrailArgs, act: impl FnOnce(&Path, Question) -> io::Result<()>) -> Exit {
    let dir = match trail.dir() {
        Ok(dir) => dir,
        Err(exit) => return exit,
    };
    match act(&dir, trail.question()) {
        Ok(()) => Exit::Ok,
        Err(error) => ended(&error),
    }
}

fn ended(error: &io::Error) -> Exit {
    // Whoever reads has seen enough, as with `| head`.
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Exit::Ok;
    }
    eprintln!("countersign: could not read audit trail: {error}");
    eprintln!("hint: give the directory that holds 000001.jsonl: \"audit\" in the data directory");
    Exit::Io
}

fn print(entry: &Entry, format: Format) -> io::Result<()> {
    match format {
        Format::Json => writeln!(io::stdout(), "{}", entry.line),
        Format::Text => writeln!(io::stdout(), "{}", text(entry, Colour::detect())),
    }
}

/// One line for people: when, what kind, who and where, and what.
fn text(entry: &Entry, colour: Colour) -> String {
    let at = entry.text("at").get(..19).unwrap_or_default().replacen('T', " ", 1);
    let kind = entry.text("kind");
    let kind = match kind {
        "gap" | "login_failed" => colour.red(&format!("{kind:<13}")),
        "vote" | "grant" | "grant_vote" | "transition" => colour.yellow(&format!("{kind:<13}")),
        _ => colour.bold(&format!("{kind:<13}")),
    };
    let who = [entry.text("user"), entry.text("by")].into_iter().find(|who| !who.is_empty()).unwrap_or_default();
    let place = match (who, entry.text("database")) {
        (who, "") => who.to_owned(),
        (who, database) => format!("{who}@{database}"),
    };
    let mut words = vec![colour.dim(&at), kind, visible_line(&place, colour)];
    for key in [
        "request",
        "grant",
        "session",
        "client_address",
        "with",
        "accepted",
        "method",
        "path",
        "status",
        "revision",
        "verdict",
        "effects",
        "rules",
        "observed",
        "unmasked_by",
        "groups",
        "approve",
        "forced",
        "from",
        "to",
        "approvers",
        "outcome",
        "detail",
        "rows",
        "masked_cells",
        "permitted",
        "segment",
        "told_at",
    ] {
        if let Some(shown) = entry.shown(key).filter(|shown| !shown.is_empty()) {
            words.push(format!("{}={}", colour.dim(key), visible_line(&shown, colour)));
        }
    }
    for key in ["reason", "statement", "command"] {
        let said = entry.text(key);
        if !said.is_empty() {
            let cut: String = said.chars().take(STATEMENT_CHARS).collect();
            let more = if cut.len() < said.len() { "…" } else { "" };
            words.push(format!("{}={}{more}", colour.dim(key), visible_line(&cut, colour)));
        }
    }
    words.retain(|word| !word.is_empty());
    words.join("  ")
}

fn csv_record(entry: &Entry) -> String {
    let cell = |key: &&str| entry.shown(key).unwrap_or_default();
    csv::record(&COLUMNS.iter().map(cell).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        Entry { line: line.to_owned(), fields: serde_json::from_str(line).unwrap() }
    }

    #[test]
    fn one_record_is_one_line_for_people() {
        let verdict = entry(
            r#"{"seq":3,"prev":"00","at":"2026-01-02T03:04:05.678Z","kind":"verdict","session":"7-1","user":"alice","database":"shop","statement":"DELETE FROM t\nWHERE id = 1","effects":["delete"],"verdict":"hold","rules":["writes"],"observed":[],"request":null}"#,
        );
        assert_eq!(
            text(&verdict, Colour::Off),
            "2026-01-02 03:04:05  verdict        alice@shop  session=7-1  verdict=hold  effects=delete  rules=writes  statement=DELETE FROM t\\nWHERE id = 1"
        );
    }

    #[test]
    fn what_an_auditor_looks_for_is_shown() {
        let shown = |line: &str| text(&entry(line), Colour::Off);
        let vote = shown(
            r#"{"at":"2026-01-02T03:04:05Z","kind":"vote","by":"bob","groups":["dba-team"],"approve":true,"forced":true}"#,
        );
        assert!(vote.ends_with("bob  groups=dba-team  approve=true  forced=true"), "{vote}");
        let verdict = shown(
            r#"{"at":"2026-01-02T03:04:05Z","kind":"verdict","user":"eve","verdict":"allow","unmasked_by":["01KAN"]}"#,
        );
        assert!(verdict.ends_with("eve  verdict=allow  unmasked_by=01KAN"), "{verdict}");
        let call = shown(
            r#"{"at":"2026-01-02T03:04:05Z","kind":"api_call","user":"","client_address":"::1","with":"","method":"POST","path":"/api/v1/\u001b[2J","status":401}"#,
        );
        assert!(call.ends_with("client_address=::1  method=POST  path=/api/v1/<U+001B>[2J  status=401"), "{call}");
        let way_in =
            shown(r#"{"at":"2026-01-02T03:04:05Z","kind":"sign_in","user":"bob","with":"oidc","accepted":false}"#);
        assert!(way_in.ends_with("bob  with=oidc  accepted=false"), "{way_in}");
    }

    #[test]
    fn a_record_of_a_table_has_a_cell_for_each_column() {
        let outcome =
            entry(r#"{"seq":3,"kind":"outcome","user":" =1","rows":2,"masked_cells":{"email":7},"reason":null}"#);
        let line = csv_record(&outcome);
        assert_eq!(line.matches(",\"").count() + 1, COLUMNS.len());
        assert!(line.starts_with("\"3\",\"\",\"outcome\",") && line.ends_with("\r\n"), "{line}");
        assert!(line.contains("\"' =1\"") && line.contains("\"{\"\"email\"\":7}\""), "{line}");
    }

    #[test]
    fn times_are_instants_or_as_long_ago() {
        assert_eq!(time("2026-01-02T03:04:05Z").unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert!(time("2h").unwrap() < Timestamp::now());
        assert!(time("yesterday").unwrap_err().contains("2h"));
    }
}
