//! Expressions: every node is visited, and yields which stored values may be in its result.
//!
//! Never evaluates anything. Invariant: the match over node kinds is complete for what the raw grammar can produce inside
//! an expression; any other node is [`NotUnderstood::Node`].

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, AIndirection, CaseExpr, ColumnRef, Node, SubLink, SubLinkType, TypeName};

use super::lineage::{Columns, Found, Scope};
use super::walker::Walker;
use super::{Lineage, NotUnderstood, constant, names};

const UNRESOLVED: Lineage = Lineage::Unknown("a column does not resolve");

impl Walker<'_> {
    /// All of a list together.
    pub fn expressions(&mut self, nodes: &[Node], scope: &Scope<'_>) -> Lineage {
        let mut all = Lineage::CLEAR;
        for node in nodes {
            all.absorb(&self.expression(node, scope));
        }
        all
    }

    /// Each of a list by itself.
    pub fn each(&mut self, nodes: &[Node], scope: &Scope<'_>) -> Vec<Lineage> {
        nodes.iter().map(|node| self.expression(node, scope)).collect()
    }

    /// An expression that may be absent.
    pub fn optional(&mut self, node: Option<&Node>, scope: &Scope<'_>) -> Lineage {
        node.map_or(Lineage::CLEAR, |node| self.expression(node, scope))
    }

    /// Two optional expressions together.
    fn pair(&mut self, left: Option<&Node>, right: Option<&Node>, scope: &Scope<'_>) -> Lineage {
        let left = self.optional(left, scope);
        left.and(&self.optional(right, scope))
    }

    /// One expression.
    pub fn expression(&mut self, node: &Node, scope: &Scope<'_>) -> Lineage {
        if !self.spend() {
            return Lineage::Unknown("the statement is too complex");
        }
        let Some(kind) = node.node.as_ref() else { return Lineage::CLEAR };
        match kind {
            NodeEnum::AConst(_) | NodeEnum::ParamRef(_) => {
                self.values.literal |= constant::is_text_or_parameter(kind);
                Lineage::CLEAR
            }
            NodeEnum::SetToDefault(_)
            | NodeEnum::CurrentOfExpr(_)
            | NodeEnum::SqlvalueFunction(_)
            | NodeEnum::String(_)
            | NodeEnum::Integer(_)
            | NodeEnum::Float(_)
            | NodeEnum::Boolean(_) => Lineage::CLEAR,
            NodeEnum::ColumnRef(column) => self.column(column, scope),
            NodeEnum::AExpr(expr) => self.operation(expr, scope),
            NodeEnum::BoolExpr(expr) => {
                let each = self.each(&expr.args, scope);
                let shown = self.evaluation_shows(&expr.args, &each);
                self.decides(&shown);
                all_of(&each)
            }
            NodeEnum::NullTest(test) => self.optional(test.arg.as_deref(), scope),
            NodeEnum::BooleanTest(test) => self.optional(test.arg.as_deref(), scope),
            NodeEnum::FuncCall(call) => self.call(call, scope),
            NodeEnum::NamedArgExpr(arg) => self.optional(arg.arg.as_deref(), scope),
            NodeEnum::TypeCast(cast) => {
                self.type_modifiers(cast.type_name.as_ref(), scope);
                let value = self.optional(cast.arg.as_deref(), scope);
                let failing = self.cast_fails_for(cast, &value, scope);
                self.decides(&failing);
                self.cast(cast.type_name.as_ref(), value)
            }
            NodeEnum::CollateClause(clause) => self.optional(clause.arg.as_deref(), scope),
            NodeEnum::CaseExpr(case) => self.case(case, scope),
            NodeEnum::CoalesceExpr(expr) => {
                let each = self.each(&expr.args, scope);
                let shown = self.coalescing_shows(&expr.args, &each, scope);
                self.decides(&shown);
                all_of(&each)
            }
            NodeEnum::MinMaxExpr(expr) => self.expressions(&expr.args, scope),
            NodeEnum::AArrayExpr(array) => {
                self.values.array = true;
                self.expressions(&array.elements, scope)
            }
            NodeEnum::RowExpr(row) => self.row(&row.args, scope),
            NodeEnum::List(list) => self.expressions(&list.items, scope),
            NodeEnum::AIndirection(of) => self.indirection(of, scope),
            NodeEnum::AIndices(indices) => self.pair(indices.lidx.as_deref(), indices.uidx.as_deref(), scope),
            NodeEnum::SubLink(link) => self.sublink(link, scope),
            NodeEnum::MultiAssignRef(assign) => self.optional(assign.source.as_deref(), scope),
            NodeEnum::GroupingFunc(function) => {
                let arguments = self.expressions(&function.args, scope);
                self.decides(&arguments);
                Lineage::CLEAR
            }
            NodeEnum::GroupingSet(set) => self.expressions(&set.content, scope),
            NodeEnum::SortBy(key) => {
                let value = self.optional(key.node.as_deref(), scope);
                value.and(&self.sort_operator(key))
            }
            NodeEnum::ResTarget(target) => self.optional(target.val.as_deref(), scope),
            other => self.constructor(other, scope),
        }
    }

    fn row(&mut self, items: &[Node], scope: &Scope<'_>) -> Lineage {
        let mut all = Lineage::CLEAR;
        for item in items {
            all.absorb(&match star(item) {
                Some(column) => self.star_row(column, scope),
                None => self.expression(item, scope),
            });
        }
        all
    }

    fn case(&mut self, case: &CaseExpr, scope: &Scope<'_>) -> Lineage {
        let mut condition = self.optional(case.arg.as_deref(), scope);
        if case.arg.is_some() {
            condition = self.operator("", "=", condition);
        }
        let mut result = self.optional(case.defresult.as_deref(), scope);
        let mut quiet = case.defresult.as_deref().is_none_or(|default| self.is_quiet(default));
        for (position, when) in case.args.iter().enumerate() {
            match when.node.as_ref() {
                Some(NodeEnum::CaseWhen(when)) => {
                    condition.absorb(&self.optional(when.expr.as_deref(), scope));
                    result.absorb(&self.optional(when.result.as_deref(), scope));
                    // The first condition is evaluated in any case.
                    let later = when.expr.as_deref().filter(|_| position > 0);
                    let branches = [later, when.result.as_deref()];
                    quiet &= branches.into_iter().flatten().all(|branch| self.is_quiet(branch));
                }
                _ => self.give_up(NotUnderstood::Node("CaseExpr")),
            }
        }
        // Which branch is taken shows when a branch, or a condition further down, can fail, or takes its time.
        if !condition.is_clear() && !quiet {
            self.decides(&condition);
        }
        condition.and(&result)
    }

    /// An operator, which may fail for what it is given.
    fn operation(&mut self, expr: &AExpr, scope: &Scope<'_>) -> Lineage {
        let left = self.optional(expr.lexpr.as_deref(), scope);
        let right = self.optional(expr.rexpr.as_deref(), scope);
        let (schema, name) = names::qualified(&expr.name);
        let failing = self.operator_fails_for(expr, scope, [&left, &right]);
        self.decides(&failing);
        let mut operands = left.and(&right);
        for implied in implied_by(expr.kind()) {
            operands = self.operator("", implied, operands);
        }
        self.operator(&schema, &name, operands)
    }

    fn type_modifiers(&mut self, name: Option<&TypeName>, scope: &Scope<'_>) {
        if let Some(name) = name {
            let modifiers = name.typmods.iter().filter(|node| !matches!(node.node, Some(NodeEnum::ColumnRef(_))));
            for modifier in modifiers {
                self.expression(modifier, scope);
            }
        }
    }

    fn sublink(&mut self, link: &SubLink, scope: &Scope<'_>) -> Lineage {
        let mut test = self.optional(link.testexpr.as_deref(), scope);
        let columns = match link.subselect.as_deref() {
            Some(query) => self.query(query, scope),
            None => Columns::unknown("a subquery is missing"),
        };
        if link.testexpr.is_some() {
            let (schema, name) = names::qualified(&link.oper_name);
            // IN is = ANY.
            test = self.operator(&schema, if name.is_empty() { "=" } else { &name }, test);
        }
        let is_array = link.sub_link_type() == SubLinkType::ArraySublink;
        self.values.array |= is_array;
        self.out.collects.arrays |= is_array;
        match link.sub_link_type() {
            SubLinkType::ExistsSublink => Lineage::CLEAR,
            SubLinkType::ExprSublink
            | SubLinkType::ArraySublink
            | SubLinkType::AllSublink
            | SubLinkType::AnySublink
            | SubLinkType::RowcompareSublink
            | SubLinkType::MultiexprSublink
            | SubLinkType::CteSublink
            | SubLinkType::Undefined => test.and(&columns.union()),
        }
    }

    /// A column reference: a column, a whole row, or a function in attribute notation.
    fn column(&mut self, column: &ColumnRef, scope: &Scope<'_>) -> Lineage {
        if let Some(NodeEnum::AStar(_)) = column.fields.last().and_then(|field| field.node.as_ref()) {
            return self.star_row(column, scope);
        }
        let parts = names::texts(&column.fields);
        self.reads_reference(&parts, scope);
        match parts.as_slice() {
            [name] => match scope.column(name) {
                Found::Column(lineage) => lineage,
                Found::Row(lineage) => {
                    self.values.row = true;
                    lineage
                }
                // What is given to it is accounted for where the function is called.
                Found::Nothing if self.parameters.contains(name) => Lineage::CLEAR,
                Found::Nothing => UNRESOLVED,
            },
            [source, name] => self.qualified("", source, name, scope),
            [schema, source, name] | [_, schema, source, name] => self.qualified(schema, source, name, scope),
            _ => UNRESOLVED,
        }
    }

    fn qualified(&mut self, schema: &str, source: &str, name: &str, scope: &Scope<'_>) -> Lineage {
        let Some(source) = scope.source(schema, source) else { return UNRESOLVED };
        if let Some(lineage) = source.column(name) {
            return lineage;
        }
        let whole = source.whole.clone();
        self.attribute(name, &whole)
    }

    /// `value.name` where the value has no such column: PostgreSQL takes it for the call `name(value)`.
    fn attribute(&mut self, name: &str, value: &Lineage) -> Lineage {
        if !self.function_exists(name) {
            return value.clone().and(&UNRESOLVED);
        }
        self.invoke("", name, &[], value)
    }

    /// Field selection and subscripts on an expression.
    fn indirection(&mut self, of: &AIndirection, scope: &Scope<'_>) -> Lineage {
        let mut value = self.optional(of.arg.as_deref(), scope);
        let mut row = of.arg.as_deref().and_then(|arg| row_of(arg, scope));
        for step in &of.indirection {
            match step.node.as_ref() {
                Some(NodeEnum::String(field)) => {
                    let known = row.take().and_then(|columns| columns.named(&field.sval));
                    value = match known {
                        Some(lineage) => lineage,
                        None if self.function_exists(&field.sval) => {
                            let called = self.invoke("", &field.sval, &[], &value);
                            value.and(&called)
                        }
                        None => value,
                    };
                }
                Some(NodeEnum::AStar(_)) => {}
                Some(NodeEnum::AIndices(_)) => {
                    row = None;
                    value.absorb(&self.expression(step, scope));
                }
                _ => self.give_up(NotUnderstood::Node("A_Indirection")),
            }
        }
        value
    }

    /// `source.*` as a value: the whole row.
    fn star_row(&mut self, column: &ColumnRef, scope: &Scope<'_>) -> Lineage {
        self.values.row = true;
        let whole = match names::texts(&column.fields).as_slice() {
            [source] => scope.source("", source).map(|source| source.whole.clone()),
            [schema, source] | [_, schema, source] => scope.source(schema, source).map(|source| source.whole.clone()),
            _ => None,
        };
        whole.unwrap_or_default().and(&self.star(column, scope).union())
    }

    /// The columns that `*` or `source.*` stands for.
    pub fn star(&mut self, column: &ColumnRef, scope: &Scope<'_>) -> Columns {
        let parts = names::texts(&column.fields);
        self.reads_star(&parts, scope);
        if !self.spend() {
            return Columns::opaque(UNRESOLVED);
        }
        let source = match parts.as_slice() {
            [] => return scope.level.columns.clone(),
            [source] => scope.source("", source),
            [schema, source] | [_, schema, source] => scope.source(schema, source),
            _ => None,
        };
        source.map_or_else(|| Columns::opaque(UNRESOLVED), |source| source.columns.clone())
    }
}

/// The operators that a form of expression uses without their being written.
fn implied_by(kind: AExprKind) -> &'static [&'static str] {
    match kind {
        AExprKind::AexprBetween | AExprKind::AexprBetweenSym => &[">=", "<="],
        AExprKind::AexprNotBetween | AExprKind::AexprNotBetweenSym => &["<", ">"],
        _ => &[],
    }
}

/// All of them together.
pub fn all_of(each: &[Lineage]) -> Lineage {
    let mut all = Lineage::CLEAR;
    each.iter().for_each(|lineage| all.absorb(lineage));
    all
}

/// The reference when the node is `*` or `source.*`.
pub fn star(node: &Node) -> Option<&ColumnRef> {
    match node.node.as_ref() {
        Some(NodeEnum::ColumnRef(column)) => match column.fields.last().and_then(|field| field.node.as_ref()) {
            Some(NodeEnum::AStar(_)) => Some(column),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the expression is a whole row.
pub fn is_row(node: &Node, scope: &Scope<'_>) -> bool {
    let Some(NodeEnum::ColumnRef(column)) = node.node.as_ref() else { return false };
    let is_name = |name: &str| matches!(scope.column(name), Found::Row(_));
    star(node).is_some() || matches!(names::texts(&column.fields).as_slice(), [name] if is_name(name))
}

/// The columns of a whole-row reference such as `(c)` or `(c.*)`.
pub fn row_of(node: &Node, scope: &Scope<'_>) -> Option<Columns> {
    let Some(NodeEnum::ColumnRef(column)) = node.node.as_ref() else { return None };
    let parts = names::texts(&column.fields);
    let [name] = parts.as_slice() else { return None };
    if star(node).is_none() && !matches!(scope.column(name), Found::Row(_)) {
        return None;
    }
    scope.source("", name).filter(|source| source.columns.rest.is_none()).map(|source| source.columns.clone())
}
