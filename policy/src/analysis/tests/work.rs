//! Texts and catalogs made so that reading them takes long: what it costs is counted, and is bounded.

use super::fixture::catalog;
use crate::analysis::{
    Analysis, AnalysisCache, AnalysisContext, NotUnderstood, NothingPrepared, analyze, analyze_briefly,
};
use crate::catalog::{Catalog, Column, Oid, Relation, RelationKind};

fn relation(oid: Oid, name: &str, width: i16, definition: Option<String>) -> Relation {
    let column = |attnum| Column { attnum, name: format!("c{attnum}"), type_oid: 25, generated: None };
    Relation {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: if definition.is_some() { RelationKind::View } else { RelationKind::Table },
        row_type: oid + 1_000_000,
        columns: (1..=width).map(column).collect(),
        definition,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    }
}

/// A wide table, a table with many partitions, and stacks of views each of which uses the one below twice.
fn large() -> Catalog {
    let list = |width: i16| (1..=width).map(|at| format!("a.c{at}")).collect::<Vec<_>>().join(", ");
    let mut all = vec![relation(20_000, "wide", 1_600, None), relation(20_001, "small", 3, None)];
    all.push(relation(20_002, "parted", 3, None));
    all.extend(
        (0..10_000)
            .map(|at| Relation { parents: vec![20_002], ..relation(40_000 + at, &format!("part_{at}"), 3, None) }),
    );
    for at in 0..14 {
        let below =
            |stack: &str, base: &str| if at == 0 { base.to_owned() } else { format!("public.{stack}{}", at - 1) };
        let twice = |from: &str| format!("SELECT {} FROM {from} a, {from} b", list(3));
        all.push(relation(21_000 + at, &format!("sound{at}"), 3, Some(twice(&below("sound", "public.small")))));
        all.push(relation(22_000 + at, &format!("broken{at}"), 3, Some(twice(&below("broken", "public.nosuch")))));
        let deep = format!(
            "SELECT {}1{} AS c1 FROM {} a",
            "COALESCE(".repeat(22),
            ")".repeat(22),
            below("deep", "public.small")
        );
        let deep = (0..4).fold(deep, |inner, _| format!("SELECT * FROM ({inner}) x"));
        all.push(relation(23_000 + at, &format!("deep{at}"), 1, Some(deep)));
    }
    Catalog::new(7, all, Vec::new(), Vec::new()).with_server_version(180_000)
}

#[track_caller]
fn analysis(text: &str, catalog: &Catalog) -> Analysis {
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    analyze(text, &AnalysisContext { catalog, search_path: &path, prepared: &NothingPrepared })
}

#[track_caller]
fn too_complex(text: &str, catalog: &Catalog) {
    let found = analysis(text, catalog);
    let expected = NotUnderstood::Guard("the statement is too complex");
    assert_eq!(found.not_understood(), Some(&expected), "{} bytes", text.len());
}

#[track_caller]
fn understood(text: &str, catalog: &Catalog) {
    assert_eq!(analysis(text, catalog).not_understood(), None, "{} bytes", text.len());
}

/// WITH queries each of which has twice the columns of the one before.
fn doubling(levels: usize) -> String {
    let level = |at: usize| format!(", q{at} AS (SELECT * FROM q{0} a, q{0} b)", at - 1);
    let levels: String = (1..levels).map(level).collect();
    format!("WITH q0 AS (SELECT * FROM orders){levels} SELECT 1 FROM q0")
}

#[test]
fn columns_that_double_at_each_level_are_paid_for() {
    let shop = catalog();
    understood(&doubling(8), &shop);
    let many = NotUnderstood::Guard("there are more columns than PostgreSQL allows");
    assert_eq!(analysis(&doubling(12), &shop).not_understood(), Some(&many));
    assert_eq!(analysis(&doubling(1_000), &shop).not_understood(), Some(&many));
    let deep: String =
        (1..300).map(|at| format!(", q{at} AS (SELECT a.id, b.x FROM q{0} a, q{0} b)", at - 1)).collect();
    understood(&format!("WITH q0 AS (SELECT id, note AS x FROM orders){deep} SELECT * FROM q299"), &shop);
}

#[test]
fn more_columns_than_a_result_can_have_are_not_listed() {
    let large = large();
    let expected = NotUnderstood::Guard("there are more columns than PostgreSQL allows");
    for text in
        [format!("SELECT *{} FROM wide", ",*".repeat(200)), format!("SELECT c1{} FROM small", ",c1".repeat(2_000))]
    {
        assert_eq!(analysis(&text, &large).not_understood(), Some(&expected));
    }
    understood("SELECT * FROM wide", &large);
    understood(&format!("SELECT c1{} FROM small", ",c1".repeat(1_600)), &large);
}

#[test]
fn wide_relations_and_long_lists_of_them_are_paid_for() {
    let large = large();
    too_complex(&format!("SELECT 1 FROM wide{}", ",wide".repeat(20_000)), &large);
    too_complex(&format!("SELECT 1 FROM small{}", ",LATERAL (SELECT 1) x".repeat(5_000)), &large);
    too_complex(&format!("SELECT 1 FROM wide WHERE wide = wide{}", " AND wide = wide".repeat(3_000)), &large);
    understood(&format!("SELECT * FROM small{}", " JOIN small USING (c1)".repeat(40)), &large);
    understood(&format!("SELECT 1 FROM wide{}", ", wide".repeat(30)), &large);
    understood(&format!("SELECT * FROM wide WHERE c1599 IN (1{})", ", 2".repeat(5_000)), &large);
}

#[test]
fn recursive_queries_inside_each_other_are_paid_for() {
    let nested = (0..9).fold("SELECT 1 AS n".to_owned(), |inner, at| {
        format!("WITH RECURSIVE r{at}(n) AS (SELECT 1 UNION SELECT n FROM ({inner}) q, r{at}) SELECT n FROM r{at}")
    });
    // Each level would be walked several times for each time that the one around it is.
    let found = analysis(&nested, &catalog());
    assert!(matches!(found.not_understood(), None | Some(NotUnderstood::Guard(_))));
}

#[test]
fn views_on_views_are_read_once() {
    let large = large();
    understood("SELECT * FROM sound13", &large);
    understood("SELECT * FROM deep6", &large);
    // One that is not understood is not kept for other statements, but it is for the rest of this one.
    let broken = analysis(&format!("SELECT * FROM broken13{}", ", broken13".repeat(50)), &large);
    let missing = crate::name::QualifiedName::new("public", "nosuch");
    assert_eq!(broken.not_understood(), Some(&NotUnderstood::Relation(missing)));
}

#[test]
fn each_partition_is_listed_once() {
    let large = large();
    let found = analysis("SELECT * FROM parted a, parted b", &large);
    assert_eq!(found.not_understood(), None);
    assert_eq!(found.statements[0].relations.len(), 10_001);
}

#[test]
fn partitions_are_paid_for_each_time() {
    let large = large();
    understood("SELECT * FROM parted a JOIN parted b USING (c1)", &large);
    too_complex(&"TABLE parted;".repeat(100), &large);
}

/// What fits into a short text and takes long all the same is left to those who have room for it.
#[test]
fn a_brief_look_ends_soon() {
    let large = large();
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &large, search_path: &path, prepared: &NothingPrepared };
    let cache = AnalysisCache::new(100, 64 << 20);
    for text in [
        format!("SELECT 1 FROM wide{}", ", wide".repeat(30)),
        format!("SELECT c1599{} FROM wide", ",c1599".repeat(1_000)),
        format!("SELECT 1 FROM wide{}", ",wide".repeat(1_600)),
        "TABLE parted;".repeat(5),
        "SELECT 1;".repeat(5_000),
    ] {
        assert!(analyze_briefly(&text, &context).is_none(), "{} bytes", text.len());
        assert!(cache.analyze_briefly(&text, &context).is_none());
        let whole = cache.analyze(&text, &context);
        assert!(*whole == analyze(&text, &context), "{} bytes", text.len());
        // Whoever comes next need not look.
        assert!(cache.analyze_briefly(&text, &context) == Some(whole), "{} bytes", text.len());
    }
    for text in
        ["SELECT * FROM small", "SELECT * FROM wide WHERE c7 = 1", "UPDATE small SET c1 = 1 WHERE c2 = 'x'", "nonsense"]
    {
        assert_eq!(analyze_briefly(text, &context), Some(analyze(text, &context)), "{text}");
    }
}
