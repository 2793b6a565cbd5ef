//! Which holds a grant lifts.

use std::sync::Arc;

use super::*;
use crate::grant::{Grant, Reach, ShapeDigest};

const TEXT: &str = "DELETE FROM a WHERE id = 1";

fn path(schemas: &str) -> Vec<String> {
    strings(schemas)
}

fn grant() -> Grant {
    Grant {
        id: "01G".to_owned(),
        user: "alice".to_owned(),
        database: "shop".to_owned(),
        reach: Reach::default(),
        met: vec![ReviewerDemand { group: "dba".to_owned(), approvals: 1 }],
        until: 100,
    }
}

fn reaching(reach: Reach) -> Grant {
    Grant { reach, ..grant() }
}

fn shape_of(text: &str) -> Grant {
    reaching(Reach { shape: Some(ShapeDigest::of(text, "app", &path("public"))), ..Reach::default() })
}

/// Deletes are held, drops are denied.
fn guarded() -> Policy {
    let deletes = with_effects(rule("deletes", Action::Hold), "delete");
    policy(Action::Allow, vec![deletes, with_effects(rule("drops", Action::Deny), "drop")])
}

struct Asked<'a> {
    policy: Policy,
    text: &'a str,
    spec: &'a str,
    now: i64,
    role: &'a str,
    schemas: &'a str,
}

fn asked() -> Asked<'static> {
    Asked { policy: guarded(), text: TEXT, spec: "delete public.a=delete", now: 99, role: "app", schemas: "public" }
}

#[track_caller]
fn check_with(given: Grant, asked: &Asked<'_>, expected: &str) {
    let search_path = path(asked.schemas);
    let given = [Arc::new(given)];
    let grants = Grants { given: &given, now: asked.now, role: asked.role, search_path: &search_path };
    let analysis = text(&[asked.spec]);
    let verdict = asked.policy.judge(Case { grants, ..case(&subject(), asked.text, &analysis, None) }).verdict;
    assert_eq!(short(&verdict), expected);
    if let Verdict::Allow(permit) = verdict {
        assert_eq!((permit.granted_by(), permit.approved_by_request()), (Some("01G"), None));
    }
}

#[test]
fn a_grant_serves_its_user_on_its_database_until_it_ends() {
    check_with(grant(), &asked(), "allow");
    check_with(grant(), &Asked { now: 100, ..asked() }, "hold dba:1");
    check_with(Grant { user: "bob".to_owned(), ..grant() }, &asked(), "hold dba:1");
    check_with(Grant { database: "other".to_owned(), ..grant() }, &asked(), "hold dba:1");
}

#[test]
fn a_grant_never_turns_a_denial() {
    check_with(grant(), &Asked { spec: "delete drop public.a=delete+drop", ..asked() }, "deny drops");
}

#[test]
fn more_demands_than_were_met_hold_again() {
    let mut policy = guarded();
    policy.rules[0].approvals = 2;
    check_with(grant(), &Asked { policy, ..asked() }, "hold dba:2");
    let mut policy = guarded();
    policy.rules[0].reviewers = strings("dba security");
    check_with(grant(), &Asked { policy, ..asked() }, "hold dba:1 security:1");
}

#[test]
fn a_grant_for_rules_lifts_what_they_hold_and_nothing_else_does() {
    let causes = |names: &str| reaching(Reach { causes: Some(strings(names)), ..Reach::default() });
    check_with(causes("deletes"), &asked(), "allow");
    check_with(causes("others"), &asked(), "hold dba:1");
    let mut policy = guarded();
    policy.rules.push(rule("all", Action::Hold));
    check_with(causes("deletes"), &Asked { policy, ..asked() }, "hold dba:1");
    let by_default = || Asked { policy: policy_that_holds(), ..asked() };
    check_with(causes("deletes"), &by_default(), "hold dba:1");
    check_with(causes("databases.shop.default"), &by_default(), "allow");
}

fn policy_that_holds() -> Policy {
    policy(Action::Hold, Vec::new())
}

#[test]
fn a_grant_for_a_shape_serves_other_literals_and_no_other_names() {
    check_with(shape_of("delete from a where id = 1"), &asked(), "hold dba:1");
    check_with(shape_of("/* ticket 7 */ DELETE FROM a  WHERE id = 4711 -- that one"), &asked(), "allow");
    check_with(shape_of("DELETE FROM a WHERE id > 1"), &asked(), "hold dba:1");
    check_with(shape_of(TEXT), &Asked { role: "owner", ..asked() }, "hold dba:1");
    check_with(shape_of(TEXT), &Asked { schemas: "audit public", ..asked() }, "hold dba:1");
}

#[test]
fn what_is_not_understood_or_about_masked_values_must_have_been_seen() {
    let unknown = || Asked { policy: policy(Action::Allow, Vec::new()), spec: "unknown", ..asked() };
    check_with(grant(), &unknown(), "hold dba:1");
    let named = Reach { causes: Some(strings("databases.shop.unparsed")), ..Reach::default() };
    check_with(reaching(named), &unknown(), "hold dba:1");
    check_with(shape_of(TEXT), &unknown(), "allow");
}

#[test]
fn a_grant_for_relations_lets_them_be_written_and_nothing_else() {
    let relations = || reaching(Reach { relations: Some(names("public.a")), ..Reach::default() });
    for (spec, expected) in [
        ("delete public.a=delete", "allow"),
        ("delete select public.a=delete+select public.b=select", "allow"),
        ("delete public.b=delete", "hold dba:1"),
        ("delete insert public.a=delete public.b=insert", "hold dba:1"),
        ("delete function_call public.a=delete", "hold dba:1"),
        ("delete", "hold dba:1"),
        ("delete unknown public.a=delete", "hold dba:1"),
    ] {
        check_with(relations(), &Asked { spec, ..asked() }, expected);
    }
}
