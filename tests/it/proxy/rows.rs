//! Rules that ask the planner how many rows a statement has.

use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::wire::{Pipeline, tags};
use countersign::demo::shop::SHOP_ROLE;

const MANY_DENIED: &str = r#"
[[rules]]
name = "not-too-many"
effects = ["select", "update", "delete", "copy_out"]
relations = ["public.*", "other.*"]
access = "any"
max_rows = 100
action = "deny"
"#;

/// 833 payments and what the planner knows of them.
async fn start() -> Proxy {
    let proxy = Proxy::start(MANY_DENIED).await;
    let direct = proxy.database.direct().await;
    direct.batch_execute("ANALYZE payments").await.expect("statistics");
    proxy
}

#[tokio::test]
async fn a_statement_with_many_rows_is_denied_and_others_pass() {
    let proxy = start().await;
    let client = proxy.client("alice").await;
    for statement in [
        "SELECT * FROM payments",
        "DELETE FROM payments",
        "WITH gone AS (DELETE FROM payments RETURNING id) SELECT count(*) FROM gone",
        "DECLARE c CURSOR FOR SELECT * FROM payments",
        "/* ; */ UPDATE payments SET amount = 0 WHERE id > 0 -- all of them",
    ] {
        let error = client.refusal(statement).await;
        assert_eq!(error.message(), "statement denied by rule \"not-too-many\"", "{statement}");
        assert_eq!(error.detail(), Some("About 833 rows, by the planner's estimate."), "{statement}");
    }
    for statement in [
        "SELECT count(*) FROM payments",
        "SELECT * FROM payments LIMIT 10",
        "SELECT * FROM payments WHERE id = 5",
        "DELETE FROM payments WHERE id = 7",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT id FROM payments WHERE id = 1",
        "FETCH c",
        "COMMIT",
        "EXPLAIN SELECT * FROM payments",
        "SET search_path = public",
    ] {
        client.client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    for (statement, why) in [
        ("COPY payments TO STDOUT", "EXPLAIN does not take a statement of its kind"),
        ("SELECT * FROM payments LIMIT 1; SELECT * FROM payments LIMIT 1", "the text holds several statements"),
        ("EXPLAIN ANALYZE SELECT * FROM payments LIMIT 1", "EXPLAIN does not take a statement of its kind"),
    ] {
        let error = client.refusal(statement).await;
        assert_eq!(error.detail(), Some(format!("How many rows is not known: {why}.").as_str()), "{statement}");
    }
    assert_eq!(client.value("SELECT count(*) FROM payments").await.as_deref(), Some("832"));
}

#[tokio::test]
async fn bound_values_decide_whatever_their_format() {
    let proxy = start().await;
    let client = proxy.client("alice").await;
    let query = |most: i32| {
        let client = client.client.clone();
        async move { client.query("SELECT id FROM payments WHERE id < $1 AND method <> $2", &[&most, &"x"]).await }
    };
    assert_eq!(query(5).await.expect("few rows").len(), 4);
    let denied = query(100_000).await.expect_err("many rows");
    assert_eq!(denied.code().map(|code| code.code()), Some("42501"));
    assert_eq!(query(5).await.expect("few rows again").len(), 4);

    let mut wire = proxy.wire("alice").await;
    for (value, expected) in [("5", "12TDDDDCZ"), ("100000", "EZ")] {
        let few = Pipeline::default().execute("SELECT id FROM payments WHERE id < $1", &[value], 0).sync();
        wire.send(&few.0).await;
        assert_eq!(tags(&wire.until_ready().await), expected, "{value}");
    }
}

#[tokio::test]
async fn names_mean_what_they_mean_in_the_session() {
    let proxy = start().await;
    let direct = proxy.database.direct().await;
    direct
        .batch_execute(&format!(
            "CREATE SCHEMA other; CREATE TABLE other.payments AS SELECT 1 AS id; ANALYZE other.payments;
             GRANT USAGE ON SCHEMA other TO {SHOP_ROLE}; GRANT ALL ON other.payments TO {SHOP_ROLE}"
        ))
        .await
        .expect("another table of that name");
    let client = proxy.client("alice").await;
    client.client.batch_execute("SET search_path = other, public").await.expect("search path");
    assert_eq!(client.value("SELECT * FROM payments").await.as_deref(), Some("1"));
    client.client.batch_execute("SET search_path = public, other").await.expect("search path");
    client.refusal("SELECT * FROM payments").await;
}

#[tokio::test]
async fn planning_runs_nothing_that_was_not_judged() {
    let proxy = start().await;
    let direct = proxy.database.direct().await;
    direct
        .batch_execute(
            "CREATE SEQUENCE counted; GRANT ALL ON counted TO PUBLIC;
             CREATE FUNCTION liar() RETURNS integer IMMUTABLE LANGUAGE plpgsql
                 AS 'BEGIN PERFORM nextval(''public.counted''); RETURN 1; END'",
        )
        .await
        .expect("a function that is not what it says");
    let client = proxy.client("alice").await;
    let error = client.refusal("SELECT * FROM public.payments WHERE id = public.liar()").await;
    const WHY: &str = "How many rows is not known: planning it could run a function that was not judged.";
    assert_eq!(error.detail(), Some(WHY));
    let row = direct.query_one("SELECT is_called FROM counted", &[]).await.expect("sequence");
    assert!(!row.get::<_, bool>(0), "nobody called it");
}

#[tokio::test]
async fn a_planner_that_cannot_answer_counts_as_many_rows() {
    let proxy = start().await;
    let direct = proxy.database.direct().await;
    direct.batch_execute("BEGIN; LOCK payments IN ACCESS EXCLUSIVE MODE").await.expect("lock");
    let client = proxy.client("alice").await;
    let error = client.refusal("SELECT * FROM payments LIMIT 1").await;
    assert_eq!(error.detail(), Some("How many rows is not known: the planner did not take the statement."));
    direct.batch_execute("COMMIT").await.expect("unlock");
    client.client.simple_query("SELECT * FROM payments LIMIT 1").await.expect("one row");
}

#[tokio::test]
async fn a_held_statement_says_how_many_rows() {
    let fragment = format!("{WRITES_HELD}max_rows = 100\n");
    let proxy = Proxy::start(&fragment).await;
    proxy.database.direct().await.batch_execute("ANALYZE payments").await.expect("statistics");
    let mut client = proxy.client("alice").await;
    client.client.simple_query("UPDATE payments SET amount = 1 WHERE id = 3").await.expect("one row passes");
    let held = client.hold("UPDATE payments SET amount = 1").await;
    let detail = held.notice.detail().unwrap_or_default();
    assert!(detail.contains("update on public.payments (about 833 rows)"), "{detail}");
    proxy.api("bob").approve(&held.id).await;
    held.outcome().await.expect("approved");
}

/// One row with all of them in it is as much as all of them.
#[tokio::test]
async fn rows_that_become_one_value_count() {
    let proxy = start().await;
    let direct = proxy.database.direct().await;
    direct
        .batch_execute(
            "CREATE FUNCTION all_payments() RETURNS json LANGUAGE sql STABLE AS 'SELECT json_agg(p) FROM payments p';
             CREATE AGGREGATE gather (anycompatible) (SFUNC = array_append, STYPE = anycompatiblearray, INITCOND = '{}');
             GRANT SELECT ON payments TO PUBLIC",
        )
        .await
        .expect("objects");
    let client = proxy.client("alice").await;
    for statement in [
        "SELECT json_agg(p) FROM payments p",
        "SELECT jsonb_agg(p.id) FROM payments p",
        "SELECT length(string_agg(id::text, ',')) FROM payments",
        "SELECT max(ids) FROM (SELECT array_agg(id) AS ids FROM payments) p",
        "SELECT array_agg(id) OVER () FROM payments LIMIT 1",
        "SELECT ARRAY(SELECT id FROM payments)",
        "SELECT (SELECT xmlagg(xmlelement(name p, id)) FROM payments)",
        "SELECT json_object_agg(id, amount) FROM payments",
        "SELECT gather(id) FROM payments",
        "WITH p AS MATERIALIZED (SELECT id FROM payments) SELECT array_agg(id) FROM p",
        "SELECT array_agg(id ORDER BY amount) FROM payments GROUP BY amount > 0 LIMIT 1",
    ] {
        let error = client.refusal(statement).await;
        assert_eq!(error.message(), "statement denied by rule \"not-too-many\"", "{statement}");
        assert_eq!(error.detail(), Some("About 833 rows, by the planner's estimate."), "{statement}");
    }
    let error = client.refusal("SELECT all_payments()").await;
    assert_eq!(error.detail(), Some("How many rows is not known: a function in it makes one row of many."));
    for statement in [
        "SELECT count(*), sum(amount), max(id) FROM payments",
        "SELECT json_agg(p) FROM (SELECT * FROM payments LIMIT 10) p",
        "SELECT json_agg(p) FROM (SELECT count(*) FROM payments) p",
        "SELECT array_agg(id) FROM payments WHERE id = 5",
        "SELECT c.id, p.list FROM (SELECT id FROM payments LIMIT 3) c \
         LEFT JOIN LATERAL (SELECT json_agg(p) AS list FROM payments p WHERE p.id = c.id) p ON true",
        "SELECT id, ARRAY(SELECT 1) FROM payments LIMIT 5",
    ] {
        client.client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}
