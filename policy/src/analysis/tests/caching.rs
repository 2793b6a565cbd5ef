//! What the cache may and may not share.

use std::sync::Arc;

use super::corpus::{self, Mutator};
use super::fixture::{catalog, catalog_for};
use crate::analysis::{AnalysisCache, AnalysisContext, NothingPrepared, PreparedLookup, StatementAnalysis, analyze};
use crate::effect::Effect;

struct Session(StatementAnalysis);

impl PreparedLookup for Session {
    fn prepared(&self, name: &str) -> Option<&StatementAnalysis> {
        (name == "p").then_some(&self.0)
    }

    fn cursor(&self, name: &str) -> Option<&StatementAnalysis> {
        (name == "c").then_some(&self.0)
    }
}

fn session(effect: Effect) -> Session {
    Session(StatementAnalysis { effects: [effect].into_iter().collect(), ..StatementAnalysis::default() })
}

#[test]
fn texts_are_cached_per_search_path() {
    let (catalog, cache) = (catalog(), AnalysisCache::new(100, 1 << 20));
    let analyze = |schema: &str| {
        let path = [schema.to_owned()];
        let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
        cache.analyze("SELECT * FROM customers", &context)
    };
    let first = analyze("public");
    assert!(Arc::ptr_eq(&first, &analyze("public")));
    assert_ne!(first, analyze("app"));
    assert_eq!(cache.len(), 4, "by text and by shape, for either path");
}

#[test]
fn what_depends_on_the_session_is_not_cached() {
    let (catalog, cache) = (catalog(), AnalysisCache::new(100, 1 << 20));
    let path = ["public".to_owned()];
    for text in ["EXECUTE p", "FETCH c", "EXPLAIN ANALYZE EXECUTE p", "SELECT 1; MOVE c"] {
        for effect in [Effect::Delete, Effect::Drop] {
            let session = session(effect);
            let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &session };
            assert!(cache.analyze(text, &context).effects().contains(effect), "{text}");
        }
    }
    assert!(cache.is_empty());
}

#[test]
fn the_cache_is_bounded() {
    let (catalog, cache) = (catalog(), AnalysisCache::new(10, 64 * 1024));
    let path = ["public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    for number in 0..500 {
        let _ = cache.analyze(&format!("SELECT id AS c{number} FROM customers"), &context);
    }
    assert!(cache.len() < 64, "{}", cache.len());
}

/// Whether the second text gets the very analysis of the first; either way it is what it would be without a cache.
fn is_shared(first: &str, second: &str) -> bool {
    let (catalog, cache) = (catalog(), AnalysisCache::new(100, 1 << 20));
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    let [one, other] = [first, second].map(|text| {
        let kept = cache.analyze(text, &context);
        assert_eq!(*kept, analyze(text, &context), "{text}");
        assert!(Arc::ptr_eq(&kept, &cache.analyze(text, &context)), "{text}");
        kept
    });
    Arc::ptr_eq(&one, &other)
}

#[test]
fn everyday_statements_share_by_shape() {
    for (first, second) in [
        ("SELECT total FROM orders WHERE id = 1", "SELECT total FROM orders WHERE id = 815"),
        ("UPDATE orders SET total = total + -5 WHERE id = 7;", "UPDATE orders SET total = total + -1207 WHERE id = 8;"),
        ("DELETE FROM orders WHERE id IN (1, 2)", "DELETE FROM orders WHERE id IN (3, 4)"),
        ("INSERT INTO orders (id, note) VALUES (1, 'a')", "INSERT INTO orders (id, note) VALUES (2, $$it's$$)"),
        (
            "SELECT id FROM customers WHERE name LIKE 'a%' LIMIT 10",
            "SELECT id FROM customers WHERE name LIKE '%' LIMIT 20",
        ),
        ("SELECT 1 /* a */", "SELECT 2 -- b"),
        (
            "BEGIN; UPDATE orders SET id = 1 WHERE id = 2; COMMIT",
            "BEGIN; UPDATE orders SET id = 3 WHERE id = 4; COMMIT",
        ),
        ("SELECT nextval('orders_id_seq')", "SELECT nextval('payments_id_seq')"),
        ("SELECT date '2020-01-01' + interval '1 day'", "SELECT date '2024-02-29' + interval '2 months'"),
    ] {
        assert!(is_shared(first, second), "{first}");
    }
}

#[test]
fn what_a_literal_decides_is_not_shared() {
    for (first, second) in [
        ("SELECT set_config('work_mem', '1', false)", "SELECT set_config('role', '1', false)"),
        ("SELECT set_config('array_nulls', 'on', false)", "SELECT set_config('array_nulls', 'off', false)"),
        ("UPDATE orders SET id = 1 WHERE 1 = 2", "UPDATE orders SET id = 1 WHERE 1 = 1"),
        ("DELETE FROM orders WHERE id = 1 OR 1 = 2", "DELETE FROM orders WHERE id = 1 OR 2 = 2"),
        ("DELETE FROM orders WHERE id = 1 OR 'a' = 'b'", "DELETE FROM orders WHERE id = 1 OR 'b' = 'b'"),
        ("DELETE FROM orders WHERE 'f'::bool", "DELETE FROM orders WHERE 't'::bool"),
        ("DELETE FROM orders WHERE note LIKE 'a%'", "DELETE FROM orders WHERE note LIKE '%'"),
        ("SELECT id, email FROM customers ORDER BY 1", "SELECT id, email FROM customers ORDER BY 2"),
        ("SELECT id, email FROM customers GROUP BY 1, 2", "SELECT id, email FROM customers GROUP BY 1, 1"),
        ("SELECT DISTINCT ON (1) id, email FROM customers", "SELECT DISTINCT ON (2) id, email FROM customers"),
        ("SELECT float4 FROM (SELECT 1::float(5)) x", "SELECT float4 FROM (SELECT 1::float(30)) x"),
        ("SELECT 'a' 'b'", "SELECT 'a'\n'b'"),
        ("SELECT 'a\\b'", "SELECT 'a\\'"),
        ("SELECT E'\\x41'", "SELECT E'\\xff'"),
        ("SELECT 1", "SELECT 1.5"),
        ("SELECT 1", "SELECT 2147483648"),
        ("SELECT B'1'", "SELECT X'1'"),
        ("SELECT 1 AS \"a\"", "SELECT 1 AS \"b\""),
        ("SELECT x FROM (SELECT 1 x) a", "SELECT 0x FROM (SELECT 1 x) a"),
    ] {
        assert!(!is_shared(first, second), "{first}");
    }
}

#[test]
fn other_statements_are_not_shared() {
    for (first, second) in [
        ("SET work_mem = '1MB'", "SET work_mem = '2MB'"),
        ("COPY orders FROM '/tmp/a'", "COPY orders FROM '/tmp/b'"),
        ("EXPLAIN (ANALYZE 0) DELETE FROM orders WHERE id = 1", "EXPLAIN (ANALYZE 1) DELETE FROM orders WHERE id = 1"),
        ("PREPARE p AS SELECT 1", "PREPARE p AS SELECT 2"),
        ("DECLARE c CURSOR FOR SELECT 1", "DECLARE c CURSOR FOR SELECT 2"),
        ("DO 'a'", "DO 'b'"),
        ("CREATE TABLE t AS SELECT 1 AS a", "CREATE TABLE t AS SELECT 2 AS a"),
        ("COMMIT PREPARED 'a'", "COMMIT PREPARED 'b'"),
        ("SELECT 1; SET role = 'a'", "SELECT 1; SET role = 'b'"),
        ("SELECT * FROM nowhere WHERE id = 1", "SELECT * FROM nowhere WHERE id = 2"),
    ] {
        assert!(!is_shared(first, second), "{first}");
    }
}

#[test]
fn dangerous_calls_stay_dangerous_with_any_argument() {
    for call in [
        "nextval('X')",
        "'X'::regclass",
        "query_to_xml('X', true, false, '')",
        "pg_terminate_backend('X')",
        "dblink('X')",
        "ts_stat('X')",
        "pg_read_file('X')",
        "pg_notify('X', 'X')",
        "set_config('X', 'X', true)",
        "set_config('search_path', 'X', true)",
    ] {
        for values in [["a", "search_path"], ["orders", "DELETE FROM orders"], ["role", "1"], ["f", "t"]] {
            let [first, second] = values.map(|value| format!("SELECT {}", call.replace('X', value)));
            is_shared(&first, &second);
            let [first, second] = [first, second].map(|query| format!("INSERT INTO orders (note) {query} LIMIT 1"));
            is_shared(&first, &second);
        }
    }
}

#[test]
fn new_literals_do_not_fill_the_cache() {
    let (catalog, cache) = (catalog(), AnalysisCache::new(100, 1 << 20));
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    for number in 0..50 {
        let _ = cache.analyze(&format!("SELECT total FROM orders WHERE id = {number}"), &context);
        let _ = cache.analyze(&format!("SELECT total /* {number} */ FROM orders WHERE id = $1"), &context);
    }
    assert_eq!(cache.len(), 3, "two shapes, and the first text without literals");
}

#[test]
fn temporary_objects_of_others_are_not_part_of_the_key_and_not_kept() {
    let cache = AnalysisCache::new(100, 1 << 20);
    let path = ["pg_temp_3", "pg_catalog", "public"].map(str::to_owned);
    let analyze = |own: u64, others: u64, text: &str| {
        let versions = [("pg_temp_3".to_owned(), own), ("pg_temp_4".to_owned(), others)];
        let catalog = catalog().with_temporary_versions(versions.into());
        let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
        cache.analyze(text, &context)
    };
    let first = analyze(1, 1, "SELECT id FROM orders");
    assert!(Arc::ptr_eq(&first, &analyze(1, 2, "SELECT id FROM orders")));
    assert!(!Arc::ptr_eq(&first, &analyze(2, 2, "SELECT id FROM orders")));
    let names = |text: &str| {
        let analysis = analyze(1, 1, text);
        analysis.statements[0].relations.iter().map(|relation| relation.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("DELETE FROM orders WHERE id = 1"), ["public.orders"]);
    let kept = cache.len();
    for text in [
        "SELECT * FROM pg_temp_4.t",
        "SELECT pg_temp_4.f()",
        "CREATE VIEW pg_temp_4.v AS SELECT 1",
        "TABLE U&\"pg\\005ftemp_4\".t",
    ] {
        let _ = analyze(2, 2, text);
    }
    assert_eq!(cache.len(), kept);
}

/// Every text of real clients, and texts with other literals in their place, in random order through one cache.
#[test]
fn a_cached_analysis_is_the_analysis() {
    let mut texts = corpus::all();
    let catalog = catalog_for(&texts);
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    let mut mutator = Mutator::new(4_711);
    let mutants: Vec<_> = texts.iter().flat_map(|text| [0; 3].map(|_| mutator.mutant(text))).collect();
    texts.extend(mutants);
    let cache = AnalysisCache::new(100_000, 1 << 30);
    let mut misses = 0;
    while !texts.is_empty() {
        let text = texts.swap_remove(mutator.below(texts.len()));
        let before = cache.len();
        let kept = cache.analyze(&text, &context);
        misses += usize::from(cache.len() > before);
        assert_eq!(*kept, analyze(&text, &context), "{text}");
    }
    assert!(misses > 1_000, "{misses}");
}
