//! What a definition reaches besides the relations that it names: with CASCADE what depends on them, and users' functions
//! that are called when the rows of a table are read again.
//!
//! Never asks what PostgreSQL would refuse. Invariant: what is reached is dropped or altered, and what depends on that in its
//! turn is followed too; CASCADE from an object whose dependents are not known (an extension, a collation, …) is not understood.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableType, DropBehavior, Node, ObjectType, RangeVar};

use super::consequences::Cause;
use super::walker::Walker;
use super::{NotUnderstood, names};
use crate::catalog::{Consequence, Oid, Relation, RelationKind, SetOff, Type};
use crate::effect::Effect;

const NOT_FOLLOWED: NotUnderstood = NotUnderstood::Other("what depends on such an object is not known");

impl Walker<'_> {
    /// `DROP … CASCADE` of an object that is no relation, schema, type or function.
    pub(super) fn cascades_from_other(&mut self, kind: ObjectType) {
        let has_no_dependents = matches!(
            kind,
            ObjectType::ObjectCast
                | ObjectType::ObjectConversion
                | ObjectType::ObjectEventTrigger
                | ObjectType::ObjectPolicy
                | ObjectType::ObjectProcedure
                | ObjectType::ObjectPublication
                | ObjectType::ObjectRule
                | ObjectType::ObjectStatisticExt
                | ObjectType::ObjectTrigger
        );
        if !has_no_dependents {
            self.give_up(NOT_FOLLOWED);
        }
    }

    /// `DROP … name CASCADE` of a relation.
    pub(super) fn cascades_from(&mut self, name: &RangeVar) {
        let Some(relation) = self.resolve(name) else { return };
        let dropped = self.descendants(relation.oid);
        self.follow(dropped.into_iter().map(|oid| Cause::of(Effect::Drop, oid)).collect(), true);
        self.cascades_from_types(HashSet::new());
    }

    /// `DROP SCHEMA … CASCADE`.
    pub(super) fn cascades_from_schema(&mut self, schema: &str) {
        let catalog = self.catalog();
        if catalog.is_entangled(schema) {
            self.give_up(NOT_FOLLOWED);
        }
        let inside = catalog.relations().filter(|relation| relation.schema == schema);
        self.follow(inside.map(|relation| Cause::of(Effect::Drop, relation.oid)).collect(), true);
        let types = catalog.types().filter(|item| item.schema == schema).map(|item| item.oid);
        self.cascades_from_types(types.collect());
        self.cascades_from_functions(|own, _| own == schema);
    }

    /// `DROP TYPE … CASCADE` or `DROP DOMAIN … CASCADE`.
    pub(super) fn cascades_from_type(&mut self, object: &Node) {
        let Some(NodeEnum::TypeName(named)) = object.node.as_ref() else { return };
        let (schema, name) = names::qualified(&named.names);
        let schemas =
            if schema.is_empty() { self.search_path().to_vec() } else { vec![self.schema(&schema).to_owned()] };
        let found = schemas.iter().find_map(|schema| self.catalog().type_named(schema, &name));
        self.cascades_from_types(found.map(|item| item.oid).into_iter().collect());
    }

    /// Columns of these types, and of those of rows of what is dropped, go with them.
    fn cascades_from_types(&mut self, mut gone: HashSet<Oid>) {
        let catalog = self.catalog();
        let mut before = None;
        while before != Some(gone.len()) && self.spend_many(catalog.types().count()) {
            before = Some(gone.len());
            let dropped = self.out.relations.iter().filter(|used| used.effects.contains(Effect::Drop));
            let dropped = dropped.filter_map(|used| catalog.relation(used.oid?)).map(|relation| relation.row_type);
            gone.extend(dropped.filter(|oid| *oid != 0));
            // Arrays of them, and domains over them.
            let made_of = |item: &&Type| gone.contains(&item.element) || gone.contains(&item.base);
            let more: Vec<Oid> = catalog.types().filter(made_of).map(|item| item.oid).collect();
            gone.extend(more);
            let losing = catalog.relations().filter(|relation| !gone.contains(&relation.row_type));
            let causes: Vec<Cause> = losing.filter_map(|relation| self.loses_columns(relation, &gone)).collect();
            let composite = gone.iter().filter_map(|oid| catalog.type_of(*oid)).filter(|item| item.relation != 0);
            let composite = composite.map(|item| Cause::of(Effect::Drop, item.relation));
            self.follow(causes.into_iter().chain(composite).collect(), true);
        }
    }

    /// A view is dropped with one of its columns, and a table altered.
    fn loses_columns(&mut self, relation: &Relation, types: &HashSet<Oid>) -> Option<Cause> {
        let lost = relation.columns.iter().filter(|column| types.contains(&column.type_oid));
        let lost: Vec<i16> = lost.map(|column| column.attnum).collect();
        if lost.is_empty() || !self.spend() {
            return None;
        }
        let is_view = matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView);
        self.is_reached(relation.oid, if is_view { Effect::Drop } else { Effect::Alter });
        let whole = Cause::of(Effect::Drop, relation.oid);
        Some(if is_view { whole } else { whole.with_columns(lost) })
    }

    /// Triggers, defaults, constraints, indexes, policies and views go with the functions that they call.
    pub(super) fn cascades_from_functions(&mut self, is_gone: impl Fn(&str, &str) -> bool) {
        let catalog = self.catalog();
        let calls = |consequence: &Consequence| match consequence.what {
            SetOff::Call(oid) => catalog.user_function(oid).is_some_and(|(schema, name, _)| is_gone(schema, name)),
            SetOff::Write(..) => false,
        };
        let mut views = Vec::new();
        for relation in catalog.relations().filter(|relation| relation.consequences.iter().any(calls)) {
            let is_view = matches!(relation.kind, RelationKind::View | RelationKind::MaterializedView);
            self.is_reached(relation.oid, if is_view { Effect::Drop } else { Effect::Alter });
            views.extend(is_view.then(|| Cause::of(Effect::Drop, relation.oid)));
        }
        self.follow(views, true);
        self.cascades_from_types(HashSet::new());
    }

    /// `DROP FUNCTION … CASCADE` and its kin, whatever the arguments.
    pub(super) fn cascades_from_function(&mut self, object: &Node) {
        let Some(NodeEnum::ObjectWithArgs(named)) = object.node.as_ref() else { return };
        let (schema, name) = names::qualified(&named.objname);
        let path = self.search_path();
        self.cascades_from_functions(|own, called| {
            called == name && if schema.is_empty() { path.iter().any(|found| found == own) } else { own == schema }
        });
    }

    /// `ALTER TYPE … CASCADE` alters the tables OF the type.
    pub(super) fn cascades_to_typed_tables(&mut self, name: &RangeVar) {
        if let Some(of) = self.resolve(name) {
            self.follow(vec![Cause::of(Effect::Alter, of.oid)], true);
        }
    }

    /// A command of ALTER TABLE: what goes with a column, and what is called when rows are written or checked anew.
    pub(super) fn reaches(&mut self, name: &RangeVar, command: &AlterTableCmd) {
        let Some(relation) = self.resolve(name) else { return };
        let descendants = self.descendants(relation.oid);
        match command.subtype() {
            AlterTableType::AtDropColumn if command.behavior() == DropBehavior::DropCascade => {
                let column =
                    |oid: &Oid| self.catalog().relation(*oid)?.column_named(&command.name).map(|own| own.attnum);
                let lost = |oid: Oid| Some(Cause::of(Effect::Drop, oid).with_columns(vec![column(&oid)?]));
                let open = descendants.into_iter().filter_map(lost).collect();
                self.follow(open, true);
            }
            // Views that rest on a primary key go too; which ones do is not known.
            AlterTableType::AtDropConstraint if command.behavior() == DropBehavior::DropCascade => {
                self.follow(descendants.into_iter().map(|oid| Cause::of(Effect::Drop, oid)).collect(), true);
            }
            AlterTableType::AtAddColumn
            | AlterTableType::AtAlterColumnType
            | AlterTableType::AtValidateConstraint
            | AlterTableType::AtAttachPartition
            | AlterTableType::AtSetLogged
            | AlterTableType::AtSetUnLogged
            | AlterTableType::AtSetAccessMethod => {
                self.follow(descendants.into_iter().map(|oid| Cause::of(Effect::Alter, oid)).collect(), false);
            }
            _ => {}
        }
    }

    /// ANALYZE, REINDEX and their kin compute what is indexed.
    pub(super) fn computes_indexes(&mut self, relation: &Relation) {
        let read = self.descendants(relation.oid);
        self.follow(read.into_iter().map(|oid| Cause::of(Effect::Maintenance, oid)).collect(), false);
    }

    /// As [`Self::computes_indexes`], of all relations: a statement that names none means many.
    pub(super) fn computes_all_indexes(&mut self) {
        let is_computed = |consequence: &Consequence| consequence.on.contains(Effect::Maintenance);
        let all = self.catalog().relations().filter(|relation| relation.consequences.iter().any(is_computed));
        self.follow(all.map(|relation| Cause::of(Effect::Maintenance, relation.oid)).collect(), false);
    }
}
