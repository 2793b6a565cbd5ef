//! The texts of views and of the expressions of generated columns.
//!
//! Never waits for a lock longer than the side connection's `lock_timeout`. Invariant: what is kept from an earlier load
//! belongs to relations that came with the server, of which no catalog row has changed since.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_policy::catalog::Oid;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type as PgType;
use tokio_postgres::{Client, Row};

use super::load::{Probe, field};
use super::{CatalogError, queries};

/// How long definitions are asked for one by one when some relation is locked.
const DEFINITIONS_LIMIT: Duration = Duration::from_secs(2);
/// The first OID that is not for objects which come with the server.
const FIRST_USER_OID: Oid = 16_384;

/// Text of views (attribute number 0), generated columns and rules (-1, -2, …). One that could not be read, because a transaction that is
/// still open has locked its relation, is absent: the view then has no definition, the column an empty expression, the relation no rules.
pub(super) type Definitions = HashMap<(Oid, i16), String>;

/// Definitions of what came with the server: half of the work of a load, and hardly ever different.
#[derive(Default)]
pub(super) struct BuiltIn {
    /// The part of the probe that stands for them.
    stamp: Option<String>,
    definitions: Definitions,
}

/// Reads the definitions of these relations.
pub(super) async fn read(
    client: &Client,
    relations: &[Oid],
    probe: &Probe,
    known: &mut BuiltIn,
) -> Result<Definitions, CatalogError> {
    if known.stamp.is_some() && known.stamp == probe.built_in {
        let mut found = read_from(client, FIRST_USER_OID, relations).await?;
        found.extend(known.definitions.iter().map(|(key, text)| (*key, text.clone())));
        return Ok(found);
    }
    let found = read_from(client, 0, relations).await?;
    let built_in = |(oid, _): &(Oid, i16)| *oid < FIRST_USER_OID;
    // A replaced one may read differently as soon as what it reads is renamed.
    let is_whole =
        relations.iter().filter(|oid| **oid < FIRST_USER_OID).all(|oid| found.keys().any(|(found, _)| found == oid));
    if is_whole && !is_replaced(client).await? {
        let definitions =
            found.iter().filter(|(key, _)| built_in(key)).map(|(key, text)| (*key, text.clone())).collect();
        *known = BuiltIn { stamp: probe.built_in.clone(), definitions };
    }
    Ok(found)
}

async fn is_replaced(client: &Client) -> Result<bool, CatalogError> {
    let what = "definitions";
    let failed = |source| CatalogError::Query { what, source: Arc::new(source) };
    let rows = client.query_typed(queries::BUILT_IN_REPLACED, &[]).await.map_err(failed)?;
    rows.first().map_or(Ok(true), |row| field(row, 0, what))
}

/// Reads all definitions at once; when a lock is in the way, one relation after the other, leaving out those locked.
async fn read_from(client: &Client, first: Oid, relations: &[Oid]) -> Result<Definitions, CatalogError> {
    let what = "definitions";
    let mut found = Definitions::new();
    match client.query_typed(queries::DEFINITIONS, &[(&first, PgType::OID)]).await {
        Ok(rows) => collect_definitions(&rows, &mut found)?,
        Err(error) if is_transient(&error) => {
            let begin = Instant::now();
            for oid in relations.iter().filter(|oid| **oid >= first) {
                if begin.elapsed() > DEFINITIONS_LIMIT {
                    break;
                }
                match client.query_typed(queries::DEFINITIONS_OF, &[(oid, PgType::OID)]).await {
                    Ok(rows) => collect_definitions(&rows, &mut found)?,
                    Err(error) if is_transient(&error) => {}
                    Err(source) => return Err(CatalogError::Query { what, source: Arc::new(source) }),
                }
            }
        }
        Err(source) => return Err(CatalogError::Query { what, source: Arc::new(source) }),
    }
    Ok(found)
}

/// Errors of one object: it is locked, or was dropped since the snapshot. A dead connection has no SQLSTATE.
pub(super) fn is_transient(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| !code.code().starts_with("57P")) && error.code() != Some(&SqlState::QUERY_CANCELED)
}

fn collect_definitions(rows: &[Row], found: &mut Definitions) -> Result<(), CatalogError> {
    let what = "definitions";
    for row in rows {
        if let Some(text) = field::<Option<String>>(row, 2, what)? {
            found.insert((field(row, 0, what)?, field(row, 1, what)?), text);
        }
    }
    Ok(())
}
