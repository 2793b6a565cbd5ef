//! What stands behind a name that is called and is no function by itself: operators, casts and aggregates.
//!
//! Never what those functions call in their turn; the analysis follows it where it can.

use super::Oid;
use crate::name::QualifiedName;

/// A function that a user's operator, cast or aggregate is made of, or that checks a value of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// `pg_proc.oid`.
    pub oid: Oid,
    /// Its schema and name.
    pub name: QualifiedName,
}
