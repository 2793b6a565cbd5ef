//! FunctionCall: large objects pass, judged as the SELECT that calls the same function; nothing else does.

use super::{Setting, check, check_in};

#[test]
fn a_large_object_is_opened_and_read() {
    check(
        "> F 952 16384 262144
         ^ F 952 16384 262144
         = allow
         v V 0 | Z T
         < V 0 | Z T
         > F 954 0 100
         ^ F 954 0 100
         = allow
         v V contents | Z T
         < V contents | Z T
         > F 952 1 1 | Q SELECT 1
         ^ F 952 1 1
         = allow
         v E 42704 | Z E
         < E 42704 | Z E
         ^ Q SELECT 1
         = allow
         v E 25P02 | Z E
         < E 25P02 | Z E",
    );
}

#[test]
fn a_call_is_held_as_the_select_would_be() {
    let held = "> F 964 16384\n= hold Open\n! opened\n< N 00000\n";
    check(&format!(
        "{held}! approved\n= Refresh\n! refreshed\n= allow Begin\n! begun\n^ F 964 16384
         v V 1 | Z I\n< V 1 | Z I\n= Executed(FunctionCall)"
    ));
    check(&format!("{held}! rejected\n< E 42501 | Z I"));
    check(&format!("{held}! cancel\n= Withdraw\n< E 57014 | Z I"));
    check(
        "> Q BEGIN\n^ Q BEGIN\n= allow\nv C BEGIN | Z T\n< C BEGIN | Z T
         > F 964 16384\n= hold Open\n! opened\n< N 00000\n! rejected
         ^ Q countersign refused a statement\nv E 42601 | Z E\n< E 42501 | Z E",
    );
}

#[test]
fn no_other_function_is_called_by_message() {
    // pg_terminate_backend, pg_read_file, one of a user, one cut off.
    for call in ["F 2096 1", "F 2624 x", "F 16385", "F", "raw F\0\0\0\x08\0\0\x03\u{7f}"] {
        check(&format!("> {call}\n< E 0A000 | Z I"));
    }
}

#[test]
fn what_cannot_be_masked_is_not_read() {
    check_in(Setting::Masked, "> F 954 0 100\n< E 0A000 | Z I");
    check_in(Setting::Masked, "> F 952 16384 262144\n^ F 952 16384 262144\n= allow\nv V 0 | Z I\n< V 0 | Z I");
}

#[test]
fn only_a_call_is_answered_like_one() {
    check("> Q SELECT 1\n^ Q SELECT 1\n= allow\nv V 0\n< E! 08P01\n^ X\n= Close");
    check("> F 952 1 1\n^ F 952 1 1\n= allow\nv D 1\n< E! 42501\n^ X\n= Close");
}

#[test]
fn in_a_pipeline_a_call_waits_for_what_is_before_it() {
    check(
        "> P - SELECT 1 | B - - | E - | F 952 1 1
         ^ P - SELECT 1 | B - - | E - | H
         = allow
         v 1 | 2 | D 1 | C SELECT 1
         < 1 | 2 | D 1 | C SELECT 1
         ^ F 952 1 1
         = allow
         v V 0 | Z I
         < V 0 | Z I",
    );
}
