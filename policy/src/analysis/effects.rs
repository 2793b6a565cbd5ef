//! Statement kinds → effects: the dispatcher over everything PostgreSQL's grammar accepts as a statement.
//!
//! Never lets a kind fall through: what is not listed is [`NotUnderstood::Node`]. Invariant: statements inside statements
//! (EXPLAIN, PREPARE, DECLARE, COPY, CREATE TABLE AS) come through here or [`Walker::query`] too.

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, CreateTableAsStmt, ExplainStmt, Node, ObjectType, SelectStmt};

use super::constant::Literals;
use super::lineage::{Columns, Level, Scope, Source};
use super::walker::Walker;
use super::{Lineage, NotUnderstood, Outputs, names};
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
            Some(NodeEnum::SelectStmt(select)) => {
                let columns = self.select(select, &root);
                if is_into(select) { Outputs::None } else { columns.into_outputs() }
            }
            Some(NodeEnum::InsertStmt(insert)) => {
                let columns = self.insert(insert, &root);
                returned(insert.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::UpdateStmt(update)) => {
                let columns = self.update(update, &root);
                returned(update.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::DeleteStmt(delete)) => {
                let columns = self.delete(delete, &root);
                returned(delete.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::MergeStmt(merge)) => {
                let columns = self.merge(merge, &root);
                returned(merge.returning_clause.is_some(), columns)
            }
            Some(NodeEnum::CopyStmt(copy)) => self.copy(copy),
            Some(NodeEnum::ExplainStmt(explain)) => self.explain(explain),
            Some(NodeEnum::CreateTableAsStmt(create)) => self.create_table_as(create),
            Some(kind) => self.utility(kind),
            None => {
                self.give_up(NotUnderstood::Node("an empty statement"));
                Outputs::None
            }
        }
    }

    fn copy(&mut self, copy: &CopyStmt) -> Outputs {
        let root = Scope::default();
        let direction = if copy.is_from { Effect::CopyIn } else { Effect::CopyOut };
        self.effect(direction);
        if copy.is_program {
            self.effect(Effect::CopyProgram);
        } else if !copy.filename.is_empty() {
            self.effect(Effect::CopyFile);
        }
        let columns = match (copy.query.as_deref(), copy.relation.as_ref()) {
            (Some(query), _) => self.query(query, &root),
            (None, Some(_)) if copy.is_from => {
                self.copy_from(copy);
                return Outputs::None;
            }
            (None, Some(name)) => {
                let source = self.read(name, &root);
                if let Some(relation) = source.relation.and_then(|oid| self.catalog().relation(oid)) {
                    self.touch_resolved(relation, Effects::of(&[Effect::CopyOut]));
                }
                let list = names::texts(&copy.attlist);
                self.reads_listed(&source, &list);
                copied(&source, &list)
            }
            (None, None) => {
                self.give_up(NotUnderstood::Node("CopyStmt"));
                Columns::unknown("a COPY is not understood")
            }
        };
        if copy.is_program || !copy.filename.is_empty() {
            self.stores(&columns.union());
            return Outputs::None;
        }
        columns.into_outputs()
    }

    fn copy_from(&mut self, copy: &CopyStmt) {
        let Some(name) = copy.relation.as_ref() else { return };
        let target = self.target(name, Effect::CopyIn);
        self.sets_off(&target, Effect::Insert, None);
        self.writes_listed(&target, &copy.attlist);
        let scope = Scope { level: Level::of(target), ..Scope::default() };
        self.optional(copy.where_clause.as_deref(), &scope);
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

    fn is_doubted(&self, called: &QualifiedName) -> bool {
        self.context.catalog.functions_named(&called.schema, &called.name).iter().any(|function| function.doubted)
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

fn returned(returning: bool, columns: Columns) -> Outputs {
    if returning { columns.into_outputs() } else { Outputs::None }
}

/// Whether the query puts its rows into a new table.
fn is_into(select: &SelectStmt) -> bool {
    let mut leaf = select;
    while let Some(left) = leaf.larg.as_deref() {
        leaf = left;
    }
    leaf.into_clause.is_some() || select.into_clause.is_some()
}

/// The columns of `COPY relation (columns) TO`.
fn copied(source: &Source, list: &[String]) -> Columns {
    if list.is_empty() {
        return source.columns.clone();
    }
    let mut columns = Columns::default();
    for name in list {
        columns.push(name, source.column(name).unwrap_or(Lineage::Unknown("a column does not resolve")));
    }
    columns
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
