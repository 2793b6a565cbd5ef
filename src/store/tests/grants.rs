//! Grants in every kind of store.

use super::*;
use crate::review::{GrantScope, GrantTransition, Offer, Scope};

fn moved(from: Option<GrantState>, to: GrantState) -> GrantTransition {
    GrantTransition {
        from,
        to,
        by: "bob".to_owned(),
        surface: Surface::Api,
        at: at(1),
        reason: Some("\0 'it'".to_owned()),
    }
}

pub(super) fn grant(id: u128) -> GrantRecord {
    GrantRecord {
        id: GrantId(ulid::Ulid(id)),
        state: GrantState::Requested,
        version: 1,
        user: "alice".to_owned(),
        database: "shop".to_owned(),
        scope: GrantScope { rules: Some(vec!["writes".to_owned()]), ..GrantScope::default() },
        seconds: 60,
        reviewers: vec![ReviewerDemand { group: "dba".to_owned(), approvals: 1 }],
        request: None,
        summary: "on call\u{202e}".to_owned(),
        created_at: at(0),
        expires_at: at(60),
        votes: Vec::new(),
        transitions: vec![moved(None, GrantState::Requested)],
    }
}

pub(super) fn after(grant: &GrantRecord, to: GrantState) -> GrantRecord {
    grant.after(moved(Some(grant.state), to)).unwrap()
}

async fn listed(store: &dyn Store, filter: GrantFilter) -> Vec<u128> {
    let page = store.grants(GrantFilter { limit: 2, ..filter }).await.unwrap();
    page.into_iter().map(|grant| grant.id.0.0).collect()
}

#[tokio::test]
async fn a_grant_is_read_back_as_it_was_written_and_found_by_what_it_is() {
    for place in Place::both().await {
        let store = place.open().await;
        let active = GrantRecord { user: "bob".to_owned(), ..after(&grant(2), GrantState::Active) };
        let ended = GrantRecord { database: "other".to_owned(), ..after(&grant(3), GrantState::Rejected) };
        for made in [grant(1), active, ended.clone()] {
            store.create_grant(made, None).await.unwrap();
        }
        assert_eq!(store.grant(ended.id).await.unwrap(), Some(ended.clone()));
        assert_eq!(store.grant(GrantId(ulid::Ulid(9))).await.unwrap(), None);
        let all = GrantFilter::default;
        assert_eq!(listed(&*store, all()).await, [3, 2]);
        assert_eq!(listed(&*store, GrantFilter { after: Some(GrantId(ulid::Ulid(2))), ..all() }).await, [1]);
        assert_eq!(listed(&*store, GrantFilter { open: true, ..all() }).await, [2, 1]);
        assert_eq!(listed(&*store, GrantFilter { state: Some(GrantState::Rejected), ..all() }).await, [3]);
        assert_eq!(listed(&*store, GrantFilter { user: Some("bob".to_owned()), ..all() }).await, [2]);
        assert_eq!(listed(&*store, GrantFilter { database: Some("other".to_owned()), ..all() }).await, [3]);
    }
}

#[tokio::test]
async fn a_grant_is_replaced_at_its_version_and_as_the_state_table_says() {
    for place in Place::both().await {
        let store = place.open().await;
        store.create_grant(grant(1), None).await.unwrap();
        let active = after(&grant(1), GrantState::Active);
        assert!(store.replace_grant(active.clone()).await.unwrap());
        assert!(!store.replace_grant(after(&grant(1), GrantState::Rejected)).await.unwrap());
        assert_eq!(store.grant(active.id).await.unwrap(), Some(active.clone()));
        let backwards = GrantRecord { state: GrantState::Requested, version: 3, ..grant(1) };
        let refused = store.replace_grant(backwards).await;
        assert!(matches!(refused, Err(StoreError::IllegalGrant { from: Some(GrantState::Active), .. })), "{refused:?}");
        let revoked = after(&active, GrantState::Revoked);
        assert!(store.replace_grant(revoked.clone()).await.unwrap());
        let again = GrantRecord { version: 4, ..revoked };
        assert!(matches!(store.replace_grant(again).await, Err(StoreError::IllegalGrant { .. })));
        assert!(!store.replace_grant(GrantRecord { version: 2, ..grant(7) }).await.unwrap());
    }
}

#[tokio::test]
async fn a_grant_comes_with_the_approval_it_was_offered_in_or_not_at_all() {
    for place in Place::both().await {
        let store = place.open().await;
        store.create(record(request(1))).await.unwrap();
        let vote = Vote {
            by: "bob".to_owned(),
            groups: vec!["dba".to_owned()],
            approve: true,
            reason: None,
            at: at(1),
            surface: Surface::Api,
            offer: Some(Offer { seconds: 60, scope: Scope::Rules }),
            forced: true,
            max_affected: Some(7),
            edited: Some("DELETE FROM t WHERE false".to_owned()),
        };
        let active = after(&grant(2), GrantState::Active);
        let approval = |version| Change {
            vote: Some(vote.clone()),
            grant: Some(Box::new(active.clone())),
            ..change(1, version, State::Pending, State::Approved)
        };
        assert!(store.vote_and_transition(approval(7)).await.unwrap().is_none());
        assert_eq!(store.grant(active.id).await.unwrap(), None);
        let approved = store.vote_and_transition(approval(1)).await.unwrap().unwrap();
        assert_eq!(approved.votes, std::slice::from_ref(&vote));
        assert_eq!(store.grant(active.id).await.unwrap(), Some(active.clone()));
    }
}

#[tokio::test]
async fn other_proxies_are_told_of_grants() {
    let place = Place::postgres().await;
    let (store, other) = (place.open().await, place.elsewhere().open().await);
    let mut events = other.subscribe().unwrap();
    store.create_grant(grant(1), None).await.unwrap();
    assert_eq!(events.recv().await.unwrap(), StoreEvent::Grants);
    assert!(other.replace_grant(after(&grant(1), GrantState::Active)).await.unwrap());
    assert_eq!(events.recv().await.unwrap(), StoreEvent::Grants);
}
