//! Masks: which columns are masked for whom, the plan for one result, and the maskers.
//!
//! Never looks at a column's result name: provenance and lineage decide. Invariant: a column that cannot be shown to be
//! clear of masked columns is masked whole, or the result is refused.

use crate::rule::{ColumnGlob, Glob};

/// One `[[masks]]` entry.
#[derive(Debug)]
pub struct MaskRule {
    /// Unique name.
    pub name: String,
    /// Globs over `schema.relation.column`.
    pub columns: Vec<ColumnGlob>,
    /// The transformation.
    pub mask: MaskKind,
    /// Groups that see the values in clear.
    pub except_groups: Vec<Glob>,
    /// Key of `hash`; shared by all masks.
    pub key: [u8; 32],
}

/// The documented transformations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskKind {
    /// Keeps the first character of the local part and the domain: `a***@example.com`.
    Email,
    /// Keeps the last two digits, hides the others, keeps punctuation.
    Phone,
    /// Keeps the last four digits of a card number.
    Card,
    /// Keeps the last four characters.
    Last4,
    /// Keeps the first character.
    First1,
    /// Replaces the value by `***` (or the type's neutral value).
    Redact,
    /// NULL.
    Null,
    /// Keyed HMAC-SHA-256, in hexadecimal.
    Hash,
    /// Keeps the year of a date or timestamp.
    DateYear,
    /// Keeps the network part of an IP address.
    Ip,
    /// Zero, or the empty string.
    Zero,
}
