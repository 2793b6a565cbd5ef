//! `countersign requests`: reviewing and following access requests over the HTTP API.
//!
//! Never decides by itself and never reads the store: it does what the person could do with `curl`.

mod card;
mod client;
mod export;
mod stats;
pub(crate) mod view;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum as _;
use jiff::Timestamp;
use serde_json::json;

use super::login::kept;
use super::output::{Colour, Exit, Format, width};
use crate::review::analytics::{Analytics, Period};
use crate::review::{RequestId, Scope, State};
use crate::store::PAGE_MAX;
use crate::web::{Page, RequestView};

pub use client::{Client, Failure};

/// Where the API is and how to print.
#[derive(Clone, Debug, clap::Args)]
pub struct ApiArgs {
    /// Base URL of the proxy's API; the token comes from COUNTERSIGN_TOKEN, or from countersign login
    #[arg(long, env = "COUNTERSIGN_URL", default_value = "http://127.0.0.1:8543", global = true)]
    pub url: String,
    /// Output for people or for machines
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// `countersign requests …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum RequestsCommand {
    /// List requests, newest first
    List {
        /// Only those in this state, such as PENDING
        #[arg(long)]
        status: Option<State>,
        /// Only those on this database
        #[arg(long)]
        database: Option<String>,
        /// Only those made by this user
        #[arg(long)]
        user: Option<String>,
        /// Only those older than this request
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show everything about one request
    Show {
        /// The request
        id: String,
    },
    /// Approve a request
    Approve {
        /// The request
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// Let it be done again for so long, such as 30m
        #[arg(long = "for", value_name = "TIME")]
        time: Option<String>,
        /// What may be done again: the same statement with other literals, what the same rules hold, or anything on the
        /// database
        #[arg(long, value_enum, requires = "time")]
        scope: Option<Scope>,
        /// Approve in everybody's place; for members of the configured force_groups, with a reason
        #[arg(long, requires = "reason")]
        force: bool,
        /// Approve this text in the place of the requester's
        #[arg(long, value_name = "SQL", conflicts_with = "time")]
        statement: Option<String>,
        /// Take the statement back when it writes more rows than this
        #[arg(long, value_name = "ROWS", conflicts_with = "time")]
        max_affected: Option<u32>,
    },
    /// Reject a request
    Reject {
        /// The request
        id: String,
        /// Why; the requester sees it
        #[arg(long)]
        reason: String,
    },
    /// Withdraw a request of your own
    Cancel {
        /// The request
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take back an approval that was not used yet
    Revoke {
        /// The request
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Write about a request, for its requester and its reviewers
    Comment {
        /// The request
        id: String,
        /// What
        text: String,
    },
    /// Give the reason for a request of your own that has none
    Justify {
        /// The request
        id: String,
        /// Why it is to be done
        #[arg(long)]
        reason: String,
    },
    /// How requests were decided: how fast, by rule, database, group, requester and shape
    Stats(StatsArgs),
    /// Print requests as CSV, or with --format json one on a line, newest first
    Export {
        /// Only those in this state, such as EXECUTED
        #[arg(long)]
        status: Option<State>,
        /// Only those on this database
        #[arg(long)]
        database: Option<String>,
        /// Only those made by this user
        #[arg(long)]
        user: Option<String>,
    },
    /// Show what waits as a table with keys to decide; without a terminal, print requests as they come and change
    Watch {
        /// Only those on this database
        #[arg(long)]
        database: Option<String>,
    },
}

/// `countersign requests stats …`
#[derive(Clone, Debug, clap::Args)]
pub struct StatsArgs {
    /// How far back, such as 12h or 90d
    #[arg(long, default_value = "30d")]
    last: String,
    /// Only requests on this database
    #[arg(long)]
    database: Option<String>,
    /// Only requests made by this user
    #[arg(long)]
    user: Option<String>,
    /// Only requests that this rule holds
    #[arg(long)]
    rule: Option<String>,
    /// Only requests that this group is asked to review
    #[arg(long)]
    group: Option<String>,
    /// Length of the periods
    #[arg(long, value_enum, default_value_t)]
    per: Period,
}

/// Runs the command and prints to standard output and error.
pub async fn run(command: RequestsCommand, args: &ApiArgs) -> ExitCode {
    with_api(args, async |client, print| execute(command, client, print).await).await
}

/// What the environment says, or `countersign login` has had.
fn token(url: &str) -> Result<Option<String>, Failure> {
    if let Ok(token) = std::env::var("COUNTERSIGN_TOKEN") {
        return Ok(Some(token));
    }
    match kept::find(url) {
        Some(kept) if kept.expires_at <= Timestamp::now() => {
            let message = format!("your login has ended at {:.0}", kept.expires_at);
            Err(Failure::new(Exit::Permission, message, "run countersign login again"))
        }
        kept => Ok(kept.map(|kept| kept.token)),
    }
}

/// Runs a command that calls the API, and tells what went wrong.
pub(super) async fn with_api(
    args: &ApiArgs,
    command: impl AsyncFnOnce(&Client, Print<io::Stdout>) -> Result<(), Failure>,
) -> ExitCode {
    let done = match token(&args.url).and_then(|token| Client::new(&args.url, token)) {
        Ok(client) => {
            if client.is_in_clear() {
                eprintln!("countersign: warning: the token travels unencrypted; use an https URL");
            }
            let print = Print { format: args.format, colour: Colour::detect(), width: width(), out: io::stdout() };
            command(&client, print).await
        }
        Err(failure) => Err(failure),
    };
    match done {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

/// Where and how a command prints.
pub(super) struct Print<W> {
    pub(super) format: Format,
    pub(super) colour: Colour,
    /// Characters of a line, where there is a terminal.
    pub(super) width: Option<usize>,
    pub(super) out: W,
}

impl<W: Write> Print<W> {
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.out, value).map_err(io::Error::from);
        written
            .and_then(|()| self.out.write_all(b"\n"))
            .and_then(|()| self.out.flush())
            .map_err(|error| unprinted(&error))
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).map_err(|error| unprinted(&error))
    }

    fn request(&mut self, view: &RequestView, text: impl Fn(&RequestView, Colour) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(view),
            Format::Text => self.text(&text(view, self.colour)),
        }
    }
}

fn unprinted(error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("could not write output: {error}"), "")
}

async fn execute<W: Write>(command: RequestsCommand, client: &Client, mut print: Print<W>) -> Result<(), Failure> {
    let (id, verb, body) = match command {
        RequestsCommand::List { status, database, user, after, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(status.map(|status| ("status", status.to_string())));
            query.extend(database.map(|database| ("database", database)));
            query.extend(user.map(|user| ("user", user)));
            query.extend(after.map(|after| ("after", after)));
            let page: Page = client.get(&["requests"], &query).await?;
            return match print.format {
                Format::Json => print.json(&page),
                Format::Text => {
                    let text = view::list(&page.requests, print.colour);
                    print.text(&text)
                }
            };
        }
        RequestsCommand::Show { id } => {
            let shown = client.get(&["requests", &id], &[]).await?;
            let width = print.width;
            return print.request(&shown, |shown, colour| view::full(shown, colour, width));
        }
        RequestsCommand::Stats(args) => return statistics(client, args, print).await,
        RequestsCommand::Export { status, database, user } => {
            let mut query = Vec::new();
            query.extend(status.map(|status| ("status", status.to_string())));
            query.extend(database.map(|database| ("database", database)));
            query.extend(user.map(|user| ("user", user)));
            return exported(client, query, print).await;
        }
        RequestsCommand::Comment { id, text } => (id, "comments", json!({ "text": text })),
        RequestsCommand::Justify { id, reason } => (id, "justify", json!({ "reason": reason })),
        RequestsCommand::Watch { database } => return watch::run(client, database, print).await,
        RequestsCommand::Approve { id, reason, time, scope, force, statement, max_affected } => {
            let body = json!({
                "reason": reason, "for": time, "scope": scope, "force": force, "statement": statement,
                "max_affected": max_affected,
            });
            (id, "approve", body)
        }
        RequestsCommand::Reject { id, reason } => (id, "reject", json!({ "reason": reason })),
        RequestsCommand::Cancel { id, reason } => (id, "cancel", json!({ "reason": reason })),
        RequestsCommand::Revoke { id, reason } => (id, "revoke", json!({ "reason": reason })),
    };
    let decided = client.post(&["requests", &id, verb], body).await?;
    print.request(&decided, view::line)
}

async fn statistics<W: Write>(client: &Client, args: StatsArgs, mut print: Print<W>) -> Result<(), Failure> {
    let StatsArgs { last, database, user, rule, group, per } = args;
    let per = per.to_possible_value().map(|per| per.get_name().to_owned()).unwrap_or_default();
    let mut query = vec![("last", last), ("per", per)];
    let narrowed = [("database", database), ("user", user), ("rule", rule), ("group", group)];
    query.extend(narrowed.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let analytics: Analytics = client.get(&["analytics"], &query).await?;
    match print.format {
        Format::Json => print.json(&analytics),
        Format::Text => print.text(&stats::text(&analytics, print.colour)),
    }
}

/// Page by page, so that neither side holds all of them.
async fn exported<W: Write>(client: &Client, query: Vec<(&str, String)>, mut print: Print<W>) -> Result<(), Failure> {
    if print.format == Format::Text {
        print.text(&export::headings())?;
    }
    let mut after = None;
    loop {
        let mut query = query.clone();
        query.push(("limit", PAGE_MAX.to_string()));
        query.extend(after.map(|after: RequestId| ("after", after.to_string())));
        let page: Page = client.get(&["requests"], &query).await?;
        for view in &page.requests {
            match print.format {
                Format::Json => print.json(view)?,
                Format::Text => print.text(&export::line(view))?,
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
