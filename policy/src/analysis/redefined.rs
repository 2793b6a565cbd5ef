//! Relations that stand for something else later in the same text: `CREATE VIEW v AS SELECT * FROM customers; DELETE FROM v`.
//!
//! Never works out what they stand for then. Invariant: a statement that uses such a relation, by whatever name or through
//! whatever view, is not understood; a table that the text has made, and that only holds rows, can be used.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableType, Constraint, CreateStmt, CreateTrigStmt, RangeVar};

use super::NotUnderstood;
use super::walker::{Changed, Walker};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// What a definition does to a relation, and not to what is in it or behind it.
const DEFINING: Effects = Effects::of(&[
    Effect::Create,
    Effect::Alter,
    Effect::Drop,
    Effect::Grant,
    Effect::Revoke,
    Effect::Comment,
    Effect::SecurityLabel,
]);

/// What row security is asked for.
const ROWS: Effects = Effects::of(&[
    Effect::Select,
    Effect::CopyOut,
    Effect::Insert,
    Effect::Update,
    Effect::Delete,
    Effect::Merge,
    Effect::CopyIn,
]);

/// The bits of `CreateTrigStmt.events`, from PostgreSQL's `catalog/pg_trigger.h`, and the effects that fire them.
const TRIGGER_EVENTS: [(i32, Effects); 4] = [
    // An update that moves a row to another partition deletes and inserts.
    (1 << 2, Effects::of(&[Effect::Insert, Effect::Merge, Effect::CopyIn, Effect::Update])),
    (1 << 3, Effects::of(&[Effect::Delete, Effect::Merge, Effect::Update])),
    (1 << 4, Effects::of(&[Effect::Update, Effect::Merge])),
    (1 << 5, Effects::of(&[Effect::Truncate])),
];

impl Walker<'_> {
    /// What the statement at hand uses must be what the catalog says.
    pub(super) fn check_redefined(&mut self) {
        let only_defines = std::mem::take(&mut self.overlay.only_defines);
        self.check_expressions(only_defines);
        let affects = |name: &str| self.overlay.redefined.get(name).copied().unwrap_or(Effects::NONE);
        let affected =
            |used: &super::RelationUse| used.effects.without(DEFINING).intersects(affects(used.name.name.as_str()));
        let is_affected = !only_defines && self.out.relations.iter().any(affected);
        let names = !(self.out.relations.is_empty() && self.out.functions.is_empty());
        if is_affected || (names && self.overlay.schema_renamed) {
            self.give_up(NotUnderstood::Other("what a relation stands for is defined earlier in the text"));
        }
        for (name, effects) in std::mem::take(&mut self.overlay.redefining) {
            self.overlay.redefined.entry(name).or_insert(Effects::NONE).extend(effects);
        }
        self.overlay.schema_renamed |= std::mem::take(&mut self.overlay.schema_renaming);
    }

    /// From the next statement on, a use with these effects does more than the catalog says.
    pub(super) fn redefines(&mut self, name: &RangeVar, effects: Effects) {
        self.overlay.redefining.push((name.relname.clone(), effects));
    }

    /// The same for whatever uses what is in it, or behind it.
    pub(super) fn redefines_all(&mut self, name: &RangeVar) {
        self.redefines(name, Effects::of(Effect::ALL).without(DEFINING));
    }

    /// The same for whoever reads or writes its rows, unless the text has made it: policies do not bind its owner.
    pub(super) fn redefines_rows(&mut self, name: &RangeVar) {
        if !self.is_plain_and_new(name) {
            self.redefines(name, ROWS);
        }
    }

    /// What is to fire on the relation from now on.
    pub(super) fn redefines_events(&mut self, trigger: &CreateTrigStmt) {
        let Some(name) = &trigger.relation else { return };
        let mut firing = Effects::NONE;
        for (_, effects) in TRIGGER_EVENTS.iter().filter(|(event, _)| trigger.events & event != 0) {
            firing.extend(*effects);
        }
        self.redefines(name, firing);
    }

    /// The use of a child is a use of its parents.
    pub(super) fn redefines_child(&mut self, create: &CreateStmt) {
        let Some(child) = &create.relation else { return };
        let parents = create.inh_relations.iter().filter_map(|parent| match parent.node.as_ref() {
            Some(NodeEnum::RangeVar(parent)) => Some(parent),
            _ => None,
        });
        if parents.into_iter().any(|parent| !self.is_plain_and_new(parent)) {
            self.redefines_all(child);
        }
    }

    /// A command of ALTER TABLE after which other statements do something else.
    pub(super) fn redefines_by(&mut self, name: &RangeVar, command: &AlterTableCmd) {
        let definition = command.def.as_deref().and_then(|node| node.node.as_ref());
        match (command.subtype(), definition) {
            (AlterTableType::AtAddInherit, Some(NodeEnum::RangeVar(parent))) => self.joins(name, parent),
            (AlterTableType::AtAttachPartition, Some(NodeEnum::PartitionCmd(partition))) => {
                if let Some(child) = &partition.name {
                    self.joins(child, name);
                }
            }
            (_, Some(NodeEnum::Constraint(constraint))) => self.refers(name, constraint),
            (_, Some(NodeEnum::ColumnDef(column))) => {
                for constraint in &column.constraints {
                    if let Some(NodeEnum::Constraint(constraint)) = constraint.node.as_ref() {
                        self.refers(name, constraint);
                    }
                }
            }
            (
                AlterTableType::AtEnableTrig
                | AlterTableType::AtEnableAlwaysTrig
                | AlterTableType::AtEnableReplicaTrig
                | AlterTableType::AtEnableTrigAll
                | AlterTableType::AtEnableTrigUser
                | AlterTableType::AtEnableRule
                | AlterTableType::AtEnableAlwaysRule
                | AlterTableType::AtEnableReplicaRule,
                _,
            ) => self.redefines(name, Effects::WRITES),
            (AlterTableType::AtEnableRowSecurity, _) => self.redefines_rows(name),
            (AlterTableType::AtForceRowSecurity, _) => self.redefines(name, ROWS),
            _ => {}
        }
    }

    fn joins(&mut self, child: &RangeVar, parent: &RangeVar) {
        let child_is_new = self.is_plain_and_new(child);
        if !self.is_plain_and_new(parent) {
            self.redefines_all(child);
        }
        if !child_is_new {
            self.redefines_all(parent);
        }
    }

    /// A foreign key whose actions change the rows that refer to another table.
    fn refers(&mut self, name: &RangeVar, constraint: &Constraint) {
        let Some(referred) = constraint.pktable.as_ref().filter(|_| !self.is_plain_and_new(name)) else { return };
        let acts = |action: &str| matches!(action, "c" | "n" | "d");
        let mut effects = Effects::of(&[Effect::Truncate]);
        if acts(&constraint.fk_del_action) {
            effects.extend(Effects::of(&[Effect::Delete, Effect::Merge]));
        }
        if acts(&constraint.fk_upd_action) {
            effects.extend(Effects::of(&[Effect::Update, Effect::Merge]));
        }
        self.redefines(referred, effects);
    }

    /// Whether the text has made the table, and nothing else has to do with it.
    fn is_plain_and_new(&mut self, name: &RangeVar) -> bool {
        let overlay = &self.overlay;
        overlay.relations.get(&name.relname) == Some(&Changed::Created)
            && !overlay.redefined.contains_key(&name.relname)
            && !overlay.redefining.iter().any(|(known, _)| *known == name.relname)
            && self.resolve(name).is_none()
    }

    /// Whether rows of the relation go or change with others that the text has connected with it.
    pub(super) fn is_redefined(&self, name: &str) -> bool {
        self.overlay.redefined.contains_key(name)
    }

    /// Remembers that a relation is not what the catalog says any more.
    pub(super) fn changed(&mut self, name: &str, change: Changed) {
        let known = self.overlay.relations.entry(name.to_owned()).or_insert(change);
        if *known != Changed::Gone {
            *known = change;
        }
        if change == Changed::Gone {
            self.overlay.dropped.remove(name);
        }
    }

    /// Remembers a DROP, after which the name is free.
    pub(super) fn dropped(&mut self, name: &RangeVar) {
        let full = self.resolve(name).map(|found| QualifiedName::new(&found.schema, &found.name));
        let known = self.overlay.relations.get(&name.relname).copied();
        let first = match known {
            Some(Changed::Gone) => self.overlay.dropped.get(&name.relname) == Some(&full),
            // There is none that could be another one.
            None if full.is_none() => return,
            Some(Changed::Created | Changed::Altered) | None => true,
        };
        self.changed(&name.relname, Changed::Gone);
        if first {
            self.overlay.dropped.insert(name.relname.clone(), full);
        }
    }

    /// Remembers that the text makes a relation of that name.
    pub(super) fn made(&mut self, full: &QualifiedName) {
        let freed = match self.overlay.dropped.get(&full.name) {
            Some(dropped) => dropped.as_ref().is_none_or(|dropped| dropped == full),
            None => false,
        };
        if freed {
            self.overlay.dropped.remove(&full.name);
            self.overlay.relations.remove(&full.name);
        }
        self.changed(&full.name, Changed::Created);
    }

    /// Whether the text has dropped the relation, and no other one of that name can be meant.
    pub(super) fn is_dropped(&mut self, name: &RangeVar) -> bool {
        let Some(dropped) = self.overlay.dropped.get(&name.relname).cloned() else { return false };
        let path = self.search_path();
        let written = [self.schema(&name.schemaname).to_owned()];
        let schemas = if name.schemaname.is_empty() { &path[..] } else { &written[..] };
        let mut found = schemas.iter().filter_map(|schema| self.catalog().relation_named(schema, &name.relname));
        found.all(|found| Some(QualifiedName::new(&found.schema, &found.name)) == dropped)
    }
}
