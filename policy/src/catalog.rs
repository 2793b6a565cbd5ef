//! An immutable snapshot of what the analysis must know about one upstream database.
//!
//! Never loads anything: `countersign::catalog` fills it over a side connection and publishes it whole.
//! Invariant: a look-up that finds nothing means "not known", which the analysis treats as not understood.

mod behind;
mod belief;
mod checked;
mod stamps;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::analysis::StatementAnalysis;
use crate::effect::{Effect, Effects};
use crate::settings_read::SettingsRead;

pub use self::behind::Behind;
pub use self::belief::doubt;
pub use self::stamps::{Stamp, Stamps};

/// Object identifier of a relation, type or function in `pg_catalog`.
pub type Oid = u32;

/// Snapshot of one database. Built once by [`Catalog::new`], then only read.
#[derive(Debug, Default)]
pub struct Catalog {
    version: u64,
    server_version: u32,
    relations: HashMap<Oid, Relation>,
    relation_names: HashMap<String, HashMap<String, Oid>>,
    types: HashMap<Oid, Type>,
    type_names: HashMap<(String, String), Oid>,
    children: HashMap<Oid, Vec<Oid>>,
    functions: HashMap<String, HashMap<String, Vec<Function>>>,
    function_names: HashMap<Oid, (String, String)>,
    temporary: BTreeMap<String, u64>,
    rules: HashMap<Oid, Vec<String>>,
    event_triggers: Vec<EventTrigger>,
    entangled_schemas: HashSet<String>,
    /// OIDs of types whose values are made by functions that may write, and of such casts.
    checked_types: HashSet<Oid>,
    settings_read: SettingsRead,
    /// Temporary schemas with tables that inherit.
    inheriting: HashSet<String>,
    readings: Mutex<HashMap<Oid, Arc<StatementAnalysis>>>,
    stamps: Stamps,
}

/// A table, view, sequence, …: a row of `pg_class`.
#[derive(Clone, Debug)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: Oid,
    /// Schema, as stored.
    pub schema: String,
    /// Name, as stored.
    pub name: String,
    /// `relkind`.
    pub kind: RelationKind,
    /// OID of the relation's row type (`reltype`), 0 when it has none.
    pub row_type: Oid,
    /// Columns with `attnum > 0` that are not dropped, by attribute number.
    pub columns: Vec<Column>,
    /// `pg_get_viewdef` of a view or materialized view, with only `pg_catalog` in the search path: any other name in it
    /// is qualified. `None` for a view means that it could not be read.
    pub definition: Option<String>,
    /// Direct parents by inheritance or partitioning (`pg_inherits.inhparent`).
    pub parents: Vec<Oid>,
    /// Whether the relation has rules other than a view's own `_RETURN` that are not disabled.
    pub has_rules: bool,
    /// What statements on it set off.
    pub consequences: Vec<Consequence>,
}

/// What a statement on a relation sets off besides itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consequence {
    /// What sets it off: insert, update, delete, truncate; select (row security); maintenance and alter (rows are read or
    /// written anew; `alter` also CASCADE of ALTER TYPE); drop with CASCADE. What the definitions of views and rules call is
    /// set off by nothing here.
    pub on: Effects,
    /// An update sets it off only when it assigns one of these attribute numbers, and a drop of columns only when it is of
    /// one of them; empty means any.
    pub columns: Vec<i16>,
    /// What it is.
    pub what: SetOff,
}

/// See [`Consequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOff {
    /// A trigger, a default, a check constraint, an index, a partition key or a policy calls the function with this
    /// `pg_proc.oid`.
    Call(Oid),
    /// A foreign key does this to rows of that relation, a policy reads it, or CASCADE drops or alters it. `truncate` happens
    /// only with CASCADE.
    Write(Effect, Oid),
}

/// A row of `pg_event_trigger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrigger {
    /// `evtname`.
    pub name: String,
    /// `evtevent`: `ddl_command_start`, `sql_drop`, ….
    pub event: String,
    /// `evttags`: the command tags that it is for, in capitals; none means all.
    pub tags: Vec<String>,
    /// `evtfoid`: the function that it calls.
    pub function: Oid,
}

/// `pg_class.relkind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// `r`, and `t` (TOAST).
    Table,
    /// `p`.
    PartitionedTable,
    /// `v`.
    View,
    /// `m`.
    MaterializedView,
    /// `f`.
    ForeignTable,
    /// `S`.
    Sequence,
    /// `c`, a stand-alone composite type.
    CompositeType,
    /// `i`, `I`.
    Index,
}

/// A row of `pg_attribute`.
#[derive(Clone, Debug)]
pub struct Column {
    /// Attribute number, from 1.
    pub attnum: i16,
    /// Name, as stored.
    pub name: String,
    /// `atttypid`.
    pub type_oid: Oid,
    /// `pg_get_expr` of a generated column (`attgenerated <> ''`); empty when it could not be read.
    pub generated: Option<String>,
}

/// A row of `pg_type`.
#[derive(Clone, Debug)]
pub struct Type {
    /// `pg_type.oid`.
    pub oid: Oid,
    /// Schema, as stored.
    pub schema: String,
    /// Name, as stored.
    pub name: String,
    /// `typtype`: `b` base, `c` composite, `d` domain, `e` enum, `p` pseudo, `r` range, `m` multirange.
    pub kind: char,
    /// `typcategory`.
    pub category: char,
    /// Relation of a composite type (`typrelid`), or 0.
    pub relation: Oid,
    /// Element type of an array (`typelem` of a true array type), or 0.
    pub element: Oid,
    /// Base type of a domain (`typbasetype`), or 0.
    pub base: Oid,
}

/// A row of `pg_proc`. Overloads share a name; a look-up yields all of them.
#[derive(Clone, Debug)]
pub struct Function {
    /// `pg_proc.oid`.
    pub oid: Oid,
    /// `provolatile`.
    pub volatility: Volatility,
    /// `pg_language.lanname`.
    pub language: String,
    /// `prosecdef`.
    pub security_definer: bool,
    /// `prokind`: `f`, `p`, `a` or `w`.
    pub kind: char,
    /// `prorettype`.
    pub returns: Oid,
    /// Number of input arguments (`pronargs`).
    pub arguments: i16,
    /// Whether the object came with the server (`oid < 16384`, schema `pg_catalog` or `information_schema`).
    pub built_in: bool,
    /// It is declared not to write, and [`doubt`] does not believe it; the server does, and may run it while planning.
    pub doubted: bool,
    /// Its body, of a user's function in language `sql`.
    pub body: Option<SqlBody>,
    /// What a call runs besides; of a user's function.
    pub prelude: Option<Box<Prelude>>,
    /// The functions that a user's operator, cast or aggregate is made of; none of a function.
    pub behind: Box<[Behind]>,
}

/// What a call of a function runs before the function itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prelude {
    /// `pg_get_expr` of the defaults of its arguments, with commas between them and under an empty search path.
    pub defaults: Option<String>,
    /// Users' functions in the checks of domains in its signature: their `pg_proc.oid`s.
    pub checks: Vec<Oid>,
}

/// The body of a function written in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlBody {
    /// `pg_proc.prosrc`, or the statements of `pg_get_function_sqlbody`.
    pub text: String,
    /// Its names were resolved when it was made (`BEGIN ATOMIC`, `RETURN`): any that is not in `pg_catalog` is qualified.
    pub is_resolved: bool,
    /// Names of its parameters (`proargnames`), without empty ones.
    pub parameters: Vec<String>,
    /// Its SET clauses as `name=value` (`proconfig`).
    pub settings: Vec<String>,
}

/// `pg_proc.provolatile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// `i`.
    Immutable,
    /// `s`.
    Stable,
    /// `v`.
    Volatile,
}

impl Catalog {
    /// Builds a snapshot. `version` stands for the content: other content, other version, and the same content has the
    /// same version after a restart. `functions` come with their schema and name.
    #[must_use]
    pub fn new(
        version: u64,
        relations: Vec<Relation>,
        types: Vec<Type>,
        functions: Vec<(String, String, Function)>,
    ) -> Self {
        let mut snapshot = Self { version, ..Self::default() };
        for relation in relations {
            snapshot
                .relation_names
                .entry(relation.schema.clone())
                .or_default()
                .insert(relation.name.clone(), relation.oid);
            if !relation.parents.is_empty() && relation.schema.starts_with("pg_temp_") {
                snapshot.inheriting.insert(relation.schema.clone());
            }
            for parent in &relation.parents {
                snapshot.children.entry(*parent).or_default().push(relation.oid);
            }
            snapshot.relations.insert(relation.oid, relation);
        }
        snapshot.type_names = types.iter().map(|item| ((item.schema.clone(), item.name.clone()), item.oid)).collect();
        snapshot.types = types.into_iter().map(|item| (item.oid, item)).collect();
        for (schema, name, function) in functions {
            if function.volatility == Volatility::Volatile && name.starts_with("cast:") {
                snapshot.checked_types.insert(function.oid);
            }
            if !function.built_in {
                snapshot.function_names.insert(function.oid, (schema.clone(), name.clone()));
            }
            snapshot.functions.entry(schema).or_default().entry(name).or_default().push(function);
        }
        snapshot
    }

    /// Adds the versions of what lies in temporary schemas, by schema (`pg_temp_3`, `pg_toast_temp_3`); the version
    /// given to [`Catalog::new`] then stands for everything else.
    #[must_use]
    pub fn with_temporary_versions(mut self, versions: BTreeMap<String, u64>) -> Self {
        self.temporary = versions;
        self
    }

    /// Adds the `server_version_num` of the server (150020 for 15.20).
    #[must_use]
    pub fn with_server_version(mut self, number: u32) -> Self {
        self.server_version = number;
        self
    }

    /// Adds which custom settings its objects read.
    #[must_use]
    pub fn with_settings_read(mut self, read: SettingsRead) -> Self {
        self.settings_read = read;
        self
    }

    /// Which custom settings functions, views, policies, defaults, checks and triggers read.
    #[must_use]
    pub fn settings_read(&self) -> &SettingsRead {
        &self.settings_read
    }

    /// The server's major version (15); 0 when it is not known.
    #[must_use]
    pub fn server_major(&self) -> u32 {
        self.server_version / 10_000
    }

    /// Adds the rules of relations, by `pg_rewrite.ev_class`: `pg_get_ruledef` of each, with only `pg_catalog` in the search
    /// path. A relation with [`Relation::has_rules`] that is left out has rules which could not be read.
    #[must_use]
    pub fn with_rules(mut self, rules: HashMap<Oid, Vec<String>>) -> Self {
        self.rules = rules;
        self
    }

    /// The definitions of the relation's rules, other than a view's own; `None` when they could not be read.
    #[must_use]
    pub fn rules(&self, oid: Oid) -> Option<&[String]> {
        self.rules.get(&oid).map(Vec::as_slice)
    }

    /// Adds the event triggers that are not disabled.
    #[must_use]
    pub fn with_event_triggers(mut self, triggers: Vec<EventTrigger>) -> Self {
        self.event_triggers = triggers;
        self
    }

    /// The event triggers that are not disabled.
    #[must_use]
    pub fn event_triggers(&self) -> &[EventTrigger] {
        &self.event_triggers
    }

    /// Adds the schemas with objects that the catalog does not know and that others depend on, such as collations.
    #[must_use]
    pub fn with_entangled_schemas(mut self, schemas: HashSet<String>) -> Self {
        self.entangled_schemas = schemas;
        self
    }

    /// Whether what `DROP SCHEMA … CASCADE` reaches cannot be told.
    #[must_use]
    pub fn is_entangled(&self, schema: &str) -> bool {
        self.entangled_schemas.contains(schema)
    }

    /// Stands for all content, temporary objects of every session included; 0 means that nothing was ever loaded.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.temporary.values().fold(self.version, |version, part| mix(version, *part))
    }

    /// Stands for the content that a session with this search path can reach by unqualified names: durable objects and
    /// those of its own temporary schema. Other sessions' temporary tables do not change it.
    #[must_use]
    pub fn version_for(&self, search_path: &[String]) -> u64 {
        let own = search_path.iter().filter_map(|schema| self.temporary.get(schema));
        own.fold(self.version, |version, part| mix(version, *part))
    }

    /// The relation with this OID.
    #[must_use]
    pub fn relation(&self, oid: Oid) -> Option<&Relation> {
        self.relations.get(&oid)
    }

    /// The relation with this schema and name, both as stored.
    #[must_use]
    pub fn relation_named(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations.get(self.relation_names.get(schema)?.get(name)?)
    }

    /// The first relation of that name along the search path, which must name `pg_catalog` and the temporary schema
    /// explicitly where they are to be searched.
    #[must_use]
    pub fn resolve_relation(&self, search_path: &[String], name: &str) -> Option<&Relation> {
        search_path.iter().find_map(|schema| self.relation_named(schema, name))
    }

    /// What the relation inherits from or is a partition of, and what those do; each once.
    #[must_use]
    pub fn ancestors(&self, oid: Oid) -> Vec<Oid> {
        let parents = |oid| self.relation(oid).map(|relation| relation.parents.as_slice()).unwrap_or_default();
        let mut found: Vec<Oid> = Vec::new();
        let mut open = parents(oid).to_vec();
        while let Some(next) = open.pop() {
            if next != oid && !found.contains(&next) {
                found.push(next);
                open.extend(parents(next));
            }
        }
        found
    }

    /// What inherits from the relation or is a partition of it, directly.
    #[must_use]
    pub fn children(&self, oid: Oid) -> &[Oid] {
        self.children.get(&oid).map_or(&[], Vec::as_slice)
    }

    /// The function with that `pg_proc.oid`, with its schema and name, if it is not one that came with the server.
    #[must_use]
    pub fn user_function(&self, oid: Oid) -> Option<(&str, &str, &Function)> {
        let (schema, name) = self.function_names.get(&oid)?;
        let function = self.functions_named(schema, name).iter().find(|function| function.oid == oid)?;
        Some((schema, name, function))
    }

    /// All relations, in no particular order.
    pub fn relations(&self) -> impl Iterator<Item = &Relation> {
        self.relations.values()
    }

    /// The type with this OID.
    #[must_use]
    pub fn type_of(&self, oid: Oid) -> Option<&Type> {
        self.types.get(&oid)
    }

    /// Whether there is a type of that schema and name, both as stored.
    #[must_use]
    pub fn has_type(&self, schema: &str, name: &str) -> bool {
        self.type_named(schema, name).is_some()
    }

    /// The type of that schema and name, both as stored.
    #[must_use]
    pub fn type_named(&self, schema: &str, name: &str) -> Option<&Type> {
        self.types.get(self.type_names.get(&(schema.to_owned(), name.to_owned()))?)
    }

    /// All types, in no particular order.
    pub fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.values()
    }

    /// Whether a table in that temporary schema inherits from another one.
    pub(crate) fn has_temporary_children(&self, schema: &str) -> bool {
        self.inheriting.contains(schema)
    }

    /// The analysis of the definition of a view or of generated columns, when it was made before.
    pub(crate) fn reading(&self, oid: Oid) -> Option<Arc<StatementAnalysis>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).get(&oid).cloned()
    }

    /// Keeps the analysis of a definition as long as the snapshot lives; there are no more than relations.
    pub(crate) fn remember_reading(&self, oid: Oid, reading: StatementAnalysis) -> Arc<StatementAnalysis> {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(readings.entry(oid).or_insert_with(|| Arc::new(reading)))
    }

    /// Every overload of that function; empty when there is none.
    #[must_use]
    pub fn functions_named(&self, schema: &str, name: &str) -> &[Function] {
        self.functions.get(schema).and_then(|names| names.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Every overload of that name in each schema of the search path, with its schema, in path order.
    pub fn resolve_functions<'a>(
        &'a self,
        search_path: &'a [String],
        name: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Function)> {
        search_path.iter().flat_map(move |schema| {
            self.functions_named(schema, name).iter().map(move |function| (schema.as_str(), function))
        })
    }
}

/// Combines two versions; the order matters, and 0 never comes out.
fn mix(version: u64, part: u64) -> u64 {
    (version.rotate_left(29) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1)
}

impl Function {
    /// Whether it is written in C.
    #[must_use]
    pub fn is_in_c(&self) -> bool {
        matches!(self.language.as_str(), "c" | "internal")
    }
}

impl Relation {
    /// The column of that name.
    #[must_use]
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column with that attribute number.
    #[must_use]
    pub fn column(&self, attnum: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.attnum == attnum)
    }
}
