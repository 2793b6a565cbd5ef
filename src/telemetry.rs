//! Logs and metrics of the proxy itself.
//!
//! Never carries SQL text, parameters, values or secrets, and no user names in labels; the audit trail is not a log.
//! Invariant: every metric the proxy publishes has its name here.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Counter;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::review::State;

/// Gauge: client sessions open now.
pub const SESSIONS: &str = "countersign_sessions";
/// Gauge: requests held on the wire now.
pub const HOLDS_PENDING: &str = "countersign_holds_pending";
/// Counter with label `verdict` (`allow`, `hold`, `deny`, `error`): statements judged.
pub const VERDICTS: &str = "countersign_verdicts_total";
/// Counter with label `mask` (its name): cells of results that were masked.
pub const MASKED_CELLS: &str = "countersign_masked_cells_total";
/// Counter with label `to` (a state): transitions of access requests.
pub const TRANSITIONS: &str = "countersign_request_transitions_total";
/// Counter: statements that were to be held and were refused, because their user had too much undecided.
pub const REQUESTS_REFUSED: &str = "countersign_requests_refused_total";
/// Counter: votes and transitions that the trail was told of only after the process that made them was gone, or had not
/// heard of it.
pub const TOLD_LATE: &str = "countersign_told_late_total";
/// Gauge: how many other sets of rules proxies on the same store go by; 0 when all go by the same.
pub const OTHER_RULES: &str = "countersign_other_rules";
/// Gauge: bytes of audit records that wait to be written.
pub const AUDIT_LAG_BYTES: &str = "countersign_audit_lag_bytes";
/// Gauge with label `sink`: records on stable storage that a sink has not passed on.
pub const AUDIT_SINK_LAG: &str = "countersign_audit_sink_lag_records";
/// Counter with label `sink`: records that a sink has not passed on and never will.
pub const AUDIT_SINK_DROPPED: &str = "countersign_audit_sink_dropped_total";
/// Counter with label `sink`: attempts to pass records on that have failed and are repeated.
pub const AUDIT_SINK_FAILURES: &str = "countersign_audit_sink_failures_total";

/// Counter with label `outcome` (`match`, `mismatch`): CancelRequests, by whether a session had that key.
pub const CANCEL_REQUESTS: &str = "countersign_cancel_requests_total";

/// Counter with label `outcome` (`failed`, `refused`): authentications that failed, and clients that were refused before
/// one because too many had failed.
pub const AUTH_FAILURES: &str = "countersign_auth_failures_total";

/// Counter: connections refused because too many others had not authenticated yet.
pub const STRANGERS_REFUSED: &str = "countersign_strangers_refused_total";

/// Counter with label `outcome` (`served`, `refused`, `limited`, `failed`): calls of the HTTP API.
pub const API_CALLS: &str = "countersign_api_calls_total";

/// Gauge with label `target` (its name): notifications that are not delivered yet.
pub const NOTIFY_WAITING: &str = "countersign_notify_waiting";

/// Gauge with label `target`: how long ago that happened which the oldest of them tells of, in seconds.
pub const NOTIFY_OLDEST: &str = "countersign_notify_oldest_seconds";

/// Gauge with label `target`: notifications that were given up.
pub const NOTIFY_DEAD: &str = "countersign_notify_dead";

/// Counter with labels `target` and `outcome` (`delivered`, `again`, `refused`, `given_up`): attempts to deliver one.
pub const NOTIFY_ATTEMPTS: &str = "countersign_notify_attempts_total";

/// Every metric.
pub const ALL: [&str; 20] = [
    SESSIONS,
    HOLDS_PENDING,
    VERDICTS,
    MASKED_CELLS,
    TRANSITIONS,
    REQUESTS_REFUSED,
    TOLD_LATE,
    OTHER_RULES,
    AUDIT_LAG_BYTES,
    AUDIT_SINK_LAG,
    AUDIT_SINK_DROPPED,
    AUDIT_SINK_FAILURES,
    CANCEL_REQUESTS,
    AUTH_FAILURES,
    STRANGERS_REFUSED,
    API_CALLS,
    NOTIFY_WAITING,
    NOTIFY_OLDEST,
    NOTIFY_DEAD,
    NOTIFY_ATTEMPTS,
];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `COUNTERSIGN_LOG` is not a filter.
    #[error("COUNTERSIGN_LOG is not a valid log filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Something else has set up logging before.
    #[error("could not set up logging")]
    Log(#[source] tracing_subscriber::util::TryInitError),
    /// The metrics recorder could not be installed.
    #[error("could not set up metrics")]
    Metrics(#[source] BuildError),
}

/// Sends log lines to standard error. `COUNTERSIGN_LOG` filters as usual (`info`, `countersign=debug`); the default is `info`.
///
/// # Errors
/// When the filter is wrong or logging was set up before.
pub fn init_logging(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = match std::env::var("COUNTERSIGN_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text).map_err(TelemetryError::Filter)?,
        _ => EnvFilter::new("info"),
    };
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    match format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(TelemetryError::Log)
}

/// Counts masked cells of one request, by the name of the mask.
pub fn count_masked(cells: &[(std::sync::Arc<str>, u64)]) {
    for (mask, count) in cells {
        metrics::counter!(MASKED_CELLS, "mask" => mask.to_string()).increment(*count);
    }
}

/// Counts verdicts. Made once, because looking a counter up costs far more than counting.
pub struct VerdictCounters {
    allow: Counter,
    hold: Counter,
    deny: Counter,
    error: Counter,
}

impl VerdictCounters {
    /// The counters of the recorder that is installed now.
    #[must_use]
    pub fn new() -> Self {
        let counter = |verdict: &'static str| metrics::counter!(VERDICTS, "verdict" => verdict);
        Self { allow: counter("allow"), hold: counter("hold"), deny: counter("deny"), error: counter("error") }
    }

    /// Counts one `allow`, `hold`, `deny` or `error`.
    pub fn count(&self, verdict: &str) {
        let counter = match verdict {
            "allow" => &self.allow,
            "hold" => &self.hold,
            "error" => &self.error,
            _ => &self.deny,
        };
        counter.increment(1);
    }
}

impl Default for VerdictCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// How many statements of one database were judged so far, by verdict.
#[derive(Debug, Default)]
pub struct Tally {
    allowed: AtomicU64,
    held: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    /// Counts one `allow`, `hold`, `deny` or `error`.
    pub fn count(&self, verdict: &str) {
        let count = match verdict {
            "allow" => &self.allowed,
            "hold" => &self.held,
            "error" => &self.failed,
            _ => &self.denied,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Allowed, held, denied, and what can only fail.
    #[must_use]
    pub fn counts(&self) -> [u64; 4] {
        [&self.allowed, &self.held, &self.denied, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Installs the recorder behind the `metrics` macros; the handle renders it for `/metrics`.
///
/// # Errors
/// When a recorder was installed before.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(TelemetryError::Metrics)?;
    metrics::describe_gauge!(SESSIONS, "client sessions open now");
    metrics::describe_gauge!(HOLDS_PENDING, "requests held on the wire now");
    metrics::describe_counter!(VERDICTS, "statements judged, by verdict");
    metrics::describe_counter!(MASKED_CELLS, "cells of results that were masked, by mask");
    metrics::describe_counter!(TRANSITIONS, "transitions of access requests, by state reached");
    metrics::describe_counter!(TOLD_LATE, "votes and transitions that the trail was told of late");
    metrics::describe_gauge!(OTHER_RULES, "other sets of rules by which proxies on the same store go");
    metrics::describe_gauge!(AUDIT_LAG_BYTES, metrics::Unit::Bytes, "audit records that wait to be written");
    metrics::describe_gauge!(AUDIT_SINK_LAG, "audit records that a sink has not passed on yet");
    metrics::describe_counter!(AUDIT_SINK_DROPPED, "audit records that a sink never passes on");
    metrics::describe_counter!(AUDIT_SINK_FAILURES, "attempts of audit sinks that failed and are repeated");
    metrics::describe_counter!(AUTH_FAILURES, "failed authentications, and clients refused because of them");
    metrics::describe_counter!(REQUESTS_REFUSED, "statements refused because their user had too much undecided");
    metrics::describe_counter!(STRANGERS_REFUSED, "connections refused because too many had not authenticated");
    metrics::describe_counter!(CANCEL_REQUESTS, "CancelRequests, by whether a session had that key");
    metrics::describe_counter!(API_CALLS, "calls of the HTTP API, by outcome");
    begin_at_nothing();
    Ok(handle)
}

/// Has every series there before anything has happened, so that an alarm never asks for one that is missing.
fn begin_at_nothing() {
    for gauge in [SESSIONS, HOLDS_PENDING, OTHER_RULES, AUDIT_LAG_BYTES] {
        metrics::gauge!(gauge).set(0);
    }
    for counter in [TOLD_LATE, STRANGERS_REFUSED, REQUESTS_REFUSED] {
        metrics::counter!(counter).increment(0);
    }
    let states = State::ALL.map(|state| state.as_str());
    let labelled: [(&'static str, &'static str, &[&'static str]); 5] = [
        (VERDICTS, "verdict", &["allow", "hold", "deny", "error"]),
        (TRANSITIONS, "to", &states),
        (CANCEL_REQUESTS, "outcome", &["match", "mismatch"]),
        (AUTH_FAILURES, "outcome", &["failed", "refused"]),
        (API_CALLS, "outcome", &["served", "refused", "limited", "failed"]),
    ];
    for (name, label, values) in labelled {
        values.iter().for_each(|value| metrics::counter!(name, label => *value).increment(0));
    }
}

/// Has a series for each of these masks.
pub fn begin_masks<'m>(masks: impl Iterator<Item = &'m str>) {
    masks.for_each(|mask| metrics::counter!(MASKED_CELLS, "mask" => mask.to_owned()).increment(0));
}

/// Makes ring the crypto provider of TLS in this process. Call it once, first thing in `main`; calling it again is harmless.
pub fn install_crypto_provider() {
    // An error means that one is installed already, which is what is wanted.
    let _installed = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a text that look like those of our metrics.
    fn names(text: &str) -> std::collections::BTreeSet<&str> {
        let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
        words.filter(|word| word.starts_with("countersign_") && *word != "countersign_").collect()
    }

    #[test]
    fn the_documentation_lists_every_metric_and_no_other() {
        let page = include_str!("../docs/metrics.md");
        let rows: String =
            page.lines().filter(|line| line.starts_with("| `")).map(|line| format!("{line}\n")).collect();
        assert_eq!(names(&rows), ALL.into_iter().collect());
    }

    #[test]
    fn the_dashboard_asks_for_metrics_that_there_are() {
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../docs/grafana-dashboard.json")).unwrap();
        let mut asked = std::collections::BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let found = names(target["expr"].as_str().unwrap());
                assert!(!found.is_empty(), "{target}");
                asked.extend(found.into_iter().map(str::to_owned));
            }
        }
        let known: std::collections::BTreeSet<String> = ALL.into_iter().map(str::to_owned).collect();
        assert_eq!(asked, known, "and leaves none out");
    }
}
