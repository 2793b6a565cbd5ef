//! What one person could do with a request or a grant now, for surfaces that show buttons.
//!
//! Never a permission: whoever presses a button is judged again. Invariant: a choice is offered exactly when the plan of the
//! act, worked out on the record as it is, has no objection.

use std::time::Duration;

use jiff::Timestamp;

use super::{AccessRequest, Actor, Consent, GrantRecord, GrantState, Review, ReviewError};

/// Acts that would be accepted from a person.
#[derive(Debug)]
pub struct Choices {
    /// Approve; why not, otherwise.
    pub approve: Result<(), ReviewError>,
    /// Approve in everybody's place.
    pub force: bool,
    /// Reject.
    pub reject: bool,
    /// Withdraw.
    pub cancel: bool,
    /// Take an approval back.
    pub revoke: bool,
    /// The longest time for which it can be let be done again; zero is not at all.
    pub grant_max: Duration,
}

impl Choices {
    /// Whether anything can be done.
    #[must_use]
    pub fn any(&self) -> bool {
        self.approve.is_ok() || self.force || self.reject || self.cancel || self.revoke
    }
}

impl Review {
    /// What the actor could do with the request.
    #[must_use]
    pub fn choices(&self, request: &AccessRequest, actor: &Actor, now: Timestamp) -> Choices {
        let now = self.time(now);
        let plain = Consent { edited: request.edit().map(|edit| edit.statement), ..Consent::default() };
        let forced = Consent { forced: true, reason: Some("-".to_owned()), ..plain.clone() };
        let approve = self.plan_approval(request, actor, &plain, now).map(drop);
        let may_offer = approve.is_ok() && request.user != actor.name && request.edit().is_none();
        Choices {
            force: self.plan_approval(request, actor, &forced, now).is_ok() && request.user != actor.name,
            reject: self.plan_rejection(request, actor, "-", now).is_ok(),
            cancel: self.plan_cancel(request, actor, None, now).is_ok(),
            revoke: self.plan_revocation(request, actor, None, now).is_ok(),
            grant_max: if may_offer { self.config.load().grant_max(&request.database) } else { Duration::ZERO },
            approve,
        }
    }

    /// What the actor could do with the grant.
    #[must_use]
    pub fn grant_choices(&self, grant: &GrantRecord, actor: &Actor, now: Timestamp) -> Choices {
        let open = grant.state == GrantState::Requested && grant.expires_at > self.time(now);
        let decides = match self.reviews_grant(grant, actor) {
            Ok(_groups) if open => Ok(()),
            Ok(_groups) => Err(ReviewError::GrantDecided { state: grant.state }),
            Err(error) => Err(error),
        };
        let owns = grant.user == actor.name || self.is_admin(actor);
        let has_voted = grant.votes.iter().any(|vote| vote.approve && vote.by == actor.name);
        Choices {
            reject: decides.is_ok(),
            approve: if has_voted { Err(ReviewError::AlreadyVoted) } else { decides },
            force: false,
            cancel: owns && grant.state == GrantState::Requested,
            revoke: grant.state == GrantState::Active && (owns || self.reviews_grant(grant, actor).is_ok()),
            grant_max: Duration::ZERO,
        }
    }
}
