//! Custom settings that a held statement can read are asked for before it is held.

use super::{Setting, check_in};

const ASK: &str = "P own app.tenant | B own | E own | C P own | C S own";
const TOLD: &str = "1 | 2 | D [\"a\"] | C SELECT 1 | 3 | 3";

#[track_caller]
fn check(script: &str) {
    check_in(Setting::Tenants, &script.replace("ASK", ASK).replace("TOLD", TOLD));
}

#[test]
fn what_is_held_waits_for_its_settings() {
    check(
        "> Q DELETE FROM customers
         ^ ASK | S
         v TOLD | Z I
         = hold Open
         ! opened
         < N 00000
         ! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q DELETE FROM customers",
    );
}

#[test]
fn what_is_allowed_or_denied_does_not() {
    check(
        "> Q DELETE FROM free
         = allow
         ^ Q DELETE FROM free
         v C DELETE 1 | Z I
         < C DELETE 1 | Z I
         > Q DROP TABLE free
         = deny
         < E 42501 | Z I",
    );
}

#[test]
fn an_execute_waits_in_its_pipeline() {
    check(
        "> P - SELECT 1 | B - - | E - | P - DELETE FROM customers | B - - | E - | S
         = allow
         ^ P - SELECT 1 | B - - | E - | H
         v 1 | 2 | D 1 | C SELECT 1
         < 1 | 2 | D 1 | C SELECT 1
         ^ ASK | H
         v TOLD
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I",
    );
}

/// What was sent since may have changed them.
#[test]
fn they_are_asked_for_each_time() {
    let refused = "> Q DELETE FROM customers
         ^ ASK | S
         v TOLD | Z I
         = hold Open
         ! resubmit
         < E 42501 | Z I\n";
    check(&format!(
        "{refused}> Q SET app.tenant = 'b'
         = allow
         ^ Q SET app.tenant = 'b'
         v C SET | Z I
         < C SET | Z I
         {refused}"
    ));
}

#[test]
fn an_answer_that_is_none_ends_the_session() {
    check(
        "> Q DELETE FROM customers
         ^ ASK | S
         v 1 | 2 | D [] | C SELECT 1 | 3 | 3 | Z I
         < E! XX000
         = Close
         ^ X",
    );
}
