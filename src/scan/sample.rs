//! Reading columns and samples from an upstream.
//!
//! Never writes, and never waits long: the session is read-only and has time limits for statements and locks. Invariant: a
//! value is looked at once, counted, and dropped.

use countersign_policy::mask::{Detected, detect_any, detect_whole};
use tokio_postgres::{Client, Row};

use super::{ColumnFacts, Sampled, TypeClass};
use crate::catalog::side::Side;
use crate::catalog::{CatalogError, CatalogOptions};
use crate::config::{SslMode, UpstreamConfig};
use crate::tls::{self, TlsError};

/// Longest piece of a value that is looked at, in characters.
const VALUE_CHARS: u32 = 512;
/// Tables with more rows than that are read in places chosen at random.
const ROWS_WHOLE_MAX: f64 = 20_000.0;

/// Why an upstream could not be scanned. Its text holds no value.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// TLS could not be set up.
    #[error("TLS for the upstream: {0}")]
    Tls(#[from] TlsError),
    /// It could not be reached, or does not let us in.
    #[error(transparent)]
    Connect(#[from] CatalogError),
    /// Its catalog could not be read.
    #[error("the catalog could not be read: {0}")]
    Catalog(tokio_postgres::Error),
}

/// A table and the columns that are worth looking at.
#[derive(Clone, Debug)]
pub struct Table {
    /// Schema, as stored.
    pub schema: String,
    /// Name, as stored.
    pub name: String,
    rows: f64,
    columns: Vec<(String, TypeClass)>,
}

/// A connection to an upstream that is looked through.
pub struct Scanner {
    side: Side,
    rows: u32,
}

const COLUMNS: &str = "\
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, a.attname::pg_catalog.text,
    c.reltuples::pg_catalog.float8, t.typcategory::pg_catalog.text, t.oid
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type own ON own.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = CASE own.typtype WHEN 'd' THEN own.typbasetype ELSE own.oid END
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND n.nspname <> 'information_schema'
    AND n.nspname !~ '^pg_' AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY 1, 2, a.attnum";

impl Scanner {
    /// Connects; at most `rows` rows of each table will be looked at.
    ///
    /// # Errors
    /// [`ScanError`].
    pub async fn connect(upstream: &UpstreamConfig, rows: u32) -> Result<Self, ScanError> {
        let connector = match upstream.ssl_mode {
            SslMode::Disable => None,
            SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
                Some(tls::connector(upstream)?)
            }
        };
        let side = Side::connect(upstream, connector.as_ref(), &CatalogOptions::default()).await?;
        Ok(Self { side, rows })
    }

    /// The tables that the role may read.
    ///
    /// # Errors
    /// When the catalog could not be read.
    pub async fn tables(&self) -> Result<Vec<Table>, ScanError> {
        let rows = self.client().query(COLUMNS, &[]).await.map_err(ScanError::Catalog)?;
        let mut tables: Vec<Table> = Vec::new();
        for row in &rows {
            let (schema, name, column): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let class = class_of(row.get::<_, &str>(4), row.get(5));
            match tables.last_mut().filter(|table| table.schema == schema && table.name == name) {
                Some(table) => table.columns.push((column, class)),
                None => tables.push(Table { schema, name, rows: row.get(3), columns: vec![(column, class)] }),
            }
        }
        Ok(tables)
    }

    /// The columns of a table, with what a sample of them shows where one can be taken in time.
    pub async fn columns(&self, table: &Table) -> Vec<ColumnFacts> {
        let texts: Vec<&str> = table
            .columns
            .iter()
            .filter(|(_, class)| *class == TypeClass::Text)
            .map(|(name, _)| name.as_str())
            .collect();
        let mut samples = self.sample(table, &texts).await.map(Vec::into_iter);
        let facts = |(name, class): &(String, TypeClass)| ColumnFacts {
            schema: table.schema.clone(),
            relation: table.name.clone(),
            name: name.clone(),
            class: *class,
            sampled: match class {
                TypeClass::Text => samples.as_mut().and_then(Iterator::next),
                TypeClass::Number | TypeClass::Date | TypeClass::Network | TypeClass::Other => None,
            },
        };
        table.columns.iter().map(facts).collect()
    }

    /// What the values of these columns are; `None` when they could not be read.
    async fn sample(&self, table: &Table, columns: &[&str]) -> Option<Vec<Sampled>> {
        if columns.is_empty() {
            return None;
        }
        let list: Vec<_> = columns.iter().map(|name| text_of(name)).collect();
        let from = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        let read = |sample: &str| format!("SELECT {} FROM {from}{sample} LIMIT {}", list.join(", "), self.rows);
        if table.rows > ROWS_WHOLE_MAX {
            let percent = (f64::from(self.rows) * 400.0 / table.rows).min(100.0);
            let sampled = self.count(&read(&format!(" TABLESAMPLE SYSTEM ({percent})")), columns.len()).await;
            if sampled.as_ref().is_some_and(|sampled| sampled.iter().any(|column| column.values > 0)) {
                return sampled;
            }
        }
        self.count(&read(""), columns.len()).await
    }

    async fn count(&self, query: &str, columns: usize) -> Option<Vec<Sampled>> {
        let rows = self.client().query(query, &[]).await.ok()?;
        Some((0..columns).map(|at| count(&rows, at)).collect())
    }

    fn client(&self) -> &Client {
        self.side.client()
    }
}

fn count(rows: &[Row], at: usize) -> Sampled {
    let mut sampled = Sampled::default();
    for row in rows {
        let Ok(Some(value)) = row.try_get::<_, Option<&str>>(at) else { continue };
        if value.trim().is_empty() {
            continue;
        }
        sampled.values += 1;
        if let Some(kind) = detect_whole(value) {
            add(&mut sampled.whole, kind);
        }
        sampled.holding += u32::from(detect_any(value).is_some());
    }
    sampled
}

fn add(counts: &mut Vec<(Detected, u32)>, kind: Detected) {
    match counts.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, count)) => *count += 1,
        None => counts.push((kind, 1)),
    }
}

fn text_of(column: &str) -> String {
    format!("pg_catalog.left({}::pg_catalog.text, {VALUE_CHARS})", quoted(column))
}

fn quoted(name: &str) -> String {
    postgres_protocol::escape::escape_identifier(name)
}

/// Category as `pg_type.typcategory` has it; json and xml are texts as well.
fn class_of(category: &str, type_oid: u32) -> TypeClass {
    match (category, type_oid) {
        ("S", _) | (_, 114 | 142 | 3802) => TypeClass::Text,
        ("N", _) => TypeClass::Number,
        ("D", _) => TypeClass::Date,
        ("I", _) => TypeClass::Network,
        _ => TypeClass::Other,
    }
}
