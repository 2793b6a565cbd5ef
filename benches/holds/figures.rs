//! Named figures: printed as they come, kept for the JSON file.
//!
//! Never averages: times are told by median, 99th percentile and maximum.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::Outcome;

/// Figures in the order of their names.
#[derive(Default)]
pub(crate) struct Figures {
    named: Map<String, Value>,
}

impl Figures {
    /// Prints and keeps one figure.
    pub(crate) fn note(&mut self, name: &str, value: f64, unit: &str) {
        println!("{name:<44} {value:>12.3} {unit}");
        self.named.insert(format!("{name}, {unit}"), Value::from((value * 1_000.0).round() / 1_000.0));
    }

    /// Prints and keeps median, 99th percentile and maximum, in milliseconds.
    pub(crate) fn note_times(&mut self, name: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        let at = |share: f64| {
            let index = (times.len().saturating_sub(1) as f64 * share).round() as usize;
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
        };
        self.note(&format!("{name}: median"), at(0.5), "ms");
        self.note(&format!("{name}: p99"), at(0.99), "ms");
        self.note(&format!("{name}: max"), at(1.0), "ms");
    }

    pub(crate) fn to_json(&self) -> Outcome<String> {
        Ok(serde_json::to_string_pretty(&self.named)? + "\n")
    }
}
