//! Analyses by exact text.
//!
//! Never keeps what depends on a session's prepared statements or cursors. Invariant: two look-ups get the same analysis
//! only for the same bytes, catalog version and search path; the hash is keyed, and equality is checked in full.

use std::hash::{Hash, RandomState};
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

use super::{Analysis, AnalysisContext, read};

/// Bytes that an entry is taken to cost besides its text.
const ENTRY_BYTES: u64 = 1_024;
/// Bytes that a relation in it is taken to cost: a partitioned table brings its partitions along.
const RELATION_BYTES: u64 = 128;
/// Longest text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A bounded cache of analyses, shared by all sessions of one upstream database.
pub struct AnalysisCache {
    entries: Cache<Key, Arc<Analysis>, ByBytes, RandomState, DefaultLifecycle<Key, Arc<Analysis>>>,
}

impl AnalysisCache {
    /// An empty cache for about so many entries, and at most so many bytes of texts and analyses.
    #[must_use]
    pub fn new(entries: usize, bytes: u64) -> Self {
        let entries = Cache::with(entries, bytes, ByBytes, RandomState::new(), DefaultLifecycle::default());
        Self { entries }
    }

    /// The analysis of the text, from the cache or made now.
    #[must_use]
    pub fn analyze(&self, text: &str, context: &AnalysisContext<'_>) -> Arc<Analysis> {
        let look_up = LookUp { text, catalog_version: context.catalog.version(), search_path: context.search_path };
        if let Some(known) = self.entries.get(&look_up) {
            return known;
        }
        let reading = read(text, context);
        let analysis = Arc::new(reading.analysis);
        if !reading.session_dependent && text.len() <= TEXT_BYTES_MAX {
            self.entries.insert(look_up.to_key(), Arc::clone(&analysis));
        }
        analysis
    }

    /// How many analyses it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl std::fmt::Debug for AnalysisCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnalysisCache").field("entries", &self.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    text: Box<str>,
    catalog_version: u64,
    search_path: Box<[String]>,
}

struct LookUp<'a> {
    text: &'a str,
    catalog_version: u64,
    search_path: &'a [String],
}

impl LookUp<'_> {
    fn to_key(&self) -> Key {
        Key { text: self.text.into(), catalog_version: self.catalog_version, search_path: self.search_path.into() }
    }
}

impl Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        LookUp { text: &self.text, catalog_version: self.catalog_version, search_path: &self.search_path }.hash(state);
    }
}

impl Hash for LookUp<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.catalog_version.hash(state);
        self.search_path.hash(state);
    }
}

impl Equivalent<Key> for LookUp<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.text == *key.text && self.catalog_version == key.catalog_version && *self.search_path == *key.search_path
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Analysis>> for ByBytes {
    fn weight(&self, key: &Key, analysis: &Arc<Analysis>) -> u64 {
        let relations: usize = analysis.statements.iter().map(|statement| statement.relations.len()).sum();
        key.text.len() as u64 + ENTRY_BYTES * (1 + analysis.statements.len() as u64) + RELATION_BYTES * relations as u64
    }
}
