//! The role that the proxy itself logs in to the upstream with, which clients must not change: one statement that gives it
//! another password would keep the proxy out.
//!
//! Never asks what a statement would change of it. Invariant: what names no single role is taken for that role.

use bytes::Bytes;
use countersign_policy::analysis::{ChangedRole, RelationUse, StatementAnalysis};
use countersign_policy::{Analysis, Effect, Effects};

use super::machine::Machine;
use super::messages;
use super::words::Surroundings;
use crate::config::DatabaseAuth;

/// Catalogs that say who may log in, and how: `pg_authid`, `pg_auth_members`, `pg_db_role_setting`.
const CATALOGS: [u32; 3] = [1260, 1261, 2964];
const WRITES: Effects =
    Effects::of(&[Effect::Insert, Effect::Update, Effect::Delete, Effect::Merge, Effect::Truncate, Effect::CopyIn]);

impl Machine {
    /// The refusal of what changes the role that the proxy logs in with. Clients who log in themselves may change their own,
    /// unless it is the one that the proxy reads the catalog with.
    pub(super) fn changes_login_role(&self, analysis: &Analysis, around: &Surroundings) -> Option<Bytes> {
        let changed = |statement: &StatementAnalysis| {
            statement.changed_roles.iter().any(|role| self.is_login_role(role, around)) || writes_roles(statement)
        };
        analysis.statements.iter().any(changed).then(messages::login_role)
    }

    fn is_login_role(&self, changed: &ChangedRole, around: &Surroundings) -> bool {
        let Some(database) = around.config.database(&self.identity.subject.database) else { return true };
        let logged_in = self.identity.login_role.as_deref();
        let of_proxy = |name: &str| {
            name == database.upstream.user
                || (database.auth == DatabaseAuth::Proxy && logged_in.is_some_and(|role| role == name))
        };
        match changed {
            ChangedRole::Named(name) => of_proxy(name),
            ChangedRole::Own => match database.auth {
                DatabaseAuth::Proxy => true,
                DatabaseAuth::Passthrough => logged_in.is_none_or(of_proxy),
            },
            ChangedRole::Every => true,
        }
    }
}

fn writes_roles(statement: &StatementAnalysis) -> bool {
    let is_one = |used: &RelationUse| used.oid.is_some_and(|oid| CATALOGS.contains(&oid)) && used.is_written();
    statement.effects.intersects(WRITES) && statement.relations.iter().any(is_one)
}
