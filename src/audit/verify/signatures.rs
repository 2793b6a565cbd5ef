//! Who vouches for which records: the checkpoints of a trail, read in order.
//!
//! Never trusts a key because a record names it, but for the very first when none was given; that is said.
//! Invariant: every record is vouched for by a checkpoint of a trusted key, or listed.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Fault;
use crate::audit::signing::{CHECKPOINT_RECORDS, PublicKey, is_signed};

#[derive(Deserialize)]
struct Checkpoint<'a> {
    since: u64,
    #[serde(borrow)]
    key: &'a str,
    endorsed_by: Option<&'a str>,
    endorsement: Option<&'a str>,
}

/// What checkpoints have shown so far.
#[derive(Default)]
pub(super) struct Signatures {
    trusted: Vec<PublicKey>,
    keys_given: bool,
    /// The last record that is vouched for, once there is one to begin with.
    vouched_to: Option<u64>,
    /// How many records each key has vouched for.
    by_key: BTreeMap<PublicKey, u64>,
    /// What is worth saying, though nothing is wrong.
    pub(super) notes: Vec<String>,
}

impl Signatures {
    pub(super) fn trusting(keys: Vec<PublicKey>) -> Self {
        Self { keys_given: !keys.is_empty(), trusted: keys, ..Self::default() }
    }

    /// The trail, or what is left of it, begins with this record.
    pub(super) fn begin(&mut self, first_seq: u64) {
        self.vouched_to.get_or_insert(first_seq.saturating_sub(1));
    }

    /// Takes in a checkpoint, and says what is wrong with it.
    pub(super) fn checkpoint(&mut self, seq: u64, line: &[u8]) -> Option<(Fault, String)> {
        let Ok(checkpoint) = serde_json::from_slice::<Checkpoint<'_>>(line) else {
            return Some((Fault::Changed, "the checkpoint lacks what it has to hold".to_owned()));
        };
        let key = checkpoint.key.parse::<PublicKey>().ok().filter(|key| is_signed(line, *key));
        let Some(key) = key else {
            return Some((Fault::Changed, "its signature is not that of the key it names".to_owned()));
        };
        if !self.trusts(key, &checkpoint) {
            return Some((Fault::Unsigned, format!("no trusted key has handed over to its key {key}")));
        }
        let vouched_to = self.vouched_to.replace(seq).unwrap_or(0);
        *self.by_key.entry(key).or_default() += (seq + 1).saturating_sub(checkpoint.since.max(vouched_to + 1));
        self.unvouched(vouched_to + 1, checkpoint.since.min(seq)).map(|detail| (Fault::Unsigned, detail))
    }

    fn trusts(&mut self, key: PublicKey, checkpoint: &Checkpoint<'_>) -> bool {
        if self.trusted.contains(&key) {
            return true;
        }
        let endorsed = || {
            let former = checkpoint.endorsed_by?.parse::<PublicKey>().ok()?;
            let endorsement = hex::decode(checkpoint.endorsement?).ok()?;
            (self.trusted.contains(&former) && former.endorses(key, &endorsement)).then_some(())
        };
        let first = !self.keys_given && self.trusted.is_empty();
        let trusts = first || endorsed().is_some();
        if trusts {
            self.trusted.push(key);
        }
        trusts
    }

    /// Records from `from` up to the one before `to` that nobody vouches for: noted when a crash explains them.
    fn unvouched(&mut self, from: u64, to: u64) -> Option<String> {
        if from >= to {
            return None;
        }
        let which = if from + 1 == to { format!("record {from}") } else { format!("records {from} to {}", to - 1) };
        if to - from <= CHECKPOINT_RECORDS {
            self.notes.push(format!("{which}: chained, but the proxy stopped before it signed"));
            return None;
        }
        Some(format!("{which}: not signed, and more than a crash leaves unsigned"))
    }

    /// Says what is wrong once all records up to `last_seq` were read.
    pub(super) fn finish(&mut self, last_seq: u64) -> Option<String> {
        if self.by_key.is_empty() {
            if self.keys_given {
                return Some("there is no checkpoint that a trusted key has signed".to_owned());
            }
            self.notes.push("there is no signature in it".to_owned());
            return None;
        }
        for (key, records) in &self.by_key {
            self.notes.push(format!("{records} records are signed with {key}"));
        }
        if !self.keys_given {
            self.notes
                .push("compare the key with \"audit key\" on the proxy's machine, or give it with --key".to_owned());
        }
        let open = self.vouched_to.map_or(0, |vouched_to| last_seq.saturating_sub(vouched_to));
        if open > CHECKPOINT_RECORDS {
            return Some(format!("the last {open} records are not signed, and more than wait for a signature"));
        }
        if open > 0 {
            self.notes.push(format!("the last {open} records are chained, but not signed yet"));
        }
        None
    }
}
