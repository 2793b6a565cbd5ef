//! [`Review`]: where held requests come in and are looked up.
//!
//! Never runs a statement. Invariant: a request is in the pending map before it is in the store, so no decision is lost.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};

use countersign_policy::grant::Grant;
use countersign_policy::rule::{Justification, Mode};

use super::decide::BYPASS;
use super::feed::{Changed, Feed};
use super::peers::Peers;
use super::pending::Pending;
use super::telling::Told;
use super::unsettled::Unsettled;
use super::votes::{covers, left};
use super::{
    ADMIN_GROUP, AccessRequest, Actor, Agreement, NewRequest, RequestId, ReviewError, State, Surface, Transition, Vote,
    Waiting,
};
use crate::audit::{Audit, AuditError, Record};
use crate::card::Card;
use crate::config::Config;
use crate::identity::people::People;
use crate::roles::Roles;
use crate::store::{Filter, NewRecord, Past, Store, Viewer, WaitingOn};
use crate::telemetry::{REQUESTS_REFUSED, TRANSITIONS};
use countersign_policy::verdict::ReviewerDemand;

/// Decides access requests; shared by every session and surface.
#[derive(Debug)]
pub struct Review {
    pub(super) store: Arc<dyn Store>,
    pub(super) audit: Arc<Audit>,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) pending: Arc<Pending>,
    /// What the store could not be told when it was due.
    pub(super) unsettled: Unsettled,
    /// Grants that lift holds.
    pub(super) in_force: ArcSwap<Vec<Arc<Grant>>>,
    /// Held while they are read from the store.
    pub(super) reading_grants: tokio::sync::Mutex<()>,
    /// Groups that come from roles.
    pub(super) roles: Arc<Roles>,
    /// Groups that come from the identity provider.
    pub(super) people: Arc<People>,
    /// What the trail tells and the store does not know to be told.
    pub(super) told: Told,
    /// By which rules others go.
    pub(super) peers: Peers,
    /// Tells who watches.
    pub(super) feed: Feed,
    /// Room for requests that are being recorded.
    pub(super) opening: Semaphore,
}

/// Requests of sessions that are recorded at the same time: the store writes about as many at once.
const OPENING_MAX: usize = 256;

/// What became of a request that is to be held.
#[derive(Debug)]
pub enum Opened {
    /// It waits on the wire.
    Waiting(Waiting),
    /// The same was approved before and not used yet; [`Review::begin_execution`] uses it up.
    Ticket {
        /// The approved request.
        id: RequestId,
        /// What was approved.
        agreement: Agreement,
    },
    /// It needs a reason and has none; nothing is stored.
    Unjustified,
    /// Its requester has as much undecided as `[limits] requests_per_user` says; nothing is stored.
    TooMany(u32),
    /// It is stored and does not wait: the client is told to send it again once it is approved.
    Resubmit(AccessRequest),
    /// The same was asked for before and is not decided yet: nothing new is stored, and it does not wait.
    Joined(AccessRequest),
    /// The requester is an admin and has approved it by asking.
    SelfApproved {
        /// The approved request.
        id: RequestId,
        /// The demands that count as met.
        met: Vec<ReviewerDemand>,
    },
}

impl Review {
    /// Puts the parts together. Call [`Review::recover`] before the first session.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, audit: Arc<Audit>, config: Arc<ArcSwap<Config>>) -> Arc<Self> {
        let (pending, unsettled, in_force, reading_grants) = Default::default();
        let (roles, people, told, peers, feed) = Default::default();
        Arc::new(Self {
            store,
            audit,
            config,
            pending,
            unsettled,
            in_force,
            reading_grants,
            roles,
            people,
            told,
            peers,
            feed,
            opening: Semaphore::new(OPENING_MAX),
        })
    }

    /// Waits for room to record a request. Without a limit the memory of a burst would be that of all its requests being
    /// recorded at once, which is many times what the holds take that are left of it.
    ///
    /// # Cancel safety
    /// Cancel safe; whoever comes again stands behind those who wait.
    pub(crate) async fn room_to_open(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.opening.acquire().await.ok()
    }

    /// Takes in a request whose verdict is Hold.
    ///
    /// # Errors
    /// When it cannot be stored or the audit trail cannot be written.
    ///
    /// # Cancel safety
    /// When the future is dropped, a request that was stored meanwhile is withdrawn by the next sweep, or stays open in
    /// mode `resubmit`.
    pub async fn open(&self, new: NewRequest, now: Timestamp) -> Result<Opened, ReviewError> {
        let now = self.time(now);
        self.audit_accepts()?;
        // One that waited is found again only if it was approved with changes.
        if let Some(ticket) = self.same(&new, State::Approved, now).await? {
            return Ok(Opened::Ticket { id: ticket.id, agreement: ticket.agreement() });
        }
        let unjustified = new.justification_asked == Justification::Required && new.justification.is_none();
        if self.bypasses(&new.user) && !unjustified {
            return self.self_approve(new, now).await;
        }
        if new.mode == Mode::Resubmit
            && let Some(open) = self.same(&new, State::Pending, now).await?
        {
            let open = self.justified_again(open, &new, now).await?;
            return Ok(Opened::Joined(open));
        }
        let limits = self.config.load().limits;
        if new.mode == Mode::Resubmit {
            let record = record_of(new, now, limits.undecided_max());
            let request = record.request.clone();
            return Ok(match self.store_new(record).await? {
                true => Opened::Resubmit(request),
                false => Opened::TooMany(limits.requests_per_user),
            });
        }
        // Who waits on the wire is asked at once; who does not wait has the time to give it.
        if unjustified {
            return Ok(Opened::Unjustified);
        }
        let record = record_of(new, now, limits.undecided_max());
        let waiting = self.pending.park(record.request.clone());
        match self.store_new(record).await {
            Ok(true) => Ok(Opened::Waiting(waiting)),
            Ok(false) => Ok(Opened::TooMany(limits.requests_per_user)),
            Err(error) => {
                // Whether it was stored is not known; the sweep withdraws it in case it was.
                drop(waiting);
                Err(error)
            }
        }
    }

    /// The request of that id.
    ///
    /// # Errors
    /// [`ReviewError::NotFound`], or when the store fails.
    pub async fn get(&self, id: RequestId) -> Result<AccessRequest, ReviewError> {
        self.store.get(id).await?.ok_or(ReviewError::NotFound)
    }

    /// What a reviewer is shown of it besides, if anything was noted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn card(&self, id: RequestId) -> Result<Option<Card>, ReviewError> {
        Ok(self.store.card(id).await?)
    }

    /// Puts a card in the place of the one before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn fill_card(&self, id: RequestId, card: Card) -> Result<(), ReviewError> {
        self.store.fill_card(id, card).await?;
        self.feed.tell(Changed::Request(id));
        Ok(())
    }

    /// How requests of the same shape were decided that were made before this one: by anybody, or by this user.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn past(&self, request: &AccessRequest, user: Option<&str>) -> Result<Past, ReviewError> {
        Ok(self.store.past(request.clone(), user.map(str::to_owned)).await?)
    }

    /// Who else must approve it, by the groups of this moment; nobody once it is decided.
    #[must_use]
    pub fn still_needed(&self, request: &AccessRequest) -> Vec<ReviewerDemand> {
        /// More people than any policy asks for.
        const MOST: u32 = 1000;
        if request.state != State::Pending {
            return Vec::new();
        }
        let people: Vec<_> = request.approvals().map(|vote| self.groups_on(&request.database, &vote.by)).collect();
        left(&request.reviewers, &people, MOST)
    }

    /// One page of requests, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, filter: Filter) -> Result<Vec<AccessRequest>, ReviewError> {
        Ok(self.store.list(filter).await?)
    }

    /// What waits for the vote of a person in those groups; the first `limit` of it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn waiting_on(&self, person: Viewer, now: Timestamp, limit: u32) -> Result<WaitingOn, ReviewError> {
        Ok(self.store.waiting_on(person, self.time(now), limit).await?)
    }

    /// Requests that wait on the wire of this process.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.pending.len()
    }

    /// The time by which requests expire: that of a shared store, whatever `now` this machine takes it for.
    #[must_use]
    pub fn time(&self, now: Timestamp) -> Timestamp {
        self.store.now().unwrap_or(now)
    }

    /// Whether a person in those groups may read the audit trail: admins, and members of `[audit] readers`.
    #[must_use]
    pub fn reads_audit(&self, groups: &[String]) -> bool {
        let readers = &self.config.load().audit.readers;
        groups.iter().any(|group| group == ADMIN_GROUP || readers.contains(group))
    }

    /// Whether a person in those groups may change the configuration: admins.
    #[must_use]
    pub fn configures(&self, groups: &[String]) -> bool {
        groups.iter().any(|group| group == ADMIN_GROUP)
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// Whether other proxies may use the same store.
    #[must_use]
    pub fn is_store_shared(&self) -> bool {
        self.store.now().is_some()
    }

    /// Whether the store can be used at this moment.
    #[must_use]
    pub fn is_store_reachable(&self) -> bool {
        self.store.is_reachable()
    }

    /// Whether the audit trail can be written.
    ///
    /// # Errors
    /// When it cannot.
    pub fn audit_health(&self) -> Result<(), AuditError> {
        self.audit.health()
    }

    pub(super) fn audit_accepts(&self) -> Result<(), ReviewError> {
        match self.audit.health() {
            Err(error) if !self.config.load().audit.fail_open => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a record, or ignores that it cannot be written when the configuration says so.
    pub(super) fn note(&self, at: Timestamp, record: &Record<'_>) -> Result<(), ReviewError> {
        self.write(at, record).map(drop)
    }

    /// As [`Review::note`]; when it is written, how often the trail had failed before.
    pub(super) fn write(&self, at: Timestamp, record: &Record<'_>) -> Result<Option<u64>, ReviewError> {
        let losses = self.audit.losses();
        match self.audit.record(at, record) {
            Ok(()) => Ok(Some(losses)),
            Err(_) if self.config.load().audit.fail_open => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn note_transition(&self, id: RequestId, transition: &Transition) -> Result<(), ReviewError> {
        tracing::info!(request = %id, to = %transition.to, surface = ?transition.surface, "access request changed");
        metrics::counter!(TRANSITIONS, "to" => transition.to.as_str()).increment(1);
        self.feed.tell(Changed::Request(id));
        self.record_transition(id, transition, None)
    }

    pub(super) fn note_vote(&self, request: &AccessRequest, vote: &Vote) -> Result<(), ReviewError> {
        self.feed.tell(Changed::Request(request.id));
        self.record_vote((request, request.version), vote, None)
    }

    /// An open request for exactly this, made on demands that cover today's.
    async fn same(&self, new: &NewRequest, state: State, now: Timestamp) -> Result<Option<AccessRequest>, ReviewError> {
        let found = self.store.find_resubmittable(new.binding, new.user.clone(), state, now).await?;
        Ok(found.filter(|request| covers(&request.reviewers, &new.reviewers)))
    }

    /// The open request, with the reason that came when it was sent again.
    async fn justified_again(
        &self,
        open: AccessRequest,
        new: &NewRequest,
        now: Timestamp,
    ) -> Result<AccessRequest, ReviewError> {
        let (None, Some(reason)) = (&open.justification, &new.justification) else { return Ok(open) };
        let requester = Actor { name: new.user.clone(), groups: new.groups.clone(), surface: Surface::Wire };
        match self.justify(open.id, &requester, reason, now).await {
            // It was decided or justified in this moment.
            Err(ReviewError::AlreadyDecided { .. } | ReviewError::AlreadyJustified | ReviewError::Expired) => Ok(open),
            justified => justified,
        }
    }

    /// Whether there was room for it.
    async fn store_new(&self, record: NewRecord) -> Result<bool, ReviewError> {
        let request = record.request.clone();
        if !self.store.create(record).await? {
            tracing::warn!(user = %request.user, "a user has as many undecided requests as one may have");
            metrics::counter!(REQUESTS_REFUSED).increment(1);
            return Ok(false);
        }
        request.votes.iter().try_for_each(|vote| self.note_vote(&request, vote))?;
        request.transitions.iter().try_for_each(|transition| self.note_transition(request.id, transition))?;
        Ok(true)
    }

    async fn self_approve(&self, new: NewRequest, now: Timestamp) -> Result<Opened, ReviewError> {
        let mut record = record_of(new, now, None);
        let request = &mut record.request;
        let reason = Some(BYPASS.to_owned());
        request.votes.push(Vote {
            by: request.user.clone(),
            groups: vec![ADMIN_GROUP.to_owned()],
            approve: true,
            reason: reason.clone(),
            at: request.created_at,
            surface: Surface::Wire,
            edited: None,
            offer: None,
            forced: false,
            max_affected: None,
        });
        request.transitions.push(Transition {
            from: Some(State::Pending),
            to: State::Approved,
            by: request.user.clone(),
            surface: Surface::Wire,
            at: request.created_at,
            reason,
        });
        request.state = State::Approved;
        request.decided_at = Some(request.created_at);
        let opened = Opened::SelfApproved { id: request.id, met: request.reviewers.clone() };
        self.store_new(record).await?;
        Ok(opened)
    }
}

/// The store keeps microseconds; what is handed out is what is read back later.
fn to_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn record_of(new: NewRequest, now: Timestamp, undecided_max: Option<u32>) -> NewRecord {
    let created_at = to_microseconds(now);
    let timeout = SignedDuration::try_from(new.timeout).unwrap_or(SignedDuration::MAX);
    let expires_at = to_microseconds(created_at.checked_add(timeout).unwrap_or(Timestamp::MAX));
    let millisecond = u64::try_from(created_at.as_millisecond()).unwrap_or_default();
    let opened = Transition {
        from: None,
        to: State::Pending,
        by: new.user.clone(),
        surface: Surface::Wire,
        at: created_at,
        reason: new.justification.clone(),
    };
    let request = AccessRequest {
        id: RequestId(ulid::Ulid::from_parts(millisecond, rand::random())),
        state: State::Pending,
        version: 1,
        user: new.user,
        groups: new.groups,
        database: new.database,
        client_address: new.client_address,
        application: new.application,
        statement: new.statement,
        parameters: new.parameters,
        summary: new.summary,
        effects: new.effects,
        rules: new.rules,
        causes: new.causes,
        shape: new.shape.map(|shape| hex::encode(shape.0)).unwrap_or_default(),
        messages: new.messages,
        reviewers: new.reviewers,
        justification: new.justification,
        justification_required: new.justification_asked == Justification::Required,
        in_transaction: new.in_transaction,
        rows_counted: new.rows_counted,
        created_at,
        expires_at,
        decided_at: None,
        votes: Vec::new(),
        transitions: vec![opened],
        outcome: None,
    };
    NewRecord { request, binding: new.binding, mode: new.mode, card: new.card, undecided_max }
}
