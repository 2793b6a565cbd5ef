//! What somebody defines on a connection of their own counts at once, though the catalog is asked for changes only every few
//! seconds.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::config::PII_MASKED;
use crate::support::proxy::{Launch, Proxy};
use crate::support::server::{Database, SERVER};
use crate::support::wire::{Frame, Pipeline, WireClient, tags};

const SSN: &str = "913-30-7919";

/// Things that show a name, and that somebody makes show a number.
const SHOWING: &str = "
    CREATE VIEW shown AS SELECT id, name AS s FROM customers WHERE id = 1;
    CREATE VIEW behind AS SELECT id, s FROM shown;
    CREATE FUNCTION told(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM customers WHERE id = $1';
    CREATE TABLE plain AS SELECT id, name AS s FROM customers WHERE id = 1;
    CREATE TABLE parent (id integer, s text); CREATE TABLE child () INHERITS (parent);
    INSERT INTO child SELECT * FROM shown;
    CREATE TABLE joining AS SELECT id, ssn AS s FROM customers WHERE id = 1;
    GRANT ALL ON shown, behind, plain, parent, child, joining TO PUBLIC;";

/// The same, showing a number.
const BETRAYING: &str = "
    CREATE OR REPLACE VIEW shown AS SELECT id, ssn AS s FROM customers WHERE id = 1;
    CREATE OR REPLACE FUNCTION told(integer) RETURNS text LANGUAGE sql STABLE AS
        'SELECT ssn FROM customers WHERE id = $1';
    ALTER TABLE plain RENAME TO plain_before;
    CREATE VIEW plain AS SELECT id, ssn AS s FROM customers WHERE id = 1;
    GRANT ALL ON plain TO PUBLIC;";

/// What undoes that.
const REDEEMING: &str = "
    CREATE OR REPLACE VIEW shown AS SELECT id, name AS s FROM customers WHERE id = 1;
    CREATE OR REPLACE FUNCTION told(integer) RETURNS text LANGUAGE sql STABLE AS 'SELECT name FROM customers WHERE id = $1';
    DROP VIEW plain;
    ALTER TABLE plain_before RENAME TO plain;";

struct House {
    proxy: Proxy,
    direct: Client,
}

async fn house(fragment: &str) -> House {
    let database = Database::create().await;
    let direct = database.direct().await;
    direct.batch_execute(SHOWING).await.expect("definitions");
    // What is not understood any more is refused, rather than waiting for people.
    let strict = |text: String| text.replace("unparsed = \"hold\"", "unparsed = \"deny\"");
    let proxy = Proxy::in_front_of(database, Launch { fragment, ..Launch::default() }, strict).await;
    House { proxy, direct }
}

impl House {
    async fn betray(&self) {
        self.direct.batch_execute(BETRAYING).await.expect("other definitions");
    }

    /// Has everything as it was, and known.
    async fn redeem(&self) {
        self.direct.batch_execute(REDEEMING).await.expect("the first definitions");
        self.make_known().await;
    }

    /// After a definition that passes it, the proxy knows everything.
    async fn make_known(&self) {
        let client = self.proxy.client("erin").await;
        client.client.simple_query("CREATE TEMP TABLE made ()").await.expect("a definition");
    }
}

/// Whether the name is in what came, and that the number is not.
#[track_caller]
fn shows_the_name(frames: &[Frame], what: &str) -> bool {
    let has = |secret: &str| frames.iter().any(|frame| String::from_utf8_lossy(&frame.body).contains(secret));
    for secret in [SSN, "913-30", "9197-03-319"] {
        assert!(!has(secret), "{what}: {secret} in {frames:?}");
    }
    has("Bruno Lindqvist") || has("BRUNO LINDQVIST")
}

const READS: &[&str] = &[
    "SELECT s FROM shown",
    "SELECT upper(s) FROM shown",
    "SELECT s FROM behind",
    "SELECT behind FROM behind",
    "SELECT told(1)",
    "SELECT * FROM told(1)",
    "SELECT upper(s) FROM plain",
    "SELECT s FROM plain",
    "COPY (SELECT s FROM shown) TO STDOUT",
    "COPY (SELECT s FROM plain) TO STDOUT (FORMAT csv)",
    "SELECT to_json(b) FROM behind b",
];

#[tokio::test]
async fn a_replaced_view_or_function_shows_nothing_masked() {
    let house = house(PII_MASKED).await;
    let mut wire = house.proxy.wire("alice").await;
    for read in READS {
        assert!(shows_the_name(&wire.query(read).await, read), "{read} shows the name");
        house.betray().await;
        assert!(!shows_the_name(&wire.query(read).await, read), "{read} still shows the name");
        house.redeem().await;
    }
}

async fn executed(wire: &mut WireClient, pipeline: Pipeline) -> Vec<Frame> {
    wire.send(&pipeline.0).await;
    wire.until_ready().await
}

#[tokio::test]
async fn nor_does_it_in_the_extended_protocol() {
    let house = house(PII_MASKED).await;
    let mut wire = house.proxy.wire("alice").await;
    for read in READS.iter().filter(|read| read.starts_with("SELECT")) {
        let pipeline = || Pipeline::default().execute(read, &[], 1).execute(read, &[], 0).sync();
        assert!(shows_the_name(&executed(&mut wire, pipeline()).await, read));
        house.betray().await;
        assert!(!shows_the_name(&executed(&mut wire, pipeline()).await, read), "{read} still shows the name");
        house.redeem().await;
    }
}

#[tokio::test]
async fn nor_do_statements_that_were_prepared_before() {
    let house = house(PII_MASKED).await;
    for read in READS.iter().filter(|read| read.starts_with("SELECT")) {
        let client = house.proxy.client("alice").await;
        let prepared = client.client.prepare(read).await.expect(read);
        client.client.query(&prepared, &[]).await.expect(read);
        house.betray().await;
        // Some of them PostgreSQL does not execute any more.
        if let Ok(rows) = client.client.query(&prepared, &[]).await {
            for row in rows {
                assert!(!row.try_get::<_, &str>(0).is_ok_and(|value| value.contains("913-30")), "{read}");
            }
        }
        house.redeem().await;
        let mut wire = house.proxy.wire("alice").await;
        wire.query(&format!("PREPARE q AS {read}")).await;
        assert!(shows_the_name(&wire.query("EXECUTE q").await, read), "{read} shows the name");
        house.betray().await;
        assert!(!shows_the_name(&wire.query("EXECUTE q").await, read), "{read} still shows the name");
        house.redeem().await;
    }
}

#[tokio::test]
async fn nor_do_cursors() {
    let house = house(PII_MASKED).await;
    let mut wire = house.proxy.wire("alice").await;
    wire.query("BEGIN").await;
    assert!(shows_the_name(&wire.query("SELECT s FROM behind").await, "before"));
    wire.query("COMMIT; BEGIN").await;
    house.betray().await;
    wire.query("DECLARE c CURSOR WITH HOLD FOR SELECT upper(s) FROM shown").await;
    shows_the_name(&wire.query("FETCH c").await, "in its transaction");
    wire.query("COMMIT").await;
    shows_the_name(&wire.query("FETCH BACKWARD c").await, "after it");
}

#[tokio::test]
async fn a_table_that_joins_a_parent_shows_nothing_masked() {
    let masked = "[[masks]]\nname = \"secret\"\ncolumns = [\"public.joining.s\"]\nmask = \"redact\"\n";
    let house = house(masked).await;
    let mut wire = house.proxy.wire("alice").await;
    assert!(shows_the_name(&wire.query("SELECT s FROM parent").await, "before"));
    house.direct.batch_execute("ALTER TABLE joining INHERIT parent").await.expect("another child");
    shows_the_name(&wire.query("SELECT s FROM parent").await, "after");
}

const GUARDED: &str = r#"
[[rules]]
name = "orders"
effects = ["update", "delete"]
relations = ["public.orders"]
action = "deny"
"#;

#[tokio::test]
async fn verdicts_go_by_what_is_defined_when_the_statement_comes() {
    let acting = "
        CREATE OR REPLACE VIEW target AS SELECT id FROM harmless;
        CREATE OR REPLACE FUNCTION acts() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM customers';
        GRANT ALL ON harmless, target TO PUBLIC;";
    let betraying = "
        CREATE OR REPLACE VIEW target AS SELECT id FROM orders;
        CREATE OR REPLACE FUNCTION acts() RETURNS bigint LANGUAGE sql VOLATILE AS
            'DELETE FROM public.orders RETURNING 1::bigint';";
    let house = house(GUARDED).await;
    house.direct.batch_execute("CREATE TABLE harmless (id integer)").await.expect("a table");
    for (statement, extended) in [
        ("UPDATE target SET id = id", false),
        ("SELECT acts()", false),
        ("UPDATE target SET id = id", true),
        ("SELECT acts()", true),
    ] {
        house.direct.batch_execute(acting).await.expect("definitions");
        house.make_known().await;
        let client = house.proxy.client("alice").await;
        let run = async || match extended {
            true => client.client.execute(statement, &[]).await.map(drop),
            false => client.client.simple_query(statement).await.map(drop),
        };
        run().await.expect(statement);
        house.direct.batch_execute(betraying).await.expect("other definitions");
        let refused = run().await.expect_err(statement);
        let error = refused.as_db_error().expect("an error of the proxy");
        assert_eq!(error.code().code(), "42501", "{statement}: {error:?}");
    }
}

/// Looks that the server has been asked for.
fn looks(house: &House) -> usize {
    house.proxy.database.log().matches("SELECT 's', ''::pg_catalog.name").count()
}

#[tokio::test]
async fn what_has_not_changed_costs_one_look_at_most() {
    let house = house(PII_MASKED).await;
    let client = house.proxy.client("alice").await;
    let rows = |messages: Vec<SimpleQueryMessage>| {
        messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count()
    };
    for (statement, wanted) in [
        ("SELECT id, name FROM customers", 0),
        ("SELECT count(*) FROM behind", 0),
        ("SELECT lower(email) FROM customers", 0),
        ("SELECT b.s FROM behind b, generate_series(1, 5000)", 1),
        ("SELECT upper(name) FROM customers", 1),
    ] {
        let before = looks(&house);
        let got = rows(client.client.simple_query(statement).await.expect(statement));
        assert!(got > 0, "{statement}");
        assert_eq!(looks(&house) - before, wanted, "{statement}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_not_shown() {
    let house = house(PII_MASKED).await;
    let mut wire = house.proxy.wire("alice").await;
    assert!(shows_the_name(&wire.query("SELECT s FROM behind").await, "before"));
    // Whoever is connected stays; the proxy itself gets no connection any more.
    let name = &house.proxy.database.name;
    SERVER.execute("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.expect("closed");
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'countersign catalog'";
    house.direct.batch_execute(ended).await.expect("side connections ended");
    wire.send_query("SELECT s FROM behind").await;
    let frames = wire.end().await;
    assert!(tags(&frames).contains('E') && !shows_the_name(&frames, "without a look"), "{frames:?}");
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
    assert_eq!(error.field(b'C').as_deref(), Some("42501"));
    assert!(error.field(b'M').is_some_and(|message| message.contains("could not be looked at")), "{error:?}");
}
