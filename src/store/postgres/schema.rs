//! The tables of the shared store, brought up to date.
//!
//! Never uses a schema that others could change. Invariant: of proxies that start together one changes the schema, all of
//! it or nothing, and the others wait.

use super::connect::Conn;
use crate::store::StoreError;
use crate::store::migrations::{self, POSTGRES};

/// Taken while the schema is made or changed, so that proxies that start together do not do it twice.
const LOCK: i64 = 0x636f_756e_7465_7273;

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
    let pending = migrations::after(POSTGRES, row.try_get(0)?)?;
    for migration in pending {
        transaction.batch_execute(migration.text).await?;
    }
    if let Some(last) = pending.last() {
        let version = i64::from(last.version);
        transaction.execute("DELETE FROM countersign.schema_version", &[]).await?;
        transaction.execute("INSERT INTO countersign.schema_version (version) VALUES ($1)", &[&version]).await?;
    }
    Ok(transaction.commit().await?)
}

const VERSION: &str = "SELECT coalesce(max(version), 0) FROM countersign.schema_version";

/// Whether the schema is still one that this program knows: a newer proxy may have changed it.
pub(super) async fn check(conn: &Conn) -> Result<(), StoreError> {
    let row = conn.client().query_one(VERSION, &[]).await?;
    migrations::after(POSTGRES, row.try_get(0)?).map(drop)
}
