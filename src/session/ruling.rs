//! From the verdict on a request to what the session does with it, and the record of the judgement.
//!
//! Never forwards anything. Invariant: each judgement is recorded once; that of a hold with its access request.

use std::sync::Arc;

use bytes::Bytes;
use countersign_policy::grant::{Approval, Binding};
use countersign_policy::verdict::{Case, HoldTerms, Rows, Verdict};
use countersign_policy::{Analysis, Permit};
use countersign_protocol::sqlstate;

use super::hopeless::Hopeless;
use super::machine::Machine;
use super::parked::{Asked, Given};
use super::words::{Command, Judged, Surroundings};
use super::{copying, messages, names, unmasked};

/// Why there is no estimate where nobody could wait for one.
const NOT_ASKED: Rows = Rows::Unavailable("the planner was not asked before it was approved");

/// What a verdict means for the session.
pub(super) enum Meaning {
    Run(Permit),
    Park(HoldTerms),
    Refuse(Bytes),
    /// It can only fail.
    Fail(Hopeless),
}

/// What is to be done with what was judged.
pub(super) enum Ruling {
    Run(Permit),
    Park(Holding),
    /// It is to be held, once the values of these custom settings are known.
    Ask(Vec<String>),
    Refuse(Bytes),
    /// It can only fail.
    Fail(Hopeless),
}

/// A hold, and the judgement that is still to be recorded: with its access request by [`Machine::park`], or without one by
/// [`Machine::record_unopened`].
#[must_use]
pub(super) struct Holding {
    pub(super) terms: HoldTerms,
    pub(super) judged: Box<Judged>,
}

/// An approval, and the binding of what is judged with it now.
pub(super) type Approved<'a> = Option<(&'a Given, Binding)>;

impl Machine {
    /// Judges what is denied, and records it; the refusal.
    pub(super) fn refused(&mut self, asked: &Asked, around: &Surroundings) -> Option<Bytes> {
        match self.rule(asked, None, around) {
            Ruling::Refuse(error) => Some(error),
            Ruling::Park(holding) => {
                self.record_unopened(holding);
                None
            }
            Ruling::Run(_) | Ruling::Ask(_) | Ruling::Fail(_) => None,
        }
    }

    /// Records a hold for which no access request is opened, or not yet.
    pub(super) fn record_unopened(&mut self, holding: Holding) {
        self.commands.push_back(Command::Record(holding.judged));
    }

    /// Judges for good, and records the judgement: of a hold when its access request is.
    pub(super) fn rule(&mut self, asked: &Asked, approved: Approved<'_>, around: &Surroundings) -> Ruling {
        let (text, analysis) = (&asked.text, &asked.analysis);
        if !around.audit_writable && !around.config.audit.fail_open {
            return Ruling::Refuse(messages::record_unavailable());
        }
        self.serial = self.serial.saturating_add(1);
        let access_request = approved.as_ref().map(|(given, _)| given.id);
        let approval = approved.map(|(given, now)| {
            (Approval { request: given.id.to_string(), binding: given.binding, met: given.met.clone() }, now)
        });
        // Whoever could wait for an estimate has one.
        let rows = asked.rows.or(Some(NOT_ASKED));
        let case = Case { rows, approval, ..self.case(self.serial, text, analysis, around) };
        let judgement = around.config.policy.judge(case);
        let grant = match &judgement.verdict {
            Verdict::Allow(permit) => permit.granted_by().map(str::to_owned),
            Verdict::Hold(_) | Verdict::Deny(_) => None,
        };
        let (verdict, outcome) = self.ruling(judgement.verdict, text, analysis, around);
        if let Meaning::Park(_) = &outcome
            && let Some(names) = self.wants_settings(asked, around)
        {
            return Ruling::Ask(names);
        }
        let unmasked_by = unmasked::used(verdict, analysis, around);
        let judged = Box::new(Judged {
            number: self.serial,
            statement: Arc::clone(text),
            parameters: asked.values(),
            effects: analysis.effects(),
            verdict,
            rules: judgement.matched,
            observed: judgement.observed,
            access_request,
            not_opened: None,
            grant,
            unmasked_by,
        });
        let ruling = match outcome {
            Meaning::Park(terms) => return Ruling::Park(Holding { terms, judged }),
            Meaning::Run(permit) => Ruling::Run(permit),
            Meaning::Refuse(error) => Ruling::Refuse(error),
            Meaning::Fail(hopeless) => Ruling::Fail(hopeless),
        };
        self.commands.push_back(Command::Record(judged));
        ruling
    }

    /// What a verdict means here: some statements can only fail, and some must not run whatever the policy says.
    pub(super) fn ruling(
        &self,
        verdict: Verdict,
        text: &str,
        analysis: &Analysis,
        around: &Surroundings,
    ) -> (&'static str, Meaning) {
        if let Some(setting) = names::changes_reading(analysis) {
            return ("deny", Meaning::Refuse(messages::pinned(setting)));
        }
        if let Some(refusal) = self.changes_login_role(analysis, around) {
            return refused(refusal);
        }
        if let Some(wrong) = names::wrong_choice(analysis) {
            return ("error", Meaning::Refuse(messages::wrong_choice(&wrong)));
        }
        let is_settled = match &verdict {
            Verdict::Allow(_) => true,
            Verdict::Deny(denial) => denial.rule.is_some(),
            Verdict::Hold(_) => false,
        };
        // While this session has changed the catalog in an open transaction, it may see objects that the catalog does not;
        // that makes no text valid.
        let can_tell = |hopeless: &Hopeless| !self.catalog_stale || hopeless.sqlstate == sqlstate::SYNTAX_ERROR;
        if !is_settled && let Some(hopeless) = Hopeless::of(text, analysis).filter(can_tell) {
            return ("error", Meaning::Fail(hopeless));
        }
        let ruling = match verdict {
            Verdict::Allow(permit) => ("allow", Meaning::Run(permit)),
            Verdict::Hold(_) if self.in_failed_block() => return refused(messages::failed_block()),
            Verdict::Hold(terms) => ("hold", Meaning::Park(terms)),
            Verdict::Deny(denial) => return refused(messages::denied(&denial)),
        };
        match analysis.statements.iter().find_map(|statement| copying::refusal(around, statement)) {
            Some(refusal) => refused(refusal),
            None => ruling,
        }
    }
}

fn refused(error: Bytes) -> (&'static str, Meaning) {
    ("deny", Meaning::Refuse(error))
}
