//! Random histories of one request, checked against what must hold of every record.

use proptest::prelude::*;

use super::super::fixture::{Bench, actor, at};
use super::super::*;
use super::{executed, run};

#[derive(Clone, Debug)]
enum Step {
    Approve(usize),
    Reject(usize),
    Cancel(usize),
    Revoke(usize),
    Begin,
    Finish,
    Withdraw,
    Sweep,
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..7_usize).prop_map(Step::Approve),
        1 => (0..7_usize).prop_map(Step::Reject),
        1 => (0..7_usize).prop_map(Step::Cancel),
        1 => (0..7_usize).prop_map(Step::Revoke),
        2 => Just(Step::Begin),
        1 => Just(Step::Finish),
        1 => Just(Step::Withdraw),
        1 => Just(Step::Sweep),
        1 => (1..40_i64).prop_map(Step::Wait),
    ]
}

/// What must hold of a record whatever happened to it.
fn check_record(request: &AccessRequest) {
    let mut state = None;
    for transition in &request.transitions {
        assert_eq!(transition.from, state);
        assert!(state.is_none_or(|from: State| from.may_become(transition.to)));
        state = Some(transition.to);
    }
    assert_eq!(state, Some(request.state));
    let reached = |wanted| request.transitions.iter().filter(|transition| transition.to == wanted).count();
    assert!(reached(State::Executing) <= reached(State::Approved) && reached(State::Approved) <= 1);
    let people: Vec<Vec<String>> =
        request.votes.iter().filter(|vote| vote.approve).map(|vote| vote.groups.clone()).collect();
    assert_eq!(reached(State::Approved) == 1, votes::are_met(&request.reviewers, &people), "{request:#?}");
    let mut names: Vec<_> = request.votes.iter().filter(|vote| vote.approve).map(|vote| &vote.by).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), people.len());
    assert!(request.votes.iter().all(|vote| vote.by != request.user && !vote.groups.is_empty()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_the_record_stays_legal(
        demands in prop_oneof![Just("dba"), Just("dba*2"), Just("dba security"), Just("dba*2 security")],
        steps in proptest::collection::vec(step(), 1..25),
    ) {
        const NAMES: [&str; 7] = ["alice", "bob", "carol", "sam", "sven", "olga", "root"];
        run(async {
            let bench = Bench::new();
            let waiting = bench.hold(demands).await;
            let (id, mut now, mut begun) = (waiting.request.id, 0, 0);
            for step in steps {
                let before = bench.review.get(id).await.unwrap();
                let review = &bench.review;
                let done = match step {
                    Step::Approve(who) => review.approve(id, &actor(NAMES[who]), None, at(now)).await.is_ok(),
                    Step::Reject(who) => review.reject(id, &actor(NAMES[who]), "no".to_owned(), at(now)).await.is_ok(),
                    Step::Cancel(who) => review.cancel(id, &actor(NAMES[who]), None, at(now)).await.is_ok(),
                    Step::Revoke(who) => review.revoke(id, &actor(NAMES[who]), None, at(now)).await.is_ok(),
                    Step::Begin => {
                        let done = review.begin_execution(id, at(now)).await.is_ok();
                        assert!(!done || before.expires_at > at(now));
                        begun += u32::from(done);
                        done
                    }
                    Step::Finish => review.finish(id, &executed(), at(now)).await.is_ok(),
                    Step::Withdraw => { review.withdraw(id, at(now)).await.unwrap(); true }
                    Step::Sweep => { review.sweep(at(now)).await.unwrap(); true }
                    Step::Wait(seconds) => { now += seconds; true }
                };
                let after = bench.review.get(id).await.unwrap();
                check_record(&after);
                assert!(done || after.version == before.version, "a refused step changes nothing");
            }
            assert!(begun <= 1);
            assert!(bench.audit_kinds().iter().filter(|kind| *kind == "intent").count() == begun as usize);
        });
    }
}
