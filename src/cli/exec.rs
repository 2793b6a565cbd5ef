//! `countersign exec`: runs SQL through the proxy, as one request, and shows how it fares.
//!
//! Never splits the text: what is in the file is one Query, which is approved, and runs, as a whole. Invariant: rows go to
//! standard output, everything else to standard error.

mod print;
mod talk;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output::Exit;
use crate::config::{Secret, UpstreamConfig};
use crate::fault::with_causes;
use crate::upstream::{self, UpstreamError};
use print::{ExecFormat, Printer};
use talk::Talk;

/// `countersign exec …`
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["input", "file"])))]
pub struct ExecArgs {
    /// The database, as the proxy names it
    database: String,
    /// The SQL to run
    #[arg(short, long, value_name = "SQL")]
    input: Option<String>,
    /// The file to run, as one request; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Address of the proxy: postgres://user@host:6543, with sslmode and the like as for libpq; the password is taken from
    /// PGPASSWORD
    #[arg(long, value_name = "URL", env = "COUNTERSIGN_PROXY")]
    proxy: String,
    /// Do not wait for an approval: print the id of the access request, and run the same again once it is approved
    #[arg(long)]
    no_wait: bool,
    /// Why, for those who approve it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Output for people or for machines; json is one document for each result
    #[arg(long, value_enum, default_value_t)]
    format: ExecFormat,
}

/// What went wrong, and the exit code.
#[derive(Debug)]
pub(super) struct Failed {
    exit: Exit,
    message: String,
}

impl Failed {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Io, format!("could not write output: {error}"))
    }
}

/// Runs the command.
pub async fn run(args: ExecArgs) -> ExitCode {
    match exec(args).await {
        Ok(exit) => exit.into(),
        Err(failed) => {
            eprintln!("countersign: {}", failed.message);
            failed.exit.into()
        }
    }
}

async fn exec(args: ExecArgs) -> Result<Exit, Failed> {
    let text = text_of(&args)?;
    let target = target_of(&args)?;
    crate::telemetry::install_crypto_provider();
    let connected = upstream::connect(&target, &settings_of(&args)).await.map_err(|error| unreachable(&error))?;
    let printer = Printer::new(args.format, io::stdout().lock());
    Talk::new(connected, printer, args.no_wait).run(&text).await
}

fn text_of(args: &ExecArgs) -> Result<String, Failed> {
    let (name, read) = match (&args.input, &args.file) {
        (Some(text), _) => return Ok(text.clone()),
        (None, Some(path)) if path == Path::new("-") => {
            let mut bytes = Vec::new();
            ("standard input".to_owned(), io::stdin().read_to_end(&mut bytes).map(|_| bytes))
        }
        (None, Some(path)) => (path.display().to_string(), std::fs::read(path)),
        (None, None) => return Err(Failed::new(Exit::Usage, "give the SQL with --input or --file")),
    };
    let bytes = read.map_err(|error| Failed::new(Exit::Io, format!("could not read {name}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failed::new(Exit::Data, format!("{name} is not UTF-8")))?;
    match text.contains('\0') {
        true => Err(Failed::new(Exit::Data, format!("{name} has a NUL in it"))),
        false => Ok(text),
    }
}

fn target_of(args: &ExecArgs) -> Result<UpstreamConfig, Failed> {
    // The database stands beside it; a URL without one is completed for the parser.
    let (address, query) = args.proxy.split_once('?').map_or((args.proxy.as_str(), None), |(a, q)| (a, Some(q)));
    let has_database = address.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let complete = format!(
        "{address}{}{}",
        if has_database { "" } else { "/database" },
        query.map(|query| format!("?{query}")).unwrap_or_default()
    );
    let wrong = |why: String| Failed::new(Exit::Usage, format!("--proxy: {why}"));
    if has_database {
        return Err(wrong(format!(
            "the URL names a database; write it without, \"{}\" is named beside it",
            args.database
        )));
    }
    let mut target = UpstreamConfig::from_url(&complete, Path::new(".")).map_err(wrong)?;
    target.database.clone_from(&args.database);
    target.password = std::env::var("PGPASSWORD").ok().map(Secret::new);
    Ok(target)
}

fn settings_of(args: &ExecArgs) -> Vec<(String, String)> {
    let mut settings = vec![("application_name".to_owned(), "countersign exec".to_owned())];
    settings.extend(args.reason.clone().map(|reason| ("countersign.reason".to_owned(), reason)));
    if args.no_wait {
        settings.push(("countersign.mode".to_owned(), "resubmit".to_owned()));
    }
    settings
}

fn unreachable(error: &UpstreamError) -> Failed {
    let rejected = |exit, what: &str| Failed::new(exit, what);
    match error {
        UpstreamError::Rejected { sqlstate } => match sqlstate.as_str() {
            "28P01" => {
                rejected(Exit::Permission, "the proxy does not accept user and password; PGPASSWORD is the password")
            }
            "28000" => rejected(
                Exit::Permission,
                "the proxy does not let this user in that way; it may require sslmode=require",
            ),
            "3D000" => rejected(Exit::Data, "there is no such database, or it is not open to this user"),
            other => Failed::new(Exit::Unavailable, format!("the proxy refused the connection with SQLSTATE {other}")),
        },
        UpstreamError::NoPassword => rejected(Exit::Permission, "the proxy asks for a password; set PGPASSWORD"),
        other => Failed::new(Exit::Unavailable, with_causes(other).replace("upstream", "proxy")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(proxy: &str) -> ExecArgs {
        ExecArgs {
            database: "prod/db".to_owned(),
            input: Some("SELECT 1".to_owned()),
            file: None,
            proxy: proxy.to_owned(),
            no_wait: true,
            reason: Some("ticket 17".to_owned()),
            format: ExecFormat::Text,
        }
    }

    #[track_caller]
    fn check(proxy: &str, expected: Option<(&str, u16)>) {
        let target = target_of(&args(proxy));
        let found = target.as_ref().ok().map(|target| (target.host.as_str(), target.port));
        assert_eq!(found, expected, "{target:?}");
        assert!(target.as_ref().map_or(true, |target| target.database == "prod/db" && target.user == "alice"));
    }

    #[test]
    fn the_database_stands_beside_the_address() {
        check("postgres://alice@db.internal:6543", Some(("db.internal", 6543)));
        check("postgres://alice@db.internal:6543?sslmode=require", Some(("db.internal", 6543)));
        check("postgres://alice@db.internal:6543/shop", None);
        check("postgres://alice:secret@db.internal:6543", None);
        check("db.internal", None);
    }

    #[test]
    fn what_is_asked_for_is_set_from_the_start() {
        let settings = settings_of(&args("postgres://alice@db.internal:6543"));
        assert!(settings.contains(&("countersign.mode".to_owned(), "resubmit".to_owned())));
        assert!(settings.contains(&("countersign.reason".to_owned(), "ticket 17".to_owned())));
    }
}
