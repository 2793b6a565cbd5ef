//! Whether a WHERE clause restricts the rows at all.
//!
//! Never proves that a condition is selective. Invariant: a condition that no column of any row takes part in does not
//! restrict, unless it is plainly false.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, AExpr, AExprKind, BoolExpr, BoolExprType, Node};

use super::constant::{Keyword, Literals, keyword};
use super::names;

/// Whether the condition is true for every row, or the same for every row.
pub fn is_unrestricting(condition: &Node, literals: &Literals) -> bool {
    match value(condition, literals) {
        Value::Always | Value::SameForAll => true,
        Value::Never | Value::Depends => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
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
    fn not(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::SameForAll => Self::SameForAll,
            Self::Depends => Self::Depends,
        }
    }
}

fn value(node: &Node, literals: &Literals) -> Value {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(constant)) => truth(constant, literals),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().map_or(Value::SameForAll, |arg| value(arg, literals)),
        Some(NodeEnum::BoolExpr(expr)) => boolean(expr, literals),
        Some(NodeEnum::AExpr(expr)) => comparison(expr, literals),
        Some(NodeEnum::CurrentOfExpr(_)) => Value::Depends,
        _ if mentions_row(node) => Value::Depends,
        _ => Value::SameForAll,
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

fn boolean(expr: &BoolExpr, literals: &Literals) -> Value {
    let mut parts = expr.args.iter().map(|part| value(part, literals));
    match expr.boolop() {
        BoolExprType::NotExpr => parts.next().map_or(Value::SameForAll, Value::not),
        BoolExprType::AndExpr => parts.fold(Value::Always, |all, part| match (all, part) {
            (Value::Never, _) | (_, Value::Never) => Value::Never,
            (Value::Depends, _) | (_, Value::Depends) => Value::Depends,
            (Value::SameForAll, _) | (_, Value::SameForAll) => Value::SameForAll,
            (Value::Always, Value::Always) => Value::Always,
        }),
        BoolExprType::OrExpr | BoolExprType::Undefined => parts.fold(Value::Never, |any, part| match (any, part) {
            (Value::Always, _) | (_, Value::Always) => Value::Always,
            (Value::SameForAll, _) | (_, Value::SameForAll) => Value::SameForAll,
            (Value::Depends, _) | (_, Value::Depends) => Value::Depends,
            (Value::Never, Value::Never) => Value::Never,
        }),
    }
}

fn comparison(expr: &AExpr, literals: &Literals) -> Value {
    let sides = (expr.lexpr.as_deref(), expr.rexpr.as_deref());
    let (Some(left), Some(right)) = sides else {
        return if sides.0.is_some_and(mentions_row) || sides.1.is_some_and(mentions_row) {
            Value::Depends
        } else {
            Value::SameForAll
        };
    };
    let operator = expr.name.last().and_then(names::text).unwrap_or_default();
    let equal = || are_same(left, right, literals);
    match expr.kind() {
        AExprKind::AexprOp if matches!(operator, "=" | "<=" | ">=") && equal() => Value::Always,
        AExprKind::AexprNotDistinct if equal() => Value::Always,
        AExprKind::AexprLike | AExprKind::AexprIlike
            if operator.starts_with('~') && matches_anything(right, literals) =>
        {
            Value::Always
        }
        _ if mentions_row(left) || mentions_row(right) => Value::Depends,
        AExprKind::AexprOp => constants(left, operator, right, literals),
        _ => Value::SameForAll,
    }
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

/// Whether a column takes part anywhere in it. Everything that is not plainly free of columns counts as a column.
fn mentions_row(node: &Node) -> bool {
    let any = |nodes: &[Node]| nodes.iter().any(mentions_row);
    let one = |node: Option<&Node>| node.is_some_and(mentions_row);
    match node.node.as_ref() {
        None
        | Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_) | NodeEnum::String(_)) => {
            false
        }
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
        Some(NodeEnum::CaseExpr(case)) => one(case.arg.as_deref()) || one(case.defresult.as_deref()) || any(&case.args),
        Some(NodeEnum::CaseWhen(when)) => one(when.expr.as_deref()) || one(when.result.as_deref()),
        Some(NodeEnum::SubLink(link)) => one(link.testexpr.as_deref()) || query_mentions_row(link.subselect.as_deref()),
        Some(_) => true,
    }
}

/// A subquery that reads relations may refer to the row; one without FROM is walked.
fn query_mentions_row(query: Option<&Node>) -> bool {
    match query.and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::SelectStmt(select)) if select.from_clause.is_empty() && select.larg.is_none() => {
            let targets = select.target_list.iter().filter_map(|node| match node.node.as_ref() {
                Some(NodeEnum::ResTarget(target)) => target.val.as_deref(),
                _ => None,
            });
            targets.into_iter().any(mentions_row)
                || select.where_clause.as_deref().is_some_and(mentions_row)
                || select.values_lists.iter().any(mentions_row)
        }
        _ => true,
    }
}
