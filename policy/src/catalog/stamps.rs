//! What tells one definition of an object from the next.
//!
//! Never content: nothing can be read from a stamp. Invariant: views, rules, triggers, policies, defaults, constraints and
//! functions that are replaced have another stamp, be it by the same text; of relations and columns, the stamp is that of
//! their names, kinds and types, so that a TRUNCATE or GRANT leaves it.

use std::collections::HashMap;

use super::{Catalog, Oid};

/// Stands for a relation with its columns, rules, triggers, policies, defaults, constraints, parents and children.
pub type Stamp = i128;

/// The stamps of one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    /// By `pg_class.oid`.
    pub relations: HashMap<Oid, Stamp>,
    /// `xmin` of users' functions, by `pg_proc.oid`.
    pub functions: HashMap<Oid, u32>,
}

impl Catalog {
    /// Adds the stamps of users' relations and functions.
    #[must_use]
    pub fn with_stamps(mut self, stamps: Stamps) -> Self {
        self.stamps = stamps;
        self
    }

    /// The stamp of a relation that has one.
    pub(crate) fn stamp(&self, relation: Oid) -> Option<Stamp> {
        self.stamps.relations.get(&relation).copied()
    }

    /// `xmin` of a user's function.
    pub(crate) fn revision(&self, function: Oid) -> Option<u32> {
        self.stamps.functions.get(&function).copied()
    }
}
