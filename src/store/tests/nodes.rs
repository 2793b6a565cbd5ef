//! Several proxies on one store.

use super::*;

async fn state(store: &dyn Store, id: u128) -> State {
    store.get(RequestId(ulid::Ulid(id))).await.unwrap().unwrap().state
}

#[tokio::test]
async fn proxies_that_start_together_make_one_schema() {
    let place = Place::postgres().await;
    let places: Vec<Place> = (0..4).map(|_n| place.elsewhere()).collect();
    let stores = futures_util::future::join_all(places.iter().map(Place::open)).await;
    stores[0].create(record(request(1))).await.unwrap();
    assert_eq!(state(&*stores[3], 1).await, State::Pending);
}
