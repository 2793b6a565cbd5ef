//! What a write sets off besides itself: triggers, defaults, check constraints, and the actions of foreign keys.
//!
//! Never asks whether a consequence would really come: which rows a statement hits is not known. Invariant: everything that
//! a consequence sets off in its turn is followed too.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, Node, TruncateStmt};

use super::lineage::Source;
use super::walker::Walker;
use super::{BaseColumn, Lineage};
use crate::catalog::{Column, Consequence, Oid, Relation, RelationKind, SetOff};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// One write whose consequences are still to be followed.
struct Write {
    effect: Effect,
    relation: Oid,
    /// Attribute numbers that it assigns; `None` when they are not known.
    assigned: Option<Vec<i16>>,
    /// It is half of an update that moves a row to another partition.
    is_move: bool,
}

impl Write {
    fn sets_off(&self, consequence: &Consequence) -> bool {
        let by_column = |assigned: &Vec<i16>| assigned.iter().any(|column| consequence.columns.contains(column));
        let unaffected = self.effect == Effect::Update
            && !consequence.columns.is_empty()
            && self.assigned.as_ref().is_some_and(|assigned| !by_column(assigned));
        consequence.on.contains(self.effect) && !unaffected
    }
}

impl Walker<'_> {
    /// Records what a write to this target sets off. `assigned` is the SET list of an update.
    pub fn sets_off(&mut self, target: &Source, effect: Effect, assigned: Option<&[Node]>) {
        let Some(relation) = target.relation.and_then(|oid| self.context.catalog.relation(oid)) else { return };
        let mut writes = Vec::new();
        let written = self.written_through(relation, effect);
        let is_partitioned = |oid: &Oid| {
            let relation = self.context.catalog.relation(*oid);
            relation.is_some_and(|relation| relation.kind == RelationKind::PartitionedTable)
        };
        let moves = effect == Effect::Update && written.len() > 1 && written.iter().any(is_partitioned);
        for oid in written {
            let through_view = relation.kind == RelationKind::View && oid != relation.oid;
            let columns = assigned.and_then(|list| match through_view {
                true => self.attribute_numbers(oid, &self.names_behind(target, list)?),
                false => self.attribute_numbers(oid, &self.known_names(oid, list)?),
            });
            writes.push(Write { effect, relation: oid, assigned: columns, is_move: false });
            if moves {
                let half = |effect| Write { effect, relation: oid, assigned: None, is_move: true };
                writes.extend([half(Effect::Delete), half(Effect::Insert)]);
            }
        }
        self.follow(writes, true);
    }

    /// TRUNCATE fires triggers; with CASCADE it empties the tables whose foreign keys refer to it.
    pub fn truncates(&mut self, truncate: &TruncateStmt) {
        let emptied = self.out.relations.iter().filter_map(|used| used.oid);
        let write = |oid| Write { effect: Effect::Truncate, relation: oid, assigned: None, is_move: false };
        self.follow(emptied.map(write).collect(), truncate.behavior() == DropBehavior::DropCascade);
    }

    fn follow(&mut self, mut open: Vec<Write>, cascades: bool) {
        let mut seen: HashSet<(Oid, Effect)> = open.iter().map(|write| (write.relation, write.effect)).collect();
        while let Some(write) = open.pop() {
            let Some(relation) = self.context.catalog.relation(write.relation).filter(|_| self.spend()) else {
                continue;
            };
            for consequence in relation.consequences.iter().filter(|consequence| write.sets_off(consequence)) {
                let (effect, other) = match consequence.what {
                    SetOff::Call(function) => {
                        self.is_called(function);
                        continue;
                    }
                    // For foreign keys it is an update; up to PostgreSQL 14 it was a deletion.
                    SetOff::Write(..) if write.is_move && self.context.catalog.server_major() >= 15 => continue,
                    SetOff::Write(effect, other) => (effect, other),
                };
                let reached = self.descendants(other).into_iter().filter(|oid| cascades && seen.insert((*oid, effect)));
                for oid in reached.collect::<Vec<_>>() {
                    self.is_written(oid, effect);
                    open.push(Write { effect, relation: oid, assigned: None, is_move: false });
                }
            }
        }
    }

    /// The tables that a write to this relation writes to: what inherits from it unless it says ONLY, and what a view reads.
    pub(super) fn written_through(&mut self, relation: &Relation, effect: Effect) -> Vec<Oid> {
        // COPY … FROM sets off what an INSERT does.
        let carried = match effect {
            Effect::Insert => Effects::of(&[Effect::Insert, Effect::CopyIn]),
            other => Effects::of(&[other]),
        };
        let is_touched = |oid: &Oid| {
            self.out.relations.iter().any(|used| used.oid == Some(*oid) && used.effects.intersects(carried))
        };
        let mut written = self.descendants(relation.oid);
        written.retain(is_touched);
        if relation.kind == RelationKind::View {
            let read = self.out.relations.iter().filter(|used| used.effects.intersects(carried));
            written.extend(read.filter_map(|used| used.oid).filter(|oid| *oid != relation.oid));
        }
        written
    }

    /// The relation, its children by inheritance and partitioning, and theirs. PostgreSQL leaves out other sessions'
    /// temporary tables, and so does this.
    pub fn descendants(&self, oid: Oid) -> Vec<Oid> {
        let (mut found, mut seen) = (vec![oid], HashSet::from([oid]));
        let schema = |oid: &Oid| self.context.catalog.relation(*oid).map(|relation| relation.schema.as_str());
        let is_own = |oid: &Oid| schema(oid).is_none_or(|schema| !self.is_of_another_session(schema));
        let mut at = 0;
        while let Some(next) = found.get(at) {
            let children = self.context.catalog.children(*next);
            found.extend(children.iter().filter(|child| is_own(child) && seen.insert(**child)));
            at += 1;
        }
        found
    }

    /// Attribute numbers of columns by name, and of what is generated, which may follow from them.
    fn attribute_numbers(&self, oid: Oid, names: &[String]) -> Option<Vec<i16>> {
        let relation = self.context.catalog.relation(oid)?;
        let is_meant = |column: &&Column| column.generated.is_some() || names.contains(&column.name);
        Some(relation.columns.iter().filter(is_meant).map(|column| column.attnum).collect())
    }

    /// The assigned columns; `None` when the relation does not have one of them.
    fn known_names(&self, oid: Oid, list: &[Node]) -> Option<Vec<String>> {
        let relation = self.context.catalog.relation(oid)?;
        assigned_names(list).filter(|names| names.iter().all(|name| relation.column_named(name).is_some()))
    }

    /// The columns of tables behind the assigned columns of a view, which may have other names.
    fn names_behind(&self, view: &Source, list: &[Node]) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for name in assigned_names(list)? {
            let Lineage::Columns(columns) = view.columns.named(&name)? else { return None };
            for column in columns {
                let relation = self.context.catalog.relation(column.relation)?;
                names.push(relation.column(column.attnum)?.name.clone());
            }
        }
        Some(names)
    }

    fn is_written(&mut self, oid: Oid, effect: Effect) {
        self.effect(effect);
        if let Some(relation) = self.context.catalog.relation(oid) {
            let name = QualifiedName::new(&relation.schema, &relation.name);
            self.relation(Some(oid), name, Effects::of(&[effect]));
            self.writes(BaseColumn { relation: oid, attnum: 0 });
            // What a foreign key does is a statement of its own, which rules rewrite.
            if relation.has_rules {
                let mut source = self.source_of(relation);
                self.rewrites(&mut source, effect);
            }
        }
    }

    pub(super) fn is_called(&mut self, oid: Oid) {
        let Some((schema, name, function)) = self.context.catalog.user_function(oid) else {
            // Triggers that came with the server compute the row they are given; defaults are not listed for them.
            return;
        };
        self.schema(schema);
        self.function(schema, name);
        self.invoke_user(name, function, &Lineage::CLEAR, false);
    }
}

/// The columns in a SET list.
fn assigned_names(list: &[Node]) -> Option<Vec<String>> {
    let name = |node: &Node| match node.node.as_ref()? {
        NodeEnum::ResTarget(assignment) => Some(assignment.name.clone()),
        _ => None,
    };
    list.iter().map(name).collect()
}
