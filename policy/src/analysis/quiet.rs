//! What cannot be told from whether a statement fails: operations that fail for no value, whatever is combined with it.
//!
//! Never speaks of what an operation returns. Invariant: an operation that is on no list here may fail for some value, so
//! that a value it is given counts as one that decides. Exempt is a single stored column with nothing else, because the
//! statement cannot ask anything of its value then.

mod functions;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, Node, TypeCast};

use self::functions::FUNCTIONS;
use super::lineage::Scope;
use super::lookup::is_stored;
use super::walker::Walker;
use super::{Lineage, constant, names};

/// Which arguments of a function make it fail for no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quiet {
    All,
    First,
    Second,
    /// Those that stand behind a key: the second, the fourth, …
    Values,
    /// All but the first.
    Rest,
}

/// Operators that fail for no operand.
const OPERATORS: &[&str] = &[
    "=", "<>", "!=", "<", "<=", ">", ">=", "||", "->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&", "&&", "@@",
    "^@", "~=", "<<=", ">>=", "-|-",
];

/// Operators whose right operand is a pattern, which may be a wrong one.
const PATTERNS: &[&str] = &["~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*"];

/// Types that every value can be cast to.
const TYPES: &[&str] = &["text", "varchar", "bpchar", "name"];

/// A function of the server that is known to fail for no value of some argument.
#[derive(Clone, Copy, Debug)]
pub struct QuietFunction {
    /// Its name in `pg_catalog`.
    pub name: &'static str,
    /// How many arguments it takes at least.
    pub arguments: usize,
    /// Why.
    pub why: &'static str,
}

/// Every such function; reviewed by people, and looked up in a PostgreSQL by a test.
pub fn quiet_functions() -> impl Iterator<Item = QuietFunction> {
    FUNCTIONS.iter().map(|(name, quiet, why)| {
        let arguments = match quiet {
            Quiet::All => 0,
            Quiet::First => 1,
            Quiet::Second | Quiet::Values | Quiet::Rest => 2,
        };
        QuietFunction { name, arguments, why }
    })
}

impl Quiet {
    fn of(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, _, _)| *known == name).map(|(_, quiet, _)| *quiet)
    }

    fn covers(self, position: usize) -> bool {
        match self {
            Self::All => true,
            Self::First => position == 0,
            Self::Second => position == 1,
            Self::Values => position % 2 == 1,
            Self::Rest => position > 0,
        }
    }
}

impl Walker<'_> {
    /// What a call with these arguments may fail for, each with its lineage.
    pub(super) fn call_fails_for(&mut self, call: &FuncCall, given: &[Lineage], scope: &Scope<'_>) -> Lineage {
        let is_one_column = || matches!(call.args.as_slice(), [only] if is_stored(only, scope));
        if given.iter().all(Lineage::is_clear) || is_one_column() {
            return Lineage::CLEAR;
        }
        let (schema, name) = names::qualified(&call.funcname);
        let is_named = |node: &Node| matches!(node.node, Some(NodeEnum::NamedArgExpr(_)));
        let out_of_order = call.func_variadic || call.args.iter().any(is_named);
        let quiet = Quiet::of(&name)
            .filter(|quiet| *quiet == Quiet::All || !out_of_order)
            .filter(|_| schema == "pg_catalog" || self.is_servers_function(&schema, &name));
        let mut failing = Lineage::CLEAR;
        for (position, lineage) in given.iter().enumerate() {
            if !quiet.is_some_and(|quiet| quiet.covers(position)) {
                failing.absorb(lineage);
            }
        }
        failing
    }

    /// What an operator with these operands may fail for.
    pub(super) fn operator_fails_for(&self, expr: &AExpr, scope: &Scope<'_>, sides: [&Lineage; 2]) -> Lineage {
        let [left, right] = sides;
        let both = left.clone().and(right);
        let (schema, name) = names::qualified(&expr.name);
        let name = if schema.is_empty() || schema == "pg_catalog" { name.as_str() } else { "" };
        match expr.kind() {
            AExprKind::AexprLike | AExprKind::AexprIlike | AExprKind::AexprSimilar => right.clone(),
            AExprKind::AexprOp if expr.lexpr.is_none() => match expr.rexpr.as_deref() {
                Some(operand) if name == "-" || is_stored(operand, scope) => Lineage::CLEAR,
                _ => both,
            },
            AExprKind::AexprOp | AExprKind::AexprOpAny | AExprKind::AexprOpAll => match name {
                name if OPERATORS.contains(&name) => Lineage::CLEAR,
                name if PATTERNS.contains(&name) => right.clone(),
                // A whole number makes nothing too large.
                "/" | "%" if expr.rexpr.as_deref().is_some_and(constant::is_integer) => Lineage::CLEAR,
                // Adding little to what is stored makes it too large only where that is as large as its type can be.
                "+" | "-" if adds_little(expr, scope) => Lineage::CLEAR,
                _ => both,
            },
            AExprKind::AexprDistinct
            | AExprKind::AexprNotDistinct
            | AExprKind::AexprNullif
            | AExprKind::AexprIn
            | AExprKind::AexprBetween
            | AExprKind::AexprNotBetween
            | AExprKind::AexprBetweenSym
            | AExprKind::AexprNotBetweenSym => Lineage::CLEAR,
            AExprKind::Undefined => both,
        }
    }

    /// What a cast of that value may fail for.
    pub(super) fn cast_fails_for(&self, cast: &TypeCast, value: &Lineage, scope: &Scope<'_>) -> Lineage {
        let to = cast.type_name.as_ref().map(|name| names::qualified(&name.names));
        let fits_all = to.is_some_and(|(schema, name)| {
            matches!(schema.as_str(), "" | "pg_catalog") && TYPES.contains(&name.as_str())
        });
        let is_array = cast.type_name.as_ref().is_some_and(|name| !name.array_bounds.is_empty());
        // Each item of a row or array is cast by itself.
        let one_by_one = |items: &[Node]| items.iter().all(|item| is_stored(item, scope) || self.is_one_value(item));
        let is_one_column = match cast.arg.as_deref().and_then(|arg| arg.node.as_ref()) {
            Some(NodeEnum::RowExpr(row)) => one_by_one(&row.args),
            Some(NodeEnum::AArrayExpr(array)) => one_by_one(&array.elements),
            _ => cast.arg.as_deref().is_some_and(|arg| is_stored(arg, scope)),
        };
        if is_one_column || (fits_all && !is_array) { Lineage::CLEAR } else { value.clone() }
    }

    /// What tells how far AND or OR was evaluated, when an operand can fail or takes its time.
    pub(super) fn evaluation_shows(&mut self, operands: &[Node], each: &[Lineage]) -> Lineage {
        let mut shown = Lineage::CLEAR;
        if !each.iter().all(Lineage::is_clear) && !operands.iter().all(|operand| self.is_quiet(operand)) {
            each.iter().for_each(|lineage| shown.absorb(lineage));
        }
        shown
    }

    /// The same of COALESCE, which goes from left to right; that a stored column is NULL can be seen in any result.
    pub(super) fn coalescing_shows(&mut self, operands: &[Node], each: &[Lineage], scope: &Scope<'_>) -> Lineage {
        let mut shown = Lineage::CLEAR;
        if each.iter().all(Lineage::is_clear) {
            return shown;
        }
        let last_loud = operands.iter().rposition(|operand| !self.is_quiet(operand)).unwrap_or_default();
        let before = operands.iter().zip(each).take(last_loud).filter(|(operand, _)| !is_stored(operand, scope));
        before.for_each(|(_, lineage)| shown.absorb(lineage));
        shown
    }

    /// Whether evaluating it cannot fail, and takes no time.
    pub(super) fn is_quiet(&mut self, node: &Node) -> bool {
        if !self.spend() {
            return false;
        }
        let mut all = |nodes: &[Node]| nodes.iter().all(|node| self.is_quiet(node));
        match node.node.as_ref() {
            None
            | Some(
                NodeEnum::AConst(_) | NodeEnum::ColumnRef(_) | NodeEnum::ParamRef(_) | NodeEnum::SqlvalueFunction(_),
            ) => true,
            Some(NodeEnum::BoolExpr(expr)) => all(&expr.args),
            Some(NodeEnum::CoalesceExpr(expr)) => all(&expr.args),
            Some(NodeEnum::MinMaxExpr(expr)) => all(&expr.args),
            Some(NodeEnum::List(list)) => all(&list.items),
            Some(NodeEnum::AArrayExpr(array)) => all(&array.elements),
            Some(NodeEnum::NullTest(test)) => test.arg.as_deref().is_none_or(|arg| self.is_quiet(arg)),
            Some(NodeEnum::BooleanTest(test)) => test.arg.as_deref().is_none_or(|arg| self.is_quiet(arg)),
            Some(NodeEnum::TypeCast(cast)) => {
                cast.arg.as_deref().is_none_or(|arg| matches!(arg.node, Some(NodeEnum::AConst(_))))
            }
            Some(NodeEnum::AExpr(expr)) => {
                let name = names::texts(&expr.name);
                let known = matches!(name.as_slice(), [name] if OPERATORS.contains(&name.as_str()));
                let in_order = matches!(
                    expr.kind(),
                    AExprKind::AexprIn | AExprKind::AexprBetween | AExprKind::AexprNotBetween | AExprKind::AexprNullif
                );
                (known || in_order)
                    && self.is_servers_operator(name.first().map_or("", String::as_str))
                    && expr.lexpr.as_deref().is_none_or(|side| self.is_quiet(side))
                    && expr.rexpr.as_deref().is_none_or(|side| self.is_quiet(side))
            }
            Some(NodeEnum::FuncCall(call)) => {
                let (schema, name) = names::qualified(&call.funcname);
                Quiet::of(&name) == Some(Quiet::All)
                    && call.over.is_none()
                    && call.agg_filter.is_none()
                    && self.is_servers_function(&schema, &name)
                    && call.args.iter().all(|arg| self.is_quiet(arg))
            }
            Some(_) => false,
        }
    }

    /// Whether every function the name may mean came with the server.
    fn is_servers_function(&mut self, schema: &str, name: &str) -> bool {
        !self.overlay.functions.iter().any(|own| own == name) && self.are_servers_own(schema, name)
    }
}

fn adds_little(expr: &AExpr, scope: &Scope<'_>) -> bool {
    match (expr.lexpr.as_deref(), expr.rexpr.as_deref()) {
        (Some(left), Some(right)) => {
            (is_stored(left, scope) && constant::is_small(right))
                || (constant::is_small(left) && is_stored(right, scope))
        }
        _ => false,
    }
}
