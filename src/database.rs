//! One configured database: its catalog, the cache of analyses, and the masks compiled for its clients.
//!
//! Never holds a connection of a client. Invariant: masks and view lineage belong to exactly one catalog version and
//! configuration revision.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use countersign_policy::Catalog;
use countersign_policy::analysis::{
    AnalysisCache, AnalysisContext, BaseColumn, Footing, Form, Lineage, NothingPrepared, Outputs,
};
use countersign_policy::catalog::Oid;
use countersign_policy::mask::{MaskRule, MaskSet, ViewLineage};
use countersign_policy::subject::Subject;
use dashmap::DashMap;
use tokio_rustls::TlsConnector;

use crate::catalog::look::Looker;
use crate::catalog::{CatalogError, CatalogService};
use crate::config::{Config, DatabaseConfig, GroupsFrom, UpstreamConfig};
use crate::estimate::Estimator;
use crate::roles::Memberships;
use crate::session::words::Looked;
use crate::side_pool::SidePool;
use crate::telemetry::Tally;
use crate::upstream::Kept;

/// About how many analyses are kept.
const ANALYSES: usize = 10_000;
/// Most bytes of texts and analyses that are kept.
const ANALYSES_BYTES_MAX: u64 = 64 << 20;
/// Cards that are gathered at the same time.
const CARDS_AT_ONCE: usize = 2;
/// Distinct selections of masks that are kept; more are compiled anew.
const MASK_SETS_MAX: usize = 1024;

/// Lineage of every view of a catalog.
#[derive(Debug, Default)]
struct Views {
    catalog_version: u64,
    columns: HashMap<Oid, (Vec<Lineage>, Vec<Option<Form>>)>,
}

/// Which masks: those that apply to these groups without those of these names; without groups, those of these names.
type Selection = (Option<Vec<String>>, Vec<String>);

/// A mask set and what it was compiled from.
struct Compiled {
    catalog_version: u64,
    revision: String,
    masks: Arc<MaskSet>,
}

/// See the module documentation.
pub struct Database {
    upstream: UpstreamConfig,
    groups_from: GroupsFrom,
    catalog: Arc<CatalogService>,
    analyses: Arc<AnalysisCache>,
    estimator: Estimator,
    looker: Looker,
    cards: SidePool,
    views: Arc<KeptViews>,
    masks: DashMap<Selection, Compiled>,
    /// What sessions share to whom no mask applies.
    no_masks: Arc<MaskSet>,
    tally: Tally,
    kept: Kept,
}

impl Database {
    /// Puts the parts of one database together.
    #[must_use]
    pub fn new(catalog: Arc<CatalogService>, config: &DatabaseConfig, tls: Option<TlsConnector>) -> Self {
        let (upstream, groups_from) = (config.upstream.clone(), config.groups_from);
        let estimator = Estimator::new(upstream.clone(), tls.clone());
        let looker = Looker::new(upstream.clone(), tls.clone());
        let cards = SidePool::new(upstream.clone(), tls, CARDS_AT_ONCE);
        let analyses = Arc::new(AnalysisCache::new(ANALYSES, ANALYSES_BYTES_MAX));
        let views = Arc::new(KeptViews::new(Arc::clone(&analyses)));
        let ahead = Arc::clone(&views);
        catalog.prepare_with(move |newest| ahead.prepare(newest));
        let (masks, no_masks, tally) = Default::default();
        let kept = Kept::new(config.kept_connections as usize);
        Self { upstream, groups_from, catalog, analyses, estimator, looker, cards, views, masks, no_masks, tally, kept }
    }

    /// Connections that wait for their next client.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// What became of the statements of its clients.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Who asks its planner.
    #[must_use]
    pub fn estimator(&self) -> &Estimator {
        &self.estimator
    }

    /// Connections for what reviewers are shown; estimates, which statements wait for, have their own.
    pub(crate) fn cards(&self) -> &SidePool {
        &self.cards
    }

    /// Whether it stands for this entry of the configuration.
    #[must_use]
    pub fn is_for(&self, database: &DatabaseConfig) -> bool {
        self.upstream == database.upstream
            && self.groups_from == database.groups_from
            && self.kept.limit() == database.kept_connections as usize
    }

    /// What keeps the catalog up to date, and the memberships of roles.
    #[must_use]
    pub fn catalog_service(&self) -> Arc<CatalogService> {
        Arc::clone(&self.catalog)
    }

    /// Who is a member of which role, if that counts here and could be read.
    #[must_use]
    pub(crate) fn memberships(&self) -> Option<Arc<Memberships>> {
        self.catalog.memberships()
    }

    /// Whether users have groups from the upstream.
    #[must_use]
    pub(crate) fn has_groups_from_roles(&self) -> bool {
        self.groups_from == GroupsFrom::Roles
    }

    /// The newest snapshot.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.snapshot()
    }

    /// The newest snapshot, unless it is the one that is known.
    #[must_use]
    pub(crate) fn newer_catalog(&self, known: &Arc<Catalog>) -> Option<Arc<Catalog>> {
        self.catalog.newer_than(known)
    }

    /// Whether the upstream could be asked at the last look.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.catalog.status().is_ok()
    }

    /// Whether a catalog has been loaded at all; without one nothing can be judged.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.catalog.is_loaded()
    }

    /// The cache of analyses, shared by all sessions.
    #[must_use]
    pub fn analyses(&self) -> Arc<AnalysisCache> {
        Arc::clone(&self.analyses)
    }

    /// Loads the catalog again.
    ///
    /// # Errors
    /// When it could not be loaded; the old snapshot stays.
    pub async fn refresh(&self) -> Result<(), CatalogError> {
        self.catalog.refresh().await.map(drop)
    }

    /// Whether the upstream has all of these definitions now. When it has not, the catalog is loaded again.
    pub(crate) async fn look(&self, footings: &[Arc<Footing>]) -> Looked {
        let looked = match self.looker.bears(footings).await {
            Ok(true) => return Looked::Same,
            Ok(false) => self.refresh().await.map(|()| Looked::Changed),
            Err(error) => Err(error),
        };
        looked.unwrap_or_else(|error| {
            tracing::warn!(%error, "could not look at the upstream's definitions");
            Looked::Failed
        })
    }

    /// The masks for this requester, under the newest catalog.
    #[must_use]
    pub fn masks(&self, config: &Config, subject: &Subject) -> Arc<MaskSet> {
        self.masks_without(config, subject, Vec::new())
    }

    /// The masks for this requester without those of these names.
    #[must_use]
    pub fn masks_without(&self, config: &Config, subject: &Subject, mut lifted: Vec<String>) -> Arc<MaskSet> {
        let mut groups = subject.groups.clone();
        groups.sort_unstable();
        lifted.sort_unstable();
        let rules = config.policy.masks.iter().filter(|rule| rule.applies_to(subject) && !lifted.contains(&rule.name));
        let rules = rules.collect();
        self.compiled(config, (Some(groups), lifted), rules)
    }

    /// The masks of these names, sorted, whoever they apply to.
    #[must_use]
    pub fn masks_named(&self, config: &Config, names: Vec<String>) -> Arc<MaskSet> {
        let rules = config.policy.masks.iter().filter(|rule| names.contains(&rule.name)).collect();
        self.compiled(config, (None, names), rules)
    }

    fn compiled(&self, config: &Config, selection: Selection, rules: Vec<&MaskRule>) -> Arc<MaskSet> {
        if rules.is_empty() {
            return Arc::clone(&self.no_masks);
        }
        let catalog = self.catalog();
        if let Some(known) = self.masks.get(&selection)
            && known.catalog_version == catalog.version()
            && known.revision == config.policy.revision
        {
            return Arc::clone(&known.masks);
        }
        let views = self.views.of(&catalog);
        let masks = Arc::new(MaskSet::of_rules(rules, &catalog, &*views));
        if self.masks.len() >= MASK_SETS_MAX {
            self.masks.clear();
        }
        let compiled = Compiled {
            catalog_version: catalog.version(),
            revision: config.policy.revision.clone(),
            masks: Arc::clone(&masks),
        };
        self.masks.insert(selection, compiled);
        masks
    }

    /// Has the lineage of its views known, where the configuration has masks, before a session needs it.
    pub async fn prepare(&self, config: &Config) {
        if !config.policy.masks.is_empty() {
            let (views, catalog) = (Arc::clone(&self.views), self.catalog());
            // Where it panics, the first session that needs it makes it again.
            drop(tokio::task::spawn_blocking(move || views.of(&catalog)).await);
        }
    }
}

/// The lineage of the views of the newest catalog. To read 1,500 definitions takes 0.4 s of CPU; once they were wanted it is
/// done with each load of the catalog, before sessions see it.
struct KeptViews {
    analyses: Arc<AnalysisCache>,
    newest: ArcSwap<Views>,
    wanted: AtomicBool,
}

impl KeptViews {
    fn new(analyses: Arc<AnalysisCache>) -> Self {
        Self { analyses, newest: ArcSwap::default(), wanted: AtomicBool::new(false) }
    }

    fn of(&self, catalog: &Catalog) -> Arc<Views> {
        self.wanted.store(true, Ordering::Relaxed);
        let known = self.newest.load_full();
        if known.catalog_version == catalog.version() {
            return known;
        }
        let views = Arc::new(Views::of(catalog, &self.analyses));
        self.newest.store(Arc::clone(&views));
        views
    }

    fn prepare(&self, newest: &Catalog) {
        if self.wanted.load(Ordering::Relaxed) {
            self.of(newest);
        }
    }
}

impl Views {
    /// Analyses every view definition; names in it that are not qualified are those of `pg_catalog`.
    fn of(catalog: &Catalog, analyses: &AnalysisCache) -> Self {
        let search_path = ["pg_catalog".to_owned()];
        let context = AnalysisContext { catalog, search_path: &search_path, prepared: &NothingPrepared };
        let columns = catalog
            .relations()
            .filter_map(|relation| {
                let definition = relation.definition.as_deref()?;
                let analysis = analyses.analyze(definition, &context);
                match analysis.statements.as_slice() {
                    [statement] if statement.not_understood.is_none() => match &statement.outputs {
                        Outputs::Columns(columns) if columns.len() == relation.columns.len() => {
                            Some((relation.oid, (columns.clone(), statement.forms.clone())))
                        }
                        Outputs::Columns(_) | Outputs::None | Outputs::Opaque(_) => None,
                    },
                    _ => None,
                }
            })
            .collect();
        Self { catalog_version: catalog.version(), columns }
    }
}

impl ViewLineage for Views {
    fn columns(&self, view: Oid) -> Option<&[Lineage]> {
        self.columns.get(&view).map(|(lineages, _)| lineages.as_slice())
    }

    fn original(&self, view: Oid, position: usize) -> Option<BaseColumn> {
        match self.columns.get(&view)?.1.get(position)?.as_ref()? {
            Form::Column(column) => Some(*column),
        }
    }
}
