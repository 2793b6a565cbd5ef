//! What PostgreSQL runs before it executes a statement: it reads a literal as a value of its type when it parses the
//! text, and a parameter when it is bound. A row, an array or a range is read part by part, and of a part of a domain the
//! checks run at once.
//!
//! Never looks at what is read. Invariant: what a literal may become is a type that the statement names, or that of
//! something it refers to; when the checks inside of one of these may write, the statement carries `function_call`.

use super::walker::Walker;
use super::{Analysis, BaseColumn, Lineage, NotUnderstood, StatementAnalysis};
use crate::catalog::{Catalog, Oid, Relation};
use crate::effect::{Effect, Effects};

/// What is in the statement at hand that has to do with values being read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values {
    /// A text literal or a parameter, whose type may be that of something else.
    pub literal: bool,
    /// Something that makes an array of what it is given.
    pub array: bool,
    /// A whole row, which is a value of the relation's type.
    pub row: bool,
    /// It was parsed when it was stored: the definition of a view, a default, a generated column.
    pub is_stored: bool,
}

/// Effects of statements that make values of a relation's columns.
const FILLS: Effects = Effects::of(&[Effect::Insert, Effect::Update, Effect::Merge]);

impl Walker<'_> {
    /// Completes the finished statement by what reading its literals and parameters runs.
    pub(super) fn reads_values(&self, done: &mut StatementAnalysis) {
        let values = self.values;
        if !values.literal || values.is_stored || !self.catalog().has_checked_types() {
            return;
        }
        let catalog = self.catalog();
        let makes = |called: &crate::name::QualifiedName| self.runs_when_parsed(called);
        let fills = |relation: &Relation| columns_of(relation).any(|of| catalog.is_checked_inside(of));
        let is_filled = done.relations.iter().any(|used| {
            let relation = used.oid.and_then(|oid| catalog.relation(oid));
            used.effects.intersects(FILLS) && relation.is_some_and(fills)
        });
        let becomes = match &done.reads {
            Lineage::Columns(columns) => columns.iter().any(|column| self.may_become(*column)),
            Lineage::Unknown(_) => true,
        };
        if becomes || is_filled || self.calls_with_checks || done.functions.iter().any(makes) {
            done.runs_when_parsed = true;
            done.effects.insert(Effect::FunctionCall);
        }
    }

    /// Whether a literal beside that column may be read as a value with checks that write.
    fn may_become(&self, column: BaseColumn) -> bool {
        let catalog = self.catalog();
        let Some(relation) = catalog.relation(column.relation) else { return false };
        if self.values.row && catalog.is_checked(relation.row_type) {
            return true;
        }
        let matches = |of: Oid| catalog.is_checked_inside(of) || (self.values.array && catalog.is_checked(of));
        match column.attnum {
            0 => columns_of(relation).any(matches),
            attnum => relation.column(attnum).is_some_and(|column| matches(column.type_oid)),
        }
    }
}

fn columns_of(relation: &Relation) -> impl Iterator<Item = Oid> {
    relation.columns.iter().map(|column| column.type_oid)
}

impl Analysis {
    /// Notes of a text that is not understood whether parsing it may run code.
    pub(super) fn may_run_when_parsed(&mut self, text: &str, catalog: &Catalog) {
        // What the grammar rejects is not parsed any further.
        let is_parsed = self.not_understood().is_some_and(|why| *why != NotUnderstood::Syntax);
        if is_parsed && catalog.has_checked_types() && text.contains(['\'', '$']) {
            self.statements.iter_mut().for_each(|statement| statement.runs_when_parsed = true);
        }
    }

    /// Whether parsing the text may run functions that write, before anything of it is executed.
    #[must_use]
    pub fn runs_when_parsed(&self) -> bool {
        self.statements.iter().any(|statement| statement.runs_when_parsed)
    }
}
