//! Who is in which group, for a request or a grant: by the configuration in force, by what the identity provider said last,
//! and by roles where the database says so.
//!
//! Never trusts the groups a surface brings for a decision. Invariant: what counts beyond one database (`admin`,
//! `force_groups`) comes from the configuration, or from a group of the provider that the configuration names for it.

use std::sync::Arc;

use countersign_policy::verdict::ReviewerDemand;
use jiff::Timestamp;

use super::votes::{are_met, demanded_groups};
use super::{ADMIN_GROUP, AccessRequest, Actor, GrantRecord, RequestId, Review, ReviewError, Vote};
use crate::config::Config;
use crate::identity::people::People;
use crate::roles::{self, Roles};
use crate::store::{GroupsOn, Viewer};

impl Review {
    /// Where groups that come from roles are known from.
    #[must_use]
    pub fn roles(&self) -> Arc<Roles> {
        Arc::clone(&self.roles)
    }

    /// What the identity provider has said of people.
    #[must_use]
    pub fn people(&self) -> Arc<People> {
        Arc::clone(&self.people)
    }

    /// Groups of a person by the configuration in force, and by what the identity provider has said last; none when
    /// neither knows them.
    pub(crate) fn groups_of(&self, name: &str) -> Vec<String> {
        let config = self.config.load();
        let mut groups = configured(&config, name);
        roles::add(&mut groups, self.people.groups_of(&config, name, self.time(Timestamp::now())));
        groups
    }

    /// Reads again what the identity provider has said of people, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refresh_people(&self) -> Result<(), ReviewError> {
        let config = self.config.load_full();
        Ok(self.people.refresh(&config, self.time(Timestamp::now())).await?)
    }

    /// Groups of a person where something on that database is decided.
    #[must_use]
    pub fn groups_on(&self, database: &str, name: &str) -> Vec<String> {
        let mut groups = self.groups_of(name);
        // That they cannot be told is said to who is refused.
        roles::add(&mut groups, self.roles.groups_on(database, name).unwrap_or_default());
        groups
    }

    /// Has groups read again that come from elsewhere: from the provider, and from roles if they count on the database of the
    /// request.
    pub(super) async fn refresh_groups_for(&self, id: RequestId) -> Result<(), ReviewError> {
        self.refresh_people().await?;
        let by_roles = self.roles.databases();
        if by_roles.is_empty() {
            return Ok(());
        }
        let database = self.get(id).await?.database;
        self.roles.refresh(&database).await;
        Ok(())
    }

    /// Groups of somebody who looks at something of that database.
    fn groups_seen(&self, database: &str, name: &str, groups: &[String]) -> Vec<String> {
        let mut groups = groups.to_vec();
        roles::add(&mut groups, self.roles.groups_on(database, name).unwrap_or_default());
        groups
    }

    /// Whether what they ask for is approved by asking: for admins of the configuration. A name on the wire may be that of a
    /// role upstream, and says nothing about people of the provider.
    pub(super) fn bypasses(&self, name: &str) -> bool {
        let config = self.config.load();
        config.review.admins_bypass && configured(&config, name).iter().any(|group| group == ADMIN_GROUP)
    }

    pub(super) fn is_admin(&self, actor: &Actor) -> bool {
        self.groups_of(&actor.name).iter().any(|group| group == ADMIN_GROUP)
    }

    /// Whether a person in those groups may know of every request: admins, and who may approve in everybody's place.
    #[must_use]
    pub fn sees_all(&self, groups: &[String]) -> bool {
        let forcing = &self.config.load().review.force_groups;
        groups.iter().any(|group| group == ADMIN_GROUP || forcing.contains(group))
    }

    /// Whether a person of that name and in those groups may know of the request.
    #[must_use]
    pub fn may_see(&self, request: &AccessRequest, name: &str, groups: &[String]) -> bool {
        self.sees_all(groups) || request.is_visible_to(name, &self.groups_seen(&request.database, name, groups))
    }

    /// Whether a person of that name and in those groups is asked to review the request, or sees every one.
    #[must_use]
    pub fn is_reviewer(&self, request: &AccessRequest, name: &str, groups: &[String]) -> bool {
        let on = self.groups_seen(&request.database, name, groups);
        self.sees_all(groups) || !demanded_groups(&request.reviewers, &on).is_empty()
    }

    /// Whether a person's vote would count for any of these demands on that database.
    #[must_use]
    pub fn is_asked(&self, database: &str, demands: &[ReviewerDemand], name: &str) -> bool {
        !demanded_groups(demands, &self.groups_on(database, name)).is_empty()
    }

    /// Whether a person of that name and in those groups may know of the grant.
    #[must_use]
    pub fn may_see_grant(&self, grant: &GrantRecord, name: &str, groups: &[String]) -> bool {
        grant.is_visible_to(name, &self.groups_seen(&grant.database, name, groups))
    }

    /// Who looks at a list of requests; `None` is somebody who sees every one.
    #[must_use]
    pub fn viewer(&self, name: &str, groups: &[String]) -> Option<Viewer> {
        (!self.sees_all(groups)).then(|| self.member(name, groups))
    }

    /// A person with the groups that count on each database.
    #[must_use]
    pub fn member(&self, name: &str, groups: &[String]) -> Viewer {
        let on = self.roles.databases().into_iter().filter_map(|database| {
            let groups = self.roles.groups_on(&database, name).ok().filter(|groups| !groups.is_empty())?;
            Some(GroupsOn { database, groups })
        });
        Viewer { name: name.to_owned(), groups: groups.to_vec(), on: on.collect() }
    }

    /// Groups in which an approval counts: those in which it was given, as long as its giver is in them.
    pub(super) fn counts_in(&self, database: &str, vote: &Vote) -> Vec<String> {
        let now = self.groups_on(database, &vote.by);
        vote.groups.iter().filter(|group| now.contains(group)).cloned().collect()
    }

    /// Whether those who approved it are still in the groups in which they did; if not, why it may not be released.
    pub(super) fn still_approved(&self, request: &AccessRequest) -> Result<(), String> {
        let counted = |vote: &Vote| self.counts_in(&request.database, vote);
        let people: Vec<_> = request.approvals().map(counted).collect();
        let alone = |vote: &Vote| (vote.forced || vote.by == request.user) && !counted(vote).is_empty();
        if are_met(&request.reviewers, &people) || request.approvals().any(alone) {
            return Ok(());
        }
        let left = request.approvals().filter(|vote| counted(vote).len() < vote.groups.len());
        let mut left: Vec<_> = left.map(|vote| vote.by.as_str()).collect();
        left.dedup();
        let unread = self.roles.groups_on(&request.database, &request.user).err();
        Err(match unread {
            Some(unread) => unread.to_string(),
            None => format!("no longer in the groups in which they approved: {}", left.join(", ")),
        })
    }

    /// Why somebody who is in none of these groups may not decide.
    pub(super) fn not_eligible(&self, database: &str, reviewers: &[ReviewerDemand]) -> ReviewError {
        if let Err(unread) = self.roles.groups_on(database, "") {
            return ReviewError::RolesUnread(unread);
        }
        let groups: Vec<_> = reviewers.iter().map(|demand| demand.group.as_str()).collect();
        ReviewError::NotEligible { groups: groups.join(" and ") }
    }
}

fn configured(config: &Config, name: &str) -> Vec<String> {
    config.user(name).map(|user| user.groups.clone()).unwrap_or_default()
}
