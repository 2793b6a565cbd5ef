//! Pages of requests from the embedded store.
//!
//! Never reads rows that are not on the page: what a filter asks for is in an index, whichever parts of it are given.
//! Invariant: `demands` repeats state, database and requester of its request, so that what concerns a group is found there.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::facts::{JUSTIFICATION_REQUIRED, NOT_JUSTIFIED};
use super::rows::{self, COLUMNS};
use super::{Filter, PAGE_MAX, StoreError, Viewer, WAITING_MAX, WaitingOn};
use crate::review::AccessRequest;

/// A statement with its values, in the order of its marks.
#[derive(Default)]
struct Text {
    sql: String,
    values: Vec<Value>,
}

impl Text {
    fn push(&mut self, sql: &str, value: Option<Value>) {
        self.sql.push_str(sql);
        self.values.extend(value);
    }

    /// What the filter says of columns that both tables have; `id` is the column with the request's id. SQLite looks for
    /// no index for columns of `+r`.
    fn push_filter(&mut self, filter: &Filter, table: &str, id: &str) {
        let mut also = |column: &str, comparison: &str, value: Option<String>| {
            if let Some(value) = value {
                self.push(&format!(" AND {column} {comparison} ?"), Some(value.into()));
            }
        };
        also(&format!("{table}.state"), "=", filter.state.map(|state| state.as_str().to_owned()));
        also(&format!("{table}.database"), "=", filter.database.clone());
        also(&format!("{table}.requester"), "=", filter.user.clone());
        also(id, "<", filter.after.map(|after| after.to_string()));
    }

    fn push_page(&mut self, filter: &Filter, id: &str) {
        let limit = i64::from(filter.limit.clamp(1, PAGE_MAX));
        self.push(&format!(" ORDER BY {id} DESC LIMIT ?"), Some(limit.into()));
    }
}

/// One page, by id descending.
pub(super) fn list(connection: &Connection, filter: &Filter) -> Result<Vec<AccessRequest>, StoreError> {
    let mut text = Text::default();
    text.push(&format!("SELECT {COLUMNS} FROM requests r WHERE true"), None);
    match &filter.visible_to {
        None => text.push_filter(filter, "r", "r.id"),
        Some(viewer) => {
            // The newest of each way to see one; the newest of all are among them.
            text.push(" AND r.id IN (SELECT id FROM (SELECT r.id FROM requests r WHERE r.requester = ?", None);
            text.values.push(viewer.name.clone().into());
            text.push_filter(filter, "+r", "r.id");
            text.push_page(filter, "r.id");
            text.push(")", None);
            for (group, database) in viewer.ways() {
                text.push(" UNION SELECT request FROM (SELECT DISTINCT d.request FROM demands d WHERE d.grp = ?", None);
                text.values.push(group.to_owned().into());
                if let Some(database) = database {
                    text.push(" AND d.database = ?", Some(database.to_owned().into()));
                }
                text.push_filter(filter, "d", "d.request");
                text.push_page(filter, "d.request");
                text.push(")", None);
            }
            text.push(")", None);
        }
    }
    text.push_page(filter, "r.id");
    let mut query = connection.prepare_cached(&text.sql)?;
    let page: Vec<AccessRequest> =
        query.query_and_then(params_from_iter(text.values), rows::request_from)?.collect::<Result<_, _>>()?;
    page.into_iter().map(|request| rows::complete(connection, request)).collect()
}

/// What waits for the vote of a person, that with the least time left first.
pub(super) fn waiting_on(
    connection: &Connection,
    person: &Viewer,
    now: Timestamp,
    limit: u32,
) -> Result<WaitingOn, StoreError> {
    let mut text = Text::default();
    text.push(
        " FROM requests r WHERE r.id IN (SELECT d.request FROM demands d WHERE d.state = 'PENDING' AND (false",
        None,
    );
    for (group, database) in person.ways() {
        text.push(" OR d.grp = ?", Some(group.to_owned().into()));
        if let Some(database) = database {
            text.push(" AND d.database = ?", Some(database.to_owned().into()));
        }
    }
    text.push(")) AND +r.state = 'PENDING' AND r.requester <> ?", Some(person.name.clone().into()));
    text.push(" AND r.expires_at > ?", Some(now.as_microsecond().into()));
    // A vote counts for the text that it was cast for: the last that somebody changed, or the first.
    text.push(
        " AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.request = r.id AND v.approve AND v.seq >= \
         coalesce((SELECT max(e.seq) FROM votes e WHERE e.request = r.id AND e.edited IS NOT NULL), 0) AND v.person = ?)",
        Some(person.name.clone().into()),
    );
    text.push(
        " AND (r.justification IS NOT NULL OR instr(r.facts, ?) = 0",
        Some(JUSTIFICATION_REQUIRED.to_owned().into()),
    );
    text.push(" OR instr(r.facts, ?) = 0)", Some(NOT_JUSTIFIED.to_owned().into()));
    let count = format!("SELECT count(*) FROM (SELECT 1{} LIMIT {WAITING_MAX})", text.sql);
    let count = connection.prepare_cached(&count)?.query_row(params_from_iter(&text.values), |row| row.get(0))?;
    if limit == 0 || count == 0 {
        return Ok(WaitingOn { count, first: Vec::new() });
    }
    let sql = format!("SELECT {COLUMNS}{} ORDER BY r.expires_at, r.id LIMIT {}", text.sql, limit.min(PAGE_MAX));
    let mut query = connection.prepare_cached(&sql)?;
    let first: Vec<AccessRequest> =
        query.query_and_then(params_from_iter(&text.values), rows::request_from)?.collect::<Result<_, _>>()?;
    let first = first.into_iter().map(|request| rows::complete(connection, request)).collect::<Result<_, _>>()?;
    Ok(WaitingOn { count, first })
}
