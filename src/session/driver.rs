//! All IO of one session: the two sockets, the decisions, the cancels and the clock.
//!
//! Never looks into a message; [`Machine`] does. Invariant: commands are carried out before the bytes they belong to are
//! written, so that a record exists before what it is about. This file is long because everything that a session waits for
//! is awaited here.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use countersign_policy::analysis::Footing;
use countersign_policy::grant::Binding;
use countersign_policy::rule::Mode;
use countersign_protocol::frontend;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::groups::Groups;
use super::machine::Machine;
use super::sockets::{self, Io, Sockets};
use super::unmasked::Watch;
use super::words::{BeginRefused, Command, Event, Finished, Identity, Judged, Opening, Ran, Stake, Surroundings};
use super::workroom;
use crate::audit::{self, Record, VerdictId};
use crate::bell::Bell;
use crate::cancel::CancelListener;
use crate::card::{Card, Case, Inquiry};
use crate::clock::reached;
use crate::config::Durability;
use crate::crash_point::{self, CrashPoint};
use crate::database::Database;
use crate::drain::Phase;
use crate::estimate::Question;
use crate::live::LiveEvent;
use crate::review::{
    self, AccessRequest, Agreement, Decision, Execution, Misfit, Opened, Outcome, RequestId, ReviewError, Wait, Waiting,
};
use crate::server::Shared;
use crate::sessions::Order;
use crate::stream::ClientStream;
use crate::telemetry;
use crate::upstream::{Origin, Upstream, UpstreamCancel};

/// How many turns of the sockets pass before a cancel is looked for even though they are ready.
const TURNS_PER_CANCEL_CHECK: u32 = 64;
/// A client that has connected within this time is about to ask for something; the proxy does not end before it has.
const NEWBORN: Duration = Duration::from_secs(1);
/// How long the end of a session waits until its cancel has been sent.
const CANCEL_WAIT: Duration = Duration::from_secs(5);
/// How long one load of the catalog may hold a statement up.
const CATALOG_WAIT: Duration = Duration::from_secs(15);

/// What a session is made of.
pub(crate) struct Parts {
    pub(crate) client: ClientStream,
    pub(crate) client_unread: BytesMut,
    pub(crate) upstream: Upstream,
    /// What the upstream has to be to serve another client afterwards; `None` where it is for this one only.
    pub(crate) origin: Option<Origin>,
    /// Rung for orders and cancels.
    pub(crate) bell: Arc<Bell>,
    pub(crate) cancels: CancelListener,
    pub(crate) identity: Identity,
    /// Groups that came with what the client has shown.
    pub(crate) brought: Vec<String>,
    /// Name of the session in the audit trail.
    pub(crate) name: String,
    /// Settings that the client has asked for at its start.
    pub(crate) settings: Vec<String>,
}

/// Drives one session to its end.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    database: Arc<Database>,
    sockets: Sockets,
    upstream_cancel: Arc<UpstreamCancel>,
    origin: Option<Origin>,
    bell: Arc<Bell>,
    cancels: CancelListener,
    /// A CancelRequest on its way to the upstream.
    sending_cancel: Option<JoinSet<()>>,
    machine: Machine,
    around: Surroundings,
    masks: Watch,
    groups: Groups,
    subject: countersign_policy::subject::Subject,
    waiting: Option<Wait>,
    began: Option<Instant>,
    name: String,
    born: Instant,
    closing: bool,
    /// The upstream owes nothing.
    gives_back: bool,
    turns: u32,
}

/// What woke the session.
enum Woken {
    Io(Io),
    Cancel,
    CancelSent,
    Decided,
    Ordered(Order),
    Tick,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, database: Arc<Database>, parts: Parts) -> Box<Self> {
        let subject = parts.identity.subject.clone();
        let around = Surroundings {
            config: shared.config(),
            catalog: database.catalog(),
            masks: Arc::default(),
            all_masks: Arc::default(),
            unmasked: Arc::default(),
            grants: shared.review.grants_in_force(),
            analyses: database.analyses(),
            audit_writable: true,
            now: Timestamp::now(),
        };
        let mut driver = Box::new(Self {
            machine: Machine::new(parts.identity, parts.client_unread, parts.upstream.unread),
            sockets: Sockets::new(parts.client, parts.upstream.stream),
            upstream_cancel: Arc::new(parts.upstream.cancel),
            origin: parts.origin,
            bell: parts.bell,
            cancels: parts.cancels,
            sending_cancel: None,
            around,
            masks: Watch::new(),
            groups: Groups::new(parts.brought),
            subject,
            waiting: None,
            began: None,
            name: parts.name,
            born: Instant::now(),
            closing: false,
            gives_back: false,
            turns: 0,
            shared,
            database,
        });
        driver.machine.began_with(&parts.settings);
        driver.masks.look(true, &mut driver.around, &driver.subject, &driver.database);
        driver
    }

    /// Runs until both sides are closed.
    pub(crate) async fn run(mut self: Box<Self>, mut orders: watch::Receiver<Order>) {
        self.look_around();
        let order = *orders.borrow_and_update();
        self.work(order.is_paused.then_some(Event::Paused(true))).await;
        match order.phase {
            Phase::Serving => {}
            Phase::Draining => self.work(Some(Event::DrainSoon)).await,
            Phase::Ending => self.work(Some(Event::DrainNow)).await,
        }
        loop {
            self.carry_out().await;
            if self.closing {
                break;
            }
            self.reach_crash_point();
            let woken = self.wait(&mut orders).await;
            self.reach_crash_point();
            self.look_around();
            let event = match woken {
                Woken::Io(Io::Progress) => {
                    self.work(None).await;
                    continue;
                }
                Woken::Io(Io::ClientEnded) => Event::ClientEnded,
                Woken::Io(Io::ClientClosed) => Event::ClientClosed,
                Woken::Io(Io::UpstreamClosed) => Event::UpstreamClosed,
                Woken::Cancel => Event::Cancel,
                Woken::CancelSent => Event::CancelSent,
                Woken::Ordered(order) => {
                    self.work(Some(Event::Paused(order.is_paused))).await;
                    match order.phase {
                        Phase::Serving => continue,
                        Phase::Draining if self.born.elapsed() < NEWBORN => Event::DrainSoon,
                        Phase::Draining => Event::Drain,
                        Phase::Ending => Event::DrainNow,
                    }
                }
                Woken::Tick => Event::Tick,
                Woken::Decided => match self.waiting.take() {
                    Some(waiting) if self.sockets.has_client_ended() => {
                        // It was not read while much waited behind the request: that it is gone shows only now.
                        self.waiting = Some(waiting);
                        Event::ClientEnded
                    }
                    Some(mut waiting) => {
                        let id = waiting.id();
                        let decision = waiting.decision().await;
                        Box::pin(self.tell_decision(id, &decision)).await;
                        Event::Decided(id, decision)
                    }
                    None => continue,
                },
            };
            self.work(Some(event)).await;
        }
        match self.origin.take().filter(|_| self.gives_back) {
            Some(origin) => Box::pin(self.give_back(origin)).await,
            None => Box::pin(self.part()).await,
        }
    }

    /// Ends the client's connection; the upstream's waits for the next client.
    async fn give_back(self: Box<Self>, origin: Origin) {
        let Self { sockets, mut machine, upstream_cancel, database, .. } = *self;
        let stream = sockets.part_from_client(&mut machine).await;
        let cancel = UpstreamCancel::clone(&upstream_cancel);
        let upstream = Upstream { stream, unread: BytesMut::new(), parameters: Vec::new(), cancel };
        database.kept().give_back(upstream, origin).await;
    }

    /// Ends both connections. A cancel of what runs must reach the upstream before that.
    async fn part(self: Box<Self>) {
        let Self { sockets, mut machine, sending_cancel, gives_back, .. } = *self;
        if gives_back {
            frontend::put_empty(machine.upstream_output(), frontend::tag::TERMINATE);
        }
        let sent = async {
            if let Some(mut sending) = sending_cancel {
                while sending.join_next().await.is_some() {}
            }
        };
        let sent = tokio::time::timeout(CANCEL_WAIT, sent);
        let (_, ()) = futures_util::future::join(sent, sockets.part(&mut machine)).await;
    }

    fn reach_crash_point(&mut self) {
        self.machine.crash_point(self.began.is_some()).into_iter().for_each(crash_point::reach);
    }

    /// Waits for the next thing to happen.
    ///
    /// # Cancel safety
    /// Every branch is cancel safe; bytes move only inside the poll that returns.
    async fn wait(&mut self, orders: &mut watch::Receiver<Order>) -> Woken {
        // The sockets come first, so that what a client sent before its cancel is seen before it. While a large result
        // streams they are always ready, and a cancel must be seen all the same.
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TURNS_PER_CANCEL_CHECK) && self.cancels.try_recv() {
            return Woken::Cancel;
        }
        let deadline = self.machine.deadline();
        let Self { sockets, machine, bell, cancels, sending_cancel, waiting, .. } = self;
        cancels.confirm();
        // What a session waits for all the time is asked for nothing while it says nothing; these are for few, and for a while.
        let is_calm = sending_cancel.is_none() && waiting.is_none() && deadline.is_none();
        let rest = async {
            tokio::select! {
                biased;
                () = sent(sending_cancel) => Woken::CancelSent,
                () = review::decided(waiting) => Woken::Decided,
                () = reached(deadline) => Woken::Tick,
            }
        };
        let mut rest = std::pin::pin!(rest);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(io) = sockets.poll(machine, cx) {
                return Poll::Ready(Woken::Io(io));
            }
            while bell.poll(cx).is_ready() {
                if cancels.try_recv() {
                    // It may have been rung for both.
                    bell.ring();
                    return Poll::Ready(Woken::Cancel);
                }
                if orders.has_changed().unwrap_or(false) {
                    return Poll::Ready(Woken::Ordered(*orders.borrow_and_update()));
                }
            }
            if is_calm { Poll::Pending } else { rest.as_mut().poll(cx) }
        })
        .await
    }

    /// Lets the session core take in an event, and work off what there is. What may take long does not keep other sessions
    /// from their thread, and waits until there is room for it.
    async fn work(&mut self, event: Option<Event>) {
        let (length, event) = match self.machine.lengthy() {
            Some(length) => (length, event),
            None => {
                self.machine.step(event, &self.around);
                match self.machine.interrupted() {
                    Some(length) => (length, None),
                    None => return,
                }
            }
        };
        // Few do that: the others keep no place for it.
        Box::pin(self.work_long(length, event)).await;
    }

    async fn work_long(&mut self, length: usize, event: Option<Event>) {
        let _room = self.shared.workroom.enter(length).await;
        workroom::lengthy(|| {
            self.machine.step(event, &self.around);
            if self.machine.interrupted().is_some() {
                self.machine.step(None, &self.around);
            }
        });
    }

    /// Takes in the world as it is now.
    fn look_around(&mut self) {
        self.around.now = Timestamp::now();
        self.around.audit_writable = self.shared.audit.health().is_ok();
        if let Some(grants) = self.shared.review.newer_grants(&self.around.grants) {
            self.around.grants = grants;
        }
        let config = self.shared.newer_config(&self.around.config);
        let catalog = self.database.newer_catalog(&self.around.catalog);
        let same = config.is_none() && catalog.is_none();
        if let Some(config) = config {
            self.around.config = config;
        }
        if let Some(catalog) = catalog {
            self.around.catalog = catalog;
        }
        let regrouped = self.groups.look(&mut self.subject, &self.around.config, &self.database);
        if regrouped {
            self.machine.regroup(self.subject.groups.clone());
        }
        self.masks.look(regrouped || !same, &mut self.around, &self.subject, &self.database);
    }

    /// Does what the machine asked for, until it asks for nothing more. Only then the sockets are looked at, so that what has
    /// to be recorded before it is forwarded is.
    async fn carry_out(&mut self) {
        let mut recorded = None;
        loop {
            self.do_asked(&mut recorded).await;
            let Some(written) = recorded.take() else { return };
            if written.wait().await.is_err() {
                self.record_failed();
            }
        }
    }

    /// Does what the machine asked for; `recorded` is the last record that has to be durable.
    async fn do_asked(&mut self, recorded: &mut Option<audit::Written>) {
        while let Some(command) = self.machine.next_command() {
            match command {
                Command::Record(judged) => *recorded = self.record(&judged).or(recorded.take()),
                // What has to be kept meanwhile is given back when it is done: a session that waits stays small.
                Command::Open(number, judged) => {
                    // As many at a time as the store takes at once: the others wait small.
                    sockets::give_back_all_buffers(&mut self.machine);
                    let shared = Arc::clone(&self.shared);
                    let _room = shared.review.room_to_open().await;
                    *recorded = Box::pin(self.open(number, judged)).await.or(recorded.take());
                }
                Command::Withdraw(id) => Box::pin(self.withdraw(id)).await,
                Command::LeaveOpen(id) => Box::pin(self.leave_open(id)).await,
                Command::Begin(id) => Box::pin(self.begin(id)).await,
                Command::Revoke(id) => Box::pin(self.revoke(id)).await,
                Command::Rebind(id, binding) => Box::pin(self.rebind(id, binding)).await,
                Command::Finish(finished) => Box::pin(self.finish(*finished)).await,
                Command::Ran(ran) => self.record_outcome(&ran),
                Command::CountMasked(cells) => telemetry::count_masked(&cells),
                Command::Estimate(question) => Box::pin(self.estimate(&question)).await,
                Command::Look(stake, footings) => Box::pin(self.look(stake, &footings)).await,
                Command::RefreshCatalog => Box::pin(self.refresh_catalog()).await,
                Command::GiveBack => {
                    self.gives_back = true;
                    self.closing = true;
                }
                Command::CancelUpstream => {
                    // It may arrive late, and hit whoever has the connection then.
                    self.origin = None;
                    let cancel = Arc::clone(&self.upstream_cancel);
                    self.sending_cancel.get_or_insert_with(JoinSet::new).spawn(async move {
                        if let Err(error) = cancel.cancel().await {
                            tracing::warn!(%error, "could not cancel upstream");
                        }
                    });
                }
                Command::ShutUpstream => self.sockets.shut_upstream(),
                Command::Close => self.closing = true,
            }
        }
    }

    fn record(&mut self, judged: &Judged) -> Option<audit::Written> {
        let subject = &self.subject;
        self.shared.verdicts.count(judged.verdict);
        self.database.tally().count(judged.verdict);
        if judged.verdict == "deny" && self.shared.live.is_watched() {
            let rule = judged.rules.first().cloned();
            self.shared.live.tell(LiveEvent::Denied { user: subject.user.clone(), rule });
        }
        let audit = &self.shared.audit;
        let literals = self.around.config.literals(&subject.database);
        let told = audit.told(literals, &judged.statement, &judged.parameters).briefly();
        let record = Record::Verdict {
            session: &self.name,
            number: judged.number,
            user: &subject.user,
            database: &subject.database,
            statement: &told.statement,
            parameters: &told.parameters,
            digest: told.digest.as_deref(),
            effects: judged.effects,
            verdict: judged.verdict,
            rules: &judged.rules,
            observed: &judged.observed,
            request: judged.access_request,
            not_opened: judged.not_opened,
            grant: judged.grant.as_deref(),
            unmasked_by: &judged.unmasked_by,
        };
        let written = match self.around.config.audit.durability {
            Durability::Async => audit.record(self.around.now, &record).map(|()| None),
            Durability::BeforeForward => audit.record_hurried(self.around.now, &record).map(Some),
        };
        written.unwrap_or_else(|_error| {
            self.record_failed();
            None
        })
    }

    /// Tells the trail how something ended that was allowed at once.
    fn record_outcome(&mut self, ran: &Ran) {
        let (outcome, detail) = match &ran.outcome {
            Outcome::Executed(tag) => ("executed", Some(tag.as_str())),
            Outcome::Failed(sqlstate) => ("failed", Some(sqlstate.as_str())),
            Outcome::Unknown => ("unknown", None),
        };
        let record = Record::Outcome {
            request: None,
            verdict: Some(VerdictId { session: &self.name, number: ran.number }),
            user: &self.subject.user,
            database: &self.subject.database,
            outcome,
            detail,
            rows: ran.rows,
            // The turn in which its end came: no clock is asked for it.
            duration_ms: u64::try_from(self.around.now.duration_since(ran.judged_at).as_millis()).unwrap_or(0),
            masked_columns: &ran.masked,
            masked_cells: &ran.masked_cells,
            output: None,
            told_at: None,
        };
        if self.shared.audit.record(self.around.now, &record).is_err() {
            self.record_failed();
        }
    }

    fn record_failed(&mut self) {
        if !self.around.config.audit.fail_open {
            tracing::error!("audit cannot be written; closing the session");
            self.machine.on_event(Event::RecordFailed, &self.around);
        }
    }

    async fn estimate(&mut self, question: &Question) {
        let rows = self.database.estimator().rows(question).await;
        self.look_around();
        self.work(Some(Event::Estimated(rows))).await;
    }

    async fn open(&mut self, number: u64, judged: Box<Judged>) -> Option<audit::Written> {
        let Some(mut request) = self.machine.request_to_open(number, &self.around) else {
            return self.record(&judged.withdrawn());
        };
        let (card, inquiry) = (request.card.clone(), std::mem::take(&mut request.inquiry));
        let uses_approvals = request.mode != Mode::Wait;
        let opening = match self.shared.review.open(*request, self.around.now).await {
            Ok(Opened::Waiting(Waiting { request, wait })) => {
                let request = Box::new(request);
                self.shared.live.tell(LiveEvent::Held {
                    id: request.id.to_string(),
                    user: request.user.clone(),
                    summary: request.summary.clone(),
                    reviewers: request.reviewers.iter().map(|demand| demand.group.clone()).collect(),
                });
                self.waiting = Some(wait);
                let misfit = if uses_approvals { self.misfit(&request, &card).await } else { None };
                self.gather(request.id, card, inquiry);
                Some(Opening::Waiting(request, misfit))
            }
            Ok(Opened::Ticket { id, agreement }) => Some(Opening::Ready(id, agreement)),
            Ok(Opened::SelfApproved { id, met }) => Some(Opening::Ready(id, Agreement { met, ..Agreement::default() })),
            Ok(Opened::Unjustified) => Some(Opening::Unjustified),
            Ok(Opened::TooMany(limit)) => Some(Opening::TooMany(limit)),
            Ok(Opened::Resubmit(request)) => {
                let misfit = self.misfit(&request, &card).await;
                self.gather(request.id, card, inquiry);
                Some(Opening::Resubmit(Box::new(request), misfit))
            }
            Ok(Opened::Joined(request)) => {
                let misfit = self.misfit(&request, &card).await;
                Some(Opening::Resubmit(Box::new(request), misfit))
            }
            Err(error) => {
                tracing::error!(%error, "could not record a held request");
                None
            }
        };
        self.look_around();
        let recorded = self.record(&judged.opened(opening.as_ref()));
        self.work(Some(Event::Opened(number, opening))).await;
        recorded
    }

    /// An approval of the same that does not fit; without an answer of the store its requester has to find out.
    async fn misfit(&self, request: &AccessRequest, card: &Card) -> Option<Misfit> {
        let found = self.shared.review.misfit(request, card).await;
        found.inspect_err(|error| tracing::debug!(%error, "could not look for approvals that do not fit")).ok()?
    }

    /// Has gathered what reviewers are shown; nothing waits for it.
    fn gather(&self, request: RequestId, card: Card, inquiry: Inquiry) {
        let (database, backend) = (Arc::clone(&self.database), self.upstream_cancel.process_id());
        self.shared.cards.gather(Case { request, database, card, inquiry, backend });
    }

    /// Tells those who watch how a held request ended.
    async fn tell_decision(&self, id: RequestId, decision: &Decision) {
        if !self.shared.live.is_watched() {
            return;
        }
        let request = id.to_string();
        let event = match decision {
            Decision::Approved(_) => {
                let record = self.shared.review.get(id).await.ok();
                let by = record.and_then(|record| record.votes.last().map(|vote| vote.by.clone()));
                LiveEvent::Approved { id: request, by: by.unwrap_or_default() }
            }
            Decision::Rejected { by, .. } => LiveEvent::Rejected { id: request, by: by.clone() },
            Decision::Expired => LiveEvent::Closed { id: request, state: "expired".to_owned() },
            Decision::Cancelled => LiveEvent::Closed { id: request, state: "cancelled".to_owned() },
        };
        self.shared.live.tell(event);
    }

    async fn withdraw(&mut self, id: RequestId) {
        self.shared.live.tell(LiveEvent::Closed { id: id.to_string(), state: "withdrawn".to_owned() });
        self.waiting = None;
        if let Err(error) = self.shared.review.withdraw(id, Timestamp::now()).await {
            tracing::debug!(%error, "request was decided before it could be withdrawn");
        }
    }

    async fn leave_open(&mut self, id: RequestId) {
        let left = match self.shared.review.park(id, Timestamp::now()).await {
            Ok(request) => {
                self.waiting = None;
                Some(Box::new(request))
            }
            Err(error) => {
                tracing::debug!(%error, "request was decided before it could be left open");
                None
            }
        };
        self.work(Some(Event::LeftOpen(id, left))).await;
    }

    async fn begin(&mut self, id: RequestId) {
        let begun = match self.shared.review.begin_execution(id, Timestamp::now()).await {
            Ok(()) => {
                crash_point::reach(CrashPoint::BeforeForward);
                self.began = Some(Instant::now());
                Ok(())
            }
            Err(ReviewError::Store(_) | ReviewError::Audit(_)) => Err(BeginRefused::Unavailable),
            Err(_answer) => Err(BeginRefused::Unusable),
        };
        self.work(Some(Event::Begun(id, begun))).await;
    }

    async fn revoke(&mut self, id: RequestId) {
        let reason = "judged again after approval, it is not allowed".to_owned();
        if let Err(error) = self.shared.review.deny_after_approval(id, reason, Timestamp::now()).await {
            tracing::warn!(%error, request = %id, "could not revoke an approval");
        }
    }

    async fn rebind(&mut self, id: RequestId, binding: Binding) {
        if let Err(error) = self.shared.review.rebind(id, binding).await {
            tracing::warn!(%error, request = %id, "could not leave an approval for its changed text");
        }
    }

    async fn finish(&mut self, finished: Finished) {
        let outcome = match &finished.outcome {
            Outcome::Executed(tag) => Ok(tag.clone()),
            Outcome::Failed(sqlstate) => Err(sqlstate.clone()),
            Outcome::Unknown => Err("unknown".to_owned()),
        };
        self.shared.live.tell(LiveEvent::Finished { id: finished.id.to_string(), outcome });
        let execution = Execution {
            outcome: finished.outcome,
            rows: finished.rows,
            duration: self.began.take().map_or(Duration::ZERO, |began| began.elapsed()),
            masked_columns: finished.masked,
            masked_cells: finished.masked_cells,
            output: finished.output,
        };
        if let Err(error) = self.shared.review.finish(finished.id, &execution, Timestamp::now()).await {
            tracing::error!(%error, request = %finished.id, "could not record an outcome");
        }
    }

    async fn look(&mut self, stake: Stake, footings: &[Arc<Footing>]) {
        let looked = self.database.look(footings).await;
        self.look_around();
        self.work(Some(Event::Looked(stake, looked))).await;
    }

    async fn refresh_catalog(&mut self) {
        match tokio::time::timeout(CATALOG_WAIT, self.database.refresh()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "could not load the catalog"),
            Err(_) => tracing::warn!("loading the catalog takes too long; using the old one"),
        }
        self.look_around();
        self.work(Some(Event::CatalogRefreshed)).await;
    }
}

/// Completes when the CancelRequest has been sent, or could not be; never while there is none.
///
/// # Cancel safety
/// Cancel safe.
async fn sent(sending: &mut Option<JoinSet<()>>) {
    match sending {
        Some(requests) => while requests.join_next().await.is_some() {},
        None => std::future::pending().await,
    }
    *sending = None;
}
