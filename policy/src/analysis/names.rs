//! Names out of parse-tree nodes, and the names PostgreSQL gives to result columns.
//!
//! Never resolves anything. Invariant: a column is named as PostgreSQL's `FigureColname` names it, because outer queries
//! refer to it by that name.

use pg_query::NodeEnum;
use pg_query::protobuf::{FuncCall, JsonExprOp, MinMaxOp, Node, SelectStmt, SqlValueFunctionOp, SubLinkType, TypeName};
use pg_query::protobuf::{RangeVar, XmlExprOp};

/// The text of a String node.
pub fn text(node: &Node) -> Option<&str> {
    match node.node.as_ref() {
        Some(NodeEnum::String(string)) => Some(&string.sval),
        _ => None,
    }
}

/// The texts of all String nodes of a list.
pub fn texts(nodes: &[Node]) -> Vec<String> {
    nodes.iter().filter_map(text).map(str::to_owned).collect()
}

/// Schema (empty when not written) and name of a dotted name of one to three parts.
pub fn qualified(nodes: &[Node]) -> (String, String) {
    let mut parts = texts(nodes).into_iter().rev();
    let name = parts.next().unwrap_or_default();
    (parts.next().unwrap_or_default(), name)
}

/// The relation that a dotted name of a DDL statement stands for.
pub fn range_var(nodes: &[Node]) -> RangeVar {
    let (schemaname, relname) = qualified(nodes);
    RangeVar { schemaname, relname, inh: true, ..RangeVar::default() }
}

/// The last part of a type's name.
pub fn type_name(name: &TypeName) -> &str {
    name.names.last().and_then(text).unwrap_or_default()
}

/// The last part of a called function's name.
pub fn function_name(call: &FuncCall) -> &str {
    call.funcname.last().and_then(text).unwrap_or_default()
}

/// The name of the result column that an expression without `AS` gets.
pub fn of_column(node: &Node) -> String {
    named(node).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

fn arg(node: Option<&Node>) -> Option<(String, bool)> {
    node.and_then(named)
}

fn strong(name: &str) -> Option<(String, bool)> {
    Some((name.to_owned(), true))
}

/// The name, and whether it is stronger than the name of a type cast around it.
fn named(node: &Node) -> Option<(String, bool)> {
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(column) => column.fields.iter().rev().find_map(text).and_then(strong),
        NodeEnum::AIndirection(of) => {
            of.indirection.iter().rev().find_map(text).and_then(strong).or_else(|| arg(of.arg.as_deref()))
        }
        NodeEnum::FuncCall(call) => strong(function_name(call)),
        NodeEnum::AExpr(expr) if expr.kind() == pg_query::protobuf::AExprKind::AexprNullif => strong("nullif"),
        NodeEnum::TypeCast(cast) => {
            let inner = arg(cast.arg.as_deref()).filter(|(_, strong)| *strong);
            inner.or_else(|| cast.type_name.as_ref().map(|name| (type_name(name).to_owned(), false)))
        }
        NodeEnum::CollateClause(clause) => arg(clause.arg.as_deref()),
        NodeEnum::GroupingFunc(_) => strong("grouping"),
        NodeEnum::MergeSupportFunc(_) => strong("merge_action"),
        NodeEnum::SubLink(link) => match link.sub_link_type() {
            SubLinkType::ExistsSublink => strong("exists"),
            SubLinkType::ArraySublink => strong("array"),
            SubLinkType::ExprSublink => match link.subselect.as_deref().and_then(|node| node.node.as_ref()) {
                Some(NodeEnum::SelectStmt(select)) => first_target(select),
                _ => None,
            },
            _ => None,
        },
        NodeEnum::CaseExpr(case) => {
            let inner = arg(case.defresult.as_deref()).filter(|(_, strong)| *strong);
            inner.or_else(|| Some(("case".to_owned(), false)))
        }
        NodeEnum::AArrayExpr(_) => strong("array"),
        NodeEnum::RowExpr(_) => strong("row"),
        NodeEnum::CoalesceExpr(_) => strong("coalesce"),
        NodeEnum::MinMaxExpr(expr) => strong(if expr.op() == MinMaxOp::IsGreatest { "greatest" } else { "least" }),
        NodeEnum::SqlvalueFunction(function) => strong(sql_value(function.op())),
        NodeEnum::XmlExpr(expr) => xml(expr.op()),
        NodeEnum::XmlSerialize(_) => strong("xmlserialize"),
        other => json(other),
    }
}

fn json(node: &NodeEnum) -> Option<(String, bool)> {
    match node {
        NodeEnum::JsonParseExpr(_) => strong("json"),
        NodeEnum::JsonScalarExpr(_) => strong("json_scalar"),
        NodeEnum::JsonSerializeExpr(_) => strong("json_serialize"),
        NodeEnum::JsonObjectConstructor(_) => strong("json_object"),
        NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_) => strong("json_array"),
        NodeEnum::JsonObjectAgg(_) => strong("json_objectagg"),
        NodeEnum::JsonArrayAgg(_) => strong("json_arrayagg"),
        NodeEnum::JsonFuncExpr(expr) => strong(json_function(expr.op())),
        _ => None,
    }
}

/// The name under which `JSON_VALUE` and its kin are called.
pub fn json_function(op: JsonExprOp) -> &'static str {
    match op {
        JsonExprOp::JsonExistsOp => "json_exists",
        JsonExprOp::JsonQueryOp => "json_query",
        JsonExprOp::JsonValueOp => "json_value",
        JsonExprOp::JsonTableOp | JsonExprOp::Undefined => "json_table",
    }
}

fn first_target(select: &SelectStmt) -> Option<(String, bool)> {
    let mut leaf = select;
    while let Some(left) = leaf.larg.as_deref() {
        leaf = left;
    }
    if !leaf.values_lists.is_empty() {
        return strong("column1");
    }
    match leaf.target_list.first().and_then(|node| node.node.as_ref()) {
        Some(NodeEnum::ResTarget(target)) if !target.name.is_empty() => strong(&target.name),
        Some(NodeEnum::ResTarget(target)) => arg(target.val.as_deref()),
        _ => None,
    }
}

fn sql_value(op: SqlValueFunctionOp) -> &'static str {
    use SqlValueFunctionOp as Op;
    match op {
        Op::SvfopCurrentDate => "current_date",
        Op::SvfopCurrentTime | Op::SvfopCurrentTimeN => "current_time",
        Op::SvfopCurrentTimestamp | Op::SvfopCurrentTimestampN => "current_timestamp",
        Op::SvfopLocaltime | Op::SvfopLocaltimeN => "localtime",
        Op::SvfopLocaltimestamp | Op::SvfopLocaltimestampN => "localtimestamp",
        Op::SvfopCurrentRole => "current_role",
        Op::SvfopCurrentUser => "current_user",
        Op::SvfopUser => "user",
        Op::SvfopSessionUser => "session_user",
        Op::SvfopCurrentCatalog => "current_catalog",
        Op::SvfopCurrentSchema => "current_schema",
        Op::SqlvalueFunctionOpUndefined => "?column?",
    }
}

fn xml(op: XmlExprOp) -> Option<(String, bool)> {
    match op {
        XmlExprOp::IsXmlconcat => strong("xmlconcat"),
        XmlExprOp::IsXmlelement => strong("xmlelement"),
        XmlExprOp::IsXmlforest => strong("xmlforest"),
        XmlExprOp::IsXmlparse => strong("xmlparse"),
        XmlExprOp::IsXmlpi => strong("xmlpi"),
        XmlExprOp::IsXmlroot => strong("xmlroot"),
        XmlExprOp::IsXmlserialize => strong("xmlserialize"),
        XmlExprOp::IsDocument | XmlExprOp::Undefined => None,
    }
}
