//! COPY TO STDOUT with masked columns: taken apart as its options say, and rebuilt around masked cells.
//!
//! Never decides what is masked; `countersign_policy::mask` plans that. Invariant: a COPY with masked columns whose
//! options are not known is refused before it runs, and if the upstream begins one all the same, nothing of it passes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_policy::analysis::{CopyFormat, ForceQuote, Outputs, StatementAnalysis};
use countersign_policy::mask::{FieldOrigin, MaskPlan, MaskSet};
use countersign_policy::{Catalog, Effect};
use countersign_protocol::ProtocolError;
use countersign_protocol::copy::{self, CopyOut, Csv, Layout, Text};

use super::looking::Unconfirmed;
use super::messages;
use super::results::{Masking, ResultPlan, new_cell};
use super::words::Surroundings;

/// A COPY on its way through its masks.
pub(super) struct Copying {
    rows: CopyOut,
    masking: Masking,
}

impl Copying {
    /// Plans the COPY that this CopyOutResponse begins; `None` when it cannot be shown.
    pub(super) fn plan(
        (masks, catalog): (&MaskSet, &Catalog),
        body: &[u8],
        statement: Option<&StatementAnalysis>,
    ) -> Result<Option<ResultPlan>, ProtocolError> {
        if !masks.touches_database() {
            return Ok(Some(ResultPlan::Pass));
        }
        let (overall, formats) = copy::out_response(body)?;
        // What was not recognised as a COPY has no format, and columns of which nothing is known.
        let statement = statement.filter(|statement| statement.effects.contains(Effect::CopyOut));
        let count = formats.len();
        let shape = (count, i16::from(overall));
        let (plan, origins) = MaskPlan::for_copy(masks, statement, shape, catalog);
        // PostgreSQL says nothing of where its columns come from.
        let nameless: Vec<_> =
            origins.iter().map(|origin| FieldOrigin { table_oid: 0, attnum: 0, ..*origin }).collect();
        let rests = plan.rests_on_definitions(&nameless, statement, catalog);
        let Some(shown) = Self::of(statement, shape, (plan, origins)) else { return Ok(None) };
        let footing = statement.filter(|_| rests).map(|statement| Arc::clone(&statement.footing));
        Ok(Some(match footing {
            None => shown,
            Some(footing) => {
                let hidden = Self::of(statement, shape, MaskPlan::for_copy(masks, None, shape, catalog));
                let hidden = hidden.unwrap_or(ResultPlan::Unknown);
                ResultPlan::Unconfirmed(Box::new(Unconfirmed { shown, hidden, footing, asked: false }))
            }
        }))
    }

    /// `None` when it cannot be taken apart.
    fn of(
        statement: Option<&StatementAnalysis>,
        (count, format): (usize, i16),
        (plan, origins): (MaskPlan, Vec<FieldOrigin>),
    ) -> Option<ResultPlan> {
        if plan.is_clear() {
            return Some(ResultPlan::Pass);
        }
        let layout = layout(statement?.copy.as_ref()?, count)?;
        if matches!(layout, Layout::Binary) != (format == 1) {
            return None;
        }
        let changes = (0..count).map(|position| plan.masker(position).is_some()).collect();
        let copying = Self { rows: CopyOut::new(layout, changes), masking: Masking { plan, origins } };
        Some(ResultPlan::Copy(Box::new(copying)))
    }

    pub(super) fn masking(&self) -> &Masking {
        &self.masking
    }

    /// Appends what becomes of a CopyData; yields how many rows it completes.
    pub(super) fn put(&mut self, out: &mut BytesMut, body: &[u8]) -> Result<u64, ProtocolError> {
        let plan = &self.masking.plan;
        self.rows.push(body, out, &mut |index, cell, out| new_cell(plan, index, cell, out))
    }

    /// Ends it, as CopyDone does.
    pub(super) fn finish(&self) -> Result<(), ProtocolError> {
        self.rows.finish()
    }
}

/// How the rows are laid out; `None` when cells cannot be told apart with certainty.
fn layout(format: &CopyFormat, count: usize) -> Option<Layout> {
    Some(match format {
        CopyFormat::Text { delimiter, null, header } => {
            Layout::Text(Text::new(*delimiter, null.as_bytes().to_vec(), *header)?)
        }
        CopyFormat::Csv { delimiter, null, header, quote, escape, force_quote } => Layout::Csv(Csv {
            delimiter: *delimiter,
            null: null.as_bytes().to_vec(),
            header: *header,
            quote: *quote,
            escape: *escape,
            force_quote: match force_quote {
                ForceQuote::All => vec![true; count],
                ForceQuote::Columns(list) => (0..count).map(|position| list.contains(&position)).collect(),
            },
        }),
        CopyFormat::Binary => Layout::Binary,
    })
}

/// The refusal of a COPY TO STDOUT with masked columns that cannot be taken apart.
pub(super) fn refusal(around: &Surroundings, statement: &StatementAnalysis) -> Option<Bytes> {
    if !around.masks.touches_database() || !statement.effects.contains(Effect::CopyOut) {
        return None;
    }
    let count = match &statement.outputs {
        // Sent to a file or program of the upstream: that it is stored elsewhere is put before the judge.
        Outputs::None => return None,
        Outputs::Columns(columns) => columns.len(),
        Outputs::Opaque(_) => 1,
    };
    let format = statement.copy.as_ref();
    let is_binary = matches!(format, Some(CopyFormat::Binary));
    let (plan, origins) =
        MaskPlan::for_copy(&around.masks, Some(statement), (count, i16::from(is_binary)), &around.catalog);
    if plan.is_clear() || format.and_then(|format| layout(format, count)).is_some() {
        return None;
    }
    let masking = Masking { plan, origins };
    let column = masking.columns(&around.catalog).into_iter().next().unwrap_or_default();
    Some(messages::copy_of_masked(&column))
}
