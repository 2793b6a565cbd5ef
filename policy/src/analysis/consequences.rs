//! What a write sets off besides itself: triggers, defaults, check constraints, and the actions of foreign keys.
//!
//! Never asks whether a consequence would really come: which rows a statement hits is not known. Invariant: everything that
//! a consequence sets off in its turn is followed too.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, Node, TruncateStmt};

use super::lineage::Source;
use super::walker::Walker;
use super::{BaseColumn, Lineage, builtins};
use crate::catalog::{Consequence, Oid, Relation, RelationKind, SetOff};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// One write whose consequences are still to be followed.
struct Write {
    effect: Effect,
    relation: Oid,
    /// Attribute numbers that it assigns; `None` when they are not known.
    assigned: Option<Vec<i16>>,
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
        for oid in self.written_through(relation, effect) {
            let columns = assigned.and_then(|list| self.attribute_numbers(oid, list));
            writes.push(Write { effect, relation: oid, assigned: columns });
        }
        self.follow(writes, true);
    }

    /// TRUNCATE fires triggers; with CASCADE it empties the tables whose foreign keys refer to it.
    pub fn truncates(&mut self, truncate: &TruncateStmt) {
        let emptied = self.out.relations.iter().filter_map(|used| used.oid);
        let write = |oid| Write { effect: Effect::Truncate, relation: oid, assigned: None };
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
                    SetOff::Write(effect, other) => (effect, other),
                };
                let reached = self.descendants(other).into_iter().filter(|oid| cascades && seen.insert((*oid, effect)));
                for oid in reached.collect::<Vec<_>>() {
                    self.is_written(oid, effect);
                    open.push(Write { effect, relation: oid, assigned: None });
                }
            }
        }
    }

    /// The tables that a write to this relation writes to: what inherits from it, and what a view reads.
    fn written_through(&mut self, relation: &Relation, effect: Effect) -> Vec<Oid> {
        let mut written = self.descendants(relation.oid);
        if relation.kind == RelationKind::View {
            let read = self.out.relations.iter().filter(|used| used.effects.contains(effect));
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

    /// Attribute numbers of the columns in a SET list.
    fn attribute_numbers(&self, oid: Oid, list: &[Node]) -> Option<Vec<i16>> {
        let relation = self.context.catalog.relation(oid)?;
        let number = |node: &Node| match node.node.as_ref()? {
            NodeEnum::ResTarget(assignment) => relation.column_named(&assignment.name).map(|column| column.attnum),
            _ => None,
        };
        list.iter().map(number).collect()
    }

    fn is_written(&mut self, oid: Oid, effect: Effect) {
        self.effect(effect);
        if let Some(relation) = self.context.catalog.relation(oid) {
            let name = QualifiedName::new(&relation.schema, &relation.name);
            self.relation(Some(oid), name, Effects::of(&[effect]));
            self.writes(BaseColumn { relation: oid, attnum: 0 });
        }
    }

    pub(super) fn is_called(&mut self, oid: Oid) {
        let Some((schema, name, function)) = self.context.catalog.user_function(oid) else {
            // Triggers that came with the server compute the row they are given; defaults are not listed for them.
            return;
        };
        self.schema(schema);
        self.function(schema, name);
        if !builtins::is_harmless_extension(name) {
            self.invoke_user(name, function, &Lineage::CLEAR, false);
        }
    }
}
