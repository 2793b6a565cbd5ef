//! A small database, its policy and its masks, for the targets that need one.
//!
//! Never changes. Invariant: `public.free` may be written, `public.customers` is guarded and `customers.email` masked,
//! DROP is denied, and what is not understood is held.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use countersign::config::Config;
use countersign::session::words::Identity;
use countersign::session::{Machine, Surroundings};
use countersign_policy::Catalog;
use countersign_policy::analysis::AnalysisCache;
use countersign_policy::catalog::{Column, Function, Relation, RelationKind, Type, Volatility};
use countersign_policy::mask::{MaskSet, ViewsUnknown};
use countersign_policy::subject::Subject;
use jiff::Timestamp;

/// OID of `public.customers`.
pub const CUSTOMERS: u32 = 20_001;

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
name = "guarded"
effects = ["insert", "update", "delete", "copy_in"]
relations = ["public.customers"]
action = "hold"
reviewers = ["dba"]
[[masks]]
name = "email"
columns = ["public.customers.email"]
mask = "redact"
"#;

static SHOP: LazyLock<Surroundings> = LazyLock::new(|| {
    let config = Config::parse(Path::new("countersign.toml"), CONFIG).expect("configuration");
    let catalog = catalog();
    let masks = Arc::new(MaskSet::compile(&config.policy, &catalog, &subject(), &ViewsUnknown));
    Surroundings {
        config: Arc::new(config),
        catalog: Arc::new(catalog),
        all_masks: Arc::clone(&masks),
        masks,
        unmasked: Arc::default(),
        grants: Arc::default(),
        analyses: Arc::new(AnalysisCache::new(1000, 1 << 22)),
        audit_writable: true,
        now: Timestamp::UNIX_EPOCH,
    }
});

/// What a session sees.
pub fn surroundings() -> Surroundings {
    SHOP.clone()
}

/// A session of alice's that has just begun.
pub fn machine() -> Machine {
    let identity = Identity {
        subject: subject(),
        session: "s-1".to_owned(),
        client_address: "127.0.0.1".to_owned(),
        public_url: "http://countersign.test".to_owned(),
        login_role: Some("shop_rw".to_owned()),
    };
    Machine::new(identity, bytes::BytesMut::new(), bytes::BytesMut::new())
}

/// Who asks.
pub fn subject() -> Subject {
    Subject {
        user: "alice".to_owned(),
        groups: vec!["engineering".to_owned()],
        database: "shop".to_owned(),
        application: "test".to_owned(),
    }
}

/// Effective search path.
pub fn search_path() -> Vec<String> {
    vec!["pg_catalog".to_owned(), "public".to_owned()]
}

fn catalog() -> Catalog {
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
    let functions =
        vec![function("pg_catalog", "upper", Volatility::Immutable), function("public", "opens", Volatility::Stable)];
    Catalog::new(1, relations, types, functions)
}
