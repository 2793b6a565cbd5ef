//! A request that was approved with changes: the changed text takes its place, or the client is asked to send it.
//!
//! Never forwards: the changed text is analysed and judged like any other. Invariant: only a Query is replaced; what was
//! parsed, bound or described belongs to the text that the client sent.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_protocol::frontend::{self, tag};

use super::machine::Machine;
use super::messages;
use super::parked::{Asked, Given, Parked, Shape, Values};
use super::words::{Command, Surroundings};
use crate::review::Edit;

impl Machine {
    /// The request with the changed text in the place of its own; `None` when it has been answered instead.
    pub(super) fn with_edit(
        &mut self,
        parked: Parked,
        given: &Given,
        edit: &Edit,
        around: &Surroundings,
    ) -> Option<Parked> {
        if self.binding_of(&parked.asked, around) != parked.binding {
            // What was approved was approved for other circumstances.
            self.commands.push_back(Command::Revoke(given.id));
            self.refuse_parked(parked, messages::approval_unusable());
            return None;
        }
        let text: Arc<str> = Arc::from(edit.statement.as_str());
        let analysis = self.analyze_now(&text, around);
        let generation = self.names.generation(&around.catalog);
        let (named_by_sql, rows, bind) = (false, None, None);
        let is_query = matches!(&parked.shape, Shape::Query(frame) if frame.first() == Some(&tag::QUERY));
        if is_query {
            let (parameter_part, parameters) = (Bytes::new(), Vec::new());
            let mut frame = BytesMut::new();
            frontend::put_query(&mut frame, &text);
            let given_types = Values::Nothing;
            let asked = Asked {
                text,
                analysis,
                generation,
                named_by_sql,
                parameter_part,
                given: given_types,
                parameters,
                rows,
                bind,
            };
            let binding = self.binding_of(&asked, around);
            return Some(Parked { shape: Shape::Query(frame.freeze()), asked, binding, mode: parked.mode });
        }
        let (parameter_part, parameters) = (parked.asked.parameter_part.clone(), Vec::new());
        let types = parked.asked.given.clone();
        let asked =
            Asked { text, analysis, generation, named_by_sql, parameter_part, given: types, parameters, rows, bind };
        self.commands.push_back(Command::Rebind(given.id, self.binding_of(&asked, around)));
        let error = messages::approved_with_changes(edit, &self.link(given.id));
        self.refuse_parked(parked, error);
        None
    }
}
