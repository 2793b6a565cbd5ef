//! What an approval turns into an allow, and that more rules never allow more.

use super::*;

#[test]
fn an_approval_serves_only_what_it_is_bound_to_and_covers() {
    let mut held = rule("h", Action::Hold);
    held.reviewers = strings("dba security");
    held.approvals = 2;
    let mut policy = policy(Action::Allow, vec![held]);
    check_approval(&policy, approval(1, &[("security", 2), ("dba", 3)]), "allow");
    check_approval(&policy, approval(2, &[("security", 2), ("dba", 2)]), "hold dba:2 security:2");
    check_approval(&policy, approval(1, &[("dba", 2)]), "hold dba:2 security:2");
    check_approval(&policy, approval(1, &[("dba", 2), ("security", 1)]), "hold dba:2 security:2");
    policy.rules.push(rule("added", Action::Deny));
    check_approval(&policy, approval(1, &[("security", 2), ("dba", 2)]), "deny added");
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Hold), Just(Action::Deny)]
}

fn any_effects() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["select", "delete", "insert", "drop", "unknown"]), 1..3)
        .prop_map(|list| list.join(" "))
}

prop_compose! {
    fn any_rule()(
        number in 0..1000_u32,
        action in any_action(),
        asked in prop::option::of(any_effects()),
        relations in prop::option::of(prop::sample::select(vec!["public.*", "*.a", "other.b"])),
        access in prop::sample::select(vec![RelationAccess::Write, RelationAccess::Read, RelationAccess::Any]),
        pattern in prop::option::of(prop::sample::select(vec!["^a", "b$", "c"])),
        reviewers in prop::sample::select(vec!["", "dba", "dba security"]),
        approvals in 1..4_u32,
        observe in any::<bool>(),
    ) -> Rule {
        let mut made = rule(&format!("r{number}"), action);
        made.matcher.effects = asked.as_deref().map(effects);
        made.matcher.relations = relations.map(names);
        made.matcher.access = access;
        made.matcher.text = pattern.map(|pattern| text_pattern(pattern).unwrap());
        made.reviewers = strings(reviewers);
        made.approvals = approvals;
        made.stage = if observe { Stage::Observe } else { Stage::Enforce };
        made
    }
}

prop_compose! {
    fn any_statement()(
        carried in any_effects(),
        uses in prop::collection::vec((prop::sample::select(vec!["public.a", "other.b", "a"]), any_effects()), 0..3),
    ) -> String {
        uses.iter().fold(carried, |all, (name, used)| format!("{all} {name}={}", used.replace(' ', "+")))
    }
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Allow(_) => 0,
        Verdict::Hold(_) => 1,
        Verdict::Deny(_) => 2,
    }
}

fn distinct(rules: Vec<Rule>) -> Vec<Rule> {
    let numbered = rules.into_iter().enumerate();
    numbered.map(|(index, made)| Rule { name: format!("{}-{index}", made.name), ..made }).collect()
}

proptest! {
    #[test]
    fn adding_a_deny_rule_never_allows_more(
        rules in prop::collection::vec(any_rule(), 0..5),
        extra in any_rule(),
        default in any_action(),
        specs in prop::collection::vec(any_statement(), 0..4),
        sql in "[abc;]{0,6}",
    ) {
        let analysis = text(&specs.iter().map(String::as_str).collect::<Vec<_>>());
        let mut policy = policy(default, distinct(rules));
        let before = judge_text(&policy, &sql, &analysis).verdict;
        policy.rules.push(Rule { name: "extra".to_owned(), action: Action::Deny, ..extra });
        let after = judge_text(&policy, &sql, &analysis).verdict;
        prop_assert!(rank(&after) >= rank(&before), "{before:?} became {after:?}");
    }

    #[test]
    fn the_order_of_rules_never_matters(
        rules in prop::collection::vec(any_rule(), 0..6),
        turn in 0..6_usize,
        default in any_action(),
        specs in prop::collection::vec(any_statement(), 0..4),
    ) {
        let analysis = text(&specs.iter().map(String::as_str).collect::<Vec<_>>());
        let mut policy = policy(default, distinct(rules));
        let before = format!("{:?}", judge_text(&policy, "a", &analysis));
        policy.rules.reverse();
        let count = policy.rules.len();
        policy.rules.rotate_left(turn.checked_rem(count).unwrap_or(0));
        prop_assert_eq!(before, format!("{:?}", judge_text(&policy, "a", &analysis)));
    }

    #[test]
    fn without_an_approval_no_permit_names_a_request(
        rules in prop::collection::vec(any_rule(), 0..5),
        default in any_action(),
        specs in prop::collection::vec(any_statement(), 0..4),
    ) {
        let analysis = text(&specs.iter().map(String::as_str).collect::<Vec<_>>());
        if let Verdict::Allow(permit) = judge_text(&policy(default, distinct(rules)), "a", &analysis).verdict {
            prop_assert_eq!(permit.approved_by_request(), None);
            prop_assert_eq!(permit.serial(), 7);
        }
    }
}
