//! How many instructions does it take to mask a DataRow of six columns, by how many of them are masked?

use std::hint::black_box;

use bytes::BytesMut;
use countersign_instructions::{PEOPLE, TEXT, catalog, data_row, subject};
use countersign_policy::analysis::{Outputs, StatementAnalysis};
use countersign_policy::mask::{FieldOrigin, MaskKind, MaskPlan, MaskRule, MaskSet, Masked, Predicates, ViewsUnknown};
use countersign_policy::rule::{ColumnGlob, Policy};
use countersign_protocol::frame::HEADER_LEN;
use countersign_protocol::row::{self, NewCell};
use gungraun::prelude::*;

/// A row, and what becomes of it.
struct World {
    plan: MaskPlan,
    row: BytesMut,
    out: BytesMut,
}

fn world(masks: &[(&str, MaskKind)]) -> World {
    let rule = |(column, mask): &(&str, MaskKind)| MaskRule {
        name: (*column).to_owned(),
        columns: vec![ColumnGlob::new(&format!("public.people.{column}")).expect("a glob")],
        mask: mask.clone(),
        reviewers: Vec::new(),
        predicates: Predicates::Hold,
        except_groups: Vec::new(),
        key: [7; 32],
        looks_into_foreign: true,
    };
    let policy = Policy { masks: masks.iter().map(rule).collect(), ..Policy::default() };
    let catalog = catalog();
    let fields = [1, 2, 3, 4, 5, 6].map(|attnum| FieldOrigin { table_oid: PEOPLE, attnum, type_oid: TEXT, format: 0 });
    let set = MaskSet::compile(&policy, &catalog, &subject(), &ViewsUnknown);
    let analysis = StatementAnalysis { outputs: Outputs::None, ..StatementAnalysis::default() };
    let plan = MaskPlan::for_result(&set, &fields, Some(&analysis), &catalog);
    assert_eq!(plan.masked().count(), masks.len(), "what is counted is masking");
    World { plan, row: data_row(), out: BytesMut::with_capacity(1 << 10) }
}

#[library_benchmark]
#[bench::redact_1(world(&[("email", MaskKind::Redact)]))]
#[bench::hash_1(world(&[("email", MaskKind::Hash)]))]
#[bench::email_and_last4_of_2(world(&[("email", MaskKind::Email), ("phone", MaskKind::Last4), ("card", MaskKind::Last4)]))]
fn mask(mut world: World) -> World {
    let World { plan, row, out } = &mut world;
    let kept = |index| plan.masker(index).is_none();
    let masked =
        |index, cell: &[u8], out: &mut BytesMut| match plan.masker(index).map(|masker| masker.mask_cell(cell, out)) {
            None => NewCell::Keep,
            Some(Masked::Value) => NewCell::Replaced,
            Some(Masked::Null) => NewCell::Null,
        };
    row::rebuild(out, black_box(&row[HEADER_LEN..]), kept, masked).expect("a row");
    world
}

library_benchmark_group!(name = rows, benchmarks = [mask]);
main!(library_benchmark_groups = rows);
