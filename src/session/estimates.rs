//! Asking the planner how many rows a request has, where a rule needs to know.
//!
//! Never decides: the frame waits, and is looked at again from the beginning once there is an answer. Invariant: an answer
//! serves only the statement, parameters, role and search path it was asked for.

use bytes::Bytes;
use countersign_policy::Analysis;
use countersign_policy::analysis::Collects;
use countersign_policy::grant::Binding;
use countersign_policy::verdict::{Estimate, Rows};
use countersign_protocol::frontend::{Bind, format_of};
use countersign_protocol::{Frame, frame};

use super::machine::{Machine, Stop};
use super::parked::{Asked, Gate};
use super::words::{Command, Surroundings};
use crate::estimate::{Question, Value};

impl Machine {
    /// Takes an answer over that was asked for exactly this.
    pub(super) fn recall_rows(&mut self, asked: &mut Asked, around: &Surroundings) {
        if let Some((binding, rows)) = self.rows.take()
            && binding == self.binding_of(asked, around)
        {
            asked.rows = Some(rows);
        }
    }

    /// Whether a rule needs to know how many rows the request has.
    pub(super) fn wants_rows(&self, asked: &Asked, around: &Surroundings) -> bool {
        asked.rows.is_none()
            && around.config.policy.asks_for_rows()
            && self.judge(asked, around).estimate == Estimate::Wanted
    }

    /// The Bind of a portal, and the types of its parameters.
    pub(super) fn bind_of(&mut self, name: &[u8]) -> Option<(Bytes, Vec<u32>)> {
        self.statements.portal(name).map(|known| (known.bind.clone(), known.statement.parameter_types.to_vec()))
    }

    /// What the planner is asked about it.
    pub(super) fn question(&self, asked: &Asked) -> Result<Question, Stop> {
        let mut question = Question {
            text: asked.text.clone(),
            types: Vec::new(),
            values: Vec::new(),
            role: self.names.role.clone(),
            search_path: self.names.search_path.clone(),
            collects: collects_of(&asked.analysis),
        };
        if let Some((bytes, types)) = &asked.bind
            && let Some(body) = bytes.get(frame::HEADER_LEN..)
        {
            let bind = Bind::read(body)?;
            question.types = types.clone();
            let value = |(index, value): (usize, &Option<&[u8]>)| Value {
                format: format_of(&bind.formats, index),
                bytes: value.map(|value| bytes.slice_ref(value)),
            };
            question.values = bind.values.iter().enumerate().map(value).collect();
        }
        Ok(question)
    }

    /// Has the planner asked; the frame waits meanwhile.
    pub(super) fn ask_rows(&mut self, frame: &Frame, asked: &Asked, around: &Surroundings) -> Result<(), Stop> {
        let question = self.question(asked)?;
        // What was forwarded before it is answered while it waits.
        self.flush_upstream();
        let binding = self.binding_of(asked, around);
        self.postponed = Some(frame.clone());
        self.gate = Gate::Estimating(Box::new(binding));
        self.commands.push_back(Command::Estimate(Box::new(question)));
        Ok(())
    }

    pub(super) fn estimated(&mut self, rows: Rows) {
        match std::mem::replace(&mut self.gate, Gate::Open) {
            Gate::Estimating(binding) => self.rows = Some((*binding, rows)),
            other => self.gate = other,
        }
    }
}

/// What the one statement makes one row of; of several nothing is asked.
fn collects_of(analysis: &Analysis) -> Collects {
    analysis.statements.first().map(|statement| statement.collects.clone()).unwrap_or_default()
}

/// An answer, and what it was asked for.
pub(super) type Answer = (Binding, Rows);
