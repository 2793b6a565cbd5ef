//! Rules that ask for the planner's estimate.

use super::*;
use crate::analysis::tests::fixture;
use crate::verdict::rows::{concerns_rows, obstacle};

fn limited(action: Action, max_rows: u64) -> Rule {
    let mut made = rule("many", action);
    made.matcher.max_rows = Some(max_rows);
    made
}

fn judge_rows(policy: &Policy, text: &str, rows: Option<Rows>) -> Judgement {
    let (catalog, analysis, subject) = (fixture::catalog(), fixture::analysis(text), subject());
    policy.judge(Case { catalog: &catalog, rows, ..case(&subject, text, &analysis, None) })
}

/// Whether the planner is asked about the text, and why not.
#[track_caller]
fn asks(text: &str, expected: Estimate) {
    let policy = policy(Action::Allow, vec![limited(Action::Deny, 100)]);
    assert_eq!(judge_rows(&policy, text, None).estimate, expected, "{text}");
}

#[track_caller]
fn check_rows(rules: Vec<Rule>, rows: Option<Rows>, expected: &str, estimate: Estimate) {
    let judgement = judge_rows(&policy(Action::Allow, rules), "DELETE FROM orders WHERE id = 1", rows);
    assert_eq!((short(&judgement.verdict).as_str(), judgement.estimate), (expected, estimate));
}

#[test]
fn more_rows_than_allowed_match_and_so_does_what_cannot_be_told() {
    let known = |rows| (Some(rows), Estimate::Known(rows));
    for (rows, denied) in [
        (Rows::Estimated(100), false),
        (Rows::Estimated(101), true),
        (Rows::Estimated(u64::MAX), true),
        (Rows::Unavailable("x"), true),
    ] {
        let (given, estimate) = known(rows);
        check_rows(vec![limited(Action::Deny, 100)], given, if denied { "deny many" } else { "allow" }, estimate);
        check_rows(vec![limited(Action::Hold, 100)], given, if denied { "hold dba:1" } else { "allow" }, estimate);
    }
}

#[test]
fn it_is_asked_for_only_where_it_could_decide() {
    use Estimate::{NotNeeded, Wanted};
    check_rows(vec![limited(Action::Deny, 100)], None, "allow", Wanted);
    check_rows(vec![with_effects(limited(Action::Deny, 100), "update")], None, "allow", NotNeeded);
    check_rows(vec![limited(Action::Hold, 100), rule("no", Action::Deny)], None, "deny no", NotNeeded);
    check_rows(vec![limited(Action::Hold, 100), rule("held", Action::Hold)], None, "hold dba:1", Wanted);
    check_rows(vec![observed(limited(Action::Deny, 100))], None, "allow", Wanted);
    let elsewhere = Rule {
        matcher: Matcher { users: Some(globs("bob")), ..limited(Action::Deny, 1).matcher },
        ..limited(Action::Deny, 1)
    };
    check_rows(vec![elsewhere], None, "allow", NotNeeded);
}

#[test]
fn people_are_told_how_many_rows_or_why_that_is_not_known() {
    let policy = policy(Action::Allow, vec![limited(Action::Hold, 100)]);
    for (rows, told) in [
        (Rows::Estimated(200), "About 200 rows, by the planner's estimate."),
        (Rows::Unavailable("it is late"), "How many rows is not known: it is late."),
    ] {
        let Verdict::Hold(terms) = judge_rows(&policy, "DELETE FROM orders", Some(rows)).verdict else {
            panic!("not held")
        };
        assert_eq!(terms.messages, [told]);
    }
}

#[test]
fn statements_without_rows_are_none_of_its_business() {
    for text in [
        "BEGIN",
        "COMMIT",
        "SET work_mem = '1MB'",
        "SHOW work_mem",
        "CREATE TABLE t (id int)",
        "DROP TABLE orders",
        "EXPLAIN DELETE FROM orders",
        "DECLARE c CURSOR FOR SELECT 1; FETCH c",
        "LISTEN x",
        "DEALLOCATE ALL",
        "VACUUM orders",
        "LOCK orders",
    ] {
        let last = fixture::analysis(text).statements.pop().unwrap();
        assert!(!concerns_rows(&last), "{text}");
    }
}

#[test]
fn what_explain_takes_is_planned() {
    for text in [
        "SELECT * FROM orders",
        "TABLE orders",
        "VALUES (1), (2)",
        "SELECT 1",
        "INSERT INTO orders (id) SELECT id FROM customers",
        "UPDATE orders SET note = 'x'",
        "WITH d AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM d",
        "MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN DELETE",
        "DECLARE c CURSOR FOR SELECT * FROM orders",
        "CREATE TABLE t AS SELECT * FROM orders",
        "SELECT * INTO t FROM orders",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT nextval('x'), now(), random(), lower(note) FROM orders",
        "SELECT order_count()",
        "SELECT purge()",
        "UPDATE accounts SET owner = 'x'",
        "SELECT st_x(note) FROM orders",
        "SELECT * FROM customer_view",
    ] {
        asks(text, Estimate::Wanted);
    }
}

#[test]
fn planning_runs_no_function_that_was_not_judged() {
    const RUNS: Estimate = Estimate::Known(Rows::Unavailable("planning it could run a function that was not judged"));
    asks("SELECT next_number()", RUNS);
    asks("SELECT * FROM orders WHERE id = next_number()", RUNS);
    asks("INSERT INTO entries (id) VALUES (1)", RUNS);
    asks("SELECT liar()", RUNS);
    asks("SELECT 1 <~> 2", RUNS);
    asks("SELECT id FROM orders WHERE note <+> 'x'", RUNS);
    asks("SELECT 'x'::parcel", RUNS);
    asks("SELECT table_to_xml('orders', true, true, '')", RUNS);
    asks("SELECT badge()", RUNS);
}

#[test]
fn what_the_planner_cannot_be_asked_about_counts_as_too_much() {
    let unavailable = |why| Estimate::Known(Rows::Unavailable(why));
    const KIND: &str = "EXPLAIN does not take a statement of its kind";
    asks("SELECT 1; SELECT 2", unavailable("the text holds several statements"));
    asks("COPY orders TO STDOUT", unavailable(KIND));
    asks("COPY orders FROM STDIN", unavailable(KIND));
    asks("TRUNCATE orders", unavailable(KIND));
    asks("EXPLAIN ANALYZE SELECT * FROM orders", unavailable(KIND));
    asks("CALL purge()", unavailable(KIND));
    asks("DO ''", unavailable("the statement is not fully understood"));
    asks("SELECT * FROM nosuch", unavailable("the statement is not fully understood"));
}

#[test]
fn a_relation_of_the_session_is_not_planned_elsewhere() {
    let search_path: Vec<String> = strings("pg_temp_4 pg_catalog public");
    let catalog = fixture::catalog();
    let context = crate::analysis::AnalysisContext {
        catalog: &catalog,
        search_path: &search_path,
        prepared: &crate::analysis::NothingPrepared,
    };
    let analysis = crate::analysis::analyze("SELECT * FROM orders_draft", &context);
    assert_eq!(obstacle(&analysis, &catalog), Some("it names a relation that only its session sees"));
}
