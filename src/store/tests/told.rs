//! What no trail tells of.

use super::*;

/// By bob.
fn a_vote() -> Vote {
    Vote {
        by: "bob".to_owned(),
        groups: vec!["dba".to_owned()],
        approve: true,
        reason: None,
        at: at(2),
        surface: Surface::Api,
        edited: None,
        offer: None,
        forced: false,
        max_affected: None,
    }
}

/// Request 5, approved by bob: its making, his vote and the approval.
async fn approved(store: &dyn Store) -> [Telling; 3] {
    store.create(record(request(5))).await.unwrap();
    let vote = a_vote();
    let change = Change { vote: Some(vote.clone()), ..change(5, 1, State::Pending, State::Approved) };
    store.vote_and_transition(change).await.unwrap().unwrap();
    let id = RequestId(ulid::Ulid(5));
    [Telling::Transition(id, "PENDING"), Telling::Transition(id, "APPROVED"), Telling::of_vote(id, &vote)]
}

/// What is untold, sorted.
async fn untold(store: &dyn Store, before: Timestamp) -> Vec<(Telling, u64, bool)> {
    let untold = store.untold(before).await.unwrap();
    assert!(untold.is_sorted_by_key(|untold| untold.at));
    let mut untold: Vec<_> = untold.into_iter().map(|one| (one.telling, one.version, one.adopted)).collect();
    untold.sort_unstable();
    untold
}

fn all_of(tellings: &[Telling], versions: &[u64], adopted: bool) -> Vec<(Telling, u64, bool)> {
    let mut all: Vec<_> =
        tellings.iter().cloned().zip(versions).map(|(telling, version)| (telling, *version, adopted)).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn what_is_made_is_untold_until_somebody_says_that_it_is_told() {
    for place in Place::both().await {
        let store = place.open().await;
        let tellings = approved(&*store).await;
        let found = untold(&*store, Timestamp::MAX).await;
        // Only the order of votes depends on their versions.
        assert_eq!(found.len(), 3);
        assert!(found.contains(&(tellings[2].clone(), 2, false)), "{found:?}");
        assert_eq!(untold(&*store, at(2)).await.len(), 2, "what was made before that moment");
        store.told(vec![tellings[2].clone(), tellings[0].clone()]).await.unwrap();
        store.told(vec![tellings[0].clone()]).await.unwrap();
        drop(store);
        let store = place.open().await;
        let left: Vec<_> = untold(&*store, Timestamp::MAX).await.into_iter().map(|one| one.0).collect();
        assert_eq!(left, [tellings[1].clone()], "over a restart, too");
        store.told(left).await.unwrap();
        assert_eq!(untold(&*store, Timestamp::MAX).await, []);
    }
}

#[tokio::test]
async fn what_is_untold_becomes_that_of_another_when_its_node_is_gone() {
    let place = Place::postgres().await;
    let (one, two, three) = (place.open().await, place.elsewhere().open().await, place.elsewhere().open().await);
    let tellings = approved(&*one).await;
    one.told(vec![tellings[0].clone()]).await.unwrap();
    assert_eq!(untold(&*two, Timestamp::MAX).await, [], "it may still tell");
    drop(one);
    place.execute("UPDATE countersign.nodes SET gone = true WHERE id = 1").await;
    let (by_two, by_three) = futures_util::future::join(two.untold(at(0)), three.untold(at(0))).await;
    let (by_two, by_three) = (by_two.unwrap(), by_three.unwrap());
    assert_eq!(by_two.len() + by_three.len(), 2, "each by one: {by_two:?} {by_three:?}");
    let found: Vec<_> = by_two.into_iter().chain(by_three).map(|one| (one.telling, one.version, one.adopted)).collect();
    let mut found = found;
    found.sort_unstable();
    assert_eq!(found, all_of(&tellings[1..], &[2, 2], true));
    assert_eq!(untold(&*two, at(0)).await, [], "it is asked for once");
}

/// Grant 5, which carol has approved: its making, her vote and the transition that follows from it.
async fn granted(store: &dyn Store) -> [Telling; 3] {
    let asked = super::grants::grant(5);
    store.create_grant(asked.clone(), None).await.unwrap();
    let mut active = super::grants::after(&asked, GrantState::Active);
    let vote = Vote { by: "carol".to_owned(), at: at(2), ..a_vote() };
    active.votes.push(vote.clone());
    assert!(store.replace_grant(active.clone()).await.unwrap());
    // Who comes too late adds nothing.
    assert!(!store.replace_grant(super::grants::after(&asked, GrantState::Rejected)).await.unwrap());
    let step = |index: usize| Telling::of_grant_step(asked.id, &active.transitions[index]);
    [step(0), step(1), Telling::of_grant_vote(asked.id, &vote)]
}

#[tokio::test]
async fn what_is_made_of_grants_is_untold_likewise() {
    for place in Place::both().await {
        let store = place.open().await;
        let tellings = granted(&*store).await;
        let found = untold(&*store, Timestamp::MAX).await;
        assert_eq!(found, all_of(&tellings, &[0, 0, 0], false));
        assert_eq!(untold(&*store, at(2)).await.len(), 2, "what was made before that moment");
        let other = Telling::GrantVote(GrantId(ulid::Ulid(5)), "carol".to_owned(), at(3).as_microsecond());
        store.told(vec![tellings[1].clone(), other, tellings[1].clone()]).await.unwrap();
        drop(store);
        let store = place.open().await;
        let left: Vec<_> = untold(&*store, Timestamp::MAX).await.into_iter().map(|one| one.0).collect();
        assert_eq!(left.len(), 2, "over a restart, too: {left:?}");
        assert!(!left.contains(&tellings[1]));
        store.told(left).await.unwrap();
        assert_eq!(untold(&*store, Timestamp::MAX).await, []);
        // One that comes with an approval.
        store.create(record(request(6))).await.unwrap();
        let given = GrantRecord { state: GrantState::Active, ..super::grants::grant(7) };
        let approved = change(6, 1, State::Pending, State::Approved);
        store.vote_and_transition(Change { grant: Some(Box::new(given)), ..approved }).await.unwrap().unwrap();
        let found = untold(&*store, Timestamp::MAX).await;
        assert!(
            found.iter().any(|(one, ..)| matches!(one, Telling::GrantStep(GrantId(ulid::Ulid(7)), _))),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn what_is_untold_of_grants_becomes_that_of_another_when_its_node_is_gone() {
    let place = Place::postgres().await;
    let (one, two) = (place.open().await, place.elsewhere().open().await);
    let tellings = granted(&*one).await;
    assert_eq!(untold(&*two, Timestamp::MAX).await, [], "it may still tell");
    drop(one);
    place.execute("UPDATE countersign.nodes SET gone = true WHERE id = 1").await;
    assert_eq!(untold(&*two, at(0)).await, all_of(&tellings, &[0, 0, 0], true));
    assert_eq!(untold(&*two, at(0)).await, [], "it is asked for once");
}
