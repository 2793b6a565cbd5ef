//! COPY TO STDOUT through masks gives, byte by byte, what PostgreSQL gives for a table that holds the masked values.

use futures_util::TryStreamExt;
use tokio_postgres::Client;

use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;

const MASK: &str = "
[[masks]]
name = \"people\"
columns = [\"public.people.email\", \"public.people.born\", \"public.people.pay\", \"public.people.tags\", \"public.people.\\\"Odd, name\\\"\"]
mask = \"redact\"
";

/// `people` and what it looks like to whom it is masked, `masked`.
const TABLES: &str = r#"
    CREATE TABLE people (id integer, name text, email text, gone text, born date, pay numeric, tags text[],
        shout text GENERATED ALWAYS AS (upper(email)) STORED);
    ALTER TABLE people DROP COLUMN gone;
    INSERT INTO people VALUES
        (1, 'Ada', 'canary@example.com', '1987-06-15', 918273, '{canary,NULL,"a b"}'),
        (2, E'tab\t, "quoted" \\ back\nnew line\r', 'canary, "x" \ y', NULL, NULL, '{}'),
        (3, '\N', NULL, '1988-01-01', 0, NULL),
        (4, '', ' ', NULL, 1, '{}'),
        (5, '\.', '\.', NULL, 1, '{}'),
        (NULL, NULL, E'canary\n\t', NULL, NULL, NULL);
    CREATE TABLE masked AS SELECT id, name, CASE WHEN email IS NOT NULL THEN '***' END AS email, NULL::date AS born,
        0 * pay::integer::numeric AS pay, array_replace(array_replace(tags, 'canary', '***'), 'a b', '***') AS tags FROM people;
    CREATE VIEW contacts AS SELECT id, email AS mail, upper(email) AS loud FROM people;
    CREATE VIEW masked_contacts AS SELECT id, email AS mail, regexp_replace(email, '.+', '***') AS loud FROM masked;
    GRANT ALL ON people, masked, contacts, masked_contacts TO PUBLIC;"#;

async fn proxy() -> Proxy {
    let database = Database::create().await;
    database.direct().await.batch_execute(TABLES).await.expect("tables");
    Proxy::in_front_of(database, Launch { fragment: MASK, ..Launch::default() }, |text| text).await
}

async fn copied(client: &Client, statement: &str) -> Vec<u8> {
    let stream = match client.copy_out(statement).await {
        Ok(stream) => stream,
        Err(error) => panic!("{statement}: {error:?}"),
    };
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await.expect(statement);
    chunks.concat()
}

/// What comes through the proxy for the first is what comes directly for the second, with `people` as `masked`.
async fn check(proxy: &Proxy, direct: &Client, source: &str, options: &str) {
    let client = proxy.client("alice").await;
    let statement = format!("COPY {source} TO STDOUT {options}");
    let instead = source.replace("people", "masked").replace("contacts", "masked_contacts");
    let through = copied(&client.client, &statement).await;
    let wanted = copied(direct, &format!("COPY {instead} TO STDOUT {options}")).await;
    assert_eq!(String::from_utf8_lossy(&through), String::from_utf8_lossy(&wanted), "{statement}");
    assert!(!through.windows(6).any(|window| window == b"canary"), "{statement}");
}

#[tokio::test]
async fn every_format_is_that_of_postgresql() {
    let proxy = proxy().await;
    let direct = proxy.database.direct().await;
    for options in [
        "",
        "(FORMAT text, HEADER)",
        "(DELIMITER '|', NULL '')",
        "(DELIMITER E'\\x01')",
        "WITH CSV HEADER",
        "(FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '\\', HEADER true)",
        "(FORMAT csv, NULL 'none', FORCE_QUOTE *)",
        "(FORMAT csv, FORCE_QUOTE (email, id), ENCODING 'utf-8')",
        "(FORMAT csv, ESCAPE ',', NULL '***')",
        "WITH BINARY",
    ] {
        check(&proxy, &direct, "people", options).await;
        check(&proxy, &direct, "people (tags, email, name)", &options.replace("email, id", "email")).await;
        check(&proxy, &direct, "(SELECT name AS id, email, pay FROM people ORDER BY people.id)", options).await;
    }
    check(&proxy, &direct, "people (email)", "WITH CSV").await;
}

#[tokio::test]
async fn queries_views_and_returning_are_masked() {
    let proxy = proxy().await;
    let direct = proxy.database.direct().await;
    for source in [
        "(SELECT * FROM contacts ORDER BY id)",
        "(WITH p AS (SELECT email AS a, id FROM people) SELECT a, id FROM p ORDER BY id)",
        "(SELECT p.email FROM people p JOIN LATERAL (SELECT p.id) x ON true ORDER BY p.id)",
        "(SELECT count(*), count(email) FROM people)",
        "(UPDATE people SET name = name RETURNING email, id)",
        "(SELECT FROM people)",
    ] {
        check(&proxy, &direct, source, "").await;
        check(&proxy, &direct, source, "(FORMAT binary)").await;
    }
    let client = proxy.client("alice").await;
    let out = copied(&client.client, "COPY (DELETE FROM people WHERE id = 5 RETURNING *) TO STDOUT").await;
    assert_eq!(String::from_utf8_lossy(&out), "5\t\\\\.\t***\t\\N\t0\t{}\t***\n");
}

/// A value of which neither origin nor type is known becomes NULL, which every type has.
#[tokio::test]
async fn what_is_computed_from_a_masked_column_is_null() {
    let proxy = proxy().await;
    let client = proxy.client("alice").await;
    for (query, expected) in [
        ("SELECT id, upper(email), pay::text FROM people WHERE id < 3 ORDER BY id", "1\t\\N\t\\N\n2\t\\N\t\\N\n"),
        ("SELECT email FROM people WHERE id = 1 UNION ALL SELECT name FROM people WHERE id = 1", "\\N\n\\N\n"),
        ("SELECT max(email) FROM people", "\\N\n"),
        ("SELECT p FROM people p WHERE id = 1", "\\N\n"),
        ("SELECT to_jsonb(p) FROM people p WHERE id = 1", "\\N\n"),
        ("SELECT id, x.v FROM people, LATERAL (VALUES (email), ('x')) AS x(v) WHERE id = 1", "1\t\\N\n1\t\\N\n"),
    ] {
        let out = copied(&client.client, &format!("COPY ({query}) TO STDOUT")).await;
        assert_eq!(String::from_utf8_lossy(&out), expected, "{query}");
    }
}

/// A marker for NULL that is equal to a value must not tell which values those are.
#[tokio::test]
async fn the_null_marker_is_no_oracle() {
    let proxy = proxy().await;
    let client = proxy.client("alice").await;
    let out = copied(&client.client, "COPY people (email) TO STDOUT (NULL 'canary@example.com')").await;
    assert_eq!(out, "***\n".repeat(6).as_bytes());
    let refusal = client.refusal("COPY people TO STDOUT (ENCODING 'LATIN1')").await;
    assert_eq!(refusal.message(), "COPY of masked column \"public.people.email\" is not available with these options");
}
