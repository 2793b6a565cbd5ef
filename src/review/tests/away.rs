//! A store that does not answer, at the worst moments.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use arc_swap::ArcSwap;
use countersign_policy::rule::Mode;

use super::super::fixture::{PEOPLE, actor, at, config, new_request};
use super::super::*;
use super::{executed, run};
use crate::audit::{Audit, history_of};
use crate::store::Store;
use crate::store::tests::memory::{Fault, MemoryStore, Shelf};

/// A statement that runs, on a store whose answers can be made to fail.
struct Running {
    review: Arc<Review>,
    shelf: Arc<Mutex<Shelf>>,
    store: Arc<MemoryStore>,
    audit: Arc<Audit>,
    id: RequestId,
    lines: Vec<String>,
}

impl Running {
    async fn begin() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        shelf.lock().unwrap().now = at(0);
        let store = Arc::new(MemoryStore::join(&shelf, "one", false));
        let audit = Arc::new(Audit::detached());
        let config = Arc::new(ArcSwap::from_pointee(config(PEOPLE)));
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let review = Review::new(shared, Arc::clone(&audit), config);
        let opened = review.open(new_request("dba", Mode::Resubmit), at(0)).await.unwrap();
        let Opened::Resubmit(request) = opened else { panic!("{opened:?}") };
        review.approve(request.id, &actor("bob"), None, at(1)).await.unwrap();
        let mut running = Self { review: Arc::clone(&review), shelf, store, audit, id: request.id, lines: Vec::new() };
        running.write_down_while(review.begin_execution(request.id, at(2))).await.unwrap();
        running
    }

    /// Does something that may wait for the trail.
    async fn write_down_while<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => break done,
                () = tokio::task::yield_now() => self.write_down(),
            }
        }
    }

    fn write_down(&mut self) {
        self.lines.extend(self.audit.written());
    }

    fn outcomes(&mut self) -> Vec<serde_json::Value> {
        self.write_down();
        let records = self.lines.iter().map(|line| serde_json::from_str(line).unwrap());
        records.filter(|record: &serde_json::Value| record["kind"] == "outcome").collect()
    }
}

/// Ends the statement while the store fails at that call from then on; the trail tells of it once, when the store is back.
#[track_caller]
fn check(calls_before: usize, fault: Fault, told_late: bool) {
    run(async {
        let mut running = Running::begin().await;
        let (review, id) = (Arc::clone(&running.review), running.id);
        let execution = executed();
        let mut finish = Box::pin(review.finish(id, &execution, at(3)));
        // Each call of the store lets others go first, before it happens and before it answers.
        for _call in 0..calls_before * 2 {
            assert!(finish.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        running.shelf.lock().unwrap().fault = Some(fault);
        assert!(matches!(finish.await, Err(ReviewError::Store(_))));
        assert_eq!(running.outcomes().len(), usize::from(!told_late));
        // What nobody heard of is looked for after a minute.
        for seconds in [9, 200] {
            running.write_down_while(review.sweep(at(seconds))).await.unwrap();
        }
        assert_eq!(review.get(id).await.unwrap().state, State::Executed);
        let outcomes = running.outcomes();
        let [outcome] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((&outcome["detail"], &outcome["rows"]), (&"UPDATE 1".into(), &1.into()));
        assert_eq!(outcome["masked_columns"], serde_json::json!(["email"]));
        assert_eq!(outcome["at"], at(3).to_string());
        assert_eq!(outcome.get("told_at").is_some(), told_late, "{outcome}");
        let flaws = history_of(running.lines.iter().map(String::as_str)).flaws;
        assert!(flaws.is_empty(), "{flaws:#?}");
    });
}

#[test]
fn an_outcome_is_told_once_whenever_the_store_is_away_as_a_statement_ends() {
    check(0, Fault::Before, true);
    check(0, Fault::After, true);
    check(1, Fault::Before, false);
    check(1, Fault::After, false);
    check(2, Fault::Before, false);
    check(2, Fault::After, false);
}

/// Others have counted the proxy as gone meanwhile: what ran is told, and the request stays what it has become.
#[test]
fn an_outcome_that_comes_too_late_for_the_store_is_told_all_the_same() {
    run(async {
        let mut running = Running::begin().await;
        let (review, id) = (Arc::clone(&running.review), running.id);
        let other = MemoryStore::join(&running.shelf, "two", false);
        running.shelf.lock().unwrap().fault = Some(Fault::Before);
        assert!(review.finish(id, &executed(), at(3)).await.is_err());
        running.store.set_lease(false);
        other.reap().await.unwrap();
        running.write_down_while(review.sweep(at(9))).await.unwrap();
        assert_eq!(review.get(id).await.unwrap().state, State::Unknown);
        assert_eq!(running.outcomes().len(), 1);
    });
}
