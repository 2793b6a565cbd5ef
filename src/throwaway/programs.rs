//! Where PostgreSQL's server programs are.
//!
//! Never installs or downloads anything. Invariant: both programs come from one directory, so from one version.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version we support.
const VERSION_MIN: u32 = 13;

/// Directories that hold one installation per version, with the path from the version's directory to its programs.
const VERSIONED: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// `initdb` and `postgres` of one installation.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    pub(super) version: u32,
}

impl Programs {
    /// The first installation of a supported version: on PATH, as `pg_config` says, then the newest in the usual places.
    pub(super) fn find() -> Option<Self> {
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let usual = VERSIONED.iter().flat_map(|(base, prefix, rest)| versioned(Path::new(base), prefix, rest));
        on_path.into_iter().chain(configured()).chain(usual).find_map(|directory| Self::in_directory(&directory))
    }

    fn in_directory(directory: &Path) -> Option<Self> {
        let initdb = directory.join("initdb");
        let postgres = directory.join("postgres");
        if !(initdb.is_file() && postgres.is_file()) {
            return None;
        }
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let version = major_version(&String::from_utf8_lossy(&output.stdout))?;
        (version >= VERSION_MIN).then_some(Self { initdb, postgres, version })
    }
}

/// The directory that `pg_config` names, if there is a `pg_config`.
fn configured() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
}

/// `base/PREFIX<version>/rest` for each version there is, newest first.
fn versioned(base: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(rest)))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

/// `postgres (PostgreSQL) 15.20 (Debian …)` → 15; also `17beta1` and `18devel`.
fn major_version(text: &str) -> Option<u32> {
    let word = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    word.split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u32>) {
        assert_eq!(major_version(text), expected, "{text}");
    }

    #[test]
    fn reads_the_major_version() {
        check("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", Some(15));
        check("postgres (PostgreSQL) 18beta2\n", Some(18));
        check("postgres (PostgreSQL) 9.6.24\n", Some(9));
        check("postgres (PostgreSQL)\n", None);
        check("", None);
    }

    #[test]
    fn lists_newest_version_first_and_skips_other_names() {
        let base = tempfile::tempdir().expect("temporary directory");
        for name in ["13", "9.6", "17", "common"] {
            fs::create_dir(base.path().join(name)).expect("directory");
        }
        let expected: Vec<_> = ["17/bin", "13/bin"].iter().map(|name| base.path().join(name)).collect();
        assert_eq!(versioned(base.path(), "", "bin"), expected);
    }
}
