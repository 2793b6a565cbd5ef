//! Data definition: CREATE, ALTER, DROP, GRANT and their kin.
//!
//! Never analyses the body of a function that is created; calling it is `function_call` later. Invariant: every statement
//! here changes the catalog, and names of relations it changes count as changed for the rest of the text.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableStmt, DropBehavior, DropStmt, GrantStmt, GrantTargetType, Node, ObjectType, RangeVar, RenameStmt,
};
use pg_query::protobuf::{RuleStmt, ViewStmt};

use super::walker::{Changed, Walker};
use super::{NotUnderstood, SessionChange, names, settings};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

impl Walker<'_> {
    pub(super) fn definition_statement(&mut self, kind: &NodeEnum) {
        self.changes(SessionChange::Catalog);
        self.changes_roles(kind);
        match kind {
            NodeEnum::DropStmt(drop) => self.drop(drop),
            NodeEnum::TruncateStmt(truncate) => {
                self.effect(Effect::Truncate);
                self.touch_all(&truncate.relations, Effect::Truncate);
                self.truncates(truncate);
            }
            NodeEnum::AlterTableStmt(alter) => self.alter_table(alter),
            NodeEnum::RenameStmt(rename) => self.rename(rename),
            NodeEnum::GrantStmt(grant) => self.grant(grant),
            NodeEnum::GrantRoleStmt(grant) => self.effect(if grant.is_grant { Effect::Grant } else { Effect::Revoke }),
            NodeEnum::AlterDefaultPrivilegesStmt(alter) => match &alter.action {
                Some(action) => self.effect(if action.is_grant { Effect::Grant } else { Effect::Revoke }),
                None => self.give_up(NotUnderstood::Node("AlterDefaultPrivilegesStmt")),
            },
            NodeEnum::CommentStmt(comment) => {
                self.effect(Effect::Comment);
                self.described(comment.objtype(), comment.object.as_deref(), Effect::Comment);
            }
            NodeEnum::SecLabelStmt(label) => {
                self.effect(Effect::SecurityLabel);
                self.described(label.objtype(), label.object.as_deref(), Effect::SecurityLabel);
            }
            NodeEnum::ViewStmt(view) => self.create_view(view),
            NodeEnum::RuleStmt(rule) => self.create_rule(rule),
            NodeEnum::AlterObjectSchemaStmt(alter) => {
                self.effect(Effect::Alter);
                if alter.missing_ok && alter.relation.as_ref().is_some_and(|name| self.resolve(name).is_none()) {
                    return self.absent(alter.relation.as_ref(), Effect::Alter);
                }
                self.moved_with(alter.object_type(), alter.relation.as_ref());
                self.altered(alter.relation.as_ref(), alter.object_type(), Changed::Gone);
                if let Some(NodeEnum::ObjectWithArgs(moved)) =
                    alter.object.as_deref().and_then(|node| node.node.as_ref())
                {
                    self.overlay.functions.extend(names::texts(&moved.objname).pop());
                }
            }
            NodeEnum::AlterOwnerStmt(alter) => {
                self.effect(Effect::Alter);
                self.altered(alter.relation.as_ref(), alter.object_type(), Changed::Altered);
            }
            NodeEnum::AlterObjectDependsStmt(alter) => {
                self.effect(Effect::Alter);
                self.altered(alter.relation.as_ref(), alter.object_type(), Changed::Altered);
            }
            NodeEnum::AlterSeqStmt(alter) => {
                self.effect(Effect::Alter);
                if alter.missing_ok && alter.sequence.as_ref().is_some_and(|name| self.resolve(name).is_none()) {
                    return self.absent(alter.sequence.as_ref(), Effect::Alter);
                }
                self.altered(alter.sequence.as_ref(), ObjectType::ObjectSequence, Changed::Altered);
            }
            NodeEnum::AlterPolicyStmt(alter) => {
                self.effect(Effect::Alter);
                self.altered(alter.table.as_ref(), ObjectType::ObjectTable, Changed::Altered);
                self.policy(alter.table.as_ref(), [alter.qual.as_deref(), alter.with_check.as_deref()]);
            }
            NodeEnum::DropOwnedStmt(_) => {
                self.effect(Effect::Drop);
                self.effect(Effect::Revoke);
                self.give_up(NotUnderstood::Other("DROP OWNED does not name what it drops"));
            }
            other => self.create_or_alter(other),
        }
    }

    fn drop(&mut self, drop: &DropStmt) {
        self.effect(Effect::Drop);
        let cascades = drop.behavior() == DropBehavior::DropCascade;
        for object in &drop.objects {
            let list = match object.node.as_ref() {
                Some(NodeEnum::List(list)) => list.items.as_slice(),
                Some(_) => std::slice::from_ref(object),
                None => &[],
            };
            match drop.remove_type() {
                ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectForeignTable
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex => {
                    let name = names::range_var(list);
                    self.touch_if(&name, Effects::of(&[Effect::Drop]), drop.missing_ok);
                    if cascades {
                        if self.is_redefined(&name.relname) {
                            self.give_up(NotUnderstood::Other(
                                "what depends on a relation is defined earlier in the text",
                            ));
                        }
                        self.cascades_from(&name);
                    }
                    self.dropped(&name);
                }
                ObjectType::ObjectTrigger | ObjectType::ObjectRule | ObjectType::ObjectPolicy => {
                    let (_, relation) = list.split_last().unwrap_or((object, &[]));
                    self.touch_if(&names::range_var(relation), Effects::of(&[Effect::Drop]), drop.missing_ok);
                }
                ObjectType::ObjectSchema => {
                    self.drop_schema(names::texts(list).last().map_or("", String::as_str), cascades);
                }
                ObjectType::ObjectType | ObjectType::ObjectDomain if cascades => self.cascades_from_type(object),
                ObjectType::ObjectFunction | ObjectType::ObjectRoutine | ObjectType::ObjectAggregate if cascades => {
                    self.cascades_from_function(object);
                }
                other if cascades => self.cascades_from_other(other),
                _ => {}
            }
        }
    }

    /// The relations of a schema go with it.
    fn drop_schema(&mut self, schema: &str, cascades: bool) {
        if cascades {
            self.cascades_from_schema(schema);
        }
        let inside: Vec<_> = self.catalog().relations().filter(|relation| relation.schema == schema).collect();
        for relation in inside {
            self.touch_resolved(relation, Effects::of(&[Effect::Drop]));
            self.dropped(&RangeVar {
                schemaname: relation.schema.clone(),
                relname: relation.name.clone(),
                ..RangeVar::default()
            });
        }
        self.changes(SessionChange::SearchPath);
        self.overlay.path_changed = true;
    }

    fn alter_table(&mut self, alter: &AlterTableStmt) {
        self.effect(Effect::Alter);
        let cascades = |node: &Node| match node.node.as_ref() {
            Some(NodeEnum::AlterTableCmd(command)) => command.behavior() == DropBehavior::DropCascade,
            _ => false,
        };
        match (alter.objtype(), alter.relation.as_ref()) {
            (ObjectType::ObjectType, Some(name)) if alter.cmds.iter().any(cascades) => {
                self.cascades_to_typed_tables(name)
            }
            (ObjectType::ObjectType, _) => {}
            (_, Some(name)) => {
                self.touch_if(name, Effects::of(&[Effect::Alter]), alter.missing_ok);
                self.mark_altered(&name.relname);
            }
            (_, None) => self.give_up(NotUnderstood::Node("AlterTableStmt")),
        }
        for command in &alter.cmds {
            match command.node.as_ref() {
                Some(NodeEnum::AlterTableCmd(command)) => {
                    if let Some(name) = alter.relation.as_ref() {
                        self.alters(name, command);
                        self.redefines_by(name, command);
                        self.reaches(name, command);
                        if let Some(added) = command.def.as_deref() {
                            self.addition_tells(name, added);
                        }
                    }
                    self.converts_rows(command);
                    if let Some(definition) = command.def.as_deref() {
                        self.element(definition, Effect::Alter);
                    }
                }
                _ => self.give_up(NotUnderstood::Node("AlterTableCmd")),
            }
        }
    }

    pub(super) fn mark_altered(&mut self, name: &str) {
        if self.overlay.relations.get(name) != Some(&Changed::Created) {
            self.changed(name, Changed::Altered);
        }
    }

    fn rename(&mut self, rename: &RenameStmt) {
        self.effect(Effect::Alter);
        self.renames(rename);
        let Some(name) = rename.relation.as_ref() else {
            // A function may be called by its new name later in the text.
            self.overlay.functions.push(rename.newname.clone());
            if rename.rename_type() == ObjectType::ObjectSchema {
                self.changes(SessionChange::SearchPath);
                self.overlay.path_changed = true;
                self.overlay.schema_renaming = true;
            }
            return;
        };
        self.touch_if(name, Effects::of(&[Effect::Alter]), rename.missing_ok);
        if rename.behavior() == DropBehavior::DropCascade {
            self.cascades_to_typed_tables(name);
        }
        let whole = matches!(
            rename.rename_type(),
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectForeignTable
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
        );
        if whole {
            let is_new =
                self.overlay.relations.get(&name.relname) == Some(&Changed::Created) && self.resolve(name).is_none();
            self.changed(&name.relname, Changed::Gone);
            match is_new {
                true => {
                    if self.is_redefined(&name.relname) {
                        self.redefines_all(&RangeVar { relname: rename.newname.clone(), ..RangeVar::default() });
                    }
                    let full = self.new_name(name);
                    self.made(&QualifiedName::new(full.schema, &rename.newname));
                }
                // It is the old one that is meant by the new name.
                false => self.changed(&rename.newname, Changed::Gone),
            }
        } else {
            self.mark_altered(&name.relname);
        }
    }

    /// ALTER of an object that may be a relation.
    fn altered(&mut self, relation: Option<&RangeVar>, kind: ObjectType, change: Changed) {
        if let Some(name) = relation {
            self.touch(name, Effects::of(&[Effect::Alter]));
            if change == Changed::Gone {
                self.changed(&name.relname, change);
            } else {
                self.mark_altered(&name.relname);
            }
        } else if kind == ObjectType::ObjectSchema {
            self.changes(SessionChange::SearchPath);
            self.overlay.path_changed = true;
        }
    }

    fn grant(&mut self, grant: &GrantStmt) {
        let effect = if grant.is_grant { Effect::Grant } else { Effect::Revoke };
        self.effect(effect);
        let on_relations = matches!(grant.objtype(), ObjectType::ObjectTable | ObjectType::ObjectSequence);
        match grant.targtype() {
            GrantTargetType::AclTargetObject if on_relations => self.touch_all(&grant.objects, effect),
            GrantTargetType::AclTargetAllInSchema if on_relations => {
                let schemas = names::texts(&grant.objects);
                let inside: Vec<_> =
                    self.catalog().relations().filter(|relation| schemas.contains(&relation.schema)).collect();
                for relation in inside {
                    self.touch_resolved(relation, Effects::of(&[effect]));
                }
            }
            GrantTargetType::AclTargetObject
            | GrantTargetType::AclTargetAllInSchema
            | GrantTargetType::AclTargetDefaults => {}
            GrantTargetType::Undefined => self.give_up(NotUnderstood::Node("GrantStmt")),
        }
    }

    /// The relation that COMMENT or SECURITY LABEL is about.
    fn described(&mut self, kind: ObjectType, object: Option<&Node>, effect: Effect) {
        let Some(NodeEnum::List(list)) = object.and_then(|node| node.node.as_ref()) else { return };
        let relation = match kind {
            ObjectType::ObjectTable
            | ObjectType::ObjectView
            | ObjectType::ObjectMatview
            | ObjectType::ObjectForeignTable
            | ObjectType::ObjectSequence
            | ObjectType::ObjectIndex => list.items.as_slice(),
            ObjectType::ObjectColumn
            | ObjectType::ObjectTabconstraint
            | ObjectType::ObjectTrigger
            | ObjectType::ObjectRule
            | ObjectType::ObjectPolicy => list.items.split_last().map_or(&[][..], |(_, relation)| relation),
            _ => return,
        };
        self.touch(&names::range_var(relation), Effects::of(&[effect]));
    }

    fn create_view(&mut self, view: &ViewStmt) {
        if let Some(query) = view.query.as_deref() {
            // What another view of the text reads was noted with that one, and nothing is read yet.
            let inner = self.apart(|walker| {
                let outputs = walker.statement(query);
                walker.overlay.only_defines = true;
                outputs
            });
            self.overlay.only_defines = true;
            self.include_reads(&inner, Effects::NONE);
            self.reads(&inner.reads);
        }
        match &view.view {
            Some(name) => {
                self.create_relation(name);
                self.redefines_all(name);
            }
            None => self.give_up(NotUnderstood::Node("ViewStmt")),
        }
    }

    fn create_rule(&mut self, rule: &RuleStmt) {
        self.effect(Effect::Create);
        if let Some(name) = &rule.relation {
            self.touch(name, Effects::of(&[Effect::Create]));
        }
        for action in &rule.actions {
            let inner = self.apart(|walker| walker.statement(action));
            self.include_reads(&inner, Effects::NONE);
            // It will run with every statement on the relation.
            self.stores(&inner.stores);
            self.reads(&inner.reads);
        }
        self.overlay.reaches_function = false;
        if let Some(name) = &rule.relation {
            // Later statements of the text would be rewritten by the new rule.
            self.redefines_all(name);
        }
    }

    /// SET clauses of CREATE FUNCTION and ALTER FUNCTION, among their other options.
    pub(super) fn set_clauses(&mut self, options: &[Node]) {
        for option in options {
            if let Some(NodeEnum::DefElem(option)) = &option.node
                && let Some(NodeEnum::VariableSetStmt(set)) = option.arg.as_ref().and_then(|arg| arg.node.as_ref())
            {
                self.default_setting(Some(set));
            }
        }
    }

    /// SET clauses of ALTER ROLE, ALTER DATABASE and ALTER SYSTEM.
    pub(super) fn default_setting(&mut self, set: Option<&pg_query::protobuf::VariableSetStmt>) {
        if let Some(set) = set
            && !matches!(settings::classify(&set.name, None), settings::Kind::Harmless | settings::Kind::OfTheProxy)
        {
            self.effect(Effect::SetDangerous);
        }
    }
}
