//! Pipelines: Flush, several Syncs, portals that outlive or do not outlive them.

use super::bench::Stage;
use super::notation::frontend;
use super::{Setting, check};

#[test]
fn flush_brings_replies_without_sync() {
    check(
        "> P s SELECT 1 | D S s | H
         ^ P s SELECT 1 | D S s | H
         v 1 | t | T a
         < 1 | t | T a
         > B - s | E - | H
         ^ B - s | E - | H
         = allow
         v 2 | D 1 | C SELECT 1
         < 2 | D 1 | C SELECT 1
         > S
         ^ S
         v Z I
         < Z I",
    );
}

#[test]
fn after_an_error_everything_to_sync_is_skipped() {
    check(
        "> P - SELECT 1/0 | B - - | E - | H
         ^ P - SELECT 1/0 | B - - | E - | H
         = allow
         v 1 | 2 | E 22012
         < 1 | 2 | E 22012
         > P - DELETE FROM customers | B - - | E - | Q DELETE FROM customers | F | d one | H | S | Q SELECT 1
         ^ S
         v Z I
         ^ Q SELECT 1
         = allow
         < Z I",
    );
}

#[test]
fn a_portal_of_the_next_pipeline_does_not_end_with_this_one() {
    check(
        "> P - SELECT 1 | B - - | E - | S | P - SELECT 2 | B p - | H
         ^ P - SELECT 1 | B - - | E - | S | P - SELECT 2 | B p - | H
         = allow
         v 1 | 2 | D 1 | C SELECT 1 | Z I | 1 | 2
         < 1 | 2 | D 1 | C SELECT 1 | Z I | 1 | 2
         > E p | S
         ^ E p | S
         = allow
         v D 2 | C SELECT 1 | Z I
         < D 2 | C SELECT 1 | Z I
         > E p | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 34000 | Z I",
    );
}

#[test]
fn a_portal_lives_as_long_as_its_block() {
    check(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > P - SELECT id FROM free | B p - | E p 1 | S
         ^ P - SELECT id FROM free | B p - | E p 1 | S
         = allow
         v 1 | 2 | D 1 | s | Z T
         < 1 | 2 | D 1 | s | Z T
         # A savepoint does not end it, as drivers set one before every statement.
         > P - SAVEPOINT a | B - - | E - | S
         ^ P - SAVEPOINT a | B - - | E - | S
         = allow
         v 1 | 2 | C SAVEPOINT | Z T
         < 1 | 2 | C SAVEPOINT | Z T
         > E p 1 | S
         ^ E p 1 | S
         = allow
         v D 2 | C SELECT 1 | Z T
         < D 2 | C SELECT 1 | Z T
         > P - COMMIT | B - - | E - | E p | S
         ^ P - COMMIT | B - - | E - | E nowhere | S
         = allow
         v 1 | 2 | C COMMIT | E 34000 | Z I
         < 1 | 2 | C COMMIT | E 34000 | Z I",
    );
}

#[test]
fn a_query_replaces_the_unnamed_statement() {
    check(
        "> P - SELECT 1 | S | Q SELECT 2
         ^ P - SELECT 1 | S
         v 1 | Z I
         < 1 | Z I
         ^ Q SELECT 2
         = allow
         v T a | D 2 | C SELECT 1 | Z I
         < T a | D 2 | C SELECT 1 | Z I
         > B - - | E - | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 26000 | Z I",
    );
}

#[test]
fn a_deferred_constraint_fails_at_sync() {
    check(
        "> P - SELECT 1 | B - - | E - | S
         ^ P - SELECT 1 | B - - | E - | S
         = allow
         v 1 | 2 | D 1 | C SELECT 1 | E 23503 | Z I
         < 1 | 2 | D 1 | C SELECT 1 | E 23503 | Z I
         > Q SELECT 1
         ^ Q SELECT 1
         = allow",
    );
}

#[test]
fn several_statements_in_one_string_are_one_request() {
    check(
        "> Q SELECT 1; SELECT 2; SELECT id FROM free
         ^ Q SELECT 1; SELECT 2; SELECT id FROM free
         = allow
         v T a | D 1 | C SELECT 1 | T a | D 2 | C SELECT 1 | T id | C SELECT 0 | Z I
         < T a | D 1 | C SELECT 1 | T a | D 2 | C SELECT 1 | T id | C SELECT 0 | Z I
         > Q SELECT 1; DELETE FROM customers
         = hold Open",
    );
    check("> Q \n^ Q \n= allow\nv I | Z I\n< I | Z I");
}

#[test]
fn notices_and_notifications_come_between() {
    check(
        "> P - SELECT 1 | B - - | E - | S
         ^ P - SELECT 1 | B - - | E - | S
         = allow
         v 1 | N 00000 | 2 | A c hello | D 1 | S TimeZone UTC | C SELECT 1 | Z I
         < 1 | N 00000 | 2 | A c hello | D 1 | S TimeZone UTC | C SELECT 1 | Z I",
    );
}

#[test]
fn a_session_may_keep_only_so_much() {
    let mut stage = Stage::new(Setting::Plain);
    let text = format!("SELECT 1 -- {}", "x".repeat(1 << 20));
    for number in 0..200 {
        stage.machine.client_input().extend_from_slice(&frontend(&format!("P s{number} {text}")));
        stage.machine.advance(&stage.around);
        stage.machine.upstream_output().clear();
    }
    assert!(stage.machine.skipping, "refused before 200 MB were kept");
}

/// Binding runs input functions and domain checks: it must not happen before the decision.
#[test]
fn a_bind_that_needs_approval_does_not_pass_without_its_execute() {
    check(
        "> P s DELETE FROM customers WHERE id = $1 | S
         ^ P s DELETE FROM customers WHERE id = $1 | S
         v 1 | Z I
         < 1 | Z I
         > B - s | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I
         > Q SELECT 1
         ^ Q SELECT 1
         = allow",
    );
}

#[test]
fn a_query_waits_for_what_was_not_executed_before_it() {
    check(
        "> P a SELECT 1 | P a SELECT 1 | Q SELECT 2 | S
         ^ P a SELECT 1 | P a SELECT 1 | H
         v 1 | E 42P05
         ^ S
         < 1 | E 42P05
         v Z I
         < Z I",
    );
}

#[test]
fn what_comes_before_a_refusal_is_answered_first() {
    check(
        "> P a SELECT id FROM free | D S a | E p | S
         ^ P a SELECT id FROM free | D S a | E nowhere | S
         v 1 | t | T id:20002:1 | E 34000 | Z I
         < 1 | t | T id | E 34000 | Z I
         > P b SELECT nothing FROM free | E p | S
         ^ P b SELECT nothing FROM free | E nowhere | S
         v E 42703 | Z I
         < E 42703 | Z I
         > B - b | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 26000 | Z I",
    );
}

#[test]
fn a_malformed_message_is_an_error_and_the_session_goes_on() {
    check(
        "> P a SELECT id FROM free | raw B\u{0}\u{0}\u{0}\u{5}x | P b SELECT 1 | S
         ^ P a SELECT id FROM free | E nowhere | S
         v 1 | E 34000 | Z I
         < 1 | E 08P01 | Z I
         > raw Q\u{0}\u{0}\u{0}\u{5}x
         < E 08P01 | Z I
         > Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > raw Q\u{0}\u{0}\u{0}\u{5}x
         ^ Q countersign refused a statement
         v E 42601 | Z E
         < E 08P01 | Z E",
    );
}

#[test]
fn an_unnamed_statement_whose_successor_was_skipped_is_still_there() {
    check(
        "> P - SELECT 1 | B - nothing | P - DROP TABLE free | P - SELECT 2 | S
         ^ P - SELECT 1 | E nowhere | S
         v 1 | E 34000 | Z I
         < 1 | E 26000 | Z I
         > P - SELECT id FROM free | B p - 1 | P - SELECT 2 | S
         ^ P - SELECT id FROM free | B p - 1 | P - SELECT 2 | S
         v 1 | E 08P01 | Z I
         < 1 | E 08P01 | Z I
         > B - - | E - | S
         ^ B - - | E - | S
         = allow
         v 2 | D 1 | C SELECT 1 | Z I
         < 2 | D 1 | C SELECT 1 | Z I",
    );
}
