//! Rows of [`super::queries::FUNCTIONS`], and bodies that only the server can print → [`Function`].
//!
//! Never believes a function whose body it could not read. Invariant: bodies are read without waiting for locks longer than
//! the side connection's `lock_timeout`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_policy::catalog::{Behind, Function, Oid, Prelude, SqlBody, Volatility, doubt};
use countersign_policy::name::QualifiedName;
use tokio_postgres::types::Type as PgType;
use tokio_postgres::{Client, GenericClient, Row};

use super::definitions::is_transient;
use super::load::{Stamped, code, field, query};
use super::{CatalogError, look, queries};

const WHAT: &str = "functions";
/// The first version whose functions can have a body that is parsed when they are made.
const SQL_BODIES_SINCE: u32 = 140_000;
/// How long bodies are asked for one by one when some relation is locked.
const BODIES_LIMIT: Duration = Duration::from_secs(1);

/// The functions whose body was parsed when they were made (`BEGIN ATOMIC`, `RETURN`), by `pg_proc.oid`, with the texts of
/// those that could be read.
#[derive(Default)]
pub(super) struct SqlBodies(HashMap<Oid, Option<String>>);

impl SqlBodies {
    /// Whether all of them could be read.
    pub(super) fn are_complete(&self) -> bool {
        self.0.values().all(Option::is_some)
    }
}

/// The functions that have such a body.
pub(super) async fn with_sql_body(client: &impl GenericClient, server_version: u32) -> Result<Vec<Oid>, CatalogError> {
    if server_version < SQL_BODIES_SINCE {
        return Ok(Vec::new());
    }
    query(client, WHAT, queries::WITH_SQL_BODY).await?.iter().map(|row| field(row, 0, WHAT)).collect()
}

/// Reads the bodies of these functions at once; when a lock is in the way, one after the other, leaving out what is locked.
pub(super) async fn read_bodies(client: &Client, functions: &[Oid]) -> Result<SqlBodies, CatalogError> {
    let mut bodies = SqlBodies(functions.iter().map(|oid| (*oid, None)).collect());
    if functions.is_empty() {
        return Ok(bodies);
    }
    let begin = Instant::now();
    let mut open = vec![functions];
    while let Some(oids) = open.pop() {
        if open.len() > 1 && begin.elapsed() > BODIES_LIMIT {
            break;
        }
        match client.query_typed(queries::SQL_BODIES, &[(&oids, PgType::OID_ARRAY)]).await {
            Ok(rows) => {
                for row in &rows {
                    bodies.0.insert(field(row, 0, WHAT)?, field(row, 1, WHAT)?);
                }
            }
            Err(error) if is_transient(&error) => {
                let (left, right) = oids.split_at(oids.len() / 2);
                open.extend([right, left].into_iter().filter(|half| !half.is_empty() && oids.len() > 1));
            }
            Err(source) => return Err(CatalogError::Query { what: WHAT, source: Arc::new(source) }),
        }
    }
    Ok(bodies)
}

/// What [`super::queries::FUNCTIONS`] yields.
pub(super) struct Rows(pub(super) Vec<Row>);

impl Rows {
    /// The functions, with what a call of each runs.
    pub(super) fn read(&self, bodies: &SqlBodies) -> Result<Stamped<(String, String, Function)>, CatalogError> {
        let one = |row: &Row| {
            let function = function(row, bodies)?;
            Ok(((field(row, 1, WHAT)?, field(row, 2, WHAT)?, function), field(row, 10, WHAT)?))
        };
        let mut functions = self.0.iter().map(one).collect::<Result<Stamped<_>, CatalogError>>()?;
        self.disbelieve(&mut functions, bodies)?;
        Ok(functions)
    }

    /// `xmin` of users' functions; operators, casts and domains in the list are none.
    pub(super) fn revisions(&self) -> Result<HashMap<Oid, u32>, CatalogError> {
        let mut revisions = HashMap::new();
        for row in &self.0 {
            let (oid, function): (Oid, Oid) = (field(row, 0, WHAT)?, field(row, 14, WHAT)?);
            let xmin: &str = field(row, 10, WHAT)?;
            if oid == function && !xmin.is_empty() {
                revisions.insert(oid, look::revision(xmin)?);
            }
        }
        Ok(revisions)
    }

    /// Makes volatile what says that it is not, but calls what is; with it the operators, casts and domains that run it.
    fn disbelieve(
        &self,
        functions: &mut Stamped<(String, String, Function)>,
        sql: &SqlBodies,
    ) -> Result<(), CatalogError> {
        let mut bodies = HashMap::new();
        for row in &self.0 {
            if let Some(mut body) = field::<Option<String>>(row, 15, WHAT)? {
                let oid: Oid = field(row, 14, WHAT)?;
                // What could not be read could do anything.
                body.extend(sql.0.get(&oid).map(|own| own.as_deref().unwrap_or(" EXECUTE ")));
                bodies.insert(oid, body);
            }
        }
        if bodies.is_empty() {
            return Ok(());
        }
        let doubted = doubt(functions.iter_mut().map(|(function, _)| function), &bodies);
        for ((_, _, function), row) in functions.iter_mut().map(|(function, _)| function).zip(&self.0) {
            if doubted.contains(&field(row, 14, WHAT)?) {
                function.volatility = Volatility::Volatile;
                function.doubted = true;
            }
        }
        Ok(())
    }
}

fn function(row: &Row, bodies: &SqlBodies) -> Result<Function, CatalogError> {
    Ok(Function {
        oid: field(row, 0, WHAT)?,
        volatility: volatility(code(row, 3, "provolatile")?)?,
        language: field(row, 4, WHAT)?,
        security_definer: field(row, 5, WHAT)?,
        kind: code(row, 6, "prokind")?,
        returns: field(row, 7, WHAT)?,
        arguments: field(row, 8, WHAT)?,
        built_in: field(row, 9, WHAT)?,
        doubted: false,
        body: body(row, bodies)?,
        prelude: prelude(row)?,
        behind: behind(row)?,
    })
}

fn volatility(code: char) -> Result<Volatility, CatalogError> {
    Ok(match code {
        'i' => Volatility::Immutable,
        's' => Volatility::Stable,
        'v' => Volatility::Volatile,
        _ => return Err(CatalogError::Unexpected { what: "provolatile" }),
    })
}

/// The body of a function in SQL; names of parameters can be empty.
fn body(row: &Row, bodies: &SqlBodies) -> Result<Option<SqlBody>, CatalogError> {
    let oid: Oid = field(row, 0, WHAT)?;
    let (text, is_resolved) = match bodies.0.get(&oid) {
        Some(own) => (own.as_deref().and_then(statements), true),
        None => (field::<Option<String>>(row, 11, WHAT)?, false),
    };
    let Some(text) = text else { return Ok(None) };
    let mut parameters: Vec<String> = field::<Option<Vec<String>>>(row, 12, WHAT)?.unwrap_or_default();
    parameters.retain(|name| !name.is_empty());
    let settings = field::<Option<Vec<String>>>(row, 13, WHAT)?.unwrap_or_default();
    Ok(Some(SqlBody { text, is_resolved, parameters, settings }))
}

/// The statements in what `pg_get_function_sqlbody` prints; `None` when it looks otherwise.
fn statements(printed: &str) -> Option<String> {
    let printed = printed.trim();
    match printed.strip_prefix("RETURN ") {
        Some(expression) => Some(format!("SELECT {expression}")),
        None => Some(printed.strip_prefix("BEGIN ATOMIC")?.strip_suffix("END")?.to_owned()),
    }
}

fn prelude(row: &Row) -> Result<Option<Box<Prelude>>, CatalogError> {
    let defaults: Option<String> = field(row, 16, WHAT)?;
    let checks: Vec<Oid> = field::<Option<Vec<Oid>>>(row, 17, WHAT)?.unwrap_or_default();
    let runs = defaults.is_some() || !checks.is_empty();
    Ok(runs.then(|| Box::new(Prelude { defaults, checks })))
}

/// What an operator, cast or aggregate is made of.
fn behind(row: &Row) -> Result<Box<[Behind]>, CatalogError> {
    let oids: Vec<Oid> = field::<Option<Vec<Oid>>>(row, 18, WHAT)?.unwrap_or_default();
    let schemas: Vec<&str> = field::<Option<Vec<&str>>>(row, 19, WHAT)?.unwrap_or_default();
    let names: Vec<&str> = field::<Option<Vec<&str>>>(row, 20, WHAT)?.unwrap_or_default();
    let named = schemas.into_iter().zip(names).map(|(schema, name)| QualifiedName::new(schema, name));
    Ok(oids.into_iter().zip(named).map(|(oid, name)| Behind { oid, name }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_prints_becomes_statements() {
        let printed = "BEGIN ATOMIC\n SELECT 1;\n DELETE FROM public.t;\nEND";
        assert_eq!(statements(printed).as_deref(), Some("\n SELECT 1;\n DELETE FROM public.t;\n"));
        assert_eq!(statements("RETURN (1 + 2)").as_deref(), Some("SELECT (1 + 2)"));
        assert_eq!(statements("SELECT 1"), None);
    }
}
