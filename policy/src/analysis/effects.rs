//! Statement kinds → effects: the dispatcher over everything PostgreSQL's grammar accepts as a statement.
//!
//! Never lets a kind fall through: what is not listed is [`NotUnderstood::Node`]. Invariant: statements inside statements
//! (EXPLAIN, PREPARE, DECLARE, COPY, CREATE TABLE AS) come through here or [`Walker::query`] too.

use pg_query::NodeEnum;
use pg_query::protobuf::{CreateTableAsStmt, ExplainStmt, Node, ObjectType, SelectStmt};

use super::constant::Literals;
use super::lineage::{Columns, Scope};
use super::walker::Walker;
use super::{Lineage, NotUnderstood, Outputs, SessionChange};
use crate::catalog::Volatility;
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

impl Walker<'_> {
    /// Walks one statement; yields what it returns to the client.
    pub fn statement(&mut self, node: &Node) -> Outputs {
        if !self.spend() {
            return Outputs::Opaque(Lineage::Unknown("the statement is too complex"));
        }
        let root = Scope::default();
        match node.node.as_ref() {
            Some(kind @ NodeEnum::SelectStmt(select)) => {
                let columns = self.select(select, &root);
                if is_into(select) {
                    self.fires(kind);
                    return Outputs::None;
                }
                self.outputs(columns)
            }
            Some(NodeEnum::InsertStmt(insert)) => {
                let columns = self.insert(insert, &root);
                self.returned(insert.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::UpdateStmt(update)) => {
                let columns = self.update(update, &root);
                self.returned(update.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::DeleteStmt(delete)) => {
                let columns = self.delete(delete, &root);
                self.returned(delete.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::MergeStmt(merge)) => {
                let columns = self.merge(merge, &root);
                self.returned(merge.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::CopyStmt(copy)) => self.copy(copy),
            Some(NodeEnum::ExplainStmt(explain)) => self.explain(explain),
            Some(kind @ NodeEnum::CreateTableAsStmt(create)) => {
                self.fires(kind);
                self.create_table_as(create)
            }
            Some(kind) => self.utility(kind),
            None => {
                self.give_up(NotUnderstood::Node("an empty statement"));
                Outputs::None
            }
        }
    }

    fn explain(&mut self, explain: &ExplainStmt) -> Outputs {
        self.effect(Effect::Explain);
        let Some(query) = explain.query.as_deref() else {
            self.give_up(NotUnderstood::Node("ExplainStmt"));
            return Outputs::None;
        };
        let inner = self.apart(|walker| walker.statement(query));
        let runs = explain.options.iter().any(|option| is_analyze(option, &self.literals));
        if runs {
            self.include(&inner);
        } else {
            self.include_reads(&inner, Effects::of(&[Effect::Select]));
            // Looking for the place of a temporary table makes the session's temporary schema.
            if inner.session_changes.contains(&SessionChange::SearchPath) {
                self.changes(SessionChange::SearchPath);
            }
            self.out.predicates.absorb(&inner.predicates);
            self.out.reads.absorb(&inner.reads);
            self.out.lookups.absorb(&inner.lookups);
            // The planner computes what is declared not to write.
            if inner.functions.iter().any(|called| self.is_doubted(called)) {
                self.effect(Effect::FunctionCall);
            }
        }
        // A plan shows constants of the statement, and what the planner computed from them.
        let built_in = inner.functions.iter().all(|function| {
            let overloads = self.context.catalog.functions_named(&function.schema, &function.name);
            overloads.iter().all(|overload| overload.built_in) && !super::builtins::is_revealing(&function.name)
        });
        if built_in && inner.not_understood.is_none() {
            return Outputs::Columns(vec![Lineage::CLEAR]);
        }
        Outputs::Opaque(Lineage::Unknown("a plan may show what a function returned"))
    }

    /// The columns as what the statement at hand returns.
    pub fn outputs(&mut self, columns: Columns) -> Outputs {
        self.out.forms = columns.forms();
        columns.into_outputs()
    }

    fn returned(&mut self, returning: bool, columns: Columns) -> Outputs {
        if returning { self.outputs(columns) } else { Outputs::None }
    }

    /// Whether it makes values of a type: a literal becomes one when the statement is parsed, and runs the checks of domains
    /// that are part of the type.
    pub(super) fn runs_when_parsed(&self, called: &QualifiedName) -> bool {
        let found = || self.context.catalog.functions_named(&called.schema, &called.name);
        called.name.starts_with("cast:") && found().iter().any(|function| function.volatility == Volatility::Volatile)
    }

    fn is_doubted(&self, called: &QualifiedName) -> bool {
        let found = self.context.catalog.functions_named(&called.schema, &called.name);
        found.iter().any(|function| function.doubted) || self.runs_when_parsed(called)
    }

    fn create_table_as(&mut self, create: &CreateTableAsStmt) -> Outputs {
        let result = match create.query.as_deref() {
            Some(query) => self.statement(query),
            None => Outputs::Opaque(Lineage::Unknown("a query is missing")),
        };
        self.stores(&super::walker::columns_of(&result).union());
        match create.into.as_deref().and_then(|into| into.rel.as_ref()) {
            Some(name) => self.create_relation(name),
            None => self.give_up(NotUnderstood::Node("CreateTableAsStmt")),
        }
        let view = create.objtype() == ObjectType::ObjectMatview;
        if view && create.query.is_none() {
            self.give_up(NotUnderstood::Node("CreateTableAsStmt"));
        }
        Outputs::None
    }
}

/// Whether the query puts its rows into a new table.
fn is_into(select: &SelectStmt) -> bool {
    let mut leaf = select;
    while let Some(left) = leaf.larg.as_deref() {
        leaf = left;
    }
    leaf.into_clause.is_some() || select.into_clause.is_some()
}

/// Whether an option of EXPLAIN makes it execute. Several of them count as one that does, if any does.
fn is_analyze(option: &Node, literals: &Literals) -> bool {
    let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { return true };
    if !matches!(option.defname.to_ascii_lowercase().as_str(), "analyze" | "analyse") {
        return false;
    }
    let Some(arg) = option.arg.as_deref() else { return true };
    let off = match arg.node.as_ref() {
        Some(NodeEnum::Integer(integer)) => integer.ival == 0,
        Some(NodeEnum::Boolean(boolean)) => !boolean.boolval,
        Some(NodeEnum::String(text)) => ["off", "false"].iter().any(|off| text.sval.eq_ignore_ascii_case(off)),
        Some(NodeEnum::AConst(_)) => literals.integer(arg) == Some(0),
        _ => false,
    };
    !off
}
