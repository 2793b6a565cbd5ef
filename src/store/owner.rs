//! Who uses a data directory: one process at a time.
//!
//! Never waits for long. Invariant: the directory is ours for as long as the file that [`take`] returned is open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::StoreError;

/// Locked for as long as the data directory is used.
const LOCK: &str = "countersign.lock";

/// Makes the directory if there is none, and takes it for this process.
pub(super) fn take(data_dir: &Path) -> Result<File, StoreError> {
    let failed = |source: std::io::Error| StoreError::Open { path: data_dir.to_owned(), source: source.into() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed)?;
    let lock = private(&data_dir.join(LOCK)).map_err(failed)?;
    match crate::lock::lock(&lock) {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Opens or makes a file that only its owner may read.
pub(super) fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A name for this data directory that stays the same over restarts; kept in the file `node`.
pub(super) fn installation(data_dir: &Path) -> std::io::Result<String> {
    let mut file = private(&data_dir.join("node"))?;
    let mut name = String::new();
    file.read_to_string(&mut name)?;
    if name.trim().is_empty() {
        name = ulid::Ulid::from_bytes(rand::random()).to_string();
        file.write_all(name.as_bytes())?;
        file.sync_all()?;
    }
    Ok(name.trim().to_owned())
}

/// Whether another process, or another store of this one, uses the data directory.
#[must_use]
pub fn is_in_use(data_dir: &Path) -> bool {
    let lock = OpenOptions::new().read(true).open(data_dir.join(LOCK));
    // Whatever else is wrong with it is told when it is opened.
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
