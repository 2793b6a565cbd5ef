//! What tests of this package build on: a configuration, a store and a trail in a directory that goes away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use countersign_policy::grant::{Binding, ShapeDigest};
use countersign_policy::rule::{Justification, Mode, Policy};
use countersign_policy::verdict::ReviewerDemand;

use super::{Actor, NewRequest, Opened, Parameter, RequestId, Review, Surface, Waiting};
use crate::audit::Audit;
use crate::called::{Call, CallError, Called};
use crate::card::{Card, Inquiry};
use crate::config::{
    AuditConfig, Config, LimitsConfig, NotifyConfig, ReviewConfig, TcpConfig, TokenConfig, UNCOUNTED, UserConfig,
    WebConfig,
};
use crate::notify::Notifier;
use crate::store::outbox::Outbox;
use crate::store::tests::both::Place;
use crate::store::{Callers, PostgresStore, SqliteStore};
use crate::web::{ApiState, Behind, Pulse};

/// Seconds after an arbitrary beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

/// `alice:engineering bob:dba+security`: people and their groups.
pub(crate) fn config(people: &str) -> Config {
    let user = |word: &str| {
        let (name, groups) = word.split_once(':').unwrap();
        UserConfig {
            name: name.to_owned(),
            email: None,
            groups: groups.split('+').map(str::to_owned).collect(),
            verifier: None,
            web_password: None,
            certificates: Vec::new(),
            tokens: vec![token(&format!("{name}-token"))],
            oidc: None,
            sessions: None,
        }
    };
    Config {
        path: "countersign.toml".into(),
        text: crate::config::Secret::new(String::new()),
        listen: Vec::new(),
        proxy_protocol_from: Vec::new(),
        data_dir: "data".into(),
        reuse_port: false,
        threads: None,
        drain_timeout: std::time::Duration::from_secs(1),
        limits: LimitsConfig { requests_per_user: UNCOUNTED, ..LimitsConfig::default() },
        tcp: TcpConfig::default(),
        web: WebConfig::at(([127, 0, 0, 1], 0).into(), "https://countersign.example.com".to_owned()),
        tls: None,
        store: crate::config::StoreConfig::Sqlite,
        review: ReviewConfig::default(),
        audit: AuditConfig::default(),
        notify: NotifyConfig::default(),
        users: people.split_whitespace().map(user).collect(),
        databases: vec![database("shop", &[])],
        policy: Policy::default(),
        rules_digest: String::new(),
        mask_key_missing: false,
        warnings: Vec::new(),
    }
}

/// A database of a proxy that logs in by itself, for these groups.
pub(crate) fn database(name: &str, groups: &[&str]) -> crate::config::DatabaseConfig {
    let upstream = crate::config::UpstreamConfig {
        host: "localhost".to_owned(),
        port: 5432,
        database: name.to_owned(),
        user: "proxy".to_owned(),
        password: None,
        ssl_mode: crate::config::SslMode::Disable,
        ssl_root_cert: None,
        ssl_identity: None,
        connect_timeout: std::time::Duration::from_secs(5),
        tcp: TcpConfig::default(),
    };
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    crate::config::DatabaseConfig {
        name: name.to_owned(),
        upstream,
        auth: crate::config::DatabaseAuth::Proxy,
        groups,
        groups_from: crate::config::GroupsFrom::default(),
        sessions: None,
        kept_connections: 0,
        hold_budget: None,
        unbound_settings: Vec::new(),
        literals: crate::audit::Literals::Full,
        correlation: crate::config::Correlation::Off,
    }
}

/// A token for everything.
pub(crate) fn token(text: &str) -> TokenConfig {
    let digest = crate::identity::token_digest(text);
    TokenConfig { digest, name: None, scopes: crate::identity::Scopes::all(), expires_at: None }
}

pub(crate) const PEOPLE: &str =
    "alice:engineering bob:dba carol:dba sam:dba+security sven:security maya:engineering+dba root:admin olga:other";

/// A request by alice that waits 60 seconds, to be approved by `dba` or `dba*2 security`.
pub(crate) fn new_request(demands: &str, mode: Mode) -> NewRequest {
    let demand = |word: &str| {
        let (group, approvals) = word.split_once('*').unwrap_or((word, "1"));
        ReviewerDemand { group: group.to_owned(), approvals: approvals.parse().unwrap() }
    };
    NewRequest {
        binding: Binding([7; 32]),
        user: "alice".to_owned(),
        groups: vec!["engineering".to_owned()],
        database: "shop".to_owned(),
        client_address: "192.0.2.7:5000".to_owned(),
        application: "psql".to_owned(),
        statement: "UPDATE t SET v = 'ü\n\u{202e}' WHERE id = $1".to_owned(),
        parameters: vec![
            Parameter { type_name: "int4".to_owned(), value: Some("1".to_owned()) },
            Parameter { type_name: "text".to_owned(), value: None },
        ],
        summary: "update on public.t".to_owned(),
        effects: vec!["update".to_owned()],
        rules: vec!["writes".to_owned()],
        causes: vec!["writes".to_owned()],
        shape: Some(ShapeDigest([3; 32])),
        messages: vec!["Ask first".to_owned()],
        reviewers: demands.split_whitespace().map(demand).collect(),
        timeout: Duration::from_secs(60),
        mode,
        justification: None,
        justification_asked: Justification::Optional,
        in_transaction: true,
        card: Card::default(),
        inquiry: Inquiry::default(),
        rows_counted: true,
    }
}

/// Copies the files of a data directory while everything is open, as a killed process leaves them.
pub(crate) fn copy_as_killed(from: &Path, to: &Path) {
    while let Err(error) = try_copy(from, to) {
        // A segment was compressed and removed meanwhile: no moment looked like that.
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        fs::remove_dir_all(to).unwrap();
    }
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
    // The writer goes on meanwhile, and writes what `head` speaks of before `head`: so must the copy find it.
    entries.sort_by_key(|entry| entry.file_name() != "head");
    for entry in entries {
        let copied = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &copied)?;
        } else {
            fs::copy(entry.path(), copied)?;
        }
    }
    Ok(())
}

pub(crate) fn actor(name: &str) -> Actor {
    Actor { name: name.to_owned(), groups: Vec::new(), surface: Surface::Api }
}

/// A proxy that stays, with a database that is there.
struct Calm(Arc<ArcSwap<Config>>);

impl Pulse for Calm {
    fn is_leaving(&self) -> bool {
        false
    }

    fn public_url(&self) -> String {
        self.0.load().web.public_url.clone()
    }

    fn upstreams(&self) -> (usize, usize) {
        (1, 0)
    }

    fn reload(&self, config: Config) -> BoxFuture<'_, Result<(), String>> {
        self.0.store(Arc::new(config));
        Box::pin(std::future::ready(Ok(())))
    }

    fn run(&self, _call: Call) -> BoxFuture<'_, Result<Called, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Unavailable)))
    }
}

/// A review over a directory; drop it and make another to restart.
pub(crate) struct Bench {
    pub(crate) review: Arc<Review>,
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) callers: Arc<dyn Callers>,
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) dir: Arc<tempfile::TempDir>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn on(dir: Arc<tempfile::TempDir>) -> Self {
        let store = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let callers: Arc<dyn Callers> = Arc::<SqliteStore>::clone(&store);
        let outbox: Arc<dyn Outbox> = Arc::<SqliteStore>::clone(&store);
        let audit = Arc::new(Audit::open(&dir.path().join("audit"), at(0)).unwrap());
        let config = Arc::new(ArcSwap::from_pointee(config(PEOPLE)));
        let review = Review::new(store, audit, Arc::clone(&config));
        review.people().follow(Arc::clone(&callers));
        Self { review, config, callers, outbox, dir }
    }

    /// One proxy of several; `elsewhere` of a place on PostgreSQL is another.
    pub(crate) async fn node(place: &Place, lease: Duration) -> Self {
        let store = Arc::new(place.open_postgres(lease).await.unwrap());
        let callers: Arc<dyn Callers> = Arc::<PostgresStore>::clone(&store);
        let outbox: Arc<dyn Outbox> = Arc::<PostgresStore>::clone(&store);
        let audit = Arc::new(Audit::open(&place.dir.path().join("audit"), at(0)).unwrap());
        let config = Arc::new(ArcSwap::from_pointee(config(PEOPLE)));
        let review = Review::new(store, audit, Arc::clone(&config));
        review.people().follow(Arc::clone(&callers));
        tokio::spawn(Arc::clone(&review).run_follower(std::future::pending()));
        Self { review, config, callers, outbox, dir: Arc::clone(&place.dir) }
    }

    /// What the page and the API need; nobody is signed in.
    pub(crate) fn site(&self) -> ApiState {
        let audit = Audit::open(&self.dir.path().join("page-audit"), at(0)).unwrap();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let (review, config) = (Arc::clone(&self.review), Arc::clone(&self.config));
        let (callers, failures) = (Arc::clone(&self.callers), Arc::default());
        ApiState::new(Behind {
            review,
            config,
            callers,
            audit: Arc::new(audit),
            failures,
            metrics,
            pulse: Arc::new(Calm(Arc::clone(&self.config))),
            notifier: self.notifier(),
        })
    }

    /// What tells others, as far as it is told to.
    pub(crate) fn notifier(&self) -> Arc<Notifier> {
        let (review, outbox) = (Arc::clone(&self.review), Arc::clone(&self.outbox));
        Notifier::new(review, outbox, Arc::clone(&self.config), ([127, 0, 0, 1], 0).into())
    }

    pub(crate) fn restart(self) -> Self {
        let dir = Arc::clone(&self.dir);
        drop(self);
        Self::on(dir)
    }

    pub(crate) async fn hold(&self, demands: &str) -> Waiting {
        match self.review.open(new_request(demands, Mode::Wait), at(0)).await.unwrap() {
            Opened::Waiting(waiting) => waiting,
            other => panic!("not waiting: {other:?}"),
        }
    }

    pub(crate) async fn ask(&self, demands: &str) -> RequestId {
        match self.review.open(new_request(demands, Mode::Resubmit), at(0)).await.unwrap() {
            Opened::Resubmit(request) | Opened::Joined(request) => request.id,
            other => panic!("not stored for resubmission: {other:?}"),
        }
    }

    /// Kinds of the audit records so far; ends this bench's writer.
    pub(crate) fn audit_kinds(self) -> Vec<String> {
        let dir = Arc::clone(&self.dir);
        drop(self);
        let report = crate::audit::verify(&dir.path().join("audit"), crate::audit::Known::default()).unwrap();
        assert!(report.is_intact(), "{report:#?}");
        let kind = |line: String| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            match line["to"].as_str() {
                Some(to) => to.to_owned(),
                None => line["kind"].as_str().unwrap().to_owned(),
            }
        };
        crate::audit::lines(&dir.path().join("audit")).into_iter().map(kind).collect()
    }
}
