//! Several proxies on one store: what one decides reaches the others, and nothing happens twice.

use std::time::Duration;

use countersign_policy::rule::Mode;
use jiff::{SignedDuration, Timestamp};

use super::super::fixture::{Bench, actor, at, new_request};
use super::super::*;
use super::executed;
use crate::store::StoreError;
use crate::store::tests::both::Place;

const LEASE: Duration = Duration::from_secs(600);

async fn two_nodes() -> (Place, Bench, Bench) {
    let place = Place::postgres().await;
    let nodes = (Bench::node(&place, LEASE).await, Bench::node(&place.elsewhere(), LEASE).await);
    (place, nodes.0, nodes.1)
}

#[tokio::test]
async fn a_decision_made_elsewhere_wakes_the_session() {
    let (_place, one, two) = two_nodes().await;
    let mut took = Vec::new();
    for _round in 0..20 {
        let mut waiting = one.hold("dba").await;
        let id = waiting.request.id;
        let decided = std::time::Instant::now();
        two.review.approve(id, &actor("bob"), None, at(0)).await.unwrap();
        assert!(matches!(waiting.decision().await, Decision::Approved(_)));
        took.push(decided.elapsed());
        one.review.begin_execution(id, at(0)).await.unwrap();
        one.review.finish(id, &executed(), at(0)).await.unwrap();
    }
    took.sort_unstable();
    println!("approved elsewhere and released: median {:?}, worst {:?}", took[took.len() / 2], took[took.len() - 1]);
    assert!(took[took.len() / 2] < Duration::from_millis(100), "half of them are released within 100 ms: {took:?}");
    let mut waiting = one.hold("dba").await;
    two.review.reject(waiting.request.id, &actor("bob"), "no".to_owned(), at(0)).await.unwrap();
    let want = Decision::Rejected { by: "bob".to_owned(), group: "dba".to_owned(), reason: "no".to_owned() };
    assert_eq!(waiting.decision().await, want);
    let mut waiting = one.hold("dba").await;
    two.review.cancel(waiting.request.id, &actor("alice"), None, at(0)).await.unwrap();
    assert_eq!(waiting.decision().await, Decision::Cancelled);
    assert_eq!((one.review.holds(), two.review.holds()), (0, 0));
}

#[tokio::test]
async fn a_decision_that_nobody_told_of_is_found() {
    let (place, one, _two) = two_nodes().await;
    let mut waiting = one.hold("dba").await;
    place
        .execute(
            "UPDATE countersign.requests SET state = 'CANCELLED', version = 2; \
             INSERT INTO countersign.transitions SELECT id, 2, 'PENDING', 'CANCELLED', 'olga', 'api', 0 FROM countersign.requests",
        )
        .await;
    assert_eq!(waiting.decision().await, Decision::Cancelled);
}

#[tokio::test]
async fn a_ticket_is_used_once_whichever_proxies_try() {
    let (_place, one, two) = two_nodes().await;
    for _round in 0..20 {
        let id = one.ask("dba").await;
        two.review.approve(id, &actor("bob"), None, at(0)).await.unwrap();
        let tries = [&one, &two, &one, &two].map(|node| node.review.begin_execution(id, at(0)));
        let begun = futures_util::future::join_all(tries).await;
        assert_eq!(begun.iter().filter(|begun| begun.is_ok()).count(), 1, "{begun:?}");
        two.review.finish(id, &executed(), at(0)).await.unwrap();
    }
}

#[tokio::test]
async fn votes_through_several_proxies_are_each_counted_once() {
    let (_place, one, two) = two_nodes().await;
    for _round in 0..10 {
        let id = one.ask("dba*2 security").await;
        let votes = ["bob", "carol", "sam", "sven", "bob"].into_iter().zip([&one, &two, &one, &two, &two]);
        let votes = votes.map(|(name, node)| async move { node.review.approve(id, &actor(name), None, at(0)).await });
        futures_util::future::join_all(votes).await;
        let request = one.review.get(id).await.unwrap();
        assert_eq!(request.state, State::Approved);
        let mut people: Vec<_> = request.votes.iter().map(|vote| vote.by.clone()).collect();
        people.sort();
        people.dedup();
        assert_eq!(people.len(), request.votes.len());
        assert_eq!(request.version, 1 + request.votes.len() as u64);
        two.review.cancel(id, &actor("alice"), None, at(0)).await.unwrap();
    }
}

/// What the machine of a proxy takes the time for has no part in anything.
#[tokio::test]
async fn clocks_that_are_wrong_by_minutes_make_no_difference() {
    let (_place, one, two) = two_nodes().await;
    let off = |minutes: i64| Timestamp::now() + SignedDuration::from_mins(minutes);
    for (ahead, behind) in [(10, -10), (-10, 10)] {
        let id = match one.review.open(new_request("dba", Mode::Resubmit), off(ahead)).await.unwrap() {
            Opened::Resubmit(request) => {
                assert!(request.created_at.duration_until(Timestamp::now()).abs() < SignedDuration::from_secs(5));
                request.id
            }
            other => panic!("{other:?}"),
        };
        two.review.sweep(off(behind)).await.unwrap();
        two.review.sweep(off(ahead)).await.unwrap();
        two.review.approve(id, &actor("bob"), None, off(behind)).await.unwrap();
        let again = one.review.open(new_request("dba", Mode::Resubmit), off(behind)).await.unwrap();
        assert!(matches!(again, Opened::Ticket { id: found, .. } if found == id), "{again:?}");
        two.review.begin_execution(id, off(ahead)).await.unwrap();
        two.review.finish(id, &executed(), off(behind)).await.unwrap();
        let times: Vec<_> = two.review.get(id).await.unwrap().transitions.iter().map(|made| made.at).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

/// Calls until it works; the store takes a moment to be connected to again.
async fn once_back<T>(mut call: impl AsyncFnMut() -> Result<T, ReviewError>) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(ReviewError::Store(StoreError::Unreachable | StoreError::Postgres(_))) => {
                tokio::task::yield_now().await
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_refuses_at_once_and_loses_nothing() {
    let (place, one, two) = two_nodes().await;
    let (mut waiting, runs) = (one.hold("dba").await, one.ask("dba").await);
    let ticket = one.ask("dba").await;
    assert_eq!(runs, ticket, "the same request is asked for once");
    one.review.approve(runs, &actor("bob"), None, at(0)).await.unwrap();
    one.review.begin_execution(runs, at(0)).await.unwrap();
    place.set_away(true).await;
    let began = std::time::Instant::now();
    let refused = one.review.open(new_request("dba", Mode::Wait), at(0)).await;
    assert!(matches!(refused, Err(ReviewError::Store(_))), "{refused:?}");
    let refused = two.review.approve(waiting.request.id, &actor("bob"), None, at(0)).await;
    assert!(matches!(refused, Err(ReviewError::Store(_))), "{refused:?}");
    let refused = one.review.finish(runs, &executed(), at(0)).await;
    assert!(matches!(refused, Err(ReviewError::Store(_))), "{refused:?}");
    assert!(one.review.sweep(at(0)).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(one.review.holds(), 1, "what waits goes on waiting");
    place.set_away(false).await;
    once_back(async || one.review.sweep(at(0)).await).await;
    let request = one.review.get(runs).await.unwrap();
    assert_eq!((request.state, request.outcome.as_deref()), (State::Executed, Some("UPDATE 1")));
    once_back(async || two.review.approve(waiting.request.id, &actor("bob"), None, at(0)).await).await;
    assert!(matches!(waiting.decision().await, Decision::Approved(_)));
    one.review.begin_execution(waiting.request.id, at(0)).await.unwrap();
}

/// Nobody knows whether it began, so nothing was forwarded; whichever it is, it is settled.
#[tokio::test]
async fn an_execution_that_may_have_begun_is_settled_when_the_store_is_back() {
    let (place, one, two) = two_nodes().await;
    let id = one.ask("dba").await;
    one.review.approve(id, &actor("bob"), None, at(0)).await.unwrap();
    let version = one.review.get(id).await.unwrap().version;
    place.set_away(true).await;
    assert!(one.review.begin_execution(id, at(0)).await.is_err());
    place.set_away(false).await;
    once_back(async || one.review.sweep(at(0)).await).await;
    let request = two.review.get(id).await.unwrap();
    assert_eq!((request.state, request.version), (State::Approved, version + 1), "a late begin finds nothing");
    two.review.begin_execution(id, at(0)).await.unwrap();
    once_back(async || one.review.sweep(at(0)).await).await;
    assert_eq!(two.review.get(id).await.unwrap().state, State::Executing, "another use of the approval is let be");

    let begun = two.review.get(id).await.unwrap();
    let begun_at = begun.transitions.last().unwrap().at;
    one.review.doubt(
        id,
        &ReviewError::Store(StoreError::Timeout),
        super::super::unsettled::Ending::NotReleased { begun_at },
    );
    one.review.sweep(at(0)).await.unwrap();
    assert_eq!(two.review.get(id).await.unwrap().state, State::Failed, "it had begun, and was not forwarded");
}
