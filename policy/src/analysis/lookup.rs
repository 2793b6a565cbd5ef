//! Columns as they are stored, and looking rows up by a value: `column = value` in the WHERE clause of the outermost query.
//!
//! Never counts a guess at many values: a list, a computed value, or the column of another relation. Invariant: what is
//! looked up is a stored column, compared by the server's own equality, so that the statement tells no more than whether
//! a row has that one value.

use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, BoolExprType, Node, TypeCast};

use super::lineage::{Column, Scope};
use super::walker::Walker;
use super::{Lineage, names};

impl Walker<'_> {
    /// WHERE of a query: everything in it decides which rows come back; of the outermost query, a column that is only
    /// looked up is kept apart.
    pub(super) fn where_clause(&mut self, clause: Option<&Node>, outermost: bool, scope: &Scope<'_>) {
        let Some(node) = clause else { return };
        match node.node.as_ref() {
            Some(NodeEnum::BoolExpr(all)) if outermost && all.boolop() == BoolExprType::AndExpr => {
                for part in &all.args {
                    self.where_clause(Some(part), outermost, scope);
                }
            }
            Some(NodeEnum::AExpr(expr)) if outermost && self.is_lookup(expr, scope) => {
                let column = self.expression(node, scope);
                self.out.lookups.absorb(&column);
            }
            _ => {
                let deciding = self.condition(node, scope);
                self.decides(&deciding);
            }
        }
    }

    /// What a condition depends on. That a stored column is NULL can be seen in any result, and counts for nothing.
    pub(super) fn condition(&mut self, node: &Node, scope: &Scope<'_>) -> Lineage {
        match node.node.as_ref() {
            Some(NodeEnum::NullTest(test)) if test.arg.as_deref().is_some_and(|arg| is_stored(arg, scope)) => {
                self.expression(node, scope);
                Lineage::CLEAR
            }
            Some(NodeEnum::BoolExpr(expr)) => {
                let mut all = Lineage::CLEAR;
                expr.args.iter().for_each(|arg| all.absorb(&self.condition(arg, scope)));
                all
            }
            _ => self.expression(node, scope),
        }
    }

    fn is_lookup(&mut self, expr: &AExpr, scope: &Scope<'_>) -> bool {
        let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else { return false };
        let is_equality = expr.kind() == AExprKind::AexprOp && names::texts(&expr.name) == ["="];
        let sides = [(left, right), (right, left)];
        is_equality
            && sides.into_iter().any(|(column, value)| is_stored(column, scope) && self.is_one_value(value))
            && self.is_servers_operator("=")
    }

    /// Whether the expression is one value that the statement brings along: a parameter, or a constant.
    pub(super) fn is_one_value(&self, node: &Node) -> bool {
        match node.node.as_ref() {
            Some(NodeEnum::ParamRef(_) | NodeEnum::AConst(_)) => true,
            Some(NodeEnum::TypeCast(cast)) => {
                cast.arg.as_deref().is_some_and(|arg| self.is_one_value(arg)) && self.is_to_servers_type(cast)
            }
            _ => false,
        }
    }

    /// Another type could bring a collation of its own, under which more than equal texts are equal.
    fn is_to_servers_type(&self, cast: &TypeCast) -> bool {
        const SERVERS: &str = "pg_catalog";
        let Some(name) = &cast.type_name else { return false };
        let (schema, own) = names::qualified(&name.names);
        let (catalog, path) = (self.context.catalog, self.context.search_path);
        let implied = !path.iter().any(|schema| schema == SERVERS) && catalog.has_type(SERVERS, &own);
        let first = || path.iter().find(|schema| catalog.has_type(schema, &own));
        schema == SERVERS || (schema.is_empty() && (implied || first().is_some_and(|schema| schema == SERVERS)))
    }
}

/// Whether the expression is a column as it is stored, and not what a view or an expression makes of one.
pub(super) fn is_stored(node: &Node, scope: &Scope<'_>) -> bool {
    let Some(NodeEnum::ColumnRef(reference)) = node.node.as_ref() else { return false };
    let parts = names::texts(&reference.fields);
    if parts.len() != reference.fields.len() {
        return false;
    }
    let is_one_stored = |columns: &[Column], name: &str| {
        let mut named = columns.iter().filter(|column| column.name == name);
        named.next().is_some_and(|column| column.stored) && named.next().is_none()
    };
    match parts.as_slice() {
        [name] => is_one_stored(&scope.level.columns.list, name) && scope.level.columns.rest.is_none(),
        [source, name] => scope.source("", source).is_some_and(|source| is_one_stored(&source.columns.list, name)),
        [schema, source, name] => {
            scope.source(schema, source).is_some_and(|source| is_one_stored(&source.columns.list, name))
        }
        _ => false,
    }
}
