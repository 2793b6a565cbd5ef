//! What makes one row of many.

use super::fixture::analysis;

/// The aggregates, with `[]` for ARRAY(SELECT …) and `?` for what no plan shows.
#[track_caller]
fn check(text: &str, expected: &str) {
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    let collects = &found.statements[0].collects;
    let mut spelt = collects.aggregates.clone();
    spelt.extend(collects.arrays.then(|| "[]".to_owned()));
    spelt.extend(collects.hidden.then(|| "?".to_owned()));
    assert_eq!(spelt.join(" "), expected, "{text}");
}

#[test]
fn aggregates_that_keep_what_they_are_given_are_named() {
    check("SELECT array_agg(name) FROM customers", "array_agg");
    check("SELECT length(string_agg(name, ',')), json_agg(c) FROM customers c", "string_agg json_agg");
    check("SELECT max(n) FROM (SELECT string_agg(name, '') AS n FROM customers) c", "string_agg");
    check("WITH c AS (SELECT array_agg(name) AS n FROM customers) SELECT 1", "array_agg");
    check("SELECT array_agg(name) OVER () FROM customers LIMIT 1", "array_agg");
    check("SELECT ARRAY(SELECT name FROM customers)", "[]");
    check("SELECT JSON_ARRAYAGG(name) FROM customers", "json_arrayagg");
    check("SELECT JSON_OBJECTAGG(id : name) FROM customers", "json_objectagg");
    check("SELECT JSON_ARRAY(SELECT name FROM customers)", "[]");
    check("DECLARE c CURSOR FOR SELECT json_agg(c) FROM customers c", "json_agg");
    check("SELECT query_to_xml('SELECT name FROM customers', true, false, '')", "?");
}

#[test]
fn others_are_not() {
    check("SELECT count(*), sum(id), min(name), max(name), avg(id) FROM customers", "");
    check("SELECT ARRAY[1, 2], row_to_json(c), jsonb_build_object('a', c.id) FROM customers c", "");
    check("SELECT id FROM customers WHERE id = ANY ('{1,2}')", "");
    check("SELECT row_number() OVER () FROM customers", "");
}
