//! Rows on their way to the client: passed as they came, or rebuilt around masked cells.
//!
//! Never decides what is masked; `countersign_policy::mask` plans that per result. Invariant: a row for which no plan
//! exists does not leave.

use std::sync::Arc;

use bytes::BytesMut;
use countersign_policy::Catalog;
use countersign_policy::analysis::StatementAnalysis;
use countersign_policy::mask::{FieldOrigin, MaskPlan, MaskSet, Masked};
use countersign_protocol::backend::Field;
use countersign_protocol::row::{self, NewCell};

use super::copying::Copying;

/// What happens to the rows of the current result.
pub(super) enum ResultPlan {
    /// The columns are not known yet: no row may come.
    Unknown,
    /// No mask applies: rows pass as they are.
    Pass,
    /// Some cells change.
    Mask(Arc<Masking>),
    /// Some cells of a COPY change.
    Copy(Box<Copying>),
}

/// A plan that changes cells, and the columns it is for.
pub(super) struct Masking {
    pub(super) plan: MaskPlan,
    pub(super) origins: Vec<FieldOrigin>,
}

impl Masking {
    /// The masked columns as the audit names them: `schema.relation.column` where PostgreSQL reports an origin, the
    /// place in the result where it reports none.
    pub(super) fn columns(&self, catalog: &Catalog) -> Vec<String> {
        let name = |position: usize| {
            let origin = self.origins.get(position)?;
            let relation = catalog.relation(origin.table_oid)?;
            let column = relation.column(origin.attnum)?;
            Some(format!("{}.{}.{}", relation.schema, relation.name, column.name))
        };
        let shown = |position: usize| name(position).unwrap_or_else(|| format!("column {}", position + 1));
        self.plan.masked().map(|(position, _)| shown(position)).collect()
    }
}

impl ResultPlan {
    /// Plans a result with these columns, returned by this statement.
    pub(super) fn new(
        masks: &MaskSet,
        catalog: &Catalog,
        fields: &[Field],
        statement: Option<&StatementAnalysis>,
    ) -> Self {
        if !masks.touches_database() {
            return Self::Pass;
        }
        let origins: Vec<FieldOrigin> = fields
            .iter()
            .map(|field| FieldOrigin {
                table_oid: field.table_oid,
                attnum: field.attnum,
                type_oid: field.type_oid,
                format: field.format,
            })
            .collect();
        let plan = MaskPlan::for_result(masks, &origins, statement, catalog);
        if plan.is_clear() { Self::Pass } else { Self::Mask(Arc::new(Masking { plan, origins })) }
    }
}

/// Appends the row with its masked cells replaced.
pub(super) fn put_masked(
    out: &mut BytesMut,
    body: &[u8],
    masking: &Masking,
) -> Result<(), countersign_protocol::ProtocolError> {
    row::rebuild(out, body, |index, cell, out| match masking.plan.masker(index) {
        None => NewCell::Keep,
        Some(masker) => match masker.mask_cell(cell, out) {
            Masked::Value => NewCell::Replaced,
            Masked::Null => NewCell::Null,
        },
    })
}
