//! A small catalog made by hand: a shop, its view, its functions, and the built-in functions that the tests call.

use std::collections::HashMap;

use crate::analysis::{Analysis, AnalysisContext, NotUnderstood, NothingPrepared, analyze};
use crate::catalog::{
    Catalog, Column, Consequence, Function, Oid, Prelude, Relation, RelationKind, SetOff, SqlBody, Type, Volatility,
};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

pub const CUSTOMERS: Oid = 20_001;
pub const ORDERS: Oid = 20_002;
pub const PAYMENTS: Oid = 20_003;
pub const CUSTOMER_VIEW: Oid = 20_004;
pub const CUSTOMERS_EU: Oid = 20_005;
pub const CONTACTS: Oid = 20_006;
pub const ACCOUNTS: Oid = 20_020;
pub const ENTRIES: Oid = 20_021;
const HOLDERS: Oid = 20_033;
const PARCEL: Oid = 20_036;
const PARCELS: Oid = 20_037;
const PARCEL_ARRAY: Oid = 20_040;
/// A domain with a check that may write.
const CODE: Oid = 20_042;
/// OIDs of functions.
pub const PURGE: Oid = 30_001;
pub const HARMLESS: Oid = 30_002;

const TEXT: Oid = 25;
const RECORD: Oid = 2249;

fn columns(names: &[&str]) -> Vec<Column> {
    let column = |(at, name): (usize, &&str)| Column {
        attnum: i16::try_from(at + 1).unwrap(),
        name: (*name).to_owned(),
        type_oid: TEXT,
        generated: None,
    };
    names.iter().enumerate().map(column).collect()
}

fn relation(oid: Oid, schema: &str, name: &str, kind: RelationKind, names: &[&str]) -> Relation {
    Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind,
        row_type: oid + 100_000,
        columns: columns(names),
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    }
}

fn view(oid: Oid, name: &str, names: &[&str], definition: &str) -> Relation {
    Relation { definition: Some(definition.to_owned()), ..relation(oid, "public", name, RelationKind::View, names) }
}

const INSERT: Effects = Effects::of(&[Effect::Insert]);
const UPDATE: Effects = Effects::of(&[Effect::Update]);
const DELETE: Effects = Effects::of(&[Effect::Delete]);
const TRUNCATE: Effects = Effects::of(&[Effect::Truncate]);
const DROP: Effects = Effects::of(&[Effect::Drop]);
const ALTER: Effects = Effects::of(&[Effect::Alter]);
/// What computes an index, and what checks a row security policy.
const INDEXING: Effects = Effects::of(&[Effect::Insert, Effect::Update, Effect::Maintenance, Effect::Alter]);
const LOOKING: Effects = Effects::of(&[Effect::Select, Effect::Insert, Effect::Update, Effect::Delete]);

/// Its deletion cascades to entries, a change of its id too, and a change of its owner fires a trigger.
fn accounts() -> Relation {
    let set_off = |on, columns: &[i16], what| Consequence { on, columns: columns.to_vec(), what };
    let consequences = vec![
        set_off(DELETE, &[], SetOff::Write(Effect::Delete, ENTRIES)),
        set_off(UPDATE, &[1], SetOff::Write(Effect::Update, ENTRIES)),
        set_off(UPDATE, &[2], SetOff::Call(PURGE)),
        set_off(TRUNCATE, &[], SetOff::Write(Effect::Truncate, ENTRIES)),
        set_off(DROP, &[1], SetOff::Write(Effect::Alter, ENTRIES)),
        set_off(DROP, &[1, 2], SetOff::Write(Effect::Drop, HOLDERS)),
    ];
    Relation { consequences, ..relation(ACCOUNTS, "public", "accounts", RelationKind::Table, &["id", "owner", "note"]) }
}

/// It has an array of parcels, and a view shows it.
fn boxes() -> Relation {
    let view = Consequence { on: DROP, columns: vec![2], what: SetOff::Write(Effect::Drop, CONTACTS) };
    let mut boxes = relation(20_038, "public", "boxes", RelationKind::Table, &["id", "content"]);
    boxes.columns[1].type_oid = PARCEL_ARRAY;
    Relation { consequences: vec![view], ..boxes }
}

/// One of its columns is of a domain with a check that may write.
fn tickets() -> Relation {
    let mut tickets = relation(20_043, "public", "tickets", RelationKind::Table, &["id", "code"]);
    tickets.columns[1].type_oid = CODE;
    tickets
}

/// A deletion fires a trigger, and so does an insertion of an entry without a default.
fn entries() -> Relation {
    let set_off = |on, what| Consequence { on, columns: Vec::new(), what };
    let consequences = vec![set_off(DELETE, SetOff::Call(PURGE)), set_off(INSERT, SetOff::Call(HARMLESS))];
    Relation {
        consequences,
        ..relation(ENTRIES, "public", "entries", RelationKind::PartitionedTable, &["id", "account", "amount"])
    }
}

/// Relations on which statements set something off: a trigger, an index, row security, CASCADE.
fn setting_off() -> Vec<Relation> {
    use RelationKind::{CompositeType, Table};
    vec![
        Relation {
            consequences: vec![Consequence { on: INSERT, columns: Vec::new(), what: SetOff::Call(PURGE) }],
            ..relation(20_035, "public", "inbox", Table, &["id", "note"])
        },
        Relation {
            consequences: vec![
                Consequence { on: DROP, columns: Vec::new(), what: SetOff::Write(Effect::Drop, PARCELS) },
                Consequence { on: ALTER, columns: Vec::new(), what: SetOff::Write(Effect::Alter, PARCELS) },
            ],
            ..relation(PARCEL, "public", "parcel", CompositeType, &["weight"])
        },
        Relation {
            consequences: vec![Consequence { on: INDEXING, columns: Vec::new(), what: SetOff::Call(PURGE) }],
            ..relation(PARCELS, "public", "parcels", Table, &["weight"])
        },
        boxes(),
        tickets(),
        Relation {
            consequences: vec![
                Consequence { on: LOOKING, columns: Vec::new(), what: SetOff::Call(PURGE) },
                Consequence { on: LOOKING, columns: Vec::new(), what: SetOff::Write(Effect::Select, CUSTOMER_VIEW) },
            ],
            ..relation(20_039, "public", "secured", Table, &["id"])
        },
        Relation {
            consequences: vec![Consequence { on: Effects::NONE, columns: Vec::new(), what: SetOff::Call(HARMLESS) }],
            ..view(20_041, "numbered", &["n"], "SELECT public.next_number() AS n")
        },
    ]
}

fn relations() -> Vec<Relation> {
    use RelationKind::{Table, View};
    let shop = ["id", "name", "email", "phone", "ssn"];
    let mut generated = relation(20_007, "public", "people", Table, &["id", "ssn", "ssn_up"]);
    generated.columns[2].generated = Some("upper(ssn)".to_owned());
    generated.consequences = vec![Consequence { on: UPDATE, columns: vec![3], what: SetOff::Call(PURGE) }];
    let mut all = vec![
        relation(CUSTOMERS, "public", "customers", Table, &shop),
        relation(ORDERS, "public", "orders", Table, &["id", "customer_id", "total", "note", "status"]),
        relation(PAYMENTS, "public", "payments", Table, &["id", "order_id", "card", "amount"]),
        view(
            CUSTOMER_VIEW,
            "customer_view",
            &["id", "label", "spent"],
            " SELECT c.id, lower(c.email) AS label, ( SELECT sum(o.total) AS sum FROM public.orders o \
             WHERE (o.customer_id = c.id)) AS spent FROM public.customers c;",
        ),
        Relation { parents: vec![CUSTOMERS], ..relation(CUSTOMERS_EU, "public", "customers_eu", Table, &shop) },
        view(CONTACTS, "contacts", &["id", "label"], "SELECT v.id, v.label FROM public.customer_view v"),
        generated,
        Relation { has_rules: true, ..relation(20_008, "public", "ruled", Table, &["id"]) },
        Relation { has_rules: true, ..relation(20_030, "public", "logged", Table, &["id", "note"]) },
        Relation {
            has_rules: true,
            ..view(20_031, "board", &["id", "label"], "SELECT c.id, c.email AS label FROM public.customers c")
        },
        Relation { has_rules: true, ..relation(20_032, "public", "looping", Table, &["id"]) },
        view(HOLDERS, "holders", &["id", "note"], "SELECT a.id, a.owner AS note FROM public.accounts a"),
        view(20_034, "over_logged", &["id"], "SELECT l.id FROM public.logged l"),
        view(20_009, "broken", &["id"], "SELECT FROM WHERE"),
        view(
            20_013,
            "as_xml",
            &["x"],
            "SELECT query_to_xml('SELECT secret FROM customers'::text, true, false, '') AS x",
        ),
        view(20_010, "kills", &["x"], "SELECT pg_terminate_backend(1) AS x"),
        relation(20_011, "app", "customers", Table, &["id", "secret"]),
        accounts(),
        entries(),
        Relation {
            parents: vec![ENTRIES],
            consequences: vec![Consequence { on: INSERT, columns: Vec::new(), what: SetOff::Call(HARMLESS) }],
            ..relation(20_022, "public", "entries_2024", Table, &["id", "account", "amount"])
        },
        relation(20_023, "public", "balances", Table, &["account", "total"]),
        view(20_024, "open_accounts", &["id", "owner"], "SELECT a.id, a.owner FROM public.accounts a"),
        Relation { parents: vec![ORDERS], ..relation(20_012, "pg_temp_4", "orders_draft", Table, &["id"]) },
        Relation {
            definition: Some("SELECT customers.email AS mail FROM public.customers".to_owned()),
            ..relation(20_025, "public", "mails", RelationKind::MaterializedView, &["mail"])
        },
        relation(1259, "pg_catalog", "pg_class", Table, &["oid", "relname", "relnamespace", "relkind"]),
        relation(2615, "pg_catalog", "pg_namespace", Table, &["oid", "nspname"]),
        relation(12_001, "pg_catalog", "pg_stats", View, &["tablename", "attname", "most_common_vals"]),
        relation(12_003, "pg_catalog", "pg_settings", View, &["name", "setting", "unit"]),
        relation(12_002, "pg_catalog", "pg_stat_activity", View, &["pid", "query"]),
    ];
    all.extend(setting_off());
    all
}

fn function(
    schema: &str,
    name: &str,
    volatility: Volatility,
    language: &str,
    returns: Oid,
) -> (String, String, Function) {
    let function = Function {
        oid: 1,
        volatility,
        language: language.to_owned(),
        security_definer: false,
        doubted: false,
        body: None,
        prelude: None,
        behind: Box::default(),
        kind: 'f',
        returns,
        arguments: 1,
        built_in: schema == "pg_catalog",
    };
    (schema.to_owned(), name.to_owned(), function)
}

/// A volatile function in SQL.
fn written(name: &str, text: &str, parameters: &[&str], settings: &[&str]) -> (String, String, Function) {
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    let body =
        SqlBody { is_resolved: false, text: text.to_owned(), parameters: owned(parameters), settings: owned(settings) };
    let (schema, name, plain) = function("public", name, Volatility::Volatile, "sql", TEXT);
    (schema, name, Function { body: Some(body), ..plain })
}

/// A volatile function in SQL that was parsed when it was made.
fn resolved(name: &str, text: &str, parameters: &[&str]) -> (String, String, Function) {
    let (schema, name, plain) = written(name, text, parameters, &[]);
    let body = plain.body.clone().map(|body| SqlBody { is_resolved: true, ..body });
    (schema, name, Function { body, ..plain })
}

/// A harmless function in SQL with defaults, or with these functions in the checks of domains in its signature.
fn with_prelude(name: &str, defaults: Option<&str>, checks: &[Oid]) -> (String, String, Function) {
    let (schema, name, plain) = written(name, "SELECT 1", &[], &[]);
    let prelude = Prelude { defaults: defaults.map(str::to_owned), checks: checks.to_vec() };
    (schema, name, Function { prelude: Some(Box::new(prelude)), ..plain })
}

fn functions() -> Vec<(String, String, Function)> {
    let immutable = "lower upper length concat coalesce substr md5 encode count sum min max avg string_agg array_agg \
        row_to_json to_json json_agg jsonb_build_object generate_series unnest json_each reverse row_number rank lag \
        percentile_disc format array_to_json table_to_xml schema_to_xml to_char date_trunc now version \
        pg_table_is_visible current_setting has_table_privilege repeat chr int4 text json_populate_record \
        quote_ident obj_description pg_get_expr replace regexp_replace concat_ws";
    let volatile = "random setseed nextval currval setval pg_sleep clock_timestamp gen_random_uuid set_config pg_notify lo_export \
        lo_import lo_get pg_read_file pg_ls_dir pg_ls_tmpdir pg_terminate_backend pg_cancel_backend pg_advisory_lock pg_advisory_unlock_all \
        pg_try_advisory_xact_lock query_to_xml cursor_to_xml ts_stat ts_rewrite pg_reload_conf pg_switch_wal pg_relation_size";
    let scalar = |name: &str| if matches!(name, "json_each" | "ts_stat") { RECORD } else { TEXT };
    let built_in = |volatility| move |name: &str| function("pg_catalog", name, volatility, "internal", scalar(name));
    let mut all: Vec<_> = immutable.split_whitespace().map(built_in(Volatility::Immutable)).collect();
    all.extend(volatile.split_whitespace().map(built_in(Volatility::Volatile)));
    let (schema, name, purge) = function("public", "purge", Volatility::Volatile, "plpgsql", TEXT);
    all.push((schema, name, Function { oid: PURGE, ..purge }));
    let (schema, name, harmless) = function("public", "next_number", Volatility::Stable, "plpgsql", TEXT);
    all.push((schema, name, Function { oid: HARMLESS, ..harmless }));
    all.push(function("public", "badge", Volatility::Stable, "sql", TEXT));
    all.push(function("public", "verify_heapam", Volatility::Volatile, "c", RECORD));
    all.push(function("public", "all_customers", Volatility::Stable, "sql", CUSTOMERS + 100_000));
    all.push(written("order_count", "SELECT count(*) FROM orders", &[], &[]));
    all.push(written("email_of", "SELECT c.email FROM customers c WHERE c.id = who", &["who"], &[]));
    all.push(written("wipe", "SELECT 1; DELETE FROM payments WHERE id = $1", &[], &[]));
    all.push(written("wipe_all", "SELECT wipe(1)", &[], &["statement_timeout=1s"]));
    all.push(written("app_secret", "SELECT secret FROM customers", &[], &["search_path=app, pg_temp"]));
    all.push(resolved("atomic", "SELECT c.email FROM public.customers c WHERE c.id = atomic.who", &["who"]));
    all.push(resolved("blind_atomic", "DELETE FROM orders", &[]));
    all.push(with_prelude("by_default", Some("public.purge()"), &[]));
    all.push(with_prelude("by_number", Some("1, now()"), &[]));
    all.push(with_prelude("by_check", None, &[PURGE]));
    all.push(with_prelude("by_riddle", Some("nosuch()"), &[]));
    all.push(written("as_admin", "SELECT count(*) FROM orders", &[], &["role=admin"]));
    all.push(written("forever", "SELECT forever()", &[], &[]));
    all.push(written("riddle", "SELECT * FROM nosuch", &[], &[]));
    let (schema, name, liar) = function("public", "liar", Volatility::Volatile, "plpgsql", TEXT);
    all.push((schema, name, Function { doubted: true, ..liar }));
    all.push(function("public", "dblink", Volatility::Volatile, "c", RECORD));
    for extension in ["crosstab", "connectby", "xpath_table"] {
        all.push(function("public", extension, Volatility::Stable, "c", RECORD));
    }
    all.push(function("app", "query_to_xml", Volatility::Stable, "plpgsql", TEXT));
    all.push(function("public", "st_x", Volatility::Immutable, "c", TEXT));
    all.push(function("public", "<~>", Volatility::Volatile, "plpgsql", TEXT));
    all.push(function("public", "<+>", Volatility::Stable, "plpgsql", TEXT));
    all.push(function("public", "<->", Volatility::Immutable, "c", TEXT));
    all.push(function("public", "#=", Volatility::Immutable, "c", TEXT));
    all.push(function("public", "populate_record", Volatility::Immutable, "c", TEXT));
    for (name, oid) in [("cast:parcel", PARCEL + 100_000), ("cast:_parcel", PARCEL_ARRAY), ("cast:code", CODE)] {
        let (schema, name, check) = function("public", name, Volatility::Volatile, "plpgsql", TEXT);
        all.push((schema, name, Function { oid, ..check }));
    }
    all.push(function("app", "lower", Volatility::Immutable, "sql", TEXT));
    all
}

fn types() -> Vec<Type> {
    let item = |oid: Oid, name: &str, kind: char, relation: Oid| Type {
        oid,
        schema: if relation == 0 { "pg_catalog" } else { "public" }.to_owned(),
        name: name.to_owned(),
        kind,
        category: 'S',
        relation,
        element: 0,
        base: 0,
    };
    vec![
        item(TEXT, "text", 'b', 0),
        item(RECORD, "record", 'p', 0),
        item(CUSTOMERS + 100_000, "customers", 'c', CUSTOMERS),
        item(PARCEL + 100_000, "parcel", 'c', PARCEL),
        Type { element: PARCEL + 100_000, ..item(PARCEL_ARRAY, "_parcel", 'b', 0) },
        Type { schema: "public".to_owned(), base: TEXT, ..item(CODE, "code", 'd', 0) },
    ]
}

/// The rules of `logged`, `board` and `looping`; those of `ruled` could not be read.
fn rules() -> HashMap<Oid, Vec<String>> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    HashMap::from([
        (
            20_030,
            texts(&[
                "CREATE RULE keep AS\n    ON INSERT TO public.logged DO  INSERT INTO public.orders (id, note)\n  \
                 VALUES (new.id, new.note);",
                "CREATE RULE stay AS ON DELETE TO public.logged WHERE (old.id > 1) DO INSTEAD NOTHING;",
                "CREATE RULE show AS ON UPDATE TO public.logged DO SELECT customers.ssn FROM public.customers;",
            ]),
        ),
        (
            20_031,
            texts(&[
                "CREATE RULE put AS ON INSERT TO public.board DO INSTEAD INSERT INTO public.payments (id, card) \
                 VALUES (new.id, new.label) RETURNING payments.id, payments.card;",
                "CREATE RULE take AS ON DELETE TO public.board DO INSTEAD ( DELETE FROM public.orders \
                 WHERE (orders.id = old.id); NOTIFY board; );",
            ]),
        ),
        (
            20_032,
            texts(&["CREATE RULE again AS ON INSERT TO public.looping DO INSERT INTO public.looping VALUES (1);"]),
        ),
    ])
}

/// The catalog of the tests.
pub fn catalog() -> Catalog {
    catalog_of(18)
}

/// The catalog of the tests on a server of that major version.
pub fn catalog_of(major: u32) -> Catalog {
    Catalog::new(u64::from(major), relations(), types(), functions())
        .with_server_version(major * 10_000)
        .with_rules(rules())
}

/// The catalog of the tests with everything that the texts name besides, as tables and functions of all kinds.
pub fn catalog_for(texts: &[String]) -> Catalog {
    let (mut tables, mut calls) = (Vec::new(), Vec::new());
    let mut open: Vec<&String> = texts.iter().collect();
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    loop {
        let build = |tables: &[QualifiedName], calls: &[QualifiedName]| {
            let table = |(name, oid): (&QualifiedName, Oid)| {
                relation(oid, in_public(name), &name.name, RelationKind::Table, &["id", "name", "email"])
            };
            let call = |name: &QualifiedName| {
                let volatility = [Volatility::Immutable, Volatility::Stable, Volatility::Volatile][name.name.len() % 3];
                let language = if name.name.len().is_multiple_of(2) { "internal" } else { "plpgsql" };
                function(in_public(name), &name.name, volatility, language, TEXT)
            };
            let relations = relations().into_iter().chain(tables.iter().zip(30_000..).map(table));
            let functions = functions().into_iter().chain(calls.iter().map(call));
            Catalog::new(1, relations.collect(), types(), functions.collect()).with_server_version(180_000)
        };
        let catalog = build(&tables, &calls);
        let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
        let known = (tables.len(), calls.len());
        open.retain(|text| match analyze(text, &context).not_understood() {
            Some(NotUnderstood::Relation(name)) => {
                if !tables.contains(name) {
                    tables.push(name.clone());
                }
                true
            }
            Some(NotUnderstood::Function(name)) => {
                if !calls.contains(name) {
                    calls.push(name.clone());
                }
                true
            }
            _ => false,
        });
        if known == (tables.len(), calls.len()) {
            return catalog;
        }
    }
}

fn in_public(name: &QualifiedName) -> &str {
    if name.schema.is_empty() { "public" } else { &name.schema }
}

/// The analysis of a text in the schema `public`.
#[track_caller]
pub fn analysis(text: &str) -> Analysis {
    analysis_along(text, &["pg_catalog", "public"])
}

/// The analysis of a text along a search path.
pub fn analysis_along(text: &str, path: &[&str]) -> Analysis {
    let catalog = catalog();
    let search_path: Vec<String> = path.iter().map(|schema| (*schema).to_owned()).collect();
    analyze(text, &AnalysisContext { catalog: &catalog, search_path: &search_path, prepared: &NothingPrepared })
}
