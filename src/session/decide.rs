//! Putting a request before the judge, and what follows from the verdict.
//!
//! The one door: a request leaves only from [`Machine::run_query`] and [`Machine::run_execute`], each with its permit.
//! Never answers in the upstream's name while a transaction is open there: a refusal makes the upstream itself fail.

use std::sync::Arc;

use bytes::Bytes;
use countersign_policy::analysis::NotUnderstood;
use countersign_policy::grant::Grants;
use countersign_policy::moment::Moment;
use countersign_policy::verdict::{Case, Estimate, Judgement, Verdict};
use countersign_policy::{Analysis, Permit};
use countersign_protocol::Frame;
use countersign_protocol::backend::TransactionStatus;
use countersign_protocol::frontend::{self, Bind, Target, tag};
use countersign_protocol::{frame, sqlstate};
use jiff::SignedDuration;

use super::copy_in::CopyIn;
use super::doubt::{conceded, with_parameter_types};
use super::expected::{DescribeTarget, Ends, ExecuteReply, Expected, QueryReply, Run};
use super::keeping::Keeping;
use super::looking::Standing;
use super::machine::{Machine, Stop};
use super::names::Generation;
use super::parked::{Asked, Group, Parked, Shape, asked_execute, readable, runs_a_name};
use super::results::ResultPlan;
use super::ruling::{Meaning, Ruling};
use super::statements::PreparedStatement;
use super::words::{Command, Finished, Surroundings};
use super::{buffers, calls, choices, guarded, messages, names};
use crate::clock::local_time;
use crate::config::Results;
use crate::relay::Request;
use crate::review::{Outcome, Parameter, RequestId};

/// Why a statement that SQL prepared is not understood any more.
pub(super) const PREPARED_EARLIER: &str = "it was prepared when names may have meant something else";
/// Why a portal is not understood after names have changed.
pub(super) const BOUND_EARLIER: &str = "it was bound when names meant something else";
/// How long after one load of the catalog an unknown name may ask for the next.
const CATALOG_RELOAD_INTERVAL: SignedDuration = SignedDuration::from_millis(200);

impl Machine {
    /// Analyses a text under the session's names; `None` when it takes long, or when the catalog is loaded again first,
    /// because a name in the text is not in it.
    pub(super) fn analyze(&mut self, text: &str, around: &Surroundings) -> Option<Arc<Analysis>> {
        let analysis = self.read(text, around)?;
        let missing =
            matches!(analysis.not_understood(), Some(NotUnderstood::Relation(_) | NotUnderstood::Function(_)));
        // Once per frame: a load that takes longer than the interval must not ask for the next one.
        let asks = missing && !self.catalog_tried;
        self.catalog_tried = asks && around.now.duration_since(self.catalog_asked) > CATALOG_RELOAD_INTERVAL;
        if self.catalog_tried {
            self.refresh_catalog(around);
            return None;
        }
        Some(analysis)
    }

    /// The statement as Bind plans it, under the names and the catalog of this moment: what a portal executes is fixed
    /// when it is bound. `None` when the catalog is loaded again first.
    pub(super) fn planned_now(
        &mut self,
        statement: PreparedStatement,
        generation: Generation,
        around: &Surroundings,
    ) -> Option<PreparedStatement> {
        let analysis = if statement.named_by_sql {
            Arc::new(conceded(&statement.analysis, PREPARED_EARLIER))
        } else {
            with_parameter_types(self.analyze(&statement.text, around)?, &statement.parameter_types, around)
        };
        Some(PreparedStatement { analysis, generation, ..statement })
    }

    /// The refusal of a statement that is denied whatever its parameters are.
    pub(super) fn refused_at_parse(
        &mut self,
        text: &Arc<str>,
        analysis: &Arc<Analysis>,
        around: &Surroundings,
    ) -> Option<Bytes> {
        let asked = Asked::query(Arc::clone(text), Arc::clone(analysis), self.names.generation(&around.catalog));
        let judgement = self.judge(&asked, around);
        let denied = match judgement.verdict {
            Verdict::Allow(_) if judgement.estimate != Estimate::Wanted => return None,
            Verdict::Allow(_) | Verdict::Hold(_) => {
                self.group.mark_guarded();
                return None;
            }
            denied @ Verdict::Deny(_) => denied,
        };
        // What can only fail does so when it is executed, and is recorded then.
        let (_, Meaning::Refuse(_)) = self.ruling(denied, text, analysis, around) else { return None };
        self.refused(&asked, around)
    }

    /// The judgement of it as it stands; nothing is recorded.
    pub(super) fn judge(&self, asked: &Asked, around: &Surroundings) -> Judgement {
        let case = self.case(0, &asked.text, &asked.analysis, around);
        around.config.policy.judge(Case { rows: asked.rows, ..case })
    }

    /// Whether the statement is allowed whatever its parameters are. Nothing is recorded: its Execute is judged.
    pub(super) fn is_allowed(&self, statement: &PreparedStatement, around: &Surroundings) -> bool {
        let case = self.case(0, &statement.text, &statement.analysis, around);
        let judgement = around.config.policy.judge(case);
        matches!(judgement.verdict, Verdict::Allow(_)) && judgement.estimate != Estimate::Wanted
    }

    pub(super) fn case<'a>(
        &'a self,
        serial: u64,
        text: &'a str,
        analysis: &'a Analysis,
        around: &'a Surroundings,
    ) -> Case<'a> {
        let (masks, catalog) = (&*around.masks, &*around.catalog);
        let moment = self.moment(around);
        let grants = Grants {
            given: &around.grants,
            now: around.now.as_microsecond(),
            role: &self.names.role,
            search_path: &self.names.search_path,
        };
        let subject = &self.identity.subject;
        Case { serial, subject, text, analysis, masks, catalog, moment, rows: None, approval: None, grants }
    }

    fn moment(&self, around: &Surroundings) -> Moment {
        // Since a statement that begins or ends a transaction was sent, nobody knows.
        let known = !self.status_moved;
        Moment {
            in_transaction: known.then_some(self.status != TransactionStatus::Idle),
            local: around.config.policy.asks_for_time().then(|| local_time(around.now)),
        }
    }

    /// A Query: its whole string is decided as one.
    pub(super) fn query(&mut self, frame: &Frame, around: &Surroundings) -> Result<(), Stop> {
        let body = match frontend::query(frame.body()) {
            Ok(body) => body,
            Err(error) => {
                self.refuse_query(messages::malformed(error));
                return Ok(());
            }
        };
        let Ok(text) = std::str::from_utf8(body) else {
            self.refuse_query(messages::not_utf8(body));
            return Ok(());
        };
        let text: Arc<str> = Arc::from(text);
        if self.batch.is_some() {
            return self.query_in_batch(frame, &text, around);
        }
        let Some(analysis) = self.analyze(&text, around) else {
            self.postponed = Some(frame.clone());
            return Ok(());
        };
        match self.standing(frame, &analysis, around) {
            Standing::Known => {}
            Standing::Awaited => return Ok(()),
            Standing::Unknown => {
                self.refuse_query(messages::definitions_unknown());
                return Ok(());
            }
        }
        self.statements.end_unnamed();
        let asked = Asked::query(text, analysis, self.names.generation(&around.catalog));
        self.decide_query(frame, asked, around)
    }

    /// Decides what comes as one frame and is answered up to ReadyForQuery: a Query or a FunctionCall.
    pub(super) fn decide_query(&mut self, frame: &Frame, mut asked: Asked, around: &Surroundings) -> Result<(), Stop> {
        self.recall_rows(&mut asked, around);
        if self.wants_rows(&asked, around) {
            return self.ask_rows(frame, &asked, around);
        }
        match self.rule(&asked, None, around) {
            Ruling::Run(permit) => {
                self.run_query(&frame.bytes, Run::allowed(&asked, self.serial, around), permit, around)
            }
            Ruling::Park(holding) if self.begins_batch(frame, &asked.analysis) => {
                self.record_unopened(holding);
                self.begin_batch(&asked.text);
                Ok(())
            }
            Ruling::Ask(names) => {
                self.ask_settings(frame, names);
                Ok(())
            }
            Ruling::Park(holding) => {
                asked.parameters = calls::arguments(frame);
                self.park(Shape::Query(frame.bytes.clone()), asked, holding, around);
                Ok(())
            }
            Ruling::Refuse(error) => {
                self.refuse_query(error);
                Ok(())
            }
            Ruling::Fail(hopeless) => {
                self.fail_query(&asked.text, &hopeless);
                Ok(())
            }
        }
    }

    /// An Execute: its statement with its bound values is decided, together with what was collected before it.
    pub(super) fn decide_execute(&mut self, frame: &Frame, portal: Bytes, around: &Surroundings) -> Result<(), Stop> {
        if self.refused_in_batch() {
            return Ok(());
        }
        let Some(known) = self.statements.portal(&portal) else { return Ok(()) };
        if self.group.is_undecided_besides(known) {
            // What is decided here says nothing about what that Bind would run.
            self.refuse_extended(messages::bound_undecided());
            return Ok(());
        }
        let mut asked = asked_execute(known);
        let (id, approved) = (known.id, known.approved.clone());
        if runs_a_name(&asked.analysis) && self.statements.is_any_unsettled() {
            self.postpone(frame);
            return Ok(());
        }
        match self.standing(frame, &asked.analysis, around) {
            Standing::Known => {}
            Standing::Awaited => return Ok(()),
            Standing::Unknown => {
                self.group.mark_all_undecided(id);
                self.refuse_extended(messages::definitions_unknown());
                return Ok(());
            }
        }
        self.read_anew(&mut asked, &portal, around);
        self.read_when_executed(&mut asked, around);
        self.recall_rows(&mut asked, around);
        if self.wants_rows(&asked, around) {
            asked.bind = self.bind_of(&portal);
            return self.ask_rows(frame, &asked, around);
        }
        let again = approved.as_ref().map(|given| (given, self.binding_of(&asked, around)));
        match self.rule(&asked, again, around) {
            Ruling::Run(permit) => {
                let group = std::mem::take(&mut self.group);
                let messages = ExecuteMessages { group, execute: frame.bytes.clone(), portal };
                self.run_execute(messages, Run::allowed(&asked, self.serial, around), permit, around)
            }
            Ruling::Ask(names) => {
                self.ask_settings(frame, names);
                Ok(())
            }
            Ruling::Park(holding) => {
                asked.parameters = self.readable_parameters(&portal)?;
                asked.bind = self.bind_of(&portal);
                let group = std::mem::take(&mut self.group);
                let shape = Shape::Execute { group, execute: frame.bytes.clone(), portal };
                self.park(shape, asked, holding, around);
                Ok(())
            }
            Ruling::Refuse(error) => {
                self.refuse_extended(error);
                Ok(())
            }
            Ruling::Fail(hopeless) => {
                self.fail_execute(&hopeless);
                Ok(())
            }
        }
    }

    /// What was planned when it was bound is executed as it was planned. But EXECUTE and FETCH look their names up when
    /// they are executed, and so do the statements that PostgreSQL does not plan: then both readings must agree.
    fn read_when_executed(&self, asked: &mut Asked, around: &Surroundings) {
        let generation = self.names.generation(&around.catalog);
        let runs_a_name = runs_a_name(&asked.analysis);
        if asked.named_by_sql || (asked.generation == generation && !runs_a_name) {
            return;
        }
        let now = self.analyze_now(&asked.text, around);
        if runs_a_name {
            asked.analysis = now;
            asked.generation = generation;
        } else if now != asked.analysis {
            asked.analysis = Arc::new(conceded(&asked.analysis, BOUND_EARLIER));
        }
    }

    /// The bound values for people; only a request that is held needs them.
    fn readable_parameters(&mut self, name: &[u8]) -> Result<Vec<Parameter>, Stop> {
        let Some(portal) = self.statements.portal(name) else { return Ok(Vec::new()) };
        let Some(body) = portal.bind.get(frame::HEADER_LEN..) else { return Ok(Vec::new()) };
        Ok(readable(&portal.statement.parameter_types, &Bind::read(body)?))
    }

    /// Forwards what was approved.
    pub(super) fn run(
        &mut self,
        parked: Parked,
        permit: Permit,
        (id, max_affected): (RequestId, Option<u64>),
        around: &Surroundings,
    ) -> Result<(), Stop> {
        let results = match around.config.results(&self.identity.subject) {
            // A grant shows its user what is masked, and nobody who reads the trail.
            Results::Masked if !around.unmasked.is_empty() => Results::Counts,
            results => results,
        };
        let keeping = Keeping::new(results);
        let run = Run { max_affected, keeping, ..Run::new(&parked.asked, Some(id), around) };
        match parked.shape {
            Shape::Query(bytes) => self.run_query(&bytes, run, permit, around),
            Shape::Execute { group, execute, portal } => {
                self.run_execute(ExecuteMessages { group, execute, portal }, run, permit, around)
            }
        }
    }

    fn run_query(&mut self, bytes: &Bytes, run: Run, permit: Permit, around: &Surroundings) -> Result<(), Stop> {
        let guard = self.guard_query(&run);
        let split = guard.is_some().then(|| guarded::split(&run)).flatten();
        match split {
            Some((counted, end)) => {
                let request = Request::in_two(permit.serial(), &counted, end);
                self.forward(request, permit)?;
            }
            None => {
                let marked = self.marked(bytes, &run, around);
                let request = Request::new(permit.serial(), marked.as_ref().unwrap_or(bytes));
                self.forward(request, permit)?;
            }
        }
        self.in_pipeline = false;
        let is_call = bytes.first() == Some(&tag::FUNCTION_CALL);
        if !is_call {
            self.forwarded(&run, None);
        }
        let reply = QueryReply { run, is_call, completed: 0, failed: false, plan: ResultPlan::Unknown, guard };
        self.expect(Expected::Query(Box::new(reply)));
        Ok(())
    }

    fn run_execute(
        &mut self,
        messages: ExecuteMessages,
        run: Run,
        permit: Permit,
        around: &Surroundings,
    ) -> Result<(), Stop> {
        let plan = self.plan_execute(&messages.portal, &run.analysis, around);
        let Group { mut bytes, expected, .. } = messages.group;
        let describe = plan.is_none();
        if describe {
            frontend::put_describe(&mut bytes, Target::Portal(&messages.portal));
        }
        bytes.extend_from_slice(&messages.execute);
        self.forward(Request::new(permit.serial(), &bytes), permit)?;
        buffers::done_with(&mut bytes);
        expected.into_iter().for_each(|entry| self.expect(entry));
        if describe {
            let id = self.statements.portal(&messages.portal).map(|known| known.id);
            self.expect(Expected::OwnDescribe(DescribeTarget::Portal(messages.portal.clone(), id)));
        }
        self.in_pipeline = true;
        self.forwarded(&run, Some(&messages.portal));
        let plan = plan.unwrap_or(ResultPlan::Unknown);
        self.expect(Expected::Execute(Box::new(ExecuteReply { run, portal: messages.portal, plan })));
        Ok(())
    }

    fn forward(&mut self, request: Request<'_>, permit: Permit) -> Result<(), Stop> {
        self.relay.forward(request, permit).map_err(|error| {
            tracing::error!(%error, "a request was about to leave without its permit");
            Stop(messages::fatal(sqlstate::INTERNAL_ERROR, "internal error of the proxy", None))
        })
    }

    /// Notes what may have changed because of a request that was sent; `portal` is the one that it executes.
    fn forwarded(&mut self, run: &Run, portal: Option<&[u8]>) {
        let analysis = &run.analysis;
        self.names.forwarded(analysis, self.statements.cycle());
        if choices::may_lock(analysis) {
            self.locked_in = Some(self.statements.cycle());
        }
        self.definitions.forwarded(&run.text, analysis);
        self.settings.forwarded(run);
        self.barrier |= names::is_barrier(analysis);
        self.catalog_stale |= names::changes_catalog(analysis);
        if run.may_copy_in() {
            self.copy_in = CopyIn::Awaited;
            self.forget_copy_sent();
        }
        self.status_moved |= run.may_change_transaction();
        match run.ends() {
            Ends::None => {}
            Ends::Others => self.statements.end_portals(portal),
            Ends::All => self.statements.end_portals(None),
        }
        if names::may_change(analysis) {
            self.statements.forget_old_cursors();
        }
    }

    /// Ends the record of an approved request that was not run after its run had been recorded.
    pub(super) fn finish_unrun(&mut self, id: RequestId) {
        let outcome = Outcome::Failed(sqlstate::IN_FAILED_TRANSACTION.to_owned());
        let finished = Finished { id, outcome, rows: 0, masked: Vec::new(), masked_cells: Vec::new(), output: None };
        self.commands.push_back(Command::Finish(Box::new(finished)));
    }
}

/// The messages of one Execute.
struct ExecuteMessages {
    group: Group,
    execute: Bytes,
    portal: Bytes,
}
