pub(crate) mod both;
mod callers;
mod cards;
mod grants;
pub(crate) mod memory;
mod migrations;
mod model;
mod nodes;
mod outbox;
mod told;
mod undecided;
mod waiting;

use super::*;
use both::Place;
use std::sync::Arc;

use crate::config::UpstreamConfig;
use crate::review::fixture::at;
use crate::review::{Parameter, Surface};
use countersign_policy::verdict::ReviewerDemand;

pub(crate) fn request(id: u128) -> AccessRequest {
    AccessRequest {
        id: RequestId(ulid::Ulid(id)),
        state: State::Pending,
        version: 1,
        user: "alice".to_owned(),
        groups: vec!["engineering".to_owned()],
        database: "shop".to_owned(),
        client_address: "local".to_owned(),
        application: String::new(),
        statement: "DELETE FROM t -- '\"\n\u{202e}".to_owned(),
        parameters: vec![Parameter { type_name: "text".to_owned(), value: None }],
        summary: "delete on public.t".to_owned(),
        effects: vec!["delete".to_owned()],
        rules: Vec::new(),
        causes: Vec::new(),
        shape: String::new(),
        messages: vec!["it's".to_owned()],
        reviewers: vec![ReviewerDemand { group: "dba".to_owned(), approvals: 2 }],
        justification: Some("ticket 17".to_owned()),
        justification_required: true,
        in_transaction: false,
        rows_counted: true,
        created_at: at(0),
        expires_at: at(60),
        decided_at: None,
        votes: Vec::new(),
        transitions: vec![transition(None, State::Pending)],
        outcome: None,
    }
}

fn transition(from: Option<State>, to: State) -> Transition {
    Transition { from, to, by: "alice".to_owned(), surface: Surface::Wire, at: at(1), reason: None }
}

fn record(request: AccessRequest) -> NewRecord {
    NewRecord { request, binding: Binding([1; 32]), mode: Mode::Wait, card: Card::default(), undecided_max: None }
}

fn change(id: u128, version: u64, from: State, to: State) -> Change {
    Change {
        id: RequestId(ulid::Ulid(id)),
        expected_version: version,
        vote: None,
        transition: Some(transition(Some(from), to)),
        expires_at: None,
        outcome: Some("x".to_owned()),
        mode: None,
        grant: None,
        binding: None,
        comment: None,
        justification: None,
    }
}

#[tokio::test]
async fn a_request_is_read_back_as_it_was_written() {
    for place in Place::both().await {
        read_back(&place).await;
    }
}

async fn read_back(place: &Place) {
    let store = place.open().await;
    store.create(record(request(5))).await.unwrap();
    drop(store);
    let store = place.open().await;
    let got = store.get(RequestId(ulid::Ulid(5))).await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&got).unwrap(), serde_json::to_string(&request(5)).unwrap());
    assert!(store.get(RequestId(ulid::Ulid(6))).await.unwrap().is_none());
    assert_eq!(store.next_expiry().await.unwrap(), Some(at(60)));
}

#[tokio::test]
async fn changes_need_the_version_and_the_state_table() {
    for place in Place::both().await {
        change_at_versions(&place.open().await).await;
    }
}

async fn change_at_versions(store: &Arc<dyn Store>) {
    store.create(record(request(5))).await.unwrap();
    let stale = store.vote_and_transition(change(5, 2, State::Pending, State::Approved)).await.unwrap();
    assert!(stale.is_none());
    for (from, to) in
        [(State::Pending, State::Executing), (State::Pending, State::Pending), (State::Approved, State::Executing)]
    {
        let illegal = store.vote_and_transition(change(5, 1, from, to)).await;
        assert!(matches!(illegal, Err(StoreError::IllegalTransition { .. })), "{from} {to}: {illegal:?}");
    }
    let changed = store.vote_and_transition(change(5, 1, State::Pending, State::Approved)).await.unwrap().unwrap();
    assert_eq!((changed.state, changed.version, changed.decided_at), (State::Approved, 2, Some(at(1))));
    assert!(store.vote_and_transition(change(9, 1, State::Pending, State::Approved)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_that_fails_harms_no_other_of_its_batch() {
    for place in Place::both().await {
        create_with_duplicates(&place.open().await).await;
    }
}

async fn create_with_duplicates(store: &Arc<dyn Store>) {
    let ids = [1_u128, 2, 2, 3, 1, 4];
    let created = futures_util::future::join_all(ids.map(|id| store.create(record(request(id))))).await;
    let kept: Vec<_> = created.iter().map(Result::is_ok).collect();
    assert_eq!(kept, [true, true, false, true, false, true]);
    let all = store.list(Filter { limit: 10, ..Filter::default() }).await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|request| request.reviewers.len() == 1 && request.transitions.len() == 1));
}

#[tokio::test]
async fn pages_follow_one_another_and_filters_hold() {
    for place in Place::both().await {
        page_through(&place.open().await).await;
    }
}

async fn page_through(store: &Arc<dyn Store>) {
    for id in 1..=7_u128 {
        let user = if id % 2 == 0 { "bob" } else { "alice" };
        store.create(record(AccessRequest { user: user.to_owned(), ..request(id) })).await.unwrap();
    }
    let ids = async |filter: Filter| -> Vec<u128> {
        store.list(filter).await.unwrap().iter().map(|request| request.id.0.0).collect()
    };
    let page = Filter { limit: 3, ..Filter::default() };
    assert_eq!(ids(page.clone()).await, [7, 6, 5]);
    let after = Some(RequestId(ulid::Ulid(5)));
    assert_eq!(ids(Filter { after, ..page.clone() }).await, [4, 3, 2]);
    assert_eq!(ids(Filter { user: Some("bob".to_owned()), ..page.clone() }).await, [6, 4, 2]);
    assert!(ids(Filter { state: Some(State::Approved), ..page.clone() }).await.is_empty());
    assert!(ids(Filter { database: Some("' OR true --".to_owned()), ..page.clone() }).await.is_empty());
    let viewer = |name: &str, groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Some(Viewer { name: name.to_owned(), groups, ..Viewer::default() })
    };
    assert_eq!(ids(Filter { visible_to: viewer("bob", &[]), ..page.clone() }).await, [6, 4, 2]);
    assert_eq!(ids(Filter { visible_to: viewer("eve", &["x", "dba"]), ..page.clone() }).await, [7, 6, 5]);
    assert!(ids(Filter { visible_to: viewer("eve", &["x"]), ..page }).await.is_empty());
}

/// Whatever parts of a filter are given, in whichever store, the page is what one gets by looking at every request.
#[tokio::test]
async fn every_filter_gives_the_newest_of_what_it_says() {
    let places = Place::both().await;
    let stores = [places[0].open().await, places[1].open().await];
    let mut all = Vec::new();
    for id in 1..=48_u128 {
        let pick =
            |words: &[&str], divisor: u128| words[usize::try_from(id / divisor).unwrap() % words.len()].to_owned();
        let demand = |group: String| ReviewerDemand { group, approvals: 1 };
        let made = AccessRequest {
            user: pick(&["alice", "bob", "eve"], 1),
            database: pick(&["shop", "hr"], 3),
            reviewers: vec![demand(pick(&["dba", "security"], 5)), demand(pick(&["dba", "legal", "x"], 7))],
            ..request(id)
        };
        for store in &stores {
            store.create(record(made.clone())).await.unwrap();
        }
        all.push(made);
        if id % 4 == 0 {
            for store in &stores {
                store.vote_and_transition(change(id, 1, State::Pending, State::Rejected)).await.unwrap().unwrap();
            }
            all.last_mut().unwrap().state = State::Rejected;
        }
    }
    all.reverse();
    let viewers = [("eve", vec![]), ("bob", vec!["dba"]), ("olga", vec!["legal", "security"]), ("olga", vec!["none"])];
    let viewers = viewers.into_iter().map(|(name, groups)| {
        Some(Viewer {
            name: name.to_owned(),
            groups: groups.into_iter().map(str::to_owned).collect(),
            ..Viewer::default()
        })
    });
    for visible_to in viewers.chain([None]) {
        for bits in 0..16_u32 {
            let given = |bit: u32| bits & (1 << bit) != 0;
            let filter = Filter {
                state: given(0).then_some(State::Pending),
                database: given(1).then(|| "hr".to_owned()),
                user: given(2).then(|| "alice".to_owned()),
                visible_to: visible_to.clone(),
                after: given(3).then_some(RequestId(ulid::Ulid(30))),
                limit: 5,
            };
            let wanted = all.iter().filter(|request| {
                filter.state.is_none_or(|state| request.state == state)
                    && filter.database.as_ref().is_none_or(|database| request.database == *database)
                    && filter.user.as_ref().is_none_or(|user| request.user == *user)
                    && filter.after.is_none_or(|after| request.id < after)
                    && filter.visible_to.as_ref().is_none_or(|viewer| {
                        request.user == viewer.name
                            || request.reviewers.iter().any(|demand| viewer.groups.contains(&demand.group))
                    })
            });
            let wanted: Vec<_> = wanted.map(|request| request.id).take(5).collect();
            for store in &stores {
                let page: Vec<_> = store.list(filter.clone()).await.unwrap().iter().map(|found| found.id).collect();
                assert_eq!(page, wanted, "{filter:?} {store:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_store_has_one_owner_and_no_newer_schema() {
    for place in Place::both().await {
        let store = place.open().await;
        assert!(matches!(place.try_open().await, Err(StoreError::InUse(_))));
        drop(store);
        place.execute("UPDATE countersign.schema_version SET version = 99").await;
        assert!(matches!(place.try_open().await, Err(StoreError::Newer { found: 99, .. })));
    }
}

#[tokio::test]
async fn what_is_due_expires_once() {
    for place in Place::both().await {
        let store = place.open().await;
        for id in 1..=3_u128 {
            let expires_at = at(i64::try_from(id).unwrap() * 10);
            store.create(record(AccessRequest { expires_at, ..request(id) })).await.unwrap();
        }
        store.vote_and_transition(change(2, 1, State::Pending, State::Approved)).await.unwrap().unwrap();
        assert_eq!(store.next_expiry().await.unwrap(), Some(at(10)));
        let due = store.expire_due(at(20), 10).await.unwrap();
        let told: Vec<_> = due.iter().map(|(id, transition)| (id.0.0, transition.from, transition.to)).collect();
        assert_eq!(told, [(1, Some(State::Pending), State::Expired), (2, Some(State::Approved), State::Expired)]);
        let expired = store.get(RequestId(ulid::Ulid(1))).await.unwrap().unwrap();
        assert_eq!((expired.version, expired.decided_at, expired.transitions.len()), (2, Some(at(20)), 2));
        let approved = store.get(RequestId(ulid::Ulid(2))).await.unwrap().unwrap();
        assert_eq!((approved.version, approved.decided_at), (3, Some(at(1))));
        assert_eq!(approved.transitions.last().unwrap().reason.as_deref(), Some("approval was not used in time"));
        assert!(store.expire_due(at(20), 10).await.unwrap().is_empty());
        assert_eq!(store.next_expiry().await.unwrap(), Some(at(30)));
    }
}

#[tokio::test]
async fn a_restart_ends_what_waited_and_what_ran_and_nothing_else() {
    for place in Place::both().await {
        let store = place.open().await;
        for (id, mode) in [(1, Mode::Wait), (2, Mode::Auto), (3, Mode::Resubmit), (4, Mode::Wait), (5, Mode::Auto)] {
            store.create(NewRecord { mode, ..record(request(id)) }).await.unwrap();
        }
        for id in [4, 5, 6] {
            if id == 6 {
                store.create(record(request(6))).await.unwrap();
            }
            store.vote_and_transition(change(id, 1, State::Pending, State::Approved)).await.unwrap().unwrap();
        }
        store.vote_and_transition(change(6, 2, State::Approved, State::Executing)).await.unwrap().unwrap();
        drop(store);
        let store = place.open().await;
        let mut ended: Vec<_> = store.recover(at(9)).await.unwrap().into_iter().map(|(id, _)| id.0.0).collect();
        ended.sort_unstable();
        assert_eq!(ended, [1, 2, 4, 6]);
        let mut states = Vec::new();
        for id in 1..=6 {
            states.push(store.get(RequestId(ulid::Ulid(id))).await.unwrap().unwrap().state.as_str());
        }
        assert_eq!(states, ["CANCELLED", "CANCELLED", "PENDING", "CANCELLED", "APPROVED", "UNKNOWN"]);
        assert!(store.recover(at(9)).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_approval_is_found_again_by_what_it_is_bound_to() {
    for place in Place::both().await {
        let store = place.open().await;
        let found = async |user: &str, binding: u8, state: State, now: i64| {
            let found = store.find_resubmittable(Binding([binding; 32]), user.to_owned(), state, at(now)).await;
            found.unwrap().map(|request| request.id.0.0)
        };
        for (id, mode) in [(1, Mode::Wait), (2, Mode::Auto), (3, Mode::Resubmit)] {
            store.create(NewRecord { mode, ..record(request(id)) }).await.unwrap();
        }
        assert_eq!(found("alice", 1, State::Pending, 0).await, Some(3));
        assert_eq!(found("alice", 1, State::Approved, 0).await, None);
        for id in [1, 2] {
            store.vote_and_transition(change(id, 1, State::Pending, State::Approved)).await.unwrap().unwrap();
        }
        assert_eq!(found("alice", 1, State::Approved, 0).await, Some(2));
        assert_eq!(found("alice", 1, State::Approved, 60).await, None);
        assert_eq!(found("alice", 2, State::Approved, 0).await, None);
        assert_eq!(found("bob", 1, State::Approved, 0).await, None);
    }
}
