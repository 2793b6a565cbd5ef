//! Approvals for a number of rows of texts that begin or end transaction blocks.

use super::check;
use super::guarded::{BLOCK, approved};

const BATCH: &str = "DELETE FROM customers;\\nSELECT 1;\\nCOMMIT";

/// What the upstream is to count, and the end that waits.
const COUNTED: &str = "^ Q DELETE FROM customers;\\nSELECT 1;\\n\n";
const END: &str = "^ Q COMMIT\n";

#[test]
fn the_end_of_a_block_waits_for_its_rows() {
    check(&format!(
        "{BLOCK}{}{COUNTED}v C DELETE 2 | T a | D 1 | C SELECT 1 | Z T
         < C DELETE 2 | T a | D 1 | C SELECT 1
         {END}v C COMMIT | Z I
         < C COMMIT | Z I
         = Executed(COMMIT)",
        approved(&format!("Q {BATCH}"))
    ));
    check(&format!(
        "{}^ Q BEGIN; DELETE FROM customers;\\n
         v C BEGIN | C DELETE 2 | Z T
         < C BEGIN | C DELETE 2
         ^ Q COMMIT;
         v C COMMIT | Z I
         < C COMMIT | Z I
         = Executed(COMMIT)",
        approved("Q BEGIN; DELETE FROM customers;\\nCOMMIT;")
    ));
}

#[test]
fn beyond_its_limit_the_end_is_not_sent_and_the_block_fails() {
    check(&format!(
        "{BLOCK}{}{COUNTED}v C DELETE 3 | T a | D 1 | C SELECT 1 | Z T
         ^ Q countersign refused a statement
         < E 54000
         v E 42601 | Z E
         < Z E
         = Failed(54000)
         > Q COMMIT
         = allow
         ^ Q COMMIT
         v C ROLLBACK | Z I
         < C ROLLBACK | Z I",
        approved(&format!("Q {BATCH}"))
    ));
    check(&format!(
        "{}^ Q BEGIN; DELETE FROM customers; UPDATE customers SET id = '1';\\n
         v C BEGIN | C DELETE 1 | C UPDATE 2 | Z T
         ^ Q countersign refused a statement
         < C BEGIN | C DELETE 1 | E 54000
         v E 42601 | Z E
         < Z E
         = Failed(54000)",
        approved("Q BEGIN; DELETE FROM customers; UPDATE customers SET id = '1';\\nCOMMIT")
    ));
}

#[test]
fn the_end_of_a_block_that_has_failed_is_not_sent() {
    check(&format!(
        "{BLOCK}{}{COUNTED}v C DELETE 2 | E 22012 | Z E
         < C DELETE 2 | E 22012 | Z E
         = Failed(22012)
         > Q ROLLBACK
         = allow
         ^ Q ROLLBACK
         v C ROLLBACK | Z I
         < C ROLLBACK | Z I",
        approved(&format!("Q {BATCH}"))
    ));
}

#[test]
fn an_end_that_fails_is_no_success() {
    check(&format!(
        "{BLOCK}{}{COUNTED}v C DELETE 2 | T a | D 1 | C SELECT 1 | Z T
         < C DELETE 2 | T a | D 1 | C SELECT 1
         {END}v E 23503 | Z I
         < E 23503 | Z I
         = Failed(23503)",
        approved(&format!("Q {BATCH}"))
    ));
    check(&format!(
        "{BLOCK}{}{COUNTED}v C DELETE 2 | T a | D 1 | C SELECT 1 | Z T
         < C DELETE 2 | T a | D 1 | C SELECT 1
         {END}! upstream closed
         < E! 08006
         = Unknown Close
         ^ X",
        approved(&format!("Q {BATCH}"))
    ));
}

#[test]
fn a_block_may_stay_open() {
    check(&format!(
        "{}^ Q BEGIN; DELETE FROM customers
         v C BEGIN | C DELETE 2 | Z T
         < C BEGIN | C DELETE 2 | Z T
         = Executed(DELETE 2)",
        approved("Q BEGIN; DELETE FROM customers")
    ));
    check(&format!(
        "{}^ Q BEGIN; DELETE FROM customers
         v C BEGIN | C DELETE 3 | Z T
         ^ Q countersign refused a statement
         < C BEGIN | E 54000
         v E 42601 | Z E
         < Z E
         = Failed(54000)",
        approved("Q BEGIN; DELETE FROM customers")
    ));
}

#[test]
fn whoever_leaves_meanwhile_leaves_a_whole_block_behind() {
    check(&format!(
        "{BLOCK}{}{COUNTED}! client closed
         v C DELETE 2 | T a | D 1 | C SELECT 1 | Z T
         {END}v C COMMIT | Z I
         = Executed(COMMIT)
         ^ X",
        approved(&format!("Q {BATCH}"))
    ));
}
