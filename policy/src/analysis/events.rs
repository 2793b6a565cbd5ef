//! Event triggers: which of them a statement fires.
//!
//! Never asks what their functions do inside. Invariant: a statement that is not known never to fire event triggers fires
//! those for its command tag, and all of them when its tag is not known ("Event Trigger Firing Matrix" of the manual).

use pg_query::NodeEnum;
use pg_query::protobuf::{CreateTableAsStmt, GrantStmt, ObjectType};

use super::NotUnderstood;
use super::walker::Walker;
use crate::catalog::EventTrigger;

/// How event triggers see a statement.
#[derive(Debug, PartialEq, Eq)]
enum Firing {
    /// Objects of the server, event triggers themselves, and what is no definition.
    Never,
    /// It fires those for this tag.
    Tag(String),
    /// Other commands may run inside it, or its tag is not known here.
    Any,
}

impl Walker<'_> {
    /// Records the functions of the event triggers that the statement fires.
    pub(super) fn fires(&mut self, kind: &NodeEnum) {
        let catalog = self.context.catalog;
        if catalog.event_triggers().is_empty() && !self.overlay.event_trigger {
            return;
        }
        let firing = firing(kind, catalog.server_major());
        if self.overlay.event_trigger && firing != Firing::Never {
            self.give_up(NotUnderstood::Other("an event trigger is made earlier in the text"));
        }
        for trigger in catalog.event_triggers().iter().filter(|trigger| is_fired(trigger, &firing)) {
            self.is_called(trigger.function);
        }
    }
}

fn is_fired(trigger: &EventTrigger, firing: &Firing) -> bool {
    let tag = match firing {
        Firing::Never => return false,
        Firing::Any => return trigger.event != "login",
        Firing::Tag(tag) => tag.as_str(),
    };
    let happens = match trigger.event.as_str() {
        "sql_drop" => tag.starts_with("DROP ") || tag.starts_with("ALTER "),
        "table_rewrite" => tag.starts_with("ALTER "),
        // Fires when a session begins.
        "login" => false,
        _ => true,
    };
    happens && (trigger.tags.is_empty() || trigger.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)))
}

fn firing(kind: &NodeEnum, server_major: u32) -> Firing {
    let tag = |tag: &str| Firing::Tag(tag.to_owned());
    match kind {
        NodeEnum::TruncateStmt(_)
        | NodeEnum::GrantRoleStmt(_)
        | NodeEnum::CreateRoleStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterRoleSetStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::ReassignOwnedStmt(_)
        | NodeEnum::CreatedbStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_)
        | NodeEnum::AlterDatabaseRefreshCollStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::CreateTableSpaceStmt(_)
        | NodeEnum::AlterTableSpaceOptionsStmt(_)
        | NodeEnum::DropTableSpaceStmt(_)
        | NodeEnum::AlterSystemStmt(_)
        | NodeEnum::CreateEventTrigStmt(_)
        | NodeEnum::AlterEventTrigStmt(_) => Firing::Never,
        NodeEnum::ReindexStmt(_) if (1..17).contains(&server_major) => Firing::Never,
        NodeEnum::ReindexStmt(_) => tag("REINDEX"),
        // CONCURRENTLY makes and drops a temporary table by statements of its own.
        NodeEnum::RefreshMatViewStmt(refresh) if refresh.concurrent => Firing::Any,
        NodeEnum::RefreshMatViewStmt(_) => tag("REFRESH MATERIALIZED VIEW"),
        NodeEnum::DropStmt(drop) => on("DROP", drop.remove_type()),
        NodeEnum::GrantStmt(grant) => granted(grant),
        NodeEnum::CommentStmt(comment) => about("COMMENT", comment.objtype()),
        NodeEnum::SecLabelStmt(label) => about("SECURITY LABEL", label.objtype()),
        NodeEnum::SelectStmt(_) => tag("SELECT INTO"),
        NodeEnum::CreateTableAsStmt(create) => table_as(create),
        NodeEnum::DefineStmt(define) => on("CREATE", define.kind()),
        NodeEnum::AlterDefaultPrivilegesStmt(_) => tag("ALTER DEFAULT PRIVILEGES"),
        _ => created(kind).map_or_else(|| altered(kind), tag),
    }
}

fn altered(kind: &NodeEnum) -> Firing {
    match kind {
        NodeEnum::AlterTableStmt(alter) => on("ALTER", alter.objtype()),
        NodeEnum::AlterTableMoveAllStmt(alter) => on("ALTER", alter.objtype()),
        NodeEnum::AlterOwnerStmt(alter) => on("ALTER", alter.object_type()),
        NodeEnum::AlterObjectSchemaStmt(alter) => on("ALTER", alter.object_type()),
        NodeEnum::AlterObjectDependsStmt(alter) => on("ALTER", alter.object_type()),
        NodeEnum::AlterFunctionStmt(alter) => on("ALTER", alter.objtype()),
        NodeEnum::AlterSeqStmt(_) => on("ALTER", ObjectType::ObjectSequence),
        NodeEnum::AlterPolicyStmt(_) => on("ALTER", ObjectType::ObjectPolicy),
        NodeEnum::AlterDomainStmt(_) => on("ALTER", ObjectType::ObjectDomain),
        NodeEnum::AlterEnumStmt(_) => on("ALTER", ObjectType::ObjectType),
        // A column is renamed by the ALTER of what it belongs to.
        NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectColumn => {
            on("ALTER", rename.relation_type())
        }
        NodeEnum::RenameStmt(rename) => on("ALTER", rename.rename_type()),
        _ => Firing::Any,
    }
}

/// The tags of what makes something without running other commands.
fn created(kind: &NodeEnum) -> Option<&'static str> {
    Some(match kind {
        NodeEnum::CreateStmt(_) => "CREATE TABLE",
        // Its elements are parts of it.
        NodeEnum::CreateSchemaStmt(_) => "CREATE SCHEMA",
        NodeEnum::CreateSeqStmt(_) => "CREATE SEQUENCE",
        NodeEnum::CompositeTypeStmt(_) | NodeEnum::CreateEnumStmt(_) | NodeEnum::CreateRangeStmt(_) => "CREATE TYPE",
        NodeEnum::CreateDomainStmt(_) => "CREATE DOMAIN",
        NodeEnum::IndexStmt(_) => "CREATE INDEX",
        NodeEnum::ViewStmt(_) => "CREATE VIEW",
        NodeEnum::RuleStmt(_) => "CREATE RULE",
        NodeEnum::CreateTrigStmt(_) => "CREATE TRIGGER",
        NodeEnum::CreatePolicyStmt(_) => "CREATE POLICY",
        NodeEnum::CreateStatsStmt(_) => "CREATE STATISTICS",
        NodeEnum::CreateFunctionStmt(create) if create.is_procedure => "CREATE PROCEDURE",
        NodeEnum::CreateFunctionStmt(_) => "CREATE FUNCTION",
        _ => return None,
    })
}

fn table_as(create: &CreateTableAsStmt) -> Firing {
    let tag = match create.objtype() {
        ObjectType::ObjectMatview => "CREATE MATERIALIZED VIEW",
        _ => "CREATE TABLE AS",
    };
    Firing::Tag(tag.to_owned())
}

fn granted(grant: &GrantStmt) -> Firing {
    about(if grant.is_grant { "GRANT" } else { "REVOKE" }, grant.objtype())
}

/// A statement with that tag, unless it is about an object of the server.
fn about(tag: &str, kind: ObjectType) -> Firing {
    if is_shared(kind) { Firing::Never } else { Firing::Tag(tag.to_owned()) }
}

fn is_shared(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::ObjectDatabase
            | ObjectType::ObjectTablespace
            | ObjectType::ObjectRole
            | ObjectType::ObjectParameterAcl
            | ObjectType::ObjectEventTrigger
    )
}

/// CREATE, DROP or ALTER of an object of that kind.
fn on(verb: &str, kind: ObjectType) -> Firing {
    let name = match kind {
        shared if is_shared(shared) => return Firing::Never,
        ObjectType::ObjectTable | ObjectType::ObjectTabconstraint => "TABLE",
        ObjectType::ObjectView => "VIEW",
        ObjectType::ObjectMatview => "MATERIALIZED VIEW",
        ObjectType::ObjectForeignTable => "FOREIGN TABLE",
        ObjectType::ObjectSequence => "SEQUENCE",
        ObjectType::ObjectIndex => "INDEX",
        ObjectType::ObjectSchema => "SCHEMA",
        ObjectType::ObjectType | ObjectType::ObjectAttribute => "TYPE",
        ObjectType::ObjectDomain | ObjectType::ObjectDomconstraint => "DOMAIN",
        ObjectType::ObjectAggregate => "AGGREGATE",
        ObjectType::ObjectOperator => "OPERATOR",
        ObjectType::ObjectCollation => "COLLATION",
        ObjectType::ObjectFunction => "FUNCTION",
        ObjectType::ObjectProcedure => "PROCEDURE",
        ObjectType::ObjectTrigger => "TRIGGER",
        ObjectType::ObjectRule => "RULE",
        ObjectType::ObjectPolicy => "POLICY",
        ObjectType::ObjectStatisticExt => "STATISTICS",
        _ => return Firing::Any,
    };
    Firing::Tag(format!("{verb} {name}"))
}
