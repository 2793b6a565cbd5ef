//! Notifications: what happens is told where people work.
//!
//! Never decides, and never holds a statement up: what is to be told is in the outbox when a transition is, and is delivered
//! from there. Invariant: every task that delivers is joined before [`Notifier::run`] returns.

mod courier;
mod email;
mod event;
mod guard;
mod http;
mod pace;
pub mod payload;
pub(crate) mod slack;
mod smtp;
mod teams;
mod webhook;
mod words;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use self::courier::Courier;
use self::email::{EMAIL, Email};
use self::event::Story;
use self::http::Outcome;
use self::slack::desk::{self, Deed};
use self::slack::socket::Socket;
use self::slack::{SLACK, Slack};
use self::teams::Teams;
use self::webhook::Webhook;
use crate::config::{Config, NotifyConfig};
use crate::review::Review;
use crate::store::StoreError;
use crate::store::outbox::{About, Event, Outbox};
use crate::telemetry::{NOTIFY_DEAD, NOTIFY_OLDEST, NOTIFY_WAITING};

/// How often the outbox is looked at for its own sake: counted, swept.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often the store is told again who is to be told.
const REGISTER_EVERY: SignedDuration = SignedDuration::from_mins(10);
/// How long other proxies on a shared store may not name a target before it is no longer told.
const RETIRED_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Name of the target that Teams is.
const TEAMS: &str = "teams";

/// Tells one target.
pub(crate) trait Tell: Send + Sync {
    /// Tells it; `now` is the time.
    ///
    /// # Cancel safety
    /// When the future is dropped it may have been told or not.
    fn tell<'a>(&'a self, story: &'a Story, now: Timestamp) -> BoxFuture<'a, Outcome>;
}

/// A target, and what tells it.
#[derive(Clone)]
pub(crate) struct Target {
    name: String,
    tell: Arc<dyn Tell>,
}

/// Delivers what is in the outbox.
pub(crate) struct Notifier {
    review: Arc<Review>,
    outbox: Arc<dyn Outbox>,
    config: Arc<ArcSwap<Config>>,
    /// Where the page is served.
    web: SocketAddr,
    reloaded: Notify,
    /// Of the configuration in force.
    slack: Arc<ArcSwapOption<Slack>>,
    /// What people have done in Slack.
    deeds: mpsc::Sender<Deed>,
    to_do: Mutex<Option<mpsc::Receiver<Deed>>>,
}

impl Notifier {
    /// Puts the parts together.
    pub(crate) fn new(
        review: Arc<Review>,
        outbox: Arc<dyn Outbox>,
        config: Arc<ArcSwap<Config>>,
        web: SocketAddr,
    ) -> Arc<Self> {
        let (deeds, to_do) = mpsc::channel(desk::QUEUE_MAX);
        let (slack, reloaded) = Default::default();
        Arc::new(Self { review, outbox, config, web, reloaded, slack, deeds, to_do: Mutex::new(Some(to_do)) })
    }

    /// Makes ready to deliver, and to be told of what happens from now on. Call it once, before [`Notifier::run`].
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn begin(&self) -> Result<(), StoreError> {
        self.outbox.free_claims().await?;
        self.register().await
    }

    /// Names the targets of the configuration to the store, so that from now on they are told.
    async fn register(&self) -> Result<(), StoreError> {
        let config = self.config.load_full();
        let now = self.now();
        // Alone at an embedded store, this process knows every target.
        let is_shared = self.review.is_store_shared();
        let retired = if is_shared { now.checked_sub(RETIRED_AFTER).unwrap_or(Timestamp::MIN) } else { now };
        self.outbox.register(names(&config.notify), now, retired).await
    }

    /// What is to be told and was.
    pub(crate) fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.outbox)
    }

    /// Has done what somebody did in Slack; whether there is room for it.
    pub(crate) fn do_later(&self, deed: Deed) -> bool {
        self.deeds.try_send(deed).is_ok()
    }

    /// Another configuration is in force.
    pub(crate) fn reloaded(&self) {
        self.reloaded.notify_one();
    }

    /// The time by which something is due.
    pub(crate) fn now(&self) -> Timestamp {
        self.review.time(Timestamp::now())
    }

    /// Delivers until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let (open, closed) = watch::channel(());
        let mut desk = JoinSet::new();
        if let Some(to_do) = self.to_do.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let slack = Arc::clone(&self.slack);
            desk.spawn(desk::run(to_do, closed, move || slack.load_full()));
        }
        loop {
            let config = self.config.load_full();
            let (stop, stopped) = watch::channel(());
            let mut couriers = JoinSet::new();
            for target in self.targets(&config) {
                let courier = Courier::new(target, &self.review, Arc::clone(&self.outbox), config.notify.give_up_after);
                couriers.spawn(courier.run(stopped.clone()));
            }
            if let Some(slack) = &config.notify.slack
                && let Some(app_token) = &slack.app_token
            {
                couriers.spawn(Socket::new(slack, app_token, self.deeds.clone()).run(stopped.clone()));
            }
            // All are cancel safe: looking stores nothing that is half done.
            let is_over = tokio::select! {
                () = self.look_after(&config.notify) => false,
                () = self.reloaded.notified() => false,
                () = &mut shutdown => true,
            };
            drop(stop);
            while couriers.join_next().await.is_some() {}
            if is_over {
                drop(open);
                while desk.join_next().await.is_some() {}
                return;
            }
            self.tell_of_config(&config).await;
        }
    }

    /// The targets of a configuration.
    fn targets(&self, config: &Config) -> Vec<Target> {
        let public_url = config.web.url_at(self.web);
        let target = |name: String, tell: Arc<dyn Tell>| Target { name, tell };
        let webhooks = config.notify.webhooks.iter();
        let mut targets: Vec<Target> = webhooks
            .map(|webhook| target(webhook_name(&webhook.name), Arc::new(Webhook::new(webhook, &public_url))))
            .collect();
        let teams = config.notify.teams.as_ref();
        targets.extend(teams.map(|teams| target(TEAMS.to_owned(), Arc::new(Teams::new(teams, &public_url)))));
        let email = config.notify.email.as_ref();
        let email = email.map(|email| Arc::new(Email::new(email, &self.review, &self.outbox, &public_url)));
        targets.extend(email.map(|email| target(EMAIL.to_owned(), email)));
        let slack = config.notify.slack.as_ref();
        let slack = slack.map(|slack| Arc::new(Slack::new(slack, &self.review, &self.outbox, &public_url)));
        self.slack.store(slack.clone());
        targets.extend(slack.map(|slack| target(SLACK.to_owned(), slack)));
        targets
    }

    /// Counts and sweeps for ever.
    async fn look_after(&self, config: &NotifyConfig) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut registered: Option<Timestamp> = None;
        loop {
            look.tick().await;
            let now = self.now();
            let looked = async {
                if registered.is_none_or(|at| now.duration_since(at) >= REGISTER_EVERY) {
                    self.register().await?;
                    registered = Some(now);
                }
                let kept = SignedDuration::try_from(config.retention).unwrap_or(SignedDuration::MAX);
                self.outbox.sweep(now.checked_sub(kept).unwrap_or(Timestamp::MIN)).await?;
                self.count(now).await
            };
            if let Err(error) = looked.await {
                tracing::debug!(%error, "could not look after the outbox");
            }
        }
    }

    async fn count(&self, now: Timestamp) -> Result<(), StoreError> {
        use crate::store::outbox::DeliveryState;
        for one in self.outbox.backlog().await? {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and such counts are small")]
            let count = one.count as f64;
            match one.state {
                DeliveryState::Waiting => {
                    metrics::gauge!(NOTIFY_WAITING, "target" => one.target.clone()).set(count);
                    let age = one.oldest.map_or(0.0, |oldest| now.duration_since(oldest).as_secs_f64().max(0.0));
                    metrics::gauge!(NOTIFY_OLDEST, "target" => one.target).set(age);
                }
                DeliveryState::Dead => metrics::gauge!(NOTIFY_DEAD, "target" => one.target).set(count),
                DeliveryState::Delivered => {}
            }
        }
        Ok(())
    }

    /// Tells who is told now that there is another configuration than that.
    async fn tell_of_config(&self, before: &Config) {
        let revision = self.config.load().policy.revision.clone();
        let told = async {
            self.register().await?;
            if revision == before.policy.revision {
                return Ok(());
            }
            let (what, person, at) = ("CHANGED".to_owned(), String::new(), self.now());
            self.outbox.note(Event { about: About::Config, subject: revision, what, person, at }).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "could not tell of the new configuration");
        }
    }
}

fn names(config: &NotifyConfig) -> Vec<String> {
    let webhooks = config.webhooks.iter().map(|webhook| webhook_name(&webhook.name));
    let teams = config.teams.iter().map(|_| TEAMS.to_owned());
    let email = config.email.iter().map(|_| EMAIL.to_owned());
    webhooks.chain(teams).chain(email).chain(config.slack.iter().map(|_| SLACK.to_owned())).collect()
}

fn webhook_name(name: &str) -> String {
    format!("webhook {name}")
}

#[cfg(test)]
mod tests;
