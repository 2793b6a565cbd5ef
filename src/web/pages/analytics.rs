//! How requests were decided, in pictures and tables.
//!
//! Never counts: the numbers are those of `GET /api/v1/analytics`. Invariant: what a picture shows stands in a table too.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::chart::{self, Chart, HEIGHT, Series, WIDTH};
use super::shown::seconds;
use super::sql;
use super::{Answer, Frame, PageError, page};
use crate::review::analytics::{Analytics, Period, ShapeSlice, Slice, Tally};
use crate::web::ApiState;
use crate::web::analytics::{AnalyticsQuery, count};
use crate::web::fields::Fields;
use crate::web::session::SignedIn;

/// Periods to choose from: as the query has them, and in words.
const SPANS: [(&str, &str); 5] =
    [("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"), ("365d", "a year")];
const SPAN_DEFAULT: &str = "30d";
/// Periods in a picture, at most; of more, the newest are drawn.
const PLACES_MAX: usize = 200;
/// Rows of a table.
const ROWS_MAX: usize = 20;

#[derive(Template)]
#[template(path = "analytics.html")]
struct AnalyticsPage {
    frame: Frame,
    spans: Vec<(&'static str, &'static str, bool)>,
    database: String,
    user: String,
    rule: String,
    group: String,
    truncated: bool,
    total: Row,
    charts: Vec<Chart>,
    tables: Vec<Table>,
    shapes: Vec<(String, Row)>,
}

impl AnalyticsPage {
    const WIDTH: u32 = WIDTH;
    const HEIGHT: u32 = HEIGHT;
}

struct Table {
    title: &'static str,
    rows: Vec<Row>,
}

/// A line of a table.
struct Row {
    name: String,
    requests: u64,
    approved: u64,
    rejected: u64,
    /// Neither approved nor rejected by others.
    rest: u64,
    rate: String,
    half: String,
    most: String,
    /// Requests, in percent of the most in the table, as a class has it: 0 to 100 in steps of 5.
    share: u64,
}

impl Row {
    fn of(name: &str, tally: &Tally, most: u64) -> Self {
        let time = |ms: Option<u64>| ms.map_or_else(|| "–".to_owned(), time);
        Self {
            name: sql::line(name),
            requests: tally.requests,
            approved: tally.approved,
            rejected: tally.rejected,
            rest: tally.requests.saturating_sub(tally.approved + tally.rejected),
            rate: tally.approval_rate.map_or_else(|| "–".to_owned(), |rate| format!("{:.0} %", rate * 100.0)),
            half: time(tally.decision_ms_p50),
            most: time(tally.decision_ms_p90),
            share: (tally.requests * 100).checked_div(most).unwrap_or(0).div_ceil(5) * 5,
        }
    }
}

impl Table {
    fn of(title: &'static str, slices: &[Slice]) -> Self {
        let most = slices.iter().map(|slice| slice.tally.requests).max().unwrap_or(0);
        let row = |slice: &Slice| Row::of(&slice.name, &slice.tally, most);
        Self { title, rows: slices.iter().take(ROWS_MAX).map(row).collect() }
    }
}

/// `850 ms`, `12 s`, `3 h 7 min`.
fn time(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { seconds(i64::try_from(ms / 1000).unwrap_or(i64::MAX)) }
}

#[expect(clippy::cast_precision_loss, reason = "counts and milliseconds are far below 2^52")]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "values are milliseconds, never negative")]
fn time_of(value: f64) -> String {
    time(value as u64)
}

/// `GET /analytics`.
pub(in crate::web) async fn analytics(
    State(state): State<ApiState>,
    person: SignedIn,
    RawQuery(query): RawQuery,
) -> Answer {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    let last = fields.text("last").unwrap_or_else(|| SPAN_DEFAULT.to_owned());
    let text = |name: &str| fields.text(name).map(|text| text.trim().to_owned());
    let query = AnalyticsQuery {
        last: Some(last.clone()),
        database: text("database"),
        user: text("user"),
        rule: text("rule"),
        group: text("group"),
        per: per(&last),
        ..AnalyticsQuery::default()
    };
    let counted = count(&state, &person.principal, query.clone()).await.map_err(PageError::of(&person))?;
    let given = |value: &Option<String>| value.clone().unwrap_or_default();
    let shown = AnalyticsPage {
        frame: Frame::load(&state, &person, "analytics").await.map_err(PageError::of(&person))?,
        spans: SPANS.iter().map(|(span, words)| (*span, *words, *span == last)).collect(),
        database: given(&query.database),
        user: given(&query.user),
        rule: given(&query.rule),
        group: given(&query.group),
        truncated: counted.truncated,
        total: Row::of("All", &counted.total, counted.total.requests),
        charts: charts(&counted, query.per),
        tables: tables(&counted),
        shapes: counted.shapes.iter().map(|shape| shape_row(shape, &counted.shapes)).collect(),
    };
    Ok(page(StatusCode::OK, &shown))
}

fn shape_row(shape: &ShapeSlice, all: &[ShapeSlice]) -> (String, Row) {
    let most = all.iter().map(|shape| shape.tally.requests).max().unwrap_or(0);
    (shape.example.to_string(), Row::of(&shape.summary, &shape.tally, most))
}

fn tables(counted: &Analytics) -> Vec<Table> {
    let mut newest = counted.periods.clone();
    newest.reverse();
    vec![
        Table::of("By rule", &counted.rules),
        Table::of("By group that was asked", &counted.groups),
        Table::of("By database", &counted.databases),
        Table::of("Top requesters", &counted.requesters),
        Table::of("By time, newest first", &newest),
    ]
}

/// How finely so long a time is divided.
fn per(last: &str) -> Period {
    let days = crate::duration::parse(last).map_or(0, |time| time.as_secs() / 86_400);
    match days {
        0..=2 => Period::Hour,
        3..=92 => Period::Day,
        _ => Period::Month,
    }
}

fn charts(counted: &Analytics, per: Period) -> Vec<Chart> {
    if counted.total.requests == 0 {
        return Vec::new();
    }
    let names = places(counted, per);
    let tally = |name: &String| counted.periods.iter().find(|slice| slice.name == *name).map(|slice| &slice.tally);
    let tallies: Vec<Option<&Tally>> = names.iter().map(tally).collect();
    let series = |name, class, of: fn(&Tally) -> Option<u64>| Series {
        name,
        class,
        values: tallies.iter().map(|tally| tally.and_then(of).map(float)).collect(),
    };
    let decided = [
        series("approved", "good", |tally| Some(tally.approved)),
        series("rejected", "bad", |tally| Some(tally.rejected)),
        series("not decided by others", "over", |tally| {
            Some(tally.requests.saturating_sub(tally.approved + tally.rejected))
        }),
    ];
    let times = [
        series("half within", "good", |tally| tally.decision_ms_p50),
        series("nine of ten within", "waits", |tally| tally.decision_ms_p90),
    ];
    vec![chart::piles("Requests", &names, &decided), chart::lines("Time to decision", &names, &times, time_of)]
}

/// Every period of the time that is counted, whether or not something happened in it.
fn places(counted: &Analytics, per: Period) -> Vec<String> {
    let step = match per {
        Period::Hour => SignedDuration::from_hours(1),
        // A month is at least as long as some days.
        Period::Day | Period::Month => SignedDuration::from_hours(24),
    };
    let last = counted.until.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(counted.until);
    let mut names: Vec<String> = Vec::new();
    let mut at = last;
    while at >= counted.from && names.len() < PLACES_MAX {
        push(&mut names, per.name(at));
        let Ok(earlier) = at.checked_sub(step) else { break };
        at = earlier;
    }
    if names.len() < PLACES_MAX {
        push(&mut names, per.name(counted.from.max(Timestamp::UNIX_EPOCH)));
    }
    names.reverse();
    names
}

fn push(names: &mut Vec<String>, name: String) {
    if names.last() != Some(&name) {
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, until: &str, per: Period, want: &[&str]) {
        let counted = Analytics {
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
            truncated: false,
            total: Tally::default(),
            databases: Vec::new(),
            rules: Vec::new(),
            groups: Vec::new(),
            requesters: Vec::new(),
            shapes: Vec::new(),
            periods: Vec::new(),
        };
        assert_eq!(places(&counted, per), want);
    }

    #[test]
    fn every_period_has_its_place() {
        let (begin, end) = ("2026-01-30T22:30:00Z", "2026-02-01T00:30:00Z");
        check(begin, end, Period::Day, &["2026-01-30", "2026-01-31", "2026-02-01"]);
        check(begin, end, Period::Month, &["2026-01", "2026-02"]);
        check("2026-01-30T22:30:00Z", "2026-01-31T00:00:00Z", Period::Hour, &["2026-01-30T22", "2026-01-30T23"]);
        assert_eq!([per("24h"), per("30d"), per("365d")], [Period::Hour, Period::Day, Period::Month]);
        assert_eq!([time(850), time(12_400), time(11_220_000)], ["850 ms", "12 s", "3 h 7 min"]);
    }
}
