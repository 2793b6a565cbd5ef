//! A request that is being decided, and what an approval of it is bound to.
//!
//! Never leaves for the upstream from here: a release is judged again and goes through the one door.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_policy::analysis::{SessionChange, StatementAnalysis};
use countersign_policy::grant::{Binding, BindingFacts, ShapeDigest};
use countersign_policy::rule::Mode;
use countersign_policy::subject::Subject;
use countersign_policy::verdict::{HoldTerms, ReviewerDemand, Rows};
use countersign_policy::{Analysis, Effect, Permit};
use countersign_protocol::frontend::{bound_values, format_of};
use countersign_protocol::value;
use jiff::Timestamp;

use super::buffers;
use super::expected::Expected;
use super::guarded;
use super::justification;
use super::machine::Machine;
use super::names::Generation;
use super::statements::{NameId, Portal, Undo};
use super::words::Surroundings;
use crate::card::{Inquiry, Subjects};
use crate::review::{Edit, NewRequest, Parameter, RequestId};

/// What is put to the decision: a text and its parameter values.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) text: Arc<str>,
    pub(super) analysis: Arc<Analysis>,
    /// The names and the catalog under which it was analysed.
    pub(super) generation: Generation,
    /// The analysis is not that of the text, but of what SQL named in it.
    pub(super) named_by_sql: bool,
    /// Bind's parameter part; empty for a Query.
    pub(super) parameter_part: Bytes,
    /// What its values are of.
    pub(super) given: Values,
    pub(super) parameters: Vec<Parameter>,
    /// The planner's estimate, where it was asked for.
    pub(super) rows: Option<Rows>,
    /// The Bind that gave it its parameters, and their types as far as the client gave them; of what is held.
    pub(super) bind: Option<(Bytes, Vec<u32>)>,
}

/// What the values of a request are of.
#[derive(Clone)]
pub(super) enum Values {
    /// It has none.
    Nothing,
    /// Parameters of these types, as far as they are known.
    Bound(Arc<[u32]>),
    /// Arguments of a function.
    Called(&'static [u32]),
}

/// Extended-protocol messages that wait for the Execute, Flush or Sync behind them.
#[derive(Default)]
pub(super) struct Group {
    pub(super) bytes: BytesMut,
    pub(super) expected: Vec<Expected>,
    /// Binds of statements that are not allowed as they are, and Parses of those that parsing runs code of.
    undecided: Option<Undecided>,
    /// What comes before the first Parse or Bind of such a statement: bytes and messages.
    harmless: Option<(usize, usize)>,
}

/// See [`Group`].
struct Undecided {
    /// What comes before the first of them.
    bytes: usize,
    messages: usize,
    /// The portals that these Binds make.
    portals: Vec<NameId>,
    /// The statements that these Parses make.
    statements: Vec<NameId>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// Notes that the next message is about a statement that is not allowed as it stands.
    pub(super) fn mark_guarded(&mut self) {
        self.harmless.get_or_insert((self.bytes.len(), self.expected.len()));
    }

    /// Notes that the next message is a Bind of a statement that is not allowed as it stands, and makes this portal.
    pub(super) fn mark_undecided(&mut self, portal: NameId) {
        self.undecided_from_here().portals.push(portal);
    }

    /// Notes that the next message is a Parse of a statement that is not allowed as it stands, makes this statement, and runs
    /// code.
    pub(super) fn mark_undecided_parse(&mut self, statement: NameId) {
        self.undecided_from_here().statements.push(statement);
    }

    fn undecided_from_here(&mut self) -> &mut Undecided {
        let (bytes, messages) = (self.bytes.len(), self.expected.len());
        self.mark_guarded();
        self.undecided.get_or_insert(Undecided { bytes, messages, portals: Vec::new(), statements: Vec::new() })
    }

    /// Notes that none of them may pass as things stand now, the Bind of this portal included.
    pub(super) fn mark_all_undecided(&mut self, portal: NameId) {
        self.harmless = Some((0, 0));
        self.undecided = Some(Undecided { bytes: 0, messages: 0, portals: vec![portal], statements: Vec::new() });
    }

    /// Whether such a Bind among them makes another portal than this one, or such a Parse another statement than its own.
    pub(super) fn is_undecided_besides(&self, portal: &Portal) -> bool {
        self.undecided.as_ref().is_some_and(|undecided| {
            undecided.portals.iter().any(|other| *other != portal.id)
                || undecided.statements.iter().any(|other| *other != portal.statement.id)
        })
    }

    /// Whether there is such a Bind or Parse among them.
    pub(super) fn is_undecided(&self) -> bool {
        self.undecided.is_some()
    }

    /// Splits off the first of them and what follows it.
    pub(super) fn split_undecided(&mut self) -> Self {
        let at = self.undecided.take().map(|undecided| (undecided.bytes, undecided.messages));
        self.split_off(at)
    }

    /// Splits off what is about statements that are not allowed as they stand, and what follows it.
    pub(super) fn split_guarded(&mut self) -> Self {
        self.undecided = None;
        let at = self.harmless.take();
        self.split_off(at)
    }

    fn split_off(&mut self, at: Option<(usize, usize)>) -> Self {
        let Some((bytes, messages)) = at else { return Self::default() };
        let (bytes, expected) = (self.bytes.split_off(bytes), self.expected.split_off(messages));
        Self { bytes, expected, ..Self::default() }
    }

    /// Whether the Bind that makes this portal is among them.
    pub(super) fn binds(&self, portal: &[u8]) -> bool {
        self.expected.iter().any(|entry| matches!(entry, Expected::Bind(Undo::Portal(name, ..)) if name == portal))
    }
}

/// How a request came.
pub(super) enum Shape {
    /// A Query frame.
    Query(Bytes),
    /// The messages before an Execute, the Execute frame, and its portal.
    Execute {
        /// Messages not yet forwarded.
        group: Group,
        /// The Execute frame.
        execute: Bytes,
        /// Name of the portal.
        portal: Bytes,
    },
}

/// A request on its way through a decision.
pub(super) struct Parked {
    pub(super) shape: Shape,
    pub(super) asked: Asked,
    /// What an approval of it is bound to, as things were when it was parked.
    pub(super) binding: Binding,
    /// How its requester waits.
    pub(super) mode: Mode,
}

impl Parked {
    /// Gives back what it was read with: people take longer to decide than a buffer should be kept for. What a portal
    /// is executed with was copied when it was bound.
    pub(super) fn give_back_buffers(&mut self) {
        match &mut self.shape {
            Shape::Query(query) => buffers::alone(query),
            Shape::Execute { group, execute, .. } => {
                buffers::rest_alone(&mut group.bytes);
                buffers::alone(execute);
            }
        }
        if self.asked.bind.is_none() {
            buffers::alone(&mut self.asked.parameter_part);
        }
    }
}

/// An approval that was given.
#[derive(Clone)]
pub(super) struct Given {
    /// The access request.
    pub(super) id: RequestId,
    /// The demands that were met.
    pub(super) met: Vec<ReviewerDemand>,
    /// What it is bound to.
    pub(super) binding: Binding,
    /// How many rows it may write at most.
    pub(super) max_affected: Option<u64>,
}

/// What stands between the client's next frame and us.
pub(super) enum Gate {
    /// Nothing: the next frame is taken.
    Open,
    /// The catalog is being loaded again.
    Refreshing,
    /// The planner is being asked about the frame that is postponed, under this binding.
    Estimating(Box<Binding>),
    /// The definitions behind the frame that is postponed are being looked at.
    Looking,
    /// The store is recording the request.
    Opening(Box<OpeningRequest>),
    /// People are deciding.
    Held(Box<Held>),
    /// Approved; the catalog is being loaded again, so that it is judged by what is there now.
    Approved(Box<ApprovedRequest>),
    /// Approved and permitted; the store and the audit are recording that it runs.
    Releasing(Box<Releasing>),
    /// The client is gone; only the outcome of an approved request is still waited for.
    Leaving,
    /// The session is over.
    Closed,
}

impl Gate {
    /// Length of the text that is being decided, in bytes.
    pub(super) fn text_len(&self) -> usize {
        let parked = match self {
            Self::Opening(opening) => &opening.parked,
            Self::Held(held) => &held.parked,
            Self::Approved(approved) => &approved.parked,
            Self::Releasing(releasing) => &releasing.parked,
            Self::Open | Self::Refreshing | Self::Estimating(_) | Self::Looking | Self::Leaving | Self::Closed => {
                return 0;
            }
        };
        parked.asked.text.len()
    }
}

/// A request that is being recorded.
pub(super) struct OpeningRequest {
    pub(super) parked: Parked,
    /// The number of the command that records it.
    pub(super) number: u64,
    /// On what terms it is held; gone once its access request has been made.
    pub(super) terms: Option<HoldTerms>,
    /// What was executed before it may be part of its transaction.
    pub(super) in_transaction: bool,
}

/// A request that people are deciding.
pub(super) struct Held {
    pub(super) parked: Parked,
    pub(super) id: RequestId,
    pub(super) mode: Mode,
    /// When its client is told to come back once it is approved.
    pub(super) leave_at: Option<Timestamp>,
    pub(super) notice: Bytes,
    pub(super) next_notice: Timestamp,
    pub(super) timeout: std::time::Duration,
}

/// A request that was approved and is about to be judged again.
pub(super) struct ApprovedRequest {
    pub(super) parked: Parked,
    pub(super) given: Given,
    /// What was approved in its place.
    pub(super) edit: Option<Edit>,
}

/// A request that was approved and judged again.
pub(super) struct Releasing {
    /// Told to the client before it runs.
    pub(super) notice: Option<Bytes>,
    pub(super) parked: Parked,
    pub(super) given: Given,
    pub(super) permit: Permit,
}

impl Machine {
    /// What an approval of this is bound to now. What a prepared statement or cursor of that name is, belongs to it: such
    /// an approval serves only this session, and only until a name changes.
    pub(super) fn binding_of(&self, asked: &Asked, around: &Surroundings) -> Binding {
        let mut parameters = asked.parameter_part.clone();
        if runs_a_name(&asked.analysis) {
            let mut named = BytesMut::from(parameters.as_ref());
            named.extend_from_slice(self.identity.session.as_bytes());
            named.extend_from_slice(&self.statements.revision().to_be_bytes());
            parameters = named.freeze();
        }
        Binding::of(&BindingFacts {
            statement: asked.text.as_bytes(),
            parameters: &parameters,
            subject: &self.identity.subject,
            role: &self.names.role,
            search_path: &self.names.search_path,
            formats: &self.names.formats,
            catalog_version: around.catalog.version_for(&self.names.search_path),
            settings: &self.bound_settings(asked, around),
        })
    }
}

/// Whether an EXECUTE, FETCH or MOVE is in it.
pub(super) fn runs_a_name(analysis: &Analysis) -> bool {
    let declares = |change: &SessionChange| matches!(change, SessionChange::DeclareCursor(..));
    analysis.statements.iter().any(|statement| {
        statement.effects.contains(Effect::Execute)
            || (statement.effects.contains(Effect::Cursor) && !statement.session_changes.iter().any(declares))
    })
}

impl Asked {
    /// A text without parameters.
    pub(super) fn query(text: Arc<str>, analysis: Arc<Analysis>, generation: Generation) -> Self {
        Self {
            text,
            analysis,
            generation,
            named_by_sql: false,
            parameter_part: Bytes::new(),
            given: Values::Nothing,
            parameters: Vec::new(),
            rows: None,
            bind: None,
        }
    }

    /// Its bound values or arguments as a person reads them.
    pub(super) fn values(&self) -> Vec<Parameter> {
        let types = match &self.given {
            Values::Nothing => return Vec::new(),
            Values::Bound(types) => &**types,
            Values::Called(types) => types,
        };
        // What cannot be read is refused where it is decided.
        let Ok(bound) = bound_values(&self.parameter_part) else { return Vec::new() };
        read_values(types, &bound.values, |index| format_of(&bound.formats, index))
    }

    /// What it does in one line, with how many rows where that is known.
    fn summary(&self) -> String {
        let summary = summary(&self.analysis);
        match self.rows {
            Some(Rows::Estimated(1)) => format!("{summary} (about 1 row)"),
            Some(Rows::Estimated(rows)) => format!("{summary} (about {rows} rows)"),
            Some(Rows::Unavailable(_)) | None => summary,
        }
    }

    /// The record of this as a new access request.
    pub(super) fn request(&self, facts: RequestFacts<'_>, terms: HoldTerms, subjects: Subjects<'_>) -> NewRequest {
        let (inquiry, card) = Inquiry::of(subjects, facts.role, facts.search_path);
        let mut messages = terms.messages;
        if let Some(why) = self.analysis.not_understood() {
            messages.push(format!("Not fully understood: {why}."));
        }
        NewRequest {
            binding: facts.binding,
            user: facts.subject.user.clone(),
            groups: facts.subject.groups.clone(),
            database: facts.subject.database.clone(),
            client_address: facts.client_address.to_owned(),
            application: facts.subject.application.clone(),
            statement: self.text.to_string(),
            parameters: self.parameters.clone(),
            summary: self.summary(),
            effects: self.analysis.effects().iter().map(|effect| effect.as_str().to_owned()).collect(),
            rules: terms.rules,
            causes: terms.causes,
            shape: (!runs_a_name(&self.analysis)).then(|| ShapeDigest::of(&self.text, facts.role, facts.search_path)),
            messages,
            reviewers: terms.reviewers,
            timeout: terms.timeout,
            mode: terms.mode,
            justification: justification::in_comment(&self.text).or_else(|| facts.reason.map(str::to_owned)),
            justification_asked: terms.justification,
            in_transaction: facts.in_transaction,
            card,
            inquiry,
            rows_counted: guarded::can_be_counted(&self.analysis, facts.in_transaction),
        }
    }
}

/// What an Execute of this portal asks for.
pub(super) fn asked_execute(portal: &Portal) -> Asked {
    let statement = &portal.statement;
    Asked {
        text: Arc::clone(&statement.text),
        analysis: Arc::clone(&statement.analysis),
        generation: statement.generation,
        named_by_sql: statement.named_by_sql,
        parameter_part: portal.parameter_part.clone(),
        given: Values::Bound(Arc::clone(&statement.parameter_types)),
        parameters: Vec::new(),
        rows: None,
        bind: None,
    }
}

/// Facts of the session that belong to the record of a request.
#[derive(Clone, Copy)]
pub(super) struct RequestFacts<'a> {
    pub(super) subject: &'a Subject,
    pub(super) binding: Binding,
    pub(super) client_address: &'a str,
    pub(super) role: &'a str,
    pub(super) search_path: &'a [String],
    pub(super) in_transaction: bool,
    /// The reason that the session has set.
    pub(super) reason: Option<&'a str>,
}

/// Bound values as a person reads them.
pub(super) fn readable(types: &[u32], bind: &countersign_protocol::frontend::Bind<'_>) -> Vec<Parameter> {
    read_values(types, &bind.values, |index| countersign_protocol::frontend::format_of(&bind.formats, index))
}

/// Values of these types as a person reads them.
pub(super) fn read_values(types: &[u32], values: &[Option<&[u8]>], format: impl Fn(usize) -> i16) -> Vec<Parameter> {
    values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let type_oid = types.get(index).copied().unwrap_or(0);
            Parameter {
                type_name: value::type_name(type_oid).unwrap_or("unknown").to_owned(),
                value: value.map(|bytes| value::display(type_oid, format(index), bytes)),
            }
        })
        .collect()
}

/// One line for people: `update on public.customers; delete on public.orders`.
pub(crate) fn summary(analysis: &Analysis) -> String {
    let mut parts: Vec<String> = Vec::new();
    for statement in &analysis.statements {
        let part = statement_summary(statement);
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    const SHOWN: usize = 4;
    let more = parts.len().saturating_sub(SHOWN);
    parts.truncate(SHOWN);
    if more > 0 {
        parts.push(format!("{more} more"));
    }
    parts.join("; ")
}

fn statement_summary(statement: &StatementAnalysis) -> String {
    let mut parts: Vec<String> = statement
        .relations
        .iter()
        .filter(|relation| relation.is_written())
        .map(|relation| {
            let effects: Vec<&str> =
                relation.effects.iter().filter(|effect| *effect != Effect::Select).map(Effect::as_str).collect();
            format!("{} on {}", effects.join(", "), relation.name)
        })
        .collect();
    if parts.is_empty() {
        let effects: Vec<&str> = statement.effects.iter().map(Effect::as_str).collect();
        parts.push(effects.join(", "));
    }
    parts.dedup();
    parts.join("; ")
}
