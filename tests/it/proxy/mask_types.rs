//! Masked cells are values of their types: PostgreSQL reads them again, in text and in binary form.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::wire::{Frame, Pipeline};

/// Types, a value of each with a canary in it, and the masked value in text form.
const KINDS: &[(&str, &str, Option<&str>)] = &[
    ("text", "CANARY", Some("***")),
    ("varchar(20)", "CANARY", Some("***")),
    ("name", "CANARY", Some("***")),
    ("\"char\"", "C", Some("*")),
    ("smallint", "9182", Some("0")),
    ("integer", "918273", Some("0")),
    ("bigint", "918273645546", Some("0")),
    ("numeric(20,4)", "918273.6455", Some("0")),
    ("real", "91827.3", Some("0")),
    ("double precision", "918273.64", Some("0")),
    ("money", "918273.64", Some("0")),
    ("oid", "918273", Some("0")),
    ("boolean", "t", None),
    ("bytea", "\\xca7a7a", None),
    ("uuid", "ca7a7a7a-0000-4000-8000-00000000c0de", None),
    ("date", "1987-06-15", None),
    ("timestamp", "1987-06-15 10:11:12", None),
    ("timestamptz", "1987-06-15 10:11:12+00", None),
    ("time", "10:11:12", None),
    ("timetz", "10:11:12+00", None),
    ("interval", "91 days 08:27:00", None),
    ("inet", "10.91.82.73", None),
    ("cidr", "10.91.82.0/24", None),
    ("macaddr", "08:00:2b:91:82:73", None),
    ("bit(8)", "10101011", None),
    ("varbit", "1010101111", None),
    ("json", "{\"k\": \"CANARY\"}", Some("\"***\"")),
    ("jsonb", "{\"k\": \"CANARY\"}", Some("\"***\"")),
    ("jsonpath", "$.\"CANARY\"", None),
    ("xml", "<a>CANARY</a>", None),
    ("point", "(9182,73)", None),
    ("polygon", "((9182,73),(1,2),(3,4))", None),
    ("tsvector", "CANARY other", None),
    ("tsquery", "CANARY", None),
    ("int4range", "[91827,91829)", Some("empty")),
    ("daterange", "[1987-06-15,1988-01-01)", Some("empty")),
    ("text[]", "{CANARY,NULL,\"CANARY \\\"q\\\"\",\"\"}", Some("{***,NULL,***,***}")),
    ("text[][]", "{{CANARY,b},{c,d}}", Some("{{***,***},{***,***}}")),
    ("integer[]", "[3:4]={918273,918274}", Some("[3:4]={0,0}")),
    ("box[]", "{(9182,73),(1,2);(3,4),(1,2)}", Some("{NULL;NULL}")),
    ("int2vector", "9182 73", None),
    ("date[]", "{1987-06-15}", Some("{NULL}")),
    ("colour", "canary", None),
    ("colour[]", "{red,canary}", Some("{NULL,NULL}")),
    ("mail", "CANARY", Some("***")),
    ("mails", "{CANARY}", Some("{***}")),
    ("place", "(\"CANARY, 9\",91827)", Some("(***,0)")),
    ("place[]", "{\"(\\\"CANARY 9\\\",91827)\",NULL}", Some("{\"(***,0)\",NULL}")),
];

const DEFINITIONS: &str = "
    CREATE TYPE colour AS ENUM ('red', 'canary');
    CREATE DOMAIN mail AS text;
    CREATE DOMAIN mails AS text[];
    CREATE TYPE place AS (street text, number integer);";

const MASK: &str = "
[[masks]]
name = \"kinds\"
columns = [\"public.kinds.secret*\", \"public.people.email\", \"public.people.born\"]
mask = \"redact\"
";

/// Sends bytes as they are, in the format they are in.
#[derive(Debug)]
struct Raw(Option<Vec<u8>>, i16);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Some(bytes) => out.extend_from_slice(bytes),
            None => return Ok(IsNull::Yes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.1 == 1 { Format::Binary } else { Format::Text }
    }

    fn to_sql_checked(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

/// The cells of the one row among the frames.
#[track_caller]
fn row(frames: &[Frame]) -> Vec<Option<Vec<u8>>> {
    let row = frames.iter().find(|frame| frame.tag == b'D').expect("a row");
    let cells = countersign_protocol::row::Cells::read(&row.body).expect("cells");
    cells.map(|cell| cell.expect("a cell").map(<[u8]>::to_vec)).collect()
}

async fn proxy(definitions: &str) -> Proxy {
    let database = Database::create().await;
    database.direct().await.batch_execute(definitions).await.expect("definitions");
    Proxy::in_front_of(database, Launch { fragment: MASK, ..Launch::default() }, |text| text).await
}

fn table() -> String {
    let columns: Vec<_> = KINDS.iter().zip(1..).map(|((kind, ..), n)| format!("secret{n} {kind}")).collect();
    let values: Vec<_> = KINDS.iter().map(|(_, value, _)| format!("'{}'", value.replace('\'', "''"))).collect();
    format!(
        "{DEFINITIONS} CREATE TABLE kinds (id integer, {}); INSERT INTO kinds VALUES (1, {});
        GRANT SELECT ON kinds TO PUBLIC",
        columns.join(", "),
        values.join(", ")
    )
}

#[tokio::test]
async fn masked_cells_of_every_type_are_values_of_that_type() {
    let proxy = proxy(&table()).await;
    let (mut wire, direct) = (proxy.wire("alice").await, proxy.database.direct().await);
    for format in [0, 1] {
        let columns: Vec<_> = KINDS.iter().zip(1..).map(|(_, n)| format!("secret{n}")).collect();
        let statement = format!("SELECT {} FROM kinds", columns.join(", "));
        wire.send(&Pipeline::default().execute(&statement, &[], format).sync().0).await;
        let cells = row(&wire.until_ready().await);
        assert_eq!(cells.len(), KINDS.len());
        for ((kind, _, expected), cell) in KINDS.iter().zip(cells) {
            let given = Raw(cell, format);
            let read = direct.query_one(&format!("SELECT $1::{kind}::text"), &[&given]).await;
            let shown: Option<String> = match read {
                Ok(row) => row.get(0),
                Err(error) => panic!("{kind} in format {format}: {given:?}: {error}"),
            };
            let shown = shown.map(|text| text.trim_start_matches('$').trim_end_matches(".00").to_owned());
            let expected = match *kind {
                "numeric(20,4)" => Some("0.0000"),
                // Its binary form is that of an array.
                "int2vector" if format == 1 => Some("0 0"),
                _ => *expected,
            };
            assert_eq!(shown.as_deref(), expected, "{kind} in format {format}");
        }
    }
}

/// Rows and arrays of rows keep what is not masked in them.
#[tokio::test]
async fn rows_are_masked_inside() {
    let proxy = proxy(
        "CREATE TABLE people (id integer, name text, dropped text, email text, born date, tags text[]);
        ALTER TABLE people DROP COLUMN dropped;
        INSERT INTO people VALUES (1, 'Ada \"Q\", (x)', 'canary@example.com', '1987-06-15', '{a,b}'), (2, NULL, NULL, NULL, NULL);
        CREATE TABLE visits (id integer, who people, all_of_them people[]);
        INSERT INTO visits SELECT 1, p, ARRAY[p, NULL] FROM people p WHERE id = 1;
        CREATE VIEW everybody AS SELECT * FROM people;
        GRANT SELECT ON people, visits, everybody TO PUBLIC;",
    )
    .await;
    let client = proxy.client("alice").await;
    for (statement, expected) in [
        ("SELECT p FROM people p WHERE id = 1", "(1,\"Ada \"\"Q\"\", (x)\",***,,\"{a,b}\")"),
        ("SELECT p FROM people p WHERE id = 2", "(2,,,,)"),
        ("SELECT who FROM visits", "(1,\"Ada \"\"Q\"\", (x)\",***,,\"{a,b}\")"),
        ("SELECT all_of_them FROM visits", "{\"(1,\\\"Ada \\\"\\\"Q\\\"\\\", (x)\\\",***,,\\\"{a,b}\\\")\",NULL}"),
        ("SELECT (who).name FROM visits", "***"),
        ("SELECT (who).email FROM visits", "***"),
        ("SELECT (all_of_them[1]).email FROM visits", "***"),
        ("SELECT who::text FROM visits", "***"),
        ("SELECT (v.*)::text FROM visits v", "***"),
        ("SELECT id FROM visits", "1"),
        // A row that was put together may hold anything anywhere.
        ("SELECT ROW(id, email, name, born, tags)::people FROM people WHERE id = 1", "(0,***,***,,\"{***,***}\")"),
        ("SELECT array_agg(p) FROM people p WHERE id = 1", "{\"(0,***,***,,\\\"{***,***}\\\")\"}"),
        ("SELECT ROW(1, 'x', 'y', NULL, NULL)::people", "(1,x,***,,)"),
    ] {
        assert_eq!(client.value(statement).await.as_deref(), Some(expected), "{statement}");
    }
}
