//! Adding up what matched: denials, holds and their terms, and what is only observed.
//!
//! Never matches anything itself. Invariant: the outcome does not depend on the order in which things are added, and
//! adding a denial or a hold never makes it more lenient.

use std::sync::Arc;

use crate::analysis::{NotUnderstood, StatementAnalysis};
use crate::grant::Grant;
use crate::mask::Exposure;
use crate::rule::{Action, DatabasePolicy, Mode, ReviewDefaults, Rule, Stage};
use crate::subject::Subject;

use super::{Basis, Case, Denial, Estimate, HoldTerms, Judgement, ReviewerDemand, Rows, Verdict, permit, rows};

/// What was found so far for one case.
pub(super) struct Tally<'a> {
    database: &'a DatabasePolicy,
    matched: Vec<&'a str>,
    observed: Vec<String>,
    denying: Vec<&'a Rule>,
    holding: Vec<&'a Rule>,
    /// What the database itself asks for.
    default: Option<Action>,
    unparsed: Option<(Action, String)>,
    /// What masks ask for, of all statements together.
    exposure: Exposure,
    estimate: Estimate,
    /// Rules that match because nobody may know how many rows there are. They count where nothing else denies.
    in_doubt: Vec<&'a Rule>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(database: &'a DatabasePolicy) -> Self {
        Self {
            database,
            matched: Vec::new(),
            observed: Vec::new(),
            denying: Vec::new(),
            holding: Vec::new(),
            default: None,
            unparsed: None,
            exposure: Exposure::default(),
            estimate: Estimate::NotNeeded,
            in_doubt: Vec::new(),
        }
    }

    /// Whether the statement has more rows than the rule's `max_rows`, if it has one. One that is not known yet is wanted,
    /// unless the number tells what nobody may know: then whether the rule matches must not depend on it either.
    pub(super) fn exceeds(
        &mut self,
        rule: &Rule,
        statement: &StatementAnalysis,
        case: &Case<'_>,
        tells: impl Fn() -> bool,
    ) -> bool {
        let Some(limit) = rule.matcher.max_rows else { return true };
        if !rows::concerns_rows(statement) {
            return false;
        }
        let obstacle = rows::obstacle(case.analysis, case.catalog).or_else(|| tells().then_some(TELLS));
        match obstacle.map(Rows::Unavailable).or(case.rows) {
            Some(rows) => {
                self.estimate = Estimate::Known(rows);
                match rows {
                    Rows::Estimated(count) => count > limit,
                    Rows::Unavailable(_) => true,
                }
            }
            None => {
                self.estimate = Estimate::Wanted;
                false
            }
        }
    }

    /// Adds a rule that matches.
    pub(super) fn add_rule(&mut self, rule: &'a Rule) {
        if rule.matcher.max_rows.is_some() && self.estimate == Estimate::Known(Rows::Unavailable(TELLS)) {
            return self.in_doubt.push(rule);
        }
        self.add(rule);
    }

    fn add(&mut self, rule: &'a Rule) {
        match (rule.stage, rule.action) {
            (Stage::Observe, Action::Allow) => return,
            (Stage::Observe, Action::Hold | Action::Deny) => return self.observed.push(rule.name.clone()),
            (Stage::Enforce, Action::Allow) => {}
            (Stage::Enforce, Action::Hold) => self.holding.push(rule),
            (Stage::Enforce, Action::Deny) => self.denying.push(rule),
        }
        self.matched.push(&rule.name);
    }

    /// Notes that some statement matches no enforced rule.
    pub(super) fn add_default(&mut self) {
        self.default = Some(self.database.default);
    }

    /// Notes that some statement is not understood. `Allow` is not to be had for that.
    pub(super) fn add_unparsed(&mut self, reason: &NotUnderstood) {
        self.unparsed = Some((self.database.unparsed.max(Action::Hold), reason.to_string()));
    }

    /// Adds what a statement does with masked columns besides returning them.
    pub(super) fn add_exposure(&mut self, exposure: Exposure) {
        self.exposure.predicates = self.exposure.predicates.max(exposure.predicates);
        self.exposure.stores = self.exposure.stores.max(exposure.stores);
    }

    /// What masks hold or deny: a name for it, the action, and what to tell people.
    fn exposed(&self) -> impl Iterator<Item = (&'static str, Action, &'static str)> {
        [(PREDICATES, self.exposure.predicates, DECIDES), (STORES, self.exposure.stores, STORED)]
            .into_iter()
            .filter(|(_, action, _)| *action != Action::Allow)
    }

    /// The judgement of everything added.
    pub(super) fn conclude(mut self, case: Case<'_>) -> Judgement {
        if !self.in_doubt.is_empty() {
            let denied = self.database.stage == Stage::Enforce && self.denial().is_some();
            match std::mem::take(&mut self.in_doubt) {
                // Nothing that they could add would be stricter.
                _ if denied => self.estimate = Estimate::NotNeeded,
                rules => rules.into_iter().for_each(|rule| self.add(rule)),
            }
        }
        self.matched.sort_unstable();
        self.denying.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.holding.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // Nothing that it could add would be stricter.
        let settled =
            self.database.stage == Stage::Enforce && self.estimate == Estimate::Wanted && self.denial().is_some();
        let estimate = if settled { Estimate::NotNeeded } else { self.estimate };
        let verdict = match self.database.stage {
            Stage::Enforce => self.enforced(case),
            Stage::Observe => {
                self.observe_all();
                permit(case.serial, Basis::Rules)
            }
        };
        self.observed.sort_unstable();
        self.observed.dedup();
        Judgement {
            verdict,
            matched: self.matched.iter().map(|name| (*name).to_owned()).collect(),
            observed: self.observed,
            estimate,
        }
    }

    fn observe_all(&mut self) {
        self.observed.extend(self.denying.iter().chain(&self.holding).map(|rule| rule.name.clone()));
        let own = self.own_causes();
        self.observed.extend(own);
    }

    /// What holds or denies besides rules.
    fn own_causes(&self) -> Vec<String> {
        let name = &self.database.name;
        let default = self.default.map(|_| format!("databases.{name}.default"));
        let unparsed = self.unparsed.as_ref().map(|_| format!("databases.{name}{UNPARSED}"));
        self.exposed().map(|(name, _, _)| name.to_owned()).chain(default).chain(unparsed).collect()
    }

    fn enforced(&self, case: Case<'_>) -> Verdict {
        if let Some(denial) = self.denial() {
            return Verdict::Deny(denial);
        }
        let database_holds =
            self.default == Some(Action::Hold) || self.unparsed.is_some() || self.exposed().next().is_some();
        if self.holding.is_empty() && !database_holds {
            return permit(case.serial, Basis::Rules);
        }
        let terms = self.terms(database_holds);
        if terms.reviewers.is_empty() {
            return Verdict::Deny(Denial { rule: terms.rules.into_iter().next(), message: Some(NOBODY.to_owned()) });
        }
        if let Some((approval, binding)) = &case.approval
            && approval.binding == *binding
            && covers(&approval.met, &terms.reviewers)
        {
            return permit(case.serial, Basis::Request(approval.request.clone()));
        }
        let lifts = |grant: &&Arc<Grant>| grant.lifts(&case, &terms);
        match case.grants.given.iter().find(lifts) {
            Some(grant) => permit(case.serial, Basis::Grant(grant.id.clone())),
            None => Verdict::Hold(terms),
        }
    }

    fn denial(&self) -> Option<Denial> {
        if let Some(rule) = self.denying.first() {
            let message = rule.message.clone().or_else(|| rule.matcher.max_rows.and_then(|_| self.about_rows()));
            return Some(Denial { rule: Some(rule.name.clone()), message });
        }
        if let Some((Action::Deny, reason)) = &self.unparsed {
            return Some(Denial { rule: None, message: Some(not_understood(reason)) });
        }
        if let Some((_, _, message)) = self.exposed().find(|(_, action, _)| *action == Action::Deny) {
            return Some(Denial { rule: None, message: Some(message.to_owned()) });
        }
        let message = || Some("No rule allows this statement.".to_owned());
        (self.default == Some(Action::Deny)).then(|| Denial { rule: None, message: message() })
    }

    fn terms(&self, database_holds: bool) -> HoldTerms {
        let review = &self.database.review;
        let mut reviewers = Vec::new();
        if database_holds {
            demand(&mut reviewers, &review.groups, 1);
        }
        self.holding.iter().for_each(|rule| rule.demand(review, &mut reviewers));
        reviewers.sort_unstable_by(|a: &ReviewerDemand, b| a.group.cmp(&b.group));
        let own = || database_holds.then_some(review);
        let timeouts = self.holding.iter().map(|rule| rule.timeout.unwrap_or(review.timeout));
        let modes = self.holding.iter().map(|rule| rule.mode.unwrap_or(review.mode));
        let exposed = self.exposed().map(|(_, _, message)| message.to_owned());
        let asked = self.holding.iter().any(|rule| rule.matcher.max_rows.is_some());
        let rows = if asked { self.about_rows() } else { None };
        let reason = self.unparsed.as_ref().map(|(_, reason)| not_understood(reason));
        let rules: Vec<_> = self.holding.iter().map(|rule| rule.name.clone()).collect();
        let mut causes = [rules.clone(), self.own_causes()].concat();
        causes.sort_unstable();
        HoldTerms {
            rules,
            causes,
            reviewers,
            timeout: timeouts.chain(own().map(|own| own.timeout)).min().unwrap_or(review.timeout),
            mode: modes.chain(own().map(|own| own.mode)).reduce(Mode::or_stricter).unwrap_or(review.mode),
            justification: self.holding.iter().map(|rule| rule.justification).max().unwrap_or_default(),
            messages: self
                .holding
                .iter()
                .filter_map(|rule| rule.message.clone())
                .chain(rows)
                .chain(reason)
                .chain(exposed)
                .collect(),
        }
    }
}

impl Tally<'_> {
    fn about_rows(&self) -> Option<String> {
        match self.estimate {
            Estimate::NotNeeded | Estimate::Wanted => None,
            Estimate::Known(Rows::Estimated(rows)) => Some(format!("About {rows} rows, by the planner's estimate.")),
            Estimate::Known(Rows::Unavailable(why)) => Some(format!("How many rows is not known: {why}.")),
        }
    }
}

const PREDICATES: &str = "masks.predicates";
const STORES: &str = "masks.stores";
const UNPARSED: &str = ".unparsed";
const DECIDES: &str = "A masked column decides which rows come back, or in which order.";
const STORED: &str = "A masked value would be stored or sent elsewhere.";
const TELLS: &str = "its number would tell about masked values";
const NOBODY: &str =
    "It needs approval, but neither the rules that hold it nor the database's review settings name a reviewer group.";

fn not_understood(reason: &str) -> String {
    format!("The statement is not fully understood: {reason}.")
}

/// Adds demands; of two for one group the larger counts.
fn demand(reviewers: &mut Vec<ReviewerDemand>, groups: &[String], approvals: u32) {
    for group in groups {
        match reviewers.iter_mut().find(|demand| demand.group == *group) {
            Some(known) => known.approvals = known.approvals.max(approvals),
            None => reviewers.push(ReviewerDemand { group: group.clone(), approvals }),
        }
    }
}

/// Who reviews what these causes hold on the database.
pub(super) fn demands(
    database: &DatabasePolicy,
    rules: &[Rule],
    subject: &Subject,
    causes: Option<&[String]>,
) -> Result<Vec<ReviewerDemand>, String> {
    let holds = |rule: &&Rule| rule.action == Action::Hold && rule.matcher.fits_database_and_user(subject);
    let default = format!("databases.{}.default", database.name);
    let own = |cause: &str| cause == default;
    let mut reviewers = Vec::new();
    if causes.is_none_or(|causes| causes.iter().any(|cause| own(cause))) {
        demand(&mut reviewers, &database.review.groups, 1);
    }
    let named = |rule: &&Rule| causes.is_none_or(|causes| causes.contains(&rule.name));
    for rule in rules.iter().filter(holds).filter(named) {
        rule.demand(&database.review, &mut reviewers);
    }
    let is_known = |cause: &&String| own(cause) || rules.iter().filter(holds).any(|rule| rule.name == **cause);
    match causes.unwrap_or_default().iter().find(|cause| !is_known(cause)) {
        Some(cause) => Err(format!("\"{cause}\" is no rule that holds statements of {} here", subject.user)),
        None => Ok(reviewers),
    }
}

impl Rule {
    /// Adds who must approve what it holds.
    fn demand(&self, review: &ReviewDefaults, reviewers: &mut Vec<ReviewerDemand>) {
        let groups = if self.reviewers.is_empty() { &review.groups } else { &self.reviewers };
        demand(reviewers, groups, self.approvals.max(1));
    }
}

/// Whether a hold for this cause is one that people must have seen the statement of: what it does is not known, or it
/// is about values that are masked.
pub(crate) fn must_be_seen(cause: &str) -> bool {
    [PREDICATES, STORES].contains(&cause) || cause.ends_with(UNPARSED)
}

pub(crate) fn covers(met: &[ReviewerDemand], asked: &[ReviewerDemand]) -> bool {
    asked.iter().all(|asked| met.iter().any(|met| met.group == asked.group && met.approvals >= asked.approvals))
}
