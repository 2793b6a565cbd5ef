//! Grants asked for, given, taken back, ended, and which are in force.
//!
//! Never lifts a hold: judging does, by the grants in force. Invariant: what is in force is made from the store after
//! every change that this process makes, one reading at a time, and is nothing while the store cannot be read.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use countersign_policy::grant::Grant;
use countersign_policy::subject::Subject;
use countersign_policy::verdict::ReviewerDemand;

use super::decide::{proxy, vote_of};
use super::feed::Changed;
use super::grant::end_of;
use super::votes::{are_met, demanded_groups};
use super::{
    ADMIN_GROUP, AccessRequest, Actor, GrantId, GrantRecord, GrantScope, GrantState, GrantTransition, Offer, Review,
    ReviewError, Scope, Vote,
};
use crate::newer::newer;
use crate::store::{GrantFilter, PAGE_MAX};

/// What somebody asks for.
#[derive(Clone, Debug)]
pub struct GrantAsk {
    /// On which database.
    pub database: String,
    /// For how long, once it is given.
    pub time: Duration,
    /// What it is to lift; a shape can only come from a request that was seen.
    pub scope: GrantScope,
    /// Why.
    pub reason: Option<String>,
}

/// A change worked out from one version of a grant.
type Plan = Result<GrantRecord, ReviewError>;

impl Review {
    /// The grants in force, of anybody.
    #[must_use]
    pub fn grants_in_force(&self) -> Arc<Vec<Arc<Grant>>> {
        self.in_force.load_full()
    }

    /// The same, unless they are those that are known.
    #[must_use]
    pub(crate) fn newer_grants(&self, known: &Arc<Vec<Arc<Grant>>>) -> Option<Arc<Vec<Arc<Grant>>>> {
        newer(&self.in_force, known)
    }

    /// The grant of that id.
    ///
    /// # Errors
    /// [`ReviewError::NoSuchGrant`], or when the store fails.
    pub async fn grant(&self, id: GrantId) -> Result<GrantRecord, ReviewError> {
        self.store.grant(id).await?.ok_or(ReviewError::NoSuchGrant)
    }

    /// One page of grants, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants(&self, filter: GrantFilter) -> Result<Vec<GrantRecord>, ReviewError> {
        Ok(self.store.grants(filter).await?)
    }

    /// Asks for a grant for oneself.
    ///
    /// # Errors
    /// When the actor may not connect to the database, the time is longer than the policy allows, the scope cannot be
    /// read, nobody could approve it, or it cannot be recorded.
    pub async fn request_grant(
        &self,
        actor: &Actor,
        ask: GrantAsk,
        now: Timestamp,
    ) -> Result<GrantRecord, ReviewError> {
        self.audit_accepts()?;
        let now = self.time(now);
        let (reviewers, timeout) = self.demands_for(actor, &ask)?;
        self.grant_fits(&ask.database, ask.time)?;
        ask.scope.reach().map_err(|error| ReviewError::BadScope(error.0))?;
        let first = GrantTransition {
            from: None,
            to: GrantState::Requested,
            by: actor.name.clone(),
            surface: actor.surface,
            at: now,
            reason: ask.reason.clone(),
        };
        let grant = GrantRecord {
            id: new_id(now),
            state: GrantState::Requested,
            version: 1,
            user: actor.name.clone(),
            database: ask.database,
            scope: ask.scope,
            seconds: ask.time.as_secs(),
            reviewers,
            request: None,
            summary: ask.reason.unwrap_or_default(),
            created_at: now,
            expires_at: end_of(now, timeout),
            votes: Vec::new(),
            transitions: vec![first],
        };
        let limits = self.config.load().limits;
        if !self.store.create_grant(grant.clone(), limits.undecided_max()).await? {
            return Err(ReviewError::TooManyUndecided { limit: limits.requests_per_user });
        }
        self.note_grant(&grant)?;
        Ok(grant)
    }

    /// Counts the actor's approval; the grant becomes ACTIVE when all demands are met.
    ///
    /// # Errors
    /// When the actor may not approve it, it is no longer REQUESTED, or it cannot be recorded.
    pub async fn approve_grant(
        &self,
        id: GrantId,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<GrantRecord, ReviewError> {
        let now = self.time(now);
        self.change_grant(id, |grant| {
            let groups = self.reviews_grant(grant, actor)?;
            is_undecided(grant, now)?;
            if grant.votes.iter().any(|vote| vote.by == actor.name) {
                return Err(ReviewError::AlreadyVoted);
            }
            let vote = Vote { approve: true, ..vote_of(actor, groups, reason.clone(), now) };
            let people: Vec<_> =
                grant.votes.iter().chain([&vote]).map(|vote| self.counts_in(&grant.database, vote)).collect();
            let mut next = match are_met(&grant.reviewers, &people) {
                true => moved(grant, GrantState::Active, actor, reason.clone(), now)?,
                false => GrantRecord { version: grant.version + 1, ..grant.clone() },
            };
            next.votes.push(vote);
            Ok(next)
        })
        .await
    }

    /// Refuses what was asked for: one eligible reviewer is enough, and a reason is required.
    ///
    /// # Errors
    /// When the actor may not, gives no reason, it is no longer REQUESTED, or it cannot be recorded.
    pub async fn reject_grant(
        &self,
        id: GrantId,
        actor: &Actor,
        reason: String,
        now: Timestamp,
    ) -> Result<GrantRecord, ReviewError> {
        if reason.trim().is_empty() {
            return Err(ReviewError::ReasonRequired);
        }
        let now = self.time(now);
        self.change_grant(id, |grant| {
            let groups = self.reviews_grant(grant, actor)?;
            is_undecided(grant, now)?;
            let mut next = moved(grant, GrantState::Rejected, actor, Some(reason.clone()), now)?;
            next.votes.push(vote_of(actor, groups, Some(reason.clone()), now));
            Ok(next)
        })
        .await
    }

    /// Takes a grant back, with effect on the next statement: for its reviewers, for admins, and for who has it.
    ///
    /// # Errors
    /// When the actor is none of them, it is not ACTIVE, or it cannot be recorded.
    pub async fn revoke_grant(
        &self,
        id: GrantId,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<GrantRecord, ReviewError> {
        let now = self.time(now);
        self.change_grant(id, |grant| {
            if grant.user != actor.name && !self.is_admin(actor) {
                self.reviews_grant(grant, actor)?;
            }
            moved(grant, GrantState::Revoked, actor, reason.clone(), now)
        })
        .await
    }

    /// Withdraws what was asked for: for who asked, and for admins.
    ///
    /// # Errors
    /// When the actor is neither, it is no longer REQUESTED, or it cannot be recorded.
    pub async fn cancel_grant(
        &self,
        id: GrantId,
        actor: &Actor,
        reason: Option<String>,
        now: Timestamp,
    ) -> Result<GrantRecord, ReviewError> {
        let now = self.time(now);
        self.change_grant(id, |grant| {
            if grant.user != actor.name && !self.is_admin(actor) {
                return Err(ReviewError::NotEligible { groups: ADMIN_GROUP.to_owned() });
            }
            moved(grant, GrantState::Cancelled, actor, reason.clone(), now)
        })
        .await
    }

    /// Ends the grants whose time is over, and takes in what other processes have changed.
    pub(super) async fn sweep_grants(&self, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.time(now);
        let open = self.reload_grants().await?;
        let due: Vec<_> = open.into_iter().filter(|grant| grant.expires_at <= now).collect();
        for grant in &due {
            let to = if grant.state == GrantState::Active { GrantState::Ended } else { GrantState::Expired };
            let next = moved(grant, to, &proxy(), None, now)?;
            if self.store.replace_grant(next.clone()).await? {
                self.note_grant(&next)?;
            }
        }
        if due.is_empty() { Ok(()) } else { self.reload_grants().await.map(drop) }
    }

    /// Makes what is in force from what is open in the store now, and yields that.
    pub(super) async fn reload_grants(&self) -> Result<Vec<GrantRecord>, ReviewError> {
        // One at a time: what is read last is what counts.
        let _reading = self.reading_grants.lock().await;
        let open = self.open_grants().await.inspect_err(|_error| self.in_force.store(Arc::default()))?;
        let behind = self.store.now().map_or(SignedDuration::ZERO, |there| there.duration_since(Timestamp::now()));
        let mut in_force = Vec::new();
        for grant in &open {
            match grant.in_force(behind) {
                Ok(made) => in_force.extend(made),
                Err(error) => tracing::error!(grant = %grant.id, %error, "grant is not in force"),
            }
        }
        self.in_force.store(Arc::new(in_force));
        Ok(open)
    }

    /// The grant that approving votes offer together, if each of them does.
    pub(super) fn offered<'a>(
        &self,
        request: &AccessRequest,
        votes: impl Iterator<Item = &'a Vote>,
        by: &GrantTransition,
    ) -> Result<Option<GrantRecord>, ReviewError> {
        let offers: Option<Vec<Offer>> = votes.map(|vote| vote.offer).collect();
        let Some(offer) = offers.into_iter().flatten().reduce(Offer::and) else { return Ok(None) };
        let scope = scope_of(request, offer.scope)?;
        let time = Duration::from_secs(offer.seconds);
        self.grant_fits(&request.database, time)?;
        Ok(Some(GrantRecord {
            id: new_id(by.at),
            state: GrantState::Active,
            version: 1,
            user: request.user.clone(),
            database: request.database.clone(),
            scope,
            seconds: offer.seconds,
            reviewers: request.reviewers.clone(),
            request: Some(request.id),
            summary: request.summary.clone(),
            created_at: by.at,
            expires_at: end_of(by.at, time),
            votes: Vec::new(),
            transitions: vec![by.clone()],
        }))
    }

    /// Writes down the newest transition of a grant.
    pub(super) fn note_grant(&self, grant: &GrantRecord) -> Result<(), ReviewError> {
        self.feed.tell(Changed::Grants);
        let Some(last) = grant.transitions.last() else { return Ok(()) };
        tracing::info!(grant = %grant.id, to = %last.to, surface = ?last.surface, "grant changed");
        self.record_grant(grant, last, None)
    }

    /// Works out a change and makes it, as often as somebody else is faster.
    async fn change_grant(&self, id: GrantId, plan: impl Fn(&GrantRecord) -> Plan) -> Result<GrantRecord, ReviewError> {
        self.refresh_people().await?;
        self.roles.refresh(&self.grant(id).await?.database).await;
        loop {
            let grant = self.grant(id).await?;
            let next = plan(&grant)?;
            if next.state == GrantState::Active {
                self.audit_accepts()?;
            }
            if !self.store.replace_grant(next.clone()).await? {
                continue;
            }
            // The trail tells of a grant before of what it lets pass, and it ends before the trail tells.
            if next.state == GrantState::Active {
                self.note_change(&grant, &next)?;
                self.reload_grants().await?;
            } else {
                self.reload_grants().await?;
                self.note_change(&grant, &next)?;
            }
            return Ok(next);
        }
    }

    fn note_change(&self, before: &GrantRecord, after: &GrantRecord) -> Result<(), ReviewError> {
        if let Some(vote) = after.votes.get(before.votes.len()) {
            self.note_grant_vote(after.id, vote)?;
        }
        if after.transitions.len() > before.transitions.len() { self.note_grant(after) } else { Ok(()) }
    }

    fn note_grant_vote(&self, id: GrantId, vote: &Vote) -> Result<(), ReviewError> {
        self.feed.tell(Changed::Grants);
        self.record_grant_vote(id, vote, None)
    }

    async fn open_grants(&self) -> Result<Vec<GrantRecord>, ReviewError> {
        let mut all: Vec<GrantRecord> = Vec::new();
        loop {
            let after = all.last().map(|grant| grant.id);
            let page = self.store.grants(GrantFilter { open: true, after, limit: PAGE_MAX, ..GrantFilter::default() });
            let page = page.await?;
            let is_last = page.len() < PAGE_MAX as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Groups in which the actor may decide about a grant.
    pub(super) fn reviews_grant(&self, grant: &GrantRecord, actor: &Actor) -> Result<Vec<String>, ReviewError> {
        if grant.user == actor.name {
            return Err(ReviewError::OwnRequest);
        }
        let groups = demanded_groups(&grant.reviewers, &self.groups_on(&grant.database, &actor.name));
        if groups.is_empty() {
            return Err(self.not_eligible(&grant.database, &grant.reviewers));
        }
        Ok(groups)
    }

    /// Who must approve what is asked for, and for how long they may be asked.
    fn demands_for(&self, actor: &Actor, ask: &GrantAsk) -> Result<(Vec<ReviewerDemand>, Duration), ReviewError> {
        let config = self.config.load();
        let groups = self.groups_on(&ask.database, &actor.name);
        let may_connect = |name: &str| {
            let known = config.databases.iter().find(|database| database.name == name);
            known.is_some_and(|database| database.groups.iter().any(|group| groups.contains(group)))
        };
        if !may_connect(&ask.database) {
            return Err(ReviewError::NoSuchDatabase);
        }
        let subject =
            Subject { user: actor.name.clone(), groups, database: ask.database.clone(), application: String::new() };
        let demands = match &ask.scope {
            GrantScope { masks: Some(names), rules: None, shape: None, relations: None } => {
                config.policy.mask_demands(&subject, names)
            }
            GrantScope { masks: Some(_), .. } => Err("what shows masked values lifts no holds".to_owned()),
            GrantScope { masks: None, rules, .. } => config.policy.demands(&subject, rules.as_deref()),
        };
        let demands = demands.map_err(ReviewError::BadScope)?;
        if demands.is_empty() {
            return Err(ReviewError::BadScope(
                "neither rules nor the database name a reviewer group for it".to_owned(),
            ));
        }
        let timeout = config.policy.databases.iter().find(|database| database.name == ask.database);
        Ok((demands, timeout.map_or(Duration::ZERO, |database| database.review.timeout)))
    }

    /// Whether the policy lets a grant on that database be so long.
    pub(super) fn grant_fits(&self, database: &str, time: Duration) -> Result<(), ReviewError> {
        let config = self.config.load();
        let max = config.grant_max(database);
        if max.is_zero() {
            return Err(ReviewError::NoGrants);
        }
        if time.is_zero() || time > max {
            return Err(ReviewError::TooLong { max });
        }
        Ok(())
    }
}

fn is_undecided(grant: &GrantRecord, now: Timestamp) -> Result<(), ReviewError> {
    if grant.state != GrantState::Requested {
        return Err(ReviewError::GrantDecided { state: grant.state });
    }
    if grant.expires_at <= now {
        return Err(ReviewError::Expired);
    }
    Ok(())
}

fn moved(grant: &GrantRecord, to: GrantState, actor: &Actor, reason: Option<String>, now: Timestamp) -> Plan {
    let transition = GrantTransition {
        from: Some(grant.state),
        to,
        by: actor.name.clone(),
        surface: actor.surface,
        at: now,
        reason,
    };
    grant.after(transition).ok_or(ReviewError::GrantDecided { state: grant.state })
}

/// What an approval for a time lifts.
fn scope_of(request: &AccessRequest, scope: Scope) -> Result<GrantScope, ReviewError> {
    let shape = || match request.shape.as_str() {
        "" => Err(ReviewError::BadScope("what it runs has a name of its session, and no shape".to_owned())),
        shape => Ok(Some(shape.to_owned())),
    };
    let rules = Some(request.causes.clone());
    Ok(match scope {
        Scope::Shape => GrantScope { rules, shape: shape()?, ..GrantScope::default() },
        Scope::Rules => GrantScope { rules, ..GrantScope::default() },
        Scope::Database => GrantScope::default(),
    })
}

fn new_id(now: Timestamp) -> GrantId {
    let millisecond = u64::try_from(now.as_millisecond()).unwrap_or_default();
    GrantId(ulid::Ulid::from_parts(millisecond, rand::random()))
}
