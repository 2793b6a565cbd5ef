//! Denials leave client and upstream as PostgreSQL itself would.

use bytes::BytesMut;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use crate::support::client::refusal_of;
use crate::support::config::WRITES_HELD;
use crate::support::proxy::Proxy;
use crate::support::wire::{Pipeline, tags};
use crate::support::within;

#[tokio::test]
async fn drop_is_denied_and_the_table_is_there() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let client = proxy.client("alice").await;
    for statement in [
        "DROP TABLE payments",
        "TRUNCATE payments",
        "/* harmless */ dRoP /* really */ TABLE payments",
        "SELECT 1; DROP TABLE payments",
        "DROP VIEW customer_contacts",
    ] {
        let error = client.refusal(statement).await;
        assert_eq!(error.code().code(), "42501", "{statement}");
        assert_eq!(error.message(), "statement denied by rule \"no-destructive-ddl\"", "{statement}");
        assert_eq!(error.detail(), Some("Drop and truncate go through a migration, never through a session"));
    }
    assert_eq!(client.value("SELECT count(*) FROM payments").await.as_deref(), Some("833"));
    assert!(!proxy.database.log().to_uppercase().contains("STATEMENT: DROP TABLE"));
}

#[tokio::test]
async fn an_open_block_is_really_aborted() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    wire.query("BEGIN").await;
    let frames = wire.query("DROP TABLE payments").await;
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(frames.last().map(|frame| frame.body.as_slice()), Some(b"E".as_slice()));
    let refused = wire.query("SELECT 1").await;
    assert_eq!(refused[0].field(b'C').as_deref(), Some("25P02"), "the upstream's own word");
    let committed = wire.query("COMMIT").await;
    assert_eq!(committed[0].body, b"ROLLBACK\0");
}

#[tokio::test]
async fn a_denied_execute_rolls_back_its_pipeline() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    let pipeline = Pipeline::default()
        .execute("CREATE TABLE first_of_the_pipeline (id int)", &[], 0)
        .execute("DROP TABLE payments", &[], 0)
        .execute("SELECT 1", &[], 0)
        .sync();
    wire.send(&pipeline.0).await;
    let frames = wire.until_ready().await;
    let seen = tags(&frames);
    assert!(seen.ends_with("EZ") && !seen.contains('D'), "{seen}");
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("ErrorResponse");
    assert_eq!(error.field(b'M').as_deref(), Some("statement denied by rule \"no-destructive-ddl\""));
    let direct = proxy.database.direct().await;
    let row = direct.query_one("SELECT to_regclass('public.first_of_the_pipeline') IS NULL", &[]).await.expect("row");
    assert!(row.get::<_, bool>(0), "what came before in the pipeline is rolled back");
}

#[tokio::test]
async fn what_is_not_understood_is_held() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut client = proxy.client("alice").await;
    let held = client.hold("EXECUTE prepared_elsewhere_4711").await;
    assert!(held.is_waiting());
    assert!(!proxy.database.log().contains("prepared_elsewhere_4711"));
}

/// A typing error gets PostgreSQL's own answer at once, with its position and hint: nobody has to approve it, and the
/// upstream parses it but has nothing to execute.
#[tokio::test]
async fn what_can_only_fail_fails_as_it_does_upstream() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let client = proxy.client("alice").await;
    let direct = proxy.database.direct().await;
    let told = |error: tokio_postgres::Error| format!("{:?}", error.as_db_error().expect("an error of the database"));
    for statement in [
        "SELECT id,\n  name FROM does_not_exist_4711",
        "UPDATE custmers SET name = 'x'",
        "SELECT does_not_exist_4711(id) FROM customers",
        "SELECT * FROM customers WHERE does_not_exist_4711 = 1 AND id = nosuch(1)",
        "SELEC does_not_exist_4711",
        "SELECT 1; SELEC 2",
        "INSERT INTO customers (id VALUES (1)",
        "SELECT 'unterminated",
    ] {
        let answer = within(statement, client.client.simple_query(statement));
        let through = answer.await.map(|_| ()).map_err(told);
        let expected = direct.simple_query(statement).await.map(|_| ()).map_err(told);
        assert!(expected.is_err(), "{statement}");
        assert_eq!(through, expected, "{statement}");
        let answer = within(statement, client.client.execute(statement, &[]));
        let through = answer.await.map(|_| ()).map_err(told);
        let expected = direct.execute(statement, &[]).await.map(|_| ()).map_err(told);
        assert_eq!(through, expected, "{statement}, prepared");
    }
    assert_eq!(client.value("SELECT 1").await.as_deref(), Some("1"), "the session goes on");
}

/// The same when Parse, Bind and Execute come in one pipeline, and within a transaction block.
#[tokio::test]
async fn what_can_only_fail_fails_in_a_pipeline_and_in_a_block() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    wire.send(&Pipeline::default().execute("SELECT * FROM nowhere_4711", &[], 0).sync().0).await;
    let frames = wire.until_ready().await;
    assert_eq!((tags(&frames), frames[0].field(b'P')), ("EZ".to_owned(), Some("15".to_owned())));
    wire.query("BEGIN").await;
    let frames = wire.query("SELECT 1 FROM nowhere_4711").await;
    assert_eq!((tags(&frames), frames[0].field(b'P')), ("EZ".to_owned(), Some("15".to_owned())));
    let frames = wire.query("SELECT 1 FROM nowhere_4711").await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("25P02"), "the block has failed upstream");
    assert_eq!(tags(&wire.query("ROLLBACK").await), "CZ");
}

/// The catalog cannot be loaded quickly while a view's table is locked; the session must not load it for ever.
#[tokio::test]
async fn an_unknown_name_is_answered_while_the_session_holds_locks() {
    let proxy = Proxy::start(WRITES_HELD).await;
    let mut wire = proxy.wire("alice").await;
    wire.query("BEGIN").await;
    wire.query("LOCK TABLE customers, orders, products, payments IN ACCESS EXCLUSIVE MODE").await;
    let direct = proxy.database.direct().await;
    direct.batch_execute("CREATE TABLE reason_to_load_4711 (id int)").await.expect("a changed catalog");
    let frames = wire.query("SELECT * FROM does_not_exist_4711").await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("42P01"));
    assert_eq!(tags(&wire.query("ROLLBACK").await), "CZ");
}

/// What only the open transaction has is in no catalog.
#[tokio::test]
async fn relations_of_the_open_transaction_are_known() {
    let proxy = Proxy::start("").await;
    let mut wire = proxy.wire("alice").await;
    for statement in [
        "BEGIN",
        "CREATE TEMP TABLE made_4711 (id int)",
        "INSERT INTO made_4711 VALUES (1)",
        "CREATE TABLE public.kept_4711 (id int)",
        "INSERT INTO kept_4711 SELECT id FROM made_4711",
    ] {
        let frames = wire.query(statement).await;
        assert_eq!(tags(&frames), "CZ", "{statement}");
    }
    assert_eq!(tags(&wire.query("SELECT id FROM kept_4711").await), "TDCZ");
    wire.query("ROLLBACK").await;
    let frames = wire.query("SELECT id FROM kept_4711").await;
    assert_eq!(frames[0].field(b'C').as_deref(), Some("42P01"), "rolled back");
}

#[tokio::test]
async fn what_may_be_absent_passes() {
    let proxy = Proxy::start("").await;
    let mut wire = proxy.wire("alice").await;
    for statement in ["DROP TABLE IF EXISTS absent_4711", "ALTER TABLE IF EXISTS absent_4711 ADD COLUMN a int"] {
        assert_eq!(tags(&wire.query(statement).await), "CZ", "{statement}");
    }
}

const CALLS_DENIED: &str = r#"
[[rules]]
name = "no-calls"
effects = ["function_call"]
action = "deny"
"#;

/// A volatile function is called by its operator, its cast and its aggregate too.
#[tokio::test]
async fn code_behind_operators_casts_and_aggregates_is_called() {
    let proxy = Proxy::start(CALLS_DENIED).await;
    let direct = proxy.database.direct().await;
    let code = "CREATE FUNCTION loud(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
        CREATE FUNCTION calm(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2';
        CREATE OPERATOR public.<~> (LEFTARG = int, RIGHTARG = int, FUNCTION = loud);
        CREATE OPERATOR public.<+> (LEFTARG = int, RIGHTARG = int, FUNCTION = calm);
        CREATE AGGREGATE loudest(int) (SFUNC = loud, STYPE = int);
        CREATE AGGREGATE calmest(int) (SFUNC = calm, STYPE = int, INITCOND = '0');
        CREATE TYPE parcel AS (n int);
        CREATE FUNCTION unpack(parcel) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
        CREATE CAST (parcel AS int) WITH FUNCTION unpack(parcel)";
    direct.batch_execute(code).await.expect("definitions");
    // An unknown name makes the proxy load the catalog.
    let client = proxy.client("alice").await;
    assert_eq!(client.refusal("SELECT does_not_exist_4711()").await.code().code(), "42883");
    for statement in
        ["SELECT 1 <~> 2", "SELECT 1 OPERATOR(public.<~>) 2", "SELECT loudest(1)", "SELECT ROW(1)::parcel::int"]
    {
        assert_eq!(client.refusal(statement).await.code().code(), "42501", "{statement}");
    }
    for (statement, value) in [("SELECT 1 <+> 2", "3"), ("SELECT calmest(1)", "1"), ("SELECT '1'::int", "1")] {
        assert_eq!(client.value(statement).await.as_deref(), Some(value), "{statement}");
    }
}

/// Binding a value of a domain runs its checks, and a check can call anything.
#[tokio::test]
async fn a_parameter_that_runs_code_is_not_bound_unasked() {
    let proxy = Proxy::start("[[rules]]\nname = \"calls\"\neffects = [\"function_call\"]\naction = \"hold\"\n").await;
    let direct = proxy.database.direct().await;
    direct
        .batch_execute(
            "CREATE FUNCTION erase() RETURNS bool LANGUAGE plpgsql AS 'BEGIN DELETE FROM payments; RETURN true; END';
             CREATE FUNCTION innocent(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN erase(); END';
             CREATE DOMAIN trapped AS int CHECK (innocent(VALUE)); CREATE DOMAIN plain AS int CHECK (VALUE > 0);
             GRANT ALL ON payments TO PUBLIC",
        )
        .await
        .expect("objects");
    let oids = "SELECT 'trapped'::regtype::oid, 'plain'::regtype::oid, 'trapped[]'::regtype::oid";
    let row = direct.query_one(oids, &[]).await.expect("types");
    let (trapped, plain, traps): (u32, u32, u32) = (row.get(0), row.get(1), row.get(2));
    let mut wire = proxy.wire("alice").await;
    // The catalog is loaded for a name it does not know.
    wire.query("SELECT erase_4711()").await;
    for (statement, types, answer) in [
        ("SELECT $1", vec![trapped], "EZ"),
        ("SELECT $1::trapped", vec![], "EZ"),
        ("SELECT $1", vec![plain], "12Z"),
        ("SELECT $1::plain", vec![], "12Z"),
        ("SELECT $1", vec![traps], "EZ"),
    ] {
        let mut bytes = BytesMut::new();
        frontend::parse("", statement, types, &mut bytes).expect("Parse");
        let value = |_: &&str, out: &mut BytesMut| {
            out.extend_from_slice(b"7");
            Ok(IsNull::No)
        };
        assert!(frontend::bind("", "", [], ["7"].iter(), value, [0], &mut bytes).is_ok(), "Bind");
        frontend::sync(&mut bytes);
        wire.send(&bytes).await;
        assert_eq!(tags(&wire.until_ready().await), answer, "{statement}");
    }
    let left: i64 = direct.query_one("SELECT count(*) FROM payments", &[]).await.expect("count").get(0);
    assert_eq!(left, 833);
}

const NAMED: &str = r#"
[[rules]]
name = "not-that-one"
functions = ["public.secret_sauce", "pg_catalog.pg_ls_dir"]
action = "deny"
"#;

/// A rule on a function finds it behind whatever calls it by another name.
#[tokio::test]
async fn a_function_is_found_behind_operators_casts_aggregates_triggers_and_defaults() {
    let proxy = Proxy::start(NAMED).await;
    let direct = proxy.database.direct().await;
    let code = "CREATE FUNCTION secret_sauce(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
        CREATE FUNCTION secret_sauce(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
        CREATE FUNCTION secret_sauce() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE FUNCTION plain(int, int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END';
        CREATE FUNCTION within(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT secret_sauce($1, $2)';
        CREATE OPERATOR public.<~> (LEFTARG = int, RIGHTARG = int, FUNCTION = secret_sauce);
        CREATE OPERATOR public.<+> (LEFTARG = int, RIGHTARG = int, FUNCTION = plain);
        CREATE OPERATOR public.<-> (LEFTARG = int, RIGHTARG = int, FUNCTION = within);
        CREATE OPERATOR public.!! (RIGHTARG = text, FUNCTION = pg_ls_dir);
        CREATE AGGREGATE by_state(int) (SFUNC = secret_sauce, STYPE = int);
        CREATE AGGREGATE by_final(int) (SFUNC = plain, STYPE = int, FINALFUNC = secret_sauce);
        CREATE AGGREGATE by_combine(int) (SFUNC = plain, STYPE = int, COMBINEFUNC = secret_sauce, PARALLEL = SAFE);
        CREATE AGGREGATE by_moving(int) (SFUNC = plain, STYPE = int, MSFUNC = plain, MSTYPE = int, MINVFUNC = plain,
            MFINALFUNC = secret_sauce);
        CREATE AGGREGATE harmless(int) (SFUNC = plain, STYPE = int);
        CREATE TYPE parcel AS (n int);
        CREATE FUNCTION unpack(parcel) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT secret_sauce(1)';
        CREATE CAST (parcel AS int) WITH FUNCTION unpack(parcel);
        CREATE DOMAIN checked AS int CHECK (secret_sauce(VALUE) = 1);
        CREATE TABLE watched (n int); CREATE TABLE filled (m int, n int DEFAULT secret_sauce(1));
        CREATE TABLE indexed (n int); CREATE INDEX ON indexed (secret_sauce(n));
        CREATE TRIGGER watch BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION secret_sauce();
        CREATE TABLE calm (n int DEFAULT plain(1, 2));
        GRANT ALL ON watched, filled, indexed, calm TO PUBLIC";
    direct.batch_execute(code).await.expect("definitions");
    let client = proxy.client("alice").await;
    assert_eq!(client.refusal("SELECT does_not_exist_4711()").await.code().code(), "42883");
    for statement in [
        "SELECT secret_sauce(1)",
        "SELECT 1 <~> 2",
        "SELECT 1 OPERATOR(public.<~>) 2",
        "SELECT 1 <-> 2",
        "SELECT !! '/'",
        "SELECT 1 WHERE 1 <~> ANY (ARRAY[1])",
        "SELECT by_state(1)",
        "SELECT public.by_final(1) FROM products",
        "SELECT by_combine(1) OVER () FROM products",
        "SELECT by_moving(n) OVER (ROWS 1 PRECEDING) FROM generate_series(1, 2) n",
        "WITH w AS (SELECT by_state(1)) SELECT 1",
        "SELECT ROW(1)::parcel::int",
        "SELECT CAST(ROW(1)::parcel AS int)",
        "SELECT 1::checked",
        "INSERT INTO watched VALUES (1)",
        "INSERT INTO filled (m) VALUES (1)",
        "INSERT INTO indexed VALUES (1)",
        "COPY watched FROM PROGRAM 'echo 1'",
    ] {
        let refusal = client.refusal(statement).await;
        assert_eq!(refusal.message(), "statement denied by rule \"not-that-one\"", "{statement}");
    }
    for (statement, value) in [
        ("SELECT 1 <+> 2", "1"),
        ("SELECT harmless(1)", "1"),
        ("SELECT sum(id) > 0 FROM products", "t"),
        ("SELECT '1'::int + 2 - 3 * 1", "0"),
        ("SELECT '1'::money::numeric > 0", "t"),
        ("INSERT INTO calm DEFAULT VALUES RETURNING n", "1"),
    ] {
        assert_eq!(client.value(statement).await.as_deref(), Some(value), "{statement}");
    }
}

/// What keeps the proxy from logging in again is for nobody, whatever the rules allow.
#[tokio::test]
async fn the_role_of_the_proxy_is_not_changed_through_it() {
    let proxy = Proxy::start("").await;
    let direct = proxy.database.direct().await;
    let code = "CREATE FUNCTION lockout() RETURNS void LANGUAGE sql AS 'ALTER ROLE shop_rw PASSWORD NULL'";
    direct.batch_execute(code).await.expect("a function");
    let client = proxy.client("alice").await;
    let message = "the role that the proxy logs in with cannot be changed through the proxy";
    for statement in [
        "ALTER ROLE shop_rw PASSWORD 'x'",
        "alter user SHOP_RW with encrypted password 'x'",
        "ALTER ROLE \"shop_rw\" NOLOGIN",
        "ALTER ROLE U&\"sh\\006fp_rw\" VALID UNTIL '2000-01-01'",
        "ALTER ROLE U&\"sh!006fp_rw\" UESCAPE '!' CONNECTION LIMIT 0",
        "ALTER ROLE CURRENT_USER PASSWORD 'x'",
        "ALTER ROLE CURRENT_ROLE PASSWORD 'x'",
        "ALTER USER SESSION_USER SET search_path = evil",
        "ALTER /* x */ ROLE shop_rw IN DATABASE shop SET role = 'none'",
        "ALTER ROLE ALL SET default_transaction_read_only = on",
        "ALTER ROLE shop_rw RESET ALL",
        "ALTER ROLE shop_rw RENAME TO mine",
        "ALTER GROUP shop_rw RENAME TO mine",
        "ALTER GROUP shop_rw ADD USER alice",
        "DROP ROLE IF EXISTS nobody_4711, shop_rw",
        "DROP USER shop_rw",
        "DROP OWNED BY shop_rw",
        "DROP OWNED BY CURRENT_USER CASCADE",
        "SELECT 1; ALTER ROLE shop_rw PASSWORD 'x'",
        "BEGIN; SET LOCAL ROLE none; ALTER ROLE CURRENT_USER PASSWORD 'x'; COMMIT",
        "SELECT lockout()",
        "UPDATE pg_authid SET rolpassword = NULL WHERE rolname = 'shop_rw'",
        "DELETE FROM pg_catalog.pg_db_role_setting",
    ] {
        let refusal = client.refusal(statement).await;
        assert_eq!((refusal.code().code(), refusal.message()), ("42501", message), "{statement}");
    }
    let refused = client.client.execute("ALTER ROLE shop_rw PASSWORD 'x'", &[]).await.expect_err("refused");
    assert_eq!(refusal_of(refused).message(), message, "in the extended protocol");
    client.client.simple_query("SET countersign.batch = on; BEGIN").await.expect("a batch");
    assert_eq!(client.refusal("ALTER ROLE shop_rw PASSWORD 'x'").await.message(), message);
    client.client.simple_query("ROLLBACK").await.expect("an end");

    // These are the server's to refuse: its role may not do them.
    for statement in
        ["ALTER ROLE somebody_else_4711 PASSWORD 'x'", "DROP ROLE somebody_else_4711", "CREATE ROLE one_more"]
    {
        assert_ne!(client.refusal(statement).await.message(), message, "{statement}");
    }
    for statement in [
        "ALTER TABLE payments ALTER COLUMN id SET STATISTICS 10",
        "SELECT rolname FROM pg_roles LIMIT 1",
        "SELECT 'alter role shop_rw'",
    ] {
        client.client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    assert!(!proxy.database.log().contains(": ALTER ROLE shop_rw"), "nothing of it arrived");
    drop(proxy.client("bob").await);
}
