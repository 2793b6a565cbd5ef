//! The commands of `countersign`, one file each.
//!
//! Never holds logic that another surface needs too. Invariant: exit codes follow sysexits.

pub mod audit;
pub mod check;
mod csv;
pub mod demo;
pub mod exec;
pub mod explain;
pub mod grants;
pub mod init;
pub mod login;
mod manual;
pub mod output;
pub mod requests;
pub mod scan;
pub mod serve;
pub mod users;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use output::Exit;

/// A PostgreSQL proxy that makes risky SQL wait for a second signature.
#[derive(Debug, clap::Parser)]
#[command(name = "countersign", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which configuration file a command works with.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = "countersign.toml", env = "COUNTERSIGN_CONFIG")]
    pub config: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write a commented configuration to begin with, and look whether the database answers
    Init(init::InitArgs),
    /// Run the proxy and its API
    Serve(serve::ServeArgs),
    /// Show the whole idea on a throwaway PostgreSQL; Ctrl-C cleans up
    Demo,
    /// Validate the configuration and print what it means
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Output for people or for machines
        #[arg(long, value_enum, default_value_t)]
        format: output::Format,
        /// Also ask the identity provider of [web.oidc] whether it answers as it must
        #[arg(long)]
        online: bool,
    },
    /// Tell what would happen to a statement, without running it
    Explain(explain::ExplainArgs),
    /// Sign in on the page, and get a password for databases that lives for an hour
    Login(login::LoginArgs),
    /// Look through a database and propose masks; no value is printed or kept
    Scan(scan::ScanArgs),
    /// Run SQL through the proxy, as one request, and wait for its approval
    Exec(exec::ExecArgs),
    /// Review and follow access requests
    Requests {
        #[command(flatten)]
        api: requests::ApiArgs,
        #[command(subcommand)]
        command: requests::RequestsCommand,
    },
    /// Ask for, give and take back leave to run what would be held, for a time
    Grants {
        #[command(flatten)]
        api: requests::ApiArgs,
        #[command(subcommand)]
        command: grants::GrantsCommand,
    },
    /// Read and verify the audit trail
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Print the OpenAPI document of the HTTP API
    ApiSchema,
    /// Print the JSON Schema of the configuration file, for editors
    ConfigSchema,
    /// Print what makes a shell complete the commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    Man {
        /// Where to write countersign.1, countersign-serve.1 and so on
        directory: Option<PathBuf>,
    },
    /// Manage the people in the configuration file
    Users {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(subcommand)]
        command: users::UsersCommand,
    },
}

impl Cli {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Init(args) => block_on(|| init::run(args)),
            Command::Serve(args) => args.run(),
            Command::Demo => block_on(serve::demo),
            Command::Check { config, format, online: false } => check::run(&config.config, format),
            Command::Check { config, format, online: true } => block_on(|| check::run_online(config.config, format)),
            Command::Explain(args) => block_on(|| explain::run(args)),
            Command::Exec(args) => block_on(|| exec::run(args)),
            Command::Login(args) => block_on(|| login::run(args)),
            Command::Scan(args) => block_on(|| scan::run(args)),
            Command::Requests { api, command } => block_on(|| async move { requests::run(command, &api).await }),
            Command::Grants { api, command } => block_on(|| async move { grants::run(command, &api).await }),
            Command::Audit { command } => audit::run(command),
            Command::ApiSchema => print(&crate::web::openapi_document()),
            Command::ConfigSchema => print(include_str!("../docs/countersign.schema.json")),
            Command::Completions { shell } => manual::completions(shell),
            Command::Man { directory } => manual::pages(directory.as_deref()),
            Command::Users { config, command } => users::run(command, &config.config),
        }
    }
}

/// Runs an asynchronous command on a runtime of its own.
fn block_on<F: Future<Output = ExitCode>>(command: impl FnOnce() -> F) -> ExitCode {
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(command()),
        Err(error) => unavailable("could not start", &error),
    }
}

/// Prints a document.
fn print(document: &str) -> ExitCode {
    match io::stdout().write_all(document.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unavailable("could not write", &error),
    }
}

/// Reports an operation of the system that failed.
fn unavailable(what: &str, error: &io::Error) -> ExitCode {
    eprintln!("countersign: {what}: {error}");
    Exit::Io.into()
}
