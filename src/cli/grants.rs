//! `countersign grants`: leave to run what would be held for a time, over the HTTP API.
//!
//! Never decides by itself and never reads the store. Never prints a requester's text raw.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::output::{Cell, Colour, Format, Table, visible_line};
use super::requests::view::{duration, time, vote_text};
use super::requests::{ApiArgs, Client, Failure, Print, with_api};
use crate::review::{GrantScope, GrantState};
use crate::web::{GrantPage, GrantView};

/// `countersign grants …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum GrantsCommand {
    /// List grants, newest first
    List {
        /// Only those in this state, such as ACTIVE
        #[arg(long)]
        status: Option<GrantState>,
        /// Only those on this database
        #[arg(long)]
        database: Option<String>,
        /// Only those of this user
        #[arg(long)]
        user: Option<String>,
        /// Only those older than this grant
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show everything about one grant
    Show {
        /// The grant
        id: String,
    },
    /// Ask for a grant for yourself
    Request {
        /// On which database
        database: String,
        /// For how long, such as 30m
        #[arg(long = "for", value_name = "TIME")]
        time: String,
        /// Only what this rule holds; may be repeated
        #[arg(long = "rule", value_name = "NAME")]
        rules: Vec<String>,
        /// Only statements that write nothing but relations like this, such as public.*; may be repeated
        #[arg(long = "relation", value_name = "PATTERN")]
        relations: Vec<String>,
        /// Not to lift holds, but to see the values of this mask; may be repeated
        #[arg(long, value_name = "NAME", conflicts_with_all = ["rules", "relations"])]
        unmask: Vec<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Approve what somebody asks for
    Approve {
        /// The grant
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Refuse what somebody asks for
    Reject {
        /// The grant
        id: String,
        /// Why; who asked sees it
        #[arg(long)]
        reason: String,
    },
    /// Withdraw what you have asked for
    Cancel {
        /// The grant
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take a grant back, with effect on the next statement
    Revoke {
        /// The grant
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
}

/// Runs the command and prints to standard output and error.
pub async fn run(command: GrantsCommand, args: &ApiArgs) -> ExitCode {
    with_api(args, async |client, print| execute(command, client, print).await).await
}

async fn execute<W: Write>(command: GrantsCommand, client: &Client, mut print: Print<W>) -> Result<(), Failure> {
    let (id, verb, body) = match command {
        GrantsCommand::List { status, database, user, after, limit } => {
            let mut query = vec![("limit", limit.to_string())];
            query.extend(status.map(|status| ("status", status.to_string())));
            query.extend(database.map(|database| ("database", database)));
            query.extend(user.map(|user| ("user", user)));
            query.extend(after.map(|after| ("after", after)));
            let page: GrantPage = client.get(&["grants"], &query).await?;
            return match print.format {
                Format::Json => print.json(&page),
                Format::Text => {
                    let text = list(&page.grants, print.colour);
                    print.text(&text)
                }
            };
        }
        GrantsCommand::Show { id } => {
            let shown = client.get(&["grants", &id], &[]).await?;
            return print_one(&mut print, &shown);
        }
        GrantsCommand::Request { database, time, rules, relations, unmask, reason } => {
            let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
            let (rules, relations, masks) = (some(rules), some(relations), some(unmask));
            let scope = json!({ "rules": rules, "relations": relations, "masks": masks });
            let mut body = json!({ "database": database, "for": time, "reason": reason });
            if let (Some(body), serde_json::Value::Object(scope)) = (body.as_object_mut(), scope) {
                body.extend(scope.into_iter().filter(|(_, list)| !list.is_null()));
            }
            let made = client.post(&["grants"], body).await?;
            return print_one(&mut print, &made);
        }
        GrantsCommand::Approve { id, reason } => (id, "approve", json!({ "reason": reason })),
        GrantsCommand::Reject { id, reason } => (id, "reject", json!({ "reason": reason })),
        GrantsCommand::Cancel { id, reason } => (id, "cancel", json!({ "reason": reason })),
        GrantsCommand::Revoke { id, reason } => (id, "revoke", json!({ "reason": reason })),
    };
    let decided = client.post(&["grants", &id, verb], body).await?;
    print_one(&mut print, &decided)
}

fn print_one<W: Write>(print: &mut Print<W>, view: &GrantView) -> Result<(), Failure> {
    match print.format {
        Format::Json => print.json(view),
        Format::Text => {
            let text = full(view, print.colour);
            print.text(&text)
        }
    }
}

/// A table of grants, or a sentence when there are none.
fn list(grants: &[GrantView], colour: Colour) -> String {
    if grants.is_empty() {
        return "no grants\n".to_owned();
    }
    let mut table = Table::default();
    let heading = ["ID", "STATE", "USER", "DATABASE", "FOR", "WHY", "LEFT"];
    table.push(heading.map(|text| Cell::new(text, 20).painted(|text| colour.dim(text))).into());
    for view in grants {
        let grant = &view.grant;
        table.push(vec![
            Cell::new(&grant.id.to_string(), 26),
            Cell::new(grant.state.as_str(), 10).painted(|text| paint(grant.state, text, colour)),
            Cell::new(&grant.user, 20),
            Cell::new(&grant.database, 20),
            Cell::new(&scope(&grant.scope), 40),
            Cell::new(&grant.summary, 40),
            Cell::new(&view.seconds_left.map(duration).unwrap_or_default(), 12),
        ]);
    }
    table.to_string()
}

/// Everything about one grant.
fn full(view: &GrantView, colour: Colour) -> String {
    let grant = &view.grant;
    let mut out = String::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ok = writeln!(out, "{}  {value}", colour.dim(&format!("{name:<9}")));
        }
    };
    let line = |text: &str| visible_line(text, colour);
    field("grant", colour.bold(&grant.id.to_string()));
    field("state", paint(grant.state, grant.state.as_str(), colour));
    field("user", line(&grant.user));
    field("database", line(&grant.database));
    field("for", line(&scope(&grant.scope)));
    field("why", line(&grant.summary));
    field("lasts", duration(i64::try_from(grant.seconds).unwrap_or(i64::MAX)));
    let left = view.seconds_left.map(|left| format!("{} ({} left)", time(grant.expires_at), duration(left)));
    field(if grant.state == GrantState::Active { "ends" } else { "expires" }, left.unwrap_or_default());
    field("request", grant.request.map(|id| id.to_string()).unwrap_or_default());
    let demands = grant.reviewers.iter().map(|demand| match demand.approvals {
        0 | 1 => demand.group.clone(),
        people => format!("{people} of {}", demand.group),
    });
    field("reviewers", line(&demands.collect::<Vec<_>>().join(" and ")));
    grant.votes.iter().for_each(|vote| field("vote", line(&vote_text(vote))));
    for transition in &grant.transitions {
        let reason = transition.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        field("became", line(&format!("{} {} by {}{reason}", time(transition.at), transition.to, transition.by)));
    }
    out
}

/// What it lifts, in words.
pub(crate) fn scope(scope: &GrantScope) -> String {
    if let Some(masks) = &scope.masks {
        return format!("values masked by {}", masks.join(", "));
    }
    let held = match &scope.rules {
        Some(rules) => format!("what {} holds", rules.join(", ")),
        None => "whatever is held".to_owned(),
    };
    let shape = if scope.shape.is_some() { "the same statement: " } else { "" };
    let relations = scope.relations.as_ref().map(|list| format!(", writing {}", list.join(", ")));
    format!("{shape}{held}{}", relations.unwrap_or_default())
}

fn paint(state: GrantState, text: &str, colour: Colour) -> String {
    match state {
        GrantState::Requested => colour.yellow(text),
        GrantState::Active => colour.green(text),
        GrantState::Revoked | GrantState::Rejected => colour.red(text),
        GrantState::Ended | GrantState::Expired | GrantState::Cancelled => colour.dim(text),
    }
}
