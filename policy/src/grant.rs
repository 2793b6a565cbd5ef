//! What an approval is bound to.
//!
//! Never says who may approve; that is `countersign::review`. Invariant: two requests with the same [`Binding`] are the
//! same statement bytes, parameter values and formats, user, database, role, search path and catalog version.

use sha2::{Digest, Sha256};

use crate::subject::Subject;
use crate::verdict::ReviewerDemand;

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
    /// [`crate::Catalog::version`].
    pub catalog_version: u64,
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
        part(&facts.catalog_version.to_be_bytes());
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
