mod away;
mod clock;
mod crash;
mod edits;
mod grants;
mod model;
mod shared;

use std::sync::Arc;

use countersign_policy::rule::Mode;

use super::fixture::{Bench, PEOPLE, actor, at, config, new_request};
use super::*;
use crate::store::Filter;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn executed() -> Execution {
    Execution {
        outcome: Outcome::Executed("UPDATE 1".to_owned()),
        rows: 1,
        duration: std::time::Duration::from_millis(5),
        masked_columns: vec!["email".to_owned()],
        masked_cells: vec![("emails".into(), 1)],
        output: None,
    }
}

/// Lets people vote one after the other (`-name` rejects) and wants these answers; the state at the end comes last.
#[track_caller]
fn check(demands: &str, votes: &str, want: &str) {
    let got = run(async {
        let bench = Bench::new();
        let waiting = bench.hold(demands).await;
        let id = waiting.request.id;
        let mut got = Vec::new();
        for word in votes.split_whitespace() {
            let vote = match word.strip_prefix('-') {
                Some(name) => bench.review.reject(id, &actor(name), "no".to_owned(), at(1)).await,
                None => bench.review.approve(id, &actor(word), None, at(1)).await,
            };
            got.push(match vote {
                Ok(_) => "ok".to_owned(),
                Err(error) => format!("{error:?}").split([' ', '{', '(']).next().unwrap().to_owned(),
            });
        }
        got.push(bench.review.get(id).await.unwrap().state.to_string());
        got.join(" ")
    });
    assert_eq!(got, want);
}

#[test]
fn votes_are_counted_as_documented() {
    check("dba", "bob", "ok APPROVED");
    check("dba", "alice", "OwnRequest PENDING");
    check("dba", "sven", "NotEligible PENDING");
    check("dba", "nobody", "NotEligible PENDING");
    check("dba", "root", "NotEligible PENDING");
    check("dba*2", "bob bob bob", "ok AlreadyVoted AlreadyVoted PENDING");
    check("dba*2", "bob carol", "ok ok APPROVED");
    check("dba security", "sam", "ok PENDING");
    check("dba security", "sam bob", "ok ok APPROVED");
    check("dba security", "bob carol sven", "ok ok ok APPROVED");
    check("dba security", "bob -sven sam", "ok ok AlreadyDecided REJECTED");
    check("dba*2", "bob -bob", "ok ok REJECTED");
    check("dba", "-bob bob", "ok AlreadyDecided REJECTED");
    check("dba", "-alice", "OwnRequest PENDING");
    check("dba", "-sven", "NotEligible PENDING");
    check("", "bob root", "NotEligible NotEligible PENDING");
}

#[test]
fn a_rejection_takes_a_reason_and_wakes_the_session_with_it() {
    run(async {
        let bench = Bench::new();
        let mut waiting = bench.hold("security dba").await;
        let id = waiting.request.id;
        let refused = bench.review.reject(id, &actor("sam"), " ".to_owned(), at(1)).await;
        assert!(matches!(refused, Err(ReviewError::ReasonRequired)));
        bench.review.reject(id, &actor("sam"), "not today".to_owned(), at(1)).await.unwrap();
        let want =
            Decision::Rejected { by: "sam".to_owned(), group: "security".to_owned(), reason: "not today".to_owned() };
        assert_eq!(waiting.decision().await, want);
        assert_eq!(waiting.decision().await, want);
        assert_eq!(bench.review.holds(), 0);
    });
}

#[test]
fn an_approval_runs_once_and_is_written_down_in_order() {
    run(async {
        let bench = Bench::new();
        let mut waiting = bench.hold("dba").await;
        let id = waiting.request.id;
        assert!(matches!(
            bench.review.begin_execution(id, at(1)).await,
            Err(ReviewError::AlreadyDecided { state: State::Pending })
        ));
        bench.review.approve(id, &actor("bob"), Some("fine".to_owned()), at(2)).await.unwrap();
        assert_eq!(
            waiting.decision().await,
            Decision::Approved(Agreement { met: waiting.request.reviewers.clone(), ..Agreement::default() })
        );
        bench.review.begin_execution(id, at(3)).await.unwrap();
        assert!(matches!(
            bench.review.begin_execution(id, at(3)).await,
            Err(ReviewError::AlreadyDecided { state: State::Executing })
        ));
        bench.review.finish(id, &executed(), at(4)).await.unwrap();
        assert!(bench.review.finish(id, &executed(), at(4)).await.is_err());
        let request = bench.review.get(id).await.unwrap();
        assert_eq!((request.state, request.outcome.as_deref()), (State::Executed, Some("UPDATE 1")));
        assert_eq!(request.decided_at, Some(at(2)));
        let kinds = bench.audit_kinds();
        assert_eq!(kinds.join(" "), "PENDING vote APPROVED EXECUTING intent outcome EXECUTED");
    });
}

#[test]
fn a_withdrawn_request_never_runs() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba").await;
        bench.review.withdraw(waiting.request.id, at(1)).await.unwrap();
        let late = bench.review.approve(waiting.request.id, &actor("bob"), None, at(2)).await;
        assert!(matches!(late, Err(ReviewError::AlreadyDecided { state: State::Cancelled })));

        let waiting = bench.hold("dba").await;
        bench.review.approve(waiting.request.id, &actor("bob"), None, at(2)).await.unwrap();
        bench.review.withdraw(waiting.request.id, at(3)).await.unwrap();
        assert!(bench.review.begin_execution(waiting.request.id, at(3)).await.is_err());
    });
}

#[test]
fn a_client_in_mode_auto_may_leave_and_come_back() {
    run(async {
        let bench = Bench::new();
        let opened = bench.review.open(new_request("dba", Mode::Auto), at(0)).await.unwrap();
        let Opened::Waiting(waiting) = opened else { panic!("{opened:?}") };
        let id = bench.review.park(waiting.request.id, at(1)).await.unwrap().id;
        drop(waiting);
        bench.review.sweep(at(2)).await.unwrap();
        let bench = bench.restart();
        bench.review.recover(at(3)).await.unwrap();
        bench.review.approve(id, &actor("bob"), None, at(4)).await.unwrap();
        assert!(matches!(bench.review.park(id, at(5)).await, Err(ReviewError::AlreadyDecided { .. })));
        let opened = bench.review.open(new_request("dba", Mode::Auto), at(6)).await.unwrap();
        assert!(matches!(opened, Opened::Ticket { id: ticket, .. } if ticket == id), "{opened:?}");
        bench.review.begin_execution(id, at(7)).await.unwrap();
    });
}

#[test]
fn a_session_that_vanishes_withdraws_at_the_next_sweep() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba").await;
        let id = waiting.request.id;
        drop(waiting);
        assert_eq!(bench.review.holds(), 0);
        bench.review.sweep(at(1)).await.unwrap();
        assert_eq!(bench.review.get(id).await.unwrap().state, State::Cancelled);
    });
}

#[test]
fn cancel_is_for_the_requester_and_admins() {
    run(async {
        let bench = Bench::new();
        for (name, allowed) in [("bob", false), ("olga", false), ("alice", true), ("root", true)] {
            let mut waiting = bench.hold("dba").await;
            let cancelled = bench.review.cancel(waiting.request.id, &actor(name), None, at(1)).await;
            assert_eq!(cancelled.is_ok(), allowed, "{name}");
            if allowed {
                assert_eq!(waiting.decision().await, Decision::Cancelled);
            }
        }
    });
}

#[test]
fn a_revoked_or_denied_approval_cannot_be_used() {
    run(async {
        let bench = Bench::new();
        let id = bench.ask("dba").await;
        assert!(bench.review.revoke(id, &actor("bob"), None, at(1)).await.is_err());
        bench.review.approve(id, &actor("bob"), None, at(1)).await.unwrap();
        assert!(matches!(
            bench.review.revoke(id, &actor("sven"), None, at(2)).await,
            Err(ReviewError::NotEligible { .. })
        ));
        bench.review.revoke(id, &actor("carol"), None, at(2)).await.unwrap();
        assert!(bench.review.begin_execution(id, at(3)).await.is_err());

        let id = bench.ask("dba").await;
        bench.review.approve(id, &actor("bob"), None, at(1)).await.unwrap();
        bench.review.deny_after_approval(id, "denied by rule \"x\"".to_owned(), at(2)).await.unwrap();
        assert_eq!(bench.review.get(id).await.unwrap().state, State::Revoked);
    });
}

#[test]
fn time_runs_out_for_requests_and_for_approvals() {
    run(async {
        let bench = Bench::new();
        let mut waiting = bench.hold("dba").await;
        bench.review.sweep(at(59)).await.unwrap();
        assert_eq!(bench.review.get(waiting.request.id).await.unwrap().state, State::Pending);
        let late = bench.review.approve(waiting.request.id, &actor("bob"), None, at(60)).await;
        assert!(matches!(late, Err(ReviewError::Expired)));
        bench.review.sweep(at(60)).await.unwrap();
        assert_eq!(waiting.decision().await, Decision::Expired);

        let id = bench.ask("dba").await;
        bench.review.approve(id, &actor("bob"), None, at(59)).await.unwrap();
        bench.review.sweep(at(60)).await.unwrap();
        assert_eq!(bench.review.get(id).await.unwrap().state, State::Approved);
        assert!(matches!(bench.review.begin_execution(id, at(119)).await, Err(ReviewError::Expired)));
        bench.review.sweep(at(119)).await.unwrap();
        assert_eq!(bench.review.get(id).await.unwrap().state, State::Expired);
    });
}

#[test]
fn a_ticket_is_for_exactly_the_same_statement_and_is_used_once() {
    run(async {
        let bench = Bench::new();
        let id = bench.ask("dba").await;
        assert_eq!(bench.ask("dba").await, id, "the same statement joins the open request");
        bench.review.approve(id, &actor("bob"), None, at(1)).await.unwrap();

        let other = NewRequest { binding: Binding([8; 32]), ..new_request("dba", Mode::Resubmit) };
        assert!(matches!(bench.review.open(other, at(2)).await.unwrap(), Opened::Resubmit(_)));
        let other = NewRequest { user: "maya".to_owned(), ..new_request("dba", Mode::Resubmit) };
        assert!(matches!(bench.review.open(other, at(2)).await.unwrap(), Opened::Resubmit(_)));
        let stricter = new_request("dba security", Mode::Resubmit);
        assert!(matches!(bench.review.open(stricter, at(2)).await.unwrap(), Opened::Resubmit(_)));

        for _session in 0..2 {
            let opened = bench.review.open(new_request("dba", Mode::Resubmit), at(2)).await.unwrap();
            assert!(matches!(opened, Opened::Ticket { id: ticket, .. } if ticket == id), "{opened:?}");
        }
        let (one, two) = tokio::join!(bench.review.begin_execution(id, at(3)), bench.review.begin_execution(id, at(3)));
        assert_ne!(one.is_ok(), two.is_ok());
        let opened = bench.review.open(new_request("dba", Mode::Resubmit), at(4)).await.unwrap();
        assert!(matches!(opened, Opened::Joined(request) if request.id != id), "the stricter one is still open");
    });
}

#[test]
fn nobody_asks_for_more_than_people_can_decide() {
    run(async {
        let bench = Bench::new();
        let mut few = config(PEOPLE);
        few.limits.requests_per_user = 2;
        bench.config.store(Arc::new(few));
        let nth = |n: u8, mode| NewRequest { binding: Binding([n; 32]), ..new_request("dba", mode) };
        let open = async |new| bench.review.open(new, at(0)).await.unwrap();
        let Opened::Resubmit(first) = open(nth(1, Mode::Resubmit)).await else { panic!() };
        let Opened::Waiting(second) = open(nth(2, Mode::Auto)).await else { panic!() };
        for mode in [Mode::Wait, Mode::Auto, Mode::Resubmit] {
            let opened = open(nth(3, mode)).await;
            assert!(matches!(opened, Opened::TooMany(2)), "{opened:?}");
        }
        bench.review.park(second.request.id, at(1)).await.unwrap();
        assert!(matches!(open(nth(3, Mode::Resubmit)).await, Opened::TooMany(2)), "who leaves it open has it still");
        let filter = Filter { limit: 10, ..Filter::default() };
        assert_eq!(bench.review.list(filter).await.unwrap().len(), 2, "nothing is stored");

        assert!(matches!(open(nth(1, Mode::Resubmit)).await, Opened::Joined(found) if found.id == first.id));
        let of_another = NewRequest { user: "maya".to_owned(), ..nth(3, Mode::Resubmit) };
        assert!(matches!(open(of_another).await, Opened::Resubmit(_)));
        bench.review.approve(first.id, &actor("bob"), None, at(1)).await.unwrap();
        assert!(matches!(open(nth(3, Mode::Resubmit)).await, Opened::Resubmit(_)), "what is decided leaves room");
        assert!(matches!(open(nth(1, Mode::Resubmit)).await, Opened::Ticket { .. }), "and runs");
    });
}

#[test]
fn an_approval_given_on_the_wire_is_no_ticket() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba").await;
        bench.review.approve(waiting.request.id, &actor("bob"), None, at(1)).await.unwrap();
        let opened = bench.review.open(new_request("dba", Mode::Resubmit), at(2)).await.unwrap();
        assert!(matches!(opened, Opened::Resubmit(_)), "{opened:?}");
    });
}

#[test]
fn admins_approve_their_own_only_while_the_configuration_says_so() {
    run(async {
        let bench = Bench::new();
        let by_root = |mode| NewRequest { user: "root".to_owned(), ..new_request("dba", mode) };
        let opened = bench.review.open(by_root(Mode::Wait), at(0)).await.unwrap();
        let Opened::SelfApproved { id, .. } = opened else { panic!("{opened:?}") };
        let request = bench.review.get(id).await.unwrap();
        assert_eq!((request.state, request.votes[0].by.as_str()), (State::Approved, "root"));
        bench.review.begin_execution(id, at(1)).await.unwrap();

        let mut strict = config(PEOPLE);
        strict.review.admins_bypass = false;
        bench.config.store(Arc::new(strict));
        let opened = bench.review.open(by_root(Mode::Wait), at(2)).await.unwrap();
        let Opened::Waiting(waiting) = opened else { panic!("{opened:?}") };
        let own = bench.review.approve(waiting.request.id, &actor("root"), None, at(3)).await;
        assert!(matches!(own, Err(ReviewError::OwnRequest)));
        bench.config.store(Arc::new(config(PEOPLE)));
        bench.review.approve(waiting.request.id, &actor("root"), None, at(3)).await.unwrap();
    });
}

#[test]
fn groups_in_the_request_do_not_make_an_admin() {
    run(async {
        let bench = Bench::new();
        let claim = NewRequest { groups: vec!["admin".to_owned()], ..new_request("dba", Mode::Wait) };
        assert!(matches!(bench.review.open(claim, at(0)).await.unwrap(), Opened::Waiting(_)));
        let claim = Actor { groups: vec!["dba".to_owned()], ..actor("olga") };
        let id = bench.ask("dba").await;
        assert!(bench.review.approve(id, &claim, None, at(1)).await.is_err());
    });
}

#[test]
fn who_left_the_group_no_longer_counts() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba*2").await;
        bench.review.approve(waiting.request.id, &actor("bob"), None, at(1)).await.unwrap();
        bench.config.store(Arc::new(config("alice:engineering bob:other carol:dba sam:dba")));
        let request = bench.review.approve(waiting.request.id, &actor("carol"), None, at(2)).await.unwrap();
        assert_eq!(request.state, State::Pending);
        let request = bench.review.approve(waiting.request.id, &actor("sam"), None, at(3)).await.unwrap();
        assert_eq!(request.state, State::Approved);
    });
}

#[test]
fn a_restart_ends_what_waited_and_keeps_what_can_be_resubmitted() {
    run(async {
        let bench = Bench::new();
        let waiting = bench.hold("dba").await.request.id;
        let open = bench.ask("dba*2").await;
        let ticket = bench.ask("security").await;
        bench.review.approve(ticket, &actor("sven"), None, at(1)).await.unwrap();
        let unused = bench.hold("dba").await;
        bench.review.approve(unused.request.id, &actor("bob"), None, at(1)).await.unwrap();
        let running = bench.hold("dba").await;
        bench.review.approve(running.request.id, &actor("bob"), None, at(1)).await.unwrap();
        bench.review.begin_execution(running.request.id, at(2)).await.unwrap();
        let (unused, running) = (unused.request.id, running.request.id);
        let bench = bench.restart();
        bench.review.recover(at(3)).await.unwrap();
        for (id, want) in [
            (waiting, State::Cancelled),
            (open, State::Pending),
            (ticket, State::Approved),
            (unused, State::Cancelled),
            (running, State::Unknown),
        ] {
            let request = bench.review.get(id).await.unwrap();
            assert_eq!(request.state, want);
            if request.state != State::Pending && id != ticket {
                assert_eq!(request.transitions.last().unwrap().by, "proxy");
            }
        }
        bench.review.begin_execution(ticket, at(4)).await.unwrap();
        assert!(bench.review.begin_execution(running, at(4)).await.is_err());
    });
}

#[test]
fn nothing_is_released_when_the_trail_cannot_be_written() {
    run(async {
        let bench = Bench::new();
        let store = Arc::new(crate::store::SqliteStore::open(&bench.dir.path().join("other")).unwrap());
        let small = crate::audit::Options { segment_bytes_max: 1, ..crate::audit::Options::default() };
        let audit = crate::audit::Audit::open_with(&bench.dir.path().join("full"), small, at(0)).unwrap();
        std::fs::create_dir(bench.dir.path().join("full/000002.jsonl")).unwrap();
        let review = Review::new(store, Arc::new(audit), Arc::clone(&bench.config));
        // The first record fits; the one after it needs a second segment, and the disk refuses.
        let id = match review.open(new_request("dba", Mode::Resubmit), at(0)).await.unwrap() {
            Opened::Resubmit(request) => request.id,
            other => panic!("{other:?}"),
        };
        let approved = review.approve(id, &actor("bob"), None, at(1)).await.is_ok();
        let released = review.begin_execution(id, at(2)).await;
        assert!(matches!(released, Err(ReviewError::Audit(_))), "{released:?}");
        if approved {
            assert_ne!(review.get(id).await.unwrap().state, State::Executing);
        }
        let refused = review.open(new_request("dba", Mode::Wait), at(3)).await;
        assert!(matches!(refused, Err(ReviewError::Audit(_))));

        let mut open = config(PEOPLE);
        open.audit.fail_open = true;
        bench.config.store(Arc::new(open));
        let opened = review.open(new_request("dba", Mode::Wait), at(4)).await.unwrap();
        let Opened::Waiting(waiting) = opened else { panic!("{opened:?}") };
        review.approve(waiting.request.id, &actor("bob"), None, at(5)).await.unwrap();
        review.begin_execution(waiting.request.id, at(6)).await.unwrap();
    });
}

#[test]
fn nobody_waits_longer_because_the_trail_has_failed() {
    run(async {
        let bench = Bench::new();
        let (one, other, mut expires) = (bench.hold("dba").await, bench.hold("dba").await, bench.hold("dba").await);
        let abandoned = [one.request.id, other.request.id];
        drop((one, other));
        bench.review.audit.fail();
        let expiry = expires.request.expires_at;
        assert!(matches!(bench.review.sweep(expiry).await, Err(ReviewError::Audit(_))));
        assert_eq!(expires.decision().await, Decision::Expired);
        for id in abandoned {
            assert_eq!(bench.review.get(id).await.unwrap().state, State::Cancelled);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_concurrent_voters_exactly_one_approves() {
    let bench = Bench::new();
    let people: String = (0..24).map(|n| format!("p{n}:dba ")).collect();
    bench.config.store(Arc::new(config(&format!("alice:engineering {people}"))));
    let mut waiting = bench.hold("dba*3").await;
    let id = waiting.request.id;
    let votes: Vec<_> = (0..24)
        .map(|n| {
            let review = Arc::clone(&bench.review);
            tokio::spawn(async move {
                let voter = actor(&format!("p{n}"));
                if n % 4 == 3 {
                    review.cancel(id, &voter, None, at(1)).await
                } else {
                    review.approve(id, &voter, None, at(1)).await
                }
            })
        })
        .collect();
    let mut accepted = 0;
    for vote in votes {
        match vote.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(ReviewError::AlreadyDecided { state: State::Approved } | ReviewError::NotEligible { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(accepted, 3);
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    let request = bench.review.get(id).await.unwrap();
    assert_eq!(request.transitions.iter().filter(|transition| transition.to == State::Approved).count(), 1);
    assert_eq!((request.votes.len(), request.version), (3, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_holds_are_opened_at_once() {
    let bench = Bench::new();
    let started = std::time::Instant::now();
    let holds: Vec<_> = (0..10_000)
        .map(|_n| {
            let review = Arc::clone(&bench.review);
            tokio::spawn(async move { review.open(new_request("dba", Mode::Wait), at(0)).await.unwrap() })
        })
        .collect();
    let mut waiting = Vec::new();
    for hold in holds {
        waiting.push(hold.await.unwrap());
    }
    println!("10,000 holds opened in {:?}", started.elapsed());
    assert_eq!(bench.review.holds(), 10_000);
    bench.review.sweep(at(60)).await.unwrap();
    println!("and expired in {:?}", started.elapsed());
    assert_eq!(bench.review.holds(), 0);
    let open = Filter { state: Some(State::Pending), limit: 1, ..Filter::default() };
    assert!(bench.review.list(open).await.unwrap().is_empty());
}
