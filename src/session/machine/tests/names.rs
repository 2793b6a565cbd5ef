//! What names mean while they change.

use super::{Setting, check, check_in};

const LEARNED: &str = r#"v 1 | 2 | D shop ["pg_catalog","public"] | C SELECT 1 | 3 | 3"#;
const SANDBOX: &str = r#"v 1 | 2 | D shop ["pg_catalog","sandbox"] | C SELECT 1 | 3 | 3"#;

#[test]
fn a_session_begins_with_the_question() {
    check_in(
        Setting::Fresh,
        &format!(
            "> Q SELECT id FROM customers
             ^ OWN | S
             {LEARNED} | Z I
             ^ Q SELECT id FROM customers
             = allow"
        ),
    );
    check_in(Setting::Fresh, &format!("> Q SELECT 1\n^ OWN | S\n! cancel\n{LEARNED} | Z I\n^ Q SELECT 1\n= allow"));
    check_in(Setting::Fresh, "> Q SELECT 1\n^ OWN | S\nv E 57014\n< E! XX000\n^ X\n= Close");
}

#[test]
fn a_new_search_path_is_known_before_the_next_statement_is_judged() {
    check(&format!(
        "> Q SET search_path = sandbox | Q DELETE FROM customers
         ^ Q SET search_path = sandbox
         = allow
         v C SET | Z I
         < C SET | Z I
         ^ OWN | S
         {SANDBOX} | Z I
         ^ Q DELETE FROM customers
         = allow"
    ));
}

#[test]
fn within_a_pipeline_the_question_does_not_end_it() {
    check(&format!(
        "> P - SET search_path = sandbox | B - - | E - | P - DELETE FROM customers | B - - | E - | S
         ^ P - SET search_path = sandbox | B - - | E - | H
         = allow
         v 1 | 2 | C SET
         < 1 | 2 | C SET
         ^ OWN | H
         {SANDBOX}
         ^ P - DELETE FROM customers | B - - | E - | S
         = allow
         v 1 | 2 | C DELETE 1 | Z I
         < 1 | 2 | C DELETE 1 | Z I"
    ));
}

#[test]
fn the_next_pipeline_waits_for_what_sync_may_take_back() {
    check(&format!(
        "> P - SET LOCAL search_path = sandbox | B - - | E - | P - SELECT 1 | B - - | E - | S | P - DELETE FROM customers | B - - | E - | S
         ^ P - SET LOCAL search_path = sandbox | B - - | E - | H
         = allow
         v 1 | 2 | C SET
         < 1 | 2 | C SET
         ^ OWN | H
         {SANDBOX}
         ^ P - SELECT 1 | B - - | E - | S
         = allow
         v 1 | 2 | D 1 | C SELECT 1 | Z I
         < 1 | 2 | D 1 | C SELECT 1 | Z I
         ^ OWN | S
         {LEARNED} | Z I
         = hold Open"
    ));
}

#[test]
fn a_portal_bound_under_other_names_is_not_understood() {
    check(&format!(
        "> Q BEGIN | Q SET search_path = sandbox
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         ^ Q SET search_path = sandbox
         = allow
         v C SET | Z T
         < C SET | Z T
         > P s DELETE FROM customers | B p s | S
         ^ OWN | S
         {SANDBOX} | Z T
         ^ P s DELETE FROM customers | B p s | S
         v 1 | 2 | Z T
         < 1 | 2 | Z T
         > Q SET search_path = public
         ^ Q SET search_path = public
         = allow
         v C SET | Z T
         < C SET | Z T
         > E p | S
         ^ OWN | S
         {LEARNED} | Z T
         = hold Open"
    ));
}

#[test]
fn a_statement_is_planned_anew_when_it_is_bound() {
    check(&format!(
        "> P s DELETE FROM customers | S
         ^ P s DELETE FROM customers | S
         v 1 | Z I
         < 1 | Z I
         > Q SET search_path = sandbox
         ^ Q SET search_path = sandbox
         = allow
         v C SET | Z I
         < C SET | Z I
         > B - s | E - | S
         ^ OWN | S
         {SANDBOX} | Z I
         ^ B - s | E - | S
         = allow
         v 2 | C DELETE 1 | Z I
         < 2 | C DELETE 1 | Z I
         # SQL EXECUTE plans anew, too.
         > Q SET search_path = public
         ^ Q SET search_path = public
         = allow
         v C SET | Z I
         < C SET | Z I
         > Q EXECUTE s
         ^ OWN | S
         {LEARNED} | Z I
         = hold Open"
    ));
}

#[test]
fn a_failed_pipeline_takes_its_names_back() {
    check(
        "> P a SELECT 1 | S
         ^ P a SELECT 1 | S
         v 1 | Z I
         < 1 | Z I
         > P b SELECT 1/0 | B - b | E - | C S a | P a DELETE FROM customers | S
         ^ P b SELECT 1/0 | B - b | E - | C S a | P a DELETE FROM customers | S
         = allow
         v 1 | 2 | E 22012 | Z I
         < 1 | 2 | E 22012 | Z I
         > B - a | E - | S
         ^ B - a | E - | S
         = allow
         v 2 | D 1 | C SELECT 1 | Z I
         < 2 | D 1 | C SELECT 1 | Z I",
    );
}

#[test]
fn a_second_parse_of_a_name_that_fails_leaves_the_first() {
    check(
        "> P a DELETE FROM customers | S | P a SELECT 1 | S
         ^ P a DELETE FROM customers | S
         v 1 | Z I
         < 1 | Z I
         ^ P a SELECT 1 | S
         v E 42P05 | Z I
         < E 42P05 | Z I
         > B - a | E - | S
         = hold Open",
    );
}

#[test]
fn names_of_sql_and_of_the_protocol_are_the_same_names() {
    // A prepared statement that the protocol closes.
    check(
        "> Q PREPARE s AS SELECT 1
         ^ Q PREPARE s AS SELECT 1
         = allow
         v C PREPARE | Z I
         < C PREPARE | Z I
         > C S s | P s DELETE FROM customers | S
         ^ C S s | P s DELETE FROM customers | S
         v 3 | 1 | Z I
         < 3 | 1 | Z I
         > Q EXECUTE s
         = hold Open",
    );
    // A cursor whose name the protocol would give to a statement that has to be approved.
    check(
        "> Q BEGIN | Q DECLARE c CURSOR FOR SELECT 1
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         ^ Q DECLARE c CURSOR FOR SELECT 1
         = allow
         v C DECLARE CURSOR | Z T
         < C DECLARE CURSOR | Z T
         > C P c | P - DELETE FROM customers RETURNING id | B c - | S
         ^ C P c | E nowhere | S
         v 3 | E 34000 | Z E
         < 3 | E 42501 | Z E",
    );
    // A statement that SQL prepared, bound by the protocol; a cursor that SQL declared, executed by it.
    check(
        "> Q PREPARE s AS SELECT 1 | B - s | E - | S
         ^ Q PREPARE s AS SELECT 1
         = allow
         v C PREPARE | Z I
         < C PREPARE | Z I
         ^ B - s | E - | S
         = allow
         v 2 | D 1 | C SELECT 1 | Z I
         < 2 | D 1 | C SELECT 1 | Z I
         > Q PREPARE d AS DELETE FROM customers
         ^ Q PREPARE d AS DELETE FROM customers
         = allow
         v C PREPARE | Z I
         < C PREPARE | Z I
         > B - d | E - | S
         = hold Open",
    );
    check(
        "> Q BEGIN | Q DECLARE c CURSOR FOR SELECT 1
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         ^ Q DECLARE c CURSOR FOR SELECT 1
         = allow
         v C DECLARE CURSOR | Z T
         < C DECLARE CURSOR | Z T
         > E c | S
         ^ E c | S
         = allow
         v D 1 | C SELECT 1 | Z T
         < D 1 | C SELECT 1 | Z T",
    );
}

#[test]
fn names_that_agree_in_63_bytes_are_one() {
    let long = "n".repeat(63);
    check(&format!(
        "> P {long}a SELECT 1 | C S {long}b | P {long}c DELETE FROM customers | S
         ^ P {long}a SELECT 1 | C S {long}b | P {long}c DELETE FROM customers | S
         v 1 | 3 | 1 | Z I
         < 1 | 3 | 1 | Z I
         > B - {long}a | E - | S
         = hold Open"
    ));
}

#[test]
fn a_definition_is_known_before_its_client_hears_of_it() {
    check(
        "> Q CREATE TABLE fresh (id int) | Q SELECT 1
         ^ Q CREATE TABLE fresh (id int)
         = allow
         v C CREATE TABLE | Z I
         < C CREATE TABLE | Z I
         = Refresh
         ! refreshed
         ^ OWN | S",
    );
}

#[test]
fn an_unknown_name_loads_the_catalog_once() {
    check(
        "> Q SELECT * FROM nowhere | Q SELECT 1
         = Refresh
         ! refreshed
         ^ P - SELECT * FROM nowhere | E nowhere | S
         = error
         v E 42P01 | Z I
         ^ Q SELECT 1
         = allow
         < E 42P01 | Z I",
    );
}

#[test]
fn dropping_what_is_not_there_is_no_error_of_ours() {
    check("> Q DROP TABLE IF EXISTS nowhere\n= deny\n< E 42501 | Z I");
}

/// An error in one pipeline does not keep the next from running: what it names must be settled before it is judged.
#[test]
fn the_next_pipeline_waits_until_its_names_are_settled() {
    check(
        "> P a DELETE FROM customers | S
         ^ P a DELETE FROM customers | S
         v 1 | Z I
         < 1 | Z I
         > P a SELECT 1 | S | B - a | E - | S
         ^ P a SELECT 1 | S
         v E 42P05 | Z I
         < E 42P05 | Z I
         = hold Open",
    );
    check(
        "> P - DELETE FROM customers | S
         ^ P - DELETE FROM customers | S
         v 1 | Z I
         < 1 | Z I
         > P x SELECT 1/0 | B p x | E p | P - SELECT 1 | S | B - - | E - | S
         ^ P x SELECT 1/0 | B p x | E p | P - SELECT 1 | S
         = allow
         v 1 | 2 | E 22012 | Z I
         < 1 | 2 | E 22012 | Z I
         = hold Open",
    );
    check(
        "> Q PREPARE a AS DELETE FROM customers
         ^ Q PREPARE a AS DELETE FROM customers
         = allow
         v C PREPARE | Z I
         < C PREPARE | Z I
         > P a SELECT 1 | S | P - EXECUTE a | B - - | E - | S
         ^ P a SELECT 1 | S
         v E 42P05 | Z I
         < E 42P05 | Z I
         = hold Open",
    );
}

#[test]
fn execute_looks_its_name_up_when_it_is_executed() {
    check(
        "> P a SELECT 1 | P e EXECUTE a | S
         ^ P a SELECT 1 | P e EXECUTE a | S
         v 1 | 1 | Z I
         < 1 | 1 | Z I
         > C S a | P a DELETE FROM customers | B - e | E - | S
         = hold Open
         ! opened
         < N 00000",
    );
}

#[test]
fn what_postgres_does_not_plan_looks_its_names_up_when_it_is_executed() {
    check(&format!(
        "> Q BEGIN | Q SET search_path = sandbox
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         ^ Q SET search_path = sandbox
         = allow
         v C SET | Z T
         < C SET | Z T
         > P - COPY customers FROM STDIN | B p - | S
         ^ OWN | S
         {SANDBOX} | Z T
         ^ P - COPY customers FROM STDIN | B p - | S
         v 1 | 2 | Z T
         < 1 | 2 | Z T
         > Q SET search_path = public
         ^ Q SET search_path = public
         = allow
         v C SET | Z T
         < C SET | Z T
         > E p | S
         ^ OWN | S
         {LEARNED} | Z T
         = hold Open"
    ));
}

/// A Query that fails takes back what the messages before it have changed, though no Sync stands between them.
#[test]
fn what_follows_a_refusal_waits_for_what_it_takes_back() {
    check(&format!(
        "> P - SET search_path = sandbox | B - - | E - | Q DROP TABLE public.free | P - DELETE FROM customers | B - - | E - | S
         ^ P - SET search_path = sandbox | B - - | E - | H
         = allow
         v 1 | 2 | C SET
         < 1 | 2 | C SET
         ^ OWN | H
         {SANDBOX}
         ^ Q countersign refused a statement
         = deny
         v E 42601 | Z I
         ^ OWN | S
         < E 42501 | Z I
         {LEARNED} | Z I
         = hold Open"
    ));
}

#[test]
fn a_prepare_that_was_not_executed_leaves_the_name_as_it_was() {
    check(
        "> P b SELECT id FROM free | P - PREPARE b AS DELETE FROM customers | B - - | E - | S
         ^ P b SELECT id FROM free | P - PREPARE b AS DELETE FROM customers | B - - | E - | S
         = allow
         v 1 | 1 | 2 | E 42P05 | Z I
         < 1 | 1 | 2 | E 42P05 | Z I
         > B - b | E - | S
         ^ B - b | E - | S
         = allow
         v 2 | D 1 | C SELECT 1 | Z I
         < 2 | D 1 | C SELECT 1 | Z I",
    );
}

#[test]
fn what_is_skipped_forgets_no_name() {
    for change in ["DEALLOCATE ALL", "DEALLOCATE a"] {
        check(&format!(
            "> P a SELECT 1 | P - {change} | P a SELECT 2 | B - - | E - | S
             ^ P a SELECT 1 | P - {change} | P a SELECT 2 | B - - | E - | S
             = allow
             v 1 | 1 | E 42P05 | Z I
             < 1 | 1 | E 42P05 | Z I
             > B - a | S
             ^ B - a | S
             v 2 | Z I
             < 2 | Z I"
        ));
    }
}

#[test]
fn deallocate_all_leaves_the_unnamed_statement() {
    check(
        "> P a SELECT 1 | P - DEALLOCATE ALL | B - - | E - | S
         ^ P a SELECT 1 | P - DEALLOCATE ALL | B - - | E - | S
         = allow
         v 1 | 1 | 2 | C DEALLOCATE ALL | Z I
         < 1 | 1 | 2 | C DEALLOCATE ALL | Z I
         > B - - | S
         ^ B - - | S
         v 2 | Z I
         < 2 | Z I
         > B - a | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 26000 | Z I",
    );
}
