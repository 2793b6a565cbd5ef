//! Cost of an analysis: new, by shape and by exact text, of statements of pgbench, of an ORM and of psql.

use std::hint::black_box;

use countersign_policy::analysis::{AnalysisCache, AnalysisContext, NothingPrepared, analyze};
use countersign_policy::catalog::{Catalog, Column, Function, Relation, RelationKind, Volatility};
use criterion::{Criterion, criterion_group, criterion_main};

const PGBENCH: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = {};";

const ORM_SHORT: &str = "SELECT \"shop_order\".\"id\", \"shop_order\".\"customer_id\", \"shop_order\".\"total\", \
    \"shop_order\".\"note\" FROM \"shop_order\" WHERE (\"shop_order\".\"customer_id\" = {} AND \"shop_order\".\"total\" \
    > {}) LIMIT {}";

const ORM_LONG: &str = "SELECT \"shop_order\".\"id\", \"shop_order\".\"customer_id\", \"shop_order\".\"total\", \
    \"shop_customer\".\"id\", \"shop_customer\".\"name\", \"shop_customer\".\"email\", \"shop_customer\".\"ssn\" FROM \
    \"shop_order\" INNER JOIN \"shop_customer\" ON (\"shop_order\".\"customer_id\" = \"shop_customer\".\"id\") WHERE \
    (\"shop_order\".\"total\" > {} AND UPPER(\"shop_customer\".\"name\"::text) LIKE UPPER({}) AND \"shop_order\".\"note\" IN \
    ({}, {}, {})) ORDER BY \"shop_order\".\"id\" DESC LIMIT {}";

const PSQL_DESCRIBE: &str = "SELECT n.nspname as \"Schema\", c.relname as \"Name\", CASE c.relkind WHEN 'r' THEN 'table' \
    WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN \
    'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' END as \"Type\", \
    pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\" FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n \
    ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' \
    AND n.nspname <> 'information_schema' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;";

fn relation(oid: u32, schema: &str, name: &str, columns: &[&str]) -> Relation {
    let columns = columns.iter().zip(1..).map(|(name, attnum)| Column {
        attnum,
        name: (*name).to_owned(),
        type_oid: 25,
        generated: None,
    });
    Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        row_type: 0,
        columns: columns.collect(),
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    }
}

fn catalog() -> Catalog {
    let relations = vec![
        relation(20_003, "public", "pgbench_accounts", &["aid", "bid", "abalance", "filler"]),
        relation(20_001, "public", "shop_order", &["id", "customer_id", "total", "note"]),
        relation(20_002, "public", "shop_customer", &["id", "name", "email", "ssn"]),
        relation(1_259, "pg_catalog", "pg_class", &["oid", "relname", "relnamespace", "relowner", "relkind"]),
        relation(2_615, "pg_catalog", "pg_namespace", &["oid", "nspname", "nspowner"]),
    ];
    let functions = ["upper", "pg_get_userbyid", "pg_table_is_visible"].map(|name| {
        let function = Function {
            oid: 1,
            volatility: Volatility::Stable,
            language: "internal".to_owned(),
            security_definer: false,
            doubted: false,
            body: None,
            prelude: None,
            behind: Box::default(),
            kind: 'f',
            returns: 25,
            arguments: 1,
            built_in: true,
        };
        ("pg_catalog".to_owned(), name.to_owned(), function)
    });
    Catalog::new(1, relations, Vec::new(), functions.into())
}

fn analysis(criterion: &mut Criterion) {
    let catalog = catalog();
    let search_path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &search_path, prepared: &NothingPrepared };
    let cache = AnalysisCache::new(1_024, 1 << 24);
    for (name, text) in [("pgbench", PGBENCH), ("short ORM", ORM_SHORT), ("long ORM", ORM_LONG)] {
        let [first, other, parameters] = ["815", "4711", "$1"].map(|literal| text.replace("{}", literal));
        assert_eq!(analyze(&first, &context).not_understood(), None);
        for text in [&first, &parameters] {
            let _ = cache.analyze(text, &context);
        }
        let kept = cache.len();
        let name = |what: &str| format!("{name}, {} bytes: {what}", other.len());
        criterion.bench_function(&name("new"), |bencher| bencher.iter(|| analyze(black_box(&other), &context)));
        criterion.bench_function(&name("shape seen before"), |bencher| {
            bencher.iter(|| cache.analyze(black_box(&other), &context));
        });
        criterion.bench_function(&name("text seen before"), |bencher| {
            bencher.iter(|| cache.analyze(black_box(&parameters), &context));
        });
        assert_eq!(cache.len(), kept, "a text whose shape is known is not kept");
    }
    assert_eq!(analyze(PSQL_DESCRIBE, &context).not_understood(), None);
    criterion.bench_function("psql \\d: new", |bencher| bencher.iter(|| analyze(black_box(PSQL_DESCRIBE), &context)));
}

criterion_group!(benches, analysis);
criterion_main!(benches);
