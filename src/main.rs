//! The `countersign` program: arguments in, one command of [`countersign::cli`] run, exit code out.

use std::process::ExitCode;

use clap::Parser;
use countersign::cli::Cli;

fn main() -> ExitCode {
    countersign::telemetry::install_crypto_provider();
    Cli::parse().run()
}
