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

/// A cursor WITH HOLD outlives the transaction in which a Bind of its name has failed, or a Close was skipped.
#[test]
fn a_held_cursor_whose_name_was_not_taken_is_still_there() {
    let declare = "DECLARE q CURSOR WITH HOLD FOR SELECT 1";
    let declared =
        format!("> Q {declare}\n^ Q {declare}\n= allow\nv C DECLARE CURSOR | Z I\n< C DECLARE CURSOR | Z I\n");
    let executed = "> E q | S\n^ E q | S\n= allow\nv D 1 | C SELECT 1 | Z I\n< D 1 | C SELECT 1 | Z I";
    check(&format!(
        "{declared}> P b SELECT 2 | B q b | S\n^ P b SELECT 2 | B q b | S\nv 1 | E 42P03 | Z I\n< 1 | E 42P03 | Z I\n{executed}"
    ));
    check(&format!(
        "{declared}> P b SELECT 2 | B q b | C P q | S | E q | S
         ^ P b SELECT 2 | B q b | C P q | S
         v 1 | E 42P03 | Z I
         < 1 | E 42P03 | Z I
         ^ E q | S
         = allow"
    ));
    check(&format!(
        "{declared}> B - nothing | C P q | S\n^ E nowhere | S\nv E 34000 | Z I\n< E 26000 | Z I\n{executed}"
    ));
    check(&format!(
        "{declared}> D S nothing | C P q | S | E q | S
         ^ D S nothing | C P q | S
         v E 26000 | Z I
         < E 26000 | Z I
         ^ E q | S
         = allow"
    ));
    check(&format!(
        "{declared}> C P q | S\n^ C P q | S\nv 3 | Z I\n< 3 | Z I\n> E q | S\n^ E nowhere | S\nv E 34000 | Z I\n< E 34000 | Z I"
    ));
}

/// What SQL has done to cursors since is not undone with the Bind.
#[test]
fn a_cursor_that_sql_has_replaced_is_not_brought_back() {
    let declare = "DECLARE q CURSOR WITH HOLD FOR SELECT 1";
    check(&format!(
        "> Q {declare}
         ^ Q {declare}
         = allow
         v C DECLARE CURSOR | Z I
         < C DECLARE CURSOR | Z I
         > P b SELECT 2 | B q b | P - CLOSE q | B - - | E - | H
         ^ P b SELECT 2 | B q b | P - CLOSE q | B - - | E - | H
         = allow
         v 1 | E 42P03
         < 1 | E 42P03
         > S
         ^ S
         v Z I
         < Z I
         > Q CLOSE q
         ^ Q CLOSE q
         = allow
         v C CLOSE CURSOR | Z I
         < C CLOSE CURSOR | Z I
         > B q b | E - | S
         ^ B q b | E nowhere | S
         v 2 | E 34000 | Z I
         < 2 | E 34000 | Z I
         > E q | S
         ^ E nowhere | S
         v E 34000 | Z I
         < E 34000 | Z I"
    ));
}

/// Code that may end a transaction ends the portals, but not the one that runs it.
#[test]
fn the_portal_that_runs_code_is_still_there() {
    super::check_in(
        super::Setting::Observed,
        "> P - DO 'begin end' | P s SELECT 1 | B p s | B - - | E - | E - | S
         ^ P - DO 'begin end' | P s SELECT 1 | B p s | B - - | E - | H
         = allow
         v 1 | 1 | 2 | 2 | C DO
         < 1 | 1 | 2 | 2 | C DO
         ^ OWN | H
         v 1 | 2 | D shop [\"pg_catalog\",\"public\"] | C SELECT 1 | 3 | 3
         ^ E - | H
         = allow
         v E 55000
         ^ S
         < E 55000
         v Z I
         = Refresh
         < Z I",
    );
    super::check_in(
        super::Setting::Observed,
        "> P - DO 'begin end' | P s SELECT 1 | B p s | B - - | E - | E p | S
         ^ P - DO 'begin end' | P s SELECT 1 | B p s | B - - | E - | H
         = allow
         v 1 | 1 | 2 | 2 | C DO
         < 1 | 1 | 2 | 2 | C DO
         ^ OWN | H
         v 1 | 2 | D shop [\"pg_catalog\",\"public\"] | C SELECT 1 | 3 | 3
         ^ E nowhere | S
         v E 34000 | Z I
         = Refresh
         < E 34000 | Z I",
    );
}
