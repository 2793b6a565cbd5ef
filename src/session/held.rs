//! A request between its hold and its release: recorded, decided, judged again.
//!
//! Never forwards: an approval only lets the case be judged once more, as everything is now.
//! Invariant: each step answers the command with its own number or id; an answer that comes late changes nothing.

use std::sync::Arc;

use countersign_policy::Analysis;
use countersign_protocol::backend::TransactionStatus;

use super::decide::PREPARED_EARLIER;
use super::doubt::conceded;
use super::machine::{Draining, Machine, Stop, next_notice};
use super::messages;
use super::parked::{
    ApprovedRequest, Asked, Gate, Given, Held, OpeningRequest, Parked, Releasing, RequestFacts, Shape,
};
use super::ruling::{Holding, Ruling};
use super::words::{BeginRefused, Command, Opening, Surroundings};
use crate::card::Subjects;
use crate::review::{Agreement, Decision, NewRequest, RequestId};

impl Machine {
    pub(super) fn park(&mut self, shape: Shape, asked: Asked, holding: Holding, around: &Surroundings) {
        let Holding { mut terms, judged } = holding;
        terms.mode = self.mode(terms.mode);
        // What was forwarded before it is answered while it waits.
        self.flush_upstream();
        let binding = self.binding_of(&asked, around);
        let in_transaction = self.status != TransactionStatus::Idle || self.in_pipeline;
        let (number, mode) = (self.serial, terms.mode);
        let mut parked = Parked { shape, asked, binding, mode };
        parked.give_back_buffers();
        self.gate = Gate::Opening(Box::new(OpeningRequest { parked, number, terms: Some(terms), in_transaction }));
        self.commands.push_back(Command::Open(number, judged));
    }

    /// The access request that [`Command::Open`] of this number is to record; `None` where it was withdrawn meanwhile, or was
    /// asked for before. Made when there is room to record it: it takes more memory than what waits for that.
    pub fn request_to_open(&mut self, number: u64, around: &Surroundings) -> Option<Box<NewRequest>> {
        let terms = match &mut self.gate {
            Gate::Opening(opening) if opening.number == number => opening.terms.take()?,
            _ => return None,
        };
        let Gate::Opening(opening) = &self.gate else { return None };
        let Parked { asked, binding, .. } = &opening.parked;
        let facts = RequestFacts {
            subject: &self.identity.subject,
            binding: *binding,
            client_address: &self.identity.client_address,
            role: &self.names.role,
            search_path: &self.names.search_path,
            reason: self.names.reason.as_deref(),
            in_transaction: opening.in_transaction,
        };
        let subjects = Subjects {
            analysis: &asked.analysis,
            catalog: &around.catalog,
            masks: &around.all_masks,
            question: self.question(asked).map_err(|_malformed| "its parameters could not be read"),
            in_transaction: facts.in_transaction,
        };
        let mut request = asked.request(facts, terms, subjects);
        request.card.settings = self.shown_settings(asked, around);
        Some(Box::new(request))
    }

    pub(super) fn opened(&mut self, number: u64, opening: Option<Opening>, around: &Surroundings) {
        let parked = match std::mem::replace(&mut self.gate, Gate::Open) {
            Gate::Opening(request) if request.number == number => request.parked,
            other => {
                // It was withdrawn while the store was writing.
                self.gate = other;
                if let Some(Opening::Waiting(request, _)) = opening {
                    self.commands.push_back(Command::Withdraw(request.id));
                }
                return;
            }
        };
        match opening {
            None => self.refuse_parked(parked, messages::record_unavailable()),
            Some(Opening::Waiting(request, misfit)) => {
                let notice = messages::waiting(&request, misfit.as_ref(), &self.link(request.id));
                self.say(&notice);
                let held = Held {
                    id: request.id,
                    mode: parked.mode,
                    leave_at: self.leave_at(parked.mode, around),
                    parked,
                    notice,
                    next_notice: next_notice(around.now),
                    timeout: request.expires_at.duration_since(request.created_at).unsigned_abs(),
                };
                self.gate = Gate::Held(Box::new(held));
                if self.draining != Draining::No {
                    self.drain();
                }
            }
            Some(Opening::Resubmit(request, misfit)) => {
                let error = messages::approval_required(&request, misfit.as_ref(), &self.link(request.id));
                self.refuse_parked(parked, error);
            }
            Some(Opening::Unjustified) => self.refuse_parked(parked, messages::unjustified()),
            Some(Opening::TooMany(limit)) => {
                let error = messages::too_many_undecided(&self.identity.subject.user, limit);
                self.refuse_parked(parked, error);
            }
            Some(Opening::Ready(id, agreement)) => self.approved(parked, id, agreement),
        }
    }

    pub(super) fn link(&self, id: RequestId) -> String {
        format!("{}/requests/{id}", self.identity.public_url)
    }

    pub(super) fn decided(&mut self, id: RequestId, decision: Decision) {
        let held = match std::mem::replace(&mut self.gate, Gate::Open) {
            Gate::Held(held) if held.id == id => *held,
            other => {
                // The client withdrew in the same moment; the store knows which came first.
                self.gate = other;
                return;
            }
        };
        let error = match decision {
            Decision::Approved(agreement) => return self.approved(held.parked, held.id, agreement),
            Decision::Rejected { by, group, reason } => messages::rejected(&by, &group, &reason),
            Decision::Expired => messages::expired(held.timeout),
            Decision::Cancelled => messages::withdrawn(),
        };
        self.refuse_parked(held.parked, error);
    }

    /// An approval does not forward: the case is judged again with it, as everything is now. That includes what other
    /// sessions have defined since the catalog was last read.
    fn approved(&mut self, parked: Parked, id: RequestId, agreement: Agreement) {
        let Agreement { met, edit, max_affected } = agreement;
        let edit = edit.filter(|edit| edit.statement != *parked.asked.text);
        let given = Given { id, met, binding: parked.binding, max_affected };
        self.gate = Gate::Approved(Box::new(ApprovedRequest { parked, given, edit }));
        self.commands.push_back(Command::RefreshCatalog);
    }

    /// The analysis under the names and the catalog of this moment.
    fn reread(&self, asked: &Asked, around: &Surroundings) -> Arc<Analysis> {
        if asked.named_by_sql {
            Arc::new(conceded(&asked.analysis, PREPARED_EARLIER))
        } else {
            self.analyze_now(&asked.text, around)
        }
    }

    pub(super) fn judge_approved(&mut self, approved: ApprovedRequest, around: &Surroundings) {
        let ApprovedRequest { mut parked, mut given, edit } = approved;
        let notice = edit.as_ref().map(messages::edited_notice);
        if let Some(edit) = &edit {
            match self.with_edit(parked, &given, edit, around) {
                Some(edited) => {
                    given.binding = edited.binding;
                    parked = edited;
                }
                None => return,
            }
        }
        // What a portal executes was fixed when the upstream bound it.
        let is_bound = match &parked.shape {
            Shape::Query(_) => false,
            Shape::Execute { group, portal, .. } => !group.binds(portal),
        };
        let generation = self.names.generation(&around.catalog);
        if !is_bound && parked.asked.generation != generation {
            parked.asked.analysis = self.reread(&parked.asked, around);
            parked.asked.generation = generation;
        }
        let id = given.id;
        let now = self.binding_of(&parked.asked, around);
        match self.rule(&parked.asked, Some((&given, now)), around) {
            Ruling::Run(_) if given.max_affected.is_some() && !self.can_be_guarded(&parked) => {
                self.commands.push_back(Command::Revoke(id));
                self.refuse_parked(parked, messages::cannot_be_limited());
            }
            Ruling::Run(permit) => {
                self.commands.push_back(Command::Begin(id));
                self.gate = Gate::Releasing(Box::new(Releasing { notice, parked, given, permit }));
            }
            Ruling::Park(holding) if edit.is_none() => {
                self.commands.push_back(Command::Revoke(id));
                self.park(parked.shape, parked.asked, holding, around);
            }
            // Others would have to approve it, and its requester has not asked for that text; or it reads other settings by
            // now, of which nobody has seen the values.
            Ruling::Park(holding) => {
                self.record_unopened(holding);
                self.commands.push_back(Command::Revoke(id));
                self.refuse_parked(parked, messages::approval_unusable());
            }
            Ruling::Ask(_) => {
                self.commands.push_back(Command::Revoke(id));
                self.refuse_parked(parked, messages::approval_unusable());
            }
            Ruling::Refuse(error) => {
                self.commands.push_back(Command::Revoke(id));
                self.refuse_parked(parked, error);
            }
            Ruling::Fail(hopeless) => {
                self.commands.push_back(Command::Revoke(id));
                self.refuse_parked(parked, messages::hopeless(&hopeless));
            }
        }
    }

    pub(super) fn begun(
        &mut self,
        id: RequestId,
        begun: Result<(), BeginRefused>,
        around: &Surroundings,
    ) -> Result<(), Stop> {
        let releasing = match std::mem::replace(&mut self.gate, Gate::Open) {
            Gate::Releasing(releasing) if releasing.given.id == id => *releasing,
            other => {
                self.gate = other;
                return Ok(());
            }
        };
        match begun {
            // Something before it in its pipeline failed meanwhile: the upstream would skip it.
            Ok(()) if self.skipping => {
                self.finish_unrun(id);
                if let Shape::Execute { group, .. } = releasing.parked.shape {
                    self.group = group;
                    self.drop_group();
                }
                Ok(())
            }
            Ok(()) => {
                if let Some(notice) = &releasing.notice {
                    self.say(notice);
                }
                let max_affected = releasing.given.max_affected;
                if let Shape::Execute { portal, .. } = &releasing.parked.shape
                    && let Some(portal) = self.statements.portal(portal)
                {
                    portal.approved = Some(releasing.given);
                }
                self.run(releasing.parked, releasing.permit, (id, max_affected), around)
            }
            Err(BeginRefused::Unusable) => {
                self.refuse_parked(releasing.parked, messages::approval_unusable());
                Ok(())
            }
            Err(BeginRefused::Unavailable) => {
                self.refuse_parked(releasing.parked, messages::record_unavailable());
                Ok(())
            }
        }
    }
}
