//! From approval to outcome: what the session reports while a released statement runs.
//!
//! Never forwards anything. Invariant: [`Review::begin_execution`] succeeds once per approval, and only after the intent
//! is on stable storage.

use std::sync::Arc;
use std::time::Duration;

use countersign_policy::grant::Binding;
use countersign_policy::rule::Mode;
use jiff::Timestamp;

use super::decide::{plan_end, proxy, unchanged};
use super::unsettled::Ending;
use super::{AccessRequest, Outcome, RequestId, Review, ReviewError, State};
use crate::audit::{Output, Record};
use crate::crash_point::{self, CrashPoint};
use crate::store::Change;

/// What is known of an execution when it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// Rows returned or changed.
    pub rows: u64,
    /// How long it ran upstream.
    pub duration: Duration,
    /// Names of the result columns that were masked.
    pub masked_columns: Vec<String>,
    /// How many cells were masked, by the name of the rule.
    pub masked_cells: Vec<(Arc<str>, u64)>,
    /// What is kept of its output.
    pub output: Option<Output>,
}

impl Execution {
    /// The state that it leads to, the word of the trail for it, and command tag or SQLSTATE.
    fn ended(&self) -> (State, &'static str, Option<&str>) {
        match &self.outcome {
            Outcome::Executed(tag) => (State::Executed, "executed", Some(tag)),
            Outcome::Failed(sqlstate) => (State::Failed, "failed", Some(sqlstate)),
            Outcome::Unknown => (State::Unknown, "unknown", None),
        }
    }
}

impl Review {
    /// Uses the approval up. After `Ok` the statement may be forwarded, once.
    ///
    /// # Errors
    /// When it is not approved, was used before, revoked or withdrawn, has expired, or its intent cannot be made durable. It
    /// is revoked when those who approved it are no longer in the groups in which they did.
    ///
    /// # Cancel safety
    /// When the future is dropped the approval may be used up; nothing was forwarded.
    pub async fn begin_execution(&self, id: RequestId, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.unsettled.begin(self.time(now));
        crash_point::reach(CrashPoint::BeforeUse);
        let begun = self.decide(id, |request| {
            let change = plan_end(request, State::Executing, &proxy(), None, now)?;
            if request.expires_at <= now {
                return Err(ReviewError::Expired);
            }
            match self.still_approved(request) {
                Ok(()) => Ok(change),
                Err(why) => plan_end(request, State::Revoked, &proxy(), Some(why), now),
            }
        });
        let request = match begun.await {
            Ok(request) if request.state == State::Executing => request,
            Ok(request) => return Err(ReviewError::AlreadyDecided { state: request.state }),
            Err(error) => return Err(self.not_released(id, error, now).await),
        };
        crash_point::reach(CrashPoint::BeforeIntent);
        let Err(error) = self.record_intent(&request, now).await else {
            crash_point::reach(CrashPoint::AfterIntent);
            return Ok(());
        };
        if self.config.load().audit.fail_open {
            tracing::warn!(request = %id, "intent not recorded; released because of audit.fail_open");
            return Ok(());
        }
        Err(self.not_released(id, error, now).await)
    }

    /// Ends what may have begun at `now` in the store, at once or when the store can be told.
    async fn not_released(&self, id: RequestId, error: ReviewError, now: Timestamp) -> ReviewError {
        let ending = Ending::NotReleased { begun_at: now };
        if let ReviewError::Audit(_) = error {
            // That it cannot be written down either is known already.
            let ended = self.end_execution(id, &ending, now).await;
            ended.unwrap_or_else(|failed| self.doubt(id, &failed, ending));
        } else {
            self.doubt(id, &error, ending);
        }
        error
    }

    async fn record_intent(&self, request: &AccessRequest, now: Timestamp) -> Result<(), ReviewError> {
        let approvers: Vec<_> = request.approvals().map(|vote| vote.by.clone()).collect();
        let text = request.approved_text();
        let told = self.told_of(request, &text);
        let record = Record::Intent {
            request: request.id,
            user: &request.user,
            database: &request.database,
            statement: &told.statement,
            parameters: &told.parameters,
            digest: told.digest.as_deref(),
            approvers: &approvers,
            reviewers: &request.reviewers,
        };
        Ok(self.audit.record_durable(now, &record).await?)
    }

    /// Writes down how the execution ended.
    ///
    /// # Errors
    /// When the request is not EXECUTING or it cannot be recorded.
    pub async fn finish(&self, id: RequestId, execution: &Execution, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.time(now);
        crash_point::reach(CrashPoint::BeforeOutcome);
        let (to, _, detail) = execution.ended();
        let ran = |untold| Ending::Ran { to, outcome: detail.map(str::to_owned), untold };
        let request = match self.get(id).await {
            Ok(request) => request,
            Err(error) => {
                self.doubt(id, &error, ran(Some(Box::new((execution.clone(), now)))));
                return Err(error);
            }
        };
        // The trail first: what ran is told even if the store fails after it.
        let recorded = self.note_outcome(&request, execution, (now, None));
        let ending = ran(None);
        self.end_execution(id, &ending, now).await.inspect_err(|error| self.doubt(id, error, ending.clone()))?;
        crash_point::reach(CrashPoint::AfterOutcome);
        recorded
    }

    /// Gives the trail how an execution ended and when, of a request that runs or that others count as UNKNOWN; the second
    /// time is given when it is told later than that.
    pub(super) fn note_outcome(
        &self,
        request: &AccessRequest,
        execution: &Execution,
        (ended_at, told_at): (Timestamp, Option<Timestamp>),
    ) -> Result<(), ReviewError> {
        if !matches!(request.state, State::Executing | State::Unknown) {
            return Ok(());
        }
        let (_, outcome, detail) = execution.ended();
        let record = Record::Outcome {
            request: Some(request.id),
            verdict: None,
            user: &request.user,
            database: &request.database,
            outcome,
            detail,
            rows: execution.rows,
            duration_ms: u64::try_from(execution.duration.as_millis()).unwrap_or(u64::MAX),
            masked_columns: &execution.masked_columns,
            masked_cells: &execution.masked_cells,
            output: execution.output.as_ref(),
            told_at,
        };
        self.note(ended_at, &record)
    }

    /// Leaves an approval with changes to be used by who sends the changed text, which is bound to this.
    ///
    /// # Errors
    /// When it is not APPROVED any more or it cannot be recorded.
    pub async fn rebind(&self, id: RequestId, binding: Binding) -> Result<(), ReviewError> {
        self.pending.forget(id);
        self.decide_after(id, |request| match request.state {
            State::Approved => Ok(Change { binding: Some(binding), mode: Some(Mode::Resubmit), ..unchanged(request) }),
            state => Err(ReviewError::AlreadyDecided { state }),
        })
        .await?;
        Ok(())
    }

    /// Takes back an approval because the request, judged again, is denied now.
    ///
    /// # Errors
    /// When it is not APPROVED or it cannot be recorded.
    pub async fn deny_after_approval(&self, id: RequestId, reason: String, now: Timestamp) -> Result<(), ReviewError> {
        let now = self.time(now);
        let reason = Some(reason);
        self.decide(id, |request| plan_end(request, State::Revoked, &proxy(), reason.clone(), now)).await?;
        Ok(())
    }
}
