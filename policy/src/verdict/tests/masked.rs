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
    policy.masks = vec![MaskRule {
        name: "pii".to_owned(),
        columns: vec![ColumnGlob::new("*.*.email").unwrap()],
        mask: MaskKind::Email,
        reviewers: Vec::new(),
        except_groups: globs("privacy"),
        predicates: Predicates::Allow,
        key: [0; 32],
        looks_into_foreign: true,
    }];
    let (catalog, subject) = (catalog(), subject());
    let masks = MaskSet::compile(&policy, &catalog, &subject, &ViewsUnknown);
    let mut decided = statement("select");
    decided.predicates = predicates.clone();
    let analysis = Analysis { statements: vec![decided] };
    let case = Case { masks: &masks, catalog: &catalog, ..case(&subject, "", &analysis, None) };
    assert_eq!(short(&policy.judge(case).verdict), expected, "{action:?} {asked} {predicates:?}");
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
