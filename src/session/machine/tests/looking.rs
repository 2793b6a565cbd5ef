//! Definitions that are looked at before they count: those behind a verdict, and those behind the rows of a result.
//!
//! `public.shown` is a view of `public.free`, and of the guarded `public.customers` once it is another.

use super::{Setting, check, check_in};

#[track_caller]
fn check_masked(script: &str) {
    check_in(Setting::Masked, script);
}

#[test]
fn rows_that_rest_on_definitions_wait_for_one_look() {
    check_masked(
        "> Q SELECT upper(id) FROM free
         ^ Q SELECT upper(id) FROM free
         = allow
         v T upper | D a
         < T upper
         = LookForRows
         ! rows same
         < D a
         v D b | D c | C SELECT 3 | Z I
         < D b | D c | C SELECT 3 | Z I",
    );
}

#[test]
fn where_definitions_are_others_nothing_is_shown_because_of_them() {
    check_masked(
        "> Q SELECT id, upper(id) FROM free
         ^ Q SELECT id, upper(id) FROM free
         = allow
         v T id:20002:1 upper | D 1 a | D 2 b | C SELECT 2 | Z I
         < T id upper
         = LookForRows
         ! rows other
         < N 01000 | D 1 *** | D 2 *** | C SELECT 2 | Z I",
    );
}

#[test]
fn what_could_not_be_looked_at_is_not_shown() {
    check_masked(
        "> Q SELECT upper(id) FROM free
         ^ Q SELECT upper(id) FROM free
         = allow
         v T upper | D a | C SELECT 1 | Z I
         < T upper
         = LookForRows
         ! rows not seen
         < E! 42501
         = Close
         ^ X",
    );
}

#[test]
fn what_postgresql_shows_itself_waits_for_nothing() {
    for columns in ["id:20002:1", "id:20002:1 email:20001:2"] {
        let cells = if columns.contains("email") { ("1 a", "1 ***") } else { ("1", "1") };
        let names = if columns.contains("email") { "id email" } else { "id" };
        check_masked(&format!(
            "> Q SELECT free.id, customers.email FROM free, customers
             ^ Q SELECT free.id, customers.email FROM free, customers
             = allow
             v T {columns} | D {} | C SELECT 1 | Z I
             < T {names} | D {} | C SELECT 1 | Z I",
            cells.0, cells.1
        ));
    }
    check_masked(
        "> Q SELECT 1
         ^ Q SELECT 1
         = allow
         v T ?column? | D 1 | C SELECT 1 | Z I
         < T ?column? | D 1 | C SELECT 1 | Z I",
    );
    // Masked all the same, and nothing at all.
    check_masked(
        "> Q SELECT upper(email) FROM customers | Q SELECT upper(id) FROM free
         ^ Q SELECT upper(email) FROM customers
         = allow
         v T upper | D a | C SELECT 1 | Z I
         < T upper | D *** | C SELECT 1 | Z I
         ^ Q SELECT upper(id) FROM free
         = allow
         v T upper | C SELECT 0 | Z I
         < T upper | C SELECT 0 | Z I",
    );
}

#[test]
fn each_execute_is_described_and_looked_at_anew() {
    check_masked(
        "> P u SELECT upper(id) FROM free | D S u | S
         ^ P u SELECT upper(id) FROM free | D S u | S
         v 1 | t | T upper | Z I
         < 1 | t | T upper | Z I
         > B - u | E - | S
         ^ B - u | D P - | E - | S
         = allow
         v 2 | T upper | D a | C SELECT 1 | Z I
         < 2
         = LookForRows
         ! rows same
         < D a | C SELECT 1 | Z I
         > B - u | E - | S
         ^ B - u | D P - | E - | S
         = allow
         v 2 | T upper | D a | C SELECT 1 | Z I
         < 2
         = LookForRows
         ! rows other
         < N 01000 | D *** | C SELECT 1 | Z I",
    );
}

#[test]
fn a_pipeline_waits_result_by_result() {
    check_masked(
        "> P - SELECT upper(id) FROM free | B - - | D P - | E - | B p - | E p | S
         ^ P - SELECT upper(id) FROM free | B - - | D P - | D P - | E - | B p - | D P p | E p | S
         = allow allow
         v 1 | 2 | T upper | T upper | D a | C SELECT 1 | 2 | T upper | D b | C SELECT 1 | Z I
         < 1 | 2 | T upper
         = LookForRows
         ! rows same
         < D a | C SELECT 1 | 2
         = LookForRows
         ! rows other
         < N 01000 | D *** | C SELECT 1 | Z I",
    );
}

#[test]
fn a_portal_that_is_continued_is_looked_at_again() {
    check_masked(
        "> P - SELECT upper(id) FROM free | B - - | E - 1 | E - 1 | S
         ^ P - SELECT upper(id) FROM free | B - - | D P - | E - 1 | D P - | E - 1 | S
         = allow allow
         v 1 | 2 | T upper | D a | s | T upper | D b | s | Z I
         < 1 | 2
         = LookForRows
         ! rows same
         < D a | s
         = LookForRows
         ! rows other
         < N 01000 | D *** | s | Z I",
    );
}

#[test]
fn a_copy_rests_on_names() {
    check_masked(
        "> Q COPY free (id) TO STDOUT
         ^ Q COPY free (id) TO STDOUT
         = allow
         v H | d 1\\n
         < H
         = LookForRows
         ! rows same
         < d 1\\n
         v d 2\\n | c | C COPY 2 | Z I
         < d 2\\n | c | C COPY 2 | Z I",
    );
    check_masked(
        "> Q COPY free (id) TO STDOUT
         ^ Q COPY free (id) TO STDOUT
         = allow
         v H | d 1\\n | c | C COPY 1 | Z I
         < H
         = LookForRows
         ! rows other
         < N 01000 | d \\N\\n | c | C COPY 1 | Z I",
    );
}

#[test]
fn a_cursor_rests_on_what_it_was_declared_over() {
    check_masked(
        "> Q BEGIN | Q DECLARE c CURSOR FOR SELECT upper(id) FROM free | Q FETCH c
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         ^ Q DECLARE c CURSOR FOR SELECT upper(id) FROM free
         = allow
         v C DECLARE CURSOR | Z T
         < C DECLARE CURSOR | Z T
         ^ Q FETCH c
         = allow
         v T upper | D a | C FETCH 1 | Z T
         < T upper
         = LookForRows
         ! rows other
         < N 01000 | D *** | C FETCH 1 | Z T",
    );
}

#[test]
fn a_verdict_on_what_may_do_more_waits_for_a_look() {
    check(
        "> Q UPDATE shown SET id = 1
         = Look
         ! same
         ^ Q UPDATE shown SET id = 1
         = allow
         v C UPDATE 1 | Z I
         < C UPDATE 1 | Z I
         > Q UPDATE free SET id = 1
         ^ Q UPDATE free SET id = 1
         = allow
         v C UPDATE 1 | Z I
         < C UPDATE 1 | Z I",
    );
    check(
        "> Q UPDATE shown SET id = 1 | Q SELECT 1
         = Look
         ! other
         = hold Open
         ! opened
         < N 00000
         ! rejected
         < E 42501 | Z I
         ^ Q SELECT 1
         = allow",
    );
    check(
        "> Q UPDATE shown SET id = 1
         = Look
         ! not seen
         < E 58030 | Z I",
    );
}

#[test]
fn a_look_serves_one_request() {
    check(
        "> Q UPDATE shown SET id = 1 | Q UPDATE shown SET id = 1
         = Look
         ! same
         ^ Q UPDATE shown SET id = 1
         = allow
         v C UPDATE 1 | Z I
         < C UPDATE 1 | Z I
         = Look
         ! other
         = hold Open",
    );
    // The request that it was for is skipped behind an error.
    check(
        "> P - SELECT 1 | B - - | E - | P - UPDATE shown SET id = 1 | B - - | E - | S | Q UPDATE shown SET id = 1
         ^ P - SELECT 1 | B - - | E - | H
         = allow Look
         v 1 | 2 | E 22012
         < 1 | 2 | E 22012
         ! same
         ^ S
         v Z I
         < Z I
         = Look",
    );
}

#[test]
fn an_execute_is_read_anew_while_its_bind_waits_with_it() {
    check(
        "> P - UPDATE shown SET id = 1 | B - - | E - | S
         = Look
         ! same
         ^ P - UPDATE shown SET id = 1 | B - - | E - | S
         = allow
         v 1 | 2 | C UPDATE 1 | Z I
         < 1 | 2 | C UPDATE 1 | Z I",
    );
    check(
        "> P - UPDATE shown SET id = 1 | B - - | E - | S
         = Look
         ! other
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I",
    );
    check(
        "> P - UPDATE shown SET id = 1 | B - - | E - | S
         = Look
         ! not seen
         ^ E nowhere | S
         v E 34000 | Z I
         < E 58030 | Z I",
    );
}

#[test]
fn what_was_bound_before_is_not_understood_after() {
    check(
        "> P - UPDATE shown SET id = 1 | B - - | H
         ^ P - UPDATE shown SET id = 1 | B - - | H
         v 1 | 2
         < 1 | 2
         > E - | S
         = Look
         ! other
         = hold Open
         ! opened
         < N 00000
         ! rejected
         ^ E nowhere | S
         v E 34000 | Z I
         < E 42501 | Z I",
    );
}
