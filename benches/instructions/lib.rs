//! What the counts of instructions share: a catalog, a subject and a row as an application selects it.
//!
//! Never part of the product. Invariant: the same values in each run, so that a count changes with the code only.

use bytes::{BufMut, BytesMut};
use countersign_policy::Catalog;
use countersign_policy::catalog::{Column, Relation, RelationKind};
use countersign_policy::subject::Subject;
use countersign_protocol::backend::tag;

/// PostgreSQL's `text`.
pub const TEXT: u32 = 25;
/// The table that [`data_row`] is of.
pub const PEOPLE: u32 = 20_000;
const COLUMNS: [&str; 6] = ["id", "name", "email", "phone", "card", "note"];
const CELLS: [&[u8]; 6] = [
    b"1048576",
    b"Customer number 1048576",
    b"customer.1048576@mail.example.com",
    b"+49 30 901820 1048576",
    b"4012 8888 8888 1881",
    b"prefers to be called after six",
];

/// Who asks.
#[must_use]
pub fn subject() -> Subject {
    Subject {
        user: "alice".to_owned(),
        groups: vec!["engineering".to_owned()],
        database: "shop".to_owned(),
        application: String::new(),
    }
}

/// `people`, and the table that pgbench reads.
#[must_use]
pub fn catalog() -> Catalog {
    let tables =
        [(PEOPLE, "people", &COLUMNS[..]), (20_001, "pgbench_accounts", &["aid", "bid", "abalance", "filler"])];
    Catalog::new(1, tables.map(|(oid, name, columns)| relation(oid, name, columns)).into(), Vec::new(), Vec::new())
}

fn relation(oid: u32, name: &str, columns: &[&str]) -> Relation {
    let column =
        |(name, attnum): (&&str, i16)| Column { attnum, name: (*name).to_owned(), type_oid: TEXT, generated: None };
    Relation {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        row_type: 0,
        columns: columns.iter().zip(1..).map(column).collect(),
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    }
}

/// Appends a message.
///
/// # Panics
/// When the body is longer than a message can be.
pub fn put_frame(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).expect("a short body"));
    out.put_slice(body);
}

/// A DataRow of `people`: six columns, 145 bytes of values.
///
/// # Panics
/// Never: its cells are short.
#[must_use]
pub fn data_row() -> BytesMut {
    let mut body = BytesMut::new();
    body.put_u16(6);
    for cell in CELLS {
        body.put_u32(u32::try_from(cell.len()).expect("a short cell"));
        body.put_slice(cell);
    }
    let mut frame = BytesMut::new();
    put_frame(&mut frame, tag::DATA_ROW, &body);
    frame
}

/// The limit of a frame.
#[must_use]
pub fn limit(_tag: u8) -> u32 {
    1 << 30
}
