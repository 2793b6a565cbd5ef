//! The running proxy: listeners, sessions, API, sweeper, and what they share.
//!
//! Never touches a statement. Invariant: every task it starts has ended when [`Server::shutdown`] returns.

mod open;
mod recorded;
mod sweep;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinSet;

use crate::audit::{Audit, AuditError};
use crate::called::{self, Call, CallError, Called, Door, Visitors};
use crate::cancel::CancelRegistry;
use crate::card::CardDesk;
use crate::config::{Config, ListenAddress};
use crate::connection::{self, Newcomer};
use crate::database::Database;
use crate::drain::{self, Phase};
use crate::fault::with_causes;
use crate::identity::passwords::Passwords;
use crate::inherited::Inherited;
use crate::limits::Places;
use crate::listener::{self, Listener, Sharing};
use crate::live::{Live, LiveEvent};
use crate::newer::newer;
use crate::notify::Notifier;
use crate::review::{Review, ReviewError};
use crate::session::Workroom;
use crate::session::startup::{StartupContext, mock_secret};
use crate::sessions::Sessions;
use crate::store::{self, StoreError};
use crate::stream::ClientStream;
use crate::telemetry::{STRANGERS_REFUSED, VerdictCounters};
use crate::tls::{self, TlsError};
use crate::web::{self, ApiState, Behind, Pulse};
use open::{databases, open_store, settle, trail_options};
use recorded::record_config;
use sweep::sweep_kept;

/// How long what was cancelled may take to end.
const ENDING: Duration = Duration::from_secs(10);
/// How often a data directory that is in use is looked at again.
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// What every session needs.
pub(crate) struct Shared {
    config: Arc<ArcSwap<Config>>,
    databases: ArcSwap<HashMap<String, Arc<Database>>>,
    pub(crate) startup: StartupContext,
    pub(crate) review: Arc<Review>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) cancels: CancelRegistry,
    pub(crate) places: Places,
    pub(crate) live: Live,
    pub(crate) verdicts: VerdictCounters,
    pub(crate) workroom: Workroom,
    pub(crate) cards: CardDesk,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) door: Door,
    pub(crate) notifier: Arc<Notifier>,
    session_numbers: AtomicU64,
    /// An operator wants the proxy to end.
    stop: Notify,
    /// Distinguishes the sessions of this process from those of earlier ones in the audit trail.
    started: Timestamp,
    web: SocketAddr,
}

impl Shared {
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The configuration, unless it is the one that is known.
    pub(crate) fn newer_config(&self, known: &Arc<Config>) -> Option<Arc<Config>> {
        newer(&self.config, known)
    }

    pub(crate) fn database(&self, name: &str) -> Option<Arc<Database>> {
        self.databases.load().get(name).cloned()
    }

    /// Every database, by its name.
    pub(crate) fn databases(&self) -> Arc<HashMap<String, Arc<Database>>> {
        self.databases.load_full()
    }

    /// Has the proxy end as at SIGTERM.
    pub(crate) fn stop(&self) {
        self.stop.notify_one();
    }

    /// As [`Server::reload`].
    pub(crate) async fn reload(&self, mut config: Config) -> Result<(), ServerError> {
        config
            .ensure_mask_key()
            .map_err(|source| ServerError::DataDir { path: config.data_dir.display().to_string(), source })?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let databases = databases(&config, &self.databases.load()).await?;
        record_config(&self.audit, &self.config().data_dir, &config);
        self.startup.replace_tls(acceptor);
        self.review.roles().follow(&config, &databases);
        self.databases.store(Arc::new(databases));
        warn_of_what_stays(&self.config(), &config);
        tracing::info!(revision = %config.policy.revision, "configuration reloaded");
        self.config.store(Arc::new(config));
        self.notifier.reloaded();
        Ok(())
    }

    /// A name for a new session, unique in the audit trail.
    pub(crate) fn session_name(&self) -> String {
        let number = self.session_numbers.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.started.as_second())
    }

    /// Base of links to access requests.
    pub(crate) fn public_url(&self) -> String {
        self.config().web.url_at(self.web)
    }
}

/// A running proxy.
pub struct Server {
    shared: Arc<Shared>,
    postgres: Vec<ListenAddress>,
    phase: watch::Sender<Phase>,
    /// What accepts clients, and their sessions.
    sessions: JoinSet<()>,
    services: JoinSet<()>,
}

/// What a proxy starts with besides its configuration.
pub struct Start {
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Sockets that were handed over.
    pub inherited: Inherited,
    /// What to do while another process uses the data directory.
    pub when_in_use: WhenInUse,
}

/// What to do while another process uses the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenInUse {
    /// Not start.
    Fail,
    /// Wait until it has ended; clients can connect already, and wait as well.
    Wait,
}

/// Why the proxy cannot start or take over a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be bound.
    #[error("could not listen on {address}")]
    Listen {
        /// The address as configured.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A socket was handed over that the configuration does not name.
    #[error("a socket for {address} was handed over, but neither \"listen\" nor [web] names that address")]
    Inherited {
        /// Where it listens.
        address: String,
    },
    /// The data directory cannot be used.
    #[error("could not use data directory {path}")]
    DataDir {
        /// The directory.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Certificate or key of `[tls]`, or a root certificate, cannot be used.
    #[error("could not set up TLS")]
    Tls(#[from] TlsError),
    /// The audit trail cannot be opened.
    #[error("could not open the audit trail")]
    Audit(#[from] AuditError),
    /// The store cannot be opened.
    #[error("could not open the store")]
    Store(#[from] StoreError),
    /// Requests left by an earlier run cannot be settled.
    #[error("could not settle the requests of an earlier run")]
    Recover(#[from] ReviewError),
}

impl Server {
    /// Starts everything; returns once clients can connect.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running.
    pub async fn start(mut config: Config, start: Start) -> Result<Self, ServerError> {
        let Start { metrics, mut inherited, when_in_use } = start;
        // From here on clients are not refused: they wait until they are accepted.
        let (listeners, web_listener) = listeners(&config, &mut inherited)?;
        let data_dir = config.data_dir.clone();
        let unusable = |source| ServerError::DataDir { path: data_dir.display().to_string(), source };
        std::fs::create_dir_all(&data_dir).map_err(unusable)?;
        if when_in_use == WhenInUse::Wait {
            until_free(&data_dir).await;
        }
        config.ensure_mask_key().map_err(unusable)?;
        let now = Timestamp::now();
        let options = trail_options(&config.audit, &data_dir).map_err(unusable)?;
        let audit = Arc::new(Audit::open_with(&data_dir.join("audit"), options, now)?);
        record_config(&audit, &data_dir, &config);
        let (store, callers, outbox) = open_store(&config).await?;
        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let secret = mock_secret(&data_dir).map_err(unusable)?;
        let databases = databases(&config, &HashMap::new()).await?;
        let web = web_listener
            .local_addr()
            .map_err(|source| ServerError::Listen { address: config.web.listen.to_string(), source })?;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let anchoring = audit.anchoring(&store);
        let review = Review::new(store, Arc::clone(&audit), Arc::clone(&config));
        review.roles().follow(&config.load(), &databases);
        review.people().follow(Arc::clone(&callers));
        let notifier = Notifier::new(Arc::clone(&review), outbox, Arc::clone(&config), web);
        settle(&review, &notifier, &data_dir.join("audit"), now).await?;
        let startup = StartupContext::new(Arc::clone(&config), acceptor, secret).with_audit(Arc::clone(&audit));
        let passwords = Passwords::new(Arc::clone(&callers));
        let (door, visitors) = Door::new();
        let shared = Arc::new(Shared {
            startup: startup.with_roles(review.roles()).with_passwords(passwords, Arc::clone(&review)),
            config: Arc::clone(&config),
            databases: ArcSwap::from_pointee(databases),
            review: Arc::clone(&review),
            audit,
            cancels: CancelRegistry::new(),
            places: Places::default(),
            live: Live::default(),
            verdicts: VerdictCounters::new(),
            workroom: Workroom::new(),
            cards: CardDesk::new(),
            sessions: Sessions::new(),
            door,
            notifier,
            session_numbers: AtomicU64::new(1),
            stop: Notify::new(),
            started: now,
            web,
        });
        let mut server = Self {
            postgres: listeners.iter().map(|listener| listener.local_addr().clone()).collect(),
            shared,
            phase: watch::Sender::new(Phase::Serving),
            sessions: JoinSet::new(),
            services: JoinSet::new(),
        };
        let shared = &server.shared;
        let (audit, failures) = (Arc::clone(&shared.audit), shared.startup.failures());
        let notifier = Arc::clone(&shared.notifier);
        let pulse = Arc::new(ServerPulse { shared: Arc::clone(shared), phase: server.phase.subscribe() });
        let behind = Behind { review, config, callers, audit, failures, metrics, pulse, notifier };
        server.spawn(listeners, web_listener, visitors, ApiState::new(behind));
        server.pass_on(anchoring);
        Ok(server)
    }

    /// Has records of the trail passed on.
    fn pass_on(&mut self, anchoring: Option<crate::audit::Sink>) {
        let sinks = self.shared.audit.sinks(&self.shared.config().audit.sinks);
        for sink in sinks.into_iter().chain(anchoring) {
            let mut phase = self.phase.subscribe();
            self.services.spawn(sink.run(async move { drain::reached(&mut phase, Phase::Ending).await }));
        }
    }

    fn spawn(&mut self, listeners: Vec<Listener>, web_listener: TcpListener, visitors: Visitors, state: ApiState) {
        self.sessions.spawn(visitors.serve(Arc::clone(&self.shared), self.phase.subscribe()));
        for listener in listeners {
            self.sessions.spawn(accept(listener, Arc::clone(&self.shared), self.phase.subscribe()));
        }
        let review = Arc::clone(&self.shared.review);
        let mut phase = self.phase.subscribe();
        self.services.spawn(async move { review.run_sweeper(drain::reached(&mut phase, Phase::Ending)).await });
        let review = Arc::clone(&self.shared.review);
        let mut phase = self.phase.subscribe();
        self.services.spawn(async move { review.run_follower(drain::reached(&mut phase, Phase::Ending)).await });
        let (notifier, mut phase) = (Arc::clone(&self.shared.notifier), self.phase.subscribe());
        self.services.spawn(async move { notifier.run(drain::reached(&mut phase, Phase::Ending)).await });
        let (shared, mut phase) = (Arc::clone(&self.shared), self.phase.subscribe());
        self.services.spawn(async move {
            let ending = drain::reached(&mut phase, Phase::Ending);
            shared.cards.run(Arc::clone(&shared.review), ending).await;
        });
        self.services.spawn(sweep_kept(Arc::clone(&self.shared), self.phase.subscribe()));
        let mut phase = self.phase.subscribe();
        let ending = async move { drain::reached(&mut phase, Phase::Ending).await };
        self.services.spawn(async move {
            if let Err(error) = web::serve(web_listener, state, ending).await {
                tracing::error!(%error, "the API has stopped");
            }
        });
    }

    /// Where PostgreSQL clients connect.
    #[must_use]
    pub fn postgres(&self) -> &[ListenAddress] {
        &self.postgres
    }

    /// Where the API is served.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        self.shared.web
    }

    /// Watches what happens.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<LiveEvent> {
        self.shared.live.subscribe()
    }

    /// Takes over a configuration. Addresses and the data directory stay as they are until the next start.
    ///
    /// # Errors
    /// When its TLS files or the mask key cannot be used; the old configuration stays in force.
    pub async fn reload(&self, config: Config) -> Result<(), ServerError> {
        self.shared.reload(config).await
    }

    /// Completes when an operator has asked for the end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn stop_wanted(&self) {
        self.shared.stop.notified().await;
    }

    /// How long sessions may finish what they are doing once the proxy stops.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        self.shared.config().drain_timeout
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
        self.shared.sessions.set_phase(phase);
    }

    /// Stops accepting, lets sessions finish for [`Server::drain_timeout`] or until `hurry`, cancels what still runs, and
    /// ends everything.
    pub async fn shutdown(mut self, hurry: impl Future<Output = ()>) {
        self.enter(Phase::Draining);
        let timeout = self.drain_timeout();
        let sessions = &mut self.sessions;
        // All are cancel safe: tasks, a timer and the caller's signal.
        tokio::select! {
            () = all_of(sessions) => {}
            () = tokio::time::sleep(timeout) => tracing::warn!("sessions did not finish in time; what they run is cancelled"),
            () = hurry => tracing::warn!("told to hurry; what sessions run is cancelled"),
        }
        self.enter(Phase::Ending);
        let all = async {
            all_of(&mut self.sessions).await;
            all_of(&mut self.services).await;
        };
        if tokio::time::timeout(ENDING, all).await.is_err() {
            tracing::warn!("some sessions could not be ended in good order");
        }
        self.sessions.shutdown().await;
        self.services.shutdown().await;
        self.shared.review.leave().await;
    }
}

/// The proxy, as `/readyz` tells of it.
struct ServerPulse {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
}

impl Pulse for ServerPulse {
    fn is_leaving(&self) -> bool {
        *self.phase.borrow() > Phase::Serving
    }

    fn public_url(&self) -> String {
        self.shared.public_url()
    }

    fn upstreams(&self) -> (usize, usize) {
        let databases = self.shared.databases.load();
        (databases.len(), databases.values().filter(|database| !database.is_reachable()).count())
    }

    fn reload(&self, config: Config) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.shared.reload(config).await.map_err(|error| with_causes(&error)) })
    }

    fn run(&self, call: Call) -> BoxFuture<'_, Result<Called, CallError>> {
        Box::pin(called::run(call, &self.shared))
    }
}

/// Some settings take effect only at the next start.
fn warn_of_what_stays(old: &Config, new: &Config) {
    let changed = [
        ("listen", old.listen != new.listen),
        ("data_dir", old.data_dir != new.data_dir),
        ("[store]", old.store != new.store),
        ("reuse_port", old.reuse_port != new.reuse_port),
        ("threads", old.threads != new.threads),
        ("[[audit.sinks]]", old.audit.sinks != new.audit.sinks),
        ("[web] listen", old.web.listen != new.web.listen),
    ];
    for (key, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!("{key} has changed; that takes effect at the next start");
    }
}

async fn all_of(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// The sockets of clients and of the API: those that were handed over, the others bound.
fn listeners(config: &Config, inherited: &mut Inherited) -> Result<(Vec<Listener>, TcpListener), ServerError> {
    let sharing = if config.reuse_port { Sharing::ReusePort } else { Sharing::Alone };
    let failed = |address: &dyn std::fmt::Display| {
        let address = address.to_string();
        move |source| ServerError::Listen { address, source }
    };
    let mut listeners = Vec::with_capacity(config.listen.len());
    for address in &config.listen {
        listeners.push(Listener::open(address, sharing, inherited).map_err(failed(address))?);
    }
    let web = match inherited.take_tcp(config.web.listen) {
        Some(socket) => TcpListener::from_std(socket),
        None => listener::bind_tcp(config.web.listen, sharing),
    };
    let web = web.map_err(failed(&config.web.listen))?;
    match inherited.left_over() {
        Some(address) => Err(ServerError::Inherited { address }),
        None => Ok((listeners, web)),
    }
}

/// Completes when no other process uses the data directory.
async fn until_free(data_dir: &Path) {
    let mut told = false;
    while store::is_in_use(data_dir) {
        if !told {
            tracing::info!(data_dir = %data_dir.display(), "waiting until another process has given up the data directory");
            told = true;
        }
        tokio::time::sleep(IN_USE_PAUSE).await;
    }
}

/// Accepts clients until the drain begins, then waits for their sessions.
async fn accept(listener: Listener, shared: Arc<Shared>, phase: watch::Receiver<Phase>) {
    let mut sessions = JoinSet::new();
    let mut stop = phase.clone();
    let begin = |sessions: &mut JoinSet<()>, stream: ClientStream| match shared.places.take_stranger(&shared.config()) {
        Ok(place) => {
            let newcomer = Newcomer { stream, place };
            sessions.spawn(connection::serve(newcomer, Arc::clone(&shared), phase.clone()));
        }
        Err(full) => {
            // One line each would be what a flood is for.
            metrics::counter!(STRANGERS_REFUSED).increment(1);
            tracing::debug!(limit = ?full, "client refused");
            stream.turn_away(&full.message());
        }
    };
    loop {
        // All are cancel safe.
        tokio::select! {
            client = listener.accept() => begin(&mut sessions, client),
            Some(_) = sessions.join_next() => {}
            () = drain::reached(&mut stop, Phase::Draining) => break,
        }
    }
    listener.take_queued().into_iter().for_each(|client| begin(&mut sessions, client));
    drop(listener);
    all_of(&mut sessions).await;
}
