//! How the tables of older versions become those of this one: numbered files, for either store.
//!
//! Never edits, renames or reorders a file that is on the list: a change of the tables is a new file at its end, with rows as
//! a program of that version wrote them in `tests/rows`. Invariant: the files of a list are numbered 1, 2, 3 …, and
//! `schema_version` in a store is the number of those that have been applied to it.
//!
//! Two changes made at the same time take the same number: whoever comes second renames its file, and nothing else. A file
//! for PostgreSQL must leave what proxies of the version before can live with: they go on while the first new one starts.

use super::StoreError;

/// One step from a version to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// The version it leads to.
    pub(super) version: u32,
    /// Its file, below `migrations`.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests look for files that are on no list"))]
    pub(super) file: &'static str,
    /// Statements.
    pub(super) text: &'static str,
}

macro_rules! migration {
    ($version:literal, $file:literal) => {
        Migration { version: $version, file: $file, text: include_str!(concat!("migrations/", $file)) }
    };
}

/// Of the embedded store.
pub(super) const SQLITE: &[Migration] = &[
    migration!(1, "sqlite/0001-requests.sql"),
    migration!(2, "sqlite/0002-grants.sql"),
    migration!(3, "sqlite/0003-lists.sql"),
    migration!(4, "sqlite/0004-edits.sql"),
    migration!(5, "sqlite/0005-cards.sql"),
    migration!(6, "sqlite/0006-limits.sql"),
    migration!(7, "sqlite/0007-callers.sql"),
    migration!(8, "sqlite/0008-told.sql"),
    migration!(9, "sqlite/0009-people.sql"),
    migration!(10, "sqlite/0010-grants-told.sql"),
    migration!(11, "sqlite/0011-passwords.sql"),
    migration!(12, "sqlite/0012-outbox.sql"),
    migration!(13, "sqlite/0013-undecided.sql"),
];

/// Of the shared store.
pub(super) const POSTGRES: &[Migration] = &[
    migration!(1, "postgres/0001-requests.sql"),
    migration!(2, "postgres/0002-grants.sql"),
    migration!(3, "postgres/0003-edits.sql"),
    migration!(4, "postgres/0004-cards.sql"),
    migration!(5, "postgres/0005-limits.sql"),
    migration!(6, "postgres/0006-callers.sql"),
    migration!(7, "postgres/0007-told.sql"),
    migration!(8, "postgres/0008-people.sql"),
    migration!(9, "postgres/0009-grants-told.sql"),
    migration!(10, "postgres/0010-passwords.sql"),
    migration!(11, "postgres/0011-outbox.sql"),
    migration!(12, "postgres/0012-anchors.sql"),
    migration!(13, "postgres/0013-undecided.sql"),
];

const _: () = assert!(is_numbered(SQLITE) && is_numbered(POSTGRES), "migrations are numbered 1, 2, 3 …");

const fn is_numbered(list: &[Migration]) -> bool {
    let mut index = 0;
    while index < list.len() {
        if list[index].version as usize != index + 1 {
            return false;
        }
        index += 1;
    }
    true
}

/// What is still to be done in a store that is at version `found`.
pub(super) fn after(list: &'static [Migration], found: i64) -> Result<&'static [Migration], StoreError> {
    let rest = usize::try_from(found).ok().and_then(|found| list.get(found..));
    rest.ok_or_else(|| StoreError::Newer {
        found: u32::try_from(found).unwrap_or(u32::MAX),
        known: u32::try_from(list.len()).unwrap_or(u32::MAX),
    })
}
