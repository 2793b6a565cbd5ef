//! Whether what PostgreSQL did lies within what the analysis says.
//!
//! Never asks the server. Invariant: every fact is compared; what is let pass is listed here with the reason.

use std::collections::HashMap;

use countersign_policy::analysis::{
    Analysis, BaseColumn, Lineage, Outputs, RelationUse, SessionChange, StatementAnalysis,
};
use countersign_policy::catalog::Oid;
use countersign_policy::{Catalog, Effect, Effects};

use super::facts::{Command, Facts, Lock, Origin, Written};
use super::tags;
use super::witness::OBSERVER_SCHEMA;

/// Code that nobody has read may do anything; that it is called is what the analysis has to say.
const OPAQUE: Effects = Effects::of(&[Effect::FunctionCall, Effect::Call, Effect::Do]);
/// Effects of statements that leave no trace of a write.
const READING: Effects = Effects::of(&[
    Effect::Select,
    Effect::Explain,
    Effect::Show,
    Effect::Cursor,
    Effect::Prepare,
    Effect::Execute,
    Effect::Transaction,
    Effect::Deallocate,
    Effect::CopyOut,
]);
/// Statements that look at objects which they do not name: what refers to the object, or inherits from it.
const DEFINING: Effects = Effects::of(&[
    Effect::Create,
    Effect::Alter,
    Effect::Drop,
    Effect::Truncate,
    Effect::Grant,
    Effect::Revoke,
    Effect::Comment,
    Effect::SecurityLabel,
    Effect::Maintenance,
    Effect::Discard,
]);
/// Functions of the server that make a transaction write without writing what anybody sees.
const WRITING_BUILT_INS: &[&str] =
    &["nextval", "txid_current", "pg_current_xact_id", "pg_stat_get_xact_function_calls"];

/// Base columns that each column of a view comes from, as PostgreSQL describes the view's definition.
pub type ViewOrigins = HashMap<Oid, Vec<Vec<Origin>>>;

/// An analysis, and what it was made from.
pub struct Claim<'a> {
    pub analysis: &'a Analysis,
    pub catalog: &'a Catalog,
    pub views: &'a ViewOrigins,
}

impl Claim<'_> {
    fn effects(&self) -> Effects {
        self.analysis.effects()
    }

    fn is_opaque(&self) -> bool {
        self.effects().intersects(OPAQUE)
    }

    fn uses(&self, oid: Oid, name: &str) -> Option<Effects> {
        let is_new = self.catalog.relation(oid).is_none();
        let is_it = |used: &&RelationUse| used.oid == Some(oid) || (is_new && used.name.name == name);
        let mut uses = self.analysis.statements.iter().flat_map(|statement| &statement.relations).filter(is_it);
        let first = uses.next()?.effects;
        Some(uses.fold(first, |mut all, used| {
            all.extend(used.effects);
            all
        }))
    }

    /// Whether a statement that the text prepares uses the relation.
    fn prepares(&self, oid: Oid) -> bool {
        let mut changes = self.analysis.statements.iter().flat_map(|statement| &statement.session_changes);
        let uses = |inner: &StatementAnalysis| inner.relations.iter().any(|used| used.oid == Some(oid));
        changes.any(|change| matches!(change, SessionChange::Prepare(_, inner) if uses(inner)))
    }

    fn calls(&self, name: &str) -> bool {
        let mut called = self.analysis.statements.iter().flat_map(|statement| &statement.functions);
        called.any(|function| function.name == name)
    }

    fn calls_in(&self, schema: &str, name: &str) -> bool {
        let mut called = self.analysis.statements.iter().flat_map(|statement| &statement.functions);
        called.any(|function| function.schema == schema && function.name == name)
    }

    /// Functions that print a definition lock what it is about; the server's views call them. PREPARE locks what its
    /// statement names.
    fn shows_definitions(&self) -> bool {
        let mut called = self.analysis.statements.iter().flat_map(|statement| &statement.functions);
        let mut used = self.analysis.statements.iter().flat_map(|statement| &statement.relations);
        self.effects().contains(Effect::Prepare)
            || called.any(|function| {
                // What a function that is not written in SQL reads is not followed; its result has no known lineage.
                !matches!(function.schema.as_str(), "" | "pg_catalog" | "information_schema" | OBSERVER_SCHEMA)
                    || function.name.starts_with("pg_get_")
                    || function.name.starts_with("pg_partition_")
                    || function.name == "satisfies_hash_partition"
                    || function.name.ends_with("_size")
            })
            || used.any(|used| matches!(used.name.schema.as_str(), "pg_catalog" | "information_schema"))
    }

    /// Everything that PostgreSQL did and the analysis does not carry.
    pub fn misses(&self, facts: &Facts) -> Vec<String> {
        let mut missed = Vec::new();
        missed.extend(self.boundaries(facts));
        missed.extend(facts.tags.iter().filter_map(|tag| self.tag(tag)));
        match (facts.copied, &facts.columns) {
            (Some(count), _) => missed.extend(self.copied(count)),
            (None, Some(columns)) => missed.extend(self.columns(columns)),
            (None, None) => {}
        }
        missed.extend(facts.written().iter().filter_map(|written| self.written(written)));
        missed.extend(facts.locked().iter().filter_map(|lock| self.locked(lock)));
        // The script of an extension may define, grant and write anything; that one is created is what is said.
        if !facts.tags.iter().any(|tag| tag.ends_with(" EXTENSION")) {
            missed.extend(facts.commands().iter().filter_map(|command| self.defined(command)));
        }
        missed.extend(self.functions(facts));
        missed.extend(self.session(facts));
        missed
    }

    /// Every statement has a tag of its own.
    fn boundaries(&self, facts: &Facts) -> Option<String> {
        let ours = self.analysis.statements.len();
        (ours != facts.tags.len()).then(|| format!("{} statements, not {ours}", facts.tags.len()))
    }

    /// COPY TO STDOUT sends as many columns as the analysis knows.
    fn copied(&self, count: usize) -> Option<String> {
        let [statement] = self.analysis.statements.as_slice() else { return None };
        match &statement.outputs {
            Outputs::Columns(list) if list.len() == count => None,
            Outputs::Opaque(_) => None,
            Outputs::Columns(_) | Outputs::None => Some(format!("{count} columns are copied")),
        }
    }

    fn tag(&self, tag: &str) -> Option<String> {
        let Some(expected) = tags::effects(tag) else { return Some(format!("the tag {tag} is not known")) };
        (!self.effects().intersects(expected)).then(|| format!("{tag}, but the effects are {:?}", self.effects()))
    }

    /// The origins that PostgreSQL reports are within the lineage.
    pub fn columns(&self, columns: &[Origin]) -> Vec<String> {
        let [statement] = self.analysis.statements.as_slice() else { return Vec::new() };
        let mut missed = Vec::new();
        match &statement.outputs {
            Outputs::None if !columns.is_empty() => missed.push("it returns columns".to_owned()),
            Outputs::None => {}
            Outputs::Columns(list) if list.len() != columns.len() => {
                missed.push(format!("{} columns, not {}", columns.len(), list.len()));
            }
            Outputs::Columns(list) => {
                for (position, (lineage, origin)) in list.iter().zip(columns).enumerate() {
                    missed.extend(self.column(position, lineage, *origin));
                }
            }
            Outputs::Opaque(lineage) => {
                for (position, origin) in columns.iter().enumerate() {
                    missed.extend(self.column(position, lineage, *origin));
                }
            }
        }
        missed
    }

    fn column(&self, position: usize, lineage: &Lineage, origin: Origin) -> Vec<String> {
        let Lineage::Columns(known) = lineage else { return Vec::new() };
        let at_base = match self.views.get(&origin.relation) {
            Some(columns) => match usize::try_from(origin.attnum).ok().and_then(|at| columns.get(at.wrapping_sub(1))) {
                Some(bases) => bases.clone(),
                None => columns.concat(),
            },
            // System columns and those of the server's own views hold no values.
            None if origin.attnum < 0 || self.is_built_in_view(origin.relation) => Vec::new(),
            None => vec![origin],
        };
        let missing = at_base.into_iter().filter(|base| {
            let column = BaseColumn { relation: base.relation, attnum: base.attnum };
            base.relation != 0 && base.attnum >= 0 && !known.contains(&column) && !self.is_built_in_view(base.relation)
        });
        missing.map(|base| format!("column {position} is {}.{}", base.relation, base.attnum)).collect()
    }

    fn is_built_in_view(&self, oid: Oid) -> bool {
        let is_view = |relation: &countersign_policy::catalog::Relation| {
            relation.kind == countersign_policy::catalog::RelationKind::View
        };
        oid < 16_384 && self.catalog.relation(oid).is_some_and(is_view)
    }

    fn written(&self, written: &Written) -> Option<String> {
        if self.is_opaque() {
            return None;
        }
        let used = self.uses(written.oid, &written.name).unwrap_or_default();
        let what = |count: i64, any: &[Effect], what: &str| {
            (count > 0 && !used.intersects(Effects::of(any)))
                .then(|| format!("{what} {}, carried there: {used:?}", written.name))
        };
        // An update can move a row to another partition; definitions rewrite tables.
        let moved = [Effect::Update, Effect::Create, Effect::Alter, Effect::Maintenance];
        what(written.inserted, &[&moved[..], &[Effect::Insert, Effect::CopyIn]].concat(), "inserts into")
            .or_else(|| what(written.updated, &moved, "updates"))
            .or_else(|| what(written.deleted, &[&moved[..], &[Effect::Delete]].concat(), "deletes from"))
    }

    fn locked(&self, lock: &Lock) -> Option<String> {
        if self.is_opaque() || self.catalog.relation(lock.oid).is_none() {
            return None;
        }
        let used = self.uses(lock.oid, &lock.name);
        let is_named = match lock.mode.as_str() {
            // Checking a foreign key looks at the table that it refers to.
            "AccessShareLock" | "RowShareLock" => {
                used.is_some() || self.effects().intersects(Effects::WRITES) || self.shows_definitions()
            }
            // PREPARE locks what its statement will write to, EXPLAIN what it plans and does not execute.
            "RowExclusiveLock" if self.prepares(lock.oid) => true,
            "RowExclusiveLock" if self.effects().contains(Effect::Explain) => used.is_some(),
            _ => used.is_some_and(|used| !used.without(Effects::of(&[Effect::Select])).is_empty()),
        };
        (!is_named && !self.effects().intersects(DEFINING))
            .then(|| format!("{} on {}, carried there: {used:?}", lock.mode, lock.name))
    }

    fn defined(&self, command: &Command) -> Option<String> {
        if self.is_opaque() {
            return None;
        }
        let observer = if command.tag == "DROPPED" { "dropped" } else { "command" };
        if !self.calls_in(OBSERVER_SCHEMA, observer) {
            return Some(format!("{} fires an event trigger", command.tag));
        }
        let expected = match command.tag.as_str() {
            // ALTER TABLE drops columns and constraints.
            "DROPPED" if command.kind == "default acl" => Effects::of(&[Effect::Grant, Effect::Revoke]),
            "DROPPED" => {
                Effects::of(&[Effect::Drop, Effect::Alter, Effect::Discard, Effect::Create, Effect::Maintenance])
            }
            // An identity column has one.
            // LIKE … INCLUDING COMMENTS copies them.
            "COMMENT" => Effects::of(&[Effect::Comment, Effect::Create]),
            "CREATE SEQUENCE" => Effects::of(&[Effect::Create, Effect::Alter]),
            tag => tags::effects(tag).unwrap_or_default(),
        };
        if !self.effects().intersects(expected) {
            return Some(format!("{} of {} {}", command.tag, command.kind, command.name));
        }
        let is_relation = matches!(
            command.kind.as_str(),
            "table" | "view" | "materialized view" | "sequence" | "foreign table" | "table column" | "view column"
        );
        // The sequence of an identity column changes with the column.
        if command.tag == "ALTER SEQUENCE" && self.effects().contains(Effect::Alter) {
            return None;
        }
        let known = self.catalog.relation(command.oid)?;
        let is_changed = |used: Effects| !used.without(Effects::of(&[Effect::Select])).is_empty();
        (is_relation && !self.uses(command.oid, &known.name).is_some_and(is_changed))
            .then(|| format!("{} of {} {}, not carried there", command.tag, command.kind, command.name))
    }

    fn functions(&self, facts: &Facts) -> Vec<String> {
        if self.is_opaque() {
            return Vec::new();
        }
        let unknown = facts.called().into_iter().filter(|called| called.is_volatile && !self.calls(&called.name));
        unknown.map(|called| format!("calls {}", called.name)).collect()
    }

    fn session(&self, facts: &Facts) -> Vec<String> {
        let effects = self.effects();
        let mut missed = Vec::new();
        let mut check = |happened: bool, any: Effects, what: &str| {
            if happened && !effects.intersects(any) {
                missed.push(what.to_owned());
            }
        };
        let role = Effects::of(&[Effect::SetRole, Effect::SetDangerous, Effect::Reset, Effect::Discard]);
        let transaction = Effects::of(&[Effect::Transaction]);
        check(facts.role_changed(), both(&[role, OPAQUE, transaction]), "changes the role");
        let path = Effects::of(&[
            Effect::Set,
            Effect::Create,
            Effect::Drop,
            Effect::Alter,
            Effect::Maintenance,
            Effect::Explain,
        ]);
        check(facts.path_changed(), both(&[role, path, OPAQUE, transaction]), "changes the search path");
        // Back to what is pinned is harmless.
        check(
            facts.reading_changed() && !facts.reads_as_pinned(),
            both(&[role, OPAQUE, transaction]),
            "changes how texts are read",
        );
        let lock = Effects::of(&[Effect::Lock]);
        check(facts.took_advisory_lock(), both(&[lock, OPAQUE]), "takes an advisory lock");
        let writes = |name: &&str| self.calls(name);
        let is_only_reading = effects.without(READING).is_empty() && !WRITING_BUILT_INS.iter().any(writes);
        // EXPLAIN of what would make a temporary table makes the temporary schema.
        let makes_schema = facts.path_changed() && effects.contains(Effect::Explain);
        if facts.wrote() && is_only_reading && !makes_schema {
            missed.push(format!("writes, but the effects are {effects:?}"));
        }
        missed
    }

    /// What the analysis carries although PostgreSQL shows that the text only reads: a false alarm.
    pub fn carries_too_much(&self, facts: &Facts) -> Option<String> {
        let reads = |tag: &String| matches!(tag.as_str(), "SELECT" | "SHOW" | "EXPLAIN" | "FETCH");
        let only_reads = facts.after.is_some() && !facts.wrote() && facts.tags.iter().all(reads);
        let alarming = both(&[
            Effects::WRITES,
            Effects::of(&[Effect::FunctionCall, Effect::Create, Effect::Alter, Effect::Drop, Effect::SetDangerous]),
        ]);
        let is_built_in = |function: &countersign_policy::name::QualifiedName| {
            matches!(function.schema.as_str(), "pg_catalog" | "information_schema")
        };
        let mut functions = self.analysis.statements.iter().flat_map(|statement| &statement.functions);
        (only_reads && self.effects().intersects(alarming) && functions.all(is_built_in))
            .then(|| format!("{:?}", self.effects()))
    }
}

fn both(all: &[Effects]) -> Effects {
    let mut sum = Effects::NONE;
    all.iter().for_each(|one| sum.extend(*one));
    sum
}
