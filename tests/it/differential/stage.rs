//! A database in which texts are analysed and then run.
//!
//! Never analyses with a catalog older than the last text. Invariant: one scene, one database.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use countersign::catalog::{CatalogOptions, CatalogService};
use countersign::config::Secret;
use countersign::throwaway::{SUPERUSER, ThrowawayOptions, ThrowawayPostgres};
use countersign_policy::analysis::{self, AnalysisContext, SessionChange, StatementAnalysis};
use countersign_policy::catalog::{Oid, RelationKind, Volatility};
use countersign_policy::name::QualifiedName;
use countersign_policy::{Analysis, Catalog, Effect, Effects};
use tokio::sync::OnceCell;

use super::corpus::{self, Scene};
use super::facts::{Facts, Origin, Outcome};
use super::judge::{Claim, ViewOrigins};
use super::read_only::{self, Read};
use super::report::{Report, Verdict};
use super::session::Names;
use super::witness::{OBSERVER, OBSERVER_SCHEMA, Witness};
use crate::support::server::Database;

/// Deepest nesting of views that is followed.
const VIEW_DEPTH_MAX: usize = 8;

/// A server for nothing else, that does not care for safety.
static SERVER: LazyLock<ThrowawayPostgres> = LazyLock::new(|| {
    let settings = [
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        ("autovacuum", "off"),
        ("jit", "off"),
        ("track_functions", "all"),
        ("max_prepared_transactions", "10"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "1s"),
    ];
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = ThrowawayOptions { settings, ..ThrowawayOptions::default() };
    // The caller may be inside a runtime, which must not be blocked on.
    let start = std::thread::spawn(move || ThrowawayPostgres::start(&options));
    start.join().expect("task").unwrap_or_else(|error| panic!("{error}"))
});

/// The database from which others are made, where a busy machine may take its time.
const SETTING_UP: &str = "postgres";
static PATIENT: OnceCell<()> = OnceCell::const_new();
static SERIAL: AtomicU32 = AtomicU32::new(1);

/// Prepared transactions and subscriptions keep a database from being dropped.
const LEFT_BEHIND: &str = "\
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT subname FROM pg_subscription JOIN pg_database d ON subdbid = d.oid AND datname = current_database()
    LOOP
        EXECUTE format('ALTER SUBSCRIPTION %I DISABLE', name);
        EXECUTE format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', name);
        EXECUTE format('DROP SUBSCRIPTION %I', name);
    END LOOP;
END $$";

/// Roles belong to the server, and would be in the way of the next scene.
const ROLES_LEFT_BEHIND: &str = "\
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT rolname FROM pg_roles WHERE oid >= 16384
    LOOP
        BEGIN
            EXECUTE format('DROP ROLE %I', name);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $$";

fn initial_path() -> Vec<String> {
    vec!["pg_catalog".to_owned(), "public".to_owned()]
}

pub struct Stage {
    pub name: String,
    witness: Witness,
    service: Arc<CatalogService>,
    catalog: Arc<Catalog>,
    path: Vec<String>,
    names: Names,
    /// Where the columns of views come from, under that version of the catalog.
    views: (u64, ViewOrigins),
    /// What became of the last text, if it only read.
    read: Option<Read>,
}

impl Stage {
    /// A new database with what every one of them has, or a copy of another one.
    pub async fn set(template: Option<&str>) -> Self {
        let name = format!("scene_{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let from = template.unwrap_or("template0");
        let patience = format!("ALTER DATABASE {SETTING_UP} SET statement_timeout = 0");
        let patient = || async { SERVER.execute(SETTING_UP, &patience).await.expect("patience") };
        PATIENT.get_or_init(patient).await;
        SERVER.execute(SETTING_UP, &format!("CREATE DATABASE {name} TEMPLATE {from}")).await.expect("database");
        if template.is_none() {
            SERVER.execute(&name, &format!("SET statement_timeout = 0; {OBSERVER}")).await.expect("observer");
        }
        let mut config = Database { name: name.clone() }.config();
        config.upstream.port = SERVER.port();
        config.upstream.user = SUPERUSER.to_owned();
        config.upstream.password = Some(Secret::new(SERVER.password().to_owned()));
        let quiet = CatalogOptions { poll_interval: Duration::from_secs(3600), ..CatalogOptions::default() };
        let service = CatalogService::start(&config, None, quiet).await;
        service.status().expect("catalog");
        let catalog = service.snapshot();
        let witness = Witness::connect(&SERVER, &name).await;
        Self {
            name,
            witness,
            service,
            catalog,
            path: initial_path(),
            names: Names::default(),
            views: (0, ViewOrigins::new()),
            read: None,
        }
    }

    /// Ends it, so that others can be copies of it; yields its name.
    pub fn freeze(self) -> String {
        self.name
    }

    /// Ends it; the database goes, and the roles that were made in it.
    pub async fn clear(self) {
        let Self { name, witness, service, .. } = self;
        drop((witness, service));
        // What a text left behind can be in the way; then the database stays until the server goes.
        drop(SERVER.execute(&name, LEFT_BEHIND).await);
        drop(SERVER.execute("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).await);
        drop(SERVER.execute("postgres", ROLES_LEFT_BEHIND).await);
    }

    /// Goes on in a new session.
    pub async fn reconnect(&mut self) {
        self.witness = Witness::connect(&SERVER, &self.name).await;
        self.names = Names::default();
        self.path = initial_path();
        self.refresh().await;
    }

    pub fn analyze(&self, text: &str) -> Analysis {
        let context = AnalysisContext { catalog: &self.catalog, search_path: &self.path, prepared: &self.names };
        let mut analysis = analysis::analyze(text, &context);
        analysis.statements.iter_mut().for_each(|statement| leave_out_observer(statement, &self.catalog));
        analysis
    }

    /// Runs a text without judging it, for setting up; says whether it worked.
    pub async fn prepare(&mut self, text: &str) -> bool {
        let worked = self.witness.sql(text).await == Some(None);
        self.refresh().await;
        worked
    }

    /// Plays a scene in a session of its own.
    pub async fn play_all(&mut self, scene: &Scene, keep: bool, report: &mut Report) {
        self.reconnect().await;
        let begin = Instant::now();
        for text in &scene.texts {
            self.play(text, keep, report).await;
        }
        eprintln!("    {}: {} texts in {:.1?}; so far {report}", scene.name, scene.texts.len(), begin.elapsed());
    }

    /// Analyses a text, has PostgreSQL run it, compares and counts. What it did stays, or not.
    pub async fn play(&mut self, text: &str, keep: bool, report: &mut Report) {
        let (verdict, too_much) = self.compare(text, keep).await;
        report.count(text, verdict, too_much);
        if let Some(read) = self.read.take() {
            report.count_read(text, read);
        }
        if let Some(rows) = corpus::rows_for(text).filter(|_| keep) {
            self.prepare(&rows).await;
        }
    }

    /// As [`Self::play`], without counting; with what the analysis carries too much.
    pub async fn compare(&mut self, text: &str, keep: bool) -> (Verdict, Option<String>) {
        let Some(before) = self.witness.begin().await else {
            self.reconnect().await;
            return (Verdict::Skipped, None);
        };
        if self.path != before.path {
            self.names.mean_something_else();
            self.path.clone_from(&before.path);
        }
        let analysis = self.analyze(text);
        let judged = match self.witness.observe(text, before, keep).await {
            None => {
                self.reconnect().await;
                (Verdict::Skipped, None)
            }
            Some(Outcome::Skipped) => (Verdict::Skipped, None),
            Some(Outcome::Refused(columns)) => {
                let verdict = self.described(&analysis, columns).await;
                // Outside of a transaction something may have happened before it failed.
                if keep && self.witness.left_transaction() {
                    self.refresh().await;
                }
                (verdict, None)
            }
            Some(Outcome::Ran(facts)) => {
                self.read = read_only::judge(text, &facts, &analysis, &self.catalog);
                let judged = self.judge(&analysis, &facts).await;
                self.names.ran(text, &analysis);
                // Event triggers do not see themselves, nor what is written to the system catalogs.
                let mut changes = analysis.statements.iter().flat_map(|statement| &statement.session_changes);
                let is_unseen = changes.any(|change| matches!(change, SessionChange::Catalog));
                if keep && (facts.after.is_none() || is_unseen || !facts.commands().is_empty()) {
                    self.refresh().await;
                }
                judged
            }
        };
        if !self.witness.is_open() {
            self.names.transaction_ended();
        }
        judged
    }

    /// Forgets prepared statements, which outlive a transaction that is rolled back.
    pub async fn forget(&mut self) {
        self.names = Names::default();
        if self.witness.sql("DEALLOCATE ALL").await.is_none() {
            self.reconnect().await;
        }
    }

    async fn refresh(&mut self) {
        let catalog = self.service.refresh().await.expect("catalog");
        if catalog.version_for(&self.path) != self.catalog.version_for(&self.path) {
            self.names.mean_something_else();
        }
        self.catalog = catalog;
    }

    async fn described(&mut self, analysis: &Analysis, columns: Option<Vec<Origin>>) -> Verdict {
        // COPY is described without columns, and so is a FETCH from a cursor that there is not.
        let undescribed = Effects::of(&[Effect::CopyOut, Effect::Cursor]);
        let is_compared = analysis.not_understood().is_none() && !analysis.effects().intersects(undescribed);
        let Some(columns) = columns.filter(|_| is_compared) else { return Verdict::Refused };
        self.look_into_views(&columns).await;
        let missed = self.claim(analysis).columns(&columns);
        if missed.is_empty() { Verdict::Refused } else { Verdict::Wrong(missed) }
    }

    async fn judge(&mut self, analysis: &Analysis, facts: &Facts) -> (Verdict, Option<String>) {
        if let Some(why) = analysis.not_understood() {
            return (Verdict::Conceded(why.to_string()), None);
        }
        self.look_into_views(facts.columns.as_deref().unwrap_or_default()).await;
        let claim = self.claim(analysis);
        let missed = claim.misses(facts);
        if missed.is_empty() { (Verdict::Equal, claim.carries_too_much(facts)) } else { (Verdict::Wrong(missed), None) }
    }

    fn claim<'a>(&'a self, analysis: &'a Analysis) -> Claim<'a> {
        Claim { analysis, catalog: &self.catalog, views: &self.views.1 }
    }

    /// Finds out where the columns of the views among the origins come from.
    async fn look_into_views(&mut self, columns: &[Origin]) {
        if self.views.0 != self.catalog.version() {
            self.views = (self.catalog.version(), ViewOrigins::new());
        }
        let mut open: Vec<Oid> = columns.iter().map(|origin| origin.relation).collect();
        let mut order = Vec::new();
        for _ in 0..VIEW_DEPTH_MAX {
            let mut next = Vec::new();
            for oid in std::mem::take(&mut open) {
                if let Some(found) = self.one_view(oid).await {
                    next.extend(found.iter().map(|origin| origin.relation));
                    order.push(oid);
                    self.views.1.insert(oid, found.into_iter().map(|origin| vec![origin]).collect());
                }
            }
            open = next;
        }
        // From the innermost out, so that what is put in is at the base.
        for oid in order.into_iter().rev() {
            let columns = self.views.1.get(&oid).cloned().unwrap_or_default();
            let at_base = columns.iter().map(|column| column.iter().flat_map(|origin| self.at_base(*origin)).collect());
            let at_base = at_base.collect();
            self.views.1.insert(oid, at_base);
        }
    }

    fn at_base(&self, origin: Origin) -> Vec<Origin> {
        let column = usize::try_from(origin.attnum).ok().and_then(|attnum| attnum.checked_sub(1));
        match (self.views.1.get(&origin.relation), column) {
            (Some(view), Some(column)) => view.get(column).cloned().unwrap_or_default(),
            (Some(view), None) => view.concat(),
            (None, _) => vec![origin],
        }
    }

    async fn one_view(&mut self, oid: Oid) -> Option<Vec<Origin>> {
        let relation = self.catalog.relation(oid)?;
        if oid < 16_384 || relation.kind != RelationKind::View || self.views.1.contains_key(&oid) {
            return None;
        }
        let definition = relation.definition.clone()?;
        self.witness.origins(&definition).await
    }
}

/// Every definition calls the functions of the observer, which would excuse it from being compared. They stay in the list of
/// functions, where it is compared that they were expected.
fn leave_out_observer(statement: &mut StatementAnalysis, catalog: &Catalog) {
    let may_write = |function: &QualifiedName| {
        function.schema != OBSERVER_SCHEMA
            && catalog
                .functions_named(&function.schema, &function.name)
                .iter()
                .any(|known| !known.built_in && known.volatility == Volatility::Volatile)
    };
    let observed = statement.functions.iter().any(|function| function.schema == OBSERVER_SCHEMA);
    if observed && !statement.functions.iter().any(may_write) {
        statement.effects = statement.effects.without(Effects::of(&[Effect::FunctionCall]));
    }
}
