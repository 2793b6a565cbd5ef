//! What the simulation has found, as scripts.

use super::check;

/// What failed has taken no name away.
#[test]
fn names_that_a_failed_message_would_have_changed_are_what_they_were() {
    let prepared = "> Q PREPARE a AS SELECT id FROM free\n^ Q PREPARE a AS SELECT id FROM free\n= allow
        v C PREPARE | Z I\n< C PREPARE | Z I\n";
    let bound = "> B - a | S\n^ B - a | S\nv 2 | Z I\n< 2 | Z I\n";
    check(&format!("{prepared}> P a SELECT 2 | S\n^ P a SELECT 2 | S\nv E 42P05 | Z I\n< E 42P05 | Z I\n{bound}"));
    check(&format!(
        "{prepared}> C S a | S\n^ C S a | S\nv 3 | Z I\n< 3 | Z I\n> B - a | S\n^ E nowhere | S\nv E 34000 | Z I\n< E 26000 | Z I"
    ));
    let parsed = "> P a SELECT 1 | S\n^ P a SELECT 1 | S\nv 1 | Z I\n< 1 | Z I\n";
    check(&format!(
        "{parsed}> Q PREPARE a AS SELECT 2\n^ Q PREPARE a AS SELECT 2\n= allow\nv E 42P05 | Z I\n< E 42P05 | Z I\n{bound}"
    ));
    check(&format!("{parsed}> Q DEALLOCATE a\n^ Q DEALLOCATE a\n= allow\nv E 25P02 | Z I\n< E 25P02 | Z I\n{bound}"));
    check(&format!(
        "{parsed}> Q DEALLOCATE a\n^ Q DEALLOCATE a\n= allow\nv C DEALLOCATE | Z I\n< C DEALLOCATE | Z I
        > B - a | S\n^ E nowhere | S\nv E 34000 | Z I\n< E 26000 | Z I"
    ));
}

/// A Close behind an error takes nothing away, and whether there was one is known only from the answer.
#[test]
fn a_name_that_was_perhaps_closed_is_waited_for() {
    let sent = "> P a SELECT 1 | P a SELECT 2 | C S a | S | B p a | S\n^ P a SELECT 1 | P a SELECT 2 | C S a | S\n";
    check(&format!("{sent}v 1 | E 42P05 | Z I\n< 1 | E 42P05 | Z I\n^ B p a | S\nv 2 | Z I\n< 2 | Z I"));
    let sent =
        "> P a SELECT 1 | P a SELECT 2 | C S a | S | P a SELECT 3 | S\n^ P a SELECT 1 | P a SELECT 2 | C S a | S\n";
    check(&format!(
        "{sent}v 1 | E 42P05 | Z I\n< 1 | E 42P05 | Z I\n^ P a SELECT 3 | S\nv E 42P05 | Z I\n< E 42P05 | Z I
         > B p a | S\n^ B p a | S\nv 2 | Z I\n< 2 | Z I"
    ));
    let sent = "> P a SELECT 1 | C S a | S | B p a | S\n^ P a SELECT 1 | C S a | S\n";
    check(&format!("{sent}v 1 | 3 | Z I\n< 1 | 3 | Z I\n^ E nowhere | S\nv E 34000 | Z I\n< E 26000 | Z I"));
}

/// The block has failed, and then it was ended within the pipeline: nobody has told so yet.
#[test]
fn a_failed_block_that_a_pipeline_has_ended_is_over() {
    let failed = "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T
        > Q SET search_path = sandbox\n^ Q SET search_path = sandbox\n= allow\nv C SET | Z T\n< C SET | Z T
        > Q SELECT 1/0\n^ OWN | S\nv 1 | 2 | D shop [\"pg_catalog\",\"sandbox\"] | C SELECT 1 | 3 | 3 | Z T
        ^ Q SELECT 1/0\n= allow\nv E 22012 | Z E\n< E 22012 | Z E\n";
    let ended = "> P - ROLLBACK | B - - | E -\n^ P - ROLLBACK | B - - | E -\n= allow\nv 1 | 2 | C ROLLBACK\n< 1 | 2 | C ROLLBACK\n";
    check(&format!(
        "{failed}{ended}> Q DELETE FROM customers
         ^ OWN | H
         v 1 | 2 | D shop [\"pg_catalog\",\"public\"] | C SELECT 1 | 3 | 3
         = hold Open"
    ));
    check(&format!("{failed}> Q DELETE FROM customers\n^ Q DELETE FROM customers\n= allow"));
}

#[test]
fn portals_live_on_when_a_transaction_begins() {
    let prepared = "> P a BEGIN | P b SELECT 1 | P c COMMIT | S
         ^ P a BEGIN | P b SELECT 1 | P c COMMIT | S
         v 1 | 1 | 1 | Z I
         < 1 | 1 | 1 | Z I";
    for begin in ["P - EXECUTE a | B - -", "B - a"] {
        check(&format!(
            "{prepared}
             > B p b | {begin} | E - | E p | S
             ^ B p b | {begin} | E - | E p | S
             = allow allow"
        ));
    }
    check(&format!(
        "{prepared}
         > B p b | B - c | E - | E p | S
         ^ B p b | B - c | E - | E nowhere | S
         = allow"
    ));
}
