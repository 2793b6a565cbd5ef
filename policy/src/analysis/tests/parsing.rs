//! What runs when literals and parameters are read. `parcel` is a row type with a part whose check may write, `boxes.content`
//! an array of it; `tickets.code` is of a domain with such a check.

use super::fixture::analysis;
use crate::effect::Effect;

/// The text calls a function, and already when it is parsed.
#[track_caller]
fn runs(text: &str) {
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    assert!(found.effects().contains(Effect::FunctionCall), "{text}: {:?}", found.effects());
    assert!(found.runs_when_parsed(), "{text}");
}

/// The text calls nothing, neither then nor later.
#[track_caller]
fn is_quiet(text: &str) {
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    assert!(!found.effects().contains(Effect::FunctionCall), "{text}");
    assert!(!found.runs_when_parsed(), "{text}");
}

#[test]
fn a_literal_that_becomes_a_checked_value_is_a_call() {
    runs("SELECT '(1)'::parcel");
    runs("SELECT parcel '(1)'");
    runs("SELECT '{\"(1)\"}'::parcel[]");
    runs("SELECT id FROM boxes WHERE content = '{}'");
    runs("SELECT id FROM boxes WHERE content = $1");
    runs("SELECT coalesce(content, '{}') FROM boxes");
    runs("SELECT content FROM boxes UNION SELECT '{}'");
    runs("SELECT b.c FROM (SELECT content AS c FROM boxes) b WHERE b.c <> '{}'");
    runs("INSERT INTO boxes (content) VALUES ('{}')");
    runs("UPDATE boxes SET content = '{}' WHERE id = 1");
    runs("WITH w AS (SELECT * FROM boxes WHERE content = '{}') SELECT 1 FROM w");
    runs("SELECT coalesce(b, '(1,{})') FROM boxes b");
    runs("SELECT array_agg(code) = '{x}' FROM tickets");
    runs("SELECT ARRAY[code] = '{x}' FROM tickets");
    runs("SELECT ARRAY(SELECT code FROM tickets) = '{x}'");
    runs("SELECT by_check('x')");
}

#[test]
fn what_is_only_prepared_or_explained_is_parsed_too() {
    runs("PREPARE p AS SELECT '(1)'::parcel");
    runs("PREPARE p AS SELECT id FROM boxes WHERE content = '{}'");
    runs("EXPLAIN SELECT id FROM boxes WHERE content = '{}'");
    runs("EXPLAIN SELECT '(1)'::parcel");
    runs("DECLARE c CURSOR FOR SELECT id FROM boxes WHERE content = '{}'");
    runs("CREATE TABLE t AS SELECT id FROM boxes WHERE content = '{}'");
    runs("COPY (SELECT id FROM boxes WHERE content = '{}') TO STDOUT");
}

#[test]
fn an_argument_becomes_a_value_of_the_parameters_type() {
    let found = analysis("PREPARE p (parcel) AS SELECT 1; EXECUTE p ('(1)')");
    let [_, execute] = found.statements.as_slice() else { panic!("two statements") };
    assert!(execute.effects.contains(Effect::FunctionCall), "{:?}", execute.effects);
}

#[test]
fn what_is_not_understood_may_run_anything_when_it_is_parsed() {
    assert!(analysis("SELECT nosuch('(1)')").runs_when_parsed());
    assert!(analysis("SELECT 'x' FROM nosuch").runs_when_parsed());
    assert!(!analysis("SELECT nosuch(1)").runs_when_parsed(), "no literal becomes anything");
    assert!(!analysis("SELEC 'x'").runs_when_parsed(), "it is not parsed");
}

#[test]
fn literals_beside_other_columns_are_quiet() {
    is_quiet("SELECT id FROM boxes WHERE id = '1'");
    is_quiet("SELECT id, content FROM boxes WHERE id = 1");
    is_quiet("SELECT * FROM boxes");
    is_quiet("SELECT code FROM tickets WHERE code = 'x'");
    is_quiet("SELECT * FROM tickets WHERE code IN ('x', $1)");
    is_quiet("SELECT 1 FROM tickets t WHERE t.code LIKE 'x%' AND t.id = '7'");
    is_quiet("UPDATE boxes SET id = 1 WHERE id = 2");
    is_quiet("DELETE FROM boxes WHERE id = '2'");
    is_quiet("SELECT array_agg(name) = '{x}' FROM customers");
    is_quiet("SELECT coalesce(c, c) FROM customers c WHERE c.name = 'x'");
    is_quiet("PREPARE p AS SELECT name FROM customers WHERE name = 'x'");
}

#[test]
fn rows_that_are_made_of_texts_are_calls() {
    for text in ["SELECT populate_record(t, h) FROM tickets t, orders h", "SELECT t #= t FROM tickets t"] {
        assert!(analysis(text).effects().contains(Effect::FunctionCall), "{text}");
    }
}
