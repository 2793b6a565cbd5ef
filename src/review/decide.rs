//! What people decide: approve, reject, cancel, revoke.
//!
//! Never trusts the groups a surface brings: membership is that of the moment of each vote.
//! Invariant: a change that lost the race is worked out anew from what is then in the store.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::votes::{are_met, demanded_groups};
use super::{
    ADMIN_GROUP, AccessRequest, Actor, Decision, GrantState, GrantTransition, Offer, RequestId, Review, ReviewError,
    State, Surface, Transition, Vote,
};
use crate::crash_point::{self, CrashPoint};
use crate::store::Change;

/// Reason of the approval that an admin gives to an own request.
pub(super) const BYPASS: &str = "own request of an admin (admins_bypass)";

/// An approval as it is given.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    /// Why.
    pub reason: Option<String>,
    /// For how long, and for what, it may be done again.
    pub offer: Option<Offer>,
    /// Whether it is to stand in for everybody's: break-glass, for members of `force_groups`.
    pub forced: bool,
    /// What is approved in the place of the requester's text.
    pub edited: Option<String>,
    /// How many rows it may write at most.
    pub max_affected: Option<u64>,
}

impl From<Option<String>> for Consent {
    fn from(reason: Option<String>) -> Self {
        Self { reason, ..Self::default() }
    }
}

/// A change worked out from one version of a request.
pub(super) type Plan = Result<Change, ReviewError>;

impl Review {
    /// Counts the actor's approval; the request becomes APPROVED when all demands are met, or when the approval is forced.
    /// When every approval offers a grant, the grant is given with it.
    ///
    /// # Errors
    /// When the actor may not approve it, it is no longer open, the grant would be against the policy, or it cannot be
    /// recorded.
    pub async fn approve(
        &self,
        id: RequestId,
        actor: &Actor,
        consent: impl Into<Consent>,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let (now, consent) = (self.time(now), consent.into());
        self.decide(id, |request| self.plan_approval(request, actor, &consent, now)).await
    }

    /// Ends the request: one eligible reviewer is enough, and a reason is required.
    ///
    /// # Errors
    /// When the actor may not reject it, gives no reason, it is no longer open, or it cannot be recorded.
    pub async fn reject(
        &self,
        id: RequestId,
        actor: &Actor,
        reason: String,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let now = self.time(now);
        if reason.trim().is_empty() {
            return Err(ReviewError::ReasonRequired);
        }
        self.decide(id, |request| self.plan_rejection(request, actor, &reason, now)).await
    }

    /// Withdraws a request that is open or approved and not yet used; for its requester and for admins.
    ///
    /// # Errors
    /// When the actor is neither, it is past that, or it cannot be recorded.
    pub async fn cancel(
        &self,
        id: RequestId,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let now = self.time(now);
        self.decide(id, |request| self.plan_cancel(request, actor, reason.clone(), now)).await
    }

    /// Takes back an approval that was not used yet; for those who could have approved it, and admins.
    ///
    /// # Errors
    /// When the actor is not one of them, it is not APPROVED, or it cannot be recorded.
    pub async fn revoke(
        &self,
        id: RequestId,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let now = self.time(now);
        self.decide(id, |request| self.plan_revocation(request, actor, reason.clone(), now)).await
    }

    /// Works out a change and makes it, as often as somebody else is faster.
    pub(super) async fn decide(
        &self,
        id: RequestId,
        plan: impl Fn(&AccessRequest) -> Plan,
    ) -> Result<AccessRequest, ReviewError> {
        self.audit_accepts()?;
        self.refresh_groups_for(id).await?;
        self.decide_after(id, plan).await
    }

    /// As [`Review::decide`], also when the audit trail has failed: for what ends a request and releases nothing.
    pub(super) async fn decide_after(
        &self,
        id: RequestId,
        plan: impl Fn(&AccessRequest) -> Plan,
    ) -> Result<AccessRequest, ReviewError> {
        loop {
            let request = self.get(id).await?;
            let change = plan(&request)?;
            let (vote, transition, grant) = (change.vote.clone(), change.transition.clone(), change.grant.clone());
            let Some(changed) = self.store.vote_and_transition(change).await? else { continue };
            crash_point::reach(CrashPoint::BeforeTold);
            // Whoever waits is told whatever becomes of the trail: nothing runs without its durable intent.
            if let Some(decision) = transition.as_ref().and_then(|transition| decision_of(&changed, transition)) {
                self.pending.wake(id, decision);
            }
            vote.iter().try_for_each(|vote| self.note_vote(&changed, vote))?;
            transition.iter().try_for_each(|transition| self.note_transition(id, transition))?;
            if let Some(grant) = grant {
                self.note_grant(&grant)?;
                self.reload_grants().await?;
            }
            return Ok(changed);
        }
    }

    pub(super) fn plan_approval(
        &self,
        request: &AccessRequest,
        actor: &Actor,
        consent: &Consent,
        now: Timestamp,
    ) -> Plan {
        let own = request.user == actor.name;
        if own && !self.bypasses(&actor.name) {
            return Err(ReviewError::OwnRequest);
        }
        // Who approves an own request stands in for nobody.
        let forced = consent.forced && !own;
        let groups = self.approves_in(request, actor, consent)?;
        is_open(request, now)?;
        if request.justification_required && request.justification.is_none() && !forced {
            return Err(ReviewError::Unjustified);
        }
        let edited = edited_text(request, consent)?;
        is_limitable(request, edited.as_ref(), consent)?;
        let replaced = edited.is_some();
        let approving = || request.approvals().filter(move |_vote| !replaced);
        if !forced && approving().any(|vote| vote.by == actor.name) {
            return Err(ReviewError::AlreadyVoted);
        }
        if let Some(offer) = consent.offer {
            self.grant_fits(&request.database, Duration::from_secs(offer.seconds))?;
        }
        let given = vote_of(actor, groups, consent.reason.clone(), now);
        let Consent { offer, max_affected, .. } = *consent;
        let vote = Vote { approve: true, offer, forced, edited, max_affected, ..given };
        let people: Vec<_> = approving().chain([&vote]).map(|vote| self.counts_in(&request.database, vote)).collect();
        let approved = own || forced || are_met(&request.reviewers, &people);
        let mut change = Change { vote: Some(vote.clone()), ..unchanged(request) };
        if !approved {
            return Ok(change);
        }
        let why = if own { Some(BYPASS.to_owned()) } else { consent.reason.clone() };
        change.transition = Some(transition_of(request, State::Approved, actor, why.clone(), now));
        // The approval may be used for as long as the request was allowed to wait.
        let window = request.created_at.duration_until(request.expires_at).max(SignedDuration::ZERO);
        change.expires_at = Some(now.checked_add(window).unwrap_or(Timestamp::MAX));
        if !own {
            let counted = approving().filter(|_vote| !forced).chain([&vote]);
            let surface = actor.surface;
            let given = GrantTransition {
                from: None,
                to: GrantState::Active,
                by: actor.name.clone(),
                surface,
                at: now,
                reason: why,
            };
            change.grant = self.offered(request, counted, &given)?.map(Box::new);
        }
        Ok(change)
    }

    /// Groups in which the actor approves.
    fn approves_in(
        &self,
        request: &AccessRequest,
        actor: &Actor,
        consent: &Consent,
    ) -> Result<Vec<String>, ReviewError> {
        if request.user == actor.name {
            return Ok(vec![ADMIN_GROUP.to_owned()]);
        }
        if consent.forced {
            let config = self.config.load();
            let forcing = &config.review.force_groups;
            let groups: Vec<_> =
                self.groups_of(&actor.name).into_iter().filter(|group| forcing.contains(group)).collect();
            if groups.is_empty() {
                return Err(ReviewError::NotEligible { groups: "[review] force_groups".to_owned() });
            }
            let has_reason = consent.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty());
            return if has_reason { Ok(groups) } else { Err(ReviewError::ReasonRequired) };
        }
        self.reviews_in(request, actor)
    }

    /// Groups in which the actor reviews the request; never none.
    fn reviews_in(&self, request: &AccessRequest, actor: &Actor) -> Result<Vec<String>, ReviewError> {
        let groups = demanded_groups(&request.reviewers, &self.groups_on(&request.database, &actor.name));
        if groups.is_empty() { Err(self.not_eligible(&request.database, &request.reviewers)) } else { Ok(groups) }
    }

    pub(super) fn plan_cancel(
        &self,
        request: &AccessRequest,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Plan {
        if request.user != actor.name && !self.is_admin(actor) {
            return Err(ReviewError::NotEligible { groups: ADMIN_GROUP.to_owned() });
        }
        plan_end(request, State::Cancelled, actor, reason, now)
    }

    pub(super) fn plan_revocation(
        &self,
        request: &AccessRequest,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Plan {
        if !self.is_admin(actor) {
            self.reviews_in(request, actor)?;
        }
        plan_end(request, State::Revoked, actor, reason, now)
    }

    pub(super) fn plan_rejection(&self, request: &AccessRequest, actor: &Actor, reason: &str, now: Timestamp) -> Plan {
        if request.user == actor.name {
            return Err(ReviewError::OwnRequest);
        }
        let groups = self.reviews_in(request, actor)?;
        is_open(request, now)?;
        let reason = Some(reason.to_owned());
        Ok(Change {
            vote: Some(vote_of(actor, groups, reason.clone(), now)),
            transition: Some(transition_of(request, State::Rejected, actor, reason, now)),
            ..unchanged(request)
        })
    }
}

/// What a waiting session is told of a transition.
pub(super) fn decision_of(request: &AccessRequest, transition: &Transition) -> Option<Decision> {
    match transition.to {
        State::Approved => Some(Decision::Approved(request.agreement())),
        State::Rejected => Some(Decision::Rejected {
            by: transition.by.clone(),
            group: request.votes.last().and_then(|vote| vote.groups.first()).cloned().unwrap_or_default(),
            reason: transition.reason.clone().unwrap_or_default(),
        }),
        State::Expired => Some(Decision::Expired),
        State::Cancelled | State::Revoked => Some(Decision::Cancelled),
        State::Pending | State::Executing | State::Executed | State::Failed | State::Unknown => None,
    }
}

/// A change that changes nothing.
pub(super) fn unchanged(request: &AccessRequest) -> Change {
    Change {
        id: request.id,
        expected_version: request.version,
        vote: None,
        transition: None,
        expires_at: None,
        outcome: None,
        mode: None,
        grant: None,
        binding: None,
        comment: None,
        justification: None,
    }
}

/// Ends a request by one transition, if the state table allows it.
pub(super) fn plan_end(
    request: &AccessRequest,
    to: State,
    actor: &Actor,
    reason: Option<String>,
    now: Timestamp,
) -> Plan {
    if !request.state.may_become(to) {
        return Err(ReviewError::AlreadyDecided { state: request.state });
    }
    Ok(Change { transition: Some(transition_of(request, to, actor, reason, now)), ..unchanged(request) })
}

/// The proxy as the one who acts.
pub(super) fn proxy() -> Actor {
    Actor { name: "proxy".to_owned(), groups: Vec::new(), surface: Surface::Proxy }
}

/// The text of an edit, if it is one.
fn edited_text(request: &AccessRequest, consent: &Consent) -> Result<Option<String>, ReviewError> {
    let text = match (&consent.edited, request.edit()) {
        // Who names no text may have seen the one before.
        (None, Some(edit)) => return Err(ReviewError::Changed { by: edit.by }),
        (None, None) => return Ok(None),
        (Some(text), _) if *text == request.approved_text() => return Ok(None),
        (Some(text), _) => text,
    };
    if text.trim().is_empty() || text.contains('\0') {
        return Err(ReviewError::BadEdit);
    }
    if consent.offer.is_some() {
        return Err(ReviewError::BadScope("a statement that is changed is approved once".to_owned()));
    }
    Ok(Some(text.clone()))
}

/// Whether the limit of rows that is given can be kept. Whether it can for a changed text shows when that is analysed.
fn is_limitable(request: &AccessRequest, edited: Option<&String>, consent: &Consent) -> Result<(), ReviewError> {
    if consent.max_affected.is_none() {
        return Ok(());
    }
    let is_changed = edited.is_some() || request.edit().is_some();
    if !request.rows_counted && !is_changed {
        return Err(ReviewError::NotCounted);
    }
    if consent.offer.is_some() {
        return Err(ReviewError::BadScope("a statement with a limit of rows is approved once".to_owned()));
    }
    Ok(())
}

fn is_open(request: &AccessRequest, now: Timestamp) -> Result<(), ReviewError> {
    if request.state != State::Pending {
        return Err(ReviewError::AlreadyDecided { state: request.state });
    }
    if request.expires_at <= now {
        return Err(ReviewError::Expired);
    }
    Ok(())
}

fn transition_of(
    request: &AccessRequest,
    to: State,
    actor: &Actor,
    reason: Option<String>,
    now: Timestamp,
) -> Transition {
    Transition { from: Some(request.state), to, by: actor.name.clone(), surface: actor.surface, at: now, reason }
}

/// A vote against.
pub(super) fn vote_of(actor: &Actor, groups: Vec<String>, reason: Option<String>, now: Timestamp) -> Vote {
    let (by, surface) = (actor.name.clone(), actor.surface);
    let (edited, offer, max_affected) = (None, None, None);
    Vote { by, groups, approve: false, reason, at: now, surface, edited, offer, forced: false, max_affected }
}
