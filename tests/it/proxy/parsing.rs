//! What PostgreSQL runs when it only parses a statement: it reads literals, and a part of a row that is of a domain brings
//! the functions of its checks.

use crate::support::proxy::Proxy;
use crate::support::wire::{Pipeline, tags};
use postgres_protocol::message::frontend;

const CALLS_HELD: &str =
    "[[rules]]\nname = \"calls\"\neffects = [\"function_call\"]\naction = \"hold\"\nreviewers = [\"dba-team\"]\n";

const OBJECTS: &str = "
    CREATE TABLE seen (value text);
    CREATE FUNCTION note(text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen VALUES ($1); RETURN true; END';
    CREATE DOMAIN code AS text CHECK (note(VALUE));
    CREATE TYPE pair AS (a int, b code);
    CREATE TYPE span AS RANGE (SUBTYPE = code);
    CREATE TABLE kept (id int, one code, many code[], duo pair);
    CREATE FUNCTION of_pair(pair) RETURNS int LANGUAGE sql AS 'SELECT 1';
    GRANT ALL ON seen, kept TO PUBLIC";

/// Statements that note something when they are parsed.
const NOTING: &[&str] = &[
    "SELECT '(1,x)'::pair",
    "SELECT '{x}'::code[]",
    "SELECT '[x,y]'::span",
    "SELECT id FROM kept WHERE many = '{x}'",
    "SELECT id FROM kept WHERE many @> '{x}'",
    "SELECT coalesce(duo, '(1,x)') FROM kept",
    "SELECT duo FROM kept UNION SELECT '(1,x)'",
    "SELECT array_agg(one) = '{x}' FROM kept",
    "SELECT ARRAY[one] = '{x}' FROM kept",
    "SELECT ARRAY(SELECT one FROM kept) = '{x}'",
    "SELECT coalesce(k, '(1,x,{},)') FROM kept k",
    "SELECT of_pair('(1,x)')",
    "INSERT INTO kept (duo) VALUES ('(1,x)')",
    "UPDATE kept SET duo = '(1,x)'",
    "VALUES (NULL::pair), ('(1,x)')",
    "EXPLAIN SELECT '(1,x)'::pair",
    "DECLARE c CURSOR FOR SELECT '(1,x)'::pair",
    "SELECT '(1,x)'::pair, nosuch_4711()",
];

/// Statements with such types that note nothing.
const QUIET: &[&str] = &[
    "SELECT id FROM kept WHERE one = 'x'",
    "SELECT id, one, many, duo FROM kept WHERE id = 1",
    "SELECT id FROM kept WHERE id = '1'",
    "SELECT name FROM customers WHERE name = 'x'",
];

#[tokio::test]
async fn what_runs_code_when_it_is_parsed_waits_for_its_execute() {
    let proxy = Proxy::start(CALLS_HELD).await;
    let direct = proxy.database.direct().await;
    direct.batch_execute(OBJECTS).await.expect("objects");
    let noted = async || direct.query_one("SELECT count(*) FROM seen", &[]).await.expect("count").get::<_, i64>(0);
    let mut wire = proxy.wire("alice").await;
    // The catalog is loaded for a name it does not know.
    wire.query("SELECT note_4711()").await;
    for statement in NOTING {
        direct.batch_execute("TRUNCATE seen").await.expect("TRUNCATE");
        let parsed = direct.prepare(statement).await;
        assert!(noted().await > 0 || parsed.is_err(), "{statement}: it notes when it is parsed");
        direct.batch_execute("TRUNCATE seen").await.expect("TRUNCATE");
        wire.send(&Pipeline::default().prepare("", statement).sync().0).await;
        assert_eq!(tags(&wire.until_ready().await), "EZ", "{statement}");
        assert_eq!(noted().await, 0, "{statement}");
    }
    for statement in QUIET {
        wire.send(&Pipeline::default().prepare("", statement).sync().0).await;
        assert_eq!(tags(&wire.until_ready().await), "1Z", "{statement}");
    }
    assert_eq!(noted().await, 0);
}

/// A Parse that waits must not leave with the Execute of another statement, which was decided without it.
#[tokio::test]
async fn it_does_not_leave_with_the_execute_of_another_statement() {
    let proxy = Proxy::start(CALLS_HELD).await;
    let direct = proxy.database.direct().await;
    direct.batch_execute(OBJECTS).await.expect("objects");
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT note_4711()").await;
    let both = Pipeline::default().prepare("noting", "SELECT '(1,x)'::pair").execute("SELECT 1", &[], 0).sync();
    wire.send(&both.0).await;
    let frames = wire.until_ready().await;
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(frames[0].field(b'C').as_deref(), Some("42501"));
    let count = direct.query_one("SELECT count(*) FROM seen", &[]).await.expect("count").get::<_, i64>(0);
    assert_eq!(count, 0);
}

/// With its Execute it is held, and runs once it is approved.
#[tokio::test]
async fn with_its_execute_it_is_held_and_runs_when_approved() {
    let proxy = Proxy::start(CALLS_HELD).await;
    let direct = proxy.database.direct().await;
    direct.batch_execute(OBJECTS).await.expect("objects");
    let mut wire = proxy.wire("alice").await;
    wire.query("SELECT note_4711()").await;
    wire.send(&Pipeline::default().execute("SELECT id FROM kept WHERE many = '{x}'", &[], 0).sync().0).await;
    let notice = wire.frame().await;
    assert_eq!(notice.tag, b'N');
    let id = crate::support::client::request_id(&notice.field(b'D').expect("DETAIL")).expect("id");
    let count = async || direct.query_one("SELECT count(*) FROM seen", &[]).await.expect("count").get::<_, i64>(0);
    assert_eq!(count().await, 0);
    assert_eq!(proxy.api("bob").approve(&id).await, 200);
    let frames = wire.until_ready().await;
    assert!(tags(&frames).ends_with("CZ"), "{}", tags(&frames));
    assert!(count().await > 0);
    let mut bytes = bytes::BytesMut::new();
    frontend::parse("", "SELECT 1", [], &mut bytes).expect("Parse");
    frontend::sync(&mut bytes);
    wire.send(&bytes).await;
    assert_eq!(tags(&wire.until_ready().await), "1Z");
}
