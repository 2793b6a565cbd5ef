//! Forms that servers of different versions read differently.

use super::fixture::catalog_of;
use crate::analysis::{AnalysisContext, NotUnderstood, NothingPrepared, Outputs, analyze};

/// The text is understood on servers from that version on, and not before; `0` is a version that is not known.
#[track_caller]
fn check(text: &str, since: u32) {
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    for major in [0, 13, 14, 15, 16, 17, 18] {
        let catalog = catalog_of(major);
        let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
        let found = analyze(text, &context);
        assert_eq!(found.not_understood().is_none(), major >= since, "{text} on {major}: {:?}", found.not_understood());
        if major < since {
            assert!(matches!(found.not_understood(), Some(NotUnderstood::Other(_))), "{text} on {major}");
        }
    }
}

#[test]
fn numbers_with_letters_in_them_depend_on_the_server() {
    check("SELECT 0x1F", 16);
    check("SELECT * FROM orders WHERE id = 1_000", 16);
    check("SELECT 0b101, 0o17", 16);
    check("SELECT 1_0.5, 0XFF", 16);
    check("SELECT * FROM (SELECT 0xf, ssn AS a FROM customers) q", 16);
    // The grammar at hand takes it for an alias, as old servers do, and others reject it.
    check("SELECT $1a", 16);
    check("SELECT query_to_xml('select 0x1F', true, false, '')", 16);
}

#[test]
fn what_only_old_servers_accept_does_not_just_fail() {
    let path = ["pg_catalog".to_owned()];
    for text in ["SELECT 1a", "SELECT 123abc", "SELECT 0xg", "SELECT 1_"] {
        for (major, syntax) in [(13, false), (14, false), (15, false), (16, true), (18, true)] {
            let catalog = catalog_of(major);
            let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
            let found = analyze(text, &context);
            assert_eq!(found.not_understood() == Some(&NotUnderstood::Syntax), syntax, "{text} on {major}");
            assert!(found.not_understood().is_some(), "{text} on {major}");
        }
    }
}

#[test]
fn system_user_is_a_column_for_old_servers() {
    check("SELECT system_user", 16);
    check("SELECT * FROM orders WHERE note = SYSTEM_USER", 16);
    check("SELECT \"system_user\" FROM (SELECT 1 AS system_user) q", 0);
    check("SELECT q.system_user FROM (SELECT 1 AS system_user) q", 0);
}

#[test]
fn ordinary_numbers_are_the_same_everywhere() {
    check(
        "SELECT 1, 1.5, .5, 1e5, 1.5E-3, 1e+10, 12345678901234567890, $1, 1::int, 'a1_0x1F', a1.b FROM (SELECT 2 AS b) a1",
        0,
    );
    check("SELECT E'0x1F', $a$1a$a$, x'1F', b'01', U&'1a' /* 0x1F */ -- 1a", 0);
    check("SELECT id FROM orders WHERE id IN (1,2) LIMIT 10", 0);
}

#[test]
fn old_and_new_are_aliases_before_they_are_versions() {
    let catalog = catalog_of(18);
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let context = AnalysisContext { catalog: &catalog, search_path: &path, prepared: &NothingPrepared };
    let text = "UPDATE orders SET note = 'x' FROM customers old WHERE true RETURNING old.ssn";
    let same = "UPDATE orders SET note = 'x' FROM customers c WHERE true RETURNING c.ssn";
    let outputs = |text: &str| analyze(text, &context).statements[0].outputs.clone();
    assert_eq!(outputs(text), outputs(same));
    assert_ne!(outputs(text), Outputs::None);
}
