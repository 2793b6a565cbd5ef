//! `countersign explain`: what would happen to a statement, and why, without running it.
//!
//! Never executes the statement: the upstream is asked for its catalog, and to prepare the text so that its columns are
//! known, and for an estimate where a rule needs one. Invariant: the verdict comes from the same functions as on the wire.

pub(super) mod text;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use countersign_policy::analysis::{AnalysisContext, NothingPrepared};
use countersign_policy::grant::Grants;
use countersign_policy::mask::{FieldOrigin, MaskPlan, MaskSet};
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{Case, Estimate};
use countersign_policy::{Analysis, Catalog};
use jiff::Timestamp;

use super::ConfigArgs;
use super::output::{Colour, Exit, Format};
use crate::catalog::side::Side;
use crate::catalog::{CatalogOptions, CatalogService};
use crate::clock;
use crate::config::{Config, DatabaseAuth, DatabaseConfig, SslMode};
use crate::database::Database;
use crate::estimate::Question;
use crate::fault::with_causes;
use crate::report::{ColumnReport, Outcome, Report};
use crate::roles::{self, RolesUnread};
use crate::session::hopeless::Hopeless;
use crate::session::justification;
use crate::tls;

/// `countersign explain …`
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Database, as clients name it
    #[arg(short, long)]
    database: String,
    /// User who would send it
    #[arg(short, long)]
    user: String,
    /// File with the statement
    #[arg(short, long, conflicts_with = "sql")]
    file: Option<PathBuf>,
    /// The statement; standard input when neither it nor a file is given
    sql: Option<String>,
    /// Output for people or for machines
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub async fn run(args: ExplainArgs) -> ExitCode {
    match report(&args).await {
        Ok(report) => {
            match args.format {
                Format::Json => match serde_json::to_string_pretty(&report) {
                    Ok(json) => println!("{json}"),
                    Err(error) => {
                        eprintln!("countersign: {error}");
                        return Exit::Io.into();
                    }
                },
                Format::Text => print!("{}", text::text(&report, Colour::detect())),
            }
            Exit::Ok.into()
        }
        Err((exit, message)) => {
            eprintln!("countersign: {message}");
            exit.into()
        }
    }
}

type Failure = (Exit, String);

async fn report(args: &ExplainArgs) -> Result<Report, Failure> {
    let text = statement(args)?;
    let config = Config::load(&args.config.config).map_err(|problems| (Exit::Config, problems.to_string()))?;
    let database = config.database(&args.database).ok_or_else(|| {
        (Exit::Usage, format!("database \"{}\" is not in {}", args.database, args.config.config.display()))
    })?;
    let mut subject = subject(&config, args)?;
    let (open, connection) = connect(database).await?;
    if open.has_groups_from_roles() {
        let unread = || RolesUnread { database: database.name.clone() };
        let memberships = open.memberships().ok_or_else(|| (Exit::Unavailable, unread().to_string()))?;
        roles::add(&mut subject.groups, memberships.groups_of(&subject.user));
    }
    let catalog = open.catalog();
    let (role, search_path) = names(connection.as_ref(), &database.upstream.user).await;
    let context = AnalysisContext { catalog: &catalog, search_path: &search_path, prepared: &NothingPrepared };
    let analysis = open.analyses().analyze(&text, &context);
    let masks = open.masks(&config, &subject);
    let case = |rows| Case {
        serial: 1,
        subject: &subject,
        text: &text,
        analysis: &analysis,
        masks: &masks,
        catalog: &catalog,
        moment: clock::outside_of_transactions(Timestamp::now()),
        rows,
        approval: None,
        grants: Grants::default(),
    };
    let mut judgement = config.policy.judge(case(None));
    if judgement.estimate == Estimate::Wanted {
        let (types, values) = (Vec::new(), Vec::new());
        let collects = analysis.statements.first().map(|statement| statement.collects.clone()).unwrap_or_default();
        let question =
            Question { text: text.as_str().into(), types, values, role, search_path: search_path.clone(), collects };
        judgement = config.policy.judge(case(Some(open.estimator().rows(&question).await)));
    }
    let mut report = Report::new(&judgement, &analysis, &catalog, justification::in_comment(&text));
    report.columns = columns(connection.as_ref(), &text, &analysis, &catalog, &masks).await;
    if let Some(error) = Hopeless::of(&text, &analysis) {
        report.verdict = Outcome::Error;
        report.messages = vec![format!("{}: {}", error.sqlstate, error.message)];
        report.reviewers.clear();
        report.justification = None;
    }
    Ok(report)
}

fn statement(args: &ExplainArgs) -> Result<String, Failure> {
    let unreadable =
        |what: &Path, error: &std::io::Error| (Exit::Io, format!("could not read {}: {error}", what.display()));
    if let Some(text) = &args.sql {
        return Ok(text.clone());
    }
    if let Some(path) = &args.file {
        return std::fs::read_to_string(path).map_err(|error| unreadable(path, &error));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable(Path::new("standard input"), &error))?;
    Ok(text)
}

fn subject(config: &Config, args: &ExplainArgs) -> Result<Subject, Failure> {
    let passed_on = config.database(&args.database).is_some_and(|database| database.auth == DatabaseAuth::Passthrough);
    if config.user(&args.user).is_none() && !passed_on {
        return Err((Exit::Usage, format!("user \"{}\" is not in {}", args.user, args.config.config.display())));
    }
    Ok(Subject {
        user: args.user.clone(),
        groups: config.groups_of(&args.user),
        database: args.database.clone(),
        application: "countersign explain".to_owned(),
    })
}

/// Loads the catalog, and opens a connection that prepares the statement.
async fn connect(database: &DatabaseConfig) -> Result<(Database, Option<Side>), Failure> {
    let upstream = &database.upstream;
    let connector = match upstream.ssl_mode {
        SslMode::Disable => None,
        SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            Some(tls::connector(upstream).map_err(|error| (Exit::Config, with_causes(&error)))?)
        }
    };
    let catalog = CatalogService::start(database, connector.clone(), CatalogOptions::default()).await;
    catalog.status().map_err(|error| (Exit::Unavailable, with_causes(&error)))?;
    let client = Side::connect_plain(upstream, connector.as_ref()).await.ok();
    Ok((Database::new(Arc::clone(&catalog), database, connector), client))
}

/// The role and the search path that a new session has.
async fn names(connection: Option<&Side>, user: &str) -> (String, Vec<String>) {
    const QUESTION: &str = "SELECT current_user::pg_catalog.text, pg_catalog.current_schemas(true)::pg_catalog.text[]";
    let default = || (user.to_owned(), vec!["pg_catalog".to_owned(), "public".to_owned()]);
    let Some(connection) = connection else { return default() };
    match connection.client().query_one(QUESTION, &[]).await {
        Ok(row) => row.try_get(0).and_then(|role| Ok((role, row.try_get(1)?))).unwrap_or_else(|_| default()),
        Err(_) => default(),
    }
}

async fn columns(
    connection: Option<&Side>,
    text: &str,
    analysis: &Analysis,
    catalog: &Catalog,
    masks: &MaskSet,
) -> Vec<ColumnReport> {
    let ([statement], Some(connection)) = (analysis.statements.as_slice(), connection) else { return Vec::new() };
    let Ok(prepared) = connection.client().prepare(text).await else { return Vec::new() };
    let fields: Vec<FieldOrigin> = prepared
        .columns()
        .iter()
        .map(|column| FieldOrigin {
            table_oid: column.table_oid().unwrap_or(0),
            attnum: column.column_id().unwrap_or(0),
            type_oid: column.type_().oid(),
            format: 0,
        })
        .collect();
    let plan = MaskPlan::for_result(masks, &fields, Some(statement), catalog);
    let column = |(position, column): (usize, &tokio_postgres::Column)| ColumnReport {
        name: column.name().to_owned(),
        masked: plan.masker(position).is_some(),
    };
    prepared.columns().iter().enumerate().map(column).collect()
}
