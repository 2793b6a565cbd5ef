//! Cards, comments, reasons that come later, and what is counted.

use super::*;
use crate::card::{Piece, Transaction};

async fn store_with(place: &Place, ids: &[u128]) -> Arc<dyn Store> {
    let store = place.open().await;
    for id in ids {
        let request = AccessRequest { justification: None, shape: "ab".to_owned(), ..request(*id) };
        store.create(record(request)).await.unwrap();
    }
    store
}

fn unchanged(id: u128, version: u64) -> Change {
    Change { transition: None, outcome: None, ..change(id, version, State::Pending, State::Approved) }
}

#[tokio::test]
async fn a_card_is_filled_in_without_changing_the_request() {
    for place in Place::both().await {
        let store = store_with(&place, &[1]).await;
        let id = RequestId(ulid::Ulid(1));
        assert_eq!(store.card(id).await.unwrap(), Some(Card::default()));
        let filled = Card {
            role: "it's \0".to_owned(),
            transaction: Piece::Shown(Transaction { open: true, since: Some(at(3)), ..Transaction::default() }),
            ..Card::default().given_up("the upstream did not tell")
        };
        store.fill_card(id, filled.clone()).await.unwrap();
        assert_eq!(store.card(id).await.unwrap(), Some(filled));
        assert_eq!(store.get(id).await.unwrap().unwrap().version, 1);
        assert_eq!(store.card(RequestId(ulid::Ulid(2))).await.unwrap(), None);
    }
}

#[tokio::test]
async fn comments_and_a_later_reason_are_changes_of_their_version() {
    for place in Place::both().await {
        let store = store_with(&place, &[1]).await;
        let comment =
            |text: &str| Comment { by: "bob".to_owned(), surface: Surface::Api, at: at(2), text: text.to_owned() };
        let id = RequestId(ulid::Ulid(1));
        let first = Change { comment: Some(comment("why \u{202e}?")), ..unchanged(1, 1) };
        assert_eq!(store.vote_and_transition(first.clone()).await.unwrap().unwrap().version, 2);
        assert!(store.vote_and_transition(first).await.unwrap().is_none(), "it is at another version");
        let reason = Change { justification: Some("ticket 18".to_owned()), ..unchanged(1, 2) };
        let justified = store.vote_and_transition(reason).await.unwrap().unwrap();
        assert_eq!((justified.justification.as_deref(), justified.state), (Some("ticket 18"), State::Pending));
        let second = Change { comment: Some(comment("because")), ..unchanged(1, 3) };
        store.vote_and_transition(second).await.unwrap().unwrap();
        assert_eq!(store.comments(id).await.unwrap(), [comment("why \u{202e}?"), comment("because")]);
        let approved = store.vote_and_transition(change(1, 4, State::Pending, State::Approved)).await.unwrap().unwrap();
        assert_eq!(approved.justification.as_deref(), Some("ticket 18"));
    }
}

#[tokio::test]
async fn the_past_is_that_of_the_shape_before() {
    for place in Place::both().await {
        let store = store_with(&place, &[1, 2, 3, 4]).await;
        for (id, to) in [(1, State::Approved), (2, State::Rejected), (4, State::Rejected)] {
            store.vote_and_transition(change(id, 1, State::Pending, to)).await.unwrap().unwrap();
        }
        let this = store.get(RequestId(ulid::Ulid(4))).await.unwrap().unwrap();
        let past = Past { approved: 1, rejected: 1, undecided: 1 };
        assert_eq!(store.past(this.clone(), None).await.unwrap(), past);
        assert_eq!(store.past(this.clone(), Some("alice".to_owned())).await.unwrap(), past);
        let others = [
            store.past(this.clone(), Some("eve".to_owned())).await.unwrap(),
            store.past(AccessRequest { shape: "cd".to_owned(), ..this.clone() }, None).await.unwrap(),
            store.past(AccessRequest { shape: String::new(), ..this.clone() }, None).await.unwrap(),
            store.past(AccessRequest { database: "other".to_owned(), ..this }, None).await.unwrap(),
        ];
        assert_eq!(others, [Past::default(); 4]);
    }
}

#[tokio::test]
async fn digests_come_newest_first_and_to_those_who_may_see_them() {
    for place in Place::both().await {
        let store = store_with(&place, &[1, 2, 3]).await;
        store.vote_and_transition(change(2, 1, State::Pending, State::Rejected)).await.unwrap().unwrap();
        let viewer = |name: &str, group: &str| {
            Some(Viewer { name: name.to_owned(), groups: vec![group.to_owned()], ..Viewer::default() })
        };
        let filter = DigestFilter {
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::MAX,
            before: None,
            visible_to: None,
            limit: 2,
        };
        let page = store.digests(filter.clone()).await.unwrap();
        assert_eq!(page.iter().map(|digest| digest.id.0.0).collect::<Vec<_>>(), [3, 2]);
        let decided = Some(Decided { to: State::Rejected, by: "alice".to_owned(), at: at(1) });
        let digest = Digest {
            id: RequestId(ulid::Ulid(2)),
            requester: "alice".to_owned(),
            database: "shop".to_owned(),
            created_at: at(0),
            shape: "ab".to_owned(),
            rules: Vec::new(),
            groups: vec!["dba".to_owned()],
            decided,
        };
        assert_eq!(page[1], digest);
        let rest = DigestFilter { before: Some(digest.id), ..filter.clone() };
        assert_eq!(store.digests(rest).await.unwrap().len(), 1);
        let none = DigestFilter { from: at(0), ..filter.clone() };
        assert!(store.digests(none).await.unwrap().is_empty(), "these ids are of 1970");
        let on = |database: &str| {
            let on = vec![GroupsOn { database: database.to_owned(), groups: vec!["dba".to_owned()] }];
            Some(Viewer { name: "eve".to_owned(), on, ..Viewer::default() })
        };
        for (who, count) in [
            (viewer("alice", "x"), 2),
            (viewer("eve", "dba"), 2),
            (viewer("eve", "x"), 0),
            (on("shop"), 2),
            (on("hr"), 0),
        ] {
            let filter = DigestFilter { visible_to: who, ..filter.clone() };
            assert_eq!(store.digests(filter).await.unwrap().len(), count);
        }
    }
}
