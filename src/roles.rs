//! Groups that come from PostgreSQL: on a database with `groups_from = "roles"`, users are also in the groups named like the
//! roles that they are members of there.
//!
//! Never makes anybody a member of `admin`, which counts beyond one database, nor of a role that is not granted, as superusers
//! implicitly are. Invariant: while the memberships of a database cannot be read, nobody has a group from there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::catalog::CatalogService;
use crate::config::{Config, GroupsFrom};
use crate::database::Database;
use crate::review::ADMIN_GROUP;

/// Who was granted which role, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// Roles that were granted directly, by member.
    granted: HashMap<String, BTreeSet<String>>,
}

impl Memberships {
    /// Takes in grants: member, role.
    #[must_use]
    pub fn of_grants(grants: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut granted: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (member, role) in grants {
            granted.entry(member).or_default().insert(role);
        }
        Self { granted }
    }

    /// Names of the roles that the role of this name is a member of, whether it inherits their privileges or not, sorted.
    #[must_use]
    pub fn groups_of(&self, role: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mut next = vec![role];
        while let Some(member) = next.pop() {
            for role in self.granted.get(member).into_iter().flatten() {
                if found.insert(role.as_str()) {
                    next.push(role);
                }
            }
        }
        found.into_iter().filter(|group| *group != role && *group != ADMIN_GROUP).map(str::to_owned).collect()
    }
}

/// The memberships on a database cannot be read at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not read who is a member of which role on database \"{database}\", so that nobody counts as one")]
pub struct RolesUnread {
    /// The database, as clients name it.
    pub database: String,
}

/// Where memberships on one database are known from.
#[derive(Clone, Debug)]
enum Source {
    Upstream(Arc<CatalogService>),
    #[cfg(test)]
    Given(Option<Arc<Memberships>>),
}

/// Memberships on every database whose groups come from roles.
#[derive(Debug, Default)]
pub struct Roles {
    sources: ArcSwap<HashMap<String, Source>>,
}

impl Roles {
    /// Goes by these databases from now on, where the configuration says so.
    pub fn follow(&self, config: &Config, databases: &HashMap<String, Arc<Database>>) {
        let from_roles = config.databases.iter().filter(|database| database.groups_from == GroupsFrom::Roles);
        let sources = from_roles.filter_map(|database| {
            let catalog = databases.get(&database.name)?.catalog_service();
            Some((database.name.clone(), Source::Upstream(catalog)))
        });
        self.sources.store(Arc::new(sources.collect()));
    }

    #[cfg(test)]
    pub(crate) fn give(&self, database: &str, memberships: Option<Memberships>) {
        let given = Source::Given(memberships.map(Arc::new));
        self.sources.store(Arc::new(HashMap::from([(database.to_owned(), given)])));
    }

    /// The databases whose groups come from roles.
    #[must_use]
    pub fn databases(&self) -> Vec<String> {
        self.sources.load().keys().cloned().collect()
    }

    /// Groups that the user has on that database beside those of the configuration.
    ///
    /// # Errors
    /// When they come from roles, and those cannot be read at the moment.
    pub fn groups_on(&self, database: &str, user: &str) -> Result<Vec<String>, RolesUnread> {
        let known = match self.sources.load().get(database) {
            None => return Ok(Vec::new()),
            Some(Source::Upstream(catalog)) => catalog.memberships(),
            #[cfg(test)]
            Some(Source::Given(memberships)) => memberships.clone(),
        };
        let unread = || RolesUnread { database: database.to_owned() };
        Ok(known.ok_or_else(unread)?.groups_of(user))
    }

    /// Reads the memberships on that database again, if they count there: what was committed before this call is known after
    /// it, or nothing is.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing.
    pub async fn refresh(&self, database: &str) {
        let source = self.sources.load().get(database).cloned();
        match source {
            // That it failed shows in what is known.
            Some(Source::Upstream(catalog)) => drop(catalog.refresh().await),
            #[cfg(test)]
            Some(Source::Given(_)) => {}
            None => {}
        }
    }
}

/// Adds groups that are not among them.
pub(crate) fn add(groups: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for group in more {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `alice>dba dba>ops`: members and the roles that were granted to them.
    #[track_caller]
    fn check(grants: &str, who: &str, want: &[&str]) {
        let grants = grants.split_whitespace().map(|grant| grant.split_once('>').unwrap());
        let members = Memberships::of_grants(grants.map(|(member, role)| (member.to_owned(), role.to_owned())));
        assert_eq!(members.groups_of(who), want);
    }

    #[test]
    fn members_are_in_the_groups_of_their_roles() {
        check("", "alice", &[]);
        check("alice>dba", "alice", &["dba"]);
        check("alice>dba", "bob", &[]);
        check("alice>dba", "dba", &[]);
        check("alice>dba dba>ops ops>all", "alice", &["all", "dba", "ops"]);
        check("alice>dba alice>ops dba>ops", "alice", &["dba", "ops"]);
        check("Alice>dba", "alice", &[]);
    }

    #[test]
    fn nobody_becomes_an_admin_by_a_role_or_a_member_of_themselves() {
        check("alice>admin", "alice", &[]);
        check("alice>admin admin>dba", "alice", &["dba"]);
        // PostgreSQL has no such circle; should it ever, it ends.
        check("alice>dba dba>alice", "alice", &["dba"]);
    }

    #[test]
    fn what_cannot_be_read_gives_nobody_a_group() {
        let roles = Roles::default();
        assert_eq!(roles.groups_on("shop", "alice"), Ok(Vec::new()));
        roles.give("shop", None);
        assert!(roles.groups_on("shop", "alice").is_err());
        assert_eq!(roles.groups_on("other", "alice"), Ok(Vec::new()), "others do not go by roles");
    }
}
