//! What makes one row, or one value, of many: aggregates that keep all they are given, and `ARRAY(SELECT …)`.
//!
//! Never says how many rows. Invariant: an aggregate that a user has made is one that keeps them.

/// What in a statement does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collects {
    /// Names of aggregates, without schema, each once.
    pub aggregates: Vec<String>,
    /// `ARRAY(SELECT …)`.
    pub arrays: bool,
    /// It happens in the body of a function, or in SQL that a function is given, where no plan shows it.
    pub hidden: bool,
}

/// Aggregates of the server whose result has all of their input in it; `*` stands for any end.
const KEEPING: &[&str] = &[
    "array_agg",
    "json_agg*",
    "json_arrayagg",
    "json_object_agg*",
    "json_objectagg",
    "jsonb_agg*",
    "jsonb_object_agg*",
    "range_agg",
    "string_agg",
    "xmlagg",
];

/// Whether the server's aggregate of that name keeps its input.
pub fn keeps(name: &str) -> bool {
    super::builtins::is_listed(KEEPING, name)
}

impl Collects {
    /// Whether nothing does.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Notes an aggregate.
    pub(super) fn aggregate(&mut self, name: &str) {
        if !self.aggregates.iter().any(|known| known == name) {
            self.aggregates.push(name.to_owned());
        }
    }

    /// Adds what a statement inside of this one does.
    pub(super) fn absorb(&mut self, inner: &Self) {
        inner.aggregates.iter().for_each(|name| self.aggregate(name));
        self.arrays |= inner.arrays;
        self.hidden |= inner.hidden;
    }
}
