//! What the cache may and may not share.

use super::fixture::catalog;
use crate::analysis::{AnalysisCache, AnalysisContext, NothingPrepared, PreparedLookup, StatementAnalysis};
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
    assert!(std::sync::Arc::ptr_eq(&first, &analyze("public")));
    assert_ne!(first, analyze("app"));
    assert_eq!(cache.len(), 2);
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
        let _ = cache.analyze(&format!("SELECT {number}"), &context);
    }
    assert!(cache.len() < 64, "{}", cache.len());
}
