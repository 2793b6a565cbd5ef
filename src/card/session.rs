//! The open transaction of a session, seen from a side connection: how long, what it has locked, whom it blocks.
//!
//! Never tells what others execute: their statements are not read. Invariant: a backend that cannot be found is no
//! transaction without locks, but a piece that is missing.

use jiff::Timestamp;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::{Blocked, Lock, Piece, Transaction};

/// Locks, and waiting sessions, that are shown at most.
const SHOWN_MAX: i64 = 50;

/// What a lock is on, in words.
macro_rules! on {
    ($lock:literal) => {
        concat!(
            "CASE WHEN c.oid IS NOT NULL THEN n.nspname || '.' || c.relname \
             WHEN ",
            $lock,
            ".locktype IN ('transactionid', 'tuple') THEN 'a row' ELSE ",
            $lock,
            ".locktype END"
        )
    };
}

/// The relation of a lock, if it is one of this database.
macro_rules! relation {
    ($lock:literal) => {
        concat!(
            " LEFT JOIN pg_catalog.pg_class c ON c.oid = ",
            $lock,
            ".relation AND ",
            $lock,
            ".database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) \
             LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        )
    };
}

/// Backend `$1`: when its transaction began, and whether it has written.
const BACKEND: &str = "SELECT (extract(epoch FROM a.xact_start) * 1000000)::pg_catalog.int8, \
     a.backend_xid IS NOT NULL FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1";

/// What backend `$1` has locked of relations with rows and of advisory locks, `$2` at most.
const LOCKS: &str = concat!(
    "SELECT DISTINCT ",
    on!("l"),
    " AS what, l.mode FROM pg_catalog.pg_locks l",
    relation!("l"),
    " WHERE l.pid = $1 AND l.granted AND (l.locktype = 'advisory' OR c.relkind IN ('r', 'p', 'm', 'f', 'S', 'v') \
     AND n.nspname NOT IN ('pg_catalog', 'pg_toast')) ORDER BY 1, 2 LIMIT $2"
);

/// Who waits for backend `$1`, `$2` at most.
const BLOCKED: &str = concat!(
    "SELECT a.pid, COALESCE(a.usename, '')::pg_catalog.text, COALESCE(a.application_name, ''), ",
    on!("w"),
    ", pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp() \
     - (pg_catalog.to_jsonb(w) ->> 'waitstart')::pg_catalog.timestamptz))::pg_catalog.int8 \
     FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid",
    relation!("w"),
    " WHERE NOT w.granted AND $1 = ANY (pg_catalog.pg_blocking_pids(w.pid)) ORDER BY a.pid LIMIT $2"
);

/// The transaction of that backend.
pub(super) async fn transaction(client: &Client, backend: i32) -> Piece<Transaction> {
    match ask(client, backend).await {
        Ok(Some(transaction)) => Piece::Shown(transaction),
        Ok(None) => Piece::missing("the upstream has no session of that process id"),
        Err(_error) => Piece::missing("the upstream did not tell what its sessions do"),
    }
}

async fn ask(client: &Client, backend: i32) -> Result<Option<Transaction>, Error> {
    let found = client.query_typed(BACKEND, &[(&backend, Type::INT4)]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let since: Option<i64> = row.try_get(0)?;
    let has_written = row.try_get(1)?;
    let limited: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&backend, Type::INT4), (&SHOWN_MAX, Type::INT8)];
    let locks = client.query_typed(LOCKS, &limited).await?;
    let locks = locks.iter().map(|row| Ok(Lock { on: row.try_get(0)?, mode: row.try_get(1)? }));
    let blocked = client.query_typed(BLOCKED, &limited).await?;
    Ok(Some(Transaction {
        open: true,
        since: since.and_then(|since| Timestamp::from_microsecond(since).ok()),
        has_written,
        locks: locks.collect::<Result<_, Error>>()?,
        blocked: blocked.iter().map(blocked_from).collect::<Result<_, Error>>()?,
    }))
}

fn blocked_from(row: &Row) -> Result<Blocked, Error> {
    let seconds: Option<i64> = row.try_get(4)?;
    Ok(Blocked {
        pid: row.try_get(0)?,
        role: row.try_get(1)?,
        application: row.try_get(2)?,
        waits_for: row.try_get(3)?,
        seconds: seconds.and_then(|seconds| u64::try_from(seconds).ok()),
    })
}
