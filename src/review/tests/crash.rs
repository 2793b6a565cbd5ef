//! The files as a killed process leaves them: copied while everything is open, never closed.

use std::path::Path;
use std::sync::Arc;

use super::super::fixture::{Bench, actor, at};
use super::super::*;
use super::{executed, run};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = std::fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    // The writer goes on meanwhile, and writes what `head` speaks of before `head`: so must the copy find it.
    entries.sort_by_key(|entry| entry.file_name() != "head");
    for entry in entries {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What a process started after the kill finds.
async fn after_kill(bench: &Bench) -> Bench {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    copy(bench.dir.path(), dir.path());
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
