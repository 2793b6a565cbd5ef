//! Rules that ask who the client says it is, and when.

use super::*;
use crate::moment::{LocalTime, Window};

#[track_caller]
fn check_at(policy: &Policy, moment: Moment, application: &str, expected: &str) {
    let subject = Subject { application: application.to_owned(), ..subject() };
    let analysis = text(&["select"]);
    let case = Case { moment, ..case(&subject, "", &analysis, None) };
    assert_eq!(short(&policy.judge(case).verdict), expected, "{moment:?} {application}");
}

#[test]
fn a_rule_for_applications_looks_at_what_the_client_says() {
    let mut denies = rule("no-bots", Action::Deny);
    denies.matcher.applications = Some(globs("bot*"));
    let policy = policy(Action::Allow, vec![denies]);
    check_at(&policy, Moment::default(), "bot-7", "deny no-bots");
    check_at(&policy, Moment::default(), "psql", "allow");
    check_at(&policy, Moment::default(), "", "allow");
}

#[test]
fn what_is_not_known_of_the_moment_fits_what_restricts_and_not_what_allows() {
    let weekend = || Some(vec![Window::parse("Sat-Sun").unwrap()]);
    let saturday = Some(LocalTime { weekday: 5, minute: 0 });
    let monday = Some(LocalTime { weekday: 0, minute: 0 });
    for (in_transaction, local, denied, allowed) in [
        (Some(true), saturday, "deny rule", "allow"),
        (Some(true), monday, "allow", "deny -"),
        (Some(false), saturday, "allow", "deny -"),
        (None, saturday, "deny rule", "deny -"),
        (Some(true), None, "deny rule", "deny -"),
    ] {
        for (action, default, expected) in
            [(Action::Deny, Action::Allow, denied), (Action::Allow, Action::Deny, allowed)]
        {
            let mut one = rule("rule", action);
            one.matcher.in_transaction = Some(true);
            one.matcher.hours = weekend();
            check_at(&policy(default, vec![one]), Moment { in_transaction, local }, "", expected);
        }
    }
}
