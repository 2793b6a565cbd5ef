//! Whether the upstream still has the definitions that an analysis rests on, looked at before it counts.
//!
//! What somebody defines on another connection, the catalog knows after a while only. Never relies on it where it would show:
//! * A request that may do more than its text says (it reads views, calls users' functions, sets off triggers or rules) is
//!   judged by definitions that were looked at after it came, where a rule could object to it.
//! * Rows of which something is shown because of definitions wait for one look that began after the first of them came:
//!   PostgreSQL had read the definitions before. Where they are others, nothing is shown because of them.
//!
//! Invariant: what could not be looked at is neither run nor shown.

use std::sync::Arc;

use countersign_policy::Analysis;
use countersign_policy::analysis::{Footing, Lineage, StatementAnalysis};
use countersign_protocol::backend::tag;
use countersign_protocol::{Frame, Header, ProtocolError};

use super::decide::BOUND_EARLIER;
use super::doubt::{conceded, with_parameter_types};
use super::expected::{Expected, ExpectedQueue};
use super::machine::{Machine, Stop};
use super::messages;
use super::parked::{Asked, Gate};
use super::results::ResultPlan;
use super::upstream_side::{limit, not_showable};
use super::words::{Command, Looked, Stake, Surroundings};

/// The plan of a result that rests on definitions, before they have been looked at.
pub(super) struct Unconfirmed {
    /// What is shown when they are what the analysis took them for.
    pub(super) shown: ResultPlan,
    /// What is shown otherwise.
    pub(super) hidden: ResultPlan,
    pub(super) footing: Arc<Footing>,
    /// The look is under way.
    pub(super) asked: bool,
}

/// What a request that is to be judged stands on.
pub(super) enum Standing {
    /// Definitions that are known.
    Known,
    /// It waits for them to be looked at.
    Awaited,
    /// They could not be looked at.
    Unknown,
}

impl Machine {
    /// Has the definitions looked at that the verdict on this frame rests on, once. It waits meanwhile.
    pub(super) fn standing(&mut self, frame: &Frame, analysis: &Analysis, around: &Surroundings) -> Standing {
        match self.looked {
            Some(Looked::Failed) => return Standing::Unknown,
            Some(Looked::Same | Looked::Changed) => return Standing::Known,
            None => {}
        }
        let subject = &self.identity.subject;
        let does_more = |statement: &&StatementAnalysis| statement.footing.does_more();
        let mut doing_more = analysis.statements.iter().filter(does_more).peekable();
        let is_known = doing_more.peek().is_none()
            || !(around.config.policy.may_object(subject)
                || doing_more.any(|statement| uses_masked(statement, around)));
        if is_known {
            return Standing::Known;
        }
        // What was forwarded before it is answered while it waits.
        self.flush_upstream();
        let footings = analysis.statements.iter().map(|statement| Arc::clone(&statement.footing)).collect();
        self.postponed = Some(frame.clone());
        self.gate = Gate::Looking;
        self.commands.push_back(Command::Look(Stake::Verdict, footings));
        Standing::Awaited
    }

    /// Reads an Execute anew whose definitions are not what they were. What the upstream has bound it may have planned by
    /// either of them.
    pub(super) fn read_anew(&mut self, asked: &mut Asked, portal: &[u8], around: &Surroundings) {
        if self.looked != Some(Looked::Changed) {
            return;
        }
        if asked.named_by_sql || !self.group.binds(portal) {
            asked.analysis = Arc::new(conceded(&asked.analysis, BOUND_EARLIER));
            return;
        }
        let generation = self.names.generation(&around.catalog);
        let analysis = self.analyze_now(&asked.text, around);
        if let Some(known) = self.statements.portal(portal) {
            let analysis = with_parameter_types(analysis, &known.statement.parameter_types, around);
            known.statement.analysis = Arc::clone(&analysis);
            known.statement.generation = generation;
            asked.analysis = analysis;
            asked.generation = generation;
            // What was allowed when it was bound may not be allowed now, and binding runs code.
            self.group.mark_all_undecided(known.id);
        }
    }

    /// Whether the next message is a row that waits for a look at definitions; asks for it.
    pub(super) fn rows_wait(&mut self) -> Result<bool, ProtocolError> {
        let Some(ResultPlan::Unconfirmed(unconfirmed)) = current_plan(&mut self.expected) else { return Ok(false) };
        let Some(next) = Header::peek(&self.upstream_in, limit)? else { return Ok(false) };
        if !matches!(next.tag, tag::DATA_ROW | tag::COPY_DATA) {
            return Ok(false);
        }
        if !unconfirmed.asked {
            unconfirmed.asked = true;
            self.commands.push_back(Command::Look(Stake::Rows, vec![Arc::clone(&unconfirmed.footing)]));
        }
        Ok(true)
    }

    pub(super) fn looked(&mut self, stake: Stake, looked: Looked) -> Result<(), Stop> {
        match stake {
            Stake::Verdict if matches!(self.gate, Gate::Looking) => {
                self.gate = Gate::Open;
                self.looked = Some(looked);
                Ok(())
            }
            Stake::Verdict => Ok(()),
            Stake::Rows => self.rows_looked(looked),
        }
    }

    fn rows_looked(&mut self, looked: Looked) -> Result<(), Stop> {
        let Some(plan) = current_plan(&mut self.expected) else { return Ok(()) };
        let unconfirmed = match std::mem::replace(plan, ResultPlan::Unknown) {
            ResultPlan::Unconfirmed(unconfirmed) if unconfirmed.asked => *unconfirmed,
            other => {
                *plan = other;
                return Ok(());
            }
        };
        *plan = match looked {
            Looked::Same => unconfirmed.shown,
            Looked::Changed => unconfirmed.hidden,
            Looked::Failed => return Err(not_showable("the definitions behind it could not be looked at")),
        };
        if looked == Looked::Changed {
            if matches!(plan, ResultPlan::Unknown) {
                return Err(not_showable("a definition behind it has changed"));
            }
            self.say(&messages::defined_anew());
        }
        Ok(())
    }
}

fn current_plan(expected: &mut ExpectedQueue) -> Option<&mut ResultPlan> {
    match expected.front() {
        Some(Expected::Query(reply)) => Some(&mut reply.plan),
        Some(Expected::Execute(reply)) => Some(&mut reply.plan),
        _ => None,
    }
}

/// Whether masked columns can be in what the statement compares or stores, were its definitions others.
fn uses_masked(statement: &StatementAnalysis, around: &Surroundings) -> bool {
    let is_something = |lineage: &Lineage| *lineage != Lineage::CLEAR;
    let uses = [&statement.predicates, &statement.lookups, &statement.stores].into_iter().any(is_something);
    around.masks.touches_database() && uses
}
