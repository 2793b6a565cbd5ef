//! `countersign requests export`: requests as CSV for a spreadsheet, or as JSON lines.
//!
//! Never lets a spreadsheet compute what a requester wrote: a cell that would be a formula begins with an apostrophe.
//! Invariant: a record has one cell for each heading, and no cell holds a control character but line feed and tab.

use crate::web::RequestView;

/// Headings, in the order of the cells.
const HEADINGS: [&str; 18] = [
    "id",
    "state",
    "created_at",
    "decided_at",
    "user",
    "groups",
    "database",
    "client_address",
    "application",
    "effects",
    "summary",
    "rules",
    "justification",
    "reviewers",
    "approved_by",
    "rejected_by",
    "outcome",
    "statement",
];

/// The first record.
pub(super) fn headings() -> String {
    record(&HEADINGS.map(str::to_owned))
}

/// The record of a request.
pub(super) fn line(view: &RequestView) -> String {
    let request = &view.request;
    let voters = |approve: bool| {
        let votes = request.votes.iter().filter(|vote| vote.approve == approve);
        votes.map(|vote| vote.by.as_str()).collect::<Vec<_>>().join(" ")
    };
    let reviewers: Vec<_> =
        request.reviewers.iter().map(|demand| format!("{}*{}", demand.group, demand.approvals.max(1))).collect();
    record(&[
        request.id.to_string(),
        request.state.to_string(),
        request.created_at.to_string(),
        request.decided_at.map(|at| at.to_string()).unwrap_or_default(),
        request.user.clone(),
        request.groups.join(" "),
        request.database.clone(),
        request.client_address.clone(),
        request.application.clone(),
        request.effects.join(" "),
        request.summary.clone(),
        request.rules.join(" "),
        request.justification.clone().unwrap_or_default(),
        reviewers.join(" "),
        voters(true),
        voters(false),
        request.outcome.clone().unwrap_or_default(),
        request.statement.clone(),
    ])
}

fn record(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// A quoted cell (RFC 4180).
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    // What spreadsheets take for the beginning of a formula, also behind white space.
    let begins = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '|' | '%');
    if text.starts_with(['\t', '\r', '\n']) || text.trim_start().starts_with(begins) {
        out.push('\'');
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\"\""),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(cell(text), want);
    }

    #[test]
    fn no_cell_is_a_formula() {
        check("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\"");
        check("+1", "\"'+1\"");
        check("-- a comment\nDELETE", "\"'-- a comment\nDELETE\"");
        check("@SUM(A1)", "\"'@SUM(A1)\"");
        check("  =1", "\"'  =1\"");
        check("\u{a0}=1", "\"'\u{a0}=1\"");
        check("\t=1", "\"'\t=1\"");
        check("\n1", "\"'\n1\"");
        check("＝1", "\"'＝1\"");
        check("|calc", "\"'|calc\"");
    }

    #[test]
    fn other_cells_are_what_they_are() {
        check("", "\"\"");
        check("DELETE FROM t WHERE a = -1, b", "\"DELETE FROM t WHERE a = -1, b\"");
        check("it's \"quoted\"", "\"it's \"\"quoted\"\"\"");
        check("a\r\nb\u{1b}[2K", "\"a\u{fffd}\nb\u{fffd}[2K\"");
    }
}
