//! Analyses that were made before, by exact text and by shape.
//!
//! Never keeps what depends on one session: its prepared statements, cursors and uncommitted relations, and what lies in
//! other sessions' temporary schemas. Invariant: **a look-up yields what [`super::analyze`] would**, for the same catalog
//! and search path. The hash is keyed, and keys are compared in full.
//!
//! By exact text that needs no argument. By [`shape`] it rests on four statements, each of which the tests try to
//! refute with texts and mutants of real clients:
//!
//! 1. *One shape, one parse tree but for the values of constants*: [`shape`] says why.
//! 2. *An analysis that is shared did not look at a constant.* They are opened in one place, [`super::constant`], which
//!    notes it; an analysis that opened one is kept by exact text only.
//! 3. *What is not a constant in the tree is not shared.* Statements of other kinds than SELECT, INSERT, UPDATE, DELETE,
//!    MERGE and plain transaction control have literals in names, options and bodies; nothing of a text with such a
//!    statement is shared, nor of one that is not understood.
//! 4. *An analysis holds nothing of the text but names*, and what is read from the text itself is not in it: `text` rules
//!    and the binding of an approval always see the exact statement.
//!
//! The second reader objects on misses only. Its objection makes a text not understood, which is not shared. That it
//! would have objected to another text of the shape is no danger, because it guards against errors of the extractor, which
//! has read both texts alike; and it would need a literal that ends elsewhere for it than for PostgreSQL, since it objects
//! to statements, which begin with keywords. Literals with which that is known to happen have no shape.

use std::cell::Cell;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, Weighter};

use super::walker::{BRIEF_BUDGET, BUDGET};
use super::{Analysis, AnalysisContext, Reach, Reading, read, shape};

/// Bytes that an entry is taken to cost besides its text.
const ENTRY_BYTES: u64 = 1_024;
/// Bytes that a relation in it is taken to cost: a partitioned table brings its partitions along.
const RELATION_BYTES: u64 = 384;
/// Longest text that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// Room for one shape, so that a hit allocates nothing. It stays as small as [`shape::TEXT_BYTES_MAX`].
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A bounded cache of analyses, shared by all sessions of one upstream database.
pub struct AnalysisCache {
    entries: Cache<Key, Arc<Analysis>, ByBytes, DefaultHashBuilder, DefaultLifecycle<Key, Arc<Analysis>>>,
}

impl AnalysisCache {
    /// An empty cache for about so many entries, and at most so many bytes of texts and analyses.
    #[must_use]
    pub fn new(entries: usize, bytes: u64) -> Self {
        let entries = Cache::with(entries, bytes, ByBytes, DefaultHashBuilder::new(), DefaultLifecycle::default());
        Self { entries }
    }

    /// The analysis of the text, from the cache or made now.
    #[must_use]
    pub fn analyze(&self, text: &str, context: &AnalysisContext<'_>) -> Arc<Analysis> {
        let Ok(analysis) = self.look_up(text, context, || Ok::<_, Infallible>(read(text, context, BUDGET)));
        analysis
    }

    /// The same, where it takes no more than a brief look; `None` where it takes longer than others should have to wait.
    #[must_use]
    pub fn analyze_briefly(&self, text: &str, context: &AnalysisContext<'_>) -> Option<Arc<Analysis>> {
        let briefly = || Some(read(text, context, BRIEF_BUDGET)).filter(|reading| reading.is_whole).ok_or(());
        self.look_up(text, context, briefly).ok()
    }

    fn look_up<E>(
        &self,
        text: &str,
        context: &AnalysisContext<'_>,
        read: impl FnOnce() -> Result<Reading, E>,
    ) -> Result<Arc<Analysis>, E> {
        let place = Place {
            catalog_version: context.catalog.version_for(context.search_path),
            search_path: context.search_path,
        };
        let exact = LookUp { kind: Kind::Text, bytes: text.as_bytes(), place };
        if let Some(known) = self.entries.get(&exact) {
            return Ok(known);
        }
        let mut scratch = SCRATCH.take();
        let seen = shape::scan(text, &mut scratch);
        let by_shape = LookUp { kind: Kind::Shape, bytes: &scratch, place };
        let analysis = match seen.and_then(|_| self.entries.get(&by_shape)) {
            Some(known) => Ok(known),
            None => read().map(|reading| self.keep(reading, &exact, seen.map(|seen| (by_shape, seen)))),
        };
        SCRATCH.set(scratch);
        analysis
    }

    fn keep(&self, reading: Reading, exact: &LookUp<'_>, shape: Option<(LookUp<'_>, shape::Seen)>) -> Arc<Analysis> {
        let analysis = Arc::new(reading.analysis);
        let mut by_text = exact.bytes.len() <= TEXT_BYTES_MAX;
        match (reading.holds_for, shape) {
            (Reach::Session, _) => by_text = false,
            (Reach::Shape, Some((shape, seen))) => {
                self.entries.insert(shape.to_key(), Arc::clone(&analysis));
                // A text with literals may never come again; one without is found faster by itself.
                by_text &= !seen.literals;
            }
            (Reach::Shape, None) | (Reach::Text, _) => {}
        }
        if by_text {
            self.entries.insert(exact.to_key(), Arc::clone(&analysis));
        }
        analysis
    }

    /// How many analyses it holds; one that is held by text and by shape counts twice.
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

/// What the bytes of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Text,
    Shape,
}

/// Under what a text is read.
#[derive(Clone, Copy)]
struct Place<'a> {
    catalog_version: u64,
    search_path: &'a [String],
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    kind: Kind,
    bytes: Box<[u8]>,
    catalog_version: u64,
    search_path: Box<[String]>,
}

#[derive(Clone, Copy)]
struct LookUp<'a> {
    kind: Kind,
    bytes: &'a [u8],
    place: Place<'a>,
}

impl LookUp<'_> {
    fn to_key(self) -> Key {
        Key {
            kind: self.kind,
            bytes: self.bytes.into(),
            catalog_version: self.place.catalog_version,
            search_path: self.place.search_path.into(),
        }
    }
}

impl Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let place = Place { catalog_version: self.catalog_version, search_path: &self.search_path };
        LookUp { kind: self.kind, bytes: &self.bytes, place }.hash(state);
    }
}

impl Hash for LookUp<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        // Few and plain writes: this is most of what a hit costs. What collides is told apart by comparing.
        state.write(self.bytes);
        state.write_u64(self.place.catalog_version);
        self.kind.hash(state);
        self.place.search_path.iter().for_each(|schema| state.write(schema.as_bytes()));
    }
}

impl Equivalent<Key> for LookUp<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.kind == key.kind
            && *self.bytes == *key.bytes
            && self.place.catalog_version == key.catalog_version
            && *self.place.search_path == *key.search_path
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Analysis>> for ByBytes {
    fn weight(&self, key: &Key, analysis: &Arc<Analysis>) -> u64 {
        let relations: usize = analysis.statements.iter().map(|statement| statement.relations.len()).sum();
        key.bytes.len() as u64
            + ENTRY_BYTES * (1 + analysis.statements.len() as u64)
            + RELATION_BYTES * relations as u64
    }
}
