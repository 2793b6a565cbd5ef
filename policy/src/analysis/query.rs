//! SELECT, VALUES, WITH and set operations.
//!
//! Never says what a row count reveals. Invariant: every clause is walked; WHERE, GROUP BY, HAVING, ORDER BY and join
//! conditions decide which rows come back, and do not flow into columns.

use pg_query::NodeEnum;
use pg_query::protobuf::{CommonTableExpr, Node, ResTarget, SelectStmt, SetOperation, SortBy, WithClause};

use super::constant::Literals;
use super::expression::{row_of, star};
use super::lineage::{Column, Columns, Found, Scope};
use super::lookup::is_stored;
use super::walker::Walker;
use super::{Form, Lineage, NotUnderstood, names};
use crate::effect::{Effect, Effects};

/// Rounds after which the columns of a recursive query are given up on.
const ROUNDS_MAX: usize = 12;
/// Most columns that a target list can have in PostgreSQL.
const COLUMNS_MAX: usize = 1_664;

impl Walker<'_> {
    /// A query or data-modifying statement that yields columns.
    pub fn query(&mut self, node: &Node, scope: &Scope<'_>) -> Columns {
        if !self.spend() {
            return Columns::unknown("the statement is too complex");
        }
        match node.node.as_ref() {
            Some(NodeEnum::SelectStmt(select)) => self.select(select, scope),
            Some(NodeEnum::InsertStmt(insert)) => self.insert(insert, scope),
            Some(NodeEnum::UpdateStmt(update)) => self.update(update, scope),
            Some(NodeEnum::DeleteStmt(delete)) => self.delete(delete, scope),
            Some(NodeEnum::MergeStmt(merge)) => self.merge(merge, scope),
            _ => {
                self.give_up(NotUnderstood::Node("a query node"));
                Columns::unknown("a query is not understood")
            }
        }
    }

    /// A SELECT, VALUES or TABLE with all its clauses.
    pub fn select(&mut self, select: &SelectStmt, outer: &Scope<'_>) -> Columns {
        if !self.spend() {
            return Columns::unknown("the statement is too complex");
        }
        self.effect(Effect::Select);
        let outermost = std::mem::take(&mut self.outermost);
        let mut scope = outer.child();
        self.with_clause(select.with_clause.as_ref(), &mut scope);
        let columns = match select.op() {
            SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
                self.set_operation(select, &scope)
            }
            SetOperation::SetopNone | SetOperation::Undefined if !select.values_lists.is_empty() => {
                self.values(&select.values_lists, &scope)
            }
            SetOperation::SetopNone | SetOperation::Undefined => return self.plain(select, outermost, &scope),
        };
        self.tail(select, &columns, &scope);
        columns
    }

    fn plain(&mut self, select: &SelectStmt, outermost: bool, outer: &Scope<'_>) -> Columns {
        let level = self.read_from(&select.from_clause, outer);
        let mut scope = outer.with(level);
        self.where_clause(select.where_clause.as_deref(), outermost, &scope);
        scope.level.setting = self.one_setting(select.where_clause.as_deref(), &scope.level);
        let columns = self.targets(&select.target_list, &scope);
        for keys in [&select.group_clause, &select.distinct_clause] {
            let deciding = self.keys(keys, &columns, &scope);
            self.decides(&deciding);
        }
        let having = self.optional(select.having_clause.as_deref(), &scope);
        self.decides(&having);
        for window in &select.window_clause {
            match window.node.as_ref() {
                Some(NodeEnum::WindowDef(window)) => self.window(window, &scope),
                _ => self.give_up(NotUnderstood::Node("WindowDef")),
            }
        }
        self.tail(select, &columns, &scope);
        columns
    }

    /// ORDER BY, LIMIT, FOR UPDATE and INTO, which every form of query can have.
    fn tail(&mut self, select: &SelectStmt, columns: &Columns, scope: &Scope<'_>) {
        let order = self.keys(&select.sort_clause, columns, scope);
        self.decides(&order);
        let limit = self.optional(select.limit_count.as_deref(), scope);
        let offset = self.optional(select.limit_offset.as_deref(), scope);
        self.decides(&limit.and(&offset));
        if !select.locking_clause.is_empty() {
            self.effect(Effect::Lock);
            let locked: Vec<_> = scope.level.sources.iter().filter_map(|source| source.relation).collect();
            let catalog = self.catalog();
            for relation in locked.into_iter().filter_map(|oid| catalog.relation(oid)) {
                self.touch_resolved(relation, Effects::of(&[Effect::Lock]));
            }
        }
        if let Some(name) = select.into_clause.as_deref().and_then(|into| into.rel.as_ref()) {
            self.create_relation(name);
            self.stores(&columns.union());
        }
    }

    fn set_operation(&mut self, select: &SelectStmt, scope: &Scope<'_>) -> Columns {
        let (Some(left), Some(right)) = (select.larg.as_deref(), select.rarg.as_deref()) else {
            self.give_up(NotUnderstood::Node("SelectStmt"));
            return Columns::unknown("a set operation is not complete");
        };
        let mut columns = self.select(left, scope);
        let arm = self.select(right, scope);
        if !select.all {
            self.decides(&columns.union().and(&arm.union()));
        }
        columns.merge_arm(&arm);
        columns
    }

    /// The rows of a VALUES list, merged by position.
    pub fn values(&mut self, rows: &[Node], scope: &Scope<'_>) -> Columns {
        let mut columns: Option<Columns> = None;
        for row in rows {
            let Some(NodeEnum::List(row)) = row.node.as_ref() else {
                self.give_up(NotUnderstood::Node("SelectStmt"));
                continue;
            };
            let mut arm = Columns::default();
            for item in &row.items {
                let given = self.expanded(item, scope);
                let given = given.unwrap_or_else(|| {
                    let mut one = Columns::default();
                    one.push("", self.expression(item, scope));
                    one
                });
                arm.absorb_rest(given.rest.as_ref());
                for column in given.list {
                    arm.push(format!("column{}", arm.list.len() + 1), column.lineage);
                }
            }
            match &mut columns {
                Some(columns) => columns.merge_arm(&arm),
                None => columns = Some(arm),
            }
        }
        columns.unwrap_or_default()
    }

    /// A target list or RETURNING list.
    pub fn targets(&mut self, targets: &[Node], scope: &Scope<'_>) -> Columns {
        let mut columns = Columns::default();
        for target in targets {
            match target.node.as_ref() {
                Some(NodeEnum::ResTarget(target)) => self.target_column(target, scope, &mut columns),
                _ => self.give_up(NotUnderstood::Node("ResTarget")),
            }
            if columns.list.len() > COLUMNS_MAX {
                self.give_up(NotUnderstood::Guard("there are more columns than PostgreSQL allows"));
                return Columns::unknown("there are too many columns");
            }
        }
        columns
    }

    fn target_column(&mut self, target: &ResTarget, scope: &Scope<'_>, columns: &mut Columns) {
        let Some(value) = target.val.as_deref() else { return };
        match self.expanded(value, scope) {
            Some(expanded) => columns.append(&expanded),
            None => {
                let name = if target.name.is_empty() { names::of_column(value) } else { target.name.clone() };
                let lineage = self.expression(value, scope);
                let stored = is_stored(value, scope);
                columns.list.push(Column { stored, form: form_of(value, scope), ..Column::computed(name, lineage) });
            }
        }
    }

    /// The columns that `*`, `source.*` or `(row).*` stands for in a list; `None` of anything else.
    fn expanded(&mut self, value: &Node, scope: &Scope<'_>) -> Option<Columns> {
        if let Some(reference) = star(value) {
            return Some(self.star(reference, scope));
        }
        let Some(NodeEnum::AIndirection(of)) = value.node.as_ref() else { return None };
        let last = of.indirection.last().and_then(|step| step.node.as_ref());
        let row = of.arg.as_deref().filter(|_| matches!(last, Some(NodeEnum::AStar(_))))?;
        let lineage = self.expression(value, scope);
        Some(row_of(row, scope).unwrap_or_else(|| Columns::opaque(lineage)))
    }

    /// Keys of GROUP BY, DISTINCT ON and ORDER BY, which may be result columns by position or name.
    fn keys(&mut self, keys: &[Node], columns: &Columns, scope: &Scope<'_>) -> Lineage {
        let mut all = Lineage::CLEAR;
        for key in keys {
            let expression = match key.node.as_ref() {
                Some(NodeEnum::SortBy(sort)) => {
                    all.absorb(&self.sort_operator(sort));
                    sort.node.as_deref()
                }
                Some(_) => Some(key),
                None => None,
            };
            let Some(expression) = expression else {
                // A plain DISTINCT compares all columns.
                all.absorb(&columns.union());
                continue;
            };
            let named = output_key(expression, columns, &self.literals);
            // Names can mean a result column or an input column; both count.
            match (named, expression.node.as_ref()) {
                (Some(lineage), Some(NodeEnum::ColumnRef(_))) => {
                    all.absorb(&lineage);
                    if let Some(NodeEnum::ColumnRef(column)) = expression.node.as_ref()
                        && let [name] = names::texts(&column.fields).as_slice()
                        && let Found::Column(lineage) = scope.column(name)
                    {
                        self.reads_name(name, scope);
                        all.absorb(&lineage);
                    }
                }
                (Some(lineage), _) => all.absorb(&lineage),
                (None, _) => all.absorb(&self.expression(expression, scope)),
            }
        }
        all
    }

    /// ORDER BY … USING calls an operator.
    pub fn sort_operator(&mut self, sort: &SortBy) -> Lineage {
        if sort.use_op.is_empty() {
            return Lineage::CLEAR;
        }
        let (schema, name) = names::qualified(&sort.use_op);
        self.operator(&schema, &name, Lineage::CLEAR)
    }

    /// Keys of an aggregate's or window's ORDER BY, which are plain expressions.
    pub fn sort_keys(&mut self, keys: &[Node], scope: &Scope<'_>) -> Lineage {
        self.expressions(keys, scope)
    }

    /// Adds the queries of a WITH clause to the scope.
    pub fn with_clause(&mut self, with: Option<&WithClause>, scope: &mut Scope<'_>) {
        let Some(with) = with else { return };
        let list: Vec<&CommonTableExpr> = with
            .ctes
            .iter()
            .filter_map(|node| match node.node.as_ref() {
                Some(NodeEnum::CommonTableExpr(query)) => Some(&**query),
                _ => None,
            })
            .collect();
        if list.len() != with.ctes.len() {
            self.give_up(NotUnderstood::Node("CommonTableExpr"));
        }
        if with.recursive {
            // A query may refer to a later one; what comes from there is not followed.
            for query in &list {
                scope.queries.push((query.ctename.clone(), Columns::unknown("a WITH query refers to a later one")));
            }
        }
        for query in list {
            let columns = if with.recursive { self.recursive(query, scope) } else { self.common(query, scope) };
            scope.queries.push((query.ctename.clone(), columns));
        }
    }

    fn common(&mut self, query: &CommonTableExpr, scope: &Scope<'_>) -> Columns {
        let mut columns = match query.ctequery.as_deref() {
            Some(node) => self.query(node, scope),
            None => Columns::unknown("a WITH query is missing"),
        };
        columns.rename(&names::texts(&query.aliascolnames));
        let all = columns.union();
        if let Some(search) = &query.search_clause {
            columns.push(&search.search_seq_column, all.clone());
        }
        if let Some(cycle) = &query.cycle_clause {
            self.optional(cycle.cycle_mark_value.as_deref(), scope);
            self.optional(cycle.cycle_mark_default.as_deref(), scope);
            columns.push(&cycle.cycle_mark_column, all.clone());
            columns.push(&cycle.cycle_path_column, all);
        }
        columns
    }

    /// A query of WITH RECURSIVE: walked until its columns are what it was given for itself.
    fn recursive(&mut self, query: &CommonTableExpr, outer: &Scope<'_>) -> Columns {
        let Some(mut known) = self.first_arm(query, outer) else { return self.common(query, outer) };
        for _ in 0..ROUNDS_MAX {
            let mut scope = outer.child();
            scope.queries.push((query.ctename.clone(), known.clone()));
            let next = self.common(query, &scope);
            if next == known {
                return known;
            }
            known = next;
        }
        Columns::unknown("a recursive query does not settle")
    }

    /// The columns of the non-recursive arm, which name those of the whole; `None` when there are no arms.
    fn first_arm(&mut self, query: &CommonTableExpr, outer: &Scope<'_>) -> Option<Columns> {
        let Some(NodeEnum::SelectStmt(select)) = query.ctequery.as_deref().and_then(|node| node.node.as_ref()) else {
            return None;
        };
        let left = select.larg.as_deref()?;
        let mut scope = outer.child();
        self.with_clause(select.with_clause.as_ref(), &mut scope);
        let mut columns = self.select(left, &scope);
        columns.rename(&names::texts(&query.aliascolnames));
        Some(columns)
    }
}

/// What an expression is exactly, where it is not computed.
fn form_of(value: &Node, scope: &Scope<'_>) -> Option<Form> {
    match value.node.as_ref()? {
        NodeEnum::ColumnRef(column) if star(value).is_none() => scope.form(&names::texts(&column.fields)),
        _ => None,
    }
}

/// The result column that a sort or group key means by position or name.
fn output_key(key: &Node, columns: &Columns, literals: &Literals) -> Option<Lineage> {
    match key.node.as_ref()? {
        NodeEnum::AConst(_) => {
            usize::try_from(literals.integer(key)?).ok()?.checked_sub(1).map(|position| columns.at(position))
        }
        NodeEnum::ColumnRef(column) => match names::texts(&column.fields).as_slice() {
            [name] => columns.named(name),
            _ => None,
        },
        _ => None,
    }
}
