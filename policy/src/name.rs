//! Names of database objects as PostgreSQL stores them: folded, unquoted, at most 63 bytes.
//!
//! Never folds or quotes by itself: names come from the grammar or from the catalog.

use std::fmt;

/// A schema-qualified name (`public.customers`), both parts as stored in the catalog, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QualifiedName {
    /// Schema; empty only for objects that have none or could not be resolved.
    pub schema: String,
    /// Object name.
    pub name: String,
}

impl QualifiedName {
    /// Builds a name from its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schema.is_empty() { f.write_str(&self.name) } else { write!(f, "{}.{}", self.schema, self.name) }
    }
}
