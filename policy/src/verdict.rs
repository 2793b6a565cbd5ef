//! Case → [`Verdict`]: the one door.
//!
//! Never forwards anything: an `Allow` carries a [`Permit`], and the relay takes it by value.
//! Invariant: [`Permit`] has no constructor outside this module, and only [`Policy::judge`] calls it.
//!
//! Every statement of a text is matched on its own against every rule; the strictest outcome of all of them holds for
//! the whole, and everything that holds adds up in one [`HoldTerms`]. The order of rules has no influence on any part
//! of the outcome: names are sorted, and among several denials the first by name speaks.

mod rows;
mod terms;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::analysis::{Analysis, StatementAnalysis};
use crate::catalog::Catalog;
use crate::grant::{Approval, Binding, Grants};
use crate::mask::MaskSet;
use crate::moment::Moment;
use crate::rule::{Action, Justification, Mode, PlainText, Policy, Rule, Scope, Stage};
use crate::subject::Subject;

pub use self::rows::{Estimate, Rows, obstacle as planning_obstacle};
use self::terms::Tally;
pub(crate) use self::terms::{covers, must_be_seen};

/// What is put before [`crate::rule::Policy::judge`].
#[derive(Debug)]
pub struct Case<'a> {
    /// Number of the request within its session; the permit is good for this one only.
    pub serial: u64,
    /// Who asks.
    pub subject: &'a Subject,
    /// The whole text of the request.
    pub text: &'a str,
    /// Its analysis.
    pub analysis: &'a Analysis,
    /// Masks for this subject under that catalog.
    pub masks: &'a MaskSet,
    /// The catalog it was analysed with.
    pub catalog: &'a Catalog,
    /// When it is judged.
    pub moment: Moment,
    /// The planner's estimate, where it was asked for.
    pub rows: Option<Rows>,
    /// An approval and the binding of this very request, when it is judged again after a decision.
    pub approval: Option<(Approval, Binding)>,
    /// Grants that may lift a hold.
    pub grants: Grants<'a>,
}

/// The outcome of judging a case.
#[derive(Debug)]
pub enum Verdict {
    /// May be forwarded with this permit.
    Allow(Permit),
    /// Waits for a decision on these terms.
    Hold(HoldTerms),
    /// Refused.
    Deny(Denial),
}

/// Proof that a request was allowed. Not `Clone`: forwarding consumes it.
#[derive(Debug)]
pub struct Permit {
    serial: u64,
    basis: Basis,
}

/// What lets a request be forwarded.
#[derive(Debug)]
enum Basis {
    /// Nothing holds it.
    Rules,
    /// The approval of the access request of this id.
    Request(String),
    /// The grant of this id.
    Grant(String),
}

impl Permit {
    /// Number of the request it is good for.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Id of the access request whose approval it rests on, if any.
    #[must_use]
    pub fn approved_by_request(&self) -> Option<&str> {
        match &self.basis {
            Basis::Request(id) => Some(id),
            Basis::Rules | Basis::Grant(_) => None,
        }
    }

    /// Id of the grant it rests on, if any.
    #[must_use]
    pub fn granted_by(&self) -> Option<&str> {
        match &self.basis {
            Basis::Grant(id) => Some(id),
            Basis::Rules | Basis::Request(_) => None,
        }
    }
}

/// A verdict, and which rules led to it.
#[derive(Debug)]
pub struct Judgement {
    /// What is to be done.
    pub verdict: Verdict,
    /// Names of all enforced rules that match some statement of the text, sorted.
    pub matched: Vec<String>,
    /// What would have held or denied, had it been enforced: names of observed rules, and on an observed database also
    /// those of enforced rules, `databases.NAME.default` or `databases.NAME.unparsed`, `masks.predicates` and
    /// `masks.stores`; sorted.
    pub observed: Vec<String>,
    /// Whether a rule asks for the planner's estimate. While it is [`Estimate::Wanted`] the verdict is that without the rules
    /// that ask for it.
    pub estimate: Estimate,
}

/// On which terms a request is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldTerms {
    /// Names of the rules that hold it; empty when the database's `default` or `unparsed` does, or a mask.
    pub rules: Vec<String>,
    /// Everything that holds it, sorted: those rules, and of `databases.NAME.default`, `databases.NAME.unparsed`,
    /// `masks.predicates` and `masks.stores` what does.
    pub causes: Vec<String>,
    /// Every demand must be met, by distinct people.
    pub reviewers: Vec<ReviewerDemand>,
    /// How long it waits: the shortest of the rules that hold it.
    pub timeout: Duration,
    /// How the requester waits.
    pub mode: Mode,
    /// Whether the requester has to give a reason.
    pub justification: Justification,
    /// Messages of the rules that hold it.
    pub messages: Vec<String>,
}

/// So many people of one group.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReviewerDemand {
    /// The group.
    pub group: String,
    /// People of it, from 1.
    pub approvals: u32,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Name of the rule that denies it; `None` when the database's `default` or `unparsed` does, or a mask.
    pub rule: Option<String>,
    /// DETAIL for the client.
    pub message: Option<String>,
}

impl Policy {
    /// Judges a case. The same policy and case always yield the same judgement.
    ///
    /// An approval turns a hold into an allow when it is bound to this very request and meets every demand that is made
    /// now, and a grant when it reaches that far; neither ever turns a denial.
    #[must_use]
    pub fn judge(&self, case: Case<'_>) -> Judgement {
        let Some(database) = self.databases.iter().find(|database| database.name == case.subject.database) else {
            let denial = Denial { rule: None, message: Some("The policy does not know this database.".to_owned()) };
            return Judgement {
                verdict: Verdict::Deny(denial),
                matched: Vec::new(),
                observed: Vec::new(),
                estimate: Estimate::NotNeeded,
            };
        };
        let statements = &case.analysis.statements;
        let mut tally = Tally::new(database);
        let mut covered = Vec::new();
        let mut plain = None;
        let carried = case.analysis.effects();
        // The cheap test first: most rules speak of other effects.
        let speaks = |rule: &&Rule| {
            rule.matcher.may_fit(carried)
                && rule.matcher.fits_subject(case.subject)
                && rule.matcher.fits_moment(case.moment, Scope::of(rule.action))
        };
        for rule in self.rules.iter().filter(speaks) {
            let mut matched = false;
            for (index, statement) in statements.iter().enumerate() {
                let tells = || self.rows_tell(statement, &case);
                if rule.fits(statement, index, &case, &mut plain) && tally.exceeds(rule, statement, &case, tells) {
                    matched = true;
                    mark(&mut covered, index, statements.len(), rule.stage);
                }
            }
            if matched {
                tally.add_rule(rule);
            }
        }
        let by_default = |index: usize| !covered.get(index).copied().unwrap_or(false);
        if database.default != Action::Allow && (0..statements.len()).any(by_default) {
            tally.add_default();
        }
        for statement in statements {
            tally.add_exposure(case.masks.exposure(statement, case.catalog));
        }
        if let Some(reason) = case.analysis.not_understood() {
            tally.add_unparsed(reason);
        }
        tally.conclude(case)
    }
}

impl Policy {
    /// Whether the number of its rows would tell about values that are masked for the requester, and that may not decide: not
    /// by their masks, or not by a rule with `masked_predicate`.
    fn rows_tell(&self, statement: &StatementAnalysis, case: &Case<'_>) -> bool {
        let forbids = |rule: &Rule| {
            rule.matcher.masked_predicate == Some(true)
                && rule.action != Action::Allow
                && rule.stage == Stage::Enforce
                && rule.matcher.fits_subject(case.subject)
        };
        case.masks.exposure(statement, case.catalog).predicates != Action::Allow
            || (self.rules.iter().any(forbids) && case.masks.decided_by_masked(statement, case.catalog))
    }

    /// Who would have to approve a grant on the subject's database: the reviewers of these rules, and those of the database
    /// for `databases.NAME.default`; for `None`, of everything that could hold there.
    ///
    /// # Errors
    /// A phrase, when one of the names is none of a rule that holds. What is not understood, and what is about masked
    /// values, cannot be granted without having been seen.
    pub fn demands(&self, subject: &Subject, causes: Option<&[String]>) -> Result<Vec<ReviewerDemand>, String> {
        let Some(database) = self.databases.iter().find(|database| database.name == subject.database) else {
            return Err("the policy does not know this database".to_owned());
        };
        terms::demands(database, &self.rules, subject, causes)
    }
}

impl Rule {
    fn fits<'a>(
        &self,
        statement: &StatementAnalysis,
        index: usize,
        case: &Case<'a>,
        plain: &mut Option<PlainText<'a>>,
    ) -> bool {
        let scope = Scope::of(self.action);
        self.matcher.fits_statement(statement, scope)
            && self.matcher.fits_columns(statement, case.catalog, scope)
            && self.matcher.fits_masks(statement, case.masks, case.catalog, scope)
            && (self.matcher.text.is_none() || {
                let text = plain.get_or_insert_with(|| PlainText::of(case.text));
                self.matcher.fits_text(text, index, case.analysis.statements.len(), scope)
            })
    }
}

/// Notes that an enforced rule speaks of the statement, so that the database's default does not.
fn mark(covered: &mut Vec<bool>, index: usize, count: usize, stage: Stage) {
    if stage == Stage::Enforce {
        covered.resize(count, false);
        if let Some(slot) = covered.get_mut(index) {
            *slot = true;
        }
    }
}

/// Gives the permit; the only caller of its constructor is [`Tally::conclude`].
fn permit(serial: u64, basis: Basis) -> Verdict {
    Verdict::Allow(Permit { serial, basis })
}
