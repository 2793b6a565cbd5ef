//! What a statement lets its sender infer of masked columns, or carries out of their masks' reach.
//!
//! Never looks at values or at what is returned; [`super::MaskPlan`] does. Invariant: a lineage that cannot be told
//! counts as one of every masked column.

use super::{MaskSet, Predicates};
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
        let deciding = self.deciding(&statement.predicates, catalog).map(Predicates::of_deciding);
        let looked_up = self.deciding(&statement.lookups, catalog).map(Predicates::of_looked_up);
        Exposure {
            predicates: deciding.max(looked_up).unwrap_or_default(),
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
        let rules = [("public.customers.email", Predicates::Hold), ("public.customers.ssn", Predicates::Deny)];
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
    fn a_lookup_passes_where_equality_is_allowed() {
        let exposed = |predicates, lookups, of| {
            let rule =
                crate::mask::MaskRule { predicates: of, ..mask_rule("public.customers.email", MaskKind::Redact, &[]) };
            let policy = Policy { masks: vec![rule], ..Policy::default() };
            let set = MaskSet::compile(&policy, &catalog(), &subject(), &ViewsUnknown);
            let statement = StatementAnalysis { predicates, lookups, ..StatementAnalysis::default() };
            set.exposure(&statement, &catalog()).predicates
        };
        let (email, clear) = (|| lineage(&[(CUSTOMERS, 2)]), || lineage(&[]));
        assert_eq!(exposed(clear(), email(), Predicates::Allow), Action::Allow);
        assert_eq!(exposed(clear(), email(), Predicates::AllowEquality), Action::Allow);
        assert_eq!(exposed(email(), email(), Predicates::AllowEquality), Action::Hold);
        assert_eq!(exposed(email(), clear(), Predicates::AllowEquality), Action::Hold);
        assert_eq!(exposed(clear(), email(), Predicates::Hold), Action::Hold);
        assert_eq!(exposed(clear(), email(), Predicates::Deny), Action::Deny);
        assert_eq!(exposed(email(), clear(), Predicates::Allow), Action::Allow);
        let unknown = exposed(clear(), Lineage::Unknown("x"), Predicates::AllowEquality);
        assert_eq!(unknown, Action::Allow);
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
