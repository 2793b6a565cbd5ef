//! Grants that let one user see the values of some masks, until they end.
//!
//! Never lifts a mask by itself: whoever compiles masks leaves out what is lifted. Invariant: a mask is lifted only while
//! everybody who would have to approve that now has approved it.

use std::sync::Arc;

use super::{MaskRule, MaskSet};
use crate::analysis::{Outputs, StatementAnalysis};
use crate::catalog::Catalog;
use crate::grant::{Grant, Grants};
use crate::rule::Policy;
use crate::subject::Subject;
use crate::verdict::{ReviewerDemand, covers};

/// Masks that a grant lifts for a subject.
#[derive(Clone, Debug)]
pub struct Unmask {
    /// The grant.
    pub grant: Arc<Grant>,
    /// Names of the masks, sorted.
    pub masks: Vec<String>,
}

impl Policy {
    /// Which masks the grants lift for the subject at that time.
    #[must_use]
    pub fn unmasked(&self, subject: &Subject, grants: &Grants<'_>) -> Vec<Unmask> {
        let lifted = |grant: &Arc<Grant>| {
            let named = grant.reach.masks.as_deref().filter(|_| grant.is_for(subject, grants.now))?;
            let lifts =
                |mask: &&MaskRule| named.contains(&mask.name) && covers(&grant.met, &self.demand(subject, mask));
            let mut masks: Vec<_> = self.masks.iter().filter(lifts).map(|mask| mask.name.clone()).collect();
            masks.sort_unstable();
            (!masks.is_empty()).then(|| Unmask { grant: Arc::clone(grant), masks })
        };
        grants.given.iter().filter_map(lifted).collect()
    }

    /// Who must approve that the subject sees the values of these masks.
    ///
    /// # Errors
    /// A phrase, when one of the names is none of a mask that applies to the subject, or there is none.
    pub fn mask_demands(&self, subject: &Subject, names: &[String]) -> Result<Vec<ReviewerDemand>, String> {
        let mut demands: Vec<ReviewerDemand> = Vec::new();
        for name in names {
            let mask = self.masks.iter().find(|mask| mask.name == *name && mask.applies_to(subject));
            let Some(mask) = mask else {
                return Err(format!("\"{name}\" is no mask that applies to {}", subject.user));
            };
            let asked = self.demand(subject, mask);
            if asked.is_empty() {
                return Err(format!("neither the mask \"{name}\" nor the database name a reviewer group for it"));
            }
            demands.extend(asked);
        }
        if demands.is_empty() {
            return Err("it names no mask".to_owned());
        }
        demands.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        demands.dedup();
        Ok(demands)
    }

    fn demand(&self, subject: &Subject, mask: &MaskRule) -> Vec<ReviewerDemand> {
        let own = self.databases.iter().find(|database| database.name == subject.database);
        let groups = match (mask.reviewers.is_empty(), own) {
            (true, Some(database)) => database.review.groups.as_slice(),
            (true, None) => &[],
            (false, _) => mask.reviewers.as_slice(),
        };
        groups.iter().map(|group| ReviewerDemand { group: group.clone(), approvals: 1 }).collect()
    }
}

impl MaskSet {
    /// Whether the statement returns, compares or stores what may be a value of a masked column.
    #[must_use]
    pub fn concerns(&self, statement: &StatementAnalysis, catalog: &Catalog) -> bool {
        if !self.touches_database() {
            return false;
        }
        let returns = match &statement.outputs {
            Outputs::None => false,
            Outputs::Columns(columns) => columns.iter().any(|lineage| self.reaches(lineage, catalog)),
            Outputs::Opaque(lineage) => self.reaches(lineage, catalog),
        };
        let uses = [&statement.predicates, &statement.lookups, &statement.stores];
        returns || statement.not_understood.is_some() || uses.iter().any(|lineage| self.reaches(lineage, catalog))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{MaskKind, ViewsUnknown};
    use super::*;
    use crate::analysis::{BaseColumn, Lineage};
    use crate::grant::Reach;
    use crate::rule::{Action, DatabasePolicy, Mode, ReviewDefaults, Stage};

    fn policy(reviewers: &[&str]) -> Policy {
        let reviewers = reviewers.iter().map(|group| (*group).to_owned()).collect();
        let mask = |name: &str, column: &str, reviewers| MaskRule {
            name: name.to_owned(),
            reviewers,
            ..mask_rule(column, MaskKind::Redact, &[])
        };
        let review = ReviewDefaults {
            groups: vec!["dba".to_owned()],
            timeout: std::time::Duration::ZERO,
            mode: Mode::Auto,
            grant_max: None,
        };
        let database = DatabasePolicy {
            name: "shop".to_owned(),
            default: Action::Allow,
            unparsed: Action::Hold,
            review,
            stage: Stage::Enforce,
        };
        Policy {
            masks: vec![
                mask("emails", "*.customers.email", Vec::new()),
                mask("numbers", "*.customers.ssn", reviewers),
                MaskRule { name: "exempt".to_owned(), ..mask_rule("*.*.*", MaskKind::Null, &["privacy"]) },
            ],
            databases: vec![database],
            ..Policy::default()
        }
    }

    fn grant(masks: Option<&[&str]>, met: &[&str]) -> Arc<Grant> {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Arc::new(Grant {
            id: "g".to_owned(),
            user: "alice".to_owned(),
            database: "shop".to_owned(),
            reach: Reach { masks: masks.map(names), ..Reach::default() },
            met: names(met).into_iter().map(|group| ReviewerDemand { group, approvals: 1 }).collect(),
            until: 100,
        })
    }

    #[track_caller]
    fn check(grant: Arc<Grant>, now: i64, expected: &[&str]) {
        let grants = Grants { given: &[grant], now, role: "", search_path: &[] };
        let lifted = policy(&["security"]).unmasked(&subject(), &grants);
        assert_eq!(lifted.iter().flat_map(|lift| &lift.masks).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_mask_is_lifted_by_those_who_review_it_for_whom_and_where_and_when_they_said() {
        check(grant(Some(&["numbers", "emails"]), &["dba", "security"]), 99, &["emails", "numbers"]);
        check(grant(Some(&["emails"]), &["dba"]), 100, &[]);
        check(grant(Some(&["numbers", "emails"]), &["dba"]), 99, &["emails"]);
        check(grant(None, &["dba", "security"]), 99, &[]);
        check(Arc::new(Grant { user: "bob".to_owned(), ..(*grant(Some(&["emails"]), &["dba"])).clone() }), 99, &[]);
        check(Arc::new(Grant { database: "x".to_owned(), ..(*grant(Some(&["emails"]), &["dba"])).clone() }), 99, &[]);
    }

    #[test]
    fn who_must_approve_is_said_by_the_mask_or_the_database() {
        let demands = |reviewers: &[&str], names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let demands = policy(reviewers).mask_demands(&subject(), &names)?;
            Ok::<_, String>(demands.into_iter().map(|demand| demand.group).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(demands(&["security"], &["emails", "numbers"]).as_deref(), Ok("dba security"));
        assert_eq!(demands(&[], &["emails", "numbers"]).as_deref(), Ok("dba"));
        assert!(
            demands(&[], &["nothing"]).is_err() && demands(&[], &["exempt"]).is_err() && demands(&[], &[]).is_err()
        );
    }

    #[test]
    fn a_statement_concerns_the_masks_whose_values_it_could_show() {
        let policy = policy(&[]);
        let only = policy.masks.iter().filter(|mask| mask.name == "emails");
        let set = MaskSet::of_rules(only, &catalog(), &ViewsUnknown);
        let from = |attnum| Lineage::Columns(vec![BaseColumn { relation: CUSTOMERS, attnum }]);
        let concerns = |statement: StatementAnalysis| set.concerns(&statement, &catalog());
        let returning = |attnum| StatementAnalysis {
            outputs: Outputs::Columns(vec![from(1), from(attnum)]),
            ..StatementAnalysis::default()
        };
        assert!(concerns(returning(2)) && !concerns(returning(3)));
        assert!(concerns(StatementAnalysis { predicates: from(2), ..StatementAnalysis::default() }));
        assert!(!concerns(StatementAnalysis { predicates: from(1), ..StatementAnalysis::default() }));
        let unknown = Outputs::Opaque(Lineage::Unknown("x"));
        assert!(concerns(StatementAnalysis { outputs: unknown, ..StatementAnalysis::default() }));
    }
}
