//! What a client may not do for too long, or send too much of.

use super::bench::{check_large, check_unknown};
use super::{Setting, check_in};

#[test]
fn an_idle_client_is_sent_away() {
    check_in(Setting::Limited, "! minute\n< E! 57P05\n= Close\n^ X");
    check_in(
        Setting::Limited,
        "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n! minute\n< E! 25P03\n= Close\n^ X",
    );
    check_in(Setting::Plain, "! minute\n> Q SELECT 1\n^ Q SELECT 1\n= allow");
}

#[test]
fn whoever_waits_or_is_in_the_middle_of_something_is_not_idle() {
    check_in(
        Setting::Limited,
        "> Q DELETE FROM customers
         = hold Open
         ! opened
         < N 00000
         ! minute
         < N 00000
         ! cancel
         = Withdraw
         < E 57014 | Z I
         ! minute
         < E! 57P05
         = Close
         ^ X",
    );
    check_in(Setting::Limited, "> Q SELECT upper('x')\n^ Q SELECT upper('x')\n= allow\n! minute\n! minute");
    check_in(Setting::Limited, "> P - SELECT 1 | H\n^ P - SELECT 1 | H\nv 1\n< 1\n! minute\n> S\n^ S\nv Z I\n< Z I");
    // Half a message is nothing to wait for.
    check_in(Setting::Limited, "> raw Q\n! minute\n< E! 57P05\n= Close\n^ X");
}

#[test]
fn a_request_that_is_too_large_fails_and_the_session_goes_on() {
    let large = format!("SELECT '{}'", "x".repeat(1 << 20));
    check_large(
        Setting::Limited,
        &format!(
            "> Q {large} | Q SELECT 1\n~\n^ Q SELECT 1\n= allow
             v C SELECT 1 | Z I\n< E 54000 | Z I | C SELECT 1 | Z I"
        ),
    );
    check_large(
        Setting::Limited,
        &format!(
            "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T\n> Q {large}
             ^ Q countersign refused a statement\nv E 42601 | Z E\n< E 54000 | Z E"
        ),
    );
    check_large(
        Setting::Limited,
        &format!("> P - {large} | B - - | E - | S\n^ E nowhere | S\nv E 34000 | Z I\n< E 54000 | Z I"),
    );
    // What is skipped is skipped, whatever its size.
    check_large(
        Setting::Limited,
        &format!(
            "> P - SELECT 1 | B - nothing | P - {large} | S\n^ P - SELECT 1 | E nowhere | S\nv 1 | E 34000 | Z I\n< 1 | E 26000 | Z I"
        ),
    );
}

#[test]
fn lengths_beyond_postgresql_are_refused_before_a_byte_of_them_came() {
    check_in(Setting::Plain, "> raw Q\u{7f}\u{7f}\u{7f}\u{7f}\n< E! 08P01\n= Close\n^ X");
    check_in(Setting::Plain, "> raw D\u{1}\u{1}\u{1}\u{1}\n< E! 08P01\n= Close\n^ X");
    check_in(Setting::Plain, "> raw d\u{7f}\u{7f}\u{7f}\u{7f}\n< E! 08P01\n= Close\n^ X");
}

#[test]
fn a_short_text_that_takes_long_waits_for_room() {
    let double = |at: usize| format!(", q{at} AS (SELECT * FROM q{0} a, q{0} b)", at - 1);
    let doubled: String = (1..9).map(double).collect();
    let select = format!("SELECT 1{}", ",(SELECT 1 FROM q8)".repeat(100));
    let text = format!("WITH q0 AS (SELECT * FROM free){doubled} {select}");
    assert!(text.len() < 8 << 10);
    check_unknown(Setting::Plain, &format!("> Q {text}\n! room\n^ Q {text}\n= allow"));
    let text = text.replace("SELECT 1,", "SELECT 2 AS x,");
    let pipeline = format!("P - {text} | B - - | E - | S");
    check_unknown(Setting::Plain, &format!("> {pipeline}\n! room\n^ {pipeline}\n= allow"));
    // It is judged like any other.
    let text = text.replace("WITH ", "WITH d AS (DELETE FROM customers), ");
    check_unknown(Setting::Plain, &format!("> Q {text}\n! room\n= hold Open\n! opened\n< N 00000"));
}
