//! The tables of the embedded store, brought up to date.
//!
//! Never leaves a file between two versions. Invariant: what is opened has the tables that this program knows.

use rusqlite::Connection;

use super::StoreError;
use super::migrations::{self, SQLITE};

/// Brings the schema up to date, all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT")?;
    let found = transaction.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    let pending = migrations::after(SQLITE, found)?;
    for migration in pending {
        transaction.execute_batch(migration.text)?;
    }
    if let Some(last) = pending.last() {
        transaction.execute("DELETE FROM schema_version", [])?;
        transaction.execute("INSERT INTO schema_version (version) VALUES (?1)", [last.version])?;
    }
    Ok(transaction.commit()?)
}
