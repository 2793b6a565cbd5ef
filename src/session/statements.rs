//! Prepared statements, portals and cursors of a session, as the upstream has them.
//!
//! Never forwards anything. Invariant: a change made for a message that the upstream then skips is taken back
//! ([`Undo`]), so a name means here what it means upstream, or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_policy::Analysis;
use countersign_policy::analysis::{PreparedLookup, StatementAnalysis};
use countersign_protocol::backend::Field;

mod by_sql;
mod undo;

use by_sql::SqlNamed;
pub(super) use undo::{Before, Undo};

use super::definitions::Definitions;
use super::machine::QUICK_LEN_MAX;
use super::names::Generation;
use super::parked::{Given, runs_a_name};

/// Something for each name that the client gives; a name is looked for several times in each transaction.
type ByName<T> = HashMap<Bytes, T, ahash::RandomState>;
/// PostgreSQL cuts names after so many bytes.
const NAME_LEN_MAX: usize = 63;

/// A name as PostgreSQL keeps it: two that agree in the first 63 bytes are one.
pub(super) fn cut(name: &[u8]) -> &[u8] {
    name.get(..NAME_LEN_MAX).unwrap_or(name)
}

/// Distinguishes what bore the same name one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NameId(u64);

/// A prepared statement made by Parse, or by SQL `PREPARE` and then bound.
#[derive(Clone)]
pub(super) struct PreparedStatement {
    pub(super) id: NameId,
    /// Its text; of one that SQL prepared, the text that `PREPARE` stands in.
    pub(super) text: Arc<str>,
    pub(super) named_by_sql: bool,
    pub(super) analysis: Arc<Analysis>,
    /// The generation of names under which it was analysed.
    pub(super) generation: Generation,
    /// Parameter types, from Parse and then from ParameterDescription.
    pub(super) parameter_types: Arc<[u32]>,
    /// The cycle it was made in.
    pub(super) cycle: u64,
}

/// Columns of a statement or portal, once described.
#[derive(Clone)]
pub(super) enum Described {
    /// It returns no rows.
    NoData,
    /// It returns these.
    Fields(Arc<[Field]>),
}

/// A portal made by Bind, or by SQL `DECLARE` and then executed. What it executes was fixed when it was made: later
/// changes of the search path do not change it.
#[derive(Clone)]
pub(super) struct Portal {
    pub(super) id: NameId,
    pub(super) statement: PreparedStatement,
    /// The whole Bind frame; empty for a cursor.
    pub(super) bind: Bytes,
    /// What follows the two names in it.
    pub(super) parameter_part: Bytes,
    pub(super) result_formats: Vec<i16>,
    pub(super) fields: Option<Described>,
    /// The approval under which it started, for a portal that is continued.
    pub(super) approved: Option<Given>,
    /// The cycle it was made in.
    pub(super) cycle: u64,
}

/// Bytes of texts and parameters that a session may have under its names.
const KEPT_BYTES_MAX: usize = 128 << 20;
/// Longest text of an unnamed statement that is known again when what replaced it is skipped, in bytes.
const UNNAMED_KEPT_MAX: usize = 1 << 10;
/// What a name is taken to cost besides, in bytes.
const NAME_BYTES: usize = 2 << 10;

/// Whether a text may be long.
#[derive(Clone, Copy, Default)]
struct LongTexts {
    /// One that has, or had, a name.
    named: bool,
    /// That of the unnamed statement.
    statement: bool,
    /// That of the unnamed portal.
    portal: bool,
}

/// All names of a session.
///
/// A *cycle* is what ends with one ReadyForQuery. The client may be cycles ahead of the upstream, so a portal dies by
/// the ReadyForQuery of its own cycle or a later one, not by an earlier one.
#[derive(Default)]
pub(super) struct Statements {
    prepared: ByName<PreparedStatement>,
    portals: ByName<Portal>,
    sql_prepared: ByName<SqlNamed>,
    cursors: ByName<SqlNamed>,
    /// Names of prepared statements that were closed, with the cycle: behind an error nothing is closed.
    closed: ByName<u64>,
    /// The same for cursors, and for portals that may stand in the place of one.
    closed_cursors: ByName<u64>,
    ids: u64,
    /// At least the bytes that are kept.
    kept: usize,
    /// Where long texts may be.
    long_texts: LongTexts,
    /// Grows with every change of what a name other than the unnamed ones means.
    revision: u64,
    /// Grows whenever SQL has made, ended or forgotten cursors.
    cursors_revision: u64,
    /// Cycles that the client has ended.
    cycles_sent: u64,
    /// Cycles that the upstream has ended.
    cycles_done: u64,
    /// Portals of cycles below this one have ended with their transaction.
    cycles_ended: u64,
}

impl Statements {
    pub(super) fn prepare(&mut self, name: Bytes, statement: PreparedStatement) -> Undo {
        self.renamed(&name);
        let by_sql = self.sql_prepared.remove(&name);
        let id = self.next_id();
        let statement = PreparedStatement { id, cycle: self.cycles_sent, ..statement };
        let is_long = statement.text.len() > QUICK_LEN_MAX;
        match &mut self.long_texts {
            texts if name.is_empty() => texts.statement = is_long,
            texts => texts.named |= is_long,
        }
        let before = self.prepared.insert(name.clone(), statement);
        // Of texts that a long pipeline replaces one by one only the short are kept: after an error, a client parses anew.
        let before = before.filter(|before| !name.is_empty() || before.text.len() <= UNNAMED_KEPT_MAX);
        Undo::Statement(name, id, Before { prepared: before.map(Box::new), by_sql: by_sql.map(Box::new) })
    }

    pub(super) fn bind(&mut self, name: Bytes, portal: Portal) -> Undo {
        self.renamed(&name);
        let cursor = self.take_cursor(&name);
        let id = self.next_id();
        let is_long = portal.statement.text.len() > QUICK_LEN_MAX;
        match &mut self.long_texts {
            texts if name.is_empty() => texts.portal = is_long,
            texts => texts.named |= is_long,
        }
        self.portals.insert(name.clone(), Portal { id, cycle: self.cycles_sent, ..portal });
        Undo::Portal(name, id, cursor)
    }

    /// Whether a message may lead to a long text that came earlier.
    pub(super) fn has_long_texts(&self) -> bool {
        let LongTexts { named, statement, portal } = self.long_texts;
        named || statement || portal
    }

    pub(super) fn close_statement(&mut self, name: &[u8]) -> Undo {
        self.renamed(name);
        let before = Before {
            prepared: self.prepared.remove(name).map(Box::new),
            by_sql: self.sql_prepared.remove(name).map(Box::new),
        };
        if before.prepared.is_none() && before.by_sql.is_none() {
            return Undo::Nothing;
        }
        let name = Bytes::copy_from_slice(name);
        self.closed.insert(name.clone(), self.cycles_sent);
        Undo::Statement(name, NameId::default(), before)
    }

    pub(super) fn close_portal(&mut self, name: &[u8]) -> Undo {
        self.renamed(name);
        let closed = self.portals.remove(name);
        let cursor = self.take_cursor(name);
        // A portal that is perhaps not made leaves the cursor of its name.
        let perhaps = !name.is_empty() && closed.is_some_and(|portal| portal.cycle == self.cycles_sent);
        if cursor.is_none() && !perhaps {
            return Undo::Nothing;
        }
        let name = Bytes::copy_from_slice(name);
        self.closed_cursors.insert(name.clone(), self.cycles_sent);
        Undo::Portal(name, NameId::default(), cursor)
    }

    /// Whether it is not yet known that what was made in this cycle has been made: the client has ended the cycle, so
    /// that an error in it would not keep the upstream from executing what follows.
    fn is_unsettled(&self, cycle: u64) -> bool {
        self.cycles_done <= cycle && cycle < self.cycles_sent
    }

    /// Whether it is not yet known what the prepared statement of that name is, or whether there is one.
    pub(super) fn is_unsettled_statement(&self, name: &[u8]) -> bool {
        let made = self.prepared.get(name).map(|known| known.cycle);
        made.or_else(|| self.closed.get(name).copied()).is_some_and(|cycle| self.is_unsettled(cycle))
    }

    /// Whether it is not yet known what the portal of that name is.
    pub(super) fn is_unsettled_portal(&self, name: &[u8]) -> bool {
        let made = self.portals.get(name).map(|known| known.cycle);
        made.or_else(|| self.closed_cursors.get(name).copied()).is_some_and(|cycle| self.is_unsettled(cycle))
    }

    /// Whether it is not yet known what some name is.
    pub(super) fn is_any_unsettled(&self) -> bool {
        self.prepared.values().any(|known| self.is_unsettled(known.cycle))
            || self.portals.values().any(|known| self.is_unsettled(known.cycle))
    }

    /// Whether something of that many bytes may still be kept.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        self.kept = self.kept.saturating_add(bytes).saturating_add(NAME_BYTES);
        if self.kept > KEPT_BYTES_MAX {
            let texts = self.prepared.values().map(|known| known.text.len());
            let binds = self.portals.values().map(|known| known.bind.len());
            let sql = self.sql_prepared.values().chain(self.cursors.values()).map(|known| known.text.len());
            let kept: usize = texts.chain(binds).chain(sql).map(|bytes| bytes.saturating_add(NAME_BYTES)).sum();
            self.kept = kept.saturating_add(bytes);
        }
        self.kept <= KEPT_BYTES_MAX
    }

    fn next_id(&mut self) -> NameId {
        self.ids = self.ids.saturating_add(1);
        NameId(self.ids)
    }

    fn renamed(&mut self, name: &[u8]) {
        if !name.is_empty() {
            self.revision = self.revision.saturating_add(1);
        }
    }

    /// Differs whenever a name may mean something else than before.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Notes that a message was sent that ReadyForQuery will answer.
    pub(super) fn cycle_sent(&mut self) {
        self.cycles_sent = self.cycles_sent.saturating_add(1);
    }

    /// The cycle that the client is in.
    pub(super) fn cycle(&self) -> u64 {
        self.cycles_sent
    }

    /// Notes a ReadyForQuery; portals end with their transaction. Yields the first cycle that has not ended.
    pub(super) fn cycle_done(&mut self, in_transaction: bool) -> u64 {
        self.cycles_done = self.cycles_done.saturating_add(1);
        if !self.closed.is_empty() {
            self.closed.retain(|_, cycle| *cycle >= self.cycles_done);
        }
        if !self.closed_cursors.is_empty() {
            self.closed_cursors.retain(|_, cycle| *cycle >= self.cycles_done);
        }
        if !in_transaction {
            let ended = self.cycles_done;
            self.cycles_ended = ended;
            self.portals.retain(|_, portal| portal.cycle >= ended);
        }
        self.cycles_done
    }

    pub(super) fn statement(&mut self, name: &[u8]) -> Option<&mut PreparedStatement> {
        self.prepared.get_mut(name)
    }

    pub(super) fn portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        self.portals.get_mut(name)
    }

    /// Portals that exist now end with the transaction that a statement ends, but for this one.
    pub(super) fn end_portals(&mut self, stays: Option<&[u8]>) {
        self.portals.retain(|name, _| stays.is_some_and(|stays| name == stays));
    }

    /// Forgets cursors that have ended unless they were declared WITH HOLD: a function may open others of their names.
    pub(super) fn forget_old_cursors(&mut self) {
        let ended = self.cycles_ended;
        self.cursors_revision = self.cursors_revision.saturating_add(1);
        self.cursors.retain(|_, cursor| cursor.cycle >= ended);
    }

    /// A Query replaces the unnamed statement and the unnamed portal.
    pub(super) fn end_unnamed(&mut self) {
        // Who sends Queries only has neither, and a name is hashed before it is not found.
        if !(self.prepared.is_empty() && self.portals.is_empty()) {
            self.prepared.remove(&b""[..]);
            self.portals.remove(&b""[..]);
        }
    }

    /// The names as a text analysed under this generation sees them.
    pub(super) fn seen_under<'a>(&'a self, generation: Generation, definitions: &'a Definitions) -> SeenUnder<'a> {
        SeenUnder { statements: self, generation, definitions }
    }
}

/// The names of a session, of which prepared statements are known only as long as their analysis is valid: PostgreSQL
/// plans them anew when the search path or the catalog is different.
pub(super) struct SeenUnder<'a> {
    statements: &'a Statements,
    generation: Generation,
    definitions: &'a Definitions,
}

impl PreparedLookup for SeenUnder<'_> {
    fn prepared(&self, name: &str) -> Option<&StatementAnalysis> {
        let name = cut(name.as_bytes());
        let by_sql = self.statements.sql_prepared.get(name);
        if let Some(named) = by_sql.filter(|named| named.generation == self.generation) {
            return Some(&named.analysis);
        }
        let by_protocol = self.statements.prepared.get(name)?;
        (by_protocol.generation == self.generation).then(|| by_protocol.analysis.statements.first())?
    }

    fn cursor(&self, name: &str) -> Option<&StatementAnalysis> {
        let name = cut(name.as_bytes());
        match self.statements.cursors.get(name) {
            Some(cursor) => Some(&cursor.analysis),
            None => {
                // What PostgreSQL does not plan, such as EXECUTE, looks its names up when it is fetched.
                let bound = &self.statements.portals.get(name)?.statement;
                let is_fixed = bound.generation == self.generation && !runs_a_name(&bound.analysis);
                is_fixed.then(|| bound.analysis.statements.first())?
            }
        }
    }

    fn created_table(&self, name: &str) -> bool {
        self.definitions.created(name)
    }
}
