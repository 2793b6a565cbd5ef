//! `countersign requests stats`: how requests were decided, as tables.
//!
//! Never counts: the API does. Invariant: names are made visible, and a list says when it is cut.

use std::fmt::Write as _;

use super::view::duration;
use crate::cli::output::{Cell, Colour, Table};
use crate::review::analytics::{Analytics, Slice, Tally};

/// Rows of a list that are printed.
const SHOWN: usize = 15;

/// Everything, for people.
pub(super) fn text(analytics: &Analytics, colour: Colour) -> String {
    let mut out = String::new();
    let total = &analytics.total;
    let (from, until) = (analytics.from.strftime("%Y-%m-%d %H:%M"), analytics.until.strftime("%Y-%m-%d %H:%M UTC"));
    // Writing to a String cannot fail.
    let _ok = writeln!(out, "{}", colour.bold(&format!("{from} to {until}: {} requests", total.requests)));
    if analytics.truncated {
        let _ok = writeln!(out, "{}", colour.yellow("there are more: only the newest are counted"));
    }
    let _ok = writeln!(
        out,
        "{} approved, {} rejected ({} approved), {} expired, {} withdrawn, {} waiting, {} approved by the admins who made them",
        total.approved,
        total.rejected,
        rate(total),
        total.expired,
        total.cancelled,
        total.pending,
        total.self_approved
    );
    let _ok = writeln!(
        out,
        "time to decision: half within {}, nine of ten within {}",
        time(total.decision_ms_p50),
        time(total.decision_ms_p90)
    );
    let lists = [
        ("DATABASE", &analytics.databases),
        ("RULE", &analytics.rules),
        ("GROUP ASKED", &analytics.groups),
        ("REQUESTER", &analytics.requesters),
        ("MADE", &analytics.periods),
    ];
    for (heading, slices) in lists {
        let rows = slices.iter().map(|Slice { name, tally }| (name.clone(), tally));
        table(&mut out, heading, rows.collect(), colour);
    }
    let shapes =
        analytics.shapes.iter().map(|shape| (format!("{} (as {})", shape.summary, shape.example), &shape.tally));
    table(&mut out, "SHAPE", shapes.collect(), colour);
    out
}

fn table(out: &mut String, heading: &str, rows: Vec<(String, &Tally)>, colour: Colour) {
    if rows.is_empty() {
        return;
    }
    let mut table = Table::default();
    let headings = [heading, "REQUESTS", "APPROVED", "REJECTED", "RATE", "HALF WITHIN", "9 OF 10"];
    table.push(headings.map(|text| Cell::new(text, 20).painted(|text| colour.dim(text))).into());
    for (name, tally) in rows.iter().take(SHOWN) {
        let cells = [
            name.clone(),
            tally.requests.to_string(),
            tally.approved.to_string(),
            tally.rejected.to_string(),
            rate(tally),
            time(tally.decision_ms_p50),
            time(tally.decision_ms_p90),
        ];
        table.push(cells.iter().map(|text| Cell::new(text, 72)).collect());
    }
    let _ok = write!(out, "\n{table}");
    if rows.len() > SHOWN {
        let _ok = writeln!(out, "… and {} more", rows.len() - SHOWN);
    }
}

fn rate(tally: &Tally) -> String {
    tally.approval_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.0} %", rate * 100.0))
}

fn time(milliseconds: Option<u64>) -> String {
    match milliseconds {
        None => "–".to_owned(),
        Some(short @ ..1_000) => format!("{short} ms"),
        Some(long) => duration(i64::try_from(long / 1_000).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_and_say_so() {
        let tally = Tally { requests: 3, approved: 2, rejected: 1, approval_rate: Some(2.0 / 3.0), ..Tally::default() };
        let slice = |number: usize| Slice { name: format!("rule-{number:02}\u{202e}"), tally: tally.clone() };
        let analytics = Analytics {
            from: crate::review::fixture::at(0),
            until: crate::review::fixture::at(60),
            truncated: true,
            total: Tally { decision_ms_p50: Some(999), decision_ms_p90: Some(61_000), ..tally.clone() },
            databases: Vec::new(),
            rules: (0..17).map(slice).collect(),
            groups: Vec::new(),
            requesters: Vec::new(),
            shapes: Vec::new(),
            periods: Vec::new(),
        };
        let text = text(&analytics, Colour::Off);
        for part in [
            "3 requests",
            "(67 % approved)",
            "half within 999 ms, nine of ten within 1m 1s",
            "… and 2 more",
            "rule-14<U+202E>",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("rule-15") && !text.contains("DATABASE"), "{text}");
    }
}
