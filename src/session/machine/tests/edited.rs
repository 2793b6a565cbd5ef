//! Requests that a reviewer approves with changes.

use super::check;
use crate::review::Edit;

/// What a reviewer makes of a statement.
pub const SAFER: &str = "DELETE FROM customers WHERE id = 1";

pub fn edit(statement: &str) -> Option<Edit> {
    Some(Edit { statement: statement.to_owned(), by: "bob".to_owned() })
}

const HELD: &str = "> Q DELETE FROM customers
    = hold Open
    ! opened
    < N 00000\n";

const HELD_IN_PIPELINE: &str = "> P - DELETE FROM customers | B - - | E - | S
    = hold Open
    ! opened
    < N 00000\n";

#[test]
fn a_query_runs_as_it_was_changed_and_its_sender_is_told() {
    check(&format!(
        "{HELD}! changed
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         < N 00000
         ^ Q DELETE FROM customers WHERE id = 1
         v C DELETE 1 | Z I
         < C DELETE 1 | Z I
         = Executed(DELETE 1)
         # The approval is used up, for both texts.
         {HELD}"
    ));
}

#[test]
fn a_changed_query_that_is_denied_does_not_run() {
    check(&format!(
        "{HELD}! changed for the worse
         = Refresh
         ! refreshed
         = deny Revoke
         < E 42501 | Z I"
    ));
}

#[test]
fn a_change_approved_under_other_circumstances_does_not_run() {
    check(&format!(
        "{HELD}! changed
         = Refresh
         ! redefined
         = Revoke
         < E 42501 | Z I"
    ));
}

#[test]
fn an_extended_statement_is_answered_with_the_changed_text() {
    check(&format!(
        "{HELD_IN_PIPELINE}! changed
         = Refresh
         ! refreshed
         = Rebind
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I"
    ));
}

#[test]
fn who_sends_the_changed_text_is_not_told_to_send_it() {
    check(
        "> Q DELETE FROM customers WHERE id = 1
         = hold Open
         ! changed ticket
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q DELETE FROM customers WHERE id = 1
         v C DELETE 1 | Z I
         < C DELETE 1 | Z I
         = Executed(DELETE 1)",
    );
}

#[test]
fn who_sends_the_old_text_again_gets_the_changed_one() {
    check(
        "> Q DELETE FROM customers
         = hold Open
         ! changed ticket
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         < N 00000
         ^ Q DELETE FROM customers WHERE id = 1
         v C DELETE 1 | Z I
         < C DELETE 1 | Z I
         = Executed(DELETE 1)",
    );
}
