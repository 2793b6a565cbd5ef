//! What surfaces ask for on behalf of a person: one way in for requests and for grants, and what a person may see of them.
//!
//! Never decides itself. Invariant: what somebody may not see does not exist for them, whatever they try to do with it.

use jiff::Timestamp;

use super::{AccessRequest, Actor, Consent, GrantId, GrantRecord, RequestId, Review, ReviewError};
use crate::config::PUBLIC;

/// What a person wants done.
#[derive(Clone, Debug)]
pub enum Act {
    /// Count an approval.
    Approve(Consent),
    /// Refuse, for a reason.
    Reject(Option<String>),
    /// Withdraw what was asked for.
    Cancel(Option<String>),
    /// Take back what was approved.
    Revoke(Option<String>),
}

impl Review {
    /// The request of that id, if the actor may know of it.
    ///
    /// # Errors
    /// [`ReviewError::NotFound`], or when the store fails.
    pub async fn find(&self, id: RequestId, actor: &Actor) -> Result<AccessRequest, ReviewError> {
        let request = self.get(id).await?;
        if self.may_see(&request, &actor.name, &actor.groups) { Ok(request) } else { Err(ReviewError::NotFound) }
    }

    /// The grant of that id, if the actor may know of it.
    ///
    /// # Errors
    /// [`ReviewError::NoSuchGrant`], or when the store fails.
    pub async fn find_grant(&self, id: GrantId, actor: &Actor) -> Result<GrantRecord, ReviewError> {
        let grant = self.grant(id).await?;
        if self.may_see_grant(&grant, &actor.name, &actor.groups) { Ok(grant) } else { Err(ReviewError::NoSuchGrant) }
    }

    /// Whether a person in those groups may know of that database: who may connect to it, who is asked there where a rule
    /// does not say, and who sees all.
    #[must_use]
    pub fn may_know_database(&self, groups: &[String], name: &str) -> bool {
        let config = self.config.load();
        let has = |wanted: &[String]| wanted.iter().any(|group| group == PUBLIC || groups.contains(group));
        let reviews = config.policy.databases.iter().any(|policy| policy.name == name && has(&policy.review.groups));
        self.sees_all(groups) || reviews || config.database(name).is_some_and(|database| has(&database.groups))
    }

    /// Does it to a request.
    ///
    /// # Errors
    /// When the actor may not see it or may not do it, or it cannot be done any more or be recorded.
    pub async fn act(
        &self,
        id: RequestId,
        actor: &Actor,
        act: Act,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        if let Err(ReviewError::NotFound) = self.find(id, actor).await {
            // It may have become theirs since groups were read.
            self.refresh_groups_for(id).await?;
        }
        self.find(id, actor).await?;
        match act {
            Act::Approve(consent) => self.approve(id, actor, consent, now).await,
            Act::Reject(reason) => self.reject(id, actor, reason.unwrap_or_default(), now).await,
            Act::Cancel(reason) => self.cancel(id, actor, reason, now).await,
            Act::Revoke(reason) => self.revoke(id, actor, reason, now).await,
        }
    }

    /// Does it to a grant; of a consent only the reason counts.
    ///
    /// # Errors
    /// When the actor may not see it or may not do it, or it cannot be done any more or be recorded.
    pub async fn act_on_grant(
        &self,
        id: GrantId,
        actor: &Actor,
        act: Act,
        now: Timestamp,
    ) -> Result<GrantRecord, ReviewError> {
        self.find_grant(id, actor).await?;
        match act {
            Act::Approve(consent) => self.approve_grant(id, actor, consent.reason, now).await,
            Act::Reject(reason) => self.reject_grant(id, actor, reason.unwrap_or_default(), now).await,
            Act::Cancel(reason) => self.cancel_grant(id, actor, reason, now).await,
            Act::Revoke(reason) => self.revoke_grant(id, actor, reason, now).await,
        }
    }
}
