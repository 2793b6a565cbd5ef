//! How a session ends, and what a CancelRequest hits.

use super::{Setting, check, check_in};

const RUNNING: &str = "> Q SELECT upper('x')
    ^ Q SELECT upper('x')
    = allow\n";

const APPROVED: &str = "> Q DELETE FROM customers
    = hold Open
    ! opened
    < N 00000
    ! approved
    = Refresh
    ! refreshed
    = allow Begin
    ! begun
    ^ Q DELETE FROM customers\n";

#[test]
fn terminate_waits_for_what_was_sent() {
    // With nothing to wait for, the upstream may serve another client.
    check("> X\n= GiveBack");
    check(
        "> Q SELECT 1 | X
         ^ Q SELECT 1 | X
         = allow
         v T a | D 1 | C SELECT 1 | Z I
         < T a | D 1 | C SELECT 1 | Z I
         > Q SELECT 2
         ! upstream closed
         = Close",
    );
    check("> P - SELECT 1 | B - - | E - | X\n^ P - SELECT 1 | B - - | E - | X\n= allow\n! upstream closed\n= Close");
}

#[test]
fn a_client_that_leaves_while_something_runs() {
    check(&format!("{RUNNING}! client closed\n^ X\n= Close"));
    check(&format!("{RUNNING}> X\n^ X\n! client closed\n= Close"));
}

#[test]
fn the_outcome_of_an_approved_statement_is_recorded_without_its_client() {
    check(&format!(
        "{APPROVED}! client closed\n^ X\n! client closed\nv C DELETE 3 | Z I\n= Executed(DELETE 3)\n! upstream closed\n= Close"
    ));
    check(&format!("{APPROVED}! client closed\n^ X\nv E 57014 | Z I\n= Failed(57014)\n! upstream closed\n= Close"));
    check(&format!("{APPROVED}! client closed\n^ X\n! upstream closed\n= Unknown Close"));
    check(&format!("{APPROVED}! upstream closed\n= Unknown Close\n^ X\n< E! 08006"));
    check(&format!(
        "{APPROVED}! drain\nv C DELETE 3 | Z I\n< C DELETE 3 | Z I | E! 57P01\n= Executed(DELETE 3) Close\n^ X"
    ));
}

#[test]
fn a_drain_lets_transactions_end() {
    check("! drain\n< E! 57P01\n= Close\n^ X");
    check(&format!("{RUNNING}! drain\nv C SELECT 1 | Z I\n< C SELECT 1 | Z I | E! 57P01\n= Close\n^ X"));
    check(
        "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n! drain\n> Q COMMIT\n^ Q COMMIT\n= allow
         v C COMMIT | Z I\n< C COMMIT | Z I | E! 57P01\n= Close\n^ X",
    );
}

#[test]
fn a_cancel_hits_what_runs_and_nothing_later() {
    check(&format!(
        "{RUNNING}! cancel
         = CancelUpstream
         ! cancel
         > Q SELECT 2
         v E 57014 | Z I
         < E 57014 | Z I
         ! cancel sent
         ^ Q SELECT 2
         = allow
         v T a | D 2 | C SELECT 1 | Z I
         < T a | D 2 | C SELECT 1 | Z I"
    ));
    check("! cancel\n> Q SELECT 2\n^ Q SELECT 2\n= allow");
}

#[test]
fn messages_of_the_upstream_that_nothing_asked_for() {
    check("v S application_name x | A c hello\n< S application_name x | A c hello");
    check("v E! 57P01\n< E! 57P01\n! upstream closed\n^ X\n= Close");
    check("v C SELECT 1\n< E! 08P01\n^ X\n= Close");
    check("v E 42601\n< E! 08P01\n^ X\n= Close");
    check("v S client_encoding SJIS\n< E! 0A000\n^ X\n= Close");
    check("v S client_encoding UNICODE | S client_encoding UTF8\n< S client_encoding UNICODE | S client_encoding UTF8");
    check("v S standard_conforming_strings off\n< E! 0A000\n^ X\n= Close");
    check(&format!("{RUNNING}v 1\n< E! 08P01\n^ X\n= Close"));
}

#[test]
fn a_client_that_sends_nothing_more_reads_its_answers() {
    check("! client ended\n= Shut\n! upstream closed\n= Close");
    check(&format!(
        "{RUNNING}! client ended\n= Shut\nv T a | D 1 | C SELECT 1 | Z I\n< T a | D 1 | C SELECT 1 | Z I
         ! upstream closed\n= Close"
    ));
    // What it had sent before is worked off first; half a message is not.
    check(
        "> Q SELECT 1 | Q SELECT 2 | raw Q
         ^ Q SELECT 1
         = allow
         ! client ended
         v C SELECT 1 | Z I
         < C SELECT 1 | Z I
         ^ Q SELECT 2
         = allow Shut
         v C SELECT 1 | Z I
         < C SELECT 1 | Z I
         ! upstream closed
         = Close",
    );
    // Without Sync nothing asks for the answers, and what was not executed does not matter.
    check("> P - SELECT 1 | B - - | E -\n^ P - SELECT 1 | B - - | E -\n= allow\n! client ended\n= Shut");
    check("> P - SELECT 1 | B - -\n! client ended\n= Shut");
    check(
        "> Q COPY free FROM STDIN\n^ Q COPY free FROM STDIN\n= allow\nv G\n< G\n> d one\n^ d one\n! client ended
         = Shut\nv E! 08006\n< E! 08006\n! upstream closed\n= Close",
    );
    check(&format!("{RUNNING}! client ended\n= Shut\n! client closed\n= Close"));
}

#[test]
fn nothing_is_held_for_a_client_that_sends_nothing_more() {
    check(
        "> Q DELETE FROM customers | Q SELECT 1
         = hold Open
         ! opened
         < N 00000
         ! client ended
         < E 57014 | Z I
         = Withdraw Shut
         ! upstream closed
         = Close",
    );
    check(
        "> Q DELETE FROM customers\n= hold Open\n! client ended\n! opened\n< N 00000 | E 57014 | Z I\n= Withdraw Shut",
    );
    // What was approved before is used.
    check(
        "> Q DELETE FROM customers
         = hold Open
         ! client ended
         ! ticket
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q DELETE FROM customers
         = Shut
         v C DELETE 3 | Z I
         < C DELETE 3 | Z I
         = Executed(DELETE 3)
         ! upstream closed
         = Close",
    );
    check(&format!("{APPROVED}! client ended\n= Shut\nv C DELETE 3 | Z I\n< C DELETE 3 | Z I\n= Executed(DELETE 3)"));
}

#[test]
fn a_drain_leaves_requests_open_where_their_mode_allows_it() {
    let held = "> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000\n";
    check(&format!("{held}! drain\n= Withdraw Close\n< E! 57P01\n^ X"));
    check_in(
        Setting::Auto,
        &format!("{held}! drain\n= LeaveOpen\n! left open\n< E 42501 | Z I | E! 57P01\n= Close\n^ X"),
    );
    // It was decided in the same moment.
    check_in(
        Setting::Auto,
        &format!(
            "{held}! drain\n= LeaveOpen\n! not left open\n! approved\n= Refresh\n! refreshed\n= allow Begin\n! begun
             ^ Q DELETE FROM customers\nv C DELETE 3 | Z I\n< C DELETE 3 | Z I | E! 57P01\n= Executed(DELETE 3) Close\n^ X"
        ),
    );
    check_in(
        Setting::Auto,
        "! drain soon\n> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000\n= LeaveOpen\n! left open
         < E 42501 | Z I | E! 57P01\n= Close\n^ X",
    );
}

/// What is answered before and after it is the upstream's own, and in order.
#[test]
fn a_drain_within_a_transaction_or_a_pipeline_tells_no_lie() {
    check_in(
        Setting::Auto,
        "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n> Q DELETE FROM customers\n= hold Open\n! opened
         < N 00000\n! drain\n= LeaveOpen\n! left open\n^ Q countersign refused a statement\nv E 42601 | Z E
         < E 42501 | Z E | E! 57P01\n= Close\n^ X",
    );
    check_in(
        Setting::Auto,
        "> P - SELECT 1 | B - - | E - | P - DELETE FROM customers | B - - | E -
         ^ P - SELECT 1 | B - - | E - | H
         = allow hold Open
         ! opened
         < N 00000
         ! drain
         = LeaveOpen
         ! left open
         ^ E nowhere
         v 1 | 2 | D 1 | C SELECT 1 | E 34000
         < 1 | 2 | D 1 | C SELECT 1 | E 42501 | E! 57P01
         = Close
         ^ X",
    );
}

#[test]
fn a_session_that_begins_during_a_drain_may_do_one_thing() {
    check(
        "> Q SELECT 1\n^ Q SELECT 1\n= allow\nv C SELECT 1 | Z I\n< C SELECT 1 | Z I\n! drain soon\n< E! 57P01\n= Close\n^ X",
    );
    check(
        "! drain soon\n> Q SELECT 1\n^ Q SELECT 1\n= allow\nv C SELECT 1 | Z I\n< C SELECT 1 | Z I | E! 57P01\n= Close\n^ X",
    );
    check(
        "! drain soon\n> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n> Q COMMIT\n^ Q COMMIT\n= allow
         v C COMMIT | Z I\n< C COMMIT | Z I | E! 57P01\n= Close\n^ X",
    );
}

#[test]
fn the_end_of_a_drain_cancels_what_runs() {
    check(&format!(
        "{RUNNING}! drain\n! drain now\n= CancelUpstream\n! cancel sent\nv E 57014 | Z I\n< E 57014 | Z I | E! 57P01\n= Close\n^ X"
    ));
    check(&format!(
        "{APPROVED}! drain now\n= CancelUpstream\nv E 57014 | Z I\n< E 57014 | Z I | E! 57P01\n= Failed(57014) Close\n^ X"
    ));
    check("> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n! drain now\n< E! 57P01\n= Close\n^ X");
    check(
        "> Q COPY free FROM STDIN\n^ Q COPY free FROM STDIN\n= allow\nv G\n< G\n! drain now\n= CancelUpstream Close\n< E! 57P01\n^ X",
    );
    check("> P - SELECT 1 | H\n^ P - SELECT 1 | H\nv 1\n< 1\n! drain\n! drain now\n< E! 57P01\n= Close\n^ X");
    check_in(
        Setting::Auto,
        "> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000\n! drain now\n< E! 57P01\n= Withdraw Close\n^ X",
    );
}

/// What waited for the end of a pipeline that has failed is skipped, and then nothing waits any more.
#[test]
fn a_client_that_leaves_in_the_middle_of_a_failed_pipeline() {
    check(
        "> P - SELECT 1 | B p - | S | P - SELECT 1/0 | B - - | E - | E p
         ^ P - SELECT 1 | B p - | S | P - SELECT 1/0 | B - - | E - | H
         = allow
         v 1 | 2 | Z I | 1 | 2 | E 22012
         < 1 | 2 | Z I | 1 | 2 | E 22012
         ! client ended
         = Shut",
    );
}

#[test]
fn a_paused_session_begins_nothing_between_transactions() {
    check(
        "! pause\n> Q SELECT 1\n! resume\n^ Q SELECT 1\n= allow\nv C SELECT 1 | Z I\n< C SELECT 1 | Z I\n> X\n= GiveBack",
    );
    check(
        "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n! pause\n> Q COMMIT\n^ Q COMMIT\n= allow
         v C COMMIT | Z I\n< C COMMIT | Z I\n> Q SELECT 1\n! resume\n^ Q SELECT 1\n= allow\nv C SELECT 1 | Z I\n< C SELECT 1 | Z I",
    );
    check(
        "> P - SELECT 1 | B - - | E -\n^ P - SELECT 1 | B - - | E -\n= allow\n! pause\n> S\n^ S
         v 1 | 2 | D 1 | C SELECT 1 | Z I\n< 1 | 2 | D 1 | C SELECT 1 | Z I",
    );
}

#[test]
fn a_paused_session_leaves() {
    check("! pause\n> X\n= GiveBack");
    check("! pause\n> Q SELECT 1\n! drain\n< E! 57P01\n= Close\n^ X");
    check("! pause\n> Q SELECT 1\n! client closed\n^ X\n= Close");
}
