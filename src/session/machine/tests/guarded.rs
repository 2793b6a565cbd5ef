//! Requests that were approved for a number of rows.

use super::{Setting, check, check_in};

/// A client sends these messages, and people approve them for two rows.
pub fn approved(messages: &str) -> String {
    format!(
        "> {messages}
         = hold Open
         ! opened
         < N 00000
         ! approved for 2 rows
         = Refresh
         ! refreshed
         = allow Begin
         ! begun\n"
    )
}

const BEGIN: &str = "^ Q BEGIN | Q DELETE FROM customers
    v C BEGIN | Z T\n";
pub const BLOCK: &str = "> Q BEGIN
    = allow
    ^ Q BEGIN
    v C BEGIN | Z T
    < C BEGIN | Z T\n";

#[test]
fn a_query_within_its_limit_is_committed() {
    check(&format!(
        "{}{BEGIN}v C DELETE 2 | Z T
         ^ Q COMMIT
         v C COMMIT | Z I
         < C DELETE 2 | Z I
         = Executed(DELETE 2)",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn a_query_beyond_its_limit_is_rolled_back() {
    check(&format!(
        "{}{BEGIN}v C DELETE 3 | Z T
         ^ Q ROLLBACK
         < E 54000
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn rows_that_come_back_are_no_success() {
    check(&format!(
        "{}^ Q BEGIN | Q DELETE FROM customers RETURNING id
         v C BEGIN | Z T | T id:20001:1 | D 1 | D 2 | D 3 | C DELETE 3 | Z T
         ^ Q ROLLBACK
         < T id | D 1 | D 2 | D 3 | E 54000
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)",
        approved("Q DELETE FROM customers RETURNING id")
    ));
}

#[test]
fn the_statements_of_a_string_count_together() {
    let text = "DELETE FROM customers; SELECT 1; UPDATE customers SET id = '1'; SELECT 2";
    check(&format!(
        "{}^ Q BEGIN | Q {text}
         v C BEGIN | Z T | C DELETE 1 | T a | D 1 | C SELECT 1 | C UPDATE 2 | T b | D 2 | C SELECT 1 | Z T
         ^ Q ROLLBACK
         < C DELETE 1 | T a | D 1 | C SELECT 1 | E 54000
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)",
        approved(&format!("Q {text}"))
    ));
    check(&format!(
        "{}^ Q BEGIN | Q {text}
         v C BEGIN | Z T | C DELETE 1 | T a | D 1 | C SELECT 1 | C UPDATE 1 | T b | D 2 | C SELECT 1 | Z T
         ^ Q COMMIT
         < C DELETE 1 | T a | D 1 | C SELECT 1 | C UPDATE 1 | T b | D 2
         v C COMMIT | Z I
         < C SELECT 1 | Z I
         = Executed(SELECT 1)",
        approved(&format!("Q {text}"))
    ));
}

#[test]
fn an_error_of_the_upstream_is_its_own() {
    check(&format!(
        "{}{BEGIN}v E 23503 | Z E
         ^ Q ROLLBACK
         < E 23503
         v C ROLLBACK | Z I
         < Z I
         = Failed(23503)",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn a_commit_that_fails_is_no_success() {
    check(&format!(
        "{}{BEGIN}v C DELETE 2 | Z T
         ^ Q COMMIT
         v E 23503 | Z I
         < E 23503 | Z I
         = Failed(23503)",
        approved("Q DELETE FROM customers")
    ));
    check(&format!(
        "{}{BEGIN}v C DELETE 2 | Z T
         ^ Q COMMIT
         ! upstream closed
         < E! 08006
         = Unknown Close
         ^ X",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn within_a_block_the_block_fails() {
    check(&format!(
        "{BLOCK}{}^ Q DELETE FROM customers
         v C DELETE 3 | Z T
         ^ Q countersign refused a statement
         < E 54000
         v E 42601 | Z E
         < Z E
         = Failed(54000)",
        approved("Q DELETE FROM customers")
    ));
    check(&format!(
        "{BLOCK}{}^ Q DELETE FROM customers
         v C DELETE 2 | Z T
         < C DELETE 2 | Z T
         = Executed(DELETE 2)",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn an_execute_beyond_its_limit_takes_its_pipeline_back() {
    check(&format!(
        "{}^ P - DELETE FROM customers | B - - | E - | H
         v 1 | 2 | C DELETE 3
         ^ E nowhere | S
         < 1 | 2
         = Failed(54000)
         v E 34000 | Z I
         < E 54000 | Z I",
        approved("P - DELETE FROM customers | B - - | E - | P - SELECT 1 | B - - | E - | S"),
    ));
}

#[test]
fn an_execute_within_its_limit_goes_on_to_its_sync() {
    check(&format!(
        "{}^ P - DELETE FROM customers | B - - | E - | H
         v 1 | 2 | C DELETE 2
         < 1 | 2 | C DELETE 2
         = Executed(DELETE 2)
         ^ S
         v Z I
         < Z I",
        approved("P - DELETE FROM customers | B - - | E - | S"),
    ));
}

#[test]
fn what_cannot_be_counted_does_not_run() {
    let refused = |messages: &str, end: &str| {
        format!(
            "> {messages}
             = hold Open
             ! opened
             < N 00000
             ! approved for 2 rows
             = Refresh
             ! refreshed
             = allow Revoke
             {end}"
        )
    };
    for text in [
        "WITH gone AS (DELETE FROM customers RETURNING id) SELECT id FROM gone",
        "WITH gone AS (DELETE FROM customers RETURNING id) DELETE FROM free",
        "EXPLAIN ANALYZE DELETE FROM customers",
        "DELETE FROM customers; COMMIT",
        "BEGIN; DELETE FROM customers; SAVEPOINT a; COMMIT",
        "BEGIN; DELETE FROM customers; COMMIT; DELETE FROM customers",
        "PREPARE a AS DELETE FROM customers; DELETE FROM customers",
    ] {
        check(&refused(&format!("Q {text}"), "< E 0A000 | Z I"));
    }
    check(&refused(
        "P - DELETE FROM customers RETURNING id | B - - | E - 1 | S",
        "^ E nowhere | S
         v E 34000 | Z I
         < E 0A000 | Z I",
    ));
}

#[test]
fn a_changed_text_is_counted_too() {
    check(
        "> Q DELETE FROM customers
         = hold Open
         ! opened
         < N 00000
         ! changed for 2 rows
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         < N 00000
         ^ Q BEGIN | Q DELETE FROM customers WHERE id = 1
         v C BEGIN | Z T | C DELETE 3 | Z T
         ^ Q ROLLBACK
         < E 54000
         v C ROLLBACK | Z I
         < Z I
         = Failed(54000)",
    );
}

#[test]
fn nothing_of_the_client_comes_between() {
    check(&format!(
        "{}{BEGIN}> S
         > P - SELECT 1 | B - - | E - | S
         v C DELETE 2 | Z T
         ^ Q COMMIT
         v C COMMIT | Z I
         < C DELETE 2 | Z I
         = Executed(DELETE 2) allow
         ^ S | P - SELECT 1 | B - - | E - | S
         v Z I | 1 | 2 | D 1 | C SELECT 1 | Z I
         < Z I | 1 | 2 | D 1 | C SELECT 1 | Z I",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn whoever_leaves_meanwhile_leaves_a_whole_transaction_behind() {
    for (left, heard, end) in [
        ("> X", "< C DELETE 2 | Z I", "= Executed(DELETE 2) GiveBack"),
        ("! client closed", "", "= Executed(DELETE 2)\n^ X"),
    ] {
        check(&format!(
            "{}{BEGIN}{left}
             v C DELETE 2 | Z T
             ^ Q COMMIT
             v C COMMIT | Z I
             {heard}
             {end}",
            approved("Q DELETE FROM customers")
        ));
    }
    check(&format!(
        "{}{BEGIN}! client ended
         v C DELETE 2 | Z T
         ^ Q COMMIT
         v C COMMIT | Z I
         < C DELETE 2 | Z I
         = Executed(DELETE 2) Shut",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn a_cancel_reaches_what_runs() {
    check(&format!(
        "{}{BEGIN}! cancel
         = CancelUpstream
         ! cancel sent
         v E 57014 | Z E
         ^ Q ROLLBACK
         < E 57014
         v C ROLLBACK | Z I
         < Z I
         = Failed(57014)",
        approved("Q DELETE FROM customers")
    ));
}

#[test]
fn rows_are_masked_all_the_same() {
    check_in(
        Setting::Masked,
        &format!(
            "{}^ Q BEGIN | Q DELETE FROM customers RETURNING email
             v C BEGIN | Z T | T email:20001:2 | D a@b.c | C DELETE 1 | Z T
             ^ Q COMMIT
             < T email | D ***
             v C COMMIT | Z I
             < C DELETE 1 | Z I
             = Executed(DELETE 1)",
            approved("Q DELETE FROM customers RETURNING email")
        ),
    );
}
