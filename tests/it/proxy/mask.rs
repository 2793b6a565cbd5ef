//! Masked values are in no byte that leaves.

use crate::support::config::PII_MASKED;
use crate::support::proxy::Proxy;
use crate::support::wire::{Frame, Pipeline, tags};

const EMAIL: &str = "bruno.lindqvist1@example.com";
const SSN: &str = "913-30-7919";

#[track_caller]
fn check_clean(frames: &[Frame], what: &str) {
    for frame in frames {
        let text = String::from_utf8_lossy(&frame.body);
        for secret in [EMAIL, SSN, "bruno.lindqvist1", "913-30", "913307919"] {
            assert!(!text.contains(secret), "{what}: {secret} in {frame:?}");
        }
    }
}

/// Statements that carry a masked value out in one way or other.
const LEAKS: &[&str] = &[
    "SELECT email, ssn FROM customers WHERE id = 1",
    "SELECT email AS a, ssn AS b FROM customers AS c WHERE id = 1",
    "SELECT * FROM customers WHERE id = 1",
    "SELECT c FROM customers c WHERE id = 1",
    "SELECT lower(email), 'x' || ssn, replace(ssn, '-', '') FROM customers WHERE id = 1",
    "SELECT contact FROM customer_contacts WHERE id = 1",
    "SELECT max(email) FROM customers WHERE id = 1",
    "SELECT string_agg(ssn, ',') FROM customers WHERE id = 1",
    "SELECT to_jsonb(c) FROM customers c WHERE id = 1",
    "SELECT ssn FROM customers WHERE id = 1 UNION ALL SELECT 'x'",
    "WITH x AS (SELECT ssn AS y FROM customers WHERE id = 1) SELECT y FROM x",
    "SELECT (SELECT ssn FROM customers WHERE id = 1)",
    "TABLE customers LIMIT 1",
    "COPY (SELECT ssn, email FROM customers WHERE id = 1) TO STDOUT",
    "COPY customers TO STDOUT WITH (FORMAT csv)",
    "SELECT ssn::int FROM customers WHERE id = 1",
    "SELECT most_common_vals FROM pg_stats WHERE tablename = 'customers'",
];

#[tokio::test]
async fn no_way_out_in_simple_queries() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    for statement in LEAKS.iter().filter(|statement| !statement.contains("pg_stats")) {
        let frames = wire.query(statement).await;
        check_clean(&frames, statement);
    }
}

#[tokio::test]
async fn no_way_out_in_text_and_binary_of_the_extended_protocol() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    for format in [0, 1] {
        for statement in LEAKS.iter().filter(|statement| statement.starts_with("SELECT") && !statement.contains("pg_"))
        {
            let pipeline = Pipeline::default().execute(statement, &[], format).sync();
            wire.send(&pipeline.0).await;
            let frames = wire.until_ready().await;
            check_clean(&frames, statement);
        }
    }
}

#[tokio::test]
async fn masked_values_look_as_documented() {
    let proxy = Proxy::start(PII_MASKED).await;
    let client = proxy.client("alice").await;
    for (statement, expected) in [
        ("SELECT email FROM customers WHERE id = 1", "b***@example.com"),
        ("SELECT email AS innocent FROM customers WHERE id = 1", "b***@example.com"),
        // What a view shows unchanged is masked as where it is stored; what it computes is replaced whole.
        ("SELECT contact FROM customer_contacts WHERE id = 1", "b***@example.com"),
        ("SELECT upper(contact) FROM customer_contacts WHERE id = 1", "***"),
        ("SELECT name FROM customers WHERE id = 1", "Bruno Lindqvist"),
    ] {
        assert_eq!(client.value(statement).await.as_deref(), Some(expected), "{statement}");
    }
    let ssn = client.value("SELECT ssn FROM customers WHERE id = 1").await.expect("a value");
    assert!(ssn.ends_with("7919") && !ssn.contains("913"), "{ssn}");
}

#[tokio::test]
async fn a_mask_on_a_column_of_a_view_holds_for_what_is_made_of_it() {
    let fragment =
        "[[masks]]\nname = \"contact\"\ncolumns = [\"public.customer_contacts.contact\"]\nmask = \"redact\"\n";
    let proxy = Proxy::start(fragment).await;
    let client = proxy.client("alice").await;
    for masked in [
        "SELECT contact FROM customer_contacts WHERE id = 1",
        "SELECT upper(contact) FROM customer_contacts WHERE id = 1",
        "SELECT contact || name FROM customer_contacts WHERE id = 1",
        "SELECT x.y FROM (SELECT max(contact) AS y FROM customer_contacts WHERE id = 1) x",
    ] {
        assert_eq!(client.value(masked).await.as_deref(), Some("***"), "{masked}");
    }
    let whole = client.value("SELECT c FROM customer_contacts c WHERE id = 1").await.expect("a row");
    assert!(!whole.contains(EMAIL), "{whole}");
    let base = client.value("SELECT email FROM customers WHERE id = 1").await;
    assert_eq!(base.as_deref(), Some(EMAIL), "the mask speaks of the view alone");
}

#[tokio::test]
async fn exempt_groups_see_everything() {
    let proxy = Proxy::start(PII_MASKED).await;
    let client = proxy.client("erin").await;
    let statement = "SELECT email || ssn FROM customers WHERE id = 1";
    assert_eq!(client.value(statement).await, Some(format!("{EMAIL}{SSN}")));
}

#[tokio::test]
async fn errors_do_not_carry_values() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    for statement in [
        "SELECT email::date FROM customers WHERE id = 1",
        "SELECT ssn::numeric FROM customers WHERE id = 1",
        "INSERT INTO customers (name, email, region, created_at) VALUES ('x', 'bruno.lindqvist1@example.com', 'n', now())",
    ] {
        let frames = wire.query(statement).await;
        check_clean(&frames, statement);
        assert!(frames.iter().any(|frame| frame.tag == b'E'), "{statement} fails");
    }
}

/// What PostgreSQL says of the text itself, before it looks at any row, helps; what it says later could quote a value.
#[tokio::test]
async fn errors_about_the_text_are_kept() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    for (statement, sqlstate, message) in [
        ("SELECT nam FROM customers", "42703", "column \"nam\" does not exist"),
        ("SELECT id FROM customers WHERE id = 'x1'", "22P02", "invalid input syntax for type integer: \"x1\""),
        (
            "SELECT region, count(*) FROM customers",
            "42803",
            "column \"customers.region\" must appear in the GROUP BY clause",
        ),
        ("SELECT ssn::regclass FROM customers WHERE id = 1", "42", "the message is withheld"),
        ("SELECT email::regtype FROM customers WHERE id = 1", "42", "the message is withheld"),
        ("SELECT ssn::int FROM customers WHERE id = 1", "22P02", "the message is withheld"),
    ] {
        let frames = wire.query(statement).await;
        check_clean(&frames, statement);
        let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
        let (code, shown) = (error.field(b'C').unwrap_or_default(), error.field(b'M').unwrap_or_default());
        assert!(code.starts_with(sqlstate) && shown.starts_with(message), "{statement}: {code} {shown}");
    }
    let error = &wire.query("SELECT nam FROM customers").await[0];
    assert!(error.field(b'H').is_some_and(|hint| hint.contains("customers.name")), "{error:?}");
}

/// A masked column tells its value by which rows come back, how many, or whether there is an error.
#[tokio::test]
async fn what_lets_a_masked_value_be_inferred_is_held() {
    let proxy = Proxy::start(PII_MASKED).await;
    for statement in [
        "SELECT count(*) FROM customers WHERE ssn LIKE '913%'",
        "SELECT id FROM customers ORDER BY email",
        "SELECT count(*) FROM customers GROUP BY ssn",
        "SELECT 1 FROM customers c JOIN orders o ON o.id = c.id AND c.ssn > '5'",
        "SELECT count(*) FROM customer_contacts WHERE contact LIKE 'b%'",
        "SELECT 1 FROM customers, generate_series(1, length(ssn)) WHERE id = 1",
        "SELECT 1 / (length(ssn) - 11) FROM customers WHERE id = 1",
        "EXPLAIN ANALYZE SELECT 1 FROM customers WHERE ssn < '5'",
        "DELETE FROM payments USING customers WHERE customers.ssn < '5' AND false",
    ] {
        let mut client = proxy.client("alice").await;
        assert!(client.hold(statement).await.is_waiting(), "{statement}");
    }
}

/// What is written elsewhere is out of reach of its mask.
#[tokio::test]
async fn writing_a_masked_value_elsewhere_is_held() {
    let proxy = Proxy::start(PII_MASKED).await;
    for statement in [
        "UPDATE customers SET note = ssn WHERE id = 1",
        "INSERT INTO products (name, price) SELECT email, 1 FROM customers WHERE id = 1",
        "CREATE TEMP TABLE copied AS SELECT ssn FROM customers",
        "SELECT pg_notify('channel', ssn) FROM customers WHERE id = 1",
    ] {
        let mut client = proxy.client("alice").await;
        assert!(client.hold(statement).await.is_waiting(), "{statement}");
    }
}

/// Everyday statements over a relation with masked columns are not in anybody's way.
#[tokio::test]
async fn clean_columns_are_free() {
    let proxy = Proxy::start(PII_MASKED).await;
    let mut wire = proxy.wire("alice").await;
    for (statement, expected) in [
        (
            "SELECT region, count(*), count(email) FROM customers WHERE id < 3 GROUP BY region ORDER BY 1 LIMIT 1",
            "TDCZ",
        ),
        ("UPDATE customers SET email = 'new@example.com' WHERE id = 2", "CZ"),
        ("UPDATE customers SET email = lower(email), note = 'x' WHERE id = 2", "CZ"),
        ("COPY (SELECT id, name FROM customers WHERE id = 1) TO STDOUT", "HdcCZ"),
        ("COPY orders (id) TO STDOUT WITH (FORMAT csv)", ""),
        ("SELECT e.email FROM (SELECT email, id FROM customers) e WHERE e.id = 1", "TDCZ"),
    ] {
        let frames = wire.query(statement).await;
        check_clean(&frames, statement);
        let seen = tags(&frames);
        assert!(seen == expected || (expected.is_empty() && seen.starts_with("Hd")), "{statement}: {seen}");
    }
    wire.query("BEGIN").await;
    let frames = wire.query("BEGIN").await;
    let notice = frames.iter().find(|frame| frame.tag == b'N').and_then(|frame| frame.field(b'M'));
    assert_eq!(notice.as_deref(), Some("there is already a transaction in progress"));
}
