//! COPY … FROM STDIN that was approved for a number of rows.

use super::check;
use super::guarded::{BLOCK, approved};

const COPY: &str = "COPY customers FROM STDIN";
const BEGIN: &str = "^ Q BEGIN | Q COPY customers FROM STDIN
    v C BEGIN | Z T | G
    < G\n";

/// The data, up to its end.
const DATA: &str = "> d 1 | d 2 | c
    ^ d 1 | d 2 | c\n";

fn wrapped(rest: &str) {
    check(&format!("{}{BEGIN}{rest}", approved(&format!("Q {COPY}"))));
}

#[test]
fn a_copy_is_committed_when_its_rows_are_counted() {
    wrapped(&format!(
        "{DATA}> Q SELECT 1
         v C COPY 2 | Z T
         ^ Q COMMIT
         v C COMMIT | Z I
         < C COPY 2 | Z I
         = Executed(COPY 2) allow
         ^ Q SELECT 1"
    ));
    wrapped(&format!(
        "{DATA}v C COPY 3 | Z T
         ^ Q ROLLBACK
         < E 54000
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)"
    ));
}

#[test]
fn within_a_block_the_block_fails() {
    check(&format!(
        "{BLOCK}{}^ Q {COPY}
         v G
         < G
         {DATA}v C COPY 3 | Z T
         ^ Q countersign refused a statement
         < E 54000
         v E 42601 | Z E
         < Z E
         = Failed(54000)",
        approved(&format!("Q {COPY}"))
    ));
}

#[test]
fn a_copy_that_fails_is_rolled_back() {
    wrapped(
        "> d 1 | f no
         ^ d 1 | f no
         v E 57014 | Z E
         ^ Q ROLLBACK
         < E 57014
         v C ROLLBACK | Z I
         < Z I
         = Failed(57014)",
    );
    // What is left of its data is nothing to anybody.
    wrapped(
        "> d 1
         ^ d 1
         v E 22P02 | Z E
         ^ Q ROLLBACK
         < E 22P02
         v C ROLLBACK | Z I
         < Z I
         = Failed(22P02)
         > d 2 | c | Q SELECT 1
         = allow
         ^ Q SELECT 1",
    );
}

#[test]
fn a_sync_within_it_is_answered_if_it_fails() {
    wrapped(&format!(
        "> S
         {DATA}v C COPY 2 | Z T
         ^ Q COMMIT
         v C COMMIT | Z I
         < C COPY 2 | Z I
         = Executed(COPY 2)"
    ));
    wrapped(
        "> d 1
         ^ d 1
         > S
         v E 22P02 | Z E
         ^ Q ROLLBACK
         < E 22P02
         v C ROLLBACK | Z I
         ^ S
         < Z I
         = Failed(22P02)
         v Z I
         < Z I",
    );
}

#[test]
fn what_does_not_belong_into_it_ends_the_session() {
    wrapped(
        "> d 1 | Q SELECT 1
         ^ d 1 | f OUT
         v E OUT
         < E! 08P01
         = Failed(57014) Close
         ^ X",
    );
}

#[test]
fn an_execute_is_counted_before_its_sync() {
    let text = format!("P - {COPY} | B - - | E - | S");
    let begin = format!(
        "{}^ P - {COPY} | B - - | E - | H
         v 1 | 2 | G
         ^ S
         < 1 | 2 | G\n",
        approved(&text)
    );
    check(&format!(
        "{begin}{DATA}> S
         ^ H
         v C COPY 2
         < C COPY 2
         = Executed(COPY 2)
         ^ S
         v Z I
         < Z I"
    ));
    check(&format!(
        "{begin}{DATA}> S
         ^ H
         v C COPY 3
         ^ E nowhere | S
         = Failed(54000)
         v E 34000 | Z I
         < E 54000 | Z I"
    ));
}

#[test]
fn the_copies_of_a_string_count_together() {
    let text = format!("{COPY}; {COPY}");
    let begin = format!(
        "{}^ Q BEGIN | Q {text}
         v C BEGIN | Z T | G
         < G\n",
        approved(&format!("Q {text}"))
    );
    check(&format!(
        "{begin}> d 1 | c
         ^ d 1 | c
         v C COPY 1 | G
         < C COPY 1 | G
         > d 2 | c
         ^ d 2 | c
         v C COPY 2 | Z T
         ^ Q ROLLBACK
         < E 54000
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)"
    ));
    // Nobody sends data for what comes behind an error.
    check(&format!(
        "{begin}{DATA}v C COPY 3 | G
         < E 54000
         ^ f OUT
         v E OUT | Z E
         ^ Q ROLLBACK
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)"
    ));
}

#[test]
fn whoever_leaves_within_it_leaves_nothing_behind() {
    for left in ["> X", "! client closed"] {
        wrapped(&format!(
            "> d 1
             ^ d 1
             {left}
             ^ f OUT
             v E OUT | Z E
             ^ Q ROLLBACK
             v C ROLLBACK | Z I
             = Failed(57014)
             ^ X"
        ));
    }
    wrapped(
        "> d 1
         ^ d 1
         ! client ended
         ^ f OUT
         v E OUT | Z E
         ^ Q ROLLBACK
         < E 57014
         v C ROLLBACK | Z I
         < Z I
         = Failed(57014) Shut",
    );
}
