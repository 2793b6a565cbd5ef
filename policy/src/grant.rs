//! What people have allowed: an [`Approval`] of one request, bound to exactly that, and a [`Grant`] for a time.
//!
//! Never says who may give them; that is `countersign::review`. Invariant: two requests with the same [`Binding`] are the
//! same statement bytes, parameter values and formats, user, database, role, search path, catalog version, settings by
//! which literals are read, and custom settings that they can read.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::analysis::{StatementAnalysis, shape};
use crate::effect::{Effect, Effects};
use crate::rule::NameGlob;
use crate::subject::Subject;
use crate::verdict::{Case, HoldTerms, ReviewerDemand, covers, must_be_seen};

/// SHA-256 over everything an approval is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Binding(pub [u8; 32]);

/// What is hashed into a [`Binding`].
#[derive(Clone, Copy, Debug)]
pub struct BindingFacts<'a> {
    /// The statement, byte for byte.
    pub statement: &'a [u8],
    /// Bind's parameter part as it was on the wire (formats, values, result formats); empty for a simple Query.
    pub parameters: &'a [u8],
    /// Requester.
    pub subject: &'a Subject,
    /// Current role upstream.
    pub role: &'a str,
    /// Effective search path.
    pub search_path: &'a [String],
    /// The settings that give it another meaning: `DateStyle`, `TimeZone`, `transform_null_equals`, …
    pub formats: &'a str,
    /// [`crate::Catalog::version`].
    pub catalog_version: u64,
    /// Custom settings that it can read, with their values.
    pub settings: &'a [(String, Option<String>)],
}

impl Binding {
    /// Hashes the facts, each preceded by its length, so that no two different lists hash alike.
    #[must_use]
    pub fn of(facts: &BindingFacts<'_>) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(facts.statement);
        part(facts.parameters);
        part(facts.subject.user.as_bytes());
        part(facts.subject.database.as_bytes());
        part(facts.role.as_bytes());
        part(&(facts.search_path.len() as u64).to_be_bytes());
        facts.search_path.iter().for_each(|schema| part(schema.as_bytes()));
        part(facts.formats.as_bytes());
        part(&facts.catalog_version.to_be_bytes());
        for (name, value) in facts.settings {
            part(name.as_bytes());
            part(&[u8::from(value.is_some())]);
            part(value.as_deref().unwrap_or_default().as_bytes());
        }
        Self(hash.finalize().into())
    }
}

/// An unexpired approval that has not been used yet. Consumed by the one judgement it serves.
#[derive(Debug)]
pub struct Approval {
    /// Id of the access request it came from.
    pub request: String,
    /// What was approved.
    pub binding: Binding,
    /// The demands that were met.
    pub met: Vec<ReviewerDemand>,
}

/// Leave for one user to run on one database what would be held, or to see what would be masked, until it ends.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Identifier of its record.
    pub id: String,
    /// For whom.
    pub user: String,
    /// Where.
    pub database: String,
    /// What it lifts.
    pub reach: Reach,
    /// The demands that were met when it was given.
    pub met: Vec<ReviewerDemand>,
    /// When it ends, in microseconds since 1970 UTC.
    pub until: i64,
}

/// Which holds a grant lifts: everything that is present must fit.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Nothing else may hold the statement than these, named as in [`HoldTerms::causes`]. `None` is any.
    pub causes: Option<Vec<String>>,
    /// The text must have this shape, and mean the same by its names.
    pub shape: Option<ShapeDigest>,
    /// Nothing else may be written than relations of these names.
    pub relations: Option<Vec<NameGlob>>,
    /// It lifts no hold, but these masks.
    pub masks: Option<Vec<String>>,
}

/// The grants a case may use, and the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grants<'a> {
    /// Those that were not revoked; of anybody.
    pub given: &'a [Arc<Grant>],
    /// The time, in microseconds since 1970 UTC.
    pub now: i64,
    /// Current role upstream.
    pub role: &'a str,
    /// Effective search path.
    pub search_path: &'a [String],
}

/// What texts have in common that differ in literals, white space and comments only, under one role and search path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShapeDigest(pub [u8; 32]);

impl ShapeDigest {
    /// The digest of the text's shape; of a text that has none, the text's own, which no other text shares.
    #[must_use]
    pub fn of(text: &str, role: &str, search_path: &[String]) -> Self {
        let mut shape = Vec::with_capacity(text.len());
        let (kind, shape) = match shape::scan(text, &mut shape) {
            Some(_) => (1, shape.trim_ascii()),
            None => (0, text.as_bytes()),
        };
        let mut hash = Sha256::new();
        hash.update([kind]);
        for part in [shape, role.as_bytes()].into_iter().chain(search_path.iter().map(String::as_bytes)) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// Effects that change nothing, so that a grant for relations may let them by.
const HARMLESS: Effects = Effects::of(&[Effect::Select, Effect::Show, Effect::Explain, Effect::Transaction]);

impl Grant {
    /// Whether the hold of this case on these terms is lifted.
    #[must_use]
    pub(crate) fn lifts(&self, case: &Case<'_>, terms: &HoldTerms) -> bool {
        self.is_for(case.subject, case.grants.now)
            && self.reach.masks.is_none()
            && covers(&self.met, &terms.reviewers)
            && self.reach.fits(case, terms)
    }

    /// Whether it is the subject's, and has not ended at that time.
    pub(crate) fn is_for(&self, subject: &Subject, now: i64) -> bool {
        self.user == subject.user && self.database == subject.database && now < self.until
    }
}

impl Reach {
    fn fits(&self, case: &Case<'_>, terms: &HoldTerms) -> bool {
        // What people have not seen, they cannot have meant: only a shape says what it is.
        (self.shape.is_some() || !terms.causes.iter().any(|cause| must_be_seen(cause)))
            && self.causes.as_ref().is_none_or(|known| terms.causes.iter().all(|cause| known.contains(cause)))
            && self
                .relations
                .as_deref()
                .is_none_or(|globs| case.analysis.statements.iter().all(|statement| writes_only(globs, statement)))
            && self
                .shape
                .is_none_or(|shape| shape == ShapeDigest::of(case.text, case.grants.role, case.grants.search_path))
    }
}

/// Whether everything the statement changes are relations of these names.
fn writes_only(globs: &[NameGlob], statement: &StatementAnalysis) -> bool {
    let mut accounted = HARMLESS;
    for used in &statement.relations {
        if used.effects.without(HARMLESS).is_empty() && !used.effects.is_empty() {
            continue;
        }
        if !globs.iter().any(|glob| glob.matches(&used.name.schema, &used.name.name)) {
            return false;
        }
        accounted.extend(used.effects);
    }
    statement.not_understood.is_none() && statement.effects.without(accounted).is_empty()
}
