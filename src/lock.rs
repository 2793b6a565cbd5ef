//! Locks on files that one process at a time may use.
//!
//! Never waits for long: a process that is just ending, or a child between its fork and its exec, holds a lock for a
//! moment longer than it needs it.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

/// How long a lock may stay taken before it counts as somebody's.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Locks the file for this process, for as long as it is open. Blocks for up to half a second.
///
/// # Errors
/// [`TryLockError::WouldBlock`] when somebody else keeps it, or the error of the system.
pub(crate) fn lock(file: &File) -> Result<(), TryLockError> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_had_once_and_again_after_it_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let first = open();
        lock(&first).unwrap();
        assert!(matches!(lock(&open()), Err(TryLockError::WouldBlock)));
        drop(first);
        lock(&open()).unwrap();
    }
}
