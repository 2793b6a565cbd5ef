//! Definitions that tell about the rows there are: by failing, or by what they make. A check is made for each row, an index
//! is as large as the part of the rows that its WHERE lets in, a policy lets rows through.
//!
//! Never speaks of what comes back. Invariant: a column of the table takes part in such an expression only as one that
//! decides; a name that the catalog does not have is that of a new column, in which nothing is yet.

use pg_query::NodeEnum;
use pg_query::protobuf::{Constraint, IndexStmt, Node, RangeVar};

use super::Lineage;
use super::lineage::{Level, Scope};
use super::walker::Walker;

impl Walker<'_> {
    /// An index on that relation, whose columns are in the scope.
    pub(super) fn index_tells(&mut self, index: &IndexStmt, scope: &Scope<'_>) {
        for element in &index.index_params {
            if let Some(NodeEnum::IndexElem(element)) = element.node.as_ref()
                && let Some(expression) = element.expr.as_deref()
                && !self.is_quiet(expression)
            {
                let deciding = self.expression(expression, scope);
                self.decides(&deciding);
            }
        }
        if let Some(clause) = index.where_clause.as_deref() {
            let deciding = self.condition(clause, scope);
            self.decides(&deciding);
        }
    }

    /// A constraint, or a column with constraints, that is added to the table.
    pub(super) fn addition_tells(&mut self, table: &RangeVar, added: &Node) {
        let constraints: Vec<&Constraint> = match added.node.as_ref() {
            Some(NodeEnum::Constraint(constraint)) => vec![constraint],
            Some(NodeEnum::ColumnDef(column)) => column.constraints.iter().filter_map(constraint_of).collect(),
            _ => return,
        };
        let expressions = constraints.iter().flat_map(|one| [one.raw_expr.as_deref(), one.where_clause.as_deref()]);
        self.rows_tell(table, expressions.flatten());
    }

    /// These conditions are evaluated for the rows of the table.
    pub(super) fn rows_tell<'n>(&mut self, table: &RangeVar, conditions: impl Iterator<Item = &'n Node>) {
        let mut conditions = conditions.peekable();
        let Some(relation) = self.resolve(table).filter(|_| conditions.peek().is_some()) else { return };
        let mut source = self.source_of(relation);
        source.columns.rest = Some(Lineage::CLEAR);
        let scope = Scope { level: Level::of(source), ..Scope::default() };
        for condition in conditions.filter(|condition| !is_null_test(condition)) {
            let deciding = self.condition(condition, &scope);
            self.decides(&deciding);
        }
    }
}

/// That a column is NULL can be seen in any result.
fn is_null_test(condition: &Node) -> bool {
    let Some(NodeEnum::NullTest(test)) = condition.node.as_ref() else { return false };
    matches!(test.arg.as_deref().and_then(|arg| arg.node.as_ref()), Some(NodeEnum::ColumnRef(_)))
}

fn constraint_of(node: &Node) -> Option<&Constraint> {
    match node.node.as_ref() {
        Some(NodeEnum::Constraint(constraint)) => Some(constraint),
        _ => None,
    }
}
