//! A DataRow rebuilt around masked cells.
//!
//! Checked: a row whose cells are all kept is the same bytes; a rebuilt row reads back with as many cells, the kept ones
//! unchanged; what a mask that shows nothing makes of a cell does not depend on the cell.

use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use countersign_policy::Catalog;
use countersign_policy::catalog::{Column, Oid, Relation, RelationKind};
use countersign_policy::mask::{
    FieldOrigin, JsonMask, JsonPath, MaskKind, MaskPlan, MaskRule, MaskSet, Masked, Masker, Predicates, ViewsUnknown,
};
use countersign_policy::rule::{ColumnGlob, Policy};
use countersign_protocol::Frame;
use countersign_protocol::row::{self, Cells, NewCell};

use super::bytes_in::{BytesIn, LENGTH_MAX};
use super::shop;

const PEOPLE: Oid = 20_000;
const TYPES: &[Oid] = &[
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 600, 650, 700, 701, 790, 829, 869, 1009, 1042, 1043, 1082, 1083,
    1114, 1184, 1186, 1266, 1560, 1700, 2249, 2950, 3802, 99_999,
];

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let column =
        |(index, _): (usize, _)| Column { attnum: attnum(index), name: "c".to_owned(), type_oid: 25, generated: None };
    let people = Relation {
        oid: PEOPLE,
        schema: "public".to_owned(),
        name: "people".to_owned(),
        kind: RelationKind::Table,
        row_type: 0,
        columns: TYPES.iter().enumerate().map(column).collect(),
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    };
    Catalog::new(1, vec![people], Vec::new(), Vec::new())
});

static MASKS: LazyLock<Vec<MaskSet>> = LazyLock::new(|| {
    let compile = |kind: &MaskKind| {
        let mask = MaskRule {
            name: "m".to_owned(),
            columns: vec![ColumnGlob::new("public.people.*").expect("glob")],
            mask: kind.clone(),
            except_groups: Vec::new(),
            reviewers: Vec::new(),
            predicates: Predicates::Allow,
            key: [7; 32],
            looks_into_foreign: true,
        };
        let policy = Policy { masks: vec![mask], ..Policy::default() };
        MaskSet::compile(&policy, &CATALOG, &shop::subject(), &ViewsUnknown)
    };
    let path = JsonPath::new("$.**.a").expect("path");
    let json = MaskKind::Json(Arc::new(JsonMask::new(vec![(path, MaskKind::Last4)])));
    MaskKind::ALL.iter().chain([&MaskKind::Text("hidden".into()), &json]).map(compile).collect()
});

fn attnum(index: usize) -> i16 {
    i16::try_from(index + 1).unwrap_or(i16::MAX)
}

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let mut choices = BytesIn(data);
    let masks = &MASKS[usize::from(choices.byte()) % MASKS.len()];
    let (changed, format) = (choices.byte(), i16::from(choices.byte() % 3));
    let first_type = usize::from(choices.byte());
    let body = choices.0;
    kept(body);
    let Ok(cells) = Cells::read(body) else { return };
    let fields: Vec<FieldOrigin> = (0..cells.left().min(64))
        .map(|at| (first_type + at) % TYPES.len())
        .map(|index| FieldOrigin { table_oid: PEOPLE, attnum: attnum(index), type_oid: TYPES[index], format })
        .collect();
    let plan = MaskPlan::for_result(masks, &fields, None, &CATALOG);
    masked(body, |at| plan.masker(at).filter(|_| changed & (1 << (at % 8)) != 0));
}

fn kept(body: &[u8]) {
    let mut out = BytesMut::from(&b"before"[..]);
    match row::rebuild(&mut out, body, |at| at % 2 == 0, |_, _, _| NewCell::Keep) {
        Ok(()) => assert_eq!(out.get(11..), Some(body), "what is kept is the same bytes"),
        Err(_) => assert_eq!(&out[..], b"before", "a row that is refused leaves nothing behind"),
    }
}

fn masked<'a>(body: &[u8], masker: impl Fn(usize) -> Option<&'a Masker>) {
    let mut out = BytesMut::new();
    let change = |at: usize, cell: &[u8], out: &mut BytesMut| match masker(at) {
        None => NewCell::Keep,
        Some(masker) => mask_cell(masker, cell, out),
    };
    let rebuilt = row::rebuild(&mut out, body, |at| masker(at).is_none(), change);
    if rebuilt.is_err() {
        return;
    }
    let frame = Frame::take(&mut out, |_| 64 * LENGTH_MAX).ok().flatten().expect("a whole row");
    assert!(out.is_empty() && frame.tag == b'D');
    let before: Vec<_> = Cells::read(body).expect("it was read").map(|cell| cell.expect("cell")).collect();
    let after: Vec<_> = Cells::read(frame.body()).expect("a row").map(|cell| cell.expect("cell")).collect();
    assert_eq!(before.len(), after.len(), "as many cells");
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert!(masker(at).is_some() || before == after, "an unmasked cell is the same bytes");
        assert!(before.is_some() || after.is_none(), "NULL stays NULL");
    }
}

fn mask_cell(masker: &Masker, cell: &[u8], out: &mut BytesMut) -> NewCell {
    let start = out.len();
    let masked = masker.mask_cell(cell, out);
    assert!(masked == Masked::Value || out.len() == start, "NULL has no bytes");
    match masker.kind() {
        MaskKind::Redact | MaskKind::Zero | MaskKind::Null | MaskKind::Text(_) => {
            let mut other = BytesMut::new();
            assert_eq!(masker.mask_cell(b"2001-02-03", &mut other), masked, "it depends on the value");
            assert_eq!(other, out[start..], "it depends on the value");
        }
        MaskKind::Email
        | MaskKind::Phone
        | MaskKind::Card
        | MaskKind::Last4
        | MaskKind::First1
        | MaskKind::Hash
        | MaskKind::DateYear
        | MaskKind::Ip
        | MaskKind::Iban
        | MaskKind::Detect
        | MaskKind::Statement
        | MaskKind::Json(_) => {}
    }
    match masked {
        Masked::Value => NewCell::Replaced,
        Masked::Null => NewCell::Null,
    }
}
