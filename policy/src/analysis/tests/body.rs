//! Functions written in SQL do what their bodies do.

use super::fixture::{CUSTOMERS, analysis, analysis_along};
use crate::analysis::{BaseColumn, Lineage, Outputs};

#[track_caller]
fn check(text: &str, effects: &str, relations: &str) {
    let analysis = analysis(text);
    assert_eq!(analysis.not_understood(), None, "{text}");
    let found: Vec<&str> = analysis.effects().iter().map(|effect| effect.as_str()).collect();
    assert_eq!(found.join(" "), effects, "effects of {text}");
    let names: Vec<String> = analysis.statements[0].relations.iter().map(|used| used.name.to_string()).collect();
    assert_eq!(names.join(" "), relations, "relations of {text}");
}

#[test]
fn a_function_that_only_reads_is_a_read() {
    check("SELECT order_count()", "select", "public.orders");
    check("SELECT * FROM order_count() AS n", "select", "public.orders");
    check("SELECT 1 WHERE order_count() > 3", "select", "public.orders");
}

#[test]
fn a_function_that_writes_carries_what_it_writes() {
    check("SELECT wipe(id) FROM orders", "select delete", "public.orders public.payments");
    check("SELECT wipe_all()", "select delete", "public.payments");
    check("INSERT INTO orders (id) VALUES (wipe(1))", "select insert delete", "public.orders public.payments");
}

#[test]
fn names_in_it_are_those_of_its_own_path() {
    check("SELECT app_secret()", "select", "app.customers");
    let elsewhere = analysis_along("SELECT order_count()", &["pg_catalog", "public", "pg_temp_3"]);
    assert_eq!(elsewhere.not_understood(), None);
    // Along a path without the schema, the body means nothing that is known.
    let blind = analysis_along("SELECT public.order_count()", &["pg_catalog"]);
    assert!(blind.effects().iter().any(|effect| effect.as_str() == "function_call"));
}

#[test]
fn what_it_returns_comes_from_what_it_reads() {
    let analysis = analysis("SELECT email_of(7)");
    let Outputs::Columns(columns) = &analysis.statements[0].outputs else { panic!("one column") };
    assert_eq!(columns[0], Lineage::Columns(vec![BaseColumn { relation: CUSTOMERS, attnum: 3 }]));
    assert!(!analysis.statements[0].predicates.is_clear(), "the id decides");
}

#[test]
fn what_is_not_read_counts_as_code_that_may_write() {
    check("SELECT as_admin()", "select function_call", "");
    check("SELECT forever()", "select function_call", "");
    check("SELECT riddle()", "select function_call", "");
    // After the path has changed within the text, nobody knows what the names in it mean.
    assert!(analysis("SET search_path = app; SELECT order_count()").not_understood().is_some());
}

#[test]
fn a_body_that_was_parsed_when_it_was_made_means_what_it_meant_then() {
    check("SELECT atomic(1)", "select", "public.customers public.customers_eu");
    let elsewhere = analysis_along("SELECT public.atomic(1)", &["pg_catalog"]);
    assert_eq!(elsewhere.not_understood(), None);
    assert!(!elsewhere.effects().iter().any(|effect| effect.as_str() == "function_call"));
    // A name in it that is not qualified is one of the server's, which this is not.
    check("SELECT blind_atomic()", "select function_call", "");
}

#[test]
fn what_runs_before_the_body_counts() {
    check("SELECT by_default()", "select function_call", "");
    check("SELECT by_check(1)", "select function_call", "");
    check("SELECT by_riddle(1)", "select function_call", "");
    check("SELECT by_number()", "select", "");
}

#[test]
fn the_planner_runs_what_is_declared_not_to_write() {
    check("EXPLAIN SELECT liar()", "function_call explain", "");
    check("EXPLAIN SELECT purge()", "explain", "");
}
