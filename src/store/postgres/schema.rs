//! Tables of the shared store and how older schemas become current ones.
//!
//! Never edits a migration that was released: a change is a new entry at the end, and one that proxies of the version
//! before can live with. Invariant: `schema_version` is the number of migrations that have been applied.

use super::connect::Conn;
use crate::store::StoreError;

/// Taken while the schema is made or changed, so that proxies that start together do not do it twice.
const LOCK: i64 = 0x636f_756e_7465_7273;

const MIGRATIONS: &[&str] = &["
CREATE TABLE countersign.nodes (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation  text        NOT NULL,
    lease_ms      bigint      NOT NULL,
    -- The lease has been kept up without a gap since then.
    since         timestamptz NOT NULL,
    lease_until   timestamptz NOT NULL,
    gone          boolean     NOT NULL DEFAULT false
);

CREATE TABLE countersign.requests (
    id          text   COLLATE \"C\" NOT NULL PRIMARY KEY,
    state       text   NOT NULL,
    version     bigint NOT NULL,
    requester   text   NOT NULL,
    database    text   NOT NULL,
    binding     bytea  NOT NULL,
    mode        text   NOT NULL,
    facts       text   NOT NULL,
    created_at  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    decided_at  bigint,
    outcome     text,
    -- Whose session waits for it or runs it.
    node        bigint,
    -- The groups of its demands, to be found by.
    reviewers   text[] NOT NULL
);
CREATE INDEX requests_open ON countersign.requests (expires_at) WHERE state IN ('PENDING', 'APPROVED');
CREATE INDEX requests_binding ON countersign.requests (binding) WHERE state IN ('PENDING', 'APPROVED') AND mode <> 'wait';
CREATE INDEX requests_state ON countersign.requests (state, id);
CREATE INDEX requests_requester ON countersign.requests (requester, id);
CREATE INDEX requests_database ON countersign.requests (database, id);
CREATE INDEX requests_reviewers ON countersign.requests USING gin (reviewers);
CREATE INDEX requests_node ON countersign.requests (node)
    WHERE node IS NOT NULL AND state IN ('PENDING', 'APPROVED', 'EXECUTING');

CREATE TABLE countersign.demands (
    request    text   COLLATE \"C\" NOT NULL REFERENCES countersign.requests (id),
    seq        bigint NOT NULL,
    grp        text   NOT NULL,
    approvals  bigint NOT NULL,
    PRIMARY KEY (request, seq)
);

CREATE TABLE countersign.votes (
    request  text    COLLATE \"C\" NOT NULL REFERENCES countersign.requests (id),
    seq      bigint  NOT NULL,
    person   text    NOT NULL,
    groups   text[]  NOT NULL,
    approve  boolean NOT NULL,
    reason   text,
    at       bigint  NOT NULL,
    surface  text    NOT NULL,
    PRIMARY KEY (request, seq)
);
CREATE UNIQUE INDEX votes_once ON countersign.votes (request, person, approve);

CREATE TABLE countersign.transitions (
    request     text   COLLATE \"C\" NOT NULL REFERENCES countersign.requests (id),
    seq         bigint NOT NULL,
    from_state  text,
    to_state    text   NOT NULL,
    person      text   NOT NULL,
    surface     text   NOT NULL,
    at          bigint NOT NULL,
    reason      text,
    PRIMARY KEY (request, seq)
);
", "
ALTER TABLE countersign.votes ADD COLUMN offer text, ADD COLUMN forced boolean NOT NULL DEFAULT false;
DROP INDEX countersign.votes_once;
CREATE UNIQUE INDEX votes_once ON countersign.votes (request, person, approve, forced);

CREATE TABLE countersign.grants (
    id          text   COLLATE \"C\" NOT NULL PRIMARY KEY,
    state       text   NOT NULL,
    version     bigint NOT NULL,
    grantee     text   NOT NULL,
    database    text   NOT NULL,
    expires_at  bigint NOT NULL,
    record      text   NOT NULL
);
CREATE INDEX grants_open ON countersign.grants (id) WHERE state IN ('REQUESTED', 'ACTIVE');
", "
-- Who has approved one text may approve another.
ALTER TABLE countersign.votes ADD COLUMN edited text;
DROP INDEX countersign.votes_once;
"];

/// Brings the schema up to date, all of it or nothing. Others who do the same wait for one another.
pub(super) async fn migrate(conn: &mut Conn) -> Result<(), StoreError> {
    let transaction = conn.client_mut().transaction().await?;
    transaction.batch_execute("SET LOCAL statement_timeout = '10min'; SET LOCAL lock_timeout = '10min'").await?;
    transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let owner = transaction
        .query_opt(
            "SELECT pg_catalog.pg_has_role(current_user, nspowner, 'MEMBER') FROM pg_catalog.pg_namespace \
             WHERE nspname = 'countersign'",
            &[],
        )
        .await?;
    match owner.map(|row| row.try_get(0)).transpose()? {
        Some(true) => {}
        Some(false) => return Err(StoreError::Owner),
        None => transaction.batch_execute("CREATE SCHEMA countersign").await?,
    }
    transaction
        .batch_execute("CREATE TABLE IF NOT EXISTS countersign.schema_version (version bigint NOT NULL)")
        .await?;
    let row = transaction.query_one(VERSION, &[]).await?;
    let found = known(row.try_get(0)?)?;
    for migration in MIGRATIONS.get(found..).unwrap_or_default() {
        transaction.batch_execute(migration).await?;
    }
    let version = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    transaction.execute("DELETE FROM countersign.schema_version", &[]).await?;
    transaction.execute("INSERT INTO countersign.schema_version (version) VALUES ($1)", &[&version]).await?;
    Ok(transaction.commit().await?)
}

const VERSION: &str = "SELECT coalesce(max(version), 0) FROM countersign.schema_version";

/// Whether the schema is still one that this program knows: a newer proxy may have changed it.
pub(super) async fn check(conn: &Conn) -> Result<(), StoreError> {
    let row = conn.client().query_one(VERSION, &[]).await?;
    known(row.try_get(0)?).map(drop)
}

fn known(found: i64) -> Result<usize, StoreError> {
    let newest = MIGRATIONS.len();
    match usize::try_from(found) {
        Ok(found) if found <= newest => Ok(found),
        Ok(_) | Err(_) => Err(StoreError::Newer {
            found: u32::try_from(found).unwrap_or(u32::MAX),
            known: u32::try_from(newest).unwrap_or(u32::MAX),
        }),
    }
}

/// Statements that make a database as a program that knew only so many migrations left it.
#[cfg(test)]
pub(in crate::store) fn at_version(version: usize) -> String {
    format!(
        "CREATE SCHEMA countersign; CREATE TABLE countersign.schema_version (version bigint NOT NULL); \
         INSERT INTO countersign.schema_version VALUES ({version}); {}",
        MIGRATIONS[..version].concat()
    )
}
