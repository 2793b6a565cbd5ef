//! What a statement's analysis rests on: the definitions behind it, as the catalog had them.
//!
//! Never looks at a database. Invariant: when a database still has what [`Footing::holds`] asks for, then whatever the
//! statement names is what the analysis took it for, and does what the analysis says.

use std::collections::{BTreeMap, HashMap};

use super::{AnalysisContext, StatementAnalysis};
use crate::catalog::{Oid, Relation, RelationKind, Stamp};

/// OIDs below are those of objects that came with the server, and stay what they are.
const FIRST_USER_OID: Oid = 16_384;

/// Schema and name.
type Name = (String, String);

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footing {
    /// Relations, those behind views included.
    relations: BTreeMap<Oid, Option<Stamp>>,
    /// What stands, or does not stand, under a name that was looked up.
    names: BTreeMap<Name, Option<Oid>>,
    /// Functions under a name that was looked up.
    functions: BTreeMap<Name, Vec<(Oid, u32)>>,
    /// Parts of it were analysed when a definition was another one: nothing can bear all of it.
    is_torn: bool,
    does_more: bool,
    calls_users_code: bool,
}

/// What a database has under the names and OIDs of a [`Footing`].
#[derive(Debug, Default)]
pub struct Found {
    /// Stamps of relations.
    pub relations: HashMap<Oid, Stamp>,
    /// Relations by schema and name.
    pub names: HashMap<(String, String), Oid>,
    /// Functions by schema and name, with their `xmin`.
    pub functions: HashMap<(String, String), Vec<(Oid, u32)>>,
}

impl Footing {
    /// What a statement that names this rests on.
    pub(super) fn of(statement: &StatementAnalysis, context: &AnalysisContext<'_>) -> Self {
        let mut footing = Self::default();
        let schemas: Vec<&str> =
            context.search_path.iter().map(String::as_str).filter(|schema| is_of_users(schema)).collect();
        let known = statement.relations.iter().filter_map(|used| context.catalog.relation(used.oid?));
        for relation in known.filter(|relation| relation.oid >= FIRST_USER_OID) {
            footing.add_relation(relation, &schemas, context);
        }
        for function in &statement.functions {
            footing.add_functions(&function.schema, &function.name, &schemas, context);
        }
        footing
    }

    fn add_relation(&mut self, relation: &Relation, schemas: &[&str], context: &AnalysisContext<'_>) {
        self.relations.insert(relation.oid, context.catalog.stamp(relation.oid));
        self.does_more |=
            relation.kind == RelationKind::View || relation.has_rules || !relation.consequences.is_empty();
        let own = is_of_users(&relation.schema).then_some(relation.schema.as_str());
        for schema in schemas.iter().copied().chain(own) {
            let there = context.catalog.relation_named(schema, &relation.name).map(|found| found.oid);
            self.names.insert((schema.to_owned(), relation.name.clone()), there);
        }
    }

    fn add_functions(&mut self, schema: &str, name: &str, schemas: &[&str], context: &AnalysisContext<'_>) {
        for schema in schemas.iter().copied().chain(is_of_users(schema).then_some(schema)) {
            let there = context.catalog.functions_named(schema, name);
            self.calls_users_code |= !there.is_empty();
            let mut there: Vec<(Oid, u32)> =
                there.iter().filter_map(|found| Some((found.oid, context.catalog.revision(found.oid)?))).collect();
            there.sort_unstable();
            self.functions.insert((schema.to_owned(), name.to_owned()), there);
        }
    }

    /// Adds what something else rests on that the statement includes, perhaps analysed earlier.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.is_torn |= other.is_torn;
        self.does_more |= other.does_more;
        self.calls_users_code |= other.calls_users_code;
        for (oid, stamp) in &other.relations {
            self.is_torn |= self.relations.insert(*oid, *stamp).is_some_and(|known| known != *stamp);
        }
        for (name, there) in &other.names {
            self.is_torn |= self.names.insert(name.clone(), *there).is_some_and(|known| known != *there);
        }
        for (name, there) in &other.functions {
            self.is_torn |= self.functions.insert(name.clone(), there.clone()).is_some_and(|known| known != *there);
        }
    }

    /// Whether the statement reads views, calls users' functions, or sets off rules, triggers and the like: whether it may
    /// do something else without its text or its tables being others.
    #[must_use]
    pub fn does_more(&self) -> bool {
        self.does_more || self.calls_users_code
    }

    /// Whether it calls functions that did not come with the server.
    #[must_use]
    pub fn calls_users_code(&self) -> bool {
        self.calls_users_code
    }

    /// Whether a database that has this bears it.
    #[must_use]
    pub fn holds(&self, found: &Found) -> bool {
        const NONE: &[(Oid, u32)] = &[];
        !self.is_torn
            && self.relations.iter().all(|(oid, stamp)| found.relations.get(oid) == stamp.as_ref())
            && self.names.iter().all(|(name, there)| found.names.get(name) == there.as_ref())
            && self.functions.iter().all(|(name, there)| {
                let mut now = found.functions.get(name).map_or(NONE, Vec::as_slice).to_vec();
                now.sort_unstable();
                now == *there
            })
    }

    /// OIDs of its relations.
    #[must_use]
    pub fn relations(&self) -> Vec<Oid> {
        self.relations.keys().copied().collect()
    }

    /// Schemas and names of relations that were looked up.
    pub fn relation_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.keys().map(|(schema, name)| (schema.as_str(), name.as_str()))
    }

    /// Schemas and names of functions that were looked up.
    pub fn function_names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.functions.keys().map(|(schema, name)| (schema.as_str(), name.as_str()))
    }
}

/// Whether others than the server and this session alone put something into the schema.
fn is_of_users(schema: &str) -> bool {
    let of_the_server = matches!(schema, "" | "pg_catalog" | "information_schema");
    !of_the_server && !schema.starts_with("pg_temp_") && !schema.starts_with("pg_toast")
}
