//! Targets that are played by servers on this machine.

mod burst;
mod email;
mod people;
mod post;
mod receiver;
mod slack;
mod socket;
mod teams;
mod webhooks;
mod workspace;

use std::sync::Arc;
use std::time::Duration;

use countersign_policy::grant::Binding;
use countersign_policy::rule::Mode;
use jiff::SignedDuration;

use super::courier::Courier;
use super::{Target, Tell};
use crate::review::fixture::{Bench, actor, at, new_request};
use crate::review::{NewRequest, Opened, RequestId};
use crate::store::outbox::{Delivery, DeliveryFilter, DeliveryState};

/// One target of a proxy, whose time stands still until it is moved.
pub(super) struct Stage {
    pub(super) bench: Bench,
    courier: Courier,
    /// Seconds since the beginning.
    pub(super) now: i64,
}

impl Stage {
    pub(super) async fn new(tell: Arc<dyn Tell>) -> Self {
        Self::on(Bench::new(), tell).await
    }

    /// Of what is there already.
    pub(super) async fn on(bench: Bench, tell: Arc<dyn Tell>) -> Self {
        let names = vec!["webhook siem".to_owned()];
        bench.outbox.register(names, at(0), at(0)).await.unwrap();
        let target = Target { name: "webhook siem".to_owned(), tell };
        let day = Duration::from_secs(86_400);
        let courier = Courier::new(target, &bench.review, Arc::clone(&bench.outbox), day);
        Self { bench, courier, now: 0 }
    }

    /// Delivers what is due, and what becomes due by that.
    pub(super) async fn deliver(&mut self) {
        while self.courier.round(at(self.now)).await.unwrap() > 0 {}
    }

    /// Lets so many seconds pass, one after the other.
    pub(super) async fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            self.deliver().await;
        }
    }

    /// A request by alice that is like no other.
    pub(super) async fn ask(&self, demands: &str) -> RequestId {
        let new = NewRequest { binding: Binding(rand::random()), ..new_request(demands, Mode::Resubmit) };
        match self.bench.review.open(new, at(0)).await.unwrap() {
            Opened::Resubmit(request) => request.id,
            other => panic!("{other:?}"),
        }
    }

    /// One that bob has approved at once.
    pub(super) async fn approved(&self) -> String {
        let id = self.ask("dba").await;
        self.bench.review.approve(id, &actor("bob"), None, at(1)).await.unwrap();
        id.to_string()
    }

    pub(super) async fn deliveries(&self) -> Vec<Delivery> {
        let mut all =
            self.bench.outbox.deliveries(DeliveryFilter { limit: 500, ..DeliveryFilter::default() }).await.unwrap();
        all.reverse();
        all
    }

    pub(super) async fn count(&self, state: DeliveryState) -> usize {
        self.deliveries().await.iter().filter(|one| one.state == state).count()
    }
}

/// Minutes in seconds.
pub(super) fn minutes(minutes: i64) -> i64 {
    SignedDuration::from_mins(minutes).as_secs()
}
