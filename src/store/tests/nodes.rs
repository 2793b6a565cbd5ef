//! Several proxies on one store.

use std::time::Duration;

use super::*;

/// So long that nothing is renewed during a test.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(1);

async fn states<const N: usize>(store: &dyn Store, ids: [u128; N]) -> [&'static str; N] {
    let mut states = [""; N];
    for (state, id) in states.iter_mut().zip(ids) {
        *state = store.get(RequestId(ulid::Ulid(id))).await.unwrap().unwrap().state.as_str();
    }
    states
}

/// A node with requests 1 waiting, 2 approved in mode `wait`, 3 approved in mode `auto`, 4 running, and 5 to be sent again.
async fn busy_node(place: &Place) -> PostgresStore {
    let store = place.open_postgres(LONG).await.unwrap();
    for (id, mode) in [(1, Mode::Wait), (2, Mode::Wait), (3, Mode::Auto), (4, Mode::Wait), (5, Mode::Resubmit)] {
        store.create(NewRecord { mode, ..record(request(id)) }).await.unwrap();
    }
    for id in [2, 3, 4] {
        store.vote_and_transition(change(id, 1, State::Pending, State::Approved)).await.unwrap().unwrap();
    }
    store.vote_and_transition(change(4, 2, State::Approved, State::Executing)).await.unwrap().unwrap();
    store
}

const BUSY: [&str; 5] = ["PENDING", "APPROVED", "APPROVED", "EXECUTING", "PENDING"];
const ENDED: [&str; 5] = ["CANCELLED", "CANCELLED", "APPROVED", "UNKNOWN", "PENDING"];

#[tokio::test]
async fn proxies_that_start_together_make_one_schema() {
    let place = Place::postgres().await;
    let places: Vec<Place> = (0..4).map(|_n| place.elsewhere()).collect();
    let stores = futures_util::future::join_all(places.iter().map(Place::open)).await;
    stores[0].create(record(request(1))).await.unwrap();
    assert_eq!(states(&*stores[3], [1]).await, ["PENDING"]);
}

#[tokio::test]
async fn what_a_node_changes_is_told_to_the_others() {
    let place = Place::postgres().await;
    let other = place.elsewhere();
    let (one, two) = (place.open().await, other.open().await);
    let mut events = two.subscribe().unwrap();
    one.create(record(request(7))).await.unwrap();
    assert_eq!(events.recv().await, Ok(StoreEvent::Changed(RequestId(ulid::Ulid(7)))));
    one.expire_due(at(60), 10).await.unwrap();
    assert_eq!(events.recv().await, Ok(StoreEvent::Changed(RequestId(ulid::Ulid(7)))));
}

#[tokio::test]
async fn a_node_that_is_gone_is_ended_by_any_other_once_its_lease_is_over() {
    let place = Place::postgres().await;
    let (first, second) = (place.elsewhere(), place.elsewhere());
    let (lost, one, two) =
        (busy_node(&place).await, first.open_postgres(LONG).await.unwrap(), second.open_postgres(LONG).await.unwrap());
    assert!(one.reap().await.unwrap().is_empty(), "its lease is not over");
    place.execute("UPDATE countersign.nodes SET lease_until = now() - interval '1s' WHERE id = 1").await;
    assert!(one.reap().await.unwrap().is_empty(), "nobody else has been there for as long as its lease lasts");
    assert_eq!(states(&one, [1, 2, 3, 4, 5]).await, BUSY);
    place.execute("UPDATE countersign.nodes SET since = now() - interval '1h' WHERE id > 1").await;
    let (ended, also) = futures_util::future::join(one.reap(), two.reap()).await;
    let mut ended: Vec<_> = ended.unwrap().into_iter().chain(also.unwrap()).map(|(id, _)| id.0.0).collect();
    ended.sort_unstable();
    assert_eq!(ended, [1, 2, 4], "each once");
    assert_eq!(states(&two, [1, 2, 3, 4, 5]).await, ENDED);
    let late = lost.vote_and_transition(change(3, 2, State::Approved, State::Executing)).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
    assert!(matches!(lost.create(record(request(9))).await, Err(StoreError::LeaseLost)));
    assert!(two.vote_and_transition(change(3, 2, State::Approved, State::Executing)).await.unwrap().is_some());
    assert!(one.reap().await.unwrap().is_empty() && two.reap().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_is_over_begins_nothing_but_can_be_renewed_until_others_say_so() {
    let place = Place::postgres().await;
    let store = busy_node(&place).await;
    place.execute("UPDATE countersign.nodes SET lease_until = now() - interval '1s'").await;
    let begun = store.vote_and_transition(change(3, 2, State::Approved, State::Executing)).await;
    assert!(matches!(begun, Err(StoreError::LeaseLost)), "{begun:?}");
    let decided = store.vote_and_transition(change(1, 1, State::Pending, State::Rejected)).await.unwrap();
    assert_eq!(decided.unwrap().state, State::Rejected, "decisions need no lease");
    place.execute("UPDATE countersign.nodes SET lease_until = now() + interval '1h'").await;
    assert!(store.vote_and_transition(change(3, 2, State::Approved, State::Executing)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_node_that_was_declared_gone_comes_back_as_another() {
    let place = Place::postgres().await;
    let store = place.open_postgres(SHORT).await.unwrap();
    let mut events = store.subscribe().unwrap();
    place.execute("UPDATE countersign.nodes SET gone = true").await;
    while events.recv().await != Ok(StoreEvent::Missed) {}
    store.create(record(request(1))).await.unwrap();
    place.execute("UPDATE countersign.nodes SET since = now() - interval '1h'").await;
    assert!(store.reap().await.unwrap().is_empty());
    assert_eq!(states(&store, [1]).await, ["PENDING"]);
}

#[tokio::test]
async fn a_process_ends_what_its_predecessor_left_at_once_and_a_farewell_does_as_well() {
    let place = Place::postgres().await;
    let other = place.elsewhere();
    let one = busy_node(&place).await;
    let two = other.open_postgres(LONG).await.unwrap();
    drop(one);
    assert!(two.recover(at(0)).await.unwrap().is_empty(), "another's are not its own");
    let one = place.open_postgres(LONG).await.unwrap();
    assert_eq!(one.recover(at(0)).await.unwrap().len(), 3);
    assert_eq!(states(&one, [1, 2, 3, 4, 5]).await, ENDED);
    one.create(record(request(6))).await.unwrap();
    one.leave().await.unwrap();
    place.execute("UPDATE countersign.nodes SET since = now() - interval '1h'").await;
    assert_eq!(two.reap().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_not_used() {
    let place = Place::postgres().await;
    place.execute("CREATE ROLE mallory; CREATE ROLE store LOGIN; GRANT CREATE ON DATABASE postgres TO store").await;
    place.execute("CREATE SCHEMA countersign AUTHORIZATION mallory; GRANT ALL ON SCHEMA countersign TO store").await;
    let upstream = UpstreamConfig { user: "store".to_owned(), ..place.upstream() };
    let refused = PostgresStore::open(place.dir.path(), &upstream, LONG).await;
    assert!(matches!(refused, Err(StoreError::Owner)), "{refused:?}");
}

#[tokio::test]
async fn nothing_of_the_store_hangs_while_its_tables_are_locked() {
    let place = Place::postgres().await;
    let store = place.open_postgres(LONG).await.unwrap();
    let (client, connection) = place.superuser().connect(tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE countersign.requests").await.unwrap();
    let began = std::time::Instant::now();
    assert!(store.create(record(request(1))).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    client.batch_execute("ROLLBACK").await.unwrap();
    driver.abort();
    store.create(record(request(2))).await.unwrap();
    assert!(
        store.get(RequestId(ulid::Ulid(1))).await.unwrap().is_none(),
        "what was called failed does not happen later"
    );
}
