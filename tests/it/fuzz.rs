//! The committed corpus of every fuzz target, fed to the function that `scripts/fuzz` feeds.
//!
//! Never searches for new inputs. Invariant: what a fuzzer once found stays found.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Feeds every file of the target's corpus to it.
#[track_caller]
fn check(target: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut fed = 0;
    for entry in entries.flatten() {
        let input = fs::read(entry.path()).expect("input");
        let outcome = std::panic::catch_unwind(|| run(&input));
        assert!(outcome.is_ok(), "{target} fails with {}", entry.path().display());
        fed += 1;
    }
    assert!(fed > 0, "{} is empty", directory.display());
}

#[test]
fn backend_messages() {
    check("backend", targets::backend::run);
}

#[test]
fn configurations() {
    check("config", targets::config::run);
}

#[test]
fn frontend_messages() {
    check("frontend", targets::frontend::run);
}

#[test]
fn rows() {
    check("row", targets::row::run);
}

#[test]
fn sessions() {
    check("session", targets::session::run);
}

#[test]
fn startup_packets() {
    check("startup", targets::startup::run);
}

#[test]
fn statements() {
    check("statement", targets::statement::run);
}
