//! Whether a WHERE clause, or the conditions of a MERGE, restrict the rows of the target at all.
//!
//! Never proves that a condition is selective. Invariant: a condition that no column of the target takes part in does not
//! restrict, unless it is plainly false.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, AExpr, AExprKind, BoolExpr, BoolExprType, ColumnRef, Node};

use super::constant::{Keyword, Literals, keyword};
use super::lineage::{Level, Source};
use super::names;

/// What a condition can be about: the rows of a target, beside those of other relations.
pub struct Rows<'a> {
    pub target: &'a Source,
    /// What else FROM, USING or the source of a MERGE offers.
    pub others: &'a Level,
    pub literals: &'a Literals,
}

/// What a condition is for the rows of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// True for every row.
    Always,
    /// False or NULL for every row.
    Never,
    /// Not known, but no column takes part.
    SameForAll,
    /// Depends on the row.
    Depends,
}

impl Value {
    /// Whether it is true for every row, or the same for every row.
    pub fn is_unrestricting(self) -> bool {
        match self {
            Self::Always | Self::SameForAll => true,
            Self::Never | Self::Depends => false,
        }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Depends, _) | (_, Self::Depends) => Self::Depends,
            (Self::SameForAll, _) | (_, Self::SameForAll) => Self::SameForAll,
            (Self::Always, Self::Always) => Self::Always,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::SameForAll => Self::SameForAll,
            Self::Depends => Self::Depends,
        }
    }
}

impl Rows<'_> {
    /// What the condition is for them; none at all is always true.
    pub fn restricted_by(&self, condition: Option<&Node>) -> Value {
        condition.map_or(Value::Always, |condition| self.value(condition))
    }

    fn value(&self, node: &Node) -> Value {
        match node.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => truth(constant, self.literals),
            Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().map_or(Value::SameForAll, |arg| self.value(arg)),
            Some(NodeEnum::BoolExpr(expr)) => self.boolean(expr),
            Some(NodeEnum::AExpr(expr)) => self.comparison(expr),
            Some(NodeEnum::CurrentOfExpr(_)) => Value::Depends,
            _ if self.mentions_row(node) => Value::Depends,
            _ => Value::SameForAll,
        }
    }

    fn boolean(&self, expr: &BoolExpr) -> Value {
        let mut parts = expr.args.iter().map(|part| self.value(part));
        match expr.boolop() {
            BoolExprType::NotExpr => parts.next().map_or(Value::SameForAll, Value::not),
            BoolExprType::AndExpr => parts.fold(Value::Always, Value::and),
            BoolExprType::OrExpr | BoolExprType::Undefined => parts.fold(Value::Never, |any, part| match (any, part) {
                (Value::Always, _) | (_, Value::Always) => Value::Always,
                (Value::SameForAll, _) | (_, Value::SameForAll) => Value::SameForAll,
                (Value::Depends, _) | (_, Value::Depends) => Value::Depends,
                (Value::Never, Value::Never) => Value::Never,
            }),
        }
    }

    fn comparison(&self, expr: &AExpr) -> Value {
        let sides = (expr.lexpr.as_deref(), expr.rexpr.as_deref());
        let mentions = |side: Option<&Node>| side.is_some_and(|side| self.mentions_row(side));
        let (Some(left), Some(right)) = sides else {
            return if mentions(sides.0) || mentions(sides.1) { Value::Depends } else { Value::SameForAll };
        };
        let operator = expr.name.last().and_then(names::text).unwrap_or_default();
        let equal = || are_same(left, right, self.literals);
        match expr.kind() {
            AExprKind::AexprOp if matches!(operator, "=" | "<=" | ">=") && equal() => Value::Always,
            AExprKind::AexprNotDistinct if equal() => Value::Always,
            AExprKind::AexprLike | AExprKind::AexprIlike
                if operator.starts_with('~') && matches_anything(right, self.literals) =>
            {
                Value::Always
            }
            _ if self.mentions_row(left) || self.mentions_row(right) => Value::Depends,
            AExprKind::AexprOp => constants(left, operator, right, self.literals),
            _ => Value::SameForAll,
        }
    }

    /// Whether a column of the target takes part anywhere in it. Everything that is not plainly free of them counts as one.
    fn mentions_row(&self, node: &Node) -> bool {
        let any = |nodes: &[Node]| nodes.iter().any(|node| self.mentions_row(node));
        let one = |node: Option<&Node>| node.is_some_and(|node| self.mentions_row(node));
        match node.node.as_ref() {
            None
            | Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_) | NodeEnum::String(_)) => {
                false
            }
            Some(NodeEnum::ColumnRef(column)) => self.is_of_target(column),
            Some(NodeEnum::TypeCast(cast)) => one(cast.arg.as_deref()),
            Some(NodeEnum::CollateClause(clause)) => one(clause.arg.as_deref()),
            Some(NodeEnum::FuncCall(call)) => any(&call.args),
            Some(NodeEnum::NamedArgExpr(argument)) => one(argument.arg.as_deref()),
            Some(NodeEnum::AExpr(expr)) => one(expr.lexpr.as_deref()) || one(expr.rexpr.as_deref()),
            Some(NodeEnum::BoolExpr(expr)) => any(&expr.args),
            Some(NodeEnum::NullTest(test)) => one(test.arg.as_deref()),
            Some(NodeEnum::BooleanTest(test)) => one(test.arg.as_deref()),
            Some(NodeEnum::CoalesceExpr(expr)) => any(&expr.args),
            Some(NodeEnum::MinMaxExpr(expr)) => any(&expr.args),
            Some(NodeEnum::AArrayExpr(array)) => any(&array.elements),
            Some(NodeEnum::RowExpr(row)) => any(&row.args),
            Some(NodeEnum::List(list)) => any(&list.items),
            Some(NodeEnum::CaseExpr(case)) => {
                one(case.arg.as_deref()) || one(case.defresult.as_deref()) || any(&case.args)
            }
            Some(NodeEnum::CaseWhen(when)) => one(when.expr.as_deref()) || one(when.result.as_deref()),
            Some(NodeEnum::SubLink(link)) => {
                one(link.testexpr.as_deref()) || self.query_mentions_row(link.subselect.as_deref())
            }
            Some(_) => true,
        }
    }

    /// A subquery that reads relations may refer to the row; one without FROM is walked.
    fn query_mentions_row(&self, query: Option<&Node>) -> bool {
        match query.and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) if select.from_clause.is_empty() && select.larg.is_none() => {
                let mut targets = select.target_list.iter().filter_map(|node| match node.node.as_ref() {
                    Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
                    _ => None,
                });
                targets.any(|target| self.mentions_row(target))
                    || select.where_clause.as_deref().is_some_and(|clause| self.mentions_row(clause))
                    || select.values_lists.iter().any(|values| self.mentions_row(values))
            }
            _ => true,
        }
    }

    /// Whether it may be a column of the target, or its whole row: it is, unless it plainly belongs to something else.
    fn is_of_target(&self, column: &ColumnRef) -> bool {
        let parts = names::texts(&column.fields);
        let is_other = |name: &str| self.others.sources.iter().any(|source| source.name == name);
        match parts.as_slice() {
            [name] => {
                let is_of_others = self.others.columns.named(name).is_some() || is_other(name);
                self.target.columns.named(name).is_some() || self.target.name == *name || !is_of_others
            }
            [source, _] => self.target.name == *source || !is_other(source),
            _ => true,
        }
    }
}

fn truth(constant: &AConst, literals: &Literals) -> Value {
    match keyword(constant) {
        Keyword::Null | Keyword::False => Value::Never,
        Keyword::None if literals.text(constant).is_some_and(is_false) => Value::Never,
        Keyword::None | Keyword::True => Value::Always,
    }
}

fn is_false(text: &str) -> bool {
    ["f", "false", "n", "no", "off", "0"].iter().any(|word| text.trim().eq_ignore_ascii_case(word))
}

/// A comparison of two integer constants.
fn constants(left: &Node, operator: &str, right: &Node, literals: &Literals) -> Value {
    let Some((left, right)) = literals.integers(left, right) else { return Value::SameForAll };
    let holds = match operator {
        "=" => left == right,
        "<>" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        _ => return Value::SameForAll,
    };
    if holds { Value::Always } else { Value::Never }
}

fn are_same(left: &Node, right: &Node, literals: &Literals) -> bool {
    match (left.node.as_ref(), right.node.as_ref()) {
        (Some(NodeEnum::ColumnRef(left)), Some(NodeEnum::ColumnRef(right))) => left.fields == right.fields,
        (Some(NodeEnum::ParamRef(left)), Some(NodeEnum::ParamRef(right))) => left.number == right.number,
        (Some(NodeEnum::AConst(left)), Some(NodeEnum::AConst(right))) => literals.are_same(left, right),
        _ => false,
    }
}

fn matches_anything(pattern: &Node, literals: &Literals) -> bool {
    let Some(NodeEnum::AConst(constant)) = pattern.node.as_ref() else { return false };
    literals.text(constant).is_some_and(|text| !text.is_empty() && text.chars().all(|letter| letter == '%'))
}
