//! What cannot be told from whether a statement fails: operations that fail for no value, whatever is combined with it.
//!
//! Never speaks of what an operation returns. Invariant: an operation that is on no list here may fail for some value, so
//! that a value it is given counts as one that decides. Exempt is a single stored column with nothing else, because the
//! statement cannot ask anything of its value then.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, FuncCall, Node, TypeCast};

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

const ALL: &[&str] = &[
    "age",
    "ascii",
    "any_value",
    "array_agg",
    "array_length",
    "array_position",
    "array_remove",
    "array_to_json",
    "array_to_string",
    "array_to_tsvector",
    "avg",
    "bit_length",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "concat",
    "concat_ws",
    "count",
    "every",
    "first_value",
    "floor",
    "hashtext",
    "host",
    "initcap",
    "isfinite",
    "json_agg",
    "json_array_length",
    "json_build_array",
    "json_strip_nulls",
    "json_typeof",
    "jsonb_agg",
    "jsonb_array_length",
    "jsonb_build_array",
    "jsonb_pretty",
    "jsonb_strip_nulls",
    "jsonb_typeof",
    "last_value",
    "length",
    "lower",
    "ltrim",
    "max",
    "md5",
    "min",
    "octet_length",
    "pg_typeof",
    "position",
    "quote_ident",
    "quote_literal",
    "quote_nullable",
    "reverse",
    "row_to_json",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "starts_with",
    "string_agg",
    "string_to_array",
    "strpos",
    "sum",
    "text",
    "to_json",
    "to_jsonb",
    "to_tsvector",
    "translate",
    "trunc",
    "upper",
];

const FIRST: &[&str] = &[
    "format_type",
    "json_extract_path",
    "json_extract_path_text",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "lag",
    "lead",
    "left",
    "nth_value",
    "overlay",
    "regexp_count",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_substr",
    "replace",
    "right",
    "round",
    "split_part",
    "substr",
    "substring",
    "to_char",
    "xpath_exists",
];

const SECOND: &[&str] = &["date_part", "date_trunc", "extract", "json_object_agg", "jsonb_object_agg", "timezone"];

const VALUES: &[&str] = &["json_build_object", "jsonb_build_object"];

const REST: &[&str] = &["format"];

/// Operators that fail for no operand.
const OPERATORS: &[&str] = &[
    "=", "<>", "!=", "<", "<=", ">", ">=", "||", "->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&", "&&", "@@",
    "^@", "~=", "<<=", ">>=", "-|-",
];

/// Operators whose right operand is a pattern, which may be a wrong one.
const PATTERNS: &[&str] = &["~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*"];

/// Types that every value can be cast to.
const TYPES: &[&str] = &["text", "varchar", "bpchar", "name"];

impl Quiet {
    fn of(name: &str) -> Option<Self> {
        let lists = [
            (ALL, Self::All),
            (FIRST, Self::First),
            (SECOND, Self::Second),
            (VALUES, Self::Values),
            (REST, Self::Rest),
        ];
        lists.into_iter().find(|(list, _)| list.contains(&name)).map(|(_, quiet)| quiet)
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
