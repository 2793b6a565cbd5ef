//! How clients wait.

use super::{Setting, check_in};

const BLOCK: &str = "> Q BEGIN
    = allow
    ^ Q BEGIN
    v C BEGIN | Z T
    < C BEGIN | Z T\n";
const REFUSED: &str = "= hold Open(resubmit)
    ! resubmit
    ^ Q countersign refused a statement
    v E 42601 | Z E
    < E 42501 | Z E\n";

/// A client has set this, and the upstream says so.
fn set(name: &str, mode: &str, hold_budget: &str) -> String {
    let value = if name == "mode" { mode } else { hold_budget };
    format!(
        "> Q SET countersign.{name} = '{value}'
         = allow
         ^ Q SET countersign.{name} = '{value}'
         v C SET | Z I
         < C SET | Z I
         > Q SELECT 1
         ^ OWN | S
         v 1 | 2 | D shop [\"pg_catalog\",\"public\"] - - off {mode} {hold_budget} | C SELECT 1 | 3 | 3 | Z I
         = allow
         ^ Q SELECT 1
         v C SELECT 1 | Z I
         < C SELECT 1 | Z I\n"
    )
}

#[test]
fn nobody_waits_with_locks_in_mode_auto() {
    let write = "> Q DELETE FROM free
        = allow
        ^ Q DELETE FROM free
        v C DELETE 1 | Z T
        < C DELETE 1 | Z T\n";
    check_in(Setting::Auto, &format!("{BLOCK}{write}> Q DELETE FROM customers\n{REFUSED}"));
    // A savepoint is no lock, and neither is what was read.
    let read = "> Q SELECT id FROM free
        = allow
        ^ Q SELECT id FROM free
        v T id:20002:1 | C SELECT 0 | Z T
        < T id | C SELECT 0 | Z T\n";
    check_in(Setting::Auto, &format!("{BLOCK}{read}> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000"));
    // They end with the transaction.
    let commit = "> Q COMMIT
        = allow
        ^ Q COMMIT
        v C COMMIT | Z I
        < C COMMIT | Z I\n";
    let again = "> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000";
    check_in(Setting::Auto, &format!("{BLOCK}{write}{commit}{again}"));
    // Who says that it wants to wait, waits.
    check_in(Setting::Plain, &format!("{BLOCK}{write}> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000"));
}

#[test]
fn nor_in_a_pipeline() {
    check_in(
        Setting::Auto,
        "> P - DELETE FROM free | B - - | E - | P - DELETE FROM customers | B - - | E - | S
         = allow hold Open(resubmit)
         ^ P - DELETE FROM free | B - - | E - | H
         ! resubmit
         ^ E nowhere | S
         v 1 | 2 | C DELETE 1 | E 34000 | Z I
         < 1 | 2 | C DELETE 1 | E 42501 | Z I",
    );
}

#[test]
fn a_client_may_choose_not_to_wait() {
    check_in(
        Setting::Plain,
        &format!(
            "{}> Q DELETE FROM customers
             = hold Open(resubmit)
             ! resubmit
             < E 42501 | Z I",
            set("mode", "resubmit", "-")
        ),
    );
}

#[test]
fn a_client_waits_as_long_as_its_budget_lasts() {
    check_in(
        Setting::Auto,
        &format!(
            "{}> Q DELETE FROM customers
             = hold Open
             ! opened
             < N 00000
             ! minute
             = LeaveOpen
             < N 00000
             ! left open
             < E 42501 | Z I
             > Q SELECT 1
             = allow
             ^ Q SELECT 1",
            set("hold_budget", "-", "25s")
        ),
    );
    // Who says that it wants to wait, waits.
    check_in(
        Setting::Plain,
        &format!(
            "{}> Q DELETE FROM customers\n= hold Open\n! opened\n< N 00000\n! minute\n< N 00000",
            set("hold_budget", "-", "25s")
        ),
    );
}

/// What would count as no choice is an error, in a block a real one.
#[test]
fn a_choice_that_there_is_not_is_refused() {
    for (setting, sql, sqlstate) in [
        (Setting::Plain, "SET countersign.mode = 'wiat'", "22023"),
        (Setting::Observed, "SELECT 1; SET LOCAL countersign.hold_budget TO 'soon'", "22023"),
        (Setting::Plain, "SET countersign.mod = 'wait'", "42704"),
    ] {
        check_in(setting, &format!("> Q {sql}\n< E {sqlstate} | Z I\n= error"));
        check_in(
            setting,
            &format!(
                "{BLOCK}> Q {sql}\n= error\n^ Q countersign refused a statement
                 v E 42601 | Z E\n< E {sqlstate} | Z E"
            ),
        );
    }
    for sql in ["SET countersign.mode = 'Resubmit'", "SET countersign.reason = 'wiat'", "RESET countersign.mode"] {
        check_in(Setting::Plain, &format!("> Q {sql}\n= allow\n^ Q {sql}\nv C SET | Z I\n< C SET | Z I"));
    }
}
