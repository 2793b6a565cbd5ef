//! What passes, and what is refused in each position.

use super::{Setting, check, check_in};

#[test]
fn an_allowed_query_passes_byte_for_byte() {
    check(
        "> Q SELECT id FROM customers
         ^ Q SELECT id FROM customers
         = allow
         v T id:20001:1 | D 1 | D 2 | C SELECT 2 | Z I
         < T id | D 1 | D 2 | C SELECT 2 | Z I",
    );
}

#[test]
fn an_allowed_pipeline_passes_byte_for_byte() {
    check(
        "> P - SELECT id FROM free WHERE id = $1 | B - - 7 | D P - | E - | S
         ^ P - SELECT id FROM free WHERE id = $1 | B - - 7 | D P - | E - | S
         = allow
         v 1 | 2 | T id:20002:1 | D 7 | C SELECT 1 | Z I
         < 1 | 2 | T id | D 7 | C SELECT 1 | Z I",
    );
}

#[test]
fn a_denial_outside_a_transaction_never_reaches_the_upstream() {
    check(
        "> Q DROP TABLE free
         = deny
         < E 42501 | Z I
         > Q SELECT 1; DROP TABLE free
         = deny
         < E 42501 | Z I
         > Q SELECT 1
         ^ Q SELECT 1
         = allow
         v T a | D 1 | C SELECT 1 | Z I
         < T a | D 1 | C SELECT 1 | Z I",
    );
}

#[test]
fn a_denial_in_a_block_makes_the_upstream_fail() {
    check(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q DROP TABLE free
         ^ Q countersign refused a statement
         = deny
         v E 42601 | Z E
         < E 42501 | Z E
         > Q DROP TABLE free
         ^ Q countersign refused a statement
         = deny
         v E 42601 | Z E
         < E 42501 | Z E
         > Q ROLLBACK
         ^ Q ROLLBACK
         = allow
         v C ROLLBACK | Z I
         < C ROLLBACK | Z I",
    );
}

#[test]
fn a_hold_in_a_failed_block_is_no_hold() {
    check(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q SELECT 1/0
         ^ Q SELECT 1/0
         = allow
         v E 22012 | Z E
         < E 22012 | Z E
         > Q DELETE FROM customers
         ^ Q countersign refused a statement
         = deny
         v E 42601 | Z E
         < E 25P02 | Z E",
    );
}

#[test]
fn a_denial_at_the_head_of_a_pipeline() {
    check(
        "> P - DROP TABLE free | B - - | E - | P - SELECT 1 | B - - | E - | S
         ^ E nowhere | S
         = deny
         v E 34000 | Z I
         < E 42501 | Z I",
    );
}

#[test]
fn a_denial_in_the_middle_of_a_pipeline() {
    check(
        "> P - SELECT 1 | B - - | E - | P - DROP TABLE free | B - - | E - | P - SELECT 2 | B - - | E - | S
         ^ P - SELECT 1 | B - - | E - | E nowhere | S
         = allow deny
         v 1 | 2 | D 1 | C SELECT 1 | E 34000 | Z I
         < 1 | 2 | D 1 | C SELECT 1 | E 42501 | Z I",
    );
}

#[test]
fn a_denial_at_the_end_of_a_pipeline() {
    check(
        "> P a SELECT 1 | B - a | E - | B - a | E - | P - DROP TABLE free | S
         ^ P a SELECT 1 | B - a | E - | B - a | E - | E nowhere | S
         = allow allow deny
         v 1 | 2 | D 1 | C SELECT 1 | 2 | D 1 | C SELECT 1 | E 34000 | Z T
         < 1 | 2 | D 1 | C SELECT 1 | 2 | D 1 | C SELECT 1 | E 42501 | Z T",
    );
}

#[test]
fn a_denied_query_behind_a_pipeline_without_sync() {
    check(
        "> P - SELECT 1 | B - - | E - | Q DROP TABLE free
         ^ P - SELECT 1 | B - - | E - | H
         = allow
         v 1 | 2 | D 1 | C SELECT 1
         ^ Q countersign refused a statement
         = deny
         < 1 | 2 | D 1 | C SELECT 1
         v E 42601 | Z I
         < E 42501 | Z I",
    );
}

#[test]
fn two_pipelines_in_flight_fail_apart() {
    check(
        "> P - DROP TABLE free | B - - | E - | S | P - SELECT 2 | B - - | E - | S
         ^ E nowhere | S | P - SELECT 2 | B - - | E - | S
         = deny allow
         v E 34000 | Z I | 1 | 2 | D 2 | C SELECT 1 | Z I
         < E 42501 | Z I | 1 | 2 | D 2 | C SELECT 1 | Z I",
    );
}

#[test]
fn unknown_names_are_refused_as_by_postgres() {
    check(
        "> B - ghost | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 26000 | Z I
         > E ghost | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 34000 | Z I
         > F
         < E 0A000 | Z I",
    );
}

#[test]
fn reserved_names_are_refused() {
    check(
        "> P own | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 0A000 | Z I",
    );
}

#[test]
fn what_is_no_message_ends_the_session() {
    check("> raw !\0\0\0\x04\n= Close\n^ X\n< E! 08P01");
    check("> raw Q\0\0\0\x03\n= Close\n^ X\n< E! 08P01");
    check("> raw Q\x7f\0\0\0\n= Close\n^ X\n< E! 08P01");
    // Where the next message begins is known: an error, as in PostgreSQL, and nothing of it is forwarded.
    check("> raw Q\0\0\0\x08SELE\n< E 08P01 | Z I");
    check("> raw Q\0\0\0\x07a\0b\n< E 08P01 | Z I");
}

#[test]
fn without_a_record_nothing_runs() {
    check(
        "> Q SELECT 1 | Q SELECT 2
         ^ Q SELECT 1
         = allow
         ! record failed
         < E! 58030
         = Close",
    );
}

#[test]
fn masked_columns_are_asked_for_when_nobody_did() {
    check_in(
        Setting::Masked,
        "> P s SELECT email FROM customers | B - s | E - | S
         ^ P s SELECT email FROM customers | B - s | D P - | E - | S
         = allow
         v 1 | 2 | T email:20001:2 | D ada@x.org | C SELECT 1 | Z I
         < 1 | 2 | D *** | C SELECT 1 | Z I
         # What the columns are is asked for anew: the statement is planned anew whenever it is bound.
         > B - s | E - | S
         ^ B - s | D P - | E - | S
         = allow
         v 2 | T email:20001:2 | D ada@x.org | C SELECT 1 | Z I
         < 2 | D *** | C SELECT 1 | Z I
         > D S s | S
         ^ D S s | S
         v t | T email:20001:2 | Z I
         < t | T email | Z I
         > B - s | E - | S
         ^ B - s | D P - | E - | S
         = allow
         v 2 | T email:20001:2 | D ada@x.org | C SELECT 1 | Z I
         < 2 | D *** | C SELECT 1 | Z I",
    );
}

#[test]
fn columns_described_for_one_statement_are_not_taken_for_another_of_its_name() {
    check_in(
        Setting::Masked,
        "> P - SELECT id FROM free | D S - | P - SELECT email FROM customers | B - - | E - | S
         ^ P - SELECT id FROM free | D S - | P - SELECT email FROM customers | B - - | D P - | E - | S
         = allow
         v 1 | t | T id:20002:1 | 1 | 2 | T email:20001:2 | D ada@x.org | C SELECT 1 | Z I
         < 1 | t | T id | 1 | 2 | D *** | C SELECT 1 | Z I",
    );
}

#[test]
fn on_an_observed_database_the_upstream_itself_says_what_is_wrong() {
    for (sql, error) in
        [("SELEC 1", "42601"), ("DROP TABLE free", "2BP01"), ("INSERT INTO customers (none) SELECT", "42601")]
    {
        let answer = format!("v E {error} | Z I\n< E {error} | Z I");
        let refresh = if sql.starts_with("INSERT") { "" } else { "= Refresh" };
        check_in(Setting::Observed, &format!("> Q {sql}\n^ Q {sql}\n= allow\n{answer}\n{refresh}"));
    }
    let missing = ["SELECT * FROM nowhere", "SELECT nothing(1)"];
    for sql in missing {
        let asks = format!(
            "> Q {sql}\n= Refresh\n! refreshed\n^ Q {sql}\n= allow\nv E 42P01 | Z I\n< E 42P01 | Z I\n= Refresh"
        );
        check_in(Setting::Observed, &asks);
    }
    check_in(
        Setting::Observed,
        "> P - SELEC 1 | B - - | E - | S
         ^ P - SELEC 1 | B - - | E - | H
         = allow
         v E 42601
         < E 42601
         ^ S
         v Z I
         < Z I
         = Refresh",
    );
}

/// The upstream parses what can only fail, and says why. Should it find nothing wrong, the error is ours.
#[test]
fn what_can_only_fail_is_parsed_and_never_bound() {
    check(
        "> Q SELEC 1
         ^ P - SELEC 1 | E nowhere | S
         = error
         v E 42601 | Z I
         < E 42601 | Z I",
    );
    check(
        "> Q SELEC 1 | B - - | E - | S
         ^ P - SELEC 1 | E nowhere | S | E nowhere | S
         = error
         v 1 | E 34000 | Z I | E 34000 | Z I
         < E 42601 | Z I | E 26000 | Z I",
    );
    check(
        "> P - SELEC 1 | B - - | E - | S
         ^ P - SELEC 1 | E nowhere | S
         = error
         v E 42601 | Z I
         < E 42601 | Z I",
    );
    // What came before it in the pipeline is sent, and what would bind it is not.
    check(
        "> P a SELECT 1 | B - a | E - | P b SELECT 2 | P - SELEC 1 | B x - | D P x | E x | S | B - b | E - | S
         ^ P a SELECT 1 | B - a | E - | P b SELECT 2 | P - SELEC 1 | E nowhere | S
         = allow error
         v 1 | 2 | D 1 | C SELECT 1 | 1 | 1 | E 34000 | Z I
         ^ B - b | E - | S
         = allow
         < 1 | 2 | D 1 | C SELECT 1 | 1 | 1 | E 42601 | Z I
         v 2 | D 2 | C SELECT 1 | Z I
         < 2 | D 2 | C SELECT 1 | Z I",
    );
    // Of several statements PostgreSQL would first complain of their number.
    check("> Q SELECT 1; SELECT * FROM nowhere\n= Refresh\n! refreshed\n< E 42P01 | Z I\n= error");
    // A rule that denies what it is denies it whether or not it can fail.
    check("> Q DROP TABLE nowhere\n= Refresh\n! refreshed\n< E 42501 | Z I\n= deny");
}

/// Whatever the policy says: what follows would not be what is analysed.
#[test]
fn settings_that_decide_how_texts_are_read_keep_their_value() {
    for (setting, sql) in [
        (Setting::Plain, "SET standard_conforming_strings = off"),
        (Setting::Observed, "SELECT 1; SET client_encoding = 'SJIS'"),
        (Setting::Observed, "SET LOCAL backslash_quote = on"),
    ] {
        check_in(setting, &format!("> Q {sql}\n< E 55P02 | Z I\n= deny"));
        check_in(
            setting,
            &format!(
                "> P - {sql} | B - - | E - | S\n^ P - {sql} | B - - | E nowhere | S\n= deny
                 v 1 | 2 | E 34000 | Z I\n< 1 | 2 | E 55P02 | Z I"
            ),
        );
    }
    check("> Q SET client_encoding = 'UTF8'\n^ Q SET client_encoding = 'UTF8'\n= allow\nv C SET | Z I\n< C SET | Z I");
}

/// Binding runs code: a Bind whose statement has to be decided leaves with its own Execute or not at all.
#[test]
fn a_bind_that_needs_approval_does_not_leave_with_the_execute_of_another() {
    let prepared = "> P h DELETE FROM customers | P a SELECT 1 | S
         ^ P h DELETE FROM customers | P a SELECT 1 | S
         v 1 | 1 | Z I
         < 1 | 1 | Z I";
    let refused = "^ E nowhere | S\nv E 34000 | Z I\n< E 42501 | Z I";
    check(&format!("{prepared}\n> B p h | B q a | E q | S\n{refused}"));
    check(&format!("{prepared}\n> B - h | B - a | E - | S\n{refused}"));
    check(&format!("{prepared}\n> B p h | B q h | E q | S\n{refused}"));
    check(&format!("{prepared}\n> B q a | B p h | E p | S\n= hold Open"));
}

/// What the transaction has made may be there for a name, but makes no text valid.
#[test]
fn what_can_only_fail_is_recorded_once() {
    check_in(
        Setting::Strict,
        "> P - SELEC 1 | B - - | E - | S
         ^ P - SELEC 1 | E nowhere | S
         = error
         v E 42601 | Z I
         < E 42601 | Z I
         > P - DO 'begin end' | S
         ^ E nowhere | S
         = deny
         v E 34000 | Z I
         < E 42501 | Z I",
    );
}

#[test]
fn harmless_messages_before_a_refusal_are_answered() {
    let told = "v 1 | t | T id:20002:1 | E 34000 | Z I\n< 1 | t | T id | E 42501 | Z I";
    let harmless = "P a SELECT id FROM free | D S a";
    // Rejected, and bound without being executed. What was rejected does not leave.
    check(&format!(
        "> {harmless} | P - DELETE FROM customers | B - - | E - | S
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ {harmless} | E nowhere | S
         {told}
         > B - a | E - | S
         ^ B - a | E - | S
         = allow"
    ));
    check(&format!(
        "> {harmless} | P - DELETE FROM customers | B - - | D P - | S
         ^ {harmless} | E nowhere | S
         {told}
         > B - - | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 26000 | Z I"
    ));
    // Prepared before: only its Bind does not leave.
    check(&format!(
        "> P h DELETE FROM customers | S
         ^ P h DELETE FROM customers | S
         v 1 | Z I
         < 1 | Z I
         > {harmless} | B - h | D P - | E - | S
         = hold Open
         ! opened
         < N 00000
         ! expired
         ^ {harmless} | E nowhere | S
         v 1 | t | T id:20002:1 | E 34000 | Z I
         < 1 | t | T id | E 57014 | Z I"
    ));
}

#[test]
fn a_syntax_error_is_one_whatever_the_transaction_has_made() {
    check(
        "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T
         > Q CREATE TABLE fresh (id int)\n^ Q CREATE TABLE fresh (id int)\n= allow
         v C CREATE TABLE | Z T\n< C CREATE TABLE | Z T
         > Q SELEC 1
         ^ OWN | S
         v 1 | 2 | D shop [\"pg_catalog\",\"public\"] | C SELECT 1 | 3 | 3 | Z T
         ^ P - SELEC 1 | E nowhere | S
         = error
         v E 42601 | Z E
         < E 42601 | Z E",
    );
}
