//! Definitions that carry stored values to another name: masks are configured by name, and would not find them there.
//!
//! Never asks whether another mask fits the new name. Invariant: a definition after which stored values are read under
//! another name, or by somebody who is not asked, is part of [`super::StatementAnalysis::stores`].

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableType, Node, ObjectType, RangeVar, RenameStmt};

use super::Lineage;
use super::lineage::{Level, Scope};
use super::walker::Walker;

const ELSEWHERE: Lineage = Lineage::Unknown("it connects to where masks do not reach");

impl Walker<'_> {
    /// Everything that is in the relation.
    pub(super) fn moves_relation(&mut self, name: Option<&RangeVar>) {
        if let Some(relation) = name.and_then(|name| self.resolve(name)) {
            self.stores(&Lineage::of(relation.oid, 0));
        }
    }

    /// One column of the relation, and of those that inherit it.
    fn moves_column(&mut self, name: &RangeVar, column: &str) {
        let Some(relation) = self.resolve(name) else { return };
        let mut moved = Lineage::CLEAR;
        for oid in self.descendants(relation.oid) {
            let known = self.catalog().relation(oid).and_then(|relation| relation.column_named(column));
            if let Some(known) = known {
                moved.absorb(&Lineage::of(oid, known.attnum));
            }
        }
        self.stores(&moved);
    }

    /// Everything that is in the relations of a schema.
    pub(super) fn moves_schema(&mut self, schema: &str) {
        let inside: Vec<_> = self.catalog().relations().filter(|relation| relation.schema == schema).collect();
        inside.into_iter().for_each(|relation| self.stores(&Lineage::of(relation.oid, 0)));
    }

    pub(super) fn renames(&mut self, rename: &RenameStmt) {
        match (rename.rename_type(), rename.relation.as_ref()) {
            (ObjectType::ObjectColumn, Some(name)) => self.moves_column(name, &rename.subname),
            (ObjectType::ObjectSchema, _) => self.moves_schema(&rename.subname),
            (
                ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectForeignTable,
                name,
            ) => self.moves_relation(name),
            // Names of other objects are no part of a mask.
            _ => {}
        }
    }

    /// A command of ALTER TABLE.
    pub(super) fn alters(&mut self, name: &RangeVar, command: &AlterTableCmd) {
        match command.subtype() {
            AlterTableType::AtAlterColumnType => {
                let converted = match command.def.as_deref().and_then(|node| node.node.as_ref()) {
                    Some(NodeEnum::ColumnDef(column)) => column.raw_default.as_deref(),
                    _ => None,
                };
                self.converts(name, &command.name, converted);
            }
            // The column keeps what was computed, and is an ordinary one from then on.
            AlterTableType::AtDropExpression => self.moves_column(name, &command.name),
            // What a mask says of the parent holds for its children only as long as they are.
            AlterTableType::AtDropInherit => self.moves_relation(Some(name)),
            AlterTableType::AtDetachPartition | AlterTableType::AtDetachPartitionFinalize => {
                match command.def.as_deref().and_then(|node| node.node.as_ref()) {
                    Some(NodeEnum::PartitionCmd(partition)) => self.moves_relation(partition.name.as_ref()),
                    _ => self.moves_relation(Some(name)),
                }
            }
            _ => {}
        }
    }

    /// `ALTER COLUMN … TYPE … USING expression` writes other columns into this one.
    fn converts(&mut self, name: &RangeVar, column: &str, expression: Option<&Node>) {
        let (Some(expression), Some(relation)) = (expression, self.resolve(name)) else { return };
        let source = self.source_of(relation);
        let own = source.columns.named(column);
        let scope = Scope { level: Level::of(source), ..Scope::default() };
        let value = self.expression(expression, &scope);
        if own.as_ref() != Some(&value) {
            self.stores(&value);
        }
    }

    /// A server, a foreign table or a publication: what is read or sent there goes past the masks.
    pub(super) fn connects(&mut self, kind: &NodeEnum) {
        let connects = matches!(
            kind,
            NodeEnum::CreateForeignTableStmt(_)
                | NodeEnum::CreateForeignServerStmt(_)
                | NodeEnum::AlterForeignServerStmt(_)
                | NodeEnum::CreateUserMappingStmt(_)
                | NodeEnum::AlterUserMappingStmt(_)
                | NodeEnum::ImportForeignSchemaStmt(_)
                | NodeEnum::CreatePublicationStmt(_)
                | NodeEnum::AlterPublicationStmt(_)
                | NodeEnum::CreateSubscriptionStmt(_)
                | NodeEnum::AlterSubscriptionStmt(_)
        );
        if connects {
            self.stores(&ELSEWHERE);
        }
    }

    /// ALTER … SET SCHEMA.
    pub(super) fn moved_with(&mut self, object: ObjectType, name: Option<&RangeVar>) {
        let holds_values = matches!(
            object,
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectForeignTable
        );
        if holds_values {
            self.moves_relation(name);
        }
    }
}
