//! Executions whose end the store could not be told when it was due, because it was away.
//!
//! Never forgets one while this process lives. Invariant: a statement that was not released is not left EXECUTING, and one
//! that ran is not left without its outcome, once the store is back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::decide::{plan_end, proxy, unchanged};
use super::{AccessRequest, Execution, RequestId, Review, ReviewError, State};
use crate::store::{Change, StoreError};

/// How many things may begin in the same microsecond.
const BEGINNINGS_MAX: i64 = 100_000;

/// How an execution ended.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    /// The upstream answered, or its connection died.
    Ran {
        /// EXECUTED, FAILED or UNKNOWN.
        to: State,
        /// Command tag or SQLSTATE.
        outcome: Option<String>,
        /// What the trail was not told, because the store did not say whose it was, and when it was due.
        untold: Option<Box<(Execution, Timestamp)>>,
    },
    /// The store did not say whether it had begun, so nothing was forwarded.
    NotReleased {
        /// When it would have begun: by [`Unsettled::begin`], which tells its beginning from that of another use of the
        /// approval here. A use through another proxy that began in the same microsecond is not told from it.
        begun_at: Timestamp,
    },
}

impl Ending {
    /// The change that ends the request, as it is now.
    fn plan(&self, request: &AccessRequest, now: Timestamp) -> Result<Change, ReviewError> {
        match self {
            Self::Ran { to, outcome, .. } => {
                let change = plan_end(request, *to, &proxy(), None, now)?;
                Ok(Change { outcome: outcome.clone(), ..change })
            }
            // One version more: should the call arrive only now, it finds nothing to begin.
            Self::NotReleased { .. } if request.state == State::Approved => Ok(unchanged(request)),
            Self::NotReleased { begun_at } => {
                let last = request.transitions.last().map(|transition| transition.at.as_microsecond());
                if last != Some(begun_at.as_microsecond()) {
                    return Err(ReviewError::AlreadyDecided { state: request.state });
                }
                let reason = Some("not released: it could not be recorded".to_owned());
                plan_end(request, State::Failed, &proxy(), reason, now)
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Unsettled {
    entries: Mutex<Vec<(RequestId, Ending)>>,
    /// When something has begun last, in microseconds.
    last_begun: AtomicI64,
}

impl Unsettled {
    /// The time at which something begins, which nothing else of this process has; later by as many microseconds as there
    /// are others.
    pub(super) fn begin(&self, now: Timestamp) -> Timestamp {
        let now = now.as_microsecond();
        // A clock that was set back must not be followed by times that are far off.
        let after = |last: i64| if (now..now + BEGINNINGS_MAX).contains(&last) { last + 1 } else { now };
        let last = self.last_begun.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        // The update is never refused.
        let begun = last.map_or(now, after);
        Timestamp::from_microsecond(begun).unwrap_or(Timestamp::MAX)
    }

    fn put(&self, entries: impl IntoIterator<Item = (RequestId, Ending)>) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    fn take(&self) -> Vec<(RequestId, Ending)> {
        std::mem::take(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Review {
    /// Remembers to end it later if the store has failed; any other error is an answer.
    pub(super) fn doubt(&self, id: RequestId, error: &ReviewError, ending: Ending) {
        if let ReviewError::Store(failed) = error
            && !matches!(failed, StoreError::IllegalTransition { .. })
        {
            self.unsettled.put([(id, ending)]);
        }
    }

    /// Ends an execution in the store.
    pub(super) async fn end_execution(
        &self,
        id: RequestId,
        ending: &Ending,
        now: Timestamp,
    ) -> Result<(), ReviewError> {
        let ended = self.decide_after(id, |request| ending.plan(request, now));
        ended.await.map(drop)
    }

    /// The trail first, as when it was due.
    async fn settle_one(&self, id: RequestId, ending: &mut Ending, now: Timestamp) -> Result<(), ReviewError> {
        let mut recorded = Ok(());
        if let Ending::Ran { untold: untold @ Some(_), .. } = ending {
            let request = self.get(id).await?;
            if let Some((execution, ended_at)) = untold.take().as_deref() {
                recorded = self.note_outcome(&request, execution, (*ended_at, Some(now)));
            }
        }
        self.end_execution(id, ending, now).await?;
        recorded
    }

    /// Tells the store what it could not be told before.
    pub(super) async fn settle(&self, now: Timestamp) -> Result<(), ReviewError> {
        let mut entries = self.unsettled.take().into_iter();
        while let Some((id, mut ending)) = entries.next() {
            // Any other error is an answer: it was never begun, or others count it as UNKNOWN, which stands.
            if let Err(error @ ReviewError::Store(_)) = self.settle_one(id, &mut ending, now).await {
                self.unsettled.put(entries.chain([(id, ending)]));
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::fixture::at;

    #[test]
    fn no_two_things_begin_at_the_same_time() {
        let unsettled = Unsettled::default();
        let begun: Vec<_> = [at(5), at(5), at(5), at(6)].map(|now| unsettled.begin(now).as_microsecond()).into();
        assert_eq!(begun, [5_000_000, 5_000_001, 5_000_002, 6_000_000].map(|since| at(0).as_microsecond() + since));
        assert_eq!(unsettled.begin(at(2)), at(2), "the clock was set back");
    }
}
