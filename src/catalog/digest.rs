//! Catalog content → version.
//!
//! Never depends on when or how often something was loaded. Invariant: equal content has the same version, in this
//! process and after a restart, and 0 (the empty catalog) is never the version of loaded content.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};

use sha2::{Digest, Sha256};

/// Hashes catalog rows as they come, those of temporary schemas apart: only one session sees each of these.
#[derive(Default)]
pub(super) struct ContentDigest {
    durable: Sha256,
    temporary: BTreeMap<String, Sha256>,
}

/// The outcome of a [`ContentDigest`].
pub(super) struct Versions {
    pub(super) durable: u64,
    pub(super) temporary: BTreeMap<String, u64>,
}

impl ContentDigest {
    /// Adds one object of that schema, with whatever else must count as its content.
    pub(super) fn add(&mut self, schema: &str, object: &impl Debug, stamp: &str) {
        let hash = match is_temporary(schema) {
            true => self.temporary.entry(schema.to_owned()).or_default(),
            false => &mut self.durable,
        };
        // Writing to a hash cannot fail.
        let _ = writeln!(Sink(hash), "{object:?}{stamp:?}");
    }

    pub(super) fn finish(self) -> Versions {
        Versions {
            durable: number(self.durable),
            temporary: self.temporary.into_iter().map(|(schema, hash)| (schema, number(hash))).collect(),
        }
    }
}

/// Schemas of temporary tables (`pg_temp_3`) and of their TOAST tables (`pg_toast_temp_3`).
pub(super) fn is_temporary(schema: &str) -> bool {
    schema.starts_with("pg_temp_") || schema.starts_with("pg_toast_temp_")
}

fn number(hash: Sha256) -> u64 {
    let bytes = hash.finalize();
    bytes.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte)).max(1)
}

struct Sink<'a>(&'a mut Sha256);

impl fmt::Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
