//! A policy over the sample shop, to be asked what it makes of statements, without a proxy.
//!
//! Never sends a statement to the database; the planner may be asked. Invariant: what is asked is judged as a session would be.

use std::path::Path;

use countersign::catalog::{CatalogOptions, CatalogService};
use countersign::config::Config;
use countersign::database::Database as Judged;
use countersign::estimate::Question;
use countersign_policy::Verdict;
use countersign_policy::analysis::{AnalysisContext, NothingPrepared, analyze};
use countersign_policy::grant::Grants;
use countersign_policy::moment::Moment;
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{Case, Estimate};

use super::server::Database;

/// People and a database that allows what no rule speaks of; policies stand behind it.
pub const SETTING: &str = r#"
[[users]]
name = "alice"
groups = ["engineering"]
[[users]]
name = "bob"
groups = ["reviewers"]
[databases.shop]
upstream = "postgres://shop@localhost/shop"
groups = ["engineering", "agents", "privacy", "maintainers", "release"]
default = "allow"
unparsed = "hold"
review = { groups = ["reviewers"] }
"#;

/// One policy over the sample shop.
pub struct Bench {
    config: Config,
    database: Judged,
    _shop: Database,
}

impl Bench {
    /// Rules and masks, as they stand at the end of a file.
    pub async fn with(policy: &str) -> Self {
        let shop = Database::create().await;
        shop.direct().await.batch_execute("ANALYZE").await.expect("statistics");
        let config = Config::parse(Path::new("countersign.toml"), &format!("{SETTING}\n{policy}"))
            .unwrap_or_else(|problems| panic!("{problems}"));
        let settings = shop.config();
        let catalog = CatalogService::start(&settings, None, CatalogOptions::default()).await;
        catalog.status().expect("catalog");
        Self { config, database: Judged::new(catalog, &settings, None), _shop: shop }
    }

    /// The same over the same shop, with another policy.
    pub fn under(&mut self, policy: &str) {
        self.config = Config::parse(Path::new("countersign.toml"), &format!("{SETTING}\n{policy}"))
            .unwrap_or_else(|problems| panic!("{problems}"));
    }

    /// `allow`, `hold` or `deny` for a member of that group at that moment.
    pub async fn verdict(&self, group: &str, moment: Moment, text: &str) -> &'static str {
        let subject = Subject {
            user: "alice".to_owned(),
            groups: vec![group.to_owned()],
            database: "shop".to_owned(),
            application: String::new(),
        };
        let (catalog, search_path) = (self.database.catalog(), ["pg_catalog".to_owned(), "public".to_owned()]);
        let context = AnalysisContext { catalog: &catalog, search_path: &search_path, prepared: &NothingPrepared };
        let analysis = analyze(text, &context);
        let masks = self.database.masks(&self.config, &subject);
        let case = |rows| Case {
            serial: 1,
            subject: &subject,
            text,
            analysis: &analysis,
            masks: &masks,
            catalog: &catalog,
            moment,
            rows,
            approval: None,
            grants: Grants::default(),
        };
        let mut judgement = self.config.policy.judge(case(None));
        if judgement.estimate == Estimate::Wanted {
            let role = countersign::demo::shop::SHOP_ROLE.to_owned();
            let (types, values) = (Vec::new(), Vec::new());
            let collects = analysis.statements.first().map(|known| known.collects.clone()).unwrap_or_default();
            let question =
                Question { text: text.into(), types, values, role, search_path: search_path.to_vec(), collects };
            judgement = self.config.policy.judge(case(Some(self.database.estimator().rows(&question).await)));
        }
        match judgement.verdict {
            Verdict::Allow(_) => "allow",
            Verdict::Hold(_) => "hold",
            Verdict::Deny(_) => "deny",
        }
    }
}
