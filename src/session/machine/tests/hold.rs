//! Requests that wait, and every end of the wait in each position.

use super::check;

const HELD: &str = "> Q DELETE FROM customers
    = hold Open
    ! opened
    < N 00000\n";

const HELD_IN_BLOCK: &str = "> Q BEGIN
    ^ Q BEGIN
    = allow
    v C BEGIN | Z T
    < C BEGIN | Z T
    > Q DELETE FROM customers
    = hold Open
    ! opened
    < N 00000\n";

const HELD_IN_PIPELINE: &str =
    "> P - SELECT 1 | B - - | E - | P - DELETE FROM customers | B - - | E - | P - SELECT 2 | B - - | E - | S
    ^ P - SELECT 1 | B - - | E - | H
    = allow hold Open
    v 1 | 2 | D 1 | C SELECT 1
    < 1 | 2 | D 1 | C SELECT 1
    ! opened
    < N 00000\n";

#[test]
fn an_approved_query_is_judged_again_recorded_and_sent_once() {
    check(&format!(
        "{HELD}! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q DELETE FROM customers
         v C DELETE 3 | Z I
         < C DELETE 3 | Z I
         = Executed(DELETE 3)
         # The approval is used up.
         {HELD}"
    ));
}

#[test]
fn an_approved_query_that_fails_is_recorded_so() {
    check(&format!(
        "{HELD}! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q DELETE FROM customers
         v E 23503 | Z I
         < E 23503 | Z I
         = Failed(23503)"
    ));
}

#[test]
fn other_ends_of_a_held_query() {
    check(&format!("{HELD}! rejected\n< E 42501 | Z I"));
    check(&format!("{HELD}! expired\n< E 57014 | Z I"));
    check(&format!("{HELD}! cancelled\n< E 57014 | Z I"));
    check(&format!("{HELD}! cancel\n= Withdraw\n< E 57014 | Z I"));
    check(&format!("{HELD}! client closed\n= Withdraw Close\n^ X"));
    check(&format!("{HELD}! upstream closed\n= Withdraw Close\n< E! 08006\n^ X"));
    check(&format!("{HELD}! drain\n= Withdraw Close\n< E! 57P01\n^ X"));
    check(&format!("{HELD}v E! 57P01\n< E! 57P01\n! upstream closed\n= Withdraw Close\n^ X"));
}

#[test]
fn ends_of_a_query_held_in_a_block() {
    let refused = "^ Q countersign refused a statement\nv E 42601 | Z E\n";
    check(&format!("{HELD_IN_BLOCK}! rejected\n{refused}< E 42501 | Z E"));
    check(&format!("{HELD_IN_BLOCK}! expired\n{refused}< E 57014 | Z E"));
    check(&format!("{HELD_IN_BLOCK}! cancel\n= Withdraw\n{refused}< E 57014 | Z E"));
    check(&format!("{HELD_IN_BLOCK}! client closed\n= Withdraw Close\n^ X"));
    // idle_in_transaction_session_timeout
    check(&format!("{HELD_IN_BLOCK}v E! 25P03\n< E! 25P03\n! upstream closed\n= Withdraw Close\n^ X"));
}

#[test]
fn ends_of_an_execute_held_in_a_pipeline() {
    let refused = "^ E nowhere | S\nv E 34000 | Z I\n";
    check(&format!("{HELD_IN_PIPELINE}! rejected\n{refused}< E 42501 | Z I"));
    check(&format!("{HELD_IN_PIPELINE}! expired\n{refused}< E 57014 | Z I"));
    check(&format!("{HELD_IN_PIPELINE}! cancel\n= Withdraw\n{refused}< E 57014 | Z I"));
    check(&format!("{HELD_IN_PIPELINE}! client closed\n= Withdraw Close\n^ X"));
    check(&format!("{HELD_IN_PIPELINE}! drain\n= Withdraw Close\n< E! 57P01\n^ X"));
    check(&format!(
        "{HELD_IN_PIPELINE}! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ P - DELETE FROM customers | B - - | E - | P - SELECT 2 | B - - | E - | S
         = allow
         v 1 | 2 | C DELETE 3 | 1 | 2 | D 2 | C SELECT 1 | Z I
         < 1 | 2 | C DELETE 3 | 1 | 2 | D 2 | C SELECT 1 | Z I
         = Executed(DELETE 3)"
    ));
}

#[test]
fn ends_of_a_request_that_is_being_recorded() {
    let opening = "> Q DELETE FROM customers\n= hold Open\n";
    check(&format!("{opening}! not opened\n< E 58030 | Z I"));
    check(&format!("{opening}! cancel\n< E 57014 | Z I\n! opened\n= Withdraw"));
    check(&format!("{opening}! client closed\n= Close\n^ X\n! opened\n= Withdraw"));
    check(&format!("{opening}! drain\n! opened\n= Withdraw Close\n< N 00000 | E! 57P01\n^ X"));
    check(&format!("{opening}! resubmit\n< E 42501 | Z I"));
    check(&format!(
        "{opening}! ticket\n= Refresh\n! refreshed\n= allow Begin\n! begun\n^ Q DELETE FROM customers
         v C DELETE 3 | Z I\n< C DELETE 3 | Z I\n= Executed(DELETE 3)"
    ));
}

#[test]
fn ends_between_the_decision_and_the_release() {
    check(&format!("{HELD}! approved\n= Refresh\n! cancel\n= Withdraw\n< E 57014 | Z I\n! refreshed"));
    check(&format!("{HELD}! approved\n= Refresh\n! client closed\n= Withdraw Close\n^ X\n! refreshed"));
    let releasing = format!("{HELD}! approved\n= Refresh\n! refreshed\n= allow Begin\n");
    check(&format!("{releasing}! unusable\n< E 42501 | Z I"));
    check(&format!("{releasing}! unavailable\n< E 58030 | Z I"));
    check(&format!("{releasing}! client closed\n= Withdraw Close\n^ X\n! begun\n= Failed(25P02)"));
    // A cancel comes too late here; it does not hit what follows either.
    check(&format!(
        "{releasing}! cancel\n! begun\n^ Q DELETE FROM customers\nv C DELETE 1 | Z I\n< C DELETE 1 | Z I\n= Executed(DELETE 1)"
    ));
}

#[test]
fn a_late_decision_changes_nothing() {
    check(&format!("{HELD}! cancel\n= Withdraw\n< E 57014 | Z I\n! approved\n! begun"));
}

#[test]
fn an_approval_does_not_serve_what_was_redefined_since() {
    check(&format!("{HELD}! approved\n= Refresh\n! redefined\n= Revoke hold Open\n! opened\n< N 00000"));
}

#[test]
fn an_error_before_it_in_its_pipeline_ends_the_hold() {
    check(
        "> P - SELECT 1/0 | B - - | E - | P - DELETE FROM customers | B - - | E - | S
         ^ P - SELECT 1/0 | B - - | E - | H
         = allow hold Open
         ! opened
         < N 00000
         v 1 | 2 | E 22012
         = Withdraw
         ^ S
         < 1 | 2 | E 22012
         v Z I
         < Z I",
    );
}

#[test]
fn an_error_before_it_after_the_approval_ends_it_too() {
    let held = "> P - SELECT 1/0 | B - - | E - | P - DELETE FROM customers | B - - | E - | S
         ^ P - SELECT 1/0 | B - - | E - | H
         = allow hold Open
         ! opened
         < N 00000
         ! approved
         = Refresh\n";
    check(&format!("{held}v 1 | 2 | E 22012\n= Withdraw\n^ S\n< 1 | 2 | E 22012\n! refreshed\nv Z I\n< Z I"));
    check(&format!(
        "{held}! refreshed\n= allow Begin\nv 1 | 2 | E 22012\n< 1 | 2 | E 22012\n! begun\n= Failed(25P02)\n^ S\nv Z I\n< Z I"
    ));
}

#[test]
fn what_follows_a_held_request_waits_and_then_runs() {
    check(
        "> Q DELETE FROM customers | Q SELECT 2 | Q DELETE FROM customers
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ Q SELECT 2
         = allow
         < E 42501 | Z I
         v T a | D 2 | C SELECT 1 | Z I
         < T a | D 2 | C SELECT 1 | Z I
         = hold Open",
    );
}

#[test]
fn the_notice_is_repeated_every_minute() {
    check(&format!("{HELD}! minute\n< N 00000\n! minute\n< N 00000\n! rejected\n< E 42501 | Z I\n! minute"));
}

#[test]
fn a_notice_never_lands_within_another_message() {
    check(
        "> P - SELECT 1 | B - - | E - | P - DELETE FROM customers | B - - | E - | S
         ^ P - SELECT 1 | B - - | E - | H
         = allow hold Open
         v 1 | 2 | raw D\0\0\0\x0e\0\x01\0\0\0\x04ab
         ~
         ! opened
         v raw cd
         < 1 | 2 | D abcd | N 00000",
    );
}

#[test]
fn a_portal_is_continued_under_the_approval_it_began_with() {
    check(
        "> P - DELETE FROM customers RETURNING id | B p - | E p 1 | S
         = hold Open
         ! opened
         < N 00000
         ! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ P - DELETE FROM customers RETURNING id | B p - | E p 1 | S
         v 1 | 2 | D 1 | s | Z T
         < 1 | 2 | D 1 | s | Z T
         = Executed(PortalSuspended)
         > E p 1 | S
         ^ E p 1 | S
         = allow
         v D 2 | C DELETE 2 | Z T
         < D 2 | C DELETE 2 | Z T
         > E p 1 | S
         = hold Open",
    );
}
