//! `countersign audit`: reading and checking the trail offline, from its files alone.
//!
//! Never writes to the trail and needs no running proxy; the configuration only says where the trail is.

mod ocsf;
mod read;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::ConfigArgs;
use super::output::{Colour, Exit, Format, visible_line};
use crate::audit::{self, Anchor, Known, PublicKey, Report};
use crate::config::Config;

/// `countersign audit …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Prove that no record was changed, dropped or reordered, or say which was
    Verify {
        /// Directory of the segments; by default that of the configuration
        dir: Option<PathBuf>,
        /// Configuration that says where the segments are
        #[command(flatten)]
        config: ConfigArgs,
        /// A record and its hash noted earlier; it must still be there, unchanged; may be given several times
        #[arg(long, value_name = "SEQ:HASH")]
        anchor: Vec<Anchor>,
        /// File of such, one a line, or of records as they were written: what a sink or the shared store has kept
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
        /// Public key that has to have signed it, as "audit key" prints it; may be given several times
        #[arg(long, value_name = "HEX")]
        key: Vec<PublicKey>,
        /// Output for people or for machines
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show the newest records
    Tail {
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        lines: usize,
        /// Go on with what is written from now on
        #[arg(short, long)]
        follow: bool,
        /// Which records
        #[command(flatten)]
        trail: read::TrailArgs,
        /// Output for people or for machines
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show the records that fit
    Search {
        /// Which records
        #[command(flatten)]
        trail: read::TrailArgs,
        /// Output for people or for machines
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the records that fit for other programs
    Export {
        /// Which records
        #[command(flatten)]
        trail: read::TrailArgs,
        /// JSON lines as they were written, a table, or OCSF
        #[arg(long, value_enum, default_value_t)]
        format: read::ExportFormat,
    },
    /// Print the digest by which records of a statement are found where its literals are not kept
    Digest {
        /// The statement, byte for byte
        sql: String,
        /// Value of a parameter, in their order
        #[arg(short, long)]
        parameter: Vec<String>,
        /// Configuration of the proxy whose key it is
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the public key by which others verify the signatures of the trail
    Key {
        /// Configuration of the proxy that signs
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// Runs the command and prints to standard output and error.
pub fn run(command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Tail { lines, follow, trail, format } => read::tail(&trail, lines, follow, format).into(),
        AuditCommand::Search { trail, format } => read::search(&trail, format).into(),
        AuditCommand::Export { trail, format } => read::export(&trail, format).into(),
        AuditCommand::Digest { sql, parameter, config } => digest(&config.config, &sql, &parameter).into(),
        AuditCommand::Key { config } => key(&config.config).into(),
        AuditCommand::Verify { dir, config, anchor: mut known, anchors, key, format } => {
            let dir = match dir.map_or_else(|| configured(&config.config), Ok) {
                Ok(dir) => dir,
                Err(exit) => return exit.into(),
            };
            match anchors.map_or_else(|| Ok(Vec::new()), |file| listed(&file)) {
                Ok(listed) => known.extend(listed),
                Err(exit) => return exit.into(),
            }
            verify(&dir, Known { anchors: known, keys: key }, format).into()
        }
    }
}

/// The anchors in a file.
fn listed(file: &Path) -> Result<Vec<Anchor>, Exit> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        eprintln!("countersign: could not read \"{}\": {error}", file.display());
        Exit::Io
    })?;
    Anchor::read_list(&text).map_err(|line| {
        eprintln!("countersign: \"{}\", line {line}: not an anchor", file.display());
        eprintln!("hint: each line is SEQ:HASH, as \"audit verify\" prints it, or a record as it was written");
        Exit::Data
    })
}

/// The directory of the trail of a configuration.
fn configured(config: &Path) -> Result<PathBuf, Exit> {
    match Config::load(config) {
        Ok(config) => Ok(config.data_dir.join("audit")),
        Err(problems) => {
            eprintln!("{problems}");
            eprintln!("hint: the directory can be given instead of a configuration");
            Err(Exit::Config)
        }
    }
}

fn digest(config: &Path, sql: &str, parameters: &[String]) -> Exit {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Config;
        }
    };
    match config.audit.known_literals_key(&config.data_dir) {
        Ok(Some(key)) => {
            println!("{}", key.digest(sql, parameters.iter().map(|value| Some(value.as_str()))));
            Exit::Ok
        }
        Ok(None) => {
            eprintln!("countersign: no key has been made yet");
            eprintln!("hint: the first start of the proxy makes it, or [audit] literals_key names one");
            Exit::Data
        }
        Err(error) => {
            eprintln!("countersign: could not read the key of the digests: {error}");
            Exit::Io
        }
    }
}

fn key(config: &Path) -> Exit {
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Config;
        }
    };
    match config.audit.public_key(&config.data_dir) {
        Ok(Some(key)) => {
            println!("{key}");
            Exit::Ok
        }
        Ok(None) => {
            eprintln!("countersign: no key has been made yet");
            eprintln!("hint: the first start of the proxy makes it, or [audit] signing_key names one");
            Exit::Data
        }
        Err(error) => {
            eprintln!("countersign: could not read the key of the audit trail: {error}");
            Exit::Io
        }
    }
}

/// Checks the trail in `dir` and prints what was found.
pub fn verify(dir: &Path, known: Known, format: Format) -> Exit {
    let report = match audit::verify(dir, known) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("countersign: could not read audit trail \"{}\": {error}", dir.display());
            eprintln!("hint: give the directory that holds 000001.jsonl: \"audit\" in the data directory");
            return Exit::Io;
        }
    };
    match format {
        Format::Text => print!("{}", text(&report, Colour::detect())),
        Format::Json => match serde_json::to_string(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("countersign: could not print report: {error}");
                return Exit::Io;
            }
        },
    }
    if report.is_intact() { Exit::Ok } else { Exit::Data }
}

fn text(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        // Writing to a String cannot fail.
        let _ok = writeln!(out, "{}", colour.red(&visible_line(&finding.to_string(), colour)));
    }
    for gap in &report.gaps {
        let _ok =
            writeln!(out, "{}", colour.yellow(&visible_line(&format!("gap written by the proxy: {gap}"), colour)));
    }
    for note in &report.notes {
        let _ok = writeln!(out, "note: {note}");
    }
    let verdict = if report.is_intact() { colour.green("intact") } else { colour.red("NOT INTACT") };
    let plural = if report.segments == 1 { "" } else { "s" };
    let _ok = writeln!(out, "{verdict}: {} records in {} segment{plural}", report.records, report.segments);
    if let (Some(seq), Some(hash)) = (report.last_seq, &report.last_hash) {
        let _ok = writeln!(out, "last record as an anchor: {seq}:{hash}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Audit, Record};

    #[test]
    fn the_exit_code_tells_whether_the_trail_is_intact() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(verify(dir.path(), Known::default(), Format::Text), Exit::Io);
        let now = crate::review::fixture::at(0);
        let audit = Audit::open(dir.path(), now).unwrap();
        for session in ["1", "2"] {
            let record = Record::SessionClose { session, user: "alice", database: "shop", reason: "Terminate" };
            audit.record(now, &record).unwrap();
        }
        drop(audit);
        assert_eq!(verify(dir.path(), Known::default(), Format::Text), Exit::Ok);
        let report = audit::verify(dir.path(), Known::default()).unwrap();
        assert!(text(&report, Colour::Off).starts_with(
            "note: there is no signature in it\nintact: 2 records in 1 segment\nlast record as an anchor: 2:"
        ));

        let segment = dir.path().join("000001.jsonl");
        let changed = std::fs::read_to_string(&segment).unwrap().replacen("alice", "mallory", 1);
        std::fs::write(&segment, changed).unwrap();
        assert_eq!(verify(dir.path(), Known::default(), Format::Json), Exit::Data);
        let report = audit::verify(dir.path(), Known::default()).unwrap();
        assert_eq!(
            text(&report, Colour::Off).lines().next(),
            Some("000001.jsonl:1 record 1 changed: its hash is not the one the next record carries")
        );
    }
}
