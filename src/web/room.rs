//! Room for connections, of which there is always some for whoever comes.
//!
//! Never ends a call that is being served. Invariant: of connections that wait for a call, or for the rest of one, as many are
//! ended as are needed for new ones, those first that the busiest address has kept waiting longest.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How long a call may take to arrive whole, once its header is there.
const ARRIVAL: Duration = Duration::from_secs(30);

/// The connections there are.
#[derive(Clone, Debug)]
pub(super) struct Room {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    places: HashMap<u64, Kept>,
}

#[derive(Debug)]
struct Kept {
    peer: IpAddr,
    /// Since when nothing is being served on it; `None` while something is.
    waiting: Option<Instant>,
    end: Arc<Notify>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    end: Arc<Notify>,
    room: Room,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place for a connection from there; `None` when calls are being served on all of them.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Place> {
        let mut taken = self.lock();
        if taken.places.len() >= self.most {
            let last = taken.longest_waiting()?;
            // Its task drops it as soon as it runs.
            taken.places.remove(&last)?.end.notify_one();
        }
        let (number, end) = (taken.next, Arc::<Notify>::default());
        taken.next += 1;
        let kept = Kept { peer: network(peer), waiting: Some(Instant::now()), end: Arc::clone(&end) };
        taken.places.insert(number, kept);
        Some(Place { number, end, room: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Of those on which nothing is served: the oldest of whoever has most of them.
    fn longest_waiting(&self) -> Option<u64> {
        let mut waiting: HashMap<IpAddr, (usize, Instant, u64)> = HashMap::new();
        for (number, kept) in &self.places {
            let Some(since) = kept.waiting else { continue };
            let of_peer = waiting.entry(kept.peer).or_insert((0, since, *number));
            of_peer.0 += 1;
            if (since, *number) < (of_peer.1, of_peer.2) {
                (of_peer.1, of_peer.2) = (since, *number);
            }
        }
        let busiest =
            waiting.into_values().max_by_key(|(count, since, number)| (*count, std::cmp::Reverse((*since, *number))));
        busiest.map(|(_, _, number)| number)
    }
}

impl Place {
    /// Comes when the place is needed for somebody else.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn lost(&self) {
        self.end.notified().await;
    }

    /// What tells the room of the calls on this connection.
    pub(super) fn watch(&self) -> Watch {
        Watch { number: self.number, room: self.room.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.lock().places.remove(&self.number);
    }
}

/// See [`Place::watch`].
#[derive(Clone, Debug)]
pub(super) struct Watch {
    number: u64,
    room: Room,
}

impl Watch {
    fn set(&self, waiting: Option<Instant>) {
        if let Some(kept) = self.room.lock().places.get_mut(&self.number) {
            kept.waiting = waiting;
        }
    }

    /// A call has come, of which the body may still be on its way.
    pub(super) fn arrives(&self, request: Request) -> Request {
        if request.body().is_end_stream() {
            self.set(None);
            return request;
        }
        self.set(Some(Instant::now()));
        request.map(|body| Body::from_stream(in_time(body.into_data_stream(), self.clone())))
    }

    /// It is served until its answer has been taken.
    pub(super) fn answers(&self, response: Response) -> Response {
        let served = Served(self.clone());
        if response.body().is_end_stream() {
            return response;
        }
        response.map(|body| Body::new(Answering { body, _served: served }))
    }
}

/// The parts of a body while they come in time.
fn in_time(body: BodyDataStream, watch: Watch) -> impl Stream<Item = Result<Bytes, axum::BoxError>> {
    let until = Instant::now() + ARRIVAL;
    stream::unfold(Some(body), move |body| {
        let watch = watch.clone();
        async move {
            let mut body = body?;
            match timeout_at(until, body.next()).await {
                Ok(Some(Ok(part))) => {
                    if body.is_end_stream() {
                        watch.set(None);
                    }
                    Some((Ok(part), Some(body)))
                }
                Ok(Some(Err(error))) => Some((Err(error.into()), None)),
                Ok(None) => {
                    watch.set(None);
                    None
                }
                Err(late) => Some((Err(late.into()), None)),
            }
        }
    })
}

/// When the last of an answer is taken, or given up, its connection waits again.
struct Served(Watch);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.set(Some(Instant::now()));
    }
}

/// An answer on its way.
struct Answering {
    body: Body,
    _served: Served,
}

impl axum::body::HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// Whoever has one address of a network of IPv6 has all of them.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}
