//! Text → PostgreSQL's own parse tree.
//!
//! Never judges. Invariant: a text that does not parse, or that the parser gives up on, is [`NotUnderstood`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RawStmt, TransactionStmtKind};

use super::NotUnderstood;

/// The parse tree of one text.
pub struct Tree(Vec<RawStmt>);

impl Tree {
    /// The statements in order; empty ones are not among them.
    pub fn statements(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().filter_map(|raw| raw.stmt.as_deref())
    }

    /// Where the last of several statements begins, in bytes: behind the semicolon that ends the one before.
    pub fn last_begins_at(&self) -> Option<usize> {
        let (last, _) = self.0.split_last().filter(|(_, before)| !before.is_empty())?;
        usize::try_from(last.stmt_location).ok().filter(|at| *at > 0)
    }
}

/// Parses the text with the server's default settings (`standard_conforming_strings = on`).
///
/// # Errors
/// [`NotUnderstood::Syntax`] for a text that the grammar rejects, [`NotUnderstood::Guard`] for one whose tree is too deep.
pub fn parse(text: &str) -> Result<Tree, NotUnderstood> {
    let parsed = catch_unwind(AssertUnwindSafe(|| pg_query::parse(text, 0)));
    match parsed {
        Ok(Ok(result)) => Ok(Tree(result.protobuf.stmts)),
        Ok(Err(pg_query::Error::Decode(_))) => Err(NotUnderstood::Guard("the statement nests too deeply")),
        Ok(Err(_)) => Err(NotUnderstood::Syntax),
        Err(_) => Err(NotUnderstood::Guard("the parser gave up")),
    }
}

/// Whether the statement is one whose literals can only be constants in the tree: SELECT, VALUES, INSERT, UPDATE, DELETE,
/// MERGE, and transaction control without an identifier of its own.
pub fn is_query_or_plain_transaction(node: &Node) -> bool {
    use TransactionStmtKind as Kind;
    match kind(node) {
        Some(
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_),
        ) => true,
        Some(NodeEnum::TransactionStmt(statement)) => match statement.kind() {
            Kind::TransStmtBegin
            | Kind::TransStmtStart
            | Kind::TransStmtCommit
            | Kind::TransStmtRollback
            | Kind::TransStmtSavepoint
            | Kind::TransStmtRelease
            | Kind::TransStmtRollbackTo => true,
            Kind::TransStmtPrepare
            | Kind::TransStmtCommitPrepared
            | Kind::TransStmtRollbackPrepared
            | Kind::Undefined => false,
        },
        _ => false,
    }
}

/// Whether the statement is an INSERT, UPDATE, DELETE or MERGE.
pub fn writes_rows(node: &Node) -> bool {
    matches!(
        kind(node),
        Some(NodeEnum::InsertStmt(_) | NodeEnum::UpdateStmt(_) | NodeEnum::DeleteStmt(_) | NodeEnum::MergeStmt(_))
    )
}

/// Whether the statement is a COPY … FROM.
pub fn copies_rows_in(node: &Node) -> bool {
    matches!(kind(node), Some(NodeEnum::CopyStmt(copy)) if copy.is_from)
}

/// The kind of a node, `None` for an absent one.
pub fn kind(node: &Node) -> Option<&NodeEnum> {
    node.node.as_ref()
}
