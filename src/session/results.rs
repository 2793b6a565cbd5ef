//! Rows on their way to the client: passed as they came, or rebuilt around masked cells.
//!
//! Never decides what is masked; `countersign_policy::mask` plans that per result. Invariant: a row for which no plan
//! exists does not leave.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use countersign_policy::analysis::StatementAnalysis;
use countersign_policy::mask::{FieldOrigin, MaskPlan, MaskSet, Masked};
use countersign_policy::{Analysis, Catalog};
use countersign_protocol::backend::{Field, tag};
use countersign_protocol::frame::HEADER_LEN;
use countersign_protocol::frontend;
use countersign_protocol::row::{self, NewCell};
use countersign_protocol::{Header, ProtocolError};

use super::copying::Copying;
use super::expected::Expected;
use super::looking::Unconfirmed;
use super::machine::Machine;
use super::statements::{Described, Portal};
use super::upstream_side::{LOOKED_INTO_MAX, limit};
use super::words::Surroundings;

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
    /// It rests on definitions that have not been looked at: no row passes before.
    Unconfirmed(Box<Unconfirmed>),
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
        if !plan.rests_on_definitions(&origins, statement, catalog) {
            return Self::of(plan, origins);
        }
        let evident: Vec<FieldOrigin> = origins.iter().map(|origin| origin.evident(catalog)).collect();
        let hidden = Self::of(MaskPlan::for_result(masks, &evident, None, catalog), origins.clone());
        match statement.filter(|statement| statement.not_understood.is_none()) {
            Some(statement) => {
                let (shown, footing) = (Self::of(plan, origins), Arc::clone(&statement.footing));
                Self::Unconfirmed(Box::new(Unconfirmed { shown, hidden, footing, asked: false }))
            }
            // What it rests on is not all known.
            None => hidden,
        }
    }

    fn of(plan: MaskPlan, origins: Vec<FieldOrigin>) -> Self {
        if plan.is_clear() { Self::Pass } else { Self::Mask(Arc::new(Masking { plan, origins })) }
    }
}

impl Machine {
    /// Masks the rows that have come whole, one behind the other in the client's buffer.
    pub(super) fn mask_run(&mut self, around: &Surroundings) -> Result<(), ProtocolError> {
        let (plan, run) = match self.expected.front() {
            Some(Expected::Query(reply)) => (&reply.plan, &mut reply.run),
            Some(Expected::Execute(reply)) => (&reply.plan, &mut reply.run),
            _ => return Ok(()),
        };
        let ResultPlan::Mask(masking) = plan else { return Ok(()) };
        let (mut taken, mut rows): (usize, u64) = (0, 0);
        let before = self.to_client.len();
        loop {
            let rest = self.upstream_in.get(taken..).unwrap_or_default();
            let Some(header) = Header::peek(rest, limit)? else { break };
            let is_row = header.tag == tag::DATA_ROW && header.frame_len <= LOOKED_INTO_MAX;
            let Some(frame) = rest.get(..header.frame_len).filter(|_| is_row) else { break };
            put_masked(&mut self.to_client, frame.get(HEADER_LEN..).unwrap_or_default(), masking)?;
            taken += header.frame_len;
            rows = rows.saturating_add(1);
        }
        if rows > 0 {
            self.upstream_in.advance(taken);
            if run.masked.is_empty() && run.is_told() {
                run.masked = masking.columns(&around.catalog);
            }
            if let Some(keeping) = &mut run.keeping {
                keeping.take(self.to_client.get(before..).unwrap_or_default());
            }
            run.rows = run.rows.saturating_add(rows);
            run.count_masked(masking.plan.rules(), rows);
        }
        Ok(())
    }

    /// Plans the rows of an Execute from what is known of its portal; `None` when its columns have to be asked for.
    pub(super) fn plan_execute(
        &mut self,
        name: &[u8],
        analysis: &Analysis,
        around: &Surroundings,
    ) -> Option<ResultPlan> {
        if !around.masks.touches_database() {
            return Some(ResultPlan::Pass);
        }
        Some(match described(self.statements.portal(name)?)? {
            None => ResultPlan::Unknown,
            Some(fields) => ResultPlan::new(&around.masks, &around.catalog, &fields, analysis.statements.first()),
        })
    }
}

/// Columns of a portal: not known, none, or these in the formats it was bound with.
fn described(portal: &Portal) -> Option<Option<Vec<Field>>> {
    let with_formats = |fields: &Arc<[Field]>| {
        fields
            .iter()
            .enumerate()
            .map(|(index, field)| Field { format: frontend::format_of(&portal.result_formats, index), ..*field })
            .collect()
    };
    match portal.fields.as_ref()? {
        Described::NoData => Some(None),
        Described::Fields(fields) => Some(Some(with_formats(fields))),
    }
}

/// Appends the row with its masked cells replaced.
fn put_masked(out: &mut BytesMut, body: &[u8], masking: &Masking) -> Result<(), ProtocolError> {
    let plan = &masking.plan;
    row::rebuild(out, body, |index| plan.masker(index).is_none(), |index, cell, out| new_cell(plan, index, cell, out))
}

/// What becomes of the cell of that column.
pub(super) fn new_cell(plan: &MaskPlan, index: usize, cell: &[u8], out: &mut BytesMut) -> NewCell {
    match plan.masker(index).map(|masker| masker.mask_cell(cell, out)) {
        None => NewCell::Keep,
        Some(Masked::Value) => NewCell::Replaced,
        Some(Masked::Null) => NewCell::Null,
    }
}
