//! Transactions that are approved as a whole.

use super::{Setting, check_in};

/// A client collects, and has begun a transaction.
const BATCH: &str = "> Q SET countersign.batch = on
    = allow
    ^ Q SET countersign.batch = on
    v C SET | Z I
    < C SET | Z I
    > Q BEGIN
    ^ OWN | S
    v 1 | 2 | D shop [\"pg_catalog\",\"public\"] NULL - on | C SELECT 1 | 3 | 3 | Z I
    = allow
    ^ Q BEGIN
    v C BEGIN | Z T
    < C BEGIN | Z T\n";

#[track_caller]
fn check(script: &str) {
    check_in(Setting::Plain, script);
}

/// The end of a batch, from COMMIT to its release.
fn released(text: &str) -> String {
    format!(
        "> Q COMMIT
         = hold Open
         ! opened
         < N 00000
         ! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q {text}\n"
    )
}

const DELETE: &str = "> Q DELETE FROM customers
    = hold
    < C QUEUED | Z T\n";

#[test]
fn what_is_held_waits_for_the_commit_and_runs_with_it() {
    let text = "DELETE FROM customers;\\nUPDATE free SET id = '1';\\nSELECT 1;\\nCOMMIT";
    check(&format!(
        "{BATCH}> Q UPDATE free SET id = '0'
         = allow
         ^ Q UPDATE free SET id = '0'
         v C UPDATE 1 | Z T
         < C UPDATE 1 | Z T
         {DELETE}> Q UPDATE free SET id = '1'
         < C QUEUED | Z T
         > Q SELECT 1
         < C QUEUED | Z T
         {}v C DELETE 3 | C UPDATE 1 | T a | D 1 | C SELECT 1 | C COMMIT | Z I
         < C DELETE 3 | C UPDATE 1 | T a | D 1 | C SELECT 1 | C COMMIT | Z I
         = Executed(COMMIT)",
        released(text)
    ));
}

#[test]
fn what_is_rejected_fails_the_block() {
    check(&format!(
        "{BATCH}{DELETE}> Q COMMIT
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ Q countersign refused a statement
         v E 42601 | Z E
         < E 42501 | Z E
         > Q ROLLBACK
         = allow
         ^ Q ROLLBACK
         v C ROLLBACK | Z I
         < C ROLLBACK | Z I"
    ));
}

#[test]
fn the_same_sequence_is_what_was_approved() {
    check(&format!(
        "{BATCH}{DELETE}> Q COMMIT
         = hold Open
         ! ticket
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q DELETE FROM customers;\\nCOMMIT"
    ));
}

#[test]
fn a_rollback_forgets_what_was_collected() {
    for text in ["ROLLBACK", "ABORT", "rollback /* all */ work"] {
        check(&format!(
            "{BATCH}{DELETE}> Q {text}
             = allow
             ^ Q {text}
             v C ROLLBACK | Z I
             < C ROLLBACK | Z I
             > Q BEGIN
             ^ OWN | S
             v 1 | 2 | D shop [\"pg_catalog\",\"public\"] NULL - on | C SELECT 1 | 3 | 3 | Z I
             = allow
             ^ Q BEGIN
             v C BEGIN | Z T
             < C BEGIN | Z T
             > Q COMMIT
             = allow
             ^ Q COMMIT"
        ));
    }
}

#[test]
fn savepoints_are_statements_like_others() {
    check(&format!(
        "{BATCH}{DELETE}> Q SAVEPOINT a
         < C QUEUED | Z T
         > Q ROLLBACK TO a
         < C QUEUED | Z T
         > Q COMMIT AND CHAIN
         = hold Open
         ! opened
         < N 00000"
    ));
}

#[test]
fn what_is_denied_is_refused_when_it_comes() {
    check(&format!(
        "{BATCH}{DELETE}> Q DROP TABLE free
         = deny
         ^ Q countersign refused a statement
         v E 42601 | Z E
         < E 42501 | Z E
         > Q COMMIT
         = allow
         ^ Q COMMIT
         v C ROLLBACK | Z I
         < C ROLLBACK | Z I"
    ));
    check(&format!(
        "{BATCH}{DELETE}> Q SET standard_conforming_strings = off
         ^ Q countersign refused a statement
         v E 42601 | Z E
         < E 55P02 | Z E"
    ));
}

#[test]
fn what_is_no_sql_fails_when_it_comes() {
    check(&format!(
        "{BATCH}{DELETE}> Q SELEC 1
         ^ P - SELEC 1 | E nowhere | S
         v E 42601 | Z E
         < E 42601 | Z E"
    ));
}

#[test]
fn what_cannot_be_part_of_a_text_is_refused() {
    for text in ["COPY free FROM STDIN", "COPY free TO STDOUT", "DELETE FROM free; COMMIT", "ROLLBACK; BEGIN"] {
        check(&format!(
            "{BATCH}{DELETE}> Q {text}
             ^ Q countersign refused a statement
             v E 42601 | Z E
             < E 0A000 | Z E"
        ));
    }
    for text in ["DELETE FROM free", "COMMIT"] {
        check(&format!(
            "{BATCH}{DELETE}> P - {text} | B - - | E - | S
             ^ P - {text} | B - - | E nowhere | S
             v 1 | 2 | E 34000 | Z E
             < 1 | 2 | E 0A000 | Z E"
        ));
    }
    check(&format!(
        "{BATCH}{DELETE}> F 957 1
         ^ Q countersign refused a statement
         v E 42601 | Z E
         < E 0A000 | Z E"
    ));
}

#[test]
fn what_a_definition_changes_is_not_understood_and_shown_to_people() {
    check(&format!(
        "{BATCH}{DELETE}> Q CREATE TABLE notes (id int)
         < C QUEUED | Z T
         > Q INSERT INTO notes VALUES (1)
         < C QUEUED | Z T
         > Q COMMIT
         = hold Open
         ! opened
         < N 00000"
    ));
}

#[test]
fn nothing_is_collected_without_being_asked_for() {
    let text = "> Q DELETE FROM customers
        = hold Open
        ! opened
        < N 00000\n";
    check(&format!(
        "> Q BEGIN
         = allow
         ^ Q BEGIN
         v C BEGIN | Z T
         < C BEGIN | Z T
         {text}"
    ));
    // Nor outside of a block.
    let on = BATCH.split("> Q BEGIN").next().unwrap();
    check(&format!(
        "{on}> Q DELETE FROM customers
         ^ OWN | S
         v 1 | 2 | D shop [\"pg_catalog\",\"public\"] NULL - on | C SELECT 1 | 3 | 3 | Z I
         = hold Open
         ! opened
         < N 00000"
    ));
}

#[test]
fn a_lost_client_leaves_nothing_behind() {
    check(&format!(
        "{BATCH}{DELETE}! client closed
         = Close
         ^ X"
    ));
}
