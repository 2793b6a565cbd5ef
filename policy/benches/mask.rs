//! What masking one cell costs, per kind, on text.

use std::hint::black_box;

use bytes::BytesMut;
use countersign_policy::analysis::{Outputs, StatementAnalysis};
use countersign_policy::catalog::{Catalog, Column, Relation, RelationKind};
use countersign_policy::mask::{FieldOrigin, MaskKind, MaskPlan, MaskRule, MaskSet, Predicates, ViewsUnknown};
use countersign_policy::rule::{ColumnGlob, Policy};
use countersign_policy::subject::Subject;
use criterion::{Criterion, criterion_group, criterion_main};

const TEXT: u32 = 25;

fn catalog() -> Catalog {
    let column = Column { attnum: 1, name: "email".to_owned(), type_oid: TEXT, generated: None };
    let relation = Relation {
        oid: 20_000,
        schema: "public".to_owned(),
        name: "customers".to_owned(),
        kind: RelationKind::Table,
        row_type: 0,
        columns: vec![column],
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    };
    Catalog::new(1, vec![relation], Vec::new(), Vec::new())
}

fn cells(c: &mut Criterion) {
    let catalog = catalog();
    let subject = Subject {
        user: "alice".to_owned(),
        groups: Vec::new(),
        database: "shop".to_owned(),
        application: String::new(),
    };
    let fields = [FieldOrigin { table_oid: 20_000, attnum: 1, type_oid: TEXT, format: 0 }];
    for kind in [MaskKind::Email, MaskKind::Last4, MaskKind::Redact, MaskKind::Hash, MaskKind::Detect] {
        let rule = MaskRule {
            name: "m".to_owned(),
            columns: vec![ColumnGlob::new("*.*.email").expect("a glob")],
            mask: kind.clone(),
            reviewers: Vec::new(),
            predicates: Predicates::Hold,
            except_groups: Vec::new(),
            key: [7; 32],
            looks_into_foreign: true,
        };
        let policy = Policy { masks: vec![rule], ..Policy::default() };
        let set = MaskSet::compile(&policy, &catalog, &subject, &ViewsUnknown);
        let analysis = StatementAnalysis { outputs: Outputs::None, ..StatementAnalysis::default() };
        let plan = MaskPlan::for_result(&set, &fields, Some(&analysis), &catalog);
        let masker = plan.masker(0).expect("a masked column");
        let mut out = BytesMut::with_capacity(256);
        c.bench_function(&format!("mask one cell, {}", kind.as_str()), |b| {
            b.iter(|| {
                out.clear();
                masker.mask_cell(black_box(b"alice@example.com"), &mut out)
            });
        });
    }
}

criterion_group!(benches, cells);
criterion_main!(benches);
