//! Measures sessions and holds against the real program: `scale` opens many sessions, parks one statement in each at once
//! and approves them all; `latency` approves one at a time in front of a real PostgreSQL.
//!
//! Never part of the product. Invariant: a figure is printed only after it was shown that nothing ran before its
//! approval and that everything ran exactly once after it.

mod approver;
mod client;
mod figures;
mod latency;
mod proxy;
mod relay;
mod scale;
mod stub;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Any failure ends the measurement.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Measures held statements: memory for each, and time to release each")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The program to measure [default: the one built beside this one]
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    /// Writes the figures as JSON, too
    #[arg(long, global = true)]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Many sessions, idle, then with one held statement each; a stub stands in for their upstream connections
    Scale {
        /// How many sessions
        #[arg(long, default_value_t = 10_000)]
        sessions: usize,
        /// How many statements wait to be held at once [default: all]
        #[arg(long)]
        at_once: Option<usize>,
        /// How many approvals are under way at once
        #[arg(long, default_value_t = 16)]
        approvers: usize,
        /// In the extended protocol, as drivers send statements
        #[arg(long)]
        extended: bool,
    },
    /// One held statement after the other, in front of a real PostgreSQL
    Latency {
        /// How many
        #[arg(long, default_value_t = 50)]
        count: usize,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    countersign::telemetry::install_crypto_provider();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holds: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Outcome<()> {
    let binary = match arguments.binary {
        Some(binary) => binary,
        // target/release/examples/holds stands beside target/release/countersign.
        None => std::env::current_exe()?.with_file_name("../countersign").canonicalize()?,
    };
    let figures = match arguments.what {
        What::Scale { sessions, at_once, approvers, extended } => {
            let at_once = at_once.unwrap_or(sessions);
            scale::measure(&binary, scale::Load { sessions, at_once, approvers, extended }).await?
        }
        What::Latency { count } => latency::measure(&binary, count).await?,
    };
    if let Some(path) = arguments.out {
        std::fs::write(path, figures.to_json()?)?;
    }
    Ok(())
}
