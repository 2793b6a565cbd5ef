//! `countersign scan`: proposes masks for a database.
//!
//! Never prints a value, and changes nothing: what it prints is for people to read and to paste. Invariant: what goes to
//! standard output is TOML that `countersign check` accepts, or one JSON document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use super::output::{Exit, Format};
use crate::config::{Secret, UpstreamConfig};
use crate::fault::with_causes;
use crate::scan::{Confidence, Proposal, Scanner, propose};

/// `countersign scan …`
#[derive(Clone, Debug, clap::Args)]
pub struct ScanArgs {
    /// Address of the database: postgres://user@host:5432/database; the password is taken from PGPASSWORD
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Most rows of each table that are looked at
    #[arg(long, value_name = "ROWS", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rows: u32,
    /// Output for people or for machines
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub async fn run(args: ScanArgs) -> ExitCode {
    match scan(&args).await {
        Ok((proposals, looked_at)) => {
            match args.format {
                Format::Text => print!("{}", as_toml(&proposals, looked_at)),
                Format::Json => println!("{:#}", serde_json::json!({ "columns": looked_at, "proposals": proposals })),
            }
            Exit::Ok.into()
        }
        Err((exit, message)) => {
            eprintln!("countersign: {message}");
            exit.into()
        }
    }
}

async fn scan(args: &ScanArgs) -> Result<(Vec<Proposal>, usize), (Exit, String)> {
    let mut upstream = UpstreamConfig::from_url(&args.upstream, Path::new(".")).map_err(|why| (Exit::Usage, why))?;
    upstream.password = std::env::var("PGPASSWORD").ok().map(Secret::new);
    let unavailable = |error| (Exit::Unavailable, with_causes(&error));
    let scanner = Scanner::connect(&upstream, args.rows).await.map_err(unavailable)?;
    let tables = scanner.tables().await.map_err(unavailable)?;
    let progress = progress(tables.len());
    let (mut proposals, mut looked_at) = (Vec::new(), 0);
    for table in &tables {
        progress.set_message(format!("{}.{}", table.schema, table.name));
        let columns = scanner.columns(table).await;
        looked_at += columns.len();
        proposals.extend(columns.iter().filter_map(propose));
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok((proposals, looked_at))
}

/// A bar on a terminal, nothing elsewhere.
fn progress(tables: usize) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(u64::try_from(tables).unwrap_or(u64::MAX));
    let style = indicatif::ProgressStyle::with_template("{bar:20} {pos}/{len} tables  {wide_msg}");
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// One entry for each mask, surest columns first.
fn as_toml(proposals: &[Proposal], looked_at: usize) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_toml(&mut out, proposals, looked_at);
    out
}

fn write_toml(out: &mut String, proposals: &[Proposal], looked_at: usize) -> std::fmt::Result {
    writeln!(out, "# Proposed by countersign scan, which looked at {looked_at} columns; read it before you use it.")?;
    writeln!(out, "# Add except_groups for people who see these columns in clear.")?;
    let mut by_mask: BTreeMap<&str, Vec<&Proposal>> = BTreeMap::new();
    for proposal in proposals {
        by_mask.entry(proposal.mask).or_default().push(proposal);
    }
    for (mask, mut columns) in by_mask {
        columns.sort_by_key(|proposal| std::cmp::Reverse(proposal.confidence));
        writeln!(out, "\n[[masks]]\nname = \"scan-{}\"\ncolumns = [", mask.replace('_', "-"))?;
        for proposal in columns {
            let column = toml_edit::Value::from(proposal.column.as_str());
            let sure = match proposal.confidence {
                Confidence::Low => "low, look at it",
                Confidence::Medium => "medium",
                Confidence::High => "high",
            };
            writeln!(out, "    {column},  # {sure}: {}", proposal.why)?;
        }
        writeln!(out, "]\nmask = \"{mask}\"")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proposal_is_toml() {
        let proposal = |column: &str, mask, confidence| Proposal {
            column: column.to_owned(),
            mask,
            confidence,
            why: "named like it".to_owned(),
        };
        let proposals = [
            proposal("public.t.\"odd\\\\\"", "email", Confidence::Low),
            proposal("public.customers.email", "email", Confidence::High),
            proposal("public.customers.born", "date_year", Confidence::Medium),
        ];
        let text = as_toml(&proposals, 12);
        let parsed: toml_edit::DocumentMut = text.parse().unwrap();
        let masks = parsed["masks"].as_array_of_tables().unwrap();
        assert_eq!(masks.len(), 2);
        let columns = masks.get(1).unwrap()["columns"].as_array().unwrap();
        assert_eq!(columns.get(0).unwrap().as_str(), Some("public.customers.email"), "the surest first");
        assert_eq!(columns.get(1).unwrap().as_str(), Some("public.t.\"odd\\\\\""));
    }
}
