//! Columns that a statement refers to and columns that it writes, for rules that speak of them.
//!
//! Never says what a column's value flows into; [`super::lineage`] does. Invariant: a reference is noted where it is
//! resolved, and what it may mean beyond what the catalog knows is noted as all of every relation in sight; a written column
//! brings along those that PostgreSQL computes from it, and those of other names for it (views, parents).

use pg_query::NodeEnum;
use pg_query::protobuf::Node;

use super::lineage::{Scope, Source};
use super::walker::Walker;
use super::{BaseColumn, Lineage, RelationUse, StatementAnalysis};
use crate::catalog::{Catalog, Oid, Relation, RelationKind};
use crate::effect::{Effect, Effects};

impl Walker<'_> {
    /// Notes columns that are read.
    pub fn reads(&mut self, columns: &Lineage) {
        self.out.reads.absorb(columns);
    }

    /// Notes what a column reference with these parts reads.
    pub fn reads_reference(&mut self, parts: &[String], scope: &Scope<'_>) {
        match parts {
            [name] => self.reads_name(name, scope),
            [source, name] => self.reads_of_source("", source, name, scope),
            [schema, source, name] | [_, schema, source, name] => self.reads_of_source(schema, source, name, scope),
            _ => self.reads(&scope.reads()),
        }
    }

    /// Notes what an unqualified name reads.
    pub fn reads_name(&mut self, name: &String, scope: &Scope<'_>) {
        match scope.reads_of(name) {
            Some(found) => self.reads(&found),
            None if self.parameters.contains(name) => {}
            // A column that the catalog does not know yet, or a mistake.
            None => self.reads(&scope.reads()),
        }
    }

    fn reads_of_source(&mut self, schema: &str, source: &str, name: &str, scope: &Scope<'_>) {
        let Some(source) = scope.source(schema, source) else { return self.reads(&scope.reads()) };
        match source.columns.reads_named(name) {
            Some(found) => self.reads(&found),
            None if source.column(name).is_some() => {}
            None => self.reads_all(source),
        }
    }

    fn reads_all(&mut self, source: &Source) {
        self.reads(&source.columns.reads());
        if let Some(relation) = source.relation {
            self.reads(&Lineage::of(relation, 0));
        }
    }

    /// Notes what `*` or `source.*` reads.
    pub fn reads_star(&mut self, parts: &[String], scope: &Scope<'_>) {
        let source = match parts {
            [] => return self.reads(&scope.level.columns.reads()),
            [source] => scope.source("", source),
            [schema, source] | [_, schema, source] => scope.source(schema, source),
            _ => None,
        };
        match source {
            Some(source) => self.reads(&source.columns.reads()),
            None => self.reads(&scope.reads()),
        }
    }

    /// Notes what `COPY relation (columns) TO` reads; without a list, all of it.
    pub fn reads_listed(&mut self, source: &Source, list: &[String]) {
        if list.is_empty() {
            return self.reads_all(source);
        }
        for name in list {
            match source.columns.reads_named(name) {
                Some(found) => self.reads(&found),
                None => self.reads_all(source),
            }
        }
    }

    /// Notes what a view reads whichever of its columns is asked for: what decides about its rows. Of a view that it is made
    /// of every column counts, because it is not known which of them are.
    pub fn reads_through(&mut self, view: &StatementAnalysis) {
        self.reads(&view.predicates);
        for oid in view.relations.iter().filter_map(|used| used.oid) {
            if self.catalog().relation(oid).is_some_and(|relation| relation.kind == RelationKind::View) {
                self.reads(&Lineage::of(oid, 0));
            }
        }
    }

    /// Notes a column that is written.
    pub fn writes(&mut self, column: BaseColumn) {
        if let Err(at) = self.out.writes.binary_search(&column) {
            self.out.writes.insert(at, column);
        }
    }

    /// Notes the columns that INSERT or COPY … FROM fills: those of its list, or all.
    pub fn writes_listed(&mut self, target: &Source, list: &[Node]) {
        let Some(relation) = target.relation else { return };
        if list.is_empty() {
            self.writes(BaseColumn { relation, attnum: 0 });
        }
        for node in list {
            match node.node.as_ref() {
                Some(NodeEnum::ResTarget(column)) => self.writes_named(target, &column.name),
                Some(NodeEnum::String(column)) => self.writes_named(target, &column.sval),
                _ => self.writes(BaseColumn { relation, attnum: 0 }),
            }
        }
    }

    /// Notes that a column of the target is written.
    pub fn writes_named(&mut self, target: &Source, name: &str) {
        let Some(relation) = target.relation.and_then(|oid| self.context.catalog.relation(oid)) else { return };
        let position = relation.columns.iter().position(|column| column.name == name);
        let Some((position, column)) = position.and_then(|at| Some((at, relation.columns.get(at)?))) else {
            return self.writes(BaseColumn { relation: relation.oid, attnum: 0 });
        };
        let mut written = Lineage::of(relation.oid, column.attnum);
        self.add_parents(relation, name, &mut written);
        if relation.kind == RelationKind::View
            && let Some(derived) = self.derived_columns(relation)
        {
            written.absorb(&derived.at(position));
        }
        match written {
            Lineage::Columns(columns) => columns.into_iter().for_each(|column| self.writes_computed(column)),
            Lineage::Unknown(_) => self.writes_anything(),
        }
    }

    /// Notes a written column of a table, and those that are generated from it.
    fn writes_computed(&mut self, column: BaseColumn) {
        self.writes(column);
        let Some(relation) = self.context.catalog.relation(column.relation) else { return };
        for attnum in self.generated_from(relation, column) {
            self.writes(BaseColumn { relation: relation.oid, attnum });
        }
    }

    fn generated_from(&mut self, relation: &Relation, column: BaseColumn) -> Vec<i16> {
        let is_generated = |column: &&crate::catalog::Column| column.generated.is_some();
        if relation.kind == RelationKind::View || !relation.columns.iter().any(|column| is_generated(&column)) {
            return Vec::new();
        }
        let Some(relation) = self.context.catalog.relation(relation.oid) else { return Vec::new() };
        let derived = self.derived_columns(relation);
        let reaches = |position: usize| match derived.as_ref().map(|columns| columns.at(position)) {
            Some(Lineage::Columns(columns)) => columns.contains(&column),
            Some(Lineage::Unknown(_)) | None => true,
        };
        let generated = relation.columns.iter().enumerate().filter(|(_, column)| is_generated(column));
        generated.filter(|(position, _)| reaches(*position)).map(|(_, column)| column.attnum).collect()
    }

    /// Which column is written cannot be told: all of every relation that is written.
    fn writes_anything(&mut self) {
        let written: Vec<Oid> =
            self.out.relations.iter().filter(|used| used.is_written()).filter_map(|used| used.oid).collect();
        written.into_iter().for_each(|relation| self.writes(BaseColumn { relation, attnum: 0 }));
    }
}

/// Marks the relations of which columns are read by what changes them.
pub(super) fn mark_consulted(statement: &mut StatementAnalysis, catalog: &Catalog) {
    let consulted = |used: &RelationUse| match (&statement.reads, used.oid) {
        (Lineage::Unknown(_), _) => true,
        // The columns of a table that the catalog does not have yet are not known either.
        (Lineage::Columns(_), None) => {
            used.effects.intersects(Effects::of(&[Effect::Update, Effect::Delete, Effect::Merge]))
        }
        (Lineage::Columns(columns), Some(oid)) => {
            let is_read = |oid: Oid| columns.binary_search_by_key(&oid, |column| column.relation).is_ok();
            is_read(oid) || catalog.ancestors(oid).into_iter().any(is_read)
        }
    };
    let marks: Vec<bool> = statement
        .relations
        .iter()
        .map(|used| !used.effects.contains(Effect::Select) && used.is_written() && consulted(used))
        .collect();
    for (used, mark) in statement.relations.iter_mut().zip(marks) {
        used.is_consulted = mark;
    }
}
