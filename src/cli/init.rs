//! `countersign init`: a commented configuration to begin with.
//!
//! Never replaces a file and never writes a password. Invariant: what it writes passes `countersign check`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::ConfigArgs;
use super::output::{Colour, Exit};
use crate::catalog::side::Side;
use crate::config::{Config, ConfigProblems, SslMode, UpstreamConfig};
use crate::fault::with_causes;
use crate::packs::Pack;
use crate::tls;

/// What editors check the file against while it is written; `countersign config-schema` prints the same.
const SCHEMA: &str = concat!(
    "https://raw.githubusercontent.com/countersign/countersign/v",
    env!("CARGO_PKG_VERSION"),
    "/docs/countersign.schema.json"
);
/// Where the password of the upstream role is looked for.
const PASSWORD: &str = "COUNTERSIGN_UPSTREAM_PASSWORD";

/// `countersign init …`
#[derive(Clone, Debug, clap::Args)]
pub struct InitArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The database: `postgres://user@host:port/database`, without a password; that is taken from the environment variable
    /// COUNTERSIGN_UPSTREAM_PASSWORD
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// A starter policy to begin with; several can be named
    #[arg(long, value_enum, value_name = "NAME")]
    pack: Vec<Pack>,
    /// What clients will call the database; the name in the URL when it is not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command.
pub async fn run(args: InitArgs) -> ExitCode {
    match init(&args).await {
        Ok(()) => Exit::Ok.into(),
        Err((exit, message)) => {
            eprintln!("countersign: {message}");
            exit.into()
        }
    }
}

type Failure = (Exit, String);

async fn init(args: &InitArgs) -> Result<(), Failure> {
    let path = &args.config.config;
    if path.exists() {
        let message = format!("{} exists and stays as it is; name another file with -c", path.display());
        return Err((Exit::Usage, message));
    }
    let with_password = std::env::var_os(PASSWORD).is_some_and(|password| !password.is_empty());
    let text = starter(args, with_password)?;
    let config = Config::parse(path, &text).map_err(|problems| (Exit::Usage, about_arguments(&problems)))?;
    let database = config.databases.first().ok_or_else(|| (Exit::Usage, "no database".to_owned()))?;
    let found = look(&database.upstream).await;
    write(path, &text).map_err(|error| (Exit::Io, format!("could not write {}: {error}", path.display())))?;
    report(path, &database.name, &args.pack, found);
    Ok(())
}

/// Creates the file; one that has appeared meanwhile stays.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Problems of a text that we made are those of what was put into it.
fn about_arguments(problems: &ConfigProblems) -> String {
    let line = |problem: &crate::config::Problem| {
        let hint = match problem.key.as_str() {
            "upstream" if problem.message.contains("password") => Some(format!("leave it out and set {PASSWORD}")),
            _ => problem.hint.clone(),
        };
        let of = if problem.key == "upstream" { "--upstream: " } else { "" };
        format!("{of}{}{}", problem.message, hint.map(|hint| format!("; {hint}")).unwrap_or_default())
    };
    problems.0.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The name clients use: as given, or the last part of the URL's path.
fn database_name(args: &InitArgs) -> String {
    let own = || {
        let path = args.upstream.split(['?', '#']).next().unwrap_or_default();
        path.rsplit_once('/').map_or("database", |(_, name)| name).to_owned()
    };
    args.name.clone().unwrap_or_else(own)
}

fn starter(args: &InitArgs, with_password: bool) -> Result<String, Failure> {
    let quoted = |text: &str| toml_edit::Value::from(text).to_string().trim().to_owned();
    let name = database_name(args);
    if name.is_empty() {
        return Err((
            Exit::Usage,
            "--upstream: names no database; write postgres://user@host:5432/database".to_owned(),
        ));
    }
    let password = match with_password {
        true => format!("password = {{ env = \"{PASSWORD}\" }}"),
        false => format!("# password = {{ env = \"{PASSWORD}\" }}    # or {{ file = \"upstream.password\" }}"),
    };
    let mut text = include_str!("init/starter.toml")
        .replace("@SCHEMA@", SCHEMA)
        .replace("@NAME@", &quoted(&name))
        .replace("@UPSTREAM@", &quoted(&args.upstream))
        .replace("# @PASSWORD@", &password);
    if args.pack.contains(&Pack::AiAgent) {
        text = text.replace("# @AGENT@", include_str!("init/agent.toml"));
    }
    text = text.replace("# @AGENT@\n", "");
    let mut packs = args.pack.clone();
    packs.dedup();
    if packs.is_empty() {
        text.push_str(include_str!("init/rules.toml"));
    }
    for pack in packs {
        // Writing to a String cannot fail.
        let _ok = write!(text, "\n{}", pack.text());
    }
    Ok(text)
}

/// What was found behind the address.
struct Found {
    line: String,
    warnings: Vec<String>,
}

/// Connects once and looks around.
async fn look(upstream: &UpstreamConfig) -> Result<Found, String> {
    let connector = match upstream.ssl_mode {
        SslMode::Disable => None,
        SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            Some(tls::connector(upstream).map_err(|error| with_causes(&error))?)
        }
    };
    let side = Side::connect_plain(upstream, connector.as_ref()).await.map_err(|error| {
        // What it was to connect for is not what this command is for.
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), with_causes);
        let hint =
            if upstream.password.is_none() { format!("; a password is taken from {PASSWORD}") } else { String::new() };
        format!("{cause}{hint}")
    })?;
    const QUESTION: &str = "SELECT pg_catalog.current_setting('server_version'), r.rolsuper, \
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema)') \
        FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
    let row = side.client().query_one(QUESTION, &[]).await.map_err(|error| with_causes(&error))?;
    let failed = |error: tokio_postgres::Error| with_causes(&error);
    let version: String = row.try_get(0).map_err(failed)?;
    let is_superuser: bool = row.try_get(1).map_err(failed)?;
    let relations: i64 = row.try_get(2).map_err(failed)?;
    let mut warnings = Vec::new();
    if is_superuser {
        warnings.push(format!(
            "\"{}\" is a superuser: everybody who comes through the proxy would be one. Use a role of its own.",
            upstream.user
        ));
    }
    let line = format!("PostgreSQL {version} answers as \"{}\"; {relations} tables and views", upstream.user);
    Ok(Found { line, warnings })
}

fn report(path: &Path, database: &str, packs: &[Pack], found: Result<Found, String>) {
    let colour = Colour::detect();
    let with = match packs {
        [] => String::new(),
        packs => format!(" with {}", packs.iter().map(Pack::to_string).collect::<Vec<_>>().join(", ")),
    };
    println!("{} {}{with}", colour.green("wrote"), path.display());
    match found {
        Ok(found) => {
            println!("{} {}", colour.green("found"), found.line);
            found.warnings.iter().for_each(|warning| println!("{}  {warning}", colour.yellow("note")));
        }
        Err(error) => println!("{}  the database does not answer yet: {error}", colour.yellow("note")),
    }
    let option = match path.to_str() {
        Some("countersign.toml") => String::new(),
        _ => format!(" -c {}", path.display()),
    };
    println!("\nnext");
    let steps = [
        (format!("countersign users{option} passwd alice"), "a password for who asks"),
        (format!("countersign users{option} passwd bob"), "and for who approves"),
        (format!("countersign users{option} token bob"), "to approve from the command line"),
        (format!("countersign check{option}"), "what the file means"),
        (format!("countersign serve{option}"), "the proxy"),
        (format!("psql -h 127.0.0.1 -p 6543 -U alice {database}"), "through it"),
    ];
    let width = steps.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    for (command, does) in steps {
        println!("  {command:<width$}  {}", colour.dim(does));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(upstream: &str, pack: &[Pack]) -> InitArgs {
        let config = ConfigArgs { config: "countersign.toml".into() };
        InitArgs { config, upstream: upstream.to_owned(), pack: pack.to_vec(), name: None }
    }

    #[track_caller]
    fn check(upstream: &str, packs: &[Pack]) -> Config {
        let text = starter(&args(upstream, packs), false).unwrap();
        assert!(!text.contains('@') || text.contains("postgres://"), "nothing is left to fill in");
        Config::parse(Path::new("countersign.toml"), &text).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn what_is_written_is_valid_with_every_pack_and_with_all() {
        const URL: &str = "postgres://shop@db.internal:5432/shop?sslmode=require";
        check(URL, &[]);
        for pack in Pack::ALL {
            check(URL, &[pack]);
        }
        let config = check(URL, &Pack::ALL);
        assert_eq!(config.databases[0].name, "shop");
        assert!(!config.warnings.iter().any(|warning| warning.contains("agents")), "{:?}", config.warnings);
    }

    #[test]
    fn odd_names_are_quoted() {
        assert_eq!(check("postgres://shop@db/my.shop%20two", &[]).databases[0].name, "my.shop%20two");
        assert_eq!(check("postgres://s%22hop@db/x", &[]).databases[0].upstream.user, "s\"hop");
    }

    #[track_caller]
    fn refused(upstream: &str, expected: &str) {
        let found = match starter(&args(upstream, &[]), false) {
            Ok(text) => about_arguments(&Config::parse(Path::new("countersign.toml"), &text).unwrap_err()),
            Err((_, message)) => message,
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn what_is_wrong_with_the_url_is_said_of_the_url() {
        refused("db.internal", "--upstream: ");
        refused("postgres://shop:hunter2@db/shop", "leave it out and set COUNTERSIGN_UPSTREAM_PASSWORD");
        refused("postgres://db/shop", "names no user");
        refused("postgres://shop@db/", "names no database");
    }
}
