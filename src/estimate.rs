//! The planner's estimate of how many rows a statement returns or writes, over side connections.
//!
//! Never executes the statement: it is given to plain EXPLAIN, in a read-only transaction that is rolled back, as the role
//! and along the search path of its session. Invariant: whoever asks gets an answer in a bounded time; when there is no
//! estimate the answer says so, without a word of the upstream's.
//!
//! Planning computes functions that are declared not to change. What may be planned is decided before
//! ([`countersign_policy::verdict::Estimate`]).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use countersign_policy::analysis::Collects;
use countersign_policy::verdict::Rows;
use serde::Deserialize;
use std::error::Error as StdError;
use std::sync::Arc;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type};
use tokio_rustls::TlsConnector;

use crate::config::UpstreamConfig;
use crate::side_pool::SidePool;

/// Connections that ask at the same time, per database.
const CONNECTIONS_MAX: usize = 4;
/// How long a session waits for an estimate at most, waiting for a connection included.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
const SETTINGS: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '500ms'";
const PLAN: &str = "EXPLAIN (FORMAT JSON)";
/// With the expressions of each node, where it has to be known which aggregate takes which rows.
const PLAN_OF_COLLECTED: &str = "EXPLAIN (FORMAT JSON, VERBOSE)";
/// Set in this order: after the role, nothing else may be settable.
const PLACE: &str = "SELECT pg_catalog.set_config('search_path', $1, true)";
const ROLE: &str = "SELECT pg_catalog.set_config('role', $1, true)";

const TOO_LATE: Rows = Rows::Unavailable("the planner did not answer in time");

/// What is asked.
#[derive(Clone)]
pub struct Question {
    /// The statement.
    pub text: Arc<str>,
    /// OIDs of its parameters' types, as far as the client gave them; 0 is a type that it did not give.
    pub types: Vec<u32>,
    /// Its parameters.
    pub values: Vec<Value>,
    /// The role that would execute it.
    pub role: String,
    /// The effective search path.
    pub search_path: Vec<String>,
    /// What in it makes one row of many.
    pub collects: Collects,
}

/// A parameter as Bind has it.
#[derive(Clone)]
pub struct Value {
    /// 0 is text, 1 is binary.
    pub format: i16,
    /// `None` is NULL.
    pub bytes: Option<Bytes>,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question")
            .field("len", &self.text.len())
            .field("values", &self.values.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum NotPlanned {
    /// There is no connection.
    NoConnection,
    /// The proxy cannot take the role of the session.
    NotAsRole,
    /// The planner did not take the statement; what PostgreSQL said, which may quote it.
    Refused(Option<Box<DbError>>),
}

impl NotPlanned {
    /// Why, as a phrase without literals.
    pub(crate) fn phrase(&self) -> &'static str {
        match self {
            Self::NoConnection => "the planner could not be reached",
            Self::NotAsRole => "the proxy cannot take the role of the session to ask the planner",
            Self::Refused(_) => "the planner did not take the statement",
        }
    }
}

impl From<tokio_postgres::Error> for NotPlanned {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Refused(error.as_db_error().cloned().map(Box::new))
    }
}

/// Asks the planner of one database.
pub struct Estimator {
    pool: SidePool,
}

impl std::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Estimator").finish_non_exhaustive()
    }
}

impl Estimator {
    /// One that connects when it is first asked.
    #[must_use]
    pub fn new(upstream: UpstreamConfig, tls: Option<TlsConnector>) -> Self {
        Self { pool: SidePool::new(upstream, tls, CONNECTIONS_MAX) }
    }

    /// How many rows the statement returns, or puts into a value, or one of its INSERT, UPDATE, DELETE or MERGE writes,
    /// whichever is more.
    ///
    /// # Cancel safety
    /// When the future is dropped, the connection it used is closed.
    pub async fn rows(&self, question: &Question) -> Rows {
        tokio::time::timeout(ANSWER_WAIT, self.ask(question)).await.unwrap_or(TOO_LATE)
    }

    async fn ask(&self, question: &Question) -> Rows {
        let Some(side) = self.pool.take().await else { return Rows::Unavailable(NotPlanned::NoConnection.phrase()) };
        let options = if question.collects.is_none() { PLAN } else { PLAN_OF_COLLECTED };
        let explained = explain_with(side.client(), question, options).await;
        side.put_back().await;
        let rows = explained.and_then(|json| rows_of(&json, &question.collects).ok_or(NotPlanned::Refused(None)));
        rows.map_or_else(|not_planned| Rows::Unavailable(not_planned.phrase()), Rows::Estimated)
    }
}

/// The plan in JSON. Leaves a transaction open, which is to be rolled back.
pub(crate) async fn explain(client: &Client, question: &Question) -> Result<String, NotPlanned> {
    explain_with(client, question, PLAN).await
}

async fn explain_with(client: &Client, question: &Question, options: &str) -> Result<String, NotPlanned> {
    client.batch_execute(SETTINGS).await.map_err(|_error| NotPlanned::NoConnection)?;
    client.query_typed(PLACE, &[(&path_of(&question.search_path), Type::TEXT)]).await?;
    client.query_typed(ROLE, &[(&question.role, Type::TEXT)]).await.map_err(|_error| NotPlanned::NotAsRole)?;
    let types: Vec<Type> = question.types.iter().map(|oid| type_of(*oid)).collect();
    let prepared = client.prepare_typed(&format!("{options} {}", question.text), &types).await?;
    if prepared.params().len() != question.values.len() {
        return Err(NotPlanned::Refused(None));
    }
    let values: Vec<&(dyn ToSql + Sync)> = question.values.iter().map(|value| value as _).collect();
    let row = client.query_one(&prepared, &values).await?;
    Ok(row.try_get::<_, Json>(0)?.0)
}

/// The search path for another session: temporary objects are left out, and nothing is planned that names one.
fn path_of(schemas: &[String]) -> String {
    let durable = schemas.iter().filter(|schema| !schema.starts_with("pg_temp_"));
    let quoted: Vec<_> = durable.map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    quoted.join(", ")
}

/// A type of that OID. Only the OID is sent; 0 and `unknown` both leave the type to the server.
fn type_of(oid: u32) -> Type {
    match oid {
        0 => Type::UNKNOWN,
        oid => Type::from_oid(oid)
            .unwrap_or_else(|| Type::new("parameter".to_owned(), oid, Kind::Simple, "public".to_owned())),
    }
}

impl ToSql for Value {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match &self.bytes {
            Some(bytes) => {
                out.put_slice(bytes);
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.format == 0 { Format::Text } else { Format::Binary }
    }

    tokio_postgres::types::to_sql_checked!();
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("len", &self.bytes.as_ref().map(Bytes::len)).finish_non_exhaustive()
    }
}

/// A value of type json as text.
struct Json(String);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::JSON
    }
}

#[derive(Deserialize)]
struct Explained {
    #[serde(rename = "Plan")]
    plan: Node,
}

#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Node Type")]
    kind: String,
    #[serde(rename = "Parent Relationship", default)]
    relationship: String,
    #[serde(rename = "Plan Rows", default)]
    rows: f64,
    #[serde(rename = "Output", default)]
    output: Vec<String>,
    #[serde(rename = "Workers Planned", default)]
    workers: f64,
    #[serde(rename = "Plans", default)]
    plans: Vec<Self>,
}

/// The rows of a plan in JSON; `None` when it is none.
fn rows_of(json: &str, collects: &Collects) -> Option<u64> {
    let plans: Vec<Explained> = serde_json::from_str(json).ok()?;
    let of_plan = |plan: &Node| most(plan, true).max(collected(plan, collects, Run::ONCE));
    let most = plans.iter().map(|explained| of_plan(&explained.plan)).reduce(f64::max)?;
    // Saturates, and no plan has a negative number of rows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as saturates, and NaN becomes 0")]
    let rows = most.ceil() as u64;
    Some(rows)
}

/// The rows of the node where it is the top, and of what is written anywhere in it.
fn most(node: &Node, top: bool) -> f64 {
    let own = if node.kind == "ModifyTable" {
        let fed = node.plans.iter().filter(|plan| matches!(plan.relationship.as_str(), "Outer" | "Member"));
        fed.map(|plan| plan.rows).sum::<f64>().max(node.rows)
    } else if top {
        node.rows
    } else {
        0.0
    };
    node.plans.iter().map(|plan| most(plan, false)).fold(own, f64::max)
}

/// How often a node is executed, and which part of its rows anybody asks for.
#[derive(Clone, Copy)]
struct Run {
    times: f64,
    share: f64,
}

impl Run {
    const ONCE: Self = Self { times: 1.0, share: 1.0 };

    /// Once for each of so many rows.
    fn for_each(self, rows: f64) -> Self {
        Self { times: self.times * (rows * self.share).max(1.0), share: 1.0 }
    }
}

/// The most rows that an aggregate of the plan, or an ARRAY, makes a value of.
fn collected(node: &Node, collects: &Collects, run: Run) -> f64 {
    let is_sub = |plan: &Node| matches!(plan.relationship.as_str(), "SubPlan" | "InitPlan");
    let aggregates = matches!(node.kind.as_str(), "Aggregate" | "WindowAgg");
    let fed: f64 = node.plans.iter().filter(|plan| !is_sub(plan)).map(|plan| plan.rows).sum();
    let keeps = aggregates && node.output.iter().any(|expression| calls_one_of(expression, &collects.aggregates));
    let mut most = if keeps { fed * run.times } else { 0.0 };
    let outer = node.plans.iter().find(|plan| plan.relationship == "Outer").map_or(1.0, |plan| plan.rows);
    for plan in &node.plans {
        let run = match plan.relationship.as_str() {
            "SubPlan" => run.for_each(node.rows.max(fed)),
            "InitPlan" => Run { share: 1.0, ..run },
            "Inner" if node.kind == "Nested Loop" => run.for_each(outer),
            // Each worker sees its part of the rows.
            _ if node.workers > 0.0 => Run { times: run.times * (node.workers + 1.0), ..run },
            _ if aggregates => Run { share: 1.0, ..run },
            _ if node.kind == "Limit" => Run { share: run.share * (node.rows / plan.rows.max(1.0)).min(1.0), ..run },
            _ => run,
        };
        if is_sub(plan) && collects.arrays {
            most = most.max(plan.rows * run.times);
        }
        most = most.max(collected(plan, collects, run));
    }
    most
}

/// Whether the expression, as EXPLAIN prints it, calls an aggregate of one of these names.
fn calls_one_of(expression: &str, names: &[String]) -> bool {
    let expression = expression.to_lowercase();
    names.iter().any(|name| {
        let name = name.to_lowercase();
        expression.contains(&format!("{name}(")) || expression.contains(&format!("{name}\"("))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<u64>) {
        assert_eq!(rows_of(json, &Collects::default()), expected, "{json}");
    }

    #[track_caller]
    fn check_collected(json: &str, aggregate: &str, expected: u64) {
        let collects = Collects { aggregates: vec![aggregate.to_owned()], arrays: aggregate.is_empty(), hidden: false };
        assert_eq!(rows_of(json, &collects), Some(expected), "{json}");
    }

    #[test]
    fn what_an_aggregate_keeps_counts() {
        let grouped = r#"[{"Plan": {"Node Type": "Aggregate", "Plan Rows": 1, "Output": ["json_agg(x.*)"], "Plans": [
            {"Node Type": "Aggregate", "Parent Relationship": "Outer", "Plan Rows": 4, "Output": ["count(*)"], "Plans": [
                {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 5000}]}]}}]"#;
        check_collected(grouped, "json_agg", 4);
        check_collected(grouped, "count", 5000);
        check_collected(grouped, "xmlagg", 1);
        check_collected(
            r#"[{"Plan": {"Node Type": "Nested Loop", "Plan Rows": 10, "Plans": [
                {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 10},
                {"Node Type": "Aggregate", "Parent Relationship": "Inner", "Plan Rows": 1, "Output": ["json_agg(o)"], "Plans": [
                    {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 7}]}]}}]"#,
            "json_agg",
            70,
        );
        check_collected(
            r#"[{"Plan": {"Node Type": "Limit", "Plan Rows": 10, "Plans": [
                {"Node Type": "Nested Loop", "Parent Relationship": "Outer", "Plan Rows": 500, "Output": ["(json_agg(o))"], "Plans": [
                    {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 500},
                    {"Node Type": "Aggregate", "Parent Relationship": "Inner", "Plan Rows": 1, "Output": ["json_agg(o)"], "Plans": [
                        {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 7}]}]}]}}]"#,
            "json_agg",
            70,
        );
        check_collected(
            r#"[{"Plan": {"Node Type": "Result", "Plan Rows": 1, "Plans": [
                {"Node Type": "Seq Scan", "Parent Relationship": "InitPlan", "Plan Rows": 300}]}}]"#,
            "",
            300,
        );
        check_collected(
            r#"[{"Plan": {"Node Type": "Aggregate", "Plan Rows": 1, "Output": ["string_agg(e, ','::text)"], "Plans": [
                {"Node Type": "Gather", "Parent Relationship": "Outer", "Plan Rows": 2, "Workers Planned": 2, "Plans": [
                    {"Node Type": "Aggregate", "Parent Relationship": "Outer", "Plan Rows": 1, "Output": ["PARTIAL string_agg(e)"], "Plans": [
                        {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 400}]}]}]}}]"#,
            "string_agg",
            1200,
        );
    }

    #[test]
    fn the_top_of_a_plan_counts() {
        check(r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 1200, "Plan Width": 4}}]"#, Some(1200));
        check(
            r#"[{"Plan": {"Node Type": "Aggregate", "Plan Rows": 1, "Plans": [
                {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 5000}]}}]"#,
            Some(1),
        );
        check(r#"[{"Plan": {"Node Type": "Seq Scan", "Plan Rows": 1e40}}]"#, Some(u64::MAX));
    }

    #[test]
    fn what_is_written_counts_wherever_it_is() {
        check(
            r#"[{"Plan": {"Node Type": "ModifyTable", "Operation": "Delete", "Plan Rows": 0, "Plans": [
                {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 300}]}}]"#,
            Some(300),
        );
        check(
            r#"[{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0, "Plans": [
                {"Node Type": "Seq Scan", "Parent Relationship": "Member", "Plan Rows": 3},
                {"Node Type": "Seq Scan", "Parent Relationship": "Member", "Plan Rows": 4},
                {"Node Type": "Result", "Parent Relationship": "InitPlan", "Plan Rows": 100}]}}]"#,
            Some(7),
        );
        check(
            r#"[{"Plan": {"Node Type": "Aggregate", "Plan Rows": 1, "Plans": [
                {"Node Type": "ModifyTable", "Parent Relationship": "InitPlan", "Plan Rows": 900, "Plans": [
                    {"Node Type": "Seq Scan", "Parent Relationship": "Outer", "Plan Rows": 900}]},
                {"Node Type": "CTE Scan", "Parent Relationship": "Outer", "Plan Rows": 900}]}}]"#,
            Some(900),
        );
    }

    #[test]
    fn what_is_no_plan_has_no_rows() {
        for json in ["", "[]", "{}", r#"["Utility Statement"]"#, r#"[{"Plan": {"Plan Rows": 1}}]"#] {
            check(json, None);
        }
    }

    #[test]
    fn the_path_leaves_temporary_schemas_out() {
        let path = ["pg_temp_3", "pg_catalog", "odd\"name", "public"].map(str::to_owned);
        assert_eq!(path_of(&path), r#""pg_catalog", "odd""name", "public""#);
    }

    #[test]
    fn nothing_of_a_question_is_printed() {
        let question = Question {
            text: "SELECT 'canary'".into(),
            types: vec![25],
            values: vec![Value { format: 0, bytes: Some(Bytes::from_static(b"canary")) }],
            role: String::new(),
            search_path: Vec::new(),
            collects: Collects::default(),
        };
        assert!(!format!("{question:?} {:?}", question.values).contains("canary"));
    }
}
