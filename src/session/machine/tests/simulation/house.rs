//! What of the proxy outlives its sessions: store, audit trail, review; and what a crash leaves of it.
//!
//! Never looks at a clock. Invariant: after a crash only what stands in the files is left.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::audit::{Audit, Known, verify};
use crate::config::Config;
use crate::review::fixture::copy_as_killed;
use crate::review::{RequestId, Review, ReviewError};
use crate::store::SqliteStore;

/// See the module documentation.
pub struct House {
    pub review: Arc<Review>,
    pub audit: Arc<Audit>,
    pub config: Arc<ArcSwap<Config>>,
    dir: TempDir,
    runtime: Runtime,
}

fn empty_dir() -> TempDir {
    // A file system in memory makes a simulated year short; any other will do.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl House {
    pub fn new(config: Config, now: Timestamp) -> Self {
        Self::open(empty_dir(), Arc::new(ArcSwap::from_pointee(config)), now)
    }

    fn open(dir: TempDir, config: Arc<ArcSwap<Config>>, now: Timestamp) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let audit = Arc::new(Audit::open(&dir.path().join("audit"), now).unwrap());
        let store = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let review = Review::new(store, Arc::clone(&audit), Arc::clone(&config));
        runtime.block_on(review.recover(now)).unwrap();
        Self { review, audit, config, dir, runtime }
    }

    /// Waits for what does not wait for the simulated world.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits for what may fail only when the disk is full.
    pub fn must<T>(&self, future: impl Future<Output = Result<T, ReviewError>>) -> Option<T> {
        match self.wait(future) {
            Ok(done) => Some(done),
            Err(error) => {
                assert!(self.is_disk_full(), "{error}");
                None
            }
        }
    }

    /// From now on nothing can be recorded.
    pub fn fill_disk(&self) {
        self.audit.fail();
    }

    pub fn is_disk_full(&self) -> bool {
        self.audit.health().is_err()
    }

    /// SIGKILL, and a new start with what the files hold.
    pub fn crash(self, now: Timestamp) -> Self {
        let (dir, config) = (empty_dir(), Arc::clone(&self.config));
        copy_as_killed(self.dir.path(), dir.path());
        drop(self);
        Self::open(dir, config, now)
    }

    /// An orderly end, and a new start.
    pub fn restart(self, now: Timestamp) -> Self {
        let Self { review, audit, config, dir, runtime } = self;
        drop((review, audit, runtime));
        Self::open(dir, config, now)
    }

    /// Ends it, verifies the trail, and yields the requests with an intent in it.
    pub fn intents(self) -> HashSet<String> {
        let Self { review, audit, dir, .. } = self;
        drop((review, audit));
        let trail = dir.path().join("audit");
        let report = verify(&trail, Known::default()).unwrap();
        assert!(report.is_intact(), "the audit trail is damaged: {report:?}");
        let mut intents = HashSet::new();
        for line in crate::audit::lines(&trail) {
            let record: serde_json::Value = serde_json::from_str(&line).unwrap();
            let is_intent = record["kind"] == "intent";
            intents.extend(record["request"].as_str().filter(|_| is_intent).map(str::to_owned));
        }
        intents
    }
}

/// How the trail writes the id of a request.
pub fn written(id: RequestId) -> String {
    id.to_string()
}
