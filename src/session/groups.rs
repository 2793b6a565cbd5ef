//! The groups of a session's user, where they come from roles: those of now, not those of its beginning.
//!
//! Never asks the upstream itself. Invariant: while memberships cannot be told, groups stay what they were, because without
//! some of them fewer rules would apply.

use std::sync::Arc;

use countersign_policy::subject::Subject;

use crate::config::Config;
use crate::database::Database;
use crate::roles::{self, Memberships};
use crate::session::machine::Machine;

/// Keeps groups up to date with the memberships upstream.
#[derive(Debug)]
pub(super) struct Groups {
    /// Those that came with what the user has shown.
    brought: Vec<String>,
    /// Those that the groups were made from.
    known: Option<Arc<Memberships>>,
}

impl Groups {
    /// Of a user who has brought these.
    pub(super) fn new(brought: Vec<String>) -> Self {
        Self { brought, known: None }
    }

    /// Takes in the groups as they are now; whether they are others than before.
    pub(super) fn look(&mut self, subject: &mut Subject, config: &Config, database: &Database) -> bool {
        if !database.has_groups_from_roles() {
            return false;
        }
        let Some(memberships) = database.memberships() else { return false };
        if self.known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &memberships)) {
            return false;
        }
        let mut groups = config.groups_of(&subject.user);
        roles::add(&mut groups, self.brought.iter().cloned());
        roles::add(&mut groups, memberships.groups_of(&subject.user));
        self.known = Some(memberships);
        let is_other = groups != subject.groups;
        subject.groups = groups;
        is_other
    }
}

impl Machine {
    /// The user is in these groups from now on.
    pub fn regroup(&mut self, groups: Vec<String>) {
        self.identity.subject.groups = groups;
    }
}
