use super::*;
use crate::review::fixture::at;
use crate::review::{Parameter, Surface};
use countersign_policy::verdict::ReviewerDemand;

fn request(id: u128) -> AccessRequest {
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
        messages: vec!["it's".to_owned()],
        reviewers: vec![ReviewerDemand { group: "dba".to_owned(), approvals: 2 }],
        in_transaction: false,
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
    NewRecord { request, binding: Binding([1; 32]), mode: Mode::Wait }
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
    }
}

#[tokio::test]
async fn a_request_is_read_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    store.create(record(request(5))).await.unwrap();
    drop(store);
    let store = SqliteStore::open(dir.path()).unwrap();
    let got = store.get(RequestId(ulid::Ulid(5))).await.unwrap().unwrap();
    assert_eq!(serde_json::to_string(&got).unwrap(), serde_json::to_string(&request(5)).unwrap());
    assert!(store.get(RequestId(ulid::Ulid(6))).await.unwrap().is_none());
    assert_eq!(store.next_expiry().await.unwrap(), Some(at(60)));
}

#[tokio::test]
async fn changes_need_the_version_and_the_state_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
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
        Some(Viewer { name: name.to_owned(), groups })
    };
    assert_eq!(ids(Filter { visible_to: viewer("bob", &[]), ..page.clone() }).await, [6, 4, 2]);
    assert_eq!(ids(Filter { visible_to: viewer("eve", &["x", "dba"]), ..page.clone() }).await, [7, 6, 5]);
    assert!(ids(Filter { visible_to: viewer("eve", &["x"]), ..page }).await.is_empty());
}

#[test]
fn a_store_has_one_owner_and_no_newer_schema() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    assert!(matches!(SqliteStore::open(dir.path()), Err(StoreError::InUse(_))));
    drop(store);
    let connection = rusqlite::Connection::open(dir.path().join("countersign.db")).unwrap();
    connection.execute("UPDATE schema_version SET version = 99", []).unwrap();
    drop(connection);
    assert!(matches!(SqliteStore::open(dir.path()), Err(StoreError::Newer { found: 99, .. })));
}
