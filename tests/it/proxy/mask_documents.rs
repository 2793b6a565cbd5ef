//! JSON documents of which some paths are masked, on every way out.

use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::wire::Pipeline;

const CANARY: &str = "canary7";

const DEFINITIONS: &str = r#"
    CREATE TABLE events (id integer, payload jsonb, raw json, note text);
    INSERT INTO events VALUES (1,
        '{"n": 1, "email": "canary7@example.com", "cards": [{"number": "canary7", "ok": true}]}',
        '{"email":"canary7a","e":2,"\u0065mail":"canary7b"}', 'canary7');
    CREATE TYPE contact AS (email text, n integer);
    CREATE FUNCTION spell(integer) RETURNS text LANGUAGE plpgsql STABLE AS
        'BEGIN RETURN (SELECT note FROM events WHERE id = $1); END';
    CREATE VIEW latest AS SELECT id, payload AS p FROM events;
    GRANT SELECT ON events, latest TO PUBLIC;"#;

const MASKS: &str = r#"
[[masks]]
name = "payloads"
columns = ["public.events.payload", "public.events.raw"]
mask = { json = { "$.email" = "email", "$.cards[*].number" = "redact" } }
predicates = "allow"

[[masks]]
name = "notes"
columns = ["public.events.note"]
mask = { text = "hidden" }
"#;

const PAYLOAD: &str = r#"{"n": 1, "cards": [{"ok": true, "number": "***"}], "email": "c***@example.com"}"#;

async fn proxy() -> Proxy {
    let database = Database::create().await;
    database.direct().await.batch_execute(DEFINITIONS).await.expect("definitions");
    Proxy::in_front_of(database, Launch { fragment: MASKS, ..Launch::default() }, |text| text).await
}

#[tokio::test]
async fn a_document_keeps_what_is_not_masked_in_it() {
    let proxy = proxy().await;
    let client = proxy.client("alice").await;
    for (statement, expected) in [
        ("SELECT payload FROM events", PAYLOAD),
        ("SELECT raw FROM events", r#"{"email":"***","e":2,"\u0065mail":"***"}"#),
        ("SELECT p FROM latest", PAYLOAD),
        ("SELECT note FROM events", "hidden"),
        ("SELECT spell(1)", "***"),
        ("SELECT (array[e])[1] FROM events e", "(0,\"\"\"***\"\"\",\"\"\"***\"\"\",***)"),
    ] {
        assert_eq!(client.value(statement).await.as_deref(), Some(expected), "{statement}");
    }
    let row = client.value("SELECT e FROM events e").await.expect("a row");
    assert!(row.contains("c***@example.com") && row.ends_with(",hidden)") && !row.contains(CANARY), "{row}");
}

/// What SQL takes out of a document, or makes of it, is hidden whole: nobody knows which path it came from.
#[tokio::test]
async fn no_function_takes_a_masked_member_out() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    for statement in [
        "SELECT payload -> 'email', payload ->> 'email', payload #> '{cards,0,number}', payload #>> '{email}' FROM events",
        "SELECT payload['email'], payload['cards'][0] FROM events",
        "SELECT raw -> 'email', raw ->> 'email' FROM events",
        "SELECT jsonb_path_query(payload, '$.email'), jsonb_path_query_array(payload, '$.cards[*].number') FROM events",
        "SELECT jsonb_path_query_first(payload, '$.**.number') FROM events",
        "SELECT (jsonb_populate_record(NULL::contact, payload)).email FROM events",
        "SELECT json_populate_record(NULL::contact, raw) FROM events",
        "SELECT x.email FROM events, jsonb_to_record(payload) AS x(email text)",
        "SELECT key, value FROM events, jsonb_each_text(payload)",
        "SELECT jsonb_array_elements(payload -> 'cards') FROM events",
        "SELECT jsonb_pretty(payload), payload::text, to_json(payload), payload || '{}' FROM events",
        "SELECT jsonb_set(payload, '{email}', '1'), payload - 'n' FROM events",
        "SELECT json_agg(e), jsonb_object_agg(id, payload) FROM events e",
        "SELECT to_jsonb(e), row_to_json(e) FROM events e",
        "SELECT * FROM events",
        "COPY events TO STDOUT",
        "COPY (SELECT payload, raw, note FROM events) TO STDOUT (FORMAT csv)",
        "COPY (SELECT payload ->> 'email' FROM events) TO STDOUT",
        "COPY events TO STDOUT (FORMAT binary)",
    ] {
        let mut seen = wire.query(statement).await;
        if !statement.starts_with("COPY") {
            for format in [0, 1] {
                wire.send(&Pipeline::default().execute(statement, &[], format).sync().0).await;
                seen.extend(wire.until_ready().await);
            }
        }
        for frame in &seen {
            assert!(!String::from_utf8_lossy(&frame.body).contains(CANARY), "{statement}: {frame:?}");
        }
        let failed = seen.iter().find(|frame| frame.tag == b'E');
        assert!(failed.is_none(), "{statement}: {failed:?}");
    }
}

/// Binary `jsonb` has a version byte, `COPY` its own quoting.
#[tokio::test]
async fn documents_are_documents_in_every_format() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    wire.send(&Pipeline::default().execute("SELECT payload FROM events", &[], 1).sync().0).await;
    let frames = wire.until_ready().await;
    let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
    assert_eq!(&row.body[6..], format!("\u{1}{PAYLOAD}").as_bytes());
    for (statement, expected) in [
        ("COPY (SELECT payload FROM events) TO STDOUT", format!("{PAYLOAD}\n")),
        ("COPY (SELECT payload FROM events) TO STDOUT (FORMAT csv)", format!("\"{}\"\n", PAYLOAD.replace('"', "\"\""))),
    ] {
        let frames = wire.query(statement).await;
        let data = frames.iter().find(|frame| frame.tag == b'd').expect("data");
        assert_eq!(String::from_utf8_lossy(&data.body), expected, "{statement}");
    }
}
