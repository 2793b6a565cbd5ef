//! Tables of the embedded store and how older files become current ones.
//!
//! Never edits a migration that was released: a change is a new entry at the end.
//! Invariant: `schema_version` is the number of migrations that have been applied.

use rusqlite::Connection;

use super::StoreError;

const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE requests (
    id          TEXT    NOT NULL PRIMARY KEY,
    state       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    requester   TEXT    NOT NULL,
    database    TEXT    NOT NULL,
    binding     BLOB    NOT NULL,
    mode        TEXT    NOT NULL,
    facts       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    decided_at  INTEGER,
    outcome     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_open ON requests (expires_at) WHERE state IN ('PENDING', 'APPROVED');
CREATE INDEX requests_binding ON requests (binding) WHERE state IN ('PENDING', 'APPROVED') AND mode <> 'wait';
CREATE INDEX requests_state ON requests (state, id);
CREATE INDEX requests_requester ON requests (requester, id);

CREATE TABLE demands (
    request    TEXT    NOT NULL REFERENCES requests (id),
    seq        INTEGER NOT NULL,
    grp        TEXT    NOT NULL,
    approvals  INTEGER NOT NULL,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE votes (
    request  TEXT    NOT NULL REFERENCES requests (id),
    seq      INTEGER NOT NULL,
    person   TEXT    NOT NULL,
    groups   TEXT    NOT NULL,
    approve  INTEGER NOT NULL,
    reason   TEXT,
    at       INTEGER NOT NULL,
    surface  TEXT    NOT NULL,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX votes_once ON votes (request, person, approve);

CREATE TABLE transitions (
    request     TEXT    NOT NULL REFERENCES requests (id),
    seq         INTEGER NOT NULL,
    from_state  TEXT,
    to_state    TEXT    NOT NULL,
    person      TEXT    NOT NULL,
    surface     TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    reason      TEXT,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;
",
    "
ALTER TABLE votes ADD COLUMN offer TEXT;
ALTER TABLE votes ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
DROP INDEX votes_once;
CREATE UNIQUE INDEX votes_once ON votes (request, person, approve, forced);

CREATE TABLE grants (
    id          TEXT    NOT NULL PRIMARY KEY,
    state       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    grantee     TEXT    NOT NULL,
    database    TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    record      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_open ON grants (expires_at) WHERE state IN ('REQUESTED', 'ACTIVE');
",
    "
ALTER TABLE demands ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE demands ADD COLUMN database TEXT NOT NULL DEFAULT '';
ALTER TABLE demands ADD COLUMN requester TEXT NOT NULL DEFAULT '';
UPDATE demands SET (state, database, requester) =
    (SELECT r.state, r.database, r.requester FROM requests r WHERE r.id = demands.request);
CREATE INDEX demands_state ON demands (grp, state, request, database, requester);
CREATE INDEX demands_group ON demands (grp, request, database, requester);
CREATE INDEX requests_database ON requests (database, id);
CREATE INDEX requests_database_state ON requests (database, state, id);
",
    "
-- Who has approved one text may approve another.
ALTER TABLE votes ADD COLUMN edited TEXT;
DROP INDEX votes_once;
",
];

/// Brings the schema up to date, all of it or nothing.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT")?;
    let found: u32 =
        transaction.query_row("SELECT coalesce(max(version), 0) FROM schema_version", [], |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for migration in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(migration)?;
    }
    transaction.execute("DELETE FROM schema_version", [])?;
    transaction.execute("INSERT INTO schema_version (version) VALUES (?1)", [known])?;
    Ok(transaction.commit()?)
}

/// Statements that make a file as a program that knew only so many migrations left it.
#[cfg(test)]
pub(super) fn at_version(version: usize) -> String {
    format!(
        "CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT; INSERT INTO schema_version VALUES ({version}); {}",
        MIGRATIONS[..version].concat()
    )
}
