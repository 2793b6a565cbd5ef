//! Relation names → catalog relations, and relations → sources of a query.
//!
//! Never guesses a relation: a name that does not resolve is [`NotUnderstood::Relation`]. Invariant: the use of a view is
//! also a use of what it reads, the use of a child table is also a use of its parents, and that of a parent without ONLY is
//! also a use of its children.

use std::collections::HashSet;
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeVar};

use super::grammar::Tree;
use super::lineage::{Column, Columns, Origin, Scope, Source};
use super::nested::Surroundings;
use super::walker::{Changed, Walker, columns_of};
use super::{BaseColumn, Form, Lineage, NotUnderstood, NothingPrepared, Outputs, StatementAnalysis, names};
use crate::catalog::{Relation, RelationKind};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// Deepest nesting of view definitions.
const VIEW_DEPTH_MAX: usize = 16;

/// Columns of built-in relations that hold values of other relations' columns, or texts of other statements.
const REVEALING: &[(&str, &[&str])] = &[
    ("pg_stats", &["most_common_vals", "histogram_bounds", "most_common_elems", "range_bounds_histogram"]),
    ("pg_stats_ext", &["most_common_vals"]),
    ("pg_stats_ext_exprs", &["most_common_vals", "histogram_bounds", "most_common_elems"]),
    ("pg_statistic", &["stavalues1", "stavalues2", "stavalues3", "stavalues4", "stavalues5"]),
    ("pg_statistic_ext_data", &["stxdmcv", "stxdexpr"]),
    ("pg_stat_activity", &["query"]),
    ("pg_largeobject", &["data"]),
];

impl<'a> Walker<'a> {
    /// The relation a name stands for.
    pub fn resolve(&mut self, name: &RangeVar) -> Option<&'a Relation> {
        let catalog = self.catalog();
        if name.schemaname.is_empty() {
            let path = self.search_path();
            return catalog.resolve_relation(&path, &name.relname);
        }
        catalog.relation_named(self.schema(&name.schemaname), &name.relname)
    }

    /// A schema as written, or the session's own temporary schema for `pg_temp`.
    pub fn schema<'n>(&mut self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        let path = self.context.search_path;
        let temporary = path.iter().find(|schema| schema.starts_with("pg_temp_"));
        let schema = if name == "pg_temp" { temporary.map_or(name, String::as_str) } else { name };
        // Another session's temporary objects come and go without a change of this session's version of the catalog.
        self.session_dependent |= self.is_of_another_session(schema);
        schema
    }

    /// Whether the schema holds another session's temporary objects.
    pub fn is_of_another_session(&self, schema: &str) -> bool {
        let temporary = schema.starts_with("pg_temp_") || schema.starts_with("pg_toast_temp_");
        temporary && !self.path_in_force().iter().any(|own| own == schema)
    }

    /// Whether the session has created a table of that name which the catalog does not have yet.
    fn created(&mut self, name: &str) -> bool {
        let created = self.context.prepared.created_table(name);
        self.session_dependent |= created;
        created
    }

    /// Records a use of a relation by name: what it reaches is recorded too.
    pub fn touch(&mut self, name: &RangeVar, effects: Effects) -> Option<&'a Relation> {
        let change = self.overlay.relations.get(&name.relname).copied();
        if change == Some(Changed::Gone) {
            self.give_up(NotUnderstood::Other("a relation is dropped, renamed or rewritten earlier in the text"));
        }
        let Some(relation) = self.resolve(name) else {
            // What an earlier statement of the text created is known, though the catalog does not have it yet.
            if change == Some(Changed::Created) || self.created(&name.relname) {
                self.relation(None, self.new_name(name), effects);
            } else if change == Some(Changed::Gone) {
                self.relation(None, as_written(name), effects);
            } else {
                self.give_up(NotUnderstood::Relation(as_written(name)));
                self.relation(None, as_written(name), effects);
            }
            return None;
        };
        self.touch_resolved(relation, effects);
        if name.inh {
            for oid in self.descendants(relation.oid) {
                if let Some(child) = self.catalog().relation(oid) {
                    self.known_relation(child, effects);
                }
            }
        }
        Some(relation)
    }

    /// As [`Self::touch`]; with `missing_ok` a relation that there is not is nothing to the statement.
    pub fn touch_if(&mut self, name: &RangeVar, effects: Effects, missing_ok: bool) {
        let gone = self.overlay.relations.get(&name.relname) == Some(&Changed::Gone);
        let absent = if gone { self.is_dropped(name) } else { self.resolve(name).is_none() };
        if missing_ok && absent {
            // Its name still counts for rules: it may have been made since the catalog was loaded.
            self.relation(None, self.new_name(name), effects);
        } else {
            self.touch(name, effects);
        }
    }

    /// Records that the statement names a relation that there is not, and may.
    pub fn absent(&mut self, name: Option<&RangeVar>, effect: Effect) {
        if let Some(name) = name {
            self.touch_if(name, Effects::of(&[effect]), true);
        }
    }

    /// Records a use of a relation and of its parents.
    pub fn touch_resolved(&mut self, relation: &Relation, effects: Effects) {
        let mut seen = HashSet::new();
        let mut open = vec![relation];
        while let Some(next) = open.pop() {
            if seen.insert(next.oid) {
                self.known_relation(next, effects);
                open.extend(next.parents.iter().filter_map(|parent| self.catalog().relation(*parent)));
            }
        }
    }

    /// The relation of an INSERT, UPDATE, DELETE or MERGE. A WITH query of that name is not meant.
    pub fn target(&mut self, name: &RangeVar, effect: Effect) -> Source {
        self.effect(effect);
        let effects = Effects::of(&[effect]);
        let resolved = self.touch(name, effects);
        if let Some(relation) = resolved {
            if is_built_in(relation) {
                // Whoever may write to the system catalogs defines objects by it.
                self.changes(super::SessionChange::Catalog);
            }
            let replaced = self.is_replaced(relation, effect);
            if relation.kind == RelationKind::View {
                let reading = self.reading(relation);
                self.include_reads(&reading, if replaced { Effects::NONE } else { effects });
                self.reads_through(&reading);
            }
        }
        self.as_source(name, resolved)
    }

    /// A relation or WITH query in a FROM clause.
    pub fn read(&mut self, name: &RangeVar, scope: &Scope<'_>) -> Source {
        if name.schemaname.is_empty()
            && let Some(columns) = scope.query(&name.relname)
        {
            let mut source = Source::derived(&name.relname, columns.clone());
            alias(&mut source, name.alias.as_ref());
            return source;
        }
        self.effect(Effect::Select);
        let resolved = self.touch(name, Effects::of(&[Effect::Select]));
        if let Some(relation) = resolved {
            self.reads_set_off(relation);
        }
        if let Some(relation) =
            resolved.filter(|relation| relation.kind == RelationKind::View && !is_built_in(relation))
        {
            let reading = self.reading(relation);
            self.out.effects.extend(reading.effects);
            self.include_reads(&reading, Effects::NONE);
            self.reads_through(&reading);
        }
        self.as_source(name, resolved)
    }

    fn as_source(&mut self, name: &RangeVar, resolved: Option<&'a Relation>) -> Source {
        let mut source = match resolved {
            Some(relation) => self.source_of(relation),
            // What is in it was judged when it was written.
            None if self.created(&name.relname) => {
                Source { columns: Columns::opaque(Lineage::CLEAR), ..Source::default() }
            }
            None => Source { columns: Columns::unknown("a relation is not known"), ..Source::default() },
        };
        if self.overlay.relations.contains_key(&name.relname) || self.is_redefined(&name.relname) {
            source.columns = Columns::unknown("the relation changes within the text");
            self.reads(&resolved.map(|relation| Lineage::of(relation.oid, 0)).unwrap_or_default());
        }
        if resolved.is_none() {
            source.whole = source.columns.union();
        }
        source.name.clone_from(&name.relname);
        alias(&mut source, name.alias.as_ref());
        source
    }

    /// A relation as a source under its own name.
    pub fn source_of(&mut self, relation: &'a Relation) -> Source {
        let columns = self.columns_of_relation(relation);
        let mut whole = columns.union();
        if relation.kind != RelationKind::View {
            whole.absorb(&Lineage::of(relation.oid, 0));
        }
        Source {
            name: relation.name.clone(),
            schema: relation.schema.clone(),
            columns,
            whole,
            relation: Some(relation.oid),
            function: false,
        }
    }

    fn columns_of_relation(&mut self, relation: &'a Relation) -> Columns {
        let revealing: &[&str] = match REVEALING.iter().find(|(name, _)| *name == relation.name) {
            Some((_, columns)) if relation.schema == "pg_catalog" => columns,
            _ => &[],
        };
        let derived = self.derived_columns(relation);
        let mut columns = Columns::default();
        for (position, column) in relation.columns.iter().enumerate() {
            let mut lineage = match relation.kind {
                RelationKind::View => Lineage::CLEAR,
                _ => Lineage::of(relation.oid, column.attnum),
            };
            self.add_parents(relation, &column.name, &mut lineage);
            if let Some(derived) = &derived {
                lineage.absorb(&derived.at(position));
            }
            let own = BaseColumn { relation: relation.oid, attnum: column.attnum };
            let mut origin = Origin::Stored(own);
            if revealing.contains(&column.name.as_str()) {
                lineage = Lineage::Unknown("it holds values of other columns");
                if !is_statistics(relation) {
                    origin = Origin::Apart(own);
                }
            }
            let is_table = matches!(
                relation.kind,
                RelationKind::Table | RelationKind::PartitionedTable | RelationKind::ForeignTable
            );
            let stored = is_table && column.generated.is_none() && !revealing.contains(&column.name.as_str());
            let form = Some(Form::Column(own));
            columns.list.push(Column { name: column.name.clone(), lineage, origin, stored, form });
        }
        columns
    }

    /// Adds the columns of the same name of all parents.
    pub(super) fn add_parents(&self, relation: &Relation, column: &str, lineage: &mut Lineage) {
        for parent in self.catalog().ancestors(relation.oid) {
            if let Some(inherited) = self.catalog().relation(parent).and_then(|parent| parent.column_named(column)) {
                lineage.absorb(&Lineage::of(parent, inherited.attnum));
            }
        }
    }

    /// What the columns of a view, materialized view or table with generated columns are computed from, and they
    /// themselves.
    pub(super) fn derived_columns(&mut self, relation: &'a Relation) -> Option<Columns> {
        let is_derived =
            relation.definition.is_some() || relation.columns.iter().any(|column| column.generated.is_some());
        if is_built_in(relation) || !is_derived {
            let blind = relation.kind == RelationKind::View && !is_built_in(relation);
            return blind.then(|| Columns::unknown("the view's definition is not known"));
        }
        let reading = self.reading(relation);
        let mut columns = columns_of(&reading.outputs);
        if columns.rest.is_none() && columns.list.len() != relation.columns.len() {
            return Some(Columns::unknown("the definition does not fit the relation's columns"));
        }
        // A column of a view can be masked, or spoken of by a rule, when what it is made of is not.
        for (column, own) in columns.list.iter_mut().zip(&relation.columns) {
            column.lineage.absorb(&Lineage::of(relation.oid, own.attnum));
        }
        Some(columns)
    }

    /// The analysis of what defines the relation's columns, made once per catalog snapshot.
    pub fn reading(&mut self, relation: &'a Relation) -> Arc<StatementAnalysis> {
        // What inherits from a table and is temporary is there for its own session only.
        let own = self.path_in_force().iter().any(|schema| self.catalog().has_temporary_children(schema));
        if let Some(known) = self.catalog().reading(relation.oid).filter(|_| !own) {
            return known;
        }
        if let Some(known) = self.readings.get(&relation.oid) {
            return Arc::clone(known);
        }
        let outer = std::mem::take(&mut self.path_dependent);
        let reading = match &relation.definition {
            Some(definition) => self.definition(definition).unwrap_or_else(not_read),
            None => self.apart(|walker| walker.generated(relation)),
        };
        let path_dependent = std::mem::replace(&mut self.path_dependent, outer);
        self.path_dependent |= path_dependent;
        // A reading cut short by the depth or budget of this walk would be wrong for another one, and so would one that
        // depends on the path of this session.
        if path_dependent || own {
            return Arc::new(reading);
        }
        if reading.not_understood.is_some() {
            let reading = Arc::new(reading);
            self.readings.insert(relation.oid, Arc::clone(&reading));
            return reading;
        }
        self.catalog().remember_reading(relation.oid, reading)
    }

    /// Definitions come from `pg_get_viewdef` and `pg_get_expr` under an empty search path: what is not in `pg_catalog` is
    /// qualified.
    fn definition(&mut self, text: &str) -> Result<StatementAnalysis, NotUnderstood> {
        let path = ["pg_catalog".to_owned()];
        let run_path = self.path_in_force();
        let within = Surroundings { path: &path, run_path: Some(run_path), prepared: &NothingPrepared };
        self.nested(text, within, VIEW_DEPTH_MAX, |walker, tree| {
            walker.values.is_stored = true;
            let columns = walker.query(one_query(tree)?, &Scope::default());
            walker.out.outputs = walker.outputs(columns);
            Ok(walker.finish())
        })?
    }

    fn generated(&mut self, relation: &Relation) -> Outputs {
        let mut source = Source { name: relation.name.clone(), relation: Some(relation.oid), ..Source::default() };
        for column in &relation.columns {
            source.columns.push(&column.name, Lineage::of(relation.oid, column.attnum));
        }
        let mut list = Vec::new();
        for column in &relation.columns {
            let lineage = match &column.generated {
                None => Lineage::CLEAR,
                Some(expression) => self.generated_column(expression, &source),
            };
            list.push(lineage);
        }
        Outputs::Columns(list)
    }

    fn generated_column(&mut self, expression: &str, source: &Source) -> Lineage {
        let path = ["pg_catalog".to_owned()];
        let run_path = self.path_in_force();
        let within = Surroundings { path: &path, run_path: Some(run_path), prepared: &NothingPrepared };
        let read = self.nested(&format!("SELECT {expression}"), within, VIEW_DEPTH_MAX, |walker, tree| {
            walker.values.is_stored = true;
            let scope = Scope { level: super::lineage::Level::of(source.clone()), ..Scope::default() };
            let columns = walker.query(one_query(tree)?, &scope);
            Ok::<_, NotUnderstood>((columns.union(), walker.finish()))
        });
        match read.and_then(|read| read) {
            Ok((lineage, done)) => {
                self.include(&done);
                lineage
            }
            Err(_) => Lineage::Unknown("a generated column is not understood"),
        }
    }

    /// The name that a new relation gets.
    pub fn new_name(&self, name: &RangeVar) -> QualifiedName {
        if !name.schemaname.is_empty() {
            return as_written(name);
        }
        if name.relpersistence == "t" {
            return QualifiedName::new("pg_temp", &name.relname);
        }
        let first = self.context.search_path.iter().find(|schema| !schema.starts_with("pg_"));
        QualifiedName::new(first.map_or("", String::as_str), &name.relname)
    }

    /// Records a relation that the statement creates.
    pub fn create_relation(&mut self, name: &RangeVar) {
        self.effect(Effect::Create);
        let full = self.new_name(name);
        let schema = self.schema(&full.schema).to_owned();
        let oid = self.catalog().relation_named(&schema, &full.name).map(|relation| relation.oid);
        self.relation(oid, full, Effects::of(&[Effect::Create]));
        self.changes(super::SessionChange::Catalog);
        if name.relpersistence == "t" || name.schemaname == "pg_temp" {
            self.changes(super::SessionChange::SearchPath);
        }
        self.made(&QualifiedName::new(schema, &name.relname));
    }
}

/// Gives a source its alias and column aliases.
pub fn alias(source: &mut Source, alias: Option<&Alias>) {
    if let Some(alias) = alias {
        source.name.clone_from(&alias.aliasname);
        source.schema.clear();
        source.columns.rename(&names::texts(&alias.colnames));
    }
}

/// The name as the statement has it.
pub fn as_written(name: &RangeVar) -> QualifiedName {
    QualifiedName::new(&name.schemaname, &name.relname)
}

/// Whether it holds samples of columns' values. The other revealing ones hold texts of statements and large objects.
fn is_statistics(relation: &Relation) -> bool {
    relation.name.starts_with("pg_stats") || relation.name.starts_with("pg_statistic")
}

/// Whether the relation came with the server; such views show metadata only.
pub fn is_built_in(relation: &Relation) -> bool {
    relation.oid < 16_384 && matches!(relation.schema.as_str(), "pg_catalog" | "information_schema")
}

fn not_read(why: NotUnderstood) -> StatementAnalysis {
    StatementAnalysis {
        outputs: Outputs::Opaque(Lineage::Unknown("a view is not understood")),
        not_understood: Some(why),
        ..StatementAnalysis::default()
    }
}

fn one_query(tree: &Tree) -> Result<&Node, NotUnderstood> {
    let mut statements = tree.statements();
    match (statements.next(), statements.next()) {
        (Some(node), None) if matches!(node.node, Some(NodeEnum::SelectStmt(_))) => Ok(node),
        _ => Err(NotUnderstood::Other("a definition is not one query")),
    }
}
