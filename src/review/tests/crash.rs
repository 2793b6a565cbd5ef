//! The files as a killed process leaves them: copied while everything is open, never closed.

use std::sync::Arc;

use super::super::fixture::{Bench, actor, at, copy_as_killed};
use super::super::*;
use super::{executed, run};

/// What a process started after the kill finds.
async fn after_kill(bench: &Bench) -> Bench {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    copy_as_killed(bench.dir.path(), dir.path());
    let survivor = Bench::on(dir);
    survivor.review.recover(at(100)).await.unwrap();
    survivor
}

#[test]
fn a_kill_at_any_step_loses_no_decision_and_runs_nothing_twice() {
    run(async {
        let bench = Bench::new();
        let id = bench.ask("dba*2").await;
        let state = async |want: State| {
            let survivor = after_kill(&bench).await;
            let request = survivor.review.get(id).await.unwrap();
            assert_eq!(request.state, want);
            if want == State::Unknown {
                assert!(survivor.review.begin_execution(id, at(5)).await.is_err());
            }
            let votes = request.votes.len();
            (votes, survivor.audit_kinds().iter().filter(|kind| *kind == "intent").count())
        };
        assert_eq!(state(State::Pending).await, (0, 0));
        bench.review.approve(id, &actor("bob"), None, at(1)).await.unwrap();
        assert_eq!(state(State::Pending).await, (1, 0));
        bench.review.approve(id, &actor("carol"), None, at(2)).await.unwrap();
        assert_eq!(state(State::Approved).await, (2, 0));
        bench.review.begin_execution(id, at(3)).await.unwrap();
        assert_eq!(state(State::Unknown).await, (2, 1), "the intent was durable before the statement was released");
        bench.review.finish(id, &executed(), at(4)).await.unwrap();
        assert_eq!(state(State::Executed).await, (2, 1));
    });
}
