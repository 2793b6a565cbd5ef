//! What a client sends into a COPY that has perhaps failed. The first of them were found by the pipeline fuzzer, with
//! PostgreSQL as the judge.

use super::check;

const QUERY: &str = "> Q COPY free FROM STDIN
    ^ Q COPY free FROM STDIN
    = allow
    v G
    < G\n";

const EXECUTE: &str = "> P - COPY free FROM STDIN | B - - | E - | H
    ^ P - COPY free FROM STDIN | B - - | E - | H
    = allow
    v 1 | 2 | G
    < 1 | 2 | G\n";

/// Whether what follows was read by the client's session as in an idle one: it is, and what needs approval is held.
const GOES_ON: &str = "> Q SELECT 1
    ^ Q SELECT 1
    = allow
    v T a | D 1 | C SELECT 1 | Z I
    < T a | D 1 | C SELECT 1 | Z I
    > Q DELETE FROM customers
    = hold Open";

#[test]
fn a_sync_behind_the_failure_is_answered() {
    check(&format!(
        "{QUERY}> d bad | S
         ^ d bad | S
         v E 22P02 | Z I
         ^ COUNT
         < E 22P02 | Z I
         v Z I | Z I | 3 | Z I
         < Z I
         {GOES_ON}"
    ));
    check(&format!(
        "{EXECUTE}> d bad | S
         ^ d bad | S
         v E 22P02
         ^ COUNT
         < E 22P02
         v Z I | Z I | 3 | Z I
         < Z I
         {GOES_ON}"
    ));
    check(&format!(
        "{QUERY}> d bad | S | d more | S | H | c
         ^ d bad | S | d more | S | c
         v E 22P02 | Z I
         ^ COUNT
         < E 22P02 | Z I
         v Z I | Z I | Z I | 3 | Z I
         < Z I | Z I
         {GOES_ON}"
    ));
}

#[test]
fn a_sync_before_the_failure_is_not_answered() {
    check(&format!(
        "{QUERY}> S | d bad
         ^ S | d bad
         v E 22P02 | Z I
         ^ COUNT
         < E 22P02 | Z I
         v Z I | 3 | Z I
         {GOES_ON}"
    ));
    check(&format!(
        "{EXECUTE}> S | d bad
         ^ S | d bad
         v E 22P02
         ^ COUNT
         < E 22P02
         v Z I | 3 | Z I
         > P - DELETE FROM customers | B - - | E - | S
         ^ S
         v Z I
         < Z I
         {GOES_ON}"
    ));
}

#[test]
fn a_sync_in_a_copy_that_succeeds_is_not_answered() {
    check(&format!(
        "{QUERY}> d one | S | c
         ^ d one | S | c
         v C COPY 1 | Z I
         < C COPY 1 | Z I
         {GOES_ON}"
    ));
    check(&format!(
        "{EXECUTE}> d one | S | c | S
         ^ d one | S | c | S
         v C COPY 1 | Z I
         < C COPY 1 | Z I
         {GOES_ON}"
    ));
    // Nor is it in doubt when a later statement of the same string fails.
    check(
        "> Q COPY free FROM STDIN; SELECT 1/0
         ^ Q COPY free FROM STDIN; SELECT 1/0
         = allow
         v G
         < G
         > d one | S | c
         ^ d one | S | c
         v C COPY 1 | E 22012 | Z I
         < C COPY 1 | E 22012 | Z I
         > Q SELECT 1
         ^ Q SELECT 1
         = allow",
    );
}

#[test]
fn of_two_copies_only_the_one_that_failed_answers() {
    check(
        "> Q COPY free FROM STDIN; COPY free FROM STDIN
         ^ Q COPY free FROM STDIN; COPY free FROM STDIN
         = allow
         v G
         < G
         > d one | S | c
         ^ d one | S | c
         v C COPY 1 | G
         < C COPY 1 | G
         > d bad
         ^ d bad
         v E 22P02 | Z I
         < E 22P02 | Z I
         > S
         ^ S
         v Z I
         < Z I",
    );
}

#[test]
fn what_follows_waits_until_it_is_known() {
    check(&format!(
        "{EXECUTE}> d bad | S | c | S | P - DELETE FROM customers | B - - | E -
         ^ d bad | S | c | S
         v E 22P02 | Z I | Z I
         ^ COUNT
         < E 22P02 | Z I
         v Z I | 3 | Z I
         = hold Open
         < Z I"
    ));
}

#[test]
fn the_block_has_failed() {
    check(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q COPY free FROM STDIN
         ^ Q COPY free FROM STDIN
         = allow
         v G
         < G
         > d bad | S | Q DELETE FROM customers
         ^ d bad | S | f OUT
         v E 22P02 | Z E
         ^ COUNT
         < E 22P02 | Z E
         v Z E | Z E | 3 | Z E
         < Z E
         ^ Q countersign refused a statement
         = deny
         v E 42601 | Z E
         < E 25P02 | Z E",
    );
}

#[test]
fn nothing_of_ours_is_put_into_half_a_frame() {
    check(&format!(
        "{QUERY}> S | raw d\0\0\0\x0eabcde
         ^ S | raw d\0\0\0\x0eabcde
         v E 22P02 | Z I
         < E 22P02 | Z I
         > raw fghij
         ^ raw fghij | COUNT
         v Z I | 3 | Z I
         {GOES_ON}"
    ));
    check(&format!(
        "{QUERY}> d bad | S | raw d\0\0\0\x0eabcde
         ^ d bad | S | raw d\0\0\0\x0eabcde
         v E 22P02 | Z I | Z I
         < E 22P02 | Z I | Z I
         ! drain now
         = Close
         < E! 57P01"
    ));
}

#[test]
fn a_message_out_of_place_behind_the_failure_is_in_place() {
    check(&format!(
        "{QUERY}> d bad | Q DELETE FROM customers
         ^ d bad | f OUT
         v E 22P02 | Z I
         = hold Open
         < E 22P02 | Z I"
    ));
    check(&format!(
        "{EXECUTE}> d bad | P b DELETE FROM customers | B - b | E - | S
         ^ d bad | f OUT
         v E 22P02
         ^ S
         < E 22P02
         v Z I
         < Z I
         {GOES_ON}"
    ));
    check(&format!(
        "{EXECUTE}> d bad | S | P b SELECT 1 | S
         ^ d bad | S | f OUT
         v E 22P02
         ^ COUNT
         < E 22P02
         v Z I | Z I | 3 | Z I
         ^ P b SELECT 1 | S
         < Z I
         v 1 | Z I
         < 1 | Z I
         {GOES_ON}"
    ));
}

#[test]
fn a_message_out_of_place_in_a_copy_that_goes_on_ends_the_session() {
    check(&format!(
        "{QUERY}> d one | S | Q DELETE FROM customers
         ^ d one | S | f OUT
         v E OUT | Z I
         ^ X
         = Close
         < E! 08P01"
    ));
}

#[test]
fn a_client_may_give_up_in_our_words() {
    check(&format!(
        "{QUERY}> f OUT
         ^ f OUT
         v E OUT | Z I
         < E 57014 | Z I
         {GOES_ON}"
    ));
}

#[test]
fn a_client_that_leaves_gets_its_answers() {
    check(&format!(
        "{QUERY}> d bad | S | X
         ^ d bad | S | X
         v E 22P02 | Z I | Z I
         < E 22P02 | Z I | Z I
         ! upstream closed
         = Close"
    ));
    check(&format!(
        "{QUERY}> d bad | S
         ^ d bad | S
         v E 22P02 | Z I
         ^ COUNT
         < E 22P02 | Z I
         > X
         ^ X
         v Z I | Z I | 3 | Z I
         < Z I
         ! upstream closed
         = Close"
    ));
}

#[test]
fn nothing_is_cancelled_while_answers_are_counted() {
    check(&format!(
        "{QUERY}> d bad | S
         ^ d bad | S
         v E 22P02 | Z I
         ^ COUNT
         < E 22P02 | Z I
         ! cancel
         v Z I | Z I | 3 | Z I
         < Z I
         {GOES_ON}"
    ));
}

#[test]
fn an_upstream_that_counts_otherwise_is_not_believed() {
    for counts in ["Z I | 2", "3", "C SELECT 1", "E 22012"] {
        check(&format!(
            "{QUERY}> d bad | S
             ^ d bad | S
             v E 22P02 | Z I
             ^ COUNT
             < E 22P02 | Z I
             v {counts}
             ^ X
             = Close
             < E! 08P01"
        ));
    }
}

#[test]
fn a_second_copy_has_syncs_of_its_own() {
    check(
        "> P - COPY free FROM STDIN | B - - | E - | c | P - COPY free FROM STDIN | B - - | E - | S | d one | c | S
         ^ P - COPY free FROM STDIN | B - - | E - | H
         = allow
         v 1 | 2 | G
         ^ c | H
         < 1 | 2 | G
         v C COPY 0
         ^ P - COPY free FROM STDIN | B - - | E - | H
         = allow
         < C COPY 0
         v 1 | 2 | G
         ^ S | d one | c | S
         < 1 | 2 | G
         v C COPY 1 | Z I
         < C COPY 1 | Z I",
    );
}
