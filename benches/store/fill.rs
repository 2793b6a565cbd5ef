//! Many requests, written past the store.
//!
//! Never writes what the store could not have written. Invariant: request `n` is the same in both stores; those up to the
//! number wait for votes, as many more have run before.

use std::path::Path;

use countersign::throwaway::ThrowawayPostgres;

use crate::Outcome;

/// Groups: everything is for `dba`, one in a thousand also for `rare`. Ten databases, a hundred requesters.
const ROWS: &str = "
INSERT INTO requests (id, state, version, requester, database, binding, mode, facts, created_at, expires_at, decided_at, outcome{columns})
SELECT {id}, CASE WHEN n % 2 = 0 THEN 'PENDING' ELSE 'EXECUTED' END, 1, 'user' || ((n / 2) % 100), 'db' || ((n / 2) % 10),
    {binding}, 'resubmit',
    '{\"groups\":[\"engineering\"],\"client_address\":\"192.0.2.1:5000\",\"application\":\"psql\",\"statement\":\"UPDATE customers SET note = ''something that somebody wants to write'' WHERE id = 1\",\"parameters\":[],\"summary\":\"update on public.customers\",\"effects\":[\"update\"],\"rules\":[\"writes\"],\"messages\":[],\"in_transaction\":false}',
    1767323045000000, 4102444800000000, NULL, NULL{values}
FROM {numbers};
INSERT INTO demands (request, seq, grp, approvals{demand columns}) SELECT {id}, 1, 'dba', 1{demand values} FROM {numbers};
INSERT INTO demands (request, seq, grp, approvals{demand columns}) SELECT {id}, 2, 'rare', 1{demand values} FROM {numbers}
WHERE (n / 2) % 1000 = 7;
INSERT INTO transitions (request, seq, from_state, to_state, person, surface, at, reason)
SELECT {id}, 0, NULL, 'PENDING', 'user' || ((n / 2) % 100), 'wire', 1767323045000000, NULL FROM {numbers};
";

/// What the embedded store repeats of a request beside its demands.
const VALUES_REPEATED: &str = ", CASE WHEN n % 2 = 0 THEN 'PENDING' ELSE 'EXECUTED' END, 'db' || ((n / 2) % 10), \
    'user' || ((n / 2) % 100)";

/// Fills the file of an embedded store that is not open.
pub(crate) fn sqlite(data_dir: &Path, requests: u32) -> Outcome<()> {
    let numbers = format!(
        "(WITH RECURSIVE s (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {}) SELECT n FROM s)",
        2 * requests - 1
    );
    let text = ROWS
        .replace("{columns}", "")
        .replace("{demand columns}", ", state, database, requester")
        .replace("{demand values}", VALUES_REPEATED)
        .replace("{values}", "")
        .replace("{binding}", "CAST(printf('%032d', n) AS BLOB)")
        .replace("{id}", "printf('%026d', n)")
        .replace("{numbers}", &numbers);
    let connection = rusqlite::Connection::open(data_dir.join("countersign.db"))?;
    Ok(connection.execute_batch(&format!("BEGIN;{text}COMMIT"))?)
}

/// Fills a shared store.
pub(crate) async fn postgres(server: &ThrowawayPostgres, requests: u32) -> Outcome<()> {
    let text = ROWS
        .replace("{columns}", ", reviewers")
        .replace("{demand columns}", "")
        .replace("{demand values}", "")
        .replace("{values}", ", CASE WHEN (n / 2) % 1000 = 7 THEN '{dba,rare}'::text[] ELSE '{dba}' END")
        .replace("{binding}", "lpad(n::text, 32, '0')::bytea")
        .replace("{id}", "lpad(n::text, 26, '0')")
        .replace("{numbers}", &format!("generate_series(0, {}) n", 2 * requests - 1))
        .replace("INTO ", "INTO countersign.");
    server.execute("postgres", &text).await?;
    Ok(server.execute("postgres", "VACUUM ANALYZE").await?)
}
