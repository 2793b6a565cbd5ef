//! What a statement lets its sender infer of masked columns, or carries out of their masks' reach.
//!
//! Never looks at values or at what is returned; [`super::MaskPlan`] does. Invariant: a lineage that cannot be told
//! counts as one of every masked column.

use super::MaskSet;
use crate::analysis::StatementAnalysis;
use crate::catalog::Catalog;
use crate::rule::Action;

/// What one statement does with masked columns besides returning them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// What it gets because a masked column decides which rows come back, or in which order: the strictest
    /// `predicates` of the masks concerned.
    pub predicates: Action,
    /// What it gets because a masked value is stored or sent elsewhere, where no mask is known to apply.
    pub stores: Action,
}

impl MaskSet {
    /// What the statement does with columns that are masked for this subject.
    #[must_use]
    pub fn exposure(&self, statement: &StatementAnalysis, catalog: &Catalog) -> Exposure {
        if !self.touches_database() {
            return Exposure::default();
        }
        let stored = self.reaches(&statement.stores, catalog);
        Exposure {
            predicates: self.deciding(&statement.predicates, catalog).unwrap_or_default(),
            stores: if stored { Action::Hold } else { Action::Allow },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{MaskKind, ViewsUnknown};
    use super::*;
    use crate::analysis::{BaseColumn, Lineage};
    use crate::catalog::Oid;
    use crate::rule::Policy;

    fn lineage(columns: &[(Oid, i16)]) -> Lineage {
        Lineage::Columns(
            columns.iter().map(|(relation, attnum)| BaseColumn { relation: *relation, attnum: *attnum }).collect(),
        )
    }

    /// What a statement with these predicates gets under `email = hold` and `ssn = deny`.
    #[track_caller]
    fn check(predicates: Lineage, expected: Action) {
        let rules = [("public.customers.email", Action::Hold), ("public.customers.ssn", Action::Deny)];
        let masks = rules.iter().map(|(column, action)| crate::mask::MaskRule {
            predicates: *action,
            ..mask_rule(column, MaskKind::Redact, &[])
        });
        let policy = Policy { masks: masks.collect(), ..Policy::default() };
        let set = MaskSet::compile(&policy, &catalog(), &subject(), &ViewsUnknown);
        let statement = StatementAnalysis { predicates, ..StatementAnalysis::default() };
        assert_eq!(set.exposure(&statement, &catalog()).predicates, expected);
    }

    #[test]
    fn the_strictest_mask_of_the_columns_that_decide_counts() {
        check(lineage(&[]), Action::Allow);
        check(lineage(&[(CUSTOMERS, 1)]), Action::Allow);
        check(lineage(&[(CUSTOMERS, 2)]), Action::Hold);
        check(lineage(&[(CUSTOMERS, 1), (CUSTOMERS, 2), (CUSTOMERS, 3)]), Action::Deny);
        check(lineage(&[(CUSTOMERS, 0)]), Action::Deny);
        check(lineage(&[(CUSTOMERS, 4)]), Action::Deny);
        check(lineage(&[(ORDERS, 0)]), Action::Allow);
        check(lineage(&[(99_999, 1)]), Action::Deny);
        check(Lineage::Unknown("x"), Action::Deny);
    }

    #[test]
    fn a_masked_value_that_is_stored_is_held() {
        let set = compile(&[("public.customers.email", MaskKind::Email)], &[]);
        let stores = |stores| {
            let statement = StatementAnalysis { stores, ..StatementAnalysis::default() };
            set.exposure(&statement, &catalog()).stores
        };
        assert_eq!(stores(lineage(&[(CUSTOMERS, 2)])), Action::Hold);
        assert_eq!(stores(Lineage::Unknown("x")), Action::Hold);
        assert_eq!(stores(lineage(&[(CUSTOMERS, 1)])), Action::Allow);
    }

    #[test]
    fn nothing_is_exposed_to_who_sees_everything() {
        let set = compile(&[("*.*.*", MaskKind::Redact)], &["privacy"]);
        let statement = StatementAnalysis { predicates: Lineage::Unknown("x"), ..StatementAnalysis::default() };
        assert_eq!(set.exposure(&statement, &catalog()), Exposure::default());
    }
}
