//! The requester's reason: when the upstream is asked for it, and what is refused without one.

use super::check;

const LEARNED: &str = r#"v 1 | 2 | D shop ["pg_catalog","public"] ticket | C SELECT 1 | 3 | 3"#;

#[test]
fn a_reason_that_is_set_is_known_before_the_next_statement() {
    check(&format!(
        "> Q SET countersign.reason = 'x' | Q DELETE FROM customers
         ^ Q SET countersign.reason = 'x'
         = allow
         v C SET | Z I
         < C SET | Z I
         ^ OWN | S
         {LEARNED} | Z I
         = hold Open"
    ));
}

#[test]
fn a_reason_of_a_transaction_ends_with_it() {
    check(&format!(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q SET LOCAL countersign.reason = 'x'
         ^ Q SET LOCAL countersign.reason = 'x'
         = allow
         v C SET | Z T
         < C SET | Z T
         > Q SELECT 1
         ^ OWN | S
         {LEARNED} | Z T
         ^ Q SELECT 1
         = allow
         v C SELECT 1 | Z T
         < C SELECT 1 | Z T
         > Q COMMIT
         ^ Q COMMIT
         = allow
         v C COMMIT | Z I
         < C COMMIT | Z I
         > Q SELECT 1
         ^ OWN | S
         {LEARNED} | Z I
         ^ Q SELECT 1
         = allow"
    ));
}

#[test]
fn names_in_one_text_mean_the_same_after_it() {
    check(
        "> Q SET countersign.reason = 'x'; DELETE FROM free
         ^ Q SET countersign.reason = 'x'; DELETE FROM free
         = allow",
    );
}

#[test]
fn what_has_no_reason_is_refused_and_the_session_lives() {
    check(
        "> Q DELETE FROM customers | Q SELECT 1
         = hold Open
         ! unjustified
         < E 42501 | Z I
         ^ Q SELECT 1
         = allow",
    );
    check(
        "> P - DELETE FROM customers | B - - | E - | S
         = hold Open
         ! unjustified
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I",
    );
}
