//! SQL in arguments does what it says; SQL that cannot be seen could do anything.

use super::fixture::{CUSTOMERS, analysis, analysis_along};
use crate::analysis::{Analysis, BaseColumn, Lineage, NotUnderstood, Outputs};

fn relations(analysis: &Analysis) -> String {
    let used = analysis.statements.iter().flat_map(|statement| &statement.relations);
    used.map(|used| used.name.to_string()).collect::<Vec<_>>().join(" ")
}

/// The statement executes its argument, and uses these relations.
#[track_caller]
fn check(text: &str, effects: &str, expected: &str) -> Analysis {
    let found = analysis(text);
    assert_eq!(found.not_understood(), None, "{text}");
    let carried: Vec<&str> = found.effects().iter().map(|effect| effect.as_str()).collect();
    assert_eq!(carried.join(" "), effects, "effects of {text}");
    assert_eq!(relations(&found), expected, "relations of {text}");
    found
}

#[track_caller]
fn not_read(text: &str) {
    let found = analysis(text);
    assert!(found.not_understood().is_some(), "{text} is understood");
    assert!(found.effects().iter().any(|effect| effect.as_str() == "function_call"), "{text}");
}

/// The first column comes from the customers' columns of these numbers.
#[track_caller]
fn shows(text: &str, numbers: &[i16]) {
    let found = analysis(text);
    let lineage = match &found.statements[0].outputs {
        Outputs::Columns(columns) => &columns[0],
        Outputs::Opaque(lineage) => lineage,
        Outputs::None => panic!("{text} returns nothing"),
    };
    let columns = numbers.iter().map(|attnum| BaseColumn { relation: CUSTOMERS, attnum: *attnum });
    assert_eq!(*lineage, Lineage::Columns(columns.collect()), "{text}");
}

#[test]
fn a_query_in_an_argument_is_read() {
    const CALL: &str = "select function_call";
    check(
        "SELECT query_to_xml('select ssn from customers', true, false, '')",
        CALL,
        "public.customers public.customers_eu",
    );
    check("SELECT query_to_xml('select 1'::text, true, false, '')", CALL, "");
    check("SELECT query_to_xml(nulls => true, query => 'TABLE orders')", CALL, "public.orders");
    check("SELECT * FROM ts_stat($$SELECT note FROM orders$$)", CALL, "public.orders");
    check("SELECT ts_rewrite('a & b', 'SELECT note, note FROM orders')", CALL, "public.orders");
    check("SELECT table_to_xml('customers', true, false, '')", CALL, "public.customers public.customers_eu");
    check("SELECT table_to_xml('app.customers'::regclass, true, false, '')", CALL, "app.customers");
    check("SELECT * FROM crosstab('SELECT id, note, total FROM orders') AS t(a text, b text)", CALL, "public.orders");
    check(
        "SELECT * FROM crosstab('SELECT id FROM orders', 'SELECT id FROM payments') AS t(a text)",
        CALL,
        "public.orders public.payments",
    );
    check("SELECT * FROM crosstab('SELECT id FROM orders', 2) AS t(a text)", CALL, "public.orders");
    check("SELECT * FROM connectby('orders', 'id', 'customer_id', $1, 0) AS t(a text)", CALL, "public.orders");
    check("SELECT * FROM connectby('orders', 'id', 'customer_id', 'note', '1', 0) AS t(a text)", CALL, "public.orders");
    check("SELECT * FROM xpath_table('id', 'note', 'orders', '/a', 'total > 1') AS t(a int)", CALL, "public.orders");
    check("SELECT query_to_xml('select wipe(1)', true, false, '')", "select delete function_call", "public.payments");
    check(
        "DECLARE c CURSOR FOR SELECT ssn FROM customers; SELECT cursor_to_xml('c', 1, true, false, '')",
        "select function_call cursor",
        "public.customers public.customers_eu public.customers public.customers_eu",
    );
    check(
        "SELECT query_to_xml('select query_to_xml(''delete from orders'', true, false, '''')', true, false, '')",
        "select delete function_call",
        "public.orders",
    );
    // What an earlier statement of the text has made is there for it too.
    check(
        "CREATE TABLE made (a int); SELECT ts_stat('TABLE made')",
        "select create function_call",
        "public.made public.made",
    );
}

#[test]
fn what_it_returns_comes_from_the_query() {
    shows("SELECT query_to_xml('select ssn from customers', true, false, '')", &[5]);
    shows("SELECT query_to_xml('select id, email from customers', true, false, '')", &[1, 3]);
    shows("SELECT query_to_xml('select 1', true, false, '')", &[]);
    shows("SELECT table_to_xml('customers', true, false, '')", &[1, 2, 3, 4, 5]);
    shows("SELECT t.a FROM crosstab('SELECT id, name, phone FROM customers') AS t(a text)", &[1, 2, 4]);
    shows("SELECT word FROM ts_stat('SELECT name FROM customers')", &[2]);
    let decides = analysis("SELECT query_to_xml('select 1 from customers where ssn = ''1''', true, false, '')");
    assert!(!decides.statements[0].predicates.is_clear());
}

#[test]
fn a_query_that_is_put_together_is_not_understood() {
    not_read("SELECT query_to_xml($1, true, false, '')");
    not_read("SELECT query_to_xml('select ssn ' || 'from customers', true, false, '')");
    not_read("SELECT query_to_xml(note, true, false, '') FROM orders");
    not_read("SELECT query_to_xml(query => format('select 1'), nulls => true)");
    not_read("SELECT query_to_xml((SELECT 'select 1'), true, false, '')");
    not_read("SELECT ('select ssn from customers'::text).ts_stat");
    not_read("SELECT * FROM ts_stat(lower('SELECT'))");
    not_read("SELECT * FROM crosstab($1) AS t(a text)");
    not_read("SELECT * FROM crosstab('SELECT 1', $1) AS t(a text)");
    not_read("SELECT * FROM crosstab() AS t(a text)");
    not_read("SELECT * FROM connectby('(SELECT ssn FROM customers) x', 'id', 'customer_id', '1', 0) AS t(a text)");
    not_read("SELECT * FROM connectby('orders', 'id', 'customer_id', 'id; DROP TABLE x', '1', 0) AS t(a text)");
    not_read("SELECT * FROM connectby($1, 'id', 'customer_id', '1', 0) AS t(a text)");
    not_read("SELECT * FROM xpath_table('id', 'note', 'orders', '/a', $1) AS t(a int)");
    not_read("SELECT cursor_to_xml('nosuch', 1, true, false, '')");
    not_read("SELECT table_to_xml($1, true, false, '')");
    not_read("SELECT table_to_xml(20001, true, false, '')");
    not_read("SELECT table_to_xml('20001', true, false, '')");
    not_read("SELECT schema_to_xml('public', true, false, '')");
    not_read("SELECT query_to_xml('selec', true, false, '')");
    not_read("SELECT query_to_xml('select * from nosuch', true, false, '')");
    not_read("SELECT query_to_xml('DO $$ BEGIN END $$', true, false, '')");
    // The cast would cut the text short.
    not_read("SELECT query_to_xml('select ssn from customers_eu'::char(25), true, false, '')");
    not_read("SELECT table_to_xml('orders_draft'::varchar(6), true, false, '')");
    let deep =
        (0..9).fold("select 1".to_owned(), |text, _| format!("select query_to_xml($t{0}${text}$t{0}$)", text.len()));
    not_read(&deep);
}

#[test]
fn names_in_it_resolve_when_it_runs() {
    let along = |path: &[&str]| relations(&analysis_along("SELECT x FROM public.as_xml", path));
    assert_eq!(along(&["pg_catalog", "app"]), "public.as_xml app.customers");
    let elsewhere = analysis_along("SELECT x FROM public.as_xml", &["pg_catalog", "public"]);
    assert_eq!(elsewhere.not_understood(), None);
    assert_eq!(relations(&elsewhere), "public.as_xml public.customers public.customers_eu");
}

#[test]
fn a_function_of_the_same_name_is_another_one() {
    let found = analysis_along("SELECT query_to_xml($1)", &["app"]);
    assert!(matches!(found.not_understood(), Some(NotUnderstood::Other(_))), "it may be the server's");
    let found = analysis_along("SELECT app.query_to_xml($1)", &["app"]);
    assert_eq!(found.not_understood(), None);
}

#[test]
fn a_setting_is_named_by_exactly_the_text() {
    let effects =
        |text: &str| analysis(text).effects().iter().map(|effect| effect.as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!(effects("SELECT set_config('roles'::varchar(4), 'admin', false)"), "select set_dangerous function_call");
    assert_eq!(effects("SELECT set_config('jit'::text, 'off', false)"), "select set");
}
