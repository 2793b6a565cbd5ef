mod approval;
mod grant;
mod masked;
mod moment;
mod rows;

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::analysis::{NotUnderstood, RelationUse};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;
use crate::rule::{DatabasePolicy, Glob, Matcher, NameGlob, RelationAccess, ReviewDefaults, text_pattern};

fn effects(names: &str) -> Effects {
    names.split_whitespace().map(|name| name.parse::<Effect>().unwrap()).collect()
}

fn globs(names: &str) -> Vec<Glob> {
    names.split_whitespace().map(|name| Glob::new(name).unwrap()).collect()
}

fn names(names: &str) -> Vec<NameGlob> {
    names.split_whitespace().map(|name| NameGlob::unqualified(name).unwrap()).collect()
}

fn strings(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

/// A rule in one line: its name and action; the matcher is empty.
fn rule(name: &str, action: Action) -> Rule {
    Rule {
        name: name.to_owned(),
        matcher: Matcher::default(),
        action,
        message: None,
        reviewers: Vec::new(),
        approvals: 1,
        timeout: None,
        mode: None,
        justification: crate::rule::Justification::Optional,
        stage: Stage::Enforce,
    }
}

fn with_effects(mut rule: Rule, list: &str) -> Rule {
    rule.matcher.effects = Some(effects(list));
    rule
}

fn with_relations(mut rule: Rule, list: &str) -> Rule {
    rule.matcher.relations = Some(names(list));
    rule
}

fn with_text(mut rule: Rule, pattern: &str) -> Rule {
    rule.matcher.text = Some(text_pattern(pattern).unwrap());
    rule
}

fn with_access(mut rule: Rule, access: RelationAccess) -> Rule {
    rule.matcher.access = access;
    rule
}

fn observed(mut rule: Rule) -> Rule {
    rule.stage = Stage::Observe;
    rule
}

fn policy(default: Action, rules: Vec<Rule>) -> Policy {
    let review = ReviewDefaults {
        groups: strings("dba"),
        timeout: Duration::from_secs(3600),
        mode: Mode::Auto,
        grant_max: None,
    };
    let database =
        DatabasePolicy { name: "shop".to_owned(), default, unparsed: Action::Hold, review, stage: Stage::Enforce };
    Policy { revision: "r".to_owned(), rules, masks: Vec::new(), databases: vec![database] }
}

/// A statement: its effects, then `schema.relation=effect+effect` for each relation.
fn statement(spec: &str) -> StatementAnalysis {
    let mut made = StatementAnalysis::default();
    for word in spec.split_whitespace() {
        match word.split_once('=') {
            None if word == "no_where" => made.no_where = true,
            None => made.effects.extend(effects(word)),
            Some((name, used)) => {
                let (schema, name) = name.split_once('.').unwrap_or(("", name));
                made.relations.push(RelationUse {
                    oid: None,
                    name: QualifiedName::new(schema, name),
                    effects: effects(&used.replace('+', " ")),
                    is_consulted: false,
                });
            }
        }
    }
    if made.effects.contains(Effect::Unknown) {
        made.not_understood = Some(NotUnderstood::Syntax);
    }
    made
}

fn text(specs: &[&str]) -> Analysis {
    Analysis { statements: specs.iter().map(|spec| statement(spec)).collect() }
}

fn subject() -> Subject {
    Subject {
        user: "alice".to_owned(),
        groups: strings("engineering oncall"),
        database: "shop".to_owned(),
        application: String::new(),
    }
}

/// A case on a database without masks.
fn case<'a>(
    subject: &'a Subject,
    text: &'a str,
    analysis: &'a Analysis,
    approval: Option<(Approval, Binding)>,
) -> Case<'a> {
    static NOTHING: LazyLock<(MaskSet, Catalog)> = LazyLock::new(Default::default);
    Case {
        serial: 7,
        subject,
        text,
        analysis,
        masks: &NOTHING.0,
        catalog: &NOTHING.1,
        moment: Moment::default(),
        rows: None,
        approval,
        grants: Grants::default(),
    }
}

fn judge_text(policy: &Policy, sql: &str, analysis: &Analysis) -> Judgement {
    policy.judge(case(&subject(), sql, analysis, None))
}

fn judge(policy: &Policy, specs: &[&str]) -> Judgement {
    judge_text(policy, "", &text(specs))
}

/// `allow`, `hold dba:1 security:2`, or `deny rule`.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::Hold(terms) => terms
            .reviewers
            .iter()
            .fold("hold".to_owned(), |all, demand| format!("{all} {}:{}", demand.group, demand.approvals)),
        Verdict::Deny(denial) => format!("deny {}", denial.rule.as_deref().unwrap_or("-")),
    }
}

#[track_caller]
fn check(policy: &Policy, specs: &[&str], expected: &str) {
    assert_eq!(short(&judge(policy, specs).verdict), expected, "{specs:?}");
}

#[test]
fn without_a_matching_rule_the_default_speaks() {
    check(&policy(Action::Allow, vec![]), &["select"], "allow");
    check(&policy(Action::Hold, vec![]), &["select"], "hold dba:1");
    check(&policy(Action::Deny, vec![]), &["select"], "deny -");
}

#[test]
fn a_text_without_statements_is_allowed() {
    check(&policy(Action::Deny, vec![rule("all", Action::Deny)]), &[], "allow");
}

#[test]
fn the_strictest_action_wins() {
    let rules = || vec![rule("c", Action::Allow), rule("b", Action::Hold)];
    check(&policy(Action::Allow, rules()), &["select"], "hold dba:1");
    let mut more = rules();
    more.push(rule("a", Action::Deny));
    check(&policy(Action::Allow, more), &["select"], "deny a");
}

#[test]
fn an_unknown_database_is_denied() {
    let other = Subject { database: "elsewhere".to_owned(), ..subject() };
    let analysis = text(&["select"]);
    let case = case(&other, "", &analysis, None);
    assert!(matches!(policy(Action::Allow, vec![]).judge(case).verdict, Verdict::Deny(_)));
}

#[test]
fn holds_add_up() {
    let mut first = rule("first", Action::Hold);
    first.reviewers = strings("dba security");
    first.timeout = Some(Duration::from_secs(60));
    let mut second = rule("second", Action::Hold);
    second.reviewers = strings("dba");
    second.approvals = 2;
    second.mode = Some(Mode::Wait);
    second.message = Some("why".to_owned());
    let policy = policy(Action::Allow, vec![second, first]);
    let Verdict::Hold(terms) = judge(&policy, &["select"]).verdict else { panic!("not held") };
    assert_eq!(terms.rules, ["first", "second"]);
    assert_eq!(terms.timeout, Duration::from_secs(60));
    assert_eq!(terms.mode, Mode::Wait);
    assert_eq!(terms.messages, ["why"]);
    check(&policy, &["select"], "hold dba:2 security:1");
}

#[test]
fn every_statement_of_a_text_is_matched_on_its_own() {
    let mut writes = with_effects(rule("writes", Action::Hold), "delete");
    writes.reviewers = strings("security");
    let mut ddl = with_effects(rule("ddl", Action::Hold), "alter");
    ddl.reviewers = strings("dba");
    let both = policy(Action::Allow, vec![writes, ddl]);
    check(&both, &["select", "delete"], "hold security:1");
    check(&both, &["alter", "delete"], "hold dba:1 security:1");

    let only_reads = policy(Action::Deny, vec![with_effects(rule("reads", Action::Allow), "select")]);
    check(&only_reads, &["select", "select"], "allow");
    check(&only_reads, &["select", "delete"], "deny -");
    check(&only_reads, &["delete", "select"], "deny -");
}

#[test]
fn what_is_not_understood_is_never_allowed() {
    let allows = policy(Action::Allow, vec![rule("all", Action::Allow)]);
    check(&allows, &["select unknown"], "hold dba:1");
    check(&allows, &["select", "select unknown"], "hold dba:1");
    let denies = policy(Action::Allow, vec![with_effects(rule("no-unknown", Action::Deny), "unknown")]);
    check(&denies, &["select unknown"], "deny no-unknown");
    let mut strict = policy(Action::Allow, vec![rule("all", Action::Allow)]);
    strict.databases[0].unparsed = Action::Deny;
    check(&strict, &["unknown"], "deny -");
    strict.databases[0].unparsed = Action::Allow;
    check(&strict, &["unknown"], "hold dba:1");
}

#[test]
fn rules_still_see_what_is_known_of_a_statement_that_is_not_understood() {
    let rules = vec![with_relations(with_effects(rule("deletes", Action::Deny), "delete"), "public.*")];
    check(&policy(Action::Allow, rules), &["unknown delete t=delete"], "deny deletes");
}

#[test]
fn effects_and_relations_must_meet_in_one_use() {
    let rules = || vec![with_relations(with_effects(rule("r", Action::Deny), "delete"), "public.*")];
    let policy = policy(Action::Allow, rules());
    check(&policy, &["delete select public.a=delete+select"], "deny r");
    check(&policy, &["insert select public.a=insert public.b=select"], "allow");
    check(&policy, &["delete select other.x=delete public.y=select"], "allow");
    check(&policy, &["delete select other.x=delete public.y=insert"], "allow");
}

#[test]
fn effects_without_a_relation_do_not_meet_relations() {
    let rules = vec![with_relations(with_effects(rule("r", Action::Deny), "do call delete"), "public.*")];
    check(&policy(Action::Allow, rules), &["do"], "allow");
}

#[test]
fn access_says_which_uses_count() {
    let with = |access| {
        policy(Action::Allow, vec![with_access(with_relations(rule("r", Action::Deny), "public.pii"), access)])
    };
    check(&with(RelationAccess::Write), &["insert select public.log=insert public.pii=select"], "allow");
    check(&with(RelationAccess::Read), &["insert select public.log=insert public.pii=select"], "deny r");
    check(&with(RelationAccess::Read), &["delete public.pii=delete"], "allow");
    check(&with(RelationAccess::Any), &["delete public.pii=delete"], "deny r");
}

#[test]
fn an_allow_rule_must_cover_the_whole_statement() {
    let reads = policy(Action::Deny, vec![with_effects(rule("reads", Action::Allow), "select")]);
    check(&reads, &["select delete"], "deny -");
    let log = policy(
        Action::Deny,
        vec![with_relations(with_effects(rule("log", Action::Allow), "insert select"), "public.log")],
    );
    check(&log, &["insert public.log=insert"], "allow");
    check(&log, &["insert public.log=insert public.orders=insert"], "deny -");
    check(&log, &["select public.secrets=select"], "deny -");
    let mut calls = rule("calls", Action::Allow);
    calls.matcher.functions = Some(names("now"));
    let calls = policy(Action::Deny, vec![calls]);
    let mut called = statement("select");
    called.functions = vec![QualifiedName::new("pg_catalog", "now")];
    assert_eq!(short(&judge_text(&calls, "", &Analysis { statements: vec![called.clone()] }).verdict), "allow");
    called.functions.push(QualifiedName::new("pg_catalog", "pg_sleep"));
    assert_eq!(short(&judge_text(&calls, "", &Analysis { statements: vec![called] }).verdict), "deny -");
}

#[test]
fn subjects_are_matched_by_name_group_and_exemption() {
    let with = |change: fn(&mut Matcher)| {
        let mut made = rule("r", Action::Deny);
        change(&mut made.matcher);
        policy(Action::Allow, vec![made])
    };
    let hits: [fn(&mut Matcher); 4] = [
        |m| m.databases = Some(globs("sh*")),
        |m| m.users = Some(globs("bob alice")),
        |m| m.groups = Some(globs("dba oncall")),
        |m| m.except_groups = globs("dba"),
    ];
    hits.into_iter().for_each(|hit| check(&with(hit), &["select"], "deny r"));
    let misses: [fn(&mut Matcher); 4] = [
        |m| m.databases = Some(globs("prod-*")),
        |m| m.users = Some(globs("bob")),
        |m| m.groups = Some(globs("dba")),
        |m| m.except_groups = globs("on*"),
    ];
    misses.into_iter().for_each(|miss| check(&with(miss), &["select"], "allow"));
}

#[test]
fn no_where_matches_both_ways() {
    let mut all_rows = rule("all-rows", Action::Deny);
    all_rows.matcher.no_where = Some(true);
    let policy = policy(Action::Allow, vec![all_rows]);
    check(&policy, &["delete no_where"], "deny all-rows");
    check(&policy, &["delete"], "allow");
}

#[track_caller]
fn check_text(action: Action, pattern: &str, sql: &str, specs: &[&str], expected: &str) {
    let default = if action == Action::Allow { Action::Deny } else { Action::Allow };
    let policy = policy(default, vec![with_text(rule("t", action), pattern)]);
    assert_eq!(short(&judge_text(&policy, sql, &text(specs)).verdict), expected, "{pattern} on {sql}");
}

#[test]
fn text_is_matched_without_comments_per_statement() {
    check_text(Action::Deny, r"^drop\s+table", "DROP/* x */TABLE t", &["drop"], "deny t");
    check_text(Action::Deny, r"^drop\s+table", "select 1; /**/ drop table t", &["select", "drop"], "deny t");
    check_text(Action::Deny, r"drop", "select 1 -- drop", &["select"], "allow");
    // Texts of one shape share an analysis, which a rule about the text does not rest on.
    check_text(Action::Deny, r"id = 5\b", "delete from t where id = 4", &["delete"], "allow");
    check_text(Action::Deny, r"id = 5\b", "delete from t where id = 5", &["delete"], "deny t");
    check_text(Action::Deny, r"drop", "select 'drop'", &["select"], "deny t");
    check_text(Action::Deny, r"^select 2$", "select 1; begin; 2; select 2", &["unknown"], "deny t");
    check_text(Action::Allow, r"^select 1$", "select 1;", &["select"], "allow");
    check_text(Action::Allow, r"^select", "select 1; delete from t", &["select", "delete"], "deny -");
    check_text(Action::Allow, r"^select", "select 1; select 2", &["select"], "deny -");
}

#[test]
fn a_hold_nobody_can_approve_is_denied() {
    let mut policy = policy(Action::Allow, vec![rule("h", Action::Hold)]);
    policy.databases[0].review.groups.clear();
    check(&policy, &["select"], "deny h");
    let mut named = rule("named", Action::Hold);
    named.reviewers = strings("dba");
    policy.rules.push(named);
    check(&policy, &["select"], "hold dba:1");
}

#[test]
fn observed_rules_only_record() {
    let policy_one =
        policy(Action::Hold, vec![observed(rule("would", Action::Deny)), observed(rule("may", Action::Allow))]);
    let judgement = judge(&policy_one, &["select"]);
    assert_eq!(short(&judgement.verdict), "hold dba:1");
    assert_eq!(judgement.observed, ["would"]);
    assert!(judgement.matched.is_empty());
}

#[test]
fn an_observed_database_allows_and_records() {
    let mut policy = policy(Action::Deny, vec![with_effects(rule("d", Action::Deny), "delete")]);
    policy.databases[0].stage = Stage::Observe;
    let judgement = judge(&policy, &["delete", "select unknown"]);
    assert_eq!(short(&judgement.verdict), "allow");
    assert_eq!(judgement.observed, ["d", "databases.shop.default", "databases.shop.unparsed"]);
    assert_eq!(judgement.matched, ["d"]);
}

fn approval(binding: u8, groups: &[(&str, u32)]) -> Approval {
    let met =
        groups.iter().map(|(group, approvals)| ReviewerDemand { group: (*group).to_owned(), approvals: *approvals });
    Approval { request: "01R".to_owned(), binding: Binding([binding; 32]), met: met.collect() }
}

#[track_caller]
fn check_approval(policy: &Policy, given: Approval, expected: &str) {
    let analysis = text(&["delete"]);
    let verdict = policy.judge(case(&subject(), "", &analysis, Some((given, Binding([1; 32]))))).verdict;
    assert_eq!(short(&verdict), expected);
    if let Verdict::Allow(permit) = verdict {
        assert_eq!((permit.serial(), permit.approved_by_request()), (7, Some("01R")));
    }
}
