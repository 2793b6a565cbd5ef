//! Texts made to exhaust the parsers.

use super::fixture::analysis;
use crate::analysis::NotUnderstood;

#[track_caller]
fn refused(text: &str) {
    let found = analysis(text);
    assert!(found.not_understood().is_some(), "{} bytes are understood", text.len());
}

#[track_caller]
fn guarded(text: &str, why: &'static str) {
    assert_eq!(analysis(text).not_understood(), Some(&NotUnderstood::Guard(why)));
}

#[track_caller]
fn understood(text: &str) {
    assert_eq!(analysis(text).not_understood(), None);
}

#[test]
fn as_many_parameters_as_postgresql_allows_are_understood() {
    let rows: Vec<_> = (1..=65_535).map(|number| format!("(${number}::int)")).collect();
    understood(&format!("SELECT count(*) FROM (VALUES {}) AS t (v)", rows.join(",")));
}

#[test]
fn deep_texts_are_refused_and_nothing_overflows() {
    refused(&format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)));
    refused(&format!("SELECT {}1{}", "lower(".repeat(150), ")".repeat(150)));
    refused(&format!("SELECT {}1{}", "(SELECT ".repeat(120), ")".repeat(120)));
    refused(&format!("SELECT 1{}", "+1".repeat(35_000)));
    refused(&format!("SELECT 1{}", "+1".repeat(9_000)));
    refused(&format!("SELECT {}id FROM orders", "- ".repeat(8_000)));
    refused(&format!("SELECT {}id FROM orders", "- ".repeat(19_900)));
    refused(&format!("SELECT {}true", "NOT ".repeat(9_000)));
    refused(&format!("SELECT {}true", "NOT ".repeat(19_900)));
    refused(&format!("SELECT 1{}", "+1".repeat(9_990)));
    refused(&format!("SELECT 1,2{}", " UNION SELECT 1,2".repeat(3_000)));
    refused(&format!("SELECT 1{}", "::int".repeat(5_000)));
    refused(&format!("SELECT lower('a'){}", "||lower('a')".repeat(4_000)));
    refused(&format!("SELECT * FROM orders{}", " CROSS JOIN orders".repeat(2_000)));
}

#[test]
fn limits_are_named() {
    guarded(&format!("SELECT {}", "x".repeat(1 << 20)), "the text is too long");
    guarded("SELECT 1\0", "the text contains a NUL byte");
    guarded(&format!("{} 1 {}", "/*".repeat(17), "*/".repeat(17)), "comments nest too deeply");
    guarded(&format!("SELECT {}", "(".repeat(2_000)), "parentheses nest too deeply");
    guarded(&format!("SELECT 1{}", "+1".repeat(35_000)), "the statement may nest too deeply");
}

#[test]
fn texts_whose_trees_would_fill_the_memory_are_not_parsed() {
    let guarded = |text: &str| guarded(text, "the text has too many parts");
    guarded(&"SELECT 1;".repeat(100_000));
    guarded(&format!("SELECT 1{}", ",id+1".repeat(90_000)));
    guarded(&format!("SELECT 1{}", ",(SELECT 1)".repeat(60_000)));
    guarded(&format!("SELECT 1 IN (1{})", ",x".repeat(200_000)));
    guarded(&format!("SELECT 1 IN (1{})", ",\"x\"".repeat(200_000)));
    guarded(&format!("VALUES (1){}", ",(1)".repeat(200_000)));
    guarded(&"BEGIN;".repeat(100_000));
    understood(&format!("SELECT 1 FROM orders WHERE id IN (1{})", ",123456".repeat(100_000)));
    understood(&format!("INSERT INTO orders (id, note) VALUES (1, NULL){}", ", (-2, NULL)".repeat(30_000)));
}

#[test]
fn what_does_not_end_is_a_syntax_error() {
    for text in ["SELECT 1 /* x", "SELECT 'x", "SELECT $a$ x $b$", "SELECT \"x", "SELECT E'x\\'", "SELECT 1 /* /* */"] {
        assert_eq!(analysis(text).not_understood(), Some(&NotUnderstood::Syntax), "{text}");
    }
}

#[test]
fn long_flat_texts_are_understood() {
    understood(&format!("INSERT INTO orders (id, note) VALUES (1, 'x'){}", ", (-2, 'y')".repeat(20_000)));
    understood(&format!("SELECT * FROM orders WHERE id IN (1{})", ",2".repeat(30_000)));
    understood(&format!("SELECT * FROM orders WHERE id = 1{}", " OR id = 2".repeat(2_000)));
    understood(&format!("{} SELECT 1", "/*".repeat(16) + &"*/".repeat(16)));
    understood(&"SELECT 1;".repeat(2_000));
    understood("SELECT $$a$b$$, $x$ $$ $x$, E'a\\'b', U&'x', '--', \"id\" FROM orders -- '");
}

#[test]
fn a_string_hides_no_nesting_behind_a_backslash() {
    // What these take for the inside of a string, PostgreSQL takes for code, if the string is read otherwise than there.
    let deep = format!("1{}", "+1".repeat(35_000));
    for begin in ["e'a''b\\'', ", "e'a'\n'b\\'', ", "E'a' -- x\n -- y\n 'b\\'', ", "e'a' \r 'b\\'', ", "$1e'b\\'', "] {
        guarded(&format!("SELECT {begin}{deep} -- '"), "the statement may nest too deeply");
    }
    understood("SELECT e'a'\n'b\\''");
    understood("SELECT e'a''b\\''");
    understood("SELECT 'a'\n'b\\', 'c'");
}
