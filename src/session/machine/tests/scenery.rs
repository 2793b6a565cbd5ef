//! What scripts are played in: a policy, a catalog, a moment.
//!
//! Never acts. Invariant: a setting is the same in every script.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use countersign_policy::Catalog;
use countersign_policy::analysis::AnalysisCache;
use countersign_policy::catalog::{Column, Function, Relation, RelationKind, Type, Volatility};
use countersign_policy::mask::{MaskSet, ViewsUnknown};
use countersign_policy::settings_read::SettingsRead;
use countersign_policy::subject::Subject;
use countersign_policy::verdict::ReviewerDemand;
use jiff::Timestamp;

use crate::config::Config;
use crate::review::{Agreement, Edit};
use crate::session::words::{Identity, Surroundings};

/// OID of `public.customers`.
pub const CUSTOMERS: u32 = 20_001;

/// `public.free` may be written, `public.customers` is guarded, DROP is denied.
const CONFIG: &str = r#"
listen = "127.0.0.1:0"
data_dir = "data"
[databases.shop]
upstream = "postgres://shop@127.0.0.1:5432/shop?sslmode=disable"
groups = ["engineering"]
default = "allow"
unparsed = "hold"
review = { groups = ["dba"], timeout = "1h", mode = "wait" }
[[users]]
name = "alice"
groups = ["engineering"]
[[users]]
name = "bob"
groups = ["dba"]
[[rules]]
name = "no-drop"
effects = ["drop"]
action = "deny"
[[rules]]
name = "large-objects"
functions = ["lo_unlink"]
action = "hold"
reviewers = ["dba"]
[[rules]]
name = "guarded"
effects = ["insert", "update", "delete", "copy_in"]
relations = ["public.customers"]
action = "hold"
reviewers = ["dba"]
"#;

const MASKS: &str = r#"
[[masks]]
name = "email"
columns = ["public.customers.email"]
mask = "redact"
"#;

const COUNTS: &str = r#"
[[rules]]
name = "many"
effects = ["update"]
relations = ["public.free"]
max_rows = 100
action = "hold"
reviewers = ["dba"]
"#;

const LIMITS: &str = r#"
[limits]
idle_timeout = "30s"
idle_in_transaction_timeout = "10s"
request_mib = 1
"#;

/// What a script is played in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Names are known, no masks.
    Plain,
    /// Names are known, `customers.email` is masked.
    Masked,
    /// A session that has just begun.
    Fresh,
    /// Names are known, the database is only observed.
    Observed,
    /// Names are known, and what is not understood is denied.
    Strict,
    /// Names are known, and what is held waits in mode `auto`.
    Auto,
    /// Names are known; idle for 30 s, or 10 s within a transaction, is too long, and so is a request of more than 1 MiB.
    Limited,
    /// Names are known; updates of `public.free` with more than 100 rows are held.
    Counted,
    /// Names are known; something in the database reads `app.tenant`.
    Tenants,
}

pub fn met() -> Vec<ReviewerDemand> {
    vec![ReviewerDemand { group: "dba".to_owned(), approvals: 1 }]
}

/// What people agree to.
pub fn agreed(edit: Option<Edit>) -> Agreement {
    Agreement { met: met(), edit, max_affected: None }
}

/// The same for at most two rows.
pub fn for_two_rows(edit: Option<Edit>) -> Agreement {
    Agreement { max_affected: Some(2), ..agreed(edit) }
}

pub fn identity() -> Identity {
    Identity {
        subject: Subject {
            user: "alice".to_owned(),
            groups: vec!["engineering".to_owned()],
            database: "shop".to_owned(),
            application: "test".to_owned(),
        },
        session: "s-1".to_owned(),
        client_address: "127.0.0.1".to_owned(),
        public_url: "http://countersign.test".to_owned(),
        login_role: Some("shop_rw".to_owned()),
    }
}

/// The surroundings of a setting, made once: what a script changes in them, it changes in its own copy.
pub fn surroundings(setting: Setting) -> Surroundings {
    static MADE: LazyLock<Mutex<HashMap<Setting, Surroundings>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(setting).or_insert_with(|| make_surroundings(setting)).clone()
}

fn make_surroundings(setting: Setting) -> Surroundings {
    let text = match setting {
        Setting::Masked => format!("{CONFIG}{MASKS}"),
        Setting::Auto => CONFIG.replace("mode = \"wait\"", "mode = \"auto\""),
        Setting::Limited => format!("{CONFIG}{LIMITS}"),
        Setting::Counted => format!("{CONFIG}{COUNTS}"),
        Setting::Plain | Setting::Fresh | Setting::Tenants => CONFIG.to_owned(),
        Setting::Strict => CONFIG.replace(r#"unparsed = "hold""#, r#"unparsed = "deny""#),
        Setting::Observed => CONFIG.replace(r#"unparsed = "hold""#, "unparsed = \"hold\"\nstage = \"observe\""),
    };
    let config = Config::parse(Path::new("countersign.toml"), &text).expect("configuration");
    let mut catalog = catalog(1);
    if setting == Setting::Tenants {
        let mut read = SettingsRead::default();
        read.read_text("SELECT current_setting('app.tenant')");
        catalog = catalog.with_settings_read(read);
    }
    let masks = Arc::new(MaskSet::compile(&config.policy, &catalog, &identity().subject, &ViewsUnknown));
    Surroundings {
        config: Arc::new(config),
        catalog: Arc::new(catalog),
        all_masks: Arc::clone(&masks),
        masks,
        unmasked: Arc::default(),
        grants: Arc::default(),
        analyses: Arc::new(AnalysisCache::new(100, 1 << 20)),
        audit_writable: true,
        now: "2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap(),
    }
}

pub fn catalog(version: u64) -> Catalog {
    let text = |attnum, name: &str| Column { attnum, name: name.to_owned(), type_oid: 25, generated: None };
    let table = |oid, schema: &str, name: &str| Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        row_type: oid + 100_000,
        columns: vec![text(1, "id"), text(2, "email")],
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    };
    let relations = vec![
        table(CUSTOMERS, "public", "customers"),
        table(20_002, "public", "free"),
        table(20_003, "sandbox", "customers"),
        Relation {
            kind: RelationKind::View,
            definition: Some(format!(
                " SELECT id, email FROM public.{};",
                if version == 1 { "free" } else { "customers" }
            )),
            ..table(20_004, "public", "shown")
        },
    ];
    let types = vec![Type {
        oid: 25,
        schema: "pg_catalog".to_owned(),
        name: "text".to_owned(),
        kind: 'b',
        category: 'S',
        relation: 0,
        element: 0,
        base: 0,
    }];
    let function = |schema: &str, name: &str, volatility| {
        let function = Function {
            oid: 1,
            volatility,
            language: "internal".to_owned(),
            security_definer: false,
            doubted: false,
            body: None,
            prelude: None,
            behind: Box::default(),
            kind: 'f',
            returns: 25,
            arguments: 1,
            built_in: schema == "pg_catalog",
        };
        (schema.to_owned(), name.to_owned(), function)
    };
    let mut functions =
        vec![function("pg_catalog", "upper", Volatility::Immutable), function("public", "opens", Volatility::Stable)];
    for name in ["lo_open", "loread", "lo_unlink"] {
        functions.push(function("pg_catalog", name, Volatility::Volatile));
    }
    Catalog::new(version, relations, types, functions)
}
