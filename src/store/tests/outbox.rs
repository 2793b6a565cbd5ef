//! What is to be told, and who gets it.

use std::collections::BTreeSet;

use super::*;
use crate::review::{Comment, GrantId, GrantScope, GrantTransition};
use crate::store::outbox::{About, Claim, Delivery, DeliveryFilter, DeliveryState, End, Event, Outbox, Settled};
use crate::store::outbox::{Posted, Subscription};

const LEASE: i64 = 60;

async fn register(outbox: &dyn Outbox, targets: &[&str]) {
    let targets = targets.iter().map(|name| (*name).to_owned()).collect();
    outbox.register(targets, at(0), at(-100)).await.unwrap();
}

async fn claim(outbox: &dyn Outbox, target: &str, by: i64, now: i64) -> Vec<Delivery> {
    let claim = Claim { target: target.to_owned(), by, now: at(now), until: at(now + LEASE), limit: 100 };
    outbox.claim(claim).await.unwrap()
}

async fn settle(outbox: &dyn Outbox, by: i64, delivery: &Delivery, end: End) {
    let settled = Settled { id: delivery.id, end, answer: "200".to_owned(), at: at(5) };
    outbox.settle(by, vec![settled]).await.unwrap();
}

/// What a target is told, oldest first: subject and what happened.
async fn told(outbox: &dyn Outbox, target: &str) -> Vec<String> {
    let filter = DeliveryFilter { target: Some(target.to_owned()), limit: 500, ..DeliveryFilter::default() };
    let page = outbox.deliveries(filter).await.unwrap();
    let line = |delivery: &Delivery| {
        let Event { about, subject, what, person, .. } = &delivery.event;
        format!("{} {} {what} {person}", about.as_str(), subject.trim_start_matches('0'))
    };
    page.iter().rev().map(line).collect()
}

fn vote(by: &str, approve: bool) -> Vote {
    Vote {
        by: by.to_owned(),
        groups: vec!["dba".to_owned()],
        approve,
        reason: None,
        at: at(2),
        surface: Surface::Api,
        edited: None,
        offer: None,
        forced: false,
        max_affected: None,
    }
}

fn grant(id: u128) -> GrantRecord {
    let step = GrantTransition {
        from: None,
        to: GrantState::Requested,
        by: "alice".to_owned(),
        surface: Surface::Api,
        at: at(1),
        reason: None,
    };
    GrantRecord {
        id: GrantId(ulid::Ulid(id)),
        state: GrantState::Requested,
        version: 1,
        user: "alice".to_owned(),
        database: "shop".to_owned(),
        scope: GrantScope::default(),
        seconds: 60,
        reviewers: Vec::new(),
        request: None,
        summary: String::new(),
        created_at: at(1),
        expires_at: at(60),
        votes: Vec::new(),
        transitions: vec![step],
    }
}

#[tokio::test]
async fn every_change_is_told_to_every_target_and_none_that_was_not_made() {
    for place in Place::both().await {
        let (store, outbox) = place.open_outbox().await;
        store.create(record(request(1))).await.unwrap();
        register(&*outbox, &["a", "b"]).await;
        store.create(record(request(2))).await.unwrap();
        let voted = Change { vote: Some(vote("bob", true)), transition: None, ..plain(2, 1) };
        store.vote_and_transition(voted).await.unwrap().unwrap();
        // At a version that is past, and against the state table.
        assert!(store.vote_and_transition(change(2, 1, State::Pending, State::Approved)).await.unwrap().is_none());
        assert!(store.vote_and_transition(change(2, 2, State::Pending, State::Executing)).await.is_err());
        let remark = Comment { by: "eve".to_owned(), surface: Surface::Web, at: at(3), text: "why?".to_owned() };
        store.vote_and_transition(Change { comment: Some(remark), ..plain(2, 2) }).await.unwrap().unwrap();
        store.vote_and_transition(change(2, 3, State::Pending, State::Approved)).await.unwrap().unwrap();
        store.vote_and_transition(change(2, 4, State::Approved, State::Executing)).await.unwrap().unwrap();
        store.create_grant(grant(7), None).await.unwrap();
        let step = GrantTransition {
            from: Some(GrantState::Requested),
            to: GrantState::Cancelled,
            by: "alice".to_owned(),
            surface: Surface::Api,
            at: at(2),
            reason: None,
        };
        assert!(store.replace_grant(grant(7).after(step).unwrap()).await.unwrap());
        store.expire_due(at(61), 10).await.unwrap();
        let note = Event {
            about: About::Config,
            subject: "9f".to_owned(),
            what: "CHANGED".to_owned(),
            person: String::new(),
            at: at(4),
        };
        outbox.note(note).await.unwrap();
        let expected = [
            "request 2 PENDING alice",
            "request 2 VOTED bob",
            "request 2 COMMENTED eve",
            "request 2 APPROVED alice",
            "request 2 EXECUTING alice",
            "grant 7 REQUESTED ",
            "grant 7 CANCELLED ",
            "request 1 EXPIRED proxy",
            "config 9f CHANGED ",
        ];
        for target in ["a", "b"] {
            assert_eq!(told(&*outbox, target).await, expected, "{target}");
        }
    }
}

/// A change of nothing but what is added to it.
fn plain(id: u128, version: u64) -> Change {
    Change { transition: None, outcome: None, ..change(id, version, State::Pending, State::Approved) }
}

#[tokio::test]
async fn of_one_subject_is_told_in_order_and_of_others_meanwhile() {
    for place in Place::both().await {
        let (store, outbox) = place.open_outbox().await;
        register(&*outbox, &["a"]).await;
        for id in [1, 2] {
            store.create(record(request(id))).await.unwrap();
            store.vote_and_transition(change(id, 1, State::Pending, State::Approved)).await.unwrap().unwrap();
        }
        let first = claim(&*outbox, "a", 1, 10).await;
        let what = |claimed: &[Delivery]| -> Vec<String> {
            claimed
                .iter()
                .map(|one| format!("{} {}", one.event.subject.trim_start_matches('0'), one.event.what))
                .collect()
        };
        assert_eq!(what(&first), ["1 PENDING", "2 PENDING"]);
        assert!(claim(&*outbox, "a", 2, 10).await.is_empty(), "what is claimed is not handed out, nor what follows it");
        settle(&*outbox, 1, &first[0], End::Delivered).await;
        settle(&*outbox, 1, &first[1], End::Again(at(40))).await;
        let second = claim(&*outbox, "a", 1, 11).await;
        assert_eq!(what(&second), ["1 APPROVED"]);
        settle(&*outbox, 1, &second[0], End::Delivered).await;
        assert!(claim(&*outbox, "a", 1, 39).await.is_empty(), "not before it is due");
        let again = claim(&*outbox, "a", 1, 40).await;
        assert_eq!((what(&again), again[0].attempts), (vec!["2 PENDING".to_owned()], 2));
        // Who claimed it is gone: it is handed out when the lease is over, and what the first says then is not heard.
        assert!(claim(&*outbox, "a", 2, 40 + LEASE - 1).await.is_empty());
        let taken = claim(&*outbox, "a", 2, 40 + LEASE).await;
        assert_eq!(what(&taken), ["2 PENDING"]);
        settle(&*outbox, 1, &again[0], End::Delivered).await;
        assert!(claim(&*outbox, "a", 1, 41 + LEASE).await.is_empty());
        settle(&*outbox, 2, &taken[0], End::Dead).await;
        let last = claim(&*outbox, "a", 1, 42 + LEASE).await;
        assert_eq!(what(&last), ["2 APPROVED"], "what is given up holds nothing up");
    }
}

#[tokio::test]
async fn what_a_process_that_was_killed_had_claimed_is_free_where_there_is_no_other() {
    let place = Place::sqlite();
    let (store, outbox) = place.open_outbox().await;
    register(&*outbox, &["a"]).await;
    store.create(record(request(1))).await.unwrap();
    assert_eq!(claim(&*outbox, "a", 1, 10).await.len(), 1);
    outbox.free_claims().await.unwrap();
    assert_eq!(claim(&*outbox, "a", 2, 10).await.len(), 1);
    let place = Place::postgres().await;
    let (store, outbox) = place.open_outbox().await;
    register(&*outbox, &["a"]).await;
    store.create(record(request(1))).await.unwrap();
    assert_eq!(claim(&*outbox, "a", 1, 10).await.len(), 1);
    outbox.free_claims().await.unwrap();
    assert!(claim(&*outbox, "a", 2, 10).await.is_empty(), "another proxy may be at it");
}

#[tokio::test]
async fn proxies_share_the_work_and_none_is_done_twice() {
    let place = Place::postgres().await;
    let (store, one) = place.open_outbox().await;
    let (_second, two) = place.elsewhere().open_outbox().await;
    register(&*one, &["a"]).await;
    for id in 1..=60 {
        store.create(record(request(id))).await.unwrap();
    }
    let some = |outbox: Arc<dyn Outbox>, by: i64| async move {
        let mut got = Vec::new();
        loop {
            let claim = Claim { target: "a".to_owned(), by, now: at(10), until: at(70), limit: 7 };
            let claimed = outbox.claim(claim).await.unwrap();
            if claimed.is_empty() {
                return got;
            }
            got.extend(claimed.into_iter().map(|delivery| delivery.id));
        }
    };
    let (mine, theirs) = tokio::join!(some(one, 1), some(two, 2));
    let both: BTreeSet<i64> = mine.iter().chain(&theirs).copied().collect();
    assert_eq!((both.len(), mine.len() + theirs.len()), (60, 60));
}

#[tokio::test]
async fn who_is_no_longer_named_is_no_longer_told() {
    for place in Place::both().await {
        let (store, outbox) = place.open_outbox().await;
        register(&*outbox, &["a", "b"]).await;
        store.create(record(request(1))).await.unwrap();
        outbox.register(vec!["a".to_owned()], at(50), at(0)).await.unwrap();
        assert_eq!(outbox.targets().await.unwrap(), ["a", "b"], "another proxy has named it since");
        outbox.register(vec!["a".to_owned()], at(60), at(1)).await.unwrap();
        assert_eq!(outbox.targets().await.unwrap(), ["a"]);
        store.create(record(request(2))).await.unwrap();
        assert_eq!(told(&*outbox, "a").await.len(), 2);
        let of_b = DeliveryFilter { target: Some("b".to_owned()), limit: 9, ..DeliveryFilter::default() };
        let of_b = outbox.deliveries(of_b).await.unwrap();
        assert_eq!((of_b.len(), of_b[0].state), (1, DeliveryState::Dead));
        assert_eq!(of_b[0].answer.as_deref(), Some("target is no longer configured"));
    }
}

#[tokio::test]
async fn what_ended_is_counted_delivered_again_and_forgotten() {
    for place in Place::both().await {
        let (store, outbox) = place.open_outbox().await;
        register(&*outbox, &["a", "b"]).await;
        for id in [1, 2, 3] {
            store.create(record(request(id))).await.unwrap();
        }
        let claimed = claim(&*outbox, "a", 1, 10).await;
        settle(&*outbox, 1, &claimed[0], End::Delivered).await;
        settle(&*outbox, 1, &claimed[1], End::Dead).await;
        let counted = async || {
            let backlog = outbox.backlog().await.unwrap();
            let line =
                |one: &crate::store::outbox::Backlog| format!("{} {} {}", one.target, one.state.as_str(), one.count);
            backlog.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(counted().await, ["a DEAD 1", "a WAITING 1", "b DEAD 0", "b WAITING 3"]);
        assert!(outbox.redeliver(claimed[1].id, at(20)).await.unwrap());
        assert!(!outbox.redeliver(4711, at(20)).await.unwrap());
        let again = claim(&*outbox, "a", 2, 21).await;
        assert_eq!((again.len(), again[0].id, again[0].since), (1, claimed[1].id, at(20)));
        assert_eq!(again[0].event, claimed[1].event);
        assert_eq!(outbox.sweep(at(5)).await.unwrap(), 0, "not before its time");
        assert_eq!(outbox.sweep(at(6)).await.unwrap(), 1);
        let left = DeliveryFilter { target: Some("a".to_owned()), limit: 9, ..DeliveryFilter::default() };
        let left: Vec<i64> = outbox.deliveries(left).await.unwrap().iter().map(|one| one.id).collect();
        assert_eq!(left, [claimed[2].id, claimed[1].id]);
        let page = DeliveryFilter { state: Some(DeliveryState::Waiting), limit: 2, ..DeliveryFilter::default() };
        let first = outbox.deliveries(page.clone()).await.unwrap();
        let rest = outbox.deliveries(DeliveryFilter { before: Some(first[1].id), ..page }).await.unwrap();
        assert_eq!((first.len(), rest.len()), (2, 2));
    }
}

#[tokio::test]
async fn messages_and_subscriptions_are_remembered() {
    for place in Place::both().await {
        let (_store, outbox) = place.open_outbox().await;
        let posted = |place: &str, reference: &str| Posted { place: place.to_owned(), reference: reference.to_owned() };
        for (place, reference) in [("C2", "1.2"), ("C1", "1.1"), ("C2", "1.3")] {
            outbox.note_posted("slack".into(), "r1".into(), posted(place, reference), at(1)).await.unwrap();
        }
        let found = outbox.posted("slack".into(), "r1".into()).await.unwrap();
        assert_eq!(found, [posted("C1", "1.1"), posted("C2", "1.3")]);
        assert!(outbox.posted("slack".into(), "r2".into()).await.unwrap().is_empty());
        outbox.sweep(at(2)).await.unwrap();
        assert!(outbox.posted("slack".into(), "r1".into()).await.unwrap().is_empty());

        let wish = |place: &str, database: &str| Subscription {
            place: place.to_owned(),
            database: database.to_owned(),
            person: "bob".to_owned(),
            at: at(3),
        };
        for (subscription, is_new) in [
            (wish("C1", "shop"), true),
            (wish("C1", "shop"), false),
            (wish("C1", "*"), true),
            (wish("C2", "shop"), true),
        ] {
            assert_eq!(outbox.subscribe("slack".into(), subscription).await.unwrap(), is_new);
        }
        assert_eq!(outbox.unsubscribe("slack".into(), "C1".into(), Some("crm".into())).await.unwrap(), 0);
        assert_eq!(outbox.unsubscribe("slack".into(), "C1".into(), None).await.unwrap(), 2);
        assert_eq!(outbox.subscriptions("slack".into()).await.unwrap(), [wish("C2", "shop")]);
        assert!(outbox.subscriptions("other".into()).await.unwrap().is_empty());
    }
}
