//! The task that owns the side connection: one load at a time, for whoever waits.
//!
//! Never publishes a partial snapshot. Invariant: a waiter taken from the inbox before a load begins is answered by
//! that load, so every answer shows what was committed before it was asked for.

use std::sync::Arc;
use std::time::Duration;

use countersign_policy::Catalog;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::definitions::BuiltIn;
use super::load::{self, Loaded, Probe};
use super::members;
use super::side::Side;
use super::{CatalogError, CatalogOptions, Shared, Waiter};
use crate::config::{DatabaseConfig, GroupsFrom, UpstreamConfig};

/// The first pause after a failed attempt; each further one is twice as long.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// Major versions whose SQL the analysis knows.
const SUPPORTED: std::ops::RangeInclusive<u32> = 13..=18;

pub(super) struct Worker {
    name: String,
    upstream: UpstreamConfig,
    tls: Option<TlsConnector>,
    options: CatalogOptions,
    shared: Arc<Shared>,
    groups_from: GroupsFrom,
    side: Option<Side>,
    /// What the published snapshot was made from; `None` forces a load.
    current: Option<Probe>,
    built_in: BuiltIn,
    pause: Duration,
}

impl Worker {
    pub(super) fn new(
        database: &DatabaseConfig,
        tls: Option<TlsConnector>,
        options: CatalogOptions,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            name: database.name.clone(),
            upstream: database.upstream.clone(),
            tls,
            options,
            shared,
            groups_from: database.groups_from,
            side: None,
            current: None,
            built_in: BuiltIn::default(),
            pause: RETRY_MIN,
        }
    }

    /// Runs until the service is dropped.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Waiter>) {
        let mut next = Instant::now() + self.options.poll_interval;
        loop {
            let mut waiters = Vec::new();
            // All three are cancel safe: nothing is taken from the inbox or the permit unless its branch is chosen.
            tokio::select! {
                waiter = inbox.recv() => match waiter {
                    Some(waiter) => waiters.push(waiter),
                    None => return,
                },
                () = self.shared.wanted.notified() => {}
                () = sleep_until(next) => {}
            }
            while let Ok(waiter) = inbox.try_recv() {
                waiters.push(waiter);
            }
            let outcome = self.attempt().await;
            next = Instant::now() + self.pause_after(&outcome);
            for waiter in waiters {
                // A waiter that has gone away needs no answer.
                drop(waiter.send(outcome.clone()));
            }
        }
    }

    /// Brings the snapshot up to date and remembers whether that worked.
    async fn attempt(&mut self) -> Result<Arc<Catalog>, CatalogError> {
        let limit = self.options.load_timeout;
        let outcome = match timeout(limit, self.update()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CatalogError::Timeout),
        };
        if let Err(error) = &outcome {
            self.side = None;
            tracing::warn!(database = %self.name, %error, "catalog not refreshed");
        }
        if self.groups_from == GroupsFrom::Roles {
            self.read_memberships().await;
        }
        self.shared.failure.store(outcome.as_ref().err().map(|error| Arc::new(error.clone())));
        outcome
    }

    /// Takes in who is a member of which role; nobody is, for who asks, when that cannot be read.
    async fn read_memberships(&mut self) {
        let read = match &self.side {
            Some(side) => timeout(self.options.load_timeout, members::read(side.client())).await,
            // Why there is no connection has been told.
            None => return self.shared.memberships.store(None),
        };
        match read.unwrap_or(Err(CatalogError::Timeout)) {
            Ok(read) => {
                let known = self.shared.memberships.load();
                if known.as_deref() != Some(&read) {
                    self.shared.memberships.store(Some(Arc::new(read)));
                }
            }
            Err(error) => {
                self.side = None;
                tracing::warn!(database = %self.name, %error, "memberships of roles not read; nobody has groups from there");
                self.shared.memberships.store(None);
            }
        }
    }

    async fn update(&mut self) -> Result<Arc<Catalog>, CatalogError> {
        let mut side = match self.side.take() {
            Some(side) if !side.is_closed() => side,
            Some(_) | None => Side::connect(&self.upstream, self.tls.as_ref(), &self.options).await?,
        };
        let changed = match &self.current {
            Some(current) => *current != load::probe(side.client()).await?,
            None => true,
        };
        if changed {
            self.load(&mut side).await?;
        }
        self.side = Some(side);
        Ok(self.shared.snapshot.load_full())
    }

    async fn load(&mut self, side: &mut Side) -> Result<(), CatalogError> {
        let begin = Instant::now();
        let Loaded { probe, complete, catalog } = load::load(side.client_mut(), &mut self.built_in).await?;
        // Unavailable definitions leave the snapshot usable but are asked for again every time.
        self.current = complete.then_some(probe);
        if self.shared.snapshot.load().version() == catalog.version() {
            return Ok(());
        }
        if !SUPPORTED.contains(&catalog.server_major()) {
            tracing::warn!(database = %self.name, major = catalog.server_major(), "version of the upstream not supported");
        }
        tracing::info!(
            database = %self.name,
            version = catalog.version(),
            relations = catalog.relations().count(),
            complete,
            load_ms = begin.elapsed().as_millis(),
            "catalog loaded"
        );
        let catalog = Arc::new(catalog);
        if let Some(make) = self.shared.preparation.0.get().cloned() {
            let newest = Arc::clone(&catalog);
            // Where it panics, whoever needs it makes it again.
            drop(tokio::task::spawn_blocking(move || make(&newest)).await);
        }
        self.shared.snapshot.store(catalog);
        Ok(())
    }

    /// The pause before the next look: the poll interval, or a growing one after failures.
    fn pause_after(&mut self, outcome: &Result<Arc<Catalog>, CatalogError>) -> Duration {
        if outcome.is_ok() {
            self.pause = RETRY_MIN;
            return self.options.poll_interval;
        }
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(self.options.retry_max);
        pause
    }
}
