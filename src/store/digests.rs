//! Requests in few words, to be counted: rows of the embedded store.
//!
//! Never reads statements. Invariant: a page is one index scan, newest first.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::facts::{id_from, state_from, time_from};
use super::{Decided, Digest, DigestFilter, StoreError};

/// One page of digests.
pub(super) fn page(connection: &Connection, filter: &DigestFilter) -> Result<Vec<Digest>, StoreError> {
    // Unary plus: the order of the index is wanted, whatever the planner thinks of the other conditions.
    let mut text = "SELECT r.id, r.requester, r.database, r.created_at, r.shape, r.rules, t.to_state, t.person, t.at, \
         (SELECT json_group_array(d.grp) FROM demands d WHERE d.request = r.id) \
         FROM requests r INDEXED BY requests_counted \
         LEFT JOIN transitions t ON t.request = r.id AND +t.from_state = 'PENDING' WHERE r.id >= ?1 AND r.id < ?2"
        .to_owned();
    let (from, until) = filter.ids();
    let mut values = vec![Value::from(from), Value::from(until), Value::from(filter.limit)];
    if let Some(viewer) = &filter.visible_to {
        // The newest of each way to see one; the newest of all are among them.
        text.push_str(
            " AND r.id IN (SELECT id FROM (SELECT o.id FROM requests o WHERE o.requester = ?4 \
             AND o.id >= ?1 AND o.id < ?2 ORDER BY o.id DESC LIMIT ?3)",
        );
        values.push(Value::from(viewer.name.clone()));
        for (group, database) in viewer.ways() {
            text.push_str(" UNION SELECT request FROM (SELECT DISTINCT d.request FROM demands d WHERE d.grp = ?");
            values.push(Value::from(group.to_owned()));
            if let Some(database) = database {
                text.push_str(" AND d.database = ?");
                values.push(Value::from(database.to_owned()));
            }
            text.push_str(" AND d.request >= ?1 AND d.request < ?2 ORDER BY d.request DESC LIMIT ?3)");
        }
        text.push(')');
    }
    text.push_str(" ORDER BY r.id DESC LIMIT ?3");
    let mut query = connection.prepare_cached(&text)?;
    let rows = query.query_and_then(rusqlite::params_from_iter(values), digest_from)?;
    rows.collect()
}

fn digest_from(row: &Row<'_>) -> Result<Digest, StoreError> {
    let decided = match row.get::<_, Option<String>>(6)? {
        Some(to) => Some(Decided { to: state_from(&to)?, by: row.get(7)?, at: time_from(row.get(8)?)? }),
        None => None,
    };
    Ok(Digest {
        id: id_from(&row.get::<_, String>(0)?)?,
        requester: row.get(1)?,
        database: row.get(2)?,
        created_at: time_from(row.get(3)?)?,
        shape: row.get(4)?,
        rules: names(&row.get::<_, String>(5)?)?,
        groups: names(&row.get::<_, String>(9)?)?,
        decided,
    })
}

/// Names in a JSON array.
pub(super) fn names(json: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(json).map_err(|_error| StoreError::Invalid("request"))
}

impl DigestFilter {
    /// The ids that are meant: from the first up to but without the second. An id begins with its millisecond.
    pub(super) fn ids(&self) -> (String, String) {
        let first = |at: Timestamp| {
            // An id has 48 bits of it.
            let millisecond = u64::try_from(at.as_millisecond()).unwrap_or_default().min((1 << 48) - 1);
            ulid::Ulid::from_parts(millisecond, 0).to_string()
        };
        let until = self.before.map_or_else(|| first(self.until), |before| before.to_string());
        (first(self.from), until)
    }
}
