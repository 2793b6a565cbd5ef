//! Rules that ask whether a masked column decides.

use super::*;
use crate::analysis::{BaseColumn, Lineage};
use crate::catalog::{Column, Relation, RelationKind};
use crate::mask::{MaskKind, MaskRule, Predicates, ViewsUnknown};
use crate::rule::ColumnGlob;

const CUSTOMERS: u32 = 20_000;

/// `public.customers (id, email)`.
fn catalog() -> Catalog {
    let column = |attnum, name: &str| Column { attnum, name: name.to_owned(), type_oid: 25, generated: None };
    let customers = Relation {
        oid: CUSTOMERS,
        schema: "public".to_owned(),
        name: "customers".to_owned(),
        kind: RelationKind::Table,
        row_type: 0,
        columns: vec![column(1, "id"), column(2, "email")],
        definition: None,
        parents: Vec::new(),
        has_rules: false,
        consequences: Vec::new(),
    };
    Catalog::new(1, vec![customers], Vec::new(), Vec::new())
}

/// What a statement with these predicates gets where `email` is masked, and its mask allows predicates.
#[track_caller]
fn check_masked(action: Action, asked: bool, predicates: Lineage, expected: &str) {
    let default = if action == Action::Allow { Action::Deny } else { Action::Allow };
    let mut one = rule("r", action);
    one.matcher.masked_predicate = Some(asked);
    let mut policy = policy(default, vec![one]);
    policy.masks = vec![email(Predicates::Allow)];
    let decided = StatementAnalysis { predicates: predicates.clone(), ..statement("select") };
    let judgement = judge_masked(&policy, decided, None);
    assert_eq!(short(&judgement.verdict), expected, "{action:?} {asked} {predicates:?}");
}

/// A mask of every `email` with these predicates.
fn email(predicates: Predicates) -> MaskRule {
    MaskRule {
        name: "pii".to_owned(),
        columns: vec![ColumnGlob::new("*.*.email").unwrap()],
        mask: MaskKind::Email,
        reviewers: Vec::new(),
        except_groups: globs("privacy"),
        predicates,
        key: [0; 32],
        looks_into_foreign: true,
    }
}

fn judge_masked(policy: &Policy, statement: StatementAnalysis, rows: Option<Rows>) -> Judgement {
    let (catalog, subject) = (catalog(), subject());
    let masks = MaskSet::compile(policy, &catalog, &subject, &ViewsUnknown);
    let analysis = Analysis { statements: vec![statement] };
    policy.judge(Case { masks: &masks, catalog: &catalog, rows, ..case(&subject, "", &analysis, None) })
}

/// Neither the number of rows nor the verdict of a rule with `max_rows` tells about values that may not decide.
#[test]
fn the_planner_is_not_asked_about_masked_values() {
    let many = || {
        let mut many = rule("many", Action::Deny);
        many.matcher.max_rows = Some(100);
        many
    };
    let guessing = || {
        let mut guessing = rule("no-guessing", Action::Hold);
        guessing.matcher.masked_predicate = Some(true);
        guessing
    };
    let secret = || Estimate::Known(Rows::Unavailable("its number would tell about masked values"));
    let check = |predicates, rules: Vec<Rule>, deciding: Lineage, looked_up: Lineage, expected| {
        let mut policy = policy(Action::Allow, rules);
        policy.masks = vec![email(predicates)];
        for rows in [None, Some(Rows::Estimated(1)), Some(Rows::Estimated(1_000))] {
            let (predicates, lookups) = (deciding.clone(), looked_up.clone());
            let judged = judge_masked(&policy, StatementAnalysis { predicates, lookups, ..statement("select") }, rows);
            match expected {
                Estimate::Wanted => assert_eq!(judged.estimate, rows.map_or(Estimate::Wanted, Estimate::Known)),
                Estimate::Known(_) | Estimate::NotNeeded => {
                    assert_eq!((short(&judged.verdict).as_str(), judged.estimate), ("deny many", expected));
                }
            }
        }
    };
    let clear = || Lineage::CLEAR;
    check(Predicates::Hold, vec![many()], column(2), clear(), secret());
    check(Predicates::Hold, vec![many()], clear(), column(2), secret());
    check(Predicates::Hold, vec![many()], Lineage::Unknown("x"), clear(), secret());
    check(Predicates::AllowEquality, vec![many()], column(2), clear(), secret());
    check(Predicates::Allow, vec![many(), guessing()], column(2), clear(), secret());
    check(Predicates::AllowEquality, vec![many(), guessing()], clear(), column(2), secret());
    // What is denied anyway is denied for the reason that tells.
    let mut denying = guessing();
    denying.action = Action::Deny;
    let mut both = policy(Action::Allow, vec![many(), denying]);
    both.masks = vec![email(Predicates::Hold)];
    let judged = judge_masked(&both, StatementAnalysis { predicates: column(2), ..statement("select") }, None);
    assert_eq!((short(&judged.verdict).as_str(), judged.estimate), ("deny no-guessing", Estimate::NotNeeded));
    assert_eq!(judged.matched, ["no-guessing"]);
    check(Predicates::Hold, vec![many()], column(1), clear(), Estimate::Wanted);
    check(Predicates::AllowEquality, vec![many()], clear(), column(2), Estimate::Wanted);
    check(Predicates::Allow, vec![many()], column(2), clear(), Estimate::Wanted);
}

fn column(attnum: i16) -> Lineage {
    Lineage::Columns(vec![BaseColumn { relation: CUSTOMERS, attnum }])
}

#[test]
fn a_masked_column_that_decides_matches_whatever_its_mask_says() {
    check_masked(Action::Deny, true, column(2), "deny r");
    check_masked(Action::Deny, true, column(0), "deny r");
    check_masked(Action::Deny, true, column(1), "allow");
    check_masked(Action::Deny, true, Lineage::CLEAR, "allow");
    check_masked(Action::Deny, false, column(2), "allow");
    check_masked(Action::Deny, false, column(1), "deny r");
}

#[test]
fn what_cannot_be_told_is_restricted_and_not_allowed() {
    for asked in [true, false] {
        check_masked(Action::Deny, asked, Lineage::Unknown("x"), "deny r");
        check_masked(Action::Allow, asked, Lineage::Unknown("x"), "deny -");
    }
    check_masked(Action::Allow, false, column(1), "allow");
    check_masked(Action::Allow, false, column(2), "deny -");
}
