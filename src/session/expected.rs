//! What the upstream still owes: one entry per message that was sent and will be answered, in order.
//!
//! Never touches bytes. Invariant: an entry leaves the queue only by the reply that completes it, or because the
//! upstream skips to Sync; what the proxy believed because of a skipped message is then taken back.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use countersign_policy::analysis::SessionChange;
use countersign_policy::mask::MaskSet;
use countersign_policy::{Analysis, Effect, Effects};
use jiff::Timestamp;

use super::copy_in::Doubt;
use super::guarded::Guard;
use super::keeping::Keeping;
use super::names::Generation;
use super::parked::Asked;
use super::results::ResultPlan;
use super::statements::{NameId, Undo};
use super::unmasked::{self, Unmasked};
use super::words::Surroundings;
use crate::config::Outcomes;
use crate::review::RequestId;

/// One reply that is owed.
pub(super) enum Expected {
    /// Everything up to ReadyForQuery of a Query or a FunctionCall.
    Query(Box<QueryReply>),
    /// ErrorResponse and ReadyForQuery of a Query that cannot succeed; the client sees these bytes instead of the error.
    PoisonQuery(Bytes),
    /// ParseComplete.
    Parse(Undo),
    /// ParseComplete of a text that was sent to be rejected; the client does not see it.
    OwnParse,
    /// BindComplete.
    Bind(Undo),
    /// CloseComplete.
    Close(Undo),
    /// ParameterDescription (statements only), then RowDescription or NoData.
    Describe(DescribeTarget),
    /// RowDescription or NoData that the proxy asked for, for the Execute behind it.
    OwnDescribe(DescribeTarget),
    /// Rows or COPY, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute(Box<ExecuteReply>),
    /// ErrorResponse of an Execute that cannot succeed; the client sees these bytes instead.
    PoisonExecute(Bytes),
    /// ReadyForQuery.
    Sync,
    /// ReadyForQuery for some of the Syncs that were sent within a COPY which has failed.
    CopySyncs(Doubt),
    /// The proxy's own query: swallowed whole.
    Own(OwnReply),
}

/// Whose columns a Describe asks for: the name, and what bore it at that time if that is known.
#[derive(Clone)]
pub(super) enum DescribeTarget {
    /// A prepared statement.
    Statement(Bytes, Option<NameId>),
    /// A portal.
    Portal(Bytes, Option<NameId>),
}

/// State of the replies to a Query.
pub(super) struct QueryReply {
    pub(super) run: Run,
    /// It was a FunctionCall: FunctionCallResponse comes in place of rows.
    pub(super) is_call: bool,
    /// How many statements of the string have completed.
    pub(super) completed: usize,
    pub(super) failed: bool,
    pub(super) plan: ResultPlan,
    /// What watches over a limit of rows.
    pub(super) guard: Option<Box<Guard>>,
}

/// State of the replies to an Execute.
pub(super) struct ExecuteReply {
    pub(super) run: Run,
    pub(super) portal: Bytes,
    pub(super) plan: ResultPlan,
}

/// What is known of a request that runs.
pub(super) struct Run {
    pub(super) text: Arc<str>,
    pub(super) analysis: Arc<Analysis>,
    /// The names and the catalog under which it was analysed.
    pub(super) generation: Generation,
    /// The access request whose approval it rests on.
    pub(super) access_request: Option<RequestId>,
    /// How many rows it may write at most.
    pub(super) max_affected: Option<u64>,
    /// Rows that went to the client.
    pub(super) rows: u64,
    /// Last command tag or SQLSTATE.
    pub(super) outcome: Option<Result<String, String>>,
    /// Number and time of the verdict under which its outcome is told, though it needed no approval.
    pub(super) told: Option<(u64, Timestamp)>,
    /// What grants showed when it was judged: that is on record.
    pub(super) unmasked: Arc<[Unmasked]>,
    /// Names of masks that were applied.
    pub(super) masked: Vec<String>,
    /// Rows that were masked, by the rules that masked a cell of each.
    pub(super) masked_rows: Vec<(Arc<[Arc<str>]>, u64)>,
    /// What is kept of its output, where anything is.
    pub(super) keeping: Option<Box<Keeping>>,
}

impl Run {
    pub(super) fn new(asked: &Asked, access_request: Option<RequestId>, around: &Surroundings) -> Self {
        Self {
            text: Arc::clone(&asked.text),
            analysis: Arc::clone(&asked.analysis),
            generation: asked.generation,
            access_request,
            max_affected: None,
            rows: 0,
            outcome: None,
            told: None,
            unmasked: Arc::clone(&around.unmasked),
            masked: Vec::new(),
            masked_rows: Vec::new(),
            keeping: None,
        }
    }

    /// One that was allowed at once by the judgement of that number.
    pub(super) fn allowed(asked: &Asked, number: u64, around: &Surroundings) -> Self {
        let told = (around.config.audit.outcomes == Outcomes::All).then_some((number, around.now));
        Self { told, ..Self::new(asked, None, around) }
    }

    /// Whether the trail is told how it ended.
    pub(super) fn is_told(&self) -> bool {
        self.access_request.is_some() || self.told.is_some()
    }

    /// The masks for what it returns. A grant that was given or taken back since it was judged shows nothing of it.
    pub(super) fn masks<'a>(&self, around: &'a Surroundings) -> &'a MaskSet {
        if unmasked::same(&self.unmasked, &around.unmasked) { &around.masks } else { &around.all_masks }
    }

    /// Counts rows with a cell masked by each of these rules.
    pub(super) fn count_masked(&mut self, rules: &Arc<[Arc<str>]>, rows: u64) {
        match self.masked_rows.last_mut().filter(|(known, _)| Arc::ptr_eq(known, rules)) {
            Some((_, counted)) => *counted = counted.saturating_add(rows),
            None => self.masked_rows.push((Arc::clone(rules), rows)),
        }
    }

    /// Cells that were masked, by rule.
    pub(super) fn masked_cells(&self) -> Vec<(Arc<str>, u64)> {
        let mut cells: Vec<(Arc<str>, u64)> = Vec::new();
        for (rules, rows) in &self.masked_rows {
            for rule in rules.iter() {
                match cells.iter_mut().find(|(known, _)| known == rule) {
                    Some((_, counted)) => *counted = counted.saturating_add(*rows),
                    None => cells.push((Arc::clone(rule), *rows)),
                }
            }
        }
        cells
    }

    /// Whether it begins or ends a transaction block, or may.
    pub(super) fn may_change_transaction(&self) -> bool {
        const CHANGES: Effects = Effects::of(&[Effect::Transaction, Effect::Call, Effect::Do, Effect::Unknown]);
        self.analysis.effects().intersects(CHANGES)
    }

    /// Which portals it may end: they end with the transaction.
    pub(super) fn ends(&self) -> Ends {
        let by_itself = |change: &SessionChange| matches!(change, SessionChange::Transaction);
        if self.analysis.statements.iter().any(|statement| statement.session_changes.iter().any(by_itself)) {
            Ends::All
        } else if self.analysis.effects().intersects(Effects::of(&[Effect::Call, Effect::Do])) {
            Ends::Others
        } else {
            Ends::None
        }
    }

    /// Whether it may read CopyData: it is a COPY, or not understood.
    pub(super) fn may_copy_in(&self) -> bool {
        self.analysis.effects().intersects(Effects::of(&[Effect::CopyIn, Effect::Unknown]))
    }
}

/// Which portals a request may end.
pub(super) enum Ends {
    /// None.
    None,
    /// All but the one that it executes: code that ends a transaction goes on.
    Others,
    /// All.
    All,
}

/// State of the replies to the proxy's own query.
pub(super) struct OwnReply {
    /// The one row, once it came.
    pub(super) row: Option<Bytes>,
    /// How many CloseComplete came; the second ends it, unless a Sync was sent along.
    pub(super) closed: u8,
    /// Whether its last message is ReadyForQuery.
    pub(super) with_sync: bool,
    /// The custom settings whose values it asks for; none when it asks for names.
    pub(super) settings: Option<Vec<String>>,
}

impl OwnReply {
    pub(super) fn new(with_sync: bool, settings: Option<Vec<String>>) -> Self {
        Self { row: None, closed: 0, with_sync, settings }
    }
}

/// The queue.
#[derive(Default)]
pub(super) struct ExpectedQueue {
    entries: VecDeque<Expected>,
}

impl ExpectedQueue {
    pub(super) fn push(&mut self, entry: Expected) {
        self.entries.push_back(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether nothing is owed, but perhaps a few ReadyForQuery.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.entries.front(), None | Some(Expected::CopySyncs(_)))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the upstream is busy with a Query.
    pub(super) fn is_in_query(&self) -> bool {
        matches!(self.entries.front(), Some(Expected::Query(_)))
    }

    /// Whether a request with a limit of rows runs: nothing is sent behind it before its rows have been counted.
    pub(super) fn is_guarded(&self) -> bool {
        match self.entries.back() {
            Some(Expected::Query(reply)) => reply.guard.is_some(),
            Some(Expected::Execute(reply)) => reply.run.max_affected.is_some(),
            _ => false,
        }
    }

    /// Whether the upstream is busy with something of the client's.
    pub(super) fn is_for_client(&self) -> bool {
        !matches!(self.entries.front(), None | Some(Expected::Own(_) | Expected::CopySyncs(_)))
    }

    /// Whether it is not known which Syncs the upstream has read. Nothing is sent behind such an entry.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self.entries.back(), Some(Expected::CopySyncs(_)))
    }

    pub(super) fn in_doubt(&mut self) -> Option<&mut Doubt> {
        match self.entries.back_mut() {
            Some(Expected::CopySyncs(doubt)) => Some(doubt),
            _ => None,
        }
    }

    pub(super) fn front(&mut self) -> Option<&mut Expected> {
        self.entries.front_mut()
    }

    pub(super) fn pop(&mut self) -> Option<Expected> {
        self.entries.pop_front()
    }

    /// Removes what the upstream skips after an error: everything before the next Sync, newest first.
    /// `None` in place of the Sync means that the client has not sent it yet.
    pub(super) fn skip_to_sync(&mut self) -> (Vec<Expected>, bool) {
        let sync = self.entries.iter().position(|entry| matches!(entry, Expected::Sync));
        let mut skipped: Vec<Expected> = match sync {
            Some(at) => self.entries.drain(..at).collect(),
            None => self.entries.drain(..).collect(),
        };
        skipped.reverse();
        (skipped, sync.is_some())
    }

    /// Every request that was sent and has not completed.
    pub(super) fn drain_runs(&mut self) -> Vec<Run> {
        self.entries
            .drain(..)
            .filter_map(|entry| match entry {
                Expected::Query(reply) => Some(reply.run),
                Expected::Execute(reply) => Some(reply.run),
                Expected::PoisonQuery(_)
                | Expected::Parse(_)
                | Expected::OwnParse
                | Expected::Bind(_)
                | Expected::Close(_)
                | Expected::Describe(_)
                | Expected::OwnDescribe(_)
                | Expected::PoisonExecute(_)
                | Expected::Sync
                | Expected::CopySyncs(_)
                | Expected::Own(_) => None,
            })
            .collect()
    }

    /// Whether a request is under way that begins or ends a transaction block, or may.
    pub(super) fn may_change_transaction(&self) -> bool {
        self.entries.iter().any(|entry| match entry {
            Expected::Query(reply) => reply.run.may_change_transaction(),
            Expected::Execute(reply) => reply.run.may_change_transaction(),
            Expected::PoisonQuery(_)
            | Expected::Parse(_)
            | Expected::OwnParse
            | Expected::Bind(_)
            | Expected::Close(_)
            | Expected::Describe(_)
            | Expected::OwnDescribe(_)
            | Expected::PoisonExecute(_)
            | Expected::Sync
            | Expected::CopySyncs(_)
            | Expected::Own(_) => false,
        })
    }

    /// Whether a request that rests on an approval is under way.
    pub(super) fn runs_approved(&self) -> bool {
        self.entries.iter().any(|entry| match entry {
            Expected::Query(reply) => reply.run.access_request.is_some(),
            Expected::Execute(reply) => reply.run.access_request.is_some(),
            Expected::PoisonQuery(_)
            | Expected::Parse(_)
            | Expected::OwnParse
            | Expected::Bind(_)
            | Expected::Close(_)
            | Expected::Describe(_)
            | Expected::OwnDescribe(_)
            | Expected::PoisonExecute(_)
            | Expected::Sync
            | Expected::CopySyncs(_)
            | Expected::Own(_) => false,
        })
    }
}
