//! Globs over the names a policy speaks of: one name ([`Glob`]), `schema.name` ([`NameGlob`]), `schema.relation.column`
//! ([`ColumnGlob`]).
//!
//! Never folds case: names are compared as the catalog stores them. Invariant: a name whose schema is not known (empty)
//! matches whatever the schema part asks for, because what did not resolve could be in any schema.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

/// A pattern over one name: `*` any run, `?` one byte, `[a-z]` a class, `{a,b}` alternatives.
#[derive(Clone)]
pub struct Glob {
    source: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Any,
    Exact,
    /// A literal and one star after it.
    Prefix,
    Pattern(GlobMatcher),
}

/// Why a text is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// The pattern itself is wrong.
    #[error("\"{0}\" is not a valid pattern: {1}")]
    Pattern(String, String),
    /// It has too few parts.
    #[error("\"{0}\" must be written as {1}")]
    Parts(String, &'static str),
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is empty, or a class or alternative in it is not closed.
    pub fn new(source: &str) -> Result<Self, GlobError> {
        if source.is_empty() {
            return Err(GlobError::Pattern(String::new(), "it is empty".to_owned()));
        }
        const SPECIAL: [char; 7] = ['*', '?', '[', ']', '{', '}', '\\'];
        let kind = if source == "*" {
            Kind::Any
        } else if source.strip_suffix('*').is_some_and(|prefix| !prefix.contains(SPECIAL)) {
            Kind::Prefix
        } else if source.contains(SPECIAL) {
            let glob = GlobBuilder::new(source)
                .literal_separator(false)
                .backslash_escape(true)
                .build()
                .map_err(|error| GlobError::Pattern(source.to_owned(), error.kind().to_string()))?;
            Kind::Pattern(glob.compile_matcher())
        } else {
            Kind::Exact
        };
        Ok(Self { source: source.to_owned(), kind })
    }

    /// Whether the name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Any => true,
            Kind::Exact => self.source == name,
            Kind::Prefix => self.source.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix)),
            Kind::Pattern(matcher) => matcher.is_match(name),
        }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it has no wildcard, so that it names one thing.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.kind, Kind::Exact)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// A pattern over a schema-qualified name.
#[derive(Clone, Debug)]
pub struct NameGlob {
    schema: Glob,
    name: Glob,
}

impl NameGlob {
    /// Compiles `schema.name`; `*` alone stands for everything. What follows the first dot is the name.
    ///
    /// # Errors
    /// When there is no schema part, or a part is no valid pattern.
    pub fn qualified(source: &str) -> Result<Self, GlobError> {
        if source == "*" {
            return Ok(Self { schema: Glob::new("*")?, name: Glob::new("*")? });
        }
        let (schema, name) =
            source.split_once('.').ok_or_else(|| GlobError::Parts(source.to_owned(), "schema.name"))?;
        Ok(Self { schema: Glob::new(schema)?, name: Glob::new(name)? })
    }

    /// Compiles `schema.name`, or `name` for that name in any schema.
    ///
    /// # Errors
    /// When a part is no valid pattern.
    pub fn unqualified(source: &str) -> Result<Self, GlobError> {
        if source.contains('.') {
            Self::qualified(source)
        } else {
            Ok(Self { schema: Glob::new("*")?, name: Glob::new(source)? })
        }
    }

    /// Whether the name fits; an empty schema fits every schema part.
    #[must_use]
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        (schema.is_empty() || self.schema.matches(schema)) && self.name.matches(name)
    }
}

impl fmt::Display for NameGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A pattern over a column: `schema.relation.column`.
#[derive(Clone, Debug)]
pub struct ColumnGlob {
    relation: NameGlob,
    column: Glob,
}

impl ColumnGlob {
    /// Compiles `schema.relation.column`: the schema ends at the first dot, the column starts after the last.
    ///
    /// # Errors
    /// When there are fewer than three parts, or a part is no valid pattern.
    pub fn new(source: &str) -> Result<Self, GlobError> {
        let parts = || GlobError::Parts(source.to_owned(), "schema.relation.column");
        let (relation, column) = source.rsplit_once('.').ok_or_else(parts)?;
        if !relation.contains('.') {
            return Err(parts());
        }
        Ok(Self { relation: NameGlob::qualified(relation)?, column: Glob::new(column)? })
    }

    /// Whether the relation part fits.
    #[must_use]
    pub fn matches_relation(&self, schema: &str, relation: &str) -> bool {
        self.relation.matches(schema, relation)
    }

    /// Whether the column part fits.
    #[must_use]
    pub fn matches_column(&self, column: &str) -> bool {
        self.column.matches(column)
    }
}

impl fmt::Display for ColumnGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.relation, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, schema: &str, name: &str, expected: bool) {
        assert_eq!(NameGlob::qualified(pattern).unwrap().matches(schema, name), expected, "{pattern} {schema}.{name}");
    }

    #[test]
    fn a_qualified_name_matches_part_by_part() {
        check("public.*", "public", "customers", true);
        check("public.*", "private", "customers", false);
        check("pub*.cust*", "public", "customers", true);
        check("*.customers", "sales", "customers", true);
        check("*", "sales", "customers", true);
        check("public.Customers", "public", "customers", false);
        check("public.a.b", "public", "a.b", true);
        check("{public,sales}.t", "sales", "t", true);
        check("public.c[0-9]", "public", "c7", true);
        check("public.*", "public", "odd/name", true);
    }

    #[test]
    fn a_star_at_the_end_is_a_prefix() {
        let glob = Glob::new("prod-*").unwrap();
        assert!(glob.matches("prod-db") && glob.matches("prod-") && !glob.matches("prod") && !glob.is_literal());
        let escaped = Glob::new("a\\*").unwrap();
        assert!(escaped.matches("a*") && !escaped.matches("ab"));
    }

    #[test]
    fn an_unresolved_schema_matches_any_schema_part() {
        check("public.customers", "", "customers", true);
        check("public.customers", "", "orders", false);
    }

    #[test]
    fn functions_may_leave_the_schema_out() {
        assert!(NameGlob::unqualified("pg_sleep").unwrap().matches("pg_catalog", "pg_sleep"));
        assert!(!NameGlob::unqualified("audit.f").unwrap().matches("public", "f"));
    }

    #[test]
    fn a_column_takes_three_parts() {
        let glob = ColumnGlob::new("*.customers.e*").unwrap();
        assert!(glob.matches_relation("public", "customers") && glob.matches_column("email"));
        assert!(!glob.matches_relation("public", "orders"));
        assert!(ColumnGlob::new("customers.email").is_err());
        assert!(ColumnGlob::new("email").is_err());
    }

    #[test]
    fn broken_patterns_are_errors() {
        for bad in ["", "[a", "{a", "a}"] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
        assert!(NameGlob::qualified("customers").is_err());
        assert!(NameGlob::qualified("public.").is_err());
    }
}
