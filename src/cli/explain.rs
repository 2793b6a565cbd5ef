//! `countersign explain`: what would happen to a statement, and why, without running it.
//!
//! Never executes the statement: the upstream is asked for its catalog, and to prepare the text so that its columns are
//! known. Invariant: the verdict comes from the same functions as on the wire.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use countersign_policy::analysis::{Analysis, AnalysisContext, NothingPrepared};
use countersign_policy::grant::Grants;
use countersign_policy::mask::{FieldOrigin, MaskPlan, MaskSet};
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{Case, Judgement, Verdict};
use countersign_policy::{Catalog, Effect};
use jiff::Timestamp;
use serde::Serialize;

use super::ConfigArgs;
use super::output::{Colour, Exit, Format};
use crate::catalog::side::Side;
use crate::catalog::{CatalogOptions, CatalogService};
use crate::clock;
use crate::config::{Config, DatabaseAuth, DatabaseConfig, SslMode};
use crate::database::Database;
use crate::fault::with_causes;
use crate::session::hopeless::Hopeless;
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

/// What `explain` found.
#[derive(Debug, Serialize)]
struct Report {
    verdict: &'static str,
    /// Rules that matched; empty when a default of the database decides.
    rules: Vec<String>,
    /// Observed rules that would have held or denied.
    observed: Vec<String>,
    /// Groups that would have to approve.
    reviewers: Vec<String>,
    message: Option<String>,
    statements: Vec<StatementReport>,
    /// Result columns with the mask each would get.
    columns: Vec<ColumnReport>,
}

#[derive(Debug, Serialize)]
struct StatementReport {
    effects: Vec<&'static str>,
    /// Effects by relation.
    relations: BTreeMap<String, Vec<&'static str>>,
    functions: Vec<String>,
    no_where: bool,
    not_understood: Option<String>,
}

#[derive(Debug, Serialize)]
struct ColumnReport {
    name: String,
    masked: bool,
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
                Format::Text => print(&report, Colour::detect()),
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
    let subject = subject(&config, args)?;
    let (open, connection) = connect(database).await?;
    let catalog = open.catalog();
    let search_path = search_path(connection.as_ref()).await;
    let context = AnalysisContext { catalog: &catalog, search_path: &search_path, prepared: &NothingPrepared };
    let analysis = open.analyses().analyze(&text, &context);
    let masks = open.masks(&config, &subject);
    let case = Case {
        serial: 1,
        subject: &subject,
        text: &text,
        analysis: &analysis,
        masks: &masks,
        catalog: &catalog,
        moment: clock::outside_of_transactions(Timestamp::now()),
        rows: None,
        approval: None,
        grants: Grants::default(),
    };
    let judgement = config.policy.judge(case);
    let columns = columns(connection.as_ref(), &text, &analysis, &catalog, &masks).await;
    let mut report = build(judgement, &analysis, columns);
    if let Some(error) = Hopeless::of(&text, &analysis) {
        report.verdict = "error";
        report.message = Some(format!("{}: {}", error.sqlstate, error.message));
        report.reviewers.clear();
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
    Ok((Database::new(Arc::clone(&catalog), upstream.clone(), connector), client))
}

/// The search path a new session has.
async fn search_path(connection: Option<&Side>) -> Vec<String> {
    let default = || vec!["pg_catalog".to_owned(), "public".to_owned()];
    let Some(connection) = connection else { return default() };
    match connection.client().query_one("SELECT pg_catalog.current_schemas(true)::pg_catalog.text[]", &[]).await {
        Ok(row) => row.try_get(0).unwrap_or_else(|_| default()),
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

fn build(judgement: Judgement, analysis: &Analysis, columns: Vec<ColumnReport>) -> Report {
    let (verdict, reviewers, message) = match judgement.verdict {
        Verdict::Allow(_) => ("allow", Vec::new(), None),
        Verdict::Deny(denial) => ("deny", Vec::new(), denial.message),
        Verdict::Hold(terms) => {
            let groups = terms.reviewers.into_iter().map(|demand| demand.group).collect();
            ("hold", groups, terms.messages.into_iter().next())
        }
    };
    let effects = |effects: countersign_policy::Effects| effects.iter().map(Effect::as_str).collect::<Vec<_>>();
    let statements = analysis
        .statements
        .iter()
        .map(|statement| StatementReport {
            effects: effects(statement.effects),
            relations: statement
                .relations
                .iter()
                .map(|relation| (relation.name.to_string(), effects(relation.effects)))
                .collect(),
            functions: statement.functions.iter().map(ToString::to_string).collect(),
            no_where: statement.no_where,
            not_understood: statement.not_understood.as_ref().map(ToString::to_string),
        })
        .collect();
    Report { verdict, rules: judgement.matched, observed: judgement.observed, reviewers, message, statements, columns }
}

fn print(report: &Report, colour: Colour) {
    let verdict = match report.verdict {
        "allow" => colour.green("ALLOW"),
        "hold" => colour.yellow("HOLD"),
        "error" => colour.red("ERROR"),
        _ => colour.red("DENY"),
    };
    println!("{verdict}{}", because(report));
    if !report.reviewers.is_empty() {
        println!("  {}  {}", colour.dim("approval by"), report.reviewers.join(" and "));
    }
    if let Some(message) = &report.message {
        println!("  {}      {message}", colour.dim("message"));
    }
    for statement in &report.statements {
        println!("  {}      {}", colour.dim("effects"), statement.effects.join(", "));
        for (relation, effects) in &statement.relations {
            println!("  {}     {relation}: {}", colour.dim("relation"), effects.join(", "));
        }
        if !statement.functions.is_empty() {
            println!("  {}    {}", colour.dim("functions"), statement.functions.join(", "));
        }
        if statement.no_where {
            println!("  {}", colour.red("no WHERE restricts it"));
        }
        if let Some(why) = &statement.not_understood {
            println!("  {}", colour.red(&format!("not understood: {why}")));
        }
    }
    for column in &report.columns {
        let shown = if column.masked { colour.yellow("masked") } else { colour.green("clear") };
        println!("  {}       {}: {shown}", colour.dim("column"), super::output::visible_line(&column.name, colour));
    }
    for rule in &report.observed {
        println!("  {}     rule \"{rule}\" would act on it if it were enforced", colour.dim("observed"));
    }
}

fn because(report: &Report) -> String {
    if report.verdict == "error" {
        " at once, as PostgreSQL would raise it".to_owned()
    } else if report.rules.is_empty() {
        " by the default of the database".to_owned()
    } else {
        format!(" by {}", report.rules.iter().map(|rule| format!("\"{rule}\"")).collect::<Vec<_>>().join(", "))
    }
}
