//! A report for people in a terminal.
//!
//! Never prints a name raw: what is not printable or looks like something else is spelt out. Invariant: it says what the
//! report says, and nothing else.

use std::fmt::Write as _;
use std::time::Duration;

use countersign_policy::Effect;
use countersign_policy::verdict::ReviewerDemand;

use crate::cli::output::{Colour, visible_line};
use crate::duration::in_words;
use crate::report::{EstimateReport, JustificationReport, Outcome, Report, StatementReport};

/// The whole report.
pub(super) fn text(report: &Report, colour: Colour) -> String {
    let mut out = String::new();
    let verdict = match report.verdict {
        Outcome::Allow => colour.green("ALLOW"),
        Outcome::Hold => colour.yellow("HOLD"),
        Outcome::Error => colour.red("ERROR"),
        Outcome::Deny => colour.red("DENY"),
    };
    // Writing to a String cannot fail.
    let _ok = writeln!(out, "{verdict}{}", because(report));
    let mut field = |name: &str, value: String| {
        let _ok = writeln!(out, "  {}  {value}", colour.dim(&format!("{name:<11}")));
    };
    let line = |text: &str| visible_line(text, colour);
    if !report.reviewers.is_empty() {
        let needs: Vec<_> = report.reviewers.iter().map(demand).collect();
        let within = report.timeout_seconds.map(|seconds| in_words(Duration::from_secs(seconds)));
        let within = within.map(|within| colour.dim(&format!(" within {within}"))).unwrap_or_default();
        field("approval by", format!("{}{within}", line(&needs.join(" and "))));
    }
    report.messages.iter().for_each(|message| field("message", line(message)));
    match &report.estimate {
        Some(EstimateReport::Rows(rows)) => {
            field("estimate", format!("about {rows} {}", if *rows == 1 { "row" } else { "rows" }))
        }
        Some(EstimateReport::Unavailable(why)) => field("estimate", colour.yellow(&format!("none: {why}"))),
        None => {}
    }
    match &report.justification {
        Some(JustificationReport { given: Some(given), .. }) => field("reason", line(given)),
        Some(JustificationReport { given: None, .. }) => {
            field("reason", colour.yellow("required: begin the statement with /* reason: … */"));
        }
        None => {}
    }
    for (number, statement) in report.statements.iter().enumerate() {
        if report.statements.len() > 1 {
            field("statement", format!("{} of {}", number + 1, report.statements.len()));
        }
        tell(statement, &mut field, colour);
    }
    for column in &report.columns {
        let shown = if column.masked { colour.yellow("masked") } else { colour.green("clear") };
        field("result", format!("{}: {shown}", line(&column.name)));
    }
    for rule in &report.observed {
        field("observed", format!("{} would act on it if it were enforced", line(rule)));
    }
    out
}

fn because(report: &Report) -> String {
    if report.verdict == Outcome::Error {
        return " at once, as PostgreSQL would raise it".to_owned();
    }
    let rules = report.rules.iter().map(|rule| format!("\"{rule}\""));
    let all: Vec<_> = rules.chain(report.causes.iter().cloned()).collect();
    if all.is_empty() { " by the defaults of the database".to_owned() } else { format!(" by {}", all.join(", ")) }
}

fn demand(demand: &ReviewerDemand) -> String {
    match demand.approvals {
        0 | 1 => demand.group.clone(),
        people => format!("{people} of {}", demand.group),
    }
}

fn tell(statement: &StatementReport, field: &mut impl FnMut(&str, String), colour: Colour) {
    let line = |text: &str| visible_line(text, colour);
    let words = |effects: &[Effect]| effects.iter().map(|effect| effect.as_str()).collect::<Vec<_>>().join(", ");
    field("effects", colour.bold(&words(&statement.effects)));
    for (relation, effects) in &statement.relations {
        field("relation", format!("{}: {}", line(relation), words(effects)));
    }
    tell_reach(statement, field, colour);
}

/// Columns, functions, and whether it is restricted and understood.
pub(in crate::cli) fn tell_reach(statement: &StatementReport, field: &mut impl FnMut(&str, String), colour: Colour) {
    let line = |text: &str| visible_line(text, colour);
    for (name, columns) in [("writes", Some(&statement.writes)), ("reads", statement.reads.as_ref())] {
        match columns {
            Some(columns) if columns.is_empty() => {}
            Some(columns) => field(name, line(&columns.join(", "))),
            None => field(name, colour.yellow("any column: which ones cannot be told")),
        }
    }
    if !statement.functions.is_empty() {
        field("functions", line(&statement.functions.join(", ")));
    }
    if statement.no_where {
        field("all rows", colour.red("no WHERE restricts it"));
    }
    if let Some(why) = &statement.not_understood {
        field("unknown", colour.red(&format!("not understood: {}", line(why))));
    }
}
