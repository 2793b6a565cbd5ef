//! The long tail of CREATE and ALTER, and the elements of table definitions.
//!
//! Never cares what an object that is no relation is called. Invariant: the list of kinds is closed; another one is
//! [`NotUnderstood::Node`].

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ColumnDef, Constraint, CreateDomainStmt, CreateSchemaStmt, CreateStmt, CreateTrigStmt, IndexStmt, Node, ObjectType,
    RangeVar, VariableSetStmt,
};

use super::lineage::{Level, Scope};
use super::walker::Walker;
use super::{Lineage, NotUnderstood, names};
use crate::effect::{Effect, Effects};

/// PostgreSQL puts the elements into an order of its own, so that a name may be that of any other element.
const MADE_BESIDE: &str = "an element of CREATE SCHEMA names what another one may make";

impl Walker<'_> {
    pub(super) fn create_or_alter(&mut self, kind: &NodeEnum) {
        self.connects(kind);
        match kind {
            NodeEnum::CreateStmt(create) => self.create_table(create),
            NodeEnum::CreateForeignTableStmt(create) => match &create.base_stmt {
                Some(base) => {
                    self.create_table(base);
                    base.relation.iter().for_each(|name| self.redefines_all(name));
                }
                None => self.give_up(NotUnderstood::Node("CreateForeignTableStmt")),
            },
            NodeEnum::CreateSeqStmt(create) => self.create_named(create.sequence.as_ref()),
            NodeEnum::CompositeTypeStmt(create) => self.create_named(create.typevar.as_ref()),
            NodeEnum::CreateSchemaStmt(create) => self.create_schema(create),
            NodeEnum::IndexStmt(index) => self.create_index(index),
            NodeEnum::CreateTrigStmt(trigger) => self.create_trigger(trigger),
            NodeEnum::CreatePolicyStmt(policy) => {
                self.effect(Effect::Create);
                self.on_relation(policy.table.as_ref());
                self.policy(policy.table.as_ref(), [policy.qual.as_deref(), policy.with_check.as_deref()]);
            }
            NodeEnum::CreateCastStmt(_)
            | NodeEnum::CreateOpClassStmt(_)
            | NodeEnum::AlterOpFamilyStmt(_)
            | NodeEnum::CreateEventTrigStmt(_)
            | NodeEnum::AlterEventTrigStmt(_)
            | NodeEnum::AlterDomainStmt(_) => self.rebinds(kind),
            NodeEnum::CreateStatsStmt(statistics) => {
                self.effect(Effect::Create);
                self.touch_all(&statistics.relations, Effect::Create);
            }
            NodeEnum::CreateDomainStmt(domain) => self.create_domain(domain),
            NodeEnum::CreateFunctionStmt(create) => {
                self.effect(Effect::Create);
                self.set_clauses(&create.options);
                self.overlay.functions.extend(names::texts(&create.funcname).pop());
            }
            NodeEnum::DefineStmt(define) => {
                self.effect(Effect::Create);
                let name = names::texts(&define.defnames).pop();
                if let Some(operator) = name.as_deref().filter(|_| define.kind() == ObjectType::ObjectOperator) {
                    self.rebinds_operator(operator);
                }
                self.overlay.functions.extend(name);
            }
            NodeEnum::AlterSystemStmt(alter) => {
                self.effect(Effect::SetDangerous);
                self.alter_default(alter.setstmt.as_ref());
            }
            NodeEnum::AlterRoleSetStmt(alter) => self.alter_default(alter.setstmt.as_ref()),
            NodeEnum::AlterDatabaseSetStmt(alter) => self.alter_default(alter.setstmt.as_ref()),
            NodeEnum::AlterFunctionStmt(alter) => {
                self.effect(Effect::Alter);
                self.set_clauses(&alter.actions);
                self.overlay.functions.extend(alter.func.as_ref().and_then(|func| names::texts(&func.objname).pop()));
            }
            other => match plain_effect(other) {
                Some(effect) => self.effect(effect),
                None => self.give_up(NotUnderstood::Node("a statement kind")),
            },
        }
    }

    fn create_schema(&mut self, create: &CreateSchemaStmt) {
        self.effect(Effect::Create);
        self.changes(super::SessionChange::SearchPath);
        for element in &create.schema_elts {
            let mut inner = self.apart(|walker| walker.statement(element));
            if let Some(NotUnderstood::Relation(_) | NotUnderstood::Function(_)) = inner.not_understood {
                inner.not_understood = Some(NotUnderstood::Other(MADE_BESIDE));
            }
            self.include(&inner);
        }
        self.overlay.path_changed = true;
    }

    fn alter_default(&mut self, set: Option<&VariableSetStmt>) {
        self.effect(Effect::Alter);
        self.default_setting(set);
    }

    fn create_named(&mut self, name: Option<&RangeVar>) {
        match name {
            Some(name) => self.create_relation(name),
            None => self.give_up(NotUnderstood::Node("a CREATE without a name")),
        }
    }

    /// The expressions of a row security policy, which run with what reads and writes the table.
    pub(super) fn policy(&mut self, table: Option<&RangeVar>, expressions: [Option<&Node>; 2]) {
        let (functions, relations) = (self.out.functions.len(), self.out.relations.len());
        for expression in expressions {
            self.optional(expression, &Scope::default());
        }
        if let Some(table) = table {
            self.rows_tell(table, expressions.into_iter().flatten());
        }
        let does_more = self.calls_users_function(functions) || self.out.relations.len() > relations;
        if let Some(table) = table.filter(|_| does_more) {
            self.redefines_rows(table);
        }
    }

    fn create_domain(&mut self, domain: &CreateDomainStmt) {
        self.effect(Effect::Create);
        let functions = self.out.functions.len();
        domain.constraints.iter().for_each(|constraint| self.element(constraint, Effect::Create));
        self.rebinds_domain(functions);
    }

    fn create_table(&mut self, create: &CreateStmt) {
        let parent = if create.partbound.is_some() { Effect::Alter } else { Effect::Select };
        self.touch_all(&create.inh_relations, parent);
        self.redefines_child(create);
        self.create_named(create.relation.as_ref());
        for element in create.table_elts.iter().chain(&create.constraints) {
            self.element(element, Effect::Create);
        }
        if let Some(partition) = &create.partspec {
            for part in &partition.part_params {
                self.element(part, Effect::Create);
            }
        }
        if let Some(bound) = &create.partbound {
            for datum in bound.listdatums.iter().chain(&bound.lowerdatums).chain(&bound.upperdatums) {
                self.element(datum, Effect::Create);
            }
        }
    }

    fn create_index(&mut self, index: &IndexStmt) {
        self.effect(Effect::Create);
        let Some(name) = index.relation.as_ref() else {
            return self.give_up(NotUnderstood::Node("IndexStmt"));
        };
        let scope = self.relation_scope(name);
        for element in &index.index_params {
            self.index_element(element, &scope);
        }
        self.optional(index.where_clause.as_deref(), &scope);
        self.index_tells(index, &scope);
    }

    fn relation_scope(&mut self, name: &RangeVar) -> Scope<'static> {
        match self.touch(name, Effects::of(&[Effect::Create])) {
            Some(relation) => Scope { level: Level::of(self.source_of(relation)), ..Scope::default() },
            None => Scope::default(),
        }
    }

    /// An element of an index, or of the arbiter of ON CONFLICT.
    pub(super) fn index_element(&mut self, element: &Node, scope: &Scope<'_>) {
        match element.node.as_ref() {
            Some(NodeEnum::IndexElem(element)) => {
                if !element.name.is_empty() {
                    self.reads_name(&element.name, scope);
                }
                self.optional(element.expr.as_deref(), scope);
            }
            _ => self.give_up(NotUnderstood::Node("IndexElem")),
        }
    }

    fn create_trigger(&mut self, trigger: &CreateTrigStmt) {
        self.effect(Effect::Create);
        self.on_relation(trigger.relation.as_ref());
        if let Some(other) = &trigger.constrrel {
            self.touch(other, Effects::of(&[Effect::Select]));
        }
        self.redefines_events(trigger);
        self.optional(trigger.when_clause.as_deref(), &Scope::default());
        let (schema, name) = names::qualified(&trigger.funcname);
        self.function(&schema, &name);
    }

    fn on_relation(&mut self, name: Option<&RangeVar>) {
        match name {
            Some(name) => {
                self.touch(name, Effects::of(&[Effect::Create]));
            }
            None => self.give_up(NotUnderstood::Node("a CREATE without a relation")),
        }
    }

    /// A column, constraint, option or other part of CREATE TABLE and ALTER TABLE.
    pub(super) fn element(&mut self, element: &Node, parent: Effect) {
        let scope = Scope::default();
        match element.node.as_ref() {
            Some(NodeEnum::ColumnDef(column)) => self.column_definition(column),
            Some(NodeEnum::Constraint(constraint)) => self.constraint(constraint),
            Some(NodeEnum::TableLikeClause(like)) => {
                if let Some(name) = &like.relation {
                    self.touch(name, Effects::of(&[Effect::Select]));
                }
            }
            Some(NodeEnum::RangeVar(name)) => {
                self.touch(name, Effects::of(&[parent]));
            }
            Some(NodeEnum::PartitionCmd(command)) => {
                if let Some(name) = &command.name {
                    self.touch(name, Effects::of(&[parent]));
                }
            }
            Some(NodeEnum::PartitionElem(part)) => {
                self.optional(part.expr.as_deref(), &scope);
            }
            Some(NodeEnum::PartitionRangeDatum(datum)) => {
                self.optional(datum.value.as_deref(), &scope);
            }
            Some(NodeEnum::List(list)) => list.items.iter().for_each(|item| self.element(item, parent)),
            Some(
                NodeEnum::DefElem(_)
                | NodeEnum::ReplicaIdentityStmt(_)
                | NodeEnum::AtalterConstraint(_)
                | NodeEnum::TypeName(_)
                | NodeEnum::RoleSpec(_),
            )
            | None => {}
            Some(_) => {
                self.expression(element, &scope);
            }
        }
    }

    fn column_definition(&mut self, column: &ColumnDef) {
        self.optional(column.raw_default.as_deref(), &Scope::default());
        for constraint in &column.constraints {
            self.element(constraint, Effect::Create);
        }
    }

    fn constraint(&mut self, constraint: &Constraint) {
        self.optional(constraint.raw_expr.as_deref(), &Scope::default());
        self.optional(constraint.where_clause.as_deref(), &Scope::default());
        if let Some(name) = &constraint.pktable
            && let Some(relation) = self.touch(name, Effects::of(&[Effect::Select]))
        {
            // A row that refers to it will tell what is in it.
            self.reads(&Lineage::of(relation.oid, 0));
        }
        for exclusion in &constraint.exclusions {
            if let Some(NodeEnum::List(pair)) = exclusion.node.as_ref()
                && let Some(element) = pair.items.first()
            {
                self.index_element(element, &Scope::default());
            }
        }
    }
}

/// The effect of a statement about objects that are no relations.
fn plain_effect(kind: &NodeEnum) -> Option<Effect> {
    Some(match kind {
        NodeEnum::CreateAmStmt(_)
        | NodeEnum::CreateConversionStmt(_)
        | NodeEnum::CreateEnumStmt(_)
        | NodeEnum::CreateExtensionStmt(_)
        | NodeEnum::CreateFdwStmt(_)
        | NodeEnum::CreateForeignServerStmt(_)
        | NodeEnum::CreateOpFamilyStmt(_)
        | NodeEnum::CreatePlangStmt(_)
        | NodeEnum::CreatePublicationStmt(_)
        | NodeEnum::CreateRangeStmt(_)
        | NodeEnum::CreateRoleStmt(_)
        | NodeEnum::CreateSubscriptionStmt(_)
        | NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::CreateTransformStmt(_)
        | NodeEnum::CreateUserMappingStmt(_)
        | NodeEnum::CreatedbStmt(_)
        | NodeEnum::ImportForeignSchemaStmt(_) => Effect::Create,
        NodeEnum::AlterCollationStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_)
        | NodeEnum::AlterEnumStmt(_)
        | NodeEnum::AlterExtensionContentsStmt(_)
        | NodeEnum::AlterExtensionStmt(_)
        | NodeEnum::AlterFdwStmt(_)
        | NodeEnum::AlterForeignServerStmt(_)
        | NodeEnum::AlterOperatorStmt(_)
        | NodeEnum::AlterPublicationStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterStatsStmt(_)
        | NodeEnum::AlterSubscriptionStmt(_)
        | NodeEnum::AlterTableMoveAllStmt(_)
        | NodeEnum::AlterTableSpaceOptionsStmt(_)
        | NodeEnum::AlterTsconfigurationStmt(_)
        | NodeEnum::AlterTsdictionaryStmt(_)
        | NodeEnum::AlterTypeStmt(_)
        | NodeEnum::AlterUserMappingStmt(_)
        | NodeEnum::ReassignOwnedStmt(_) => Effect::Alter,
        NodeEnum::DropRoleStmt(_)
        | NodeEnum::DropSubscriptionStmt(_)
        | NodeEnum::DropTableSpaceStmt(_)
        | NodeEnum::DropUserMappingStmt(_)
        | NodeEnum::DropdbStmt(_) => Effect::Drop,
        _ => return None,
    })
}
