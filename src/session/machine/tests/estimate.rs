//! Requests that wait for the planner's estimate before they are judged. Updates of `free` with more than 100 rows are held.

use super::Setting;

#[track_caller]
fn check(script: &str) {
    super::check_in(Setting::Counted, script);
}

#[test]
fn a_query_waits_for_its_estimate() {
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         ! few rows
         ^ Q UPDATE free SET id = 1
         = allow
         v C UPDATE 10 | Z I
         < C UPDATE 10 | Z I",
    );
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         ! many rows
         = hold Open
         ! opened
         < N 00000
         ! approved
         = Refresh
         ! refreshed
         = allow Begin
         ! begun
         ^ Q UPDATE free SET id = 1
         v C UPDATE 5000 | Z I
         < C UPDATE 5000 | Z I
         = Executed(UPDATE 5000)",
    );
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         ! no estimate
         = hold Open
         ! opened
         < N 00000
         ! rejected
         < E 42501 | Z I",
    );
}

#[test]
fn an_estimate_serves_once_and_only_what_it_was_asked_for() {
    check(
        "> Q UPDATE free SET id = 1 | Q UPDATE free SET id = 1 | Q UPDATE free SET id = 2 | Q SELECT 1
         = Estimate(0)
         ! few rows
         ^ Q UPDATE free SET id = 1
         = allow
         v C UPDATE 10 | Z I
         = Estimate(0)
         < C UPDATE 10 | Z I
         ! few rows
         ^ Q UPDATE free SET id = 1
         = allow
         v C UPDATE 10 | Z I
         = Estimate(0)
         < C UPDATE 10 | Z I
         ! many rows
         = hold Open
         ! opened
         < N 00000
         ! rejected
         < E 42501 | Z I
         ^ Q SELECT 1
         = allow",
    );
}

#[test]
fn an_execute_waits_with_its_bind() {
    check(
        "> P u UPDATE free SET id = $1 | B - u 7 | E - | S
         = Estimate(1)
         ! few rows
         ^ P u UPDATE free SET id = $1 | B - u 7 | E - | S
         = allow
         v 1 | 2 | C UPDATE 10 | Z I
         < 1 | 2 | C UPDATE 10 | Z I
         > B - u 7 | E - | S
         = Estimate(1)
         ! many rows
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I",
    );
}

#[test]
fn a_bind_whose_estimate_is_not_known_goes_with_its_execute_or_not_at_all() {
    check(
        "> P - UPDATE free SET id = $1 | B - - 7 | H
         ^ E nowhere | H
         v E 34000
         < E 42501",
    );
}

#[test]
fn what_fails_before_it_is_skipped_over() {
    check(
        "> P - SELECT 1 | B - - | E - | P - UPDATE free SET id = 1 | B - - | E - | S
         ^ P - SELECT 1 | B - - | E - | H
         = allow Estimate(0)
         v 1 | 2 | E 22012
         < 1 | 2 | E 22012
         ! few rows
         ^ S
         v Z I
         < Z I",
    );
}

#[test]
fn nothing_else_happens_while_the_planner_is_asked() {
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         > Q SELECT 1
         ! cancel
         ! drain
         ! few rows
         ^ Q UPDATE free SET id = 1
         = allow
         v C UPDATE 10 | Z I
         < C UPDATE 10 | Z I
         ^ Q SELECT 1
         = allow
         v T a | D 1 | C SELECT 1 | Z I
         ^ X
         = Close
         < T a | D 1 | C SELECT 1 | Z I | E! 57P01",
    );
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         ! client closed
         ^ X
         = Close
         ! few rows",
    );
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         ! upstream closed
         ^ X
         = Close
         < E! 08006
         ! few rows",
    );
    check(
        "> Q UPDATE free SET id = 1
         = Estimate(0)
         ! drain now
         ! few rows
         = Close
         ^ X
         < E! 57P01",
    );
}

#[test]
fn what_no_rule_asks_about_does_not_wait() {
    check(
        "> Q UPDATE customers SET id = 1 | Q BEGIN
         = hold Open
         ! opened
         < N 00000
         ! rejected
         < E 42501 | Z I
         ^ Q BEGIN
         = allow",
    );
    check(
        "> Q UPDATE free SET id = 1; UPDATE free SET id = 2
         = hold Open
         ! opened
         < N 00000",
    );
}
