//! What a write sets off besides itself: triggers, defaults, check constraints, and the actions of foreign keys.
//!
//! Never asks whether a consequence would really come: which rows a statement hits is not known. Invariant: everything that
//! a consequence sets off in its turn is followed too.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, Node, TruncateStmt};

use super::lineage::{Source, work};
use super::walker::Walker;
use super::{BaseColumn, Lineage};
use crate::catalog::{Column, Consequence, Oid, Relation, RelationKind, SetOff, Volatility};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// Work of naming one more relation.
const DESCENDANT_WORK: usize = 64;

/// What is done to a relation, whose consequences are still to be followed.
pub(super) struct Cause {
    effect: Effect,
    relation: Oid,
    /// Attribute numbers that it assigns or drops; `None` when they are not known, or all of them.
    columns: Option<Vec<i16>>,
    /// It is half of an update that moves a row to another partition.
    is_move: bool,
}

impl Cause {
    pub(super) fn of(effect: Effect, relation: Oid) -> Self {
        Self { effect, relation, columns: None, is_move: false }
    }

    pub(super) fn with_columns(self, columns: Vec<i16>) -> Self {
        Self { columns: Some(columns), ..self }
    }

    fn sets_off(&self, consequence: &Consequence) -> bool {
        let by_column = |own: &Vec<i16>| own.iter().any(|column| consequence.columns.contains(column));
        let unaffected = matches!(self.effect, Effect::Update | Effect::Drop)
            && !consequence.columns.is_empty()
            && self.columns.as_ref().is_some_and(|own| !by_column(own));
        consequence.on.contains(self.effect) && !unaffected
    }
}

impl<'a> Walker<'a> {
    /// Records what a write to this target sets off. `assigned` is the SET list of an update.
    pub fn sets_off(&mut self, target: &Source, effect: Effect, assigned: Option<&[Node]>) {
        let Some(relation) = target.relation.and_then(|oid| self.context.catalog.relation(oid)) else { return };
        let mut causes = Vec::new();
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
            causes.push(Cause { columns, ..Cause::of(effect, oid) });
            if moves {
                let half = |effect| Cause { is_move: true, ..Cause::of(effect, oid) };
                causes.extend([half(Effect::Delete), half(Effect::Insert)]);
            }
        }
        self.follow(causes, true);
    }

    /// TRUNCATE fires triggers; with CASCADE it empties the tables whose foreign keys refer to it.
    pub fn truncates(&mut self, truncate: &TruncateStmt) {
        let emptied = self.out.relations.iter().filter_map(|used| used.oid);
        let causes = emptied.map(|oid| Cause::of(Effect::Truncate, oid)).collect();
        self.follow(causes, truncate.behavior() == DropBehavior::DropCascade);
    }

    /// A query reads the relation: its row security policies may call functions, and read others.
    pub(super) fn reads_set_off(&mut self, relation: &Relation) {
        if relation.consequences.iter().any(|consequence| consequence.on.contains(Effect::Select)) {
            self.follow(vec![Cause::of(Effect::Select, relation.oid)], true);
        }
    }

    /// Records what these set off, and what that sets off. Without `cascades` only functions are called.
    pub(super) fn follow(&mut self, mut open: Vec<Cause>, cascades: bool) {
        let mut seen: HashSet<(Oid, Effect)> = open.iter().map(|cause| (cause.relation, cause.effect)).collect();
        while let Some(cause) = open.pop() {
            let Some(relation) = self.context.catalog.relation(cause.relation).filter(|_| self.spend()) else {
                continue;
            };
            for consequence in relation.consequences.iter().filter(|consequence| cause.sets_off(consequence)) {
                let (effect, other) = match consequence.what {
                    SetOff::Call(function) => {
                        self.is_called(function);
                        continue;
                    }
                    // For foreign keys it is an update; up to PostgreSQL 14 it was a deletion.
                    SetOff::Write(..) if cause.is_move && self.context.catalog.server_major() >= 15 => continue,
                    SetOff::Write(effect, other) => (effect, other),
                };
                let reached = self.descendants(other).into_iter().filter(|oid| cascades && seen.insert((*oid, effect)));
                for oid in reached.collect::<Vec<_>>() {
                    self.is_reached(oid, effect);
                    // What is altered loses what the cascade reached, and stays as it is.
                    open.extend((effect != Effect::Alter).then(|| Cause::of(effect, oid)));
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
        work(DESCENDANT_WORK * found.len());
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

    /// Records that the statement does this to a relation that it does not name.
    pub(super) fn is_reached(&mut self, oid: Oid, effect: Effect) {
        let Some(relation) = self.context.catalog.relation(oid) else { return };
        self.effect(effect);
        let name = QualifiedName::new(&relation.schema, &relation.name);
        self.relation(Some(oid), name, Effects::of(&[effect]));
        if matches!(effect, Effect::Drop | Effect::Alter) {
            self.mark_altered(&relation.name);
        } else if effect != Effect::Select {
            self.is_written(relation, effect);
        } else if relation.kind == RelationKind::View {
            let reading = self.reading(relation);
            self.include_reads(&reading, Effects::NONE);
        }
    }

    fn is_written(&mut self, relation: &'a Relation, effect: Effect) {
        self.writes(BaseColumn { relation: relation.oid, attnum: 0 });
        // What a foreign key does is a statement of its own, which rules rewrite.
        if relation.has_rules {
            let mut source = self.source_of(relation);
            self.rewrites(&mut source, effect);
        }
    }

    /// Whether the user's function of that OID may write.
    pub(super) fn may_write_when_called(&self, oid: Oid) -> bool {
        let called = self.context.catalog.user_function(oid);
        called.is_none_or(|(_, _, function)| function.volatility == Volatility::Volatile)
    }

    pub(super) fn is_called(&mut self, oid: Oid) {
        let Some((schema, name, function)) = self.context.catalog.user_function(oid) else {
            // Triggers that came with the server compute the row they are given; defaults are not listed for them.
            return;
        };
        self.schema(schema);
        self.function(schema, name);
        if self.is_called_anew(name, function) {
            self.may_write(&Lineage::CLEAR);
        }
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
