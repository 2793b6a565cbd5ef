//! Looking whether the upstream still has the definitions that an analysis rests on.
//!
//! Never loads them; [`super::CatalogService`] does. Invariant: a look shows everything that was committed before it was
//! asked for, and what it cannot tell it does not call the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_policy::analysis::{Footing, Found};
use countersign_policy::catalog::{Oid, Stamp};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Statement};
use tokio_rustls::TlsConnector;

use super::load::field;
use super::side::Side;
use super::{CatalogError, CatalogOptions, queries};
use crate::config::UpstreamConfig;

/// How long a look may take, connecting included.
const LOOK_WAIT: Duration = Duration::from_secs(5);
const WHAT: &str = "definitions";

/// Looks at one database; all sessions share its connection.
pub(crate) struct Looker {
    upstream: UpstreamConfig,
    tls: Option<TlsConnector>,
    ready: Mutex<Option<Arc<Ready>>>,
}

/// A connection with the question prepared.
struct Ready {
    side: Side,
    question: Statement,
}

impl Looker {
    /// One that connects when it is first asked.
    pub(crate) fn new(upstream: UpstreamConfig, tls: Option<TlsConnector>) -> Self {
        Self { upstream, tls, ready: Mutex::default() }
    }

    /// Whether the upstream has all of these definitions now.
    ///
    /// # Errors
    /// When that could not be found out in time.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing but the answer is lost.
    pub(crate) async fn bears(&self, footings: &[Arc<Footing>]) -> Result<bool, CatalogError> {
        timeout(LOOK_WAIT, self.ask(footings)).await.map_err(|_| CatalogError::Timeout)?
    }

    async fn ask(&self, footings: &[Arc<Footing>]) -> Result<bool, CatalogError> {
        let ready = self.ready().await?;
        let found = match ready.look(footings).await {
            // It was closed since it was last used: another one may do.
            Err(_) if ready.side.is_closed() => self.ready().await?.look(footings).await?,
            found => found?,
        };
        Ok(footings.iter().all(|footing| footing.holds(&found)))
    }

    async fn ready(&self) -> Result<Arc<Ready>, CatalogError> {
        let mut ready = self.ready.lock().await;
        if let Some(ready) = ready.as_ref().filter(|ready| !ready.side.is_closed()) {
            return Ok(Arc::clone(ready));
        }
        let side = Side::connect(&self.upstream, self.tls.as_ref(), &CatalogOptions::default()).await?;
        let types = [Type::OID_ARRAY, Type::NAME_ARRAY, Type::NAME_ARRAY, Type::NAME_ARRAY];
        let failed = |source| CatalogError::Query { what: WHAT, source: Arc::new(source) };
        // Planning it costs more than running it.
        side.client().batch_execute("SET plan_cache_mode = force_generic_plan").await.map_err(failed)?;
        let question = side.client().prepare_typed(&queries::look(), &types).await.map_err(failed)?;
        let made = Arc::new(Ready { side, question });
        *ready = Some(Arc::clone(&made));
        Ok(made)
    }
}

impl Ready {
    async fn look(&self, footings: &[Arc<Footing>]) -> Result<Found, CatalogError> {
        let relations: BTreeSet<Oid> = footings.iter().flat_map(|footing| footing.relations()).collect();
        let mut schemas = BTreeSet::new();
        let mut names = |found: &mut dyn Iterator<Item = (&'_ str, &'_ str)>| -> Vec<String> {
            let names: BTreeSet<String> = found
                .map(|(schema, name)| {
                    schemas.insert(schema.to_owned());
                    name.to_owned()
                })
                .collect();
            names.into_iter().collect()
        };
        let tables = names(&mut footings.iter().flat_map(|footing| footing.relation_names()));
        let functions = names(&mut footings.iter().flat_map(|footing| footing.function_names()));
        let relations: Vec<Oid> = relations.into_iter().collect();
        let schemas: Vec<String> = schemas.into_iter().collect();
        let rows = self.side.client().query(&self.question, &[&relations, &tables, &functions, &schemas]).await;
        found(&rows.map_err(|source| CatalogError::Query { what: WHAT, source: Arc::new(source) })?)
    }
}

fn found(rows: &[Row]) -> Result<Found, CatalogError> {
    let mut found = Found::default();
    for row in rows {
        let (oid, value): (Oid, &str) = (field(row, 3, WHAT)?, field(row, 4, WHAT)?);
        let name = || Ok::<_, CatalogError>((field(row, 1, WHAT)?, field(row, 2, WHAT)?));
        match field::<&str>(row, 0, WHAT)? {
            "s" => drop(found.relations.insert(oid, stamp(value)?)),
            "n" => drop(found.names.insert(name()?, oid)),
            "f" => found.functions.entry(name()?).or_default().push((oid, revision(value)?)),
            _ => return Err(CatalogError::Unexpected { what: "kind" }),
        }
    }
    Ok(found)
}

/// A stamp as the server prints the sum.
pub(super) fn stamp(sum: &str) -> Result<Stamp, CatalogError> {
    sum.parse().map_err(|_| CatalogError::Unexpected { what: "stamp" })
}

/// An `xmin` as the server prints it.
pub(super) fn revision(xmin: &str) -> Result<u32, CatalogError> {
    xmin.parse().map_err(|_| CatalogError::Unexpected { what: "xmin" })
}
