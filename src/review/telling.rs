//! What the store has and no trail tells: a process was killed between the two, or an answer of the store was lost.
//!
//! Never tells what this process's own trail tells already. Invariant: what the store takes to be told is on stable storage
//! in a trail.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::{
    AccessRequest, GrantId, GrantRecord, GrantTransition, RequestId, Review, ReviewError, State, Transition, Vote,
};
use crate::audit::{self, Record};
use crate::store::{Telling, Untold};
use crate::telemetry::TOLD_LATE;

/// How old something must be before it counts as forgotten while this process runs: longer than any call of the store.
const FORGOTTEN: SignedDuration = SignedDuration::from_secs(60);
/// What the store is told in one call: others must not wait long for theirs.
const CONFIRM_AT_ONCE: usize = 500;
/// How often the store is told what stands in the trail, and how often it is asked for what was forgotten.
const CONFIRM_EVERY: SignedDuration = SignedDuration::from_secs(1);
const ASK_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// What was given to the trail, and the store does not know yet.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// With how often the trail had failed when it was told: what it was told before it failed may be lost.
    given: Mutex<Vec<(Telling, u64)>>,
    confirmed: Due,
    asked: Due,
}

impl Told {
    fn add(&self, tellings: impl IntoIterator<Item = (Telling, u64)>) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).extend(tellings);
    }

    /// What the store is to be told now.
    fn take(&self) -> Vec<(Telling, u64)> {
        std::mem::take(&mut self.given.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When something was done last.
#[derive(Debug, Default)]
pub(super) struct Due(Mutex<Option<Timestamp>>);

impl Due {
    /// Whether so much time has passed since it was done, or it never was; then it counts as done now.
    pub(super) fn is_over(&self, now: Timestamp, every: SignedDuration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = last.is_none_or(|last| now.duration_since(last).abs() >= every);
        if is_over {
            *last = Some(now);
        }
        is_over
    }
}

/// What a trail tells.
#[derive(Debug, Default)]
pub struct Heard {
    /// Whether it was read: what it does not tell is not told.
    is_whole: bool,
    tellings: HashSet<Telling>,
    /// Requests of whose execution the outcome is told.
    outcomes: HashSet<RequestId>,
}

impl Heard {
    /// What the trail in that directory tells of that moment, and from then on.
    ///
    /// # Errors
    /// When the trail cannot be read.
    pub fn read(trail: &Path, since: Timestamp) -> io::Result<Self> {
        let mut heard = Self { is_whole: true, ..Self::default() };
        audit::tail(trail, since, &["vote", "transition", "outcome", "grant", "grant_vote"], |record| {
            heard.hear(&record)
        })?;
        Ok(heard)
    }

    /// What these records of a trail tell.
    #[cfg(test)]
    pub(super) fn of_lines(lines: &[String]) -> Self {
        let mut heard = Self { is_whole: true, ..Self::default() };
        lines.iter().for_each(|line| heard.hear(&audit::Entry::read(line.as_bytes()).unwrap()));
        heard
    }

    /// Takes in one record.
    fn hear(&mut self, record: &audit::Entry) {
        if record.text("kind") == "outcome" {
            self.outcomes.extend(record.text("request").parse().map(RequestId));
        }
        self.tellings.extend(Telling::of_record(record));
    }
}

impl Review {
    /// Tells what an earlier process on the same data directory has done and not told. Call it once, before anything else.
    ///
    /// # Errors
    /// When the store fails, or the trail cannot be read or written.
    pub async fn catch_up(&self, trail: &Path, now: Timestamp) -> Result<(), ReviewError> {
        self.catch_up_with(now, |since| Heard::read(trail, since)).await
    }

    /// As [`Review::catch_up`]; `hear` says what the trail tells from a moment on.
    pub(crate) async fn catch_up_with(
        &self,
        now: Timestamp,
        hear: impl Fn(Timestamp) -> io::Result<Heard>,
    ) -> Result<(), ReviewError> {
        let now = self.time(now);
        loop {
            let untold = self.store.untold(Timestamp::MAX).await?;
            let Some(first) = untold.first() else { return Ok(()) };
            let since = Timestamp::from_microsecond(first.at).unwrap_or(Timestamp::MIN);
            let heard = hear(since).map_err(ReviewError::Trail)?;
            self.tell_late(untold, &heard, now).await?;
            self.confirm().await?;
        }
    }

    /// Tells the store what stands in the trail, and the trail what others that are gone have not told, and what was
    /// forgotten because an answer of the store was lost.
    pub(super) async fn settle_trail(&self, now: Timestamp) -> Result<(), ReviewError> {
        // A trail that cannot be written tells nothing.
        if self.audit.health().is_err() || !self.told.confirmed.is_over(now, CONFIRM_EVERY) {
            return Ok(());
        }
        self.confirm().await?;
        if !self.told.asked.is_over(now, ASK_EVERY) {
            return Ok(());
        }
        let untold = self.store.untold(now - FORGOTTEN).await?;
        self.tell_late(untold, &Heard::default(), now).await?;
        self.confirm().await
    }

    /// Tells the store what stands in the trail, once it is on stable storage there.
    pub(super) async fn confirm(&self) -> Result<(), ReviewError> {
        let given = self.told.take();
        if given.is_empty() {
            return Ok(());
        }
        let confirmed = self.confirm_these(&given).await;
        // What is said twice does no harm.
        confirmed.inspect_err(|_error| self.told.add(given))
    }

    async fn confirm_these(&self, given: &[(Telling, u64)]) -> Result<(), ReviewError> {
        self.audit.synced().await?;
        // What was lost is told late, as if nobody had told it.
        let losses = self.audit.losses();
        let kept = given.iter().filter(|(_, before)| *before == losses);
        let kept: Vec<Telling> = kept.map(|(telling, _)| telling.clone()).collect();
        for part in kept.chunks(CONFIRM_AT_ONCE) {
            self.store.told(part.to_vec()).await?;
        }
        Ok(())
    }

    /// Gives a transition to the trail; `told_at` is given when that is later than it happened.
    pub(super) fn record_transition(
        &self,
        id: RequestId,
        transition: &Transition,
        told_at: Option<Timestamp>,
    ) -> Result<(), ReviewError> {
        let record = Record::Transition {
            request: id,
            from: transition.from,
            to: transition.to,
            by: &transition.by,
            surface: transition.surface,
            reason: transition.reason.as_deref(),
            told_at,
        };
        if let Some(losses) = self.write(transition.at, &record)? {
            self.told.add([(Telling::of_transition(id, transition), losses)]);
        }
        Ok(())
    }

    /// What the trail is to tell of a text for that request.
    pub(super) fn told_of<'a>(&self, request: &'a AccessRequest, text: &'a str) -> audit::Told<'a> {
        let literals = self.config.load().literals(&request.database);
        self.audit.told(literals, text, &request.parameters)
    }

    /// Gives a vote to the trail, likewise.
    pub(super) fn record_vote(
        &self,
        (request, version): (&AccessRequest, u64),
        vote: &Vote,
        told_at: Option<Timestamp>,
    ) -> Result<(), ReviewError> {
        let edited = vote.edited.as_deref().map(|edited| self.told_of(request, edited));
        let id = request.id;
        let record = Record::Vote {
            request: id,
            version,
            by: &vote.by,
            groups: &vote.groups,
            approve: vote.approve,
            surface: vote.surface,
            reason: vote.reason.as_deref(),
            edited: edited.as_ref().map(|edited| &*edited.statement),
            edited_digest: edited.as_ref().and_then(|edited| edited.digest.as_deref()),
            offer: vote.offer,
            forced: vote.forced,
            max_affected: vote.max_affected,
            told_at,
        };
        if let Some(losses) = self.write(vote.at, &record)? {
            self.told.add([(Telling::of_vote(id, vote), losses)]);
        }
        Ok(())
    }

    /// Gives a transition of a grant to the trail, likewise; told late it goes with the end that the grant has by now.
    pub(super) fn record_grant(
        &self,
        grant: &GrantRecord,
        step: &GrantTransition,
        told_at: Option<Timestamp>,
    ) -> Result<(), ReviewError> {
        let record = Record::Grant {
            grant: grant.id,
            from: step.from,
            to: step.to,
            by: &step.by,
            surface: step.surface,
            reason: step.reason.as_deref(),
            user: &grant.user,
            database: &grant.database,
            scope: &grant.scope,
            reviewers: &grant.reviewers,
            expires_at: grant.expires_at,
            request: grant.request,
            told_at,
        };
        if let Some(losses) = self.write(step.at, &record)? {
            self.told.add([(Telling::of_grant_step(grant.id, step), losses)]);
        }
        Ok(())
    }

    /// Gives a vote on a grant to the trail, likewise.
    pub(super) fn record_grant_vote(
        &self,
        id: GrantId,
        vote: &Vote,
        told_at: Option<Timestamp>,
    ) -> Result<(), ReviewError> {
        let record = Record::GrantVote {
            grant: id,
            by: &vote.by,
            groups: &vote.groups,
            approve: vote.approve,
            surface: vote.surface,
            reason: vote.reason.as_deref(),
            told_at,
        };
        if let Some(losses) = self.write(vote.at, &record)? {
            self.told.add([(Telling::of_grant_vote(id, vote), losses)]);
        }
        Ok(())
    }

    async fn tell_late(&self, untold: Vec<Untold>, heard: &Heard, now: Timestamp) -> Result<(), ReviewError> {
        let mut known: Option<AccessRequest> = None;
        for untold in untold {
            if heard.tellings.contains(&untold.telling) {
                self.told.add([(untold.telling, self.audit.losses())]);
                continue;
            }
            let id = match &untold.telling {
                Telling::Vote(id, ..) | Telling::Transition(id, _) => *id,
                Telling::GrantVote(id, ..) | Telling::GrantStep(id, _) => {
                    let grant = self.grant(*id).await?;
                    self.tell_grant_late(&grant, &untold.telling, now)?;
                    continue;
                }
            };
            let request = match known.take() {
                Some(request) if request.id == id => request,
                Some(_) | None => self.get(id).await?,
            };
            self.tell_one_late(&request, &untold, heard, now)?;
            known = Some(request);
        }
        Ok(())
    }

    fn tell_grant_late(&self, grant: &GrantRecord, telling: &Telling, now: Timestamp) -> Result<(), ReviewError> {
        tracing::warn!(grant = %grant.id, "the audit trail is told late of a change of a grant");
        metrics::counter!(TOLD_LATE).increment(1);
        let mut votes = grant.votes.iter();
        if let Some(vote) = votes.find(|vote| Telling::of_grant_vote(grant.id, vote) == *telling) {
            return self.record_grant_vote(grant.id, vote, Some(now));
        }
        let mut steps = grant.transitions.iter();
        match steps.find(|step| Telling::of_grant_step(grant.id, step) == *telling) {
            Some(step) => self.record_grant(grant, step, Some(now)),
            None => Ok(()),
        }
    }

    fn tell_one_late(
        &self,
        request: &AccessRequest,
        untold: &Untold,
        heard: &Heard,
        now: Timestamp,
    ) -> Result<(), ReviewError> {
        tracing::warn!(request = %request.id, "the audit trail is told late of a change of an access request");
        metrics::counter!(TOLD_LATE).increment(1);
        match &untold.telling {
            Telling::GrantVote(..) | Telling::GrantStep(..) => Ok(()),
            Telling::Vote(id, ..) => {
                let mut votes = request.votes.iter();
                let Some(vote) = votes.find(|vote| Telling::of_vote(*id, vote) == untold.telling) else {
                    return Ok(());
                };
                self.record_vote((request, untold.version), vote, Some(now))
            }
            Telling::Transition(id, _) => {
                let mut transitions = request.transitions.iter();
                let is = |transition: &&Transition| Telling::of_transition(*id, transition) == untold.telling;
                let Some(transition) = transitions.find(is) else { return Ok(()) };
                // The trail is told of an outcome before the store is; what was not released has none.
                let ran = matches!(transition.to, State::Executed | State::Failed) && request.outcome.is_some();
                let may_be_lost = heard.is_whole || untold.adopted;
                if ran && may_be_lost && !heard.outcomes.contains(id) {
                    self.note(transition.at, &outcome_of(request, transition.to, now))?;
                }
                self.record_transition(*id, transition, Some(now))
            }
        }
    }
}

/// What the store knows of an execution: how it ended, and its command tag or SQLSTATE.
fn outcome_of(request: &AccessRequest, to: State, now: Timestamp) -> Record<'_> {
    let detail = request.outcome.as_deref();
    let rows = detail.and_then(|tag| tag.rsplit(' ').next()?.parse().ok()).filter(|_| to == State::Executed);
    Record::Outcome {
        request: Some(request.id),
        verdict: None,
        user: &request.user,
        database: &request.database,
        outcome: if to == State::Executed { "executed" } else { "failed" },
        detail,
        rows: rows.unwrap_or(0),
        duration_ms: 0,
        masked_columns: &[],
        masked_cells: &[],
        output: None,
        told_at: Some(now),
    }
}
