//! Which configuration is in force, on record: its revision, and the lines that have changed since the one before.
//!
//! Never fails a start or a reload. Invariant: what is kept to compare with is what the trail was told last.

use std::io::{self, Write as _};
use std::path::Path;

use jiff::Timestamp;

use crate::audit::{self, Audit, Record};
use crate::config::Config;
use crate::config::diff::diff;
use crate::telemetry;

/// Tells the trail which configuration is in force from now on, and what has changed in it.
pub(super) fn record_config(audit: &Audit, data_dir: &Path, config: &Config) {
    telemetry::begin_masks(config.policy.masks.iter().map(|mask| mask.name.as_ref()));
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // What was in force last is kept, so that a change made while nothing ran shows, too.
    let kept = data_dir.join("config.recorded");
    let before = std::fs::read_to_string(&kept).ok();
    let diff = before.map(|before| diff(&before, config.text.expose())).filter(|diff| !diff.is_empty());
    let (revision, warnings, diff) = (&config.policy.revision, &config.warnings, diff.as_deref());
    let record = Record::Config { format: audit::FORMAT, revision, warnings, diff };
    if let Err(error) = audit.record(Timestamp::now(), &record) {
        tracing::error!(%error, "could not record the configuration");
    } else if let Err(error) = keep(data_dir, &kept, config.text.expose()) {
        tracing::warn!(%error, "could not keep the configuration; its next change is recorded without the lines");
    }
}

/// Puts a text in the place of a file, readable by its owner only.
fn keep(data_dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}
