//! How much one user may have undecided.

use super::*;
use crate::store::tests::grants::grant;

const MOST: u32 = 3;

fn limited(id: u128, user: &str) -> NewRecord {
    let request = AccessRequest { user: user.to_owned(), ..request(id) };
    NewRecord { undecided_max: Some(MOST), ..record(request) }
}

#[tokio::test]
async fn what_is_decided_expired_or_of_others_leaves_room() {
    for place in Place::both().await {
        let store = place.open().await;
        for id in [1, 2] {
            assert!(store.create(limited(id, "alice")).await.unwrap());
        }
        assert!(store.create_grant(grant(1), Some(MOST)).await.unwrap());
        assert!(!store.create(limited(3, "alice")).await.unwrap(), "what is asked for as a grant counts");
        assert!(!store.create_grant(grant(2), Some(MOST)).await.unwrap(), "and cannot be asked for either");
        assert_eq!(store.get(RequestId(ulid::Ulid(3))).await.unwrap().map(|request| request.id), None);
        assert!(store.grant(grant(2).id).await.unwrap().is_none());
        assert!(store.create(limited(4, "eve")).await.unwrap(), "others have their own room");
        assert!(
            store.create(NewRecord { undecided_max: None, ..limited(5, "alice") }).await.unwrap(),
            "nobody decides it"
        );
        store.vote_and_transition(change(5, 1, State::Pending, State::Approved)).await.unwrap().unwrap();

        store.vote_and_transition(change(1, 1, State::Pending, State::Rejected)).await.unwrap().unwrap();
        assert!(store.create(limited(6, "alice")).await.unwrap());
        assert!(!store.create(limited(7, "alice")).await.unwrap());
        let later = AccessRequest { created_at: at(61), expires_at: at(120), ..limited(8, "alice").request };
        assert!(
            store.create(NewRecord { request: later, ..limited(8, "alice") }).await.unwrap(),
            "the others are over"
        );
    }
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_get_no_more() {
    let [file, server] = Place::both().await;
    let one = server.open().await;
    let other = server.elsewhere().open().await;
    let alone = file.open().await;
    for stores in [[&one, &other], [&alone, &alone]] {
        let asked = (0..40_u32).map(|n| stores[n as usize % 2].create(limited(100 + u128::from(n), "alice")));
        let made = futures_util::future::try_join_all(asked).await.unwrap();
        assert_eq!(made.iter().filter(|made| **made).count(), MOST as usize);
    }
}
