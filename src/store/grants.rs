//! Grants in the embedded store.
//!
//! Never merges two changes. Invariant: a grant is replaced only at the version it was read at, and as the state table says.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{GrantFilter, PAGE_MAX, StoreError, check_grant, facts, told};
use crate::review::{GrantId, GrantRecord};

pub(super) fn insert(connection: &Connection, grant: &GrantRecord) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO grants (id, state, version, grantee, database, expires_at, record) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        grant.id.to_string(),
        grant.state.as_str(),
        grant.version,
        grant.user,
        grant.database,
        grant.expires_at.as_microsecond(),
        facts::encode_grant(grant)?,
    ])?;
    told::must_tell(connection, None, grant)
}

pub(super) fn get(connection: &Connection, id: GrantId) -> Result<Option<GrantRecord>, StoreError> {
    let mut query = connection.prepare_cached("SELECT record FROM grants WHERE id = ?1")?;
    query.query_row([id.to_string()], |row| Ok(decode(row))).optional()?.transpose()
}

pub(super) fn list(connection: &Connection, filter: &GrantFilter) -> Result<Vec<GrantRecord>, StoreError> {
    let mut sql = "SELECT record FROM grants WHERE true".to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut also = |clause: &str, value: Option<String>| {
        sql.push_str(" AND ");
        sql.push_str(clause);
        values.extend(value.map(Value::from));
    };
    if filter.open {
        also("state IN ('REQUESTED', 'ACTIVE')", None);
    }
    if let Some(state) = filter.state {
        also("state = ?", Some(state.as_str().to_owned()));
    }
    if let Some(database) = &filter.database {
        also("database = ?", Some(database.clone()));
    }
    if let Some(user) = &filter.user {
        also("grantee = ?", Some(user.clone()));
    }
    if let Some(after) = filter.after {
        also("id < ?", Some(after.to_string()));
    }
    sql.push_str(" ORDER BY id DESC LIMIT ?");
    values.push(i64::from(filter.limit.clamp(1, PAGE_MAX)).into());
    let mut query = connection.prepare_cached(&sql)?;
    query.query_and_then(params_from_iter(values), decode)?.collect()
}

pub(super) fn replace(connection: &Connection, next: &GrantRecord) -> Result<bool, StoreError> {
    let Some(found) = get(connection, next.id)? else { return Ok(false) };
    if found.version.checked_add(1) != Some(next.version) {
        return Ok(false);
    }
    check_grant(found.state, next.state)?;
    connection
        .prepare_cached("UPDATE grants SET state = ?2, version = ?3, expires_at = ?4, record = ?5 WHERE id = ?1")?
        .execute(params![
            next.id.to_string(),
            next.state.as_str(),
            next.version,
            next.expires_at.as_microsecond(),
            facts::encode_grant(next)?,
        ])?;
    told::must_tell(connection, Some(&found), next)?;
    Ok(true)
}

fn decode(row: &Row<'_>) -> Result<GrantRecord, StoreError> {
    facts::grant_from(row.get_ref(0)?.as_str().map_err(|_type| StoreError::Invalid("grant"))?)
}
