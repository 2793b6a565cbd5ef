//! Roles that a statement changes, drops or takes things from.
//!
//! Never asks what becomes of them. Invariant: a role that cannot be named counts as every one.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ObjectType, RoleSpec, RoleSpecType};

use super::walker::Walker;

/// A role that a statement changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedRole {
    /// The one of that name.
    Named(String),
    /// The one that the session has chosen, or has logged in as.
    Own,
    /// All there are.
    Every,
}

impl Walker<'_> {
    /// Notes roles that it changes: what they may, how they log in, what is set for them, what they are called, and whether
    /// they are there and have anything.
    pub(super) fn changes_roles(&mut self, kind: &NodeEnum) {
        match kind {
            NodeEnum::AlterRoleStmt(alter) => self.changes_role(role(alter.role.as_ref())),
            NodeEnum::AlterRoleSetStmt(alter) => self.changes_role(role(alter.role.as_ref())),
            NodeEnum::DropRoleStmt(drop) => self.changes_listed(&drop.roles),
            NodeEnum::DropOwnedStmt(drop) => self.changes_listed(&drop.roles),
            NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectRole => {
                self.changes_role(ChangedRole::Named(rename.subname.clone()));
            }
            _ => {}
        }
    }

    fn changes_listed(&mut self, roles: &[Node]) {
        for listed in roles {
            let spec = match listed.node.as_ref() {
                Some(NodeEnum::RoleSpec(spec)) => Some(spec),
                _ => None,
            };
            self.changes_role(role(spec));
        }
    }

    pub(super) fn changes_role(&mut self, role: ChangedRole) {
        if !self.out.changed_roles.contains(&role) {
            self.out.changed_roles.push(role);
        }
    }
}

fn role(spec: Option<&RoleSpec>) -> ChangedRole {
    match spec.map(|spec| (spec.roletype(), spec)) {
        Some((RoleSpecType::RolespecCstring, spec)) => ChangedRole::Named(spec.rolename.clone()),
        Some((
            RoleSpecType::RolespecCurrentRole | RoleSpecType::RolespecCurrentUser | RoleSpecType::RolespecSessionUser,
            _,
        )) => ChangedRole::Own,
        // ALTER ROLE ALL.
        Some((RoleSpecType::RolespecPublic | RoleSpecType::Undefined, _)) | None => ChangedRole::Every,
    }
}
