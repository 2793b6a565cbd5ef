//! Which result columns PostgreSQL itself shows to be what they are, and which rest on definitions.
//!
//! Never plans; [`super::MaskPlan`] does. Invariant: a column counts as evident only when its origin is a stored column of
//! one table, whatever names, views and functions the statement went through to it.

use super::plan::lineage_at;
use super::{FieldOrigin, MaskKind, MaskPlan};
use crate::analysis::{Lineage, StatementAnalysis};
use crate::catalog::{Catalog, Oid, RelationKind};

/// OIDs below are those of relations that came with the server.
const FIRST_USER_OID: Oid = 16_384;

impl MaskPlan {
    /// Whether the plan shows something of a column because of definitions: of views, of functions, of what names mean.
    #[must_use]
    pub fn rests_on_definitions(
        &self,
        fields: &[FieldOrigin],
        statement: Option<&StatementAnalysis>,
        catalog: &Catalog,
    ) -> bool {
        let outputs = statement.map(|statement| &statement.outputs);
        let calls = statement.is_some_and(|statement| statement.footing.calls_users_code());
        let is_hidden = |position| {
            self.masker(position).is_some_and(|masker| matches!(masker.kind(), MaskKind::Redact | MaskKind::Null))
        };
        fields.iter().enumerate().any(|(position, field)| {
            // Of what is clear because nothing stored is in it, a definition can say something else only in a function.
            let is_clear = || {
                let lineage = lineage_at(outputs, position, fields.len());
                field.table_oid == 0 && !calls && *lineage == Lineage::CLEAR
            };
            !is_hidden(position) && !is_evident(field, catalog) && !is_clear()
        })
    }
}

impl FieldOrigin {
    /// The same without an origin, unless it is evident: what it is made of then counts as unknown.
    #[must_use]
    pub fn evident(self, catalog: &Catalog) -> Self {
        if is_evident(&self, catalog) { self } else { Self { table_oid: 0, attnum: 0, ..self } }
    }
}

fn is_evident(field: &FieldOrigin, catalog: &Catalog) -> bool {
    let Some(relation) = catalog.relation(field.table_oid) else {
        // What the catalog does not know is hidden by its plan, but for the session's own new tables.
        return field.table_oid != 0;
    };
    let is_stored = |attnum: i16| {
        let mut columns = relation.columns.iter().filter(|column| attnum == 0 || column.attnum == attnum);
        columns.all(|column| column.generated.is_none())
    };
    relation.oid < FIRST_USER_OID
        || (relation.kind != RelationKind::View && catalog.children(relation.oid).is_empty() && is_stored(field.attnum))
}
