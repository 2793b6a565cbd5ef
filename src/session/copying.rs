//! COPY TO STDOUT with masked columns: taken apart as its options say, and rebuilt around masked cells.
//!
//! Never decides what is masked; `countersign_policy::mask` plans that. Invariant: a COPY with masked columns whose
//! options are not known is refused before it runs, and if the upstream begins one all the same, nothing of it passes.

use bytes::{Bytes, BytesMut};
use countersign_policy::analysis::{CopyFormat, ForceQuote, Outputs, StatementAnalysis};
use countersign_policy::mask::{MaskPlan, MaskSet};
use countersign_policy::{Catalog, Effect};
use countersign_protocol::ProtocolError;
use countersign_protocol::copy::{self, CopyOut, Csv, Layout, Text};

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
        let (plan, origins) = MaskPlan::for_copy(masks, statement, (count, i16::from(overall)), catalog);
        if plan.is_clear() {
            return Ok(Some(ResultPlan::Pass));
        }
        let layout = statement.and_then(|statement| layout(statement.copy.as_ref()?, count));
        let is_binary = |layout: &Layout| matches!(layout, Layout::Binary);
        let Some(layout) = layout.filter(|layout| is_binary(layout) == (overall == 1)) else { return Ok(None) };
        let changes = (0..count).map(|position| plan.masker(position).is_some()).collect();
        let copying = Self { rows: CopyOut::new(layout, changes), masking: Masking { plan, origins } };
        Ok(Some(ResultPlan::Copy(Box::new(copying))))
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
