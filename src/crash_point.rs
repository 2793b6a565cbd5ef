//! Places where a test kills the proxy, as a power cut would, or has its disk wait: between what is written down and what is
//! done.
//!
//! Never does anything in a release build, whatever the environment says. Invariant: a point is reached only after
//! everything before it has happened.

/// Around the decision about a request and its release, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// The store has a vote or a transition, and the trail does not tell of it.
    BeforeTold,
    /// Approved; nothing of the execution is written down.
    BeforeUse,
    /// EXECUTING in the store; the trail does not know yet.
    BeforeIntent,
    /// The intent is on stable storage.
    AfterIntent,
    /// The session may forward the statement and has not.
    BeforeForward,
    /// The upstream has it.
    AfterForward,
    /// Its rows are counted and within its limit; the end of their transaction has not been sent.
    BeforeCommit,
    /// The upstream has that, too.
    AfterCommit,
    /// How it ended is known and not written down.
    BeforeOutcome,
    /// The outcome is in the store.
    AfterOutcome,
}

/// Dies by SIGKILL if the environment variable `COUNTERSIGN_CRASH_AT` names this point. Only in debug builds.
#[cfg(debug_assertions)]
pub(crate) fn reach(point: CrashPoint) {
    static WANTED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("COUNTERSIGN_CRASH_AT").ok());
    if WANTED.as_deref() == Some(format!("{point:?}").as_str()) {
        // It does not come back from this.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Holds a write to disk up as long as there is a file of the name in `COUNTERSIGN_HOLD_DISK`. Only in debug builds.
#[cfg(debug_assertions)]
pub(crate) fn wait_for_disk() {
    static HELD_BY: std::sync::LazyLock<Option<std::path::PathBuf>> =
        std::sync::LazyLock::new(|| std::env::var_os("COUNTERSIGN_HOLD_DISK").map(Into::into));
    while HELD_BY.as_ref().is_some_and(|path| path.exists()) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn wait_for_disk() {}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_point: CrashPoint) {}
