//! INSERT, UPDATE, DELETE and MERGE.
//!
//! Never takes a RETURNING column for what the table held: a value written in the same statement comes back too.
//! Invariant: every expression that is written is part of [`super::StatementAnalysis::stores`].

use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, DeleteStmt, InsertStmt, MergeMatchKind, MergeStmt, MergeWhenClause, Node};
use pg_query::protobuf::{
    OnConflictAction, OnConflictClause, ReturningClause, ReturningOptionKind, SelectStmt, UpdateStmt,
};

use super::condition::{Rows, Value};
use super::lineage::{Columns, Level, Origin, Scope, Source};
use super::walker::Walker;
use super::{Lineage, NotUnderstood};
use crate::effect::{Effect, Effects};

impl Walker<'_> {
    pub(super) fn insert(&mut self, insert: &InsertStmt, outer: &Scope<'_>) -> Columns {
        let Some(name) = insert.relation.as_ref() else { return self.incomplete() };
        self.row_writes += 1;
        let mut scope = outer.child();
        self.with_clause(insert.with_clause.as_ref(), &mut scope);
        let mut target = self.target(name, Effect::Insert);
        self.sets_off(&target, Effect::Insert, None);
        let given = match insert.select_stmt.as_deref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) if is_plain_values(select) => self.values(&select.values_lists, &scope),
            Some(NodeEnum::SelectStmt(select)) => self.select(select, &scope),
            Some(_) => return self.incomplete(),
            None => Columns::default(),
        };
        self.stores(&given.union());
        let columns = target_columns(&insert.cols, &target);
        self.writes_listed(&target, &insert.cols);
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            self.arbiter(conflict, &columns, insert, &scope.with(Level::of(target.clone())));
        }
        let mut excluded = target.clone();
        excluded.name = "excluded".to_owned();
        // Its columns are what was given, not what is stored.
        excluded.columns.list.iter_mut().for_each(|column| column.origin = Origin::Computed);
        write_by_position(&mut target, &columns, &given);
        write_by_position(&mut excluded, &columns, &given);
        if let Some(conflict) = insert.on_conflict_clause.as_deref() {
            if conflict.action() == OnConflictAction::OnconflictUpdate {
                self.target(name, Effect::Update);
            }
            self.on_conflict(conflict, &mut target, excluded, &scope);
        }
        self.rewrites(&mut target, Effect::Insert);
        self.returning(insert.returning_clause.as_ref(), &target, Level::default(), &scope)
    }

    /// Whether the table has a row of that key shows in how many rows are inserted.
    fn arbiter(&mut self, conflict: &OnConflictClause, inserted: &[String], insert: &InsertStmt, scope: &Scope<'_>) {
        let mut key = Lineage::CLEAR;
        let named = |name: &str| scope.level.columns.named(name).unwrap_or(Lineage::Unknown("a column is not known"));
        let elements = conflict.infer.as_deref().map(|infer| infer.index_elems.as_slice()).unwrap_or_default();
        for element in elements {
            match element.node.as_ref() {
                Some(NodeEnum::IndexElem(element)) if element.expr.is_none() => key.absorb(&named(&element.name)),
                Some(NodeEnum::IndexElem(element)) => key.absorb(&self.optional(element.expr.as_deref(), scope)),
                _ => self.give_up(NotUnderstood::Node("OnConflictClause")),
            }
        }
        if elements.is_empty() {
            // Any unique index of the table may be meant.
            inserted.iter().for_each(|name| key.absorb(&named(name)));
        }
        let is_one_guess = one_row(insert).is_some_and(|row| row.iter().all(|value| self.is_one_value(value)));
        if is_one_guess { self.out.lookups.absorb(&key) } else { self.decides(&key) }
    }

    fn on_conflict(&mut self, clause: &OnConflictClause, target: &mut Source, excluded: Source, outer: &Scope<'_>) {
        let mut level = Level::of(target.clone());
        level.sources.push(excluded);
        let scope = outer.with(level);
        if let Some(infer) = clause.infer.as_deref() {
            for element in &infer.index_elems {
                self.index_element(element, &scope);
            }
            let deciding = self.optional(infer.where_clause.as_deref(), &scope);
            self.decides(&deciding);
        }
        if clause.action() == OnConflictAction::OnconflictUpdate {
            self.effect(Effect::Update);
            self.sets_off(target, Effect::Update, Some(&clause.target_list));
            self.assignments(&clause.target_list, target, &scope);
        }
        let deciding = self.optional(clause.where_clause.as_deref(), &scope);
        self.decides(&deciding);
    }

    pub(super) fn update(&mut self, update: &UpdateStmt, outer: &Scope<'_>) -> Columns {
        let Some(name) = update.relation.as_ref() else { return self.incomplete() };
        self.row_writes += 1;
        let mut scope = outer.child();
        self.with_clause(update.with_clause.as_ref(), &mut scope);
        let mut target = self.target(name, Effect::Update);
        self.sets_off(&target, Effect::Update, Some(&update.target_list));
        let from = self.read_from(&update.from_clause, &scope);
        let mut level = Level::of(target.clone());
        level.append(from.clone());
        let inner = scope.with(level);
        self.restriction(update.where_clause.as_deref(), (&target, &from), &inner);
        self.assignments(&update.target_list, &mut target, &inner);
        self.rewrites(&mut target, Effect::Update);
        if update.returning_clause.is_some() {
            self.reads_target(name);
        }
        self.returning(update.returning_clause.as_ref(), &target, from, &scope)
    }

    pub(super) fn delete(&mut self, delete: &DeleteStmt, outer: &Scope<'_>) -> Columns {
        let Some(name) = delete.relation.as_ref() else { return self.incomplete() };
        self.row_writes += 1;
        let mut scope = outer.child();
        self.with_clause(delete.with_clause.as_ref(), &mut scope);
        let mut target = self.target(name, Effect::Delete);
        self.sets_off(&target, Effect::Delete, None);
        let using = self.read_from(&delete.using_clause, &scope);
        let mut level = Level::of(target.clone());
        level.append(using.clone());
        self.restriction(delete.where_clause.as_deref(), (&target, &using), &scope.with(level));
        self.rewrites(&mut target, Effect::Delete);
        if delete.returning_clause.is_some() {
            self.reads_target(name);
        }
        self.returning(delete.returning_clause.as_ref(), &target, using, &scope)
    }

    pub(super) fn merge(&mut self, merge: &MergeStmt, outer: &Scope<'_>) -> Columns {
        let (Some(name), Some(source)) = (merge.relation.as_ref(), merge.source_relation.as_deref()) else {
            return self.incomplete();
        };
        self.row_writes += 1;
        let mut scope = outer.child();
        self.with_clause(merge.with_clause.as_ref(), &mut scope);
        let mut target = self.target(name, Effect::Merge);
        let source = self.read_item(source, &Level::default(), &scope);
        let mut level = Level::of(target.clone());
        level.append(source.clone());
        let inner = scope.with(level);
        let deciding = self.optional(merge.join_condition.as_deref(), &inner);
        self.decides(&deciding);
        for clause in &merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(clause)) = clause.node.as_ref() else {
                self.give_up(NotUnderstood::Node("MergeStmt"));
                continue;
            };
            if matches!(clause.command_type(), CmdType::CmdUpdate | CmdType::CmdDelete) {
                self.merge_restriction(merge.join_condition.as_deref(), clause, (&target, &source));
            }
            if let Some(effect) = self.merge_action(clause, &mut target, &inner) {
                let written = self.target(name, effect);
                let assigned = (effect == Effect::Update).then_some(clause.target_list.as_slice());
                self.sets_off(&written, effect, assigned);
            }
        }
        if merge.returning_clause.is_some() {
            self.reads_target(name);
        }
        self.returning(merge.returning_clause.as_ref(), &target, source, &scope)
    }

    fn merge_action(&mut self, clause: &MergeWhenClause, target: &mut Source, scope: &Scope<'_>) -> Option<Effect> {
        let deciding = self.optional(clause.condition.as_deref(), scope);
        self.decides(&deciding);
        match clause.command_type() {
            CmdType::CmdInsert => {
                let mut given = Columns::default();
                for value in &clause.values {
                    let lineage = self.expression(value, scope);
                    self.stores(&lineage);
                    given.push("", lineage);
                }
                let columns = target_columns(&clause.target_list, target);
                self.writes_listed(target, &clause.target_list);
                write_by_position(target, &columns, &given);
                Some(Effect::Insert)
            }
            CmdType::CmdUpdate => {
                self.assignments(&clause.target_list, target, scope);
                Some(Effect::Update)
            }
            CmdType::CmdDelete => Some(Effect::Delete),
            CmdType::CmdNothing => None,
            CmdType::CmdSelect | CmdType::CmdMerge | CmdType::CmdUtility | CmdType::CmdUnknown | CmdType::Undefined => {
                self.give_up(NotUnderstood::Node("MergeWhenClause"));
                None
            }
        }
    }

    /// `SET column = value, …`.
    fn assignments(&mut self, list: &[Node], target: &mut Source, scope: &Scope<'_>) {
        for assignment in list {
            let Some(NodeEnum::ResTarget(assignment)) = assignment.node.as_ref() else {
                self.give_up(NotUnderstood::Node("ResTarget"));
                continue;
            };
            self.expressions(&subscripts(&assignment.indirection), scope);
            let value = self.optional(assignment.val.as_deref(), scope);
            // A column computed from itself stays under its own mask.
            if target.columns.named(&assignment.name).as_ref() != Some(&value) {
                self.stores(&value);
            }
            self.writes_named(target, &assignment.name);
            write(target, &assignment.name, &value);
        }
    }

    /// WHERE of an UPDATE or DELETE of this target, beside what its FROM or USING offers.
    fn restriction(&mut self, clause: Option<&Node>, (target, others): (&Source, &Level), scope: &Scope<'_>) {
        let deciding = self.optional(clause, scope);
        self.decides(&deciding);
        let rows = Rows { target, others, literals: &self.literals };
        self.out.no_where |= rows.restricted_by(clause).is_unrestricting();
    }

    /// The conditions of a MERGE that updates or deletes: those of its join and of WHEN together.
    fn merge_restriction(&mut self, join: Option<&Node>, clause: &MergeWhenClause, rows: (&Source, &Level)) {
        let rows = Rows { target: rows.0, others: rows.1, literals: &self.literals };
        let joined = match (clause.match_kind(), rows.restricted_by(join)) {
            // These are the rows for which it is not true; where it is the same for all, all of them can be.
            (MergeMatchKind::MergeWhenNotMatchedBySource, Value::Depends) => Value::Depends,
            (MergeMatchKind::MergeWhenNotMatchedBySource, _) => Value::SameForAll,
            (_, joined) => joined,
        };
        let both = joined.and(rows.restricted_by(clause.condition.as_deref()));
        self.out.no_where |= both.is_unrestricting();
    }

    /// RETURNING of an UPDATE or DELETE shows rows that were stored before.
    fn reads_target(&mut self, name: &pg_query::protobuf::RangeVar) {
        self.effect(Effect::Select);
        self.touch(name, Effects::of(&[Effect::Select]));
    }

    fn returning(
        &mut self,
        clause: Option<&ReturningClause>,
        target: &Source,
        others: Level,
        outer: &Scope<'_>,
    ) -> Columns {
        let Some(clause) = clause else { return Columns::default() };
        let mut level = Level::of(target.clone());
        level.append(others);
        let (mut old, mut new) = ("old".to_owned(), "new".to_owned());
        for option in &clause.options {
            match option.node.as_ref() {
                Some(NodeEnum::ReturningOption(option)) => match option.option() {
                    ReturningOptionKind::ReturningOptionOld => old.clone_from(&option.value),
                    ReturningOptionKind::ReturningOptionNew => new.clone_from(&option.value),
                    ReturningOptionKind::Undefined => self.give_up(NotUnderstood::Node("ReturningOption")),
                },
                _ => self.give_up(NotUnderstood::Node("ReturningOption")),
            }
        }
        for name in [old, new] {
            let mut version = target.clone();
            version.name = name;
            version.schema.clear();
            level.sources.push(version);
        }
        self.targets(&clause.exprs, &outer.with(level))
    }

    fn incomplete(&mut self) -> Columns {
        self.give_up(NotUnderstood::Node("a data-modifying statement"));
        Columns::unknown("a statement is not complete")
    }
}

/// Adds a written value to a column of the target, or to all when the column is not known.
fn write(target: &mut Source, column: &str, value: &Lineage) {
    target.whole.absorb(value);
    let mut found = false;
    for own in target.columns.list.iter_mut().filter(|own| own.name == column) {
        own.absorb(value);
        found = true;
    }
    if !found {
        target.columns.list.iter_mut().for_each(|own| own.absorb(value));
    }
    if let Some(rest) = &mut target.columns.rest {
        rest.absorb(value);
    }
}

fn write_by_position(target: &mut Source, columns: &[String], given: &Columns) {
    let count = if given.rest.is_some() { columns.len() } else { given.list.len().min(columns.len()) };
    for (position, column) in columns.iter().enumerate().take(count) {
        write(target, column, &given.at(position));
    }
}

/// The columns that an INSERT fills, in order.
fn target_columns(list: &[Node], target: &Source) -> Vec<String> {
    if list.is_empty() {
        return target.columns.list.iter().map(|column| column.name.clone()).collect();
    }
    list.iter()
        .map(|node| match node.node.as_ref() {
            Some(NodeEnum::ResTarget(column)) => column.name.clone(),
            _ => String::new(),
        })
        .collect()
}

/// The subscripts of an assignment's target; field names are none.
fn subscripts(indirection: &[Node]) -> Vec<Node> {
    indirection.iter().filter(|step| matches!(step.node, Some(NodeEnum::AIndices(_)))).cloned().collect()
}

/// The values of an INSERT of one row.
fn one_row(insert: &InsertStmt) -> Option<&[Node]> {
    let Some(NodeEnum::SelectStmt(select)) = insert.select_stmt.as_deref()?.node.as_ref() else { return None };
    match (is_plain_values(select), select.values_lists.as_slice()) {
        (true, [row]) => match row.node.as_ref() {
            Some(NodeEnum::List(list)) => Some(&list.items),
            _ => None,
        },
        _ => None,
    }
}

fn is_plain_values(select: &SelectStmt) -> bool {
    !select.values_lists.is_empty()
        && select.with_clause.is_none()
        && select.sort_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
        && select.locking_clause.is_empty()
}
