//! What grants take out of the masks of one session.
//!
//! Never decides who may see what; the policy does. Invariant: masks and grants that the session core sees at one moment
//! belong together, and a statement that may show a value because of a grant says so in its record.

use std::sync::Arc;

use countersign_policy::Analysis;
use countersign_policy::grant::{Grant, Grants};
use countersign_policy::mask::{MaskSet, Unmask};
use countersign_policy::subject::Subject;

use super::words::Surroundings;
use crate::database::Database;

/// What one grant takes out.
#[derive(Clone, Debug)]
pub struct Unmasked {
    /// Id of the grant.
    pub grant: String,
    /// Names of the masks, sorted.
    pub names: Vec<String>,
    /// What they would mask.
    pub masks: Arc<MaskSet>,
}

/// The grants by which a permitted request may show values of masked columns.
pub(super) fn used(verdict: &str, analysis: &Analysis, around: &Surroundings) -> Vec<String> {
    if verdict != "allow" {
        return Vec::new();
    }
    let concerns = |unmasked: &&Unmasked| {
        analysis.statements.iter().any(|statement| unmasked.masks.concerns(statement, &around.catalog))
    };
    around.unmasked.iter().filter(concerns).map(|unmasked| unmasked.grant.clone()).collect()
}

/// Whether both take out the same.
pub(super) fn same(one: &[Unmasked], other: &[Unmasked]) -> bool {
    let is = |(one, other): (&Unmasked, &Unmasked)| one.grant == other.grant && one.names == other.names;
    one.len() == other.len() && one.iter().zip(other).all(is)
}

/// Keeps masks up to date with the configuration, the catalog and the grants.
pub(super) struct Watch {
    seen: Arc<Vec<Arc<Grant>>>,
    /// When the first of the grants that lift masks ends, in microseconds since 1970 UTC.
    until: i64,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { seen: Arc::default(), until: i64::MAX }
    }

    /// Takes in the masks as they are now; `moved` says that configuration or catalog are others than before.
    pub(super) fn look(&mut self, moved: bool, around: &mut Surroundings, subject: &Subject, database: &Database) {
        let now = around.now.as_microsecond();
        if !moved && now < self.until && Arc::ptr_eq(&self.seen, &around.grants) {
            return;
        }
        self.seen = Arc::clone(&around.grants);
        let grants = Grants { given: &self.seen, now, role: "", search_path: &[] };
        let lifted = around.config.policy.unmasked(subject, &grants);
        self.until = lifted.iter().map(|lift| lift.grant.until).min().unwrap_or(i64::MAX);
        let is = |(known, lift): (&Unmasked, &Unmask)| known.grant == lift.grant.id && known.names == lift.masks;
        let same = lifted.len() == around.unmasked.len() && around.unmasked.iter().zip(&lifted).all(is);
        if same && !moved {
            return;
        }
        let names: Vec<_> = lifted.iter().flat_map(|lift| lift.masks.iter().cloned()).collect();
        around.all_masks = database.masks(&around.config, subject);
        around.masks = database.masks_without(&around.config, subject, names);
        let unmasked = lifted.into_iter().map(|lift| Unmasked {
            grant: lift.grant.id.clone(),
            masks: database.masks_named(&around.config, lift.masks.clone()),
            names: lift.masks,
        });
        around.unmasked = unmasked.collect();
    }
}
