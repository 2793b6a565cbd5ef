//! `countersign requests export`: requests as CSV for a spreadsheet, or as JSON lines.
//!
//! Never decides which requests. Invariant: a record has one cell for each heading.

use crate::cli::csv::record;
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
