//! What lets a masked value be inferred waits for people, and what does not is in nobody's way.

use crate::support::config::PII_MASKED;
use crate::support::proxy::Proxy;
use crate::support::wire::{Frame, Pipeline, tags};

/// The masks of [`PII_MASKED`], where equality is allowed.
fn equality_allowed() -> String {
    PII_MASKED.replace("except_groups", "predicates = \"allow_equality\"\nexcept_groups")
}

/// Every statement is held.
async fn check_held(masks: &str, statements: &[&str]) {
    let proxy = Proxy::start(masks).await;
    for statement in statements {
        let mut client = proxy.client("alice").await;
        assert!(client.hold(statement).await.is_waiting(), "{statement}");
    }
}

/// Every statement is answered as PostgreSQL answers it, not refused or held.
async fn check_free(masks: &str, statements: &[&str]) {
    let proxy = Proxy::start(masks).await;
    let mut wire = proxy.wire("alice").await;
    for statement in statements {
        let seen = tags(&wire.query(statement).await);
        assert!(seen.starts_with('T') && seen.ends_with("CZ"), "{statement}: {seen}");
    }
}

/// What shows in errors, in the time a statement takes, or in the number of rows it touches.
#[tokio::test]
async fn oracles_are_held() {
    check_held(
        PII_MASKED,
        &[
            "SELECT 1 / (ssn = '913-30-7919')::int FROM customers WHERE id = 1",
            "SELECT replace(ssn, '-', '')::bigint::int FROM customers WHERE id = 1",
            "SELECT length(ssn) + 2147483637 FROM customers WHERE id = 1",
            "SELECT CASE ssn WHEN '913-30-7919' THEN pg_sleep_for('1 s') END FROM customers WHERE id = 1",
            "SELECT CASE WHEN ssn LIKE '9%' THEN 1 ELSE 1 / 0 END FROM customers WHERE id = 1",
            "SELECT ssn LIKE '9%' AND pg_sleep_for('1 s') IS NULL FROM customers WHERE id = 1",
            "SELECT coalesce(nullif(ssn, '913-30-7919'), (1 / 0)::text) FROM customers WHERE id = 1",
            "SELECT 'x' ~ ('a{' || left(ssn, 1) || ',5}') FROM customers WHERE id = 1",
            "INSERT INTO customers (name, email, region, created_at) VALUES ('x', 'y@z.org', 'n', now()) ON CONFLICT DO NOTHING",
            "INSERT INTO customers (name, email, region, created_at) VALUES ('x', 'y@z.org', 'n', now()) ON CONFLICT (email) DO NOTHING",
            "UPDATE customers SET note = 'x' WHERE ssn LIKE '9%'",
            "EXPLAIN SELECT 1 FROM customers WHERE ssn < '5'",
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, customers WHERE id = 1 AND ssn > n::text) SELECT count(*) FROM t",
            "SELECT sum(id) OVER (PARTITION BY ssn) FROM customers",
            "SELECT DISTINCT ON (ssn) id FROM customers",
            "SELECT id FROM customers LIMIT (SELECT length(ssn) FROM customers WHERE id = 1)",
            "SELECT id FROM customers NATURAL JOIN (SELECT '913-30-7919' AS ssn) x",
            "SELECT ssn FROM customers INTERSECT SELECT '913-30-7919'",
        ],
    )
    .await;
}

#[tokio::test]
async fn everyday_statements_are_free() {
    check_free(
        PII_MASKED,
        &[
            "SELECT id, name FROM customers WHERE id = 5",
            "SELECT id, email FROM customers ORDER BY id LIMIT 3",
            "SELECT c.email, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.id < 3",
            "SELECT count(*), count(ssn) FROM customers",
            "SELECT id FROM customers WHERE email IS NOT NULL AND id < 3",
            "SELECT lower(email), length(ssn), coalesce(ssn, 'none'), email::text, name || ssn FROM customers WHERE id = 1",
            "SELECT json_build_object('id', id, 'email', email) FROM customers WHERE id = 1",
            "SELECT region, max(email) FROM customers GROUP BY region ORDER BY region",
            "SELECT id + 1, 10 / id FROM customers WHERE id = 1",
        ],
    )
    .await;
}

/// The value of the only row of a result.
fn only_value(frames: &[Frame]) -> Option<String> {
    let row = frames.iter().find(|frame| frame.tag == b'D')?;
    Some(String::from_utf8_lossy(row.body.get(6..)?).into_owned())
}

#[tokio::test]
async fn support_staff_look_people_up_by_equality() {
    let masks = equality_allowed();
    check_free(
        &masks,
        &[
            "SELECT id, email FROM customers WHERE email = 'bruno.lindqvist1@example.com'",
            "SELECT id FROM customers c WHERE c.ssn = '913-30-7919' AND id > 0 ORDER BY id",
        ],
    )
    .await;
    let proxy = Proxy::start(&masks).await;
    let mut wire = proxy.wire("alice").await;
    let statement = "SELECT email FROM customers WHERE email = $1";
    let pipeline = Pipeline::default().execute(statement, &["bruno.lindqvist1@example.com"], 0).sync();
    wire.send(&pipeline.0).await;
    let frames = wire.until_ready().await;
    assert_eq!(only_value(&frames).as_deref(), Some("b***@example.com"), "{frames:?}");
    check_held(
        &masks,
        &[
            "SELECT id FROM customers WHERE email LIKE 'b%'",
            "SELECT id FROM customers WHERE email IN ('a', 'b')",
            "SELECT id FROM customers WHERE email = 'a' OR id = 1",
            "SELECT id FROM customers WHERE email > 'a'",
            "SELECT id FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE email = 'a')",
            "DELETE FROM customers WHERE email = 'a'",
        ],
    )
    .await;
}

/// Masks are configured by name: what changes a name takes values out of their reach.
#[tokio::test]
async fn definitions_that_unmask_are_held() {
    check_held(
        PII_MASKED,
        &[
            "ALTER TABLE customers RENAME COLUMN ssn TO harmless",
            "ALTER TABLE customers RENAME TO harmless",
            "ALTER SCHEMA public RENAME TO harmless",
            "ALTER TABLE customers ALTER COLUMN note TYPE text USING ssn",
            "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
            "CREATE PUBLICATION everything FOR TABLE customers",
        ],
    )
    .await;
}

/// Statements of others show without what they look for.
#[tokio::test]
async fn activity_shows_no_literals() {
    let proxy = Proxy::start(PII_MASKED).await;
    let other = proxy.client("erin").await;
    other.value("SELECT name FROM customers WHERE ssn = '913-30-7919'").await;
    let mut wire = proxy.wire("alice").await;
    let frames = wire.query("SELECT query FROM pg_stat_activity").await;
    let shown = frames.iter().map(|frame| String::from_utf8_lossy(&frame.body).into_owned()).collect::<String>();
    assert!(shown.contains("SELECT name FROM customers WHERE ssn = ?"), "{shown}");
    assert!(!shown.contains("913-30"), "{shown}");
}

/// Masked cells are counted by the mask that was meant, also where an expression holds the column.
#[tokio::test]
async fn masked_cells_are_counted_by_mask() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT id, email, ssn, lower(ssn) FROM customers WHERE id < 4").await;
    wire.query("SELECT id FROM customers; SELECT contact FROM customer_contacts WHERE id = 1").await;
    wire.query("COPY (SELECT card FROM customers WHERE id < 3) TO STDOUT").await;
    let counted = async |mask: &str| proxy.metric(&format!("countersign_masked_cells_total{{mask=\"{mask}\"}}")).await;
    // What was asked for before is counted when this is answered.
    wire.query("SELECT 1").await;
    assert_eq!(counted("customer-email").await.to_string(), "4");
    assert_eq!(counted("customer-numbers").await.to_string(), "8");
}
