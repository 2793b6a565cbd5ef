//! Statement text → [`Analysis`]: what each statement in it does, to which relations, and where its output comes from.
//!
//! PostgreSQL's own grammar decides; our extractor walks its tree, and `sqlparser` may only object.
//! Never sends or rewrites SQL. Invariant: an analysis without [`StatementAnalysis::not_understood`] is complete;
//! a node the extractor does not know yields [`NotUnderstood`], never silence.

use std::fmt;
use std::sync::Arc;

mod body;
mod builtins;
pub mod cache;
mod cascade;
mod collected;
mod columns;
mod condition;
mod consequences;
mod constant;
mod constructor;
mod copy;
mod counted;
mod create;
mod ddl;
mod dialect;
mod effects;
mod events;
mod expression;
mod footing;
mod from;
mod functions;
mod grammar;
pub(crate) mod guard;
mod hidden;
mod lineage;
mod lookup;
mod modify;
mod moves;
mod names;
mod nested;
mod parsing;
mod query;
mod quiet;
mod rebound;
mod redefined;
mod relations;
mod rewrite;
mod roles;
mod second_opinion;
mod settings;
pub(crate) mod shape;
pub mod syntax;
mod tells;
mod utility;
mod walker;

pub use self::roles::ChangedRole;
pub use cache::AnalysisCache;
pub use collected::Collects;
pub use copy::{CopyFormat, ForceQuote};
pub use counted::Counted;
pub use footing::{Footing, Found};
pub use guard::TEXT_BYTES_MAX;
pub use quiet::{QuietFunction, quiet_functions};
pub use shape::without_literals;

use self::walker::{BRIEF_BUDGET, BUDGET, TOO_COMPLEX, Walker};
use crate::catalog::{Catalog, Oid};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// What the analysis needs to know besides the text.
#[derive(Clone, Copy)]
pub struct AnalysisContext<'a> {
    /// Snapshot of the upstream database.
    pub catalog: &'a Catalog,
    /// Effective search path: `pg_temp_N` (when it exists), `pg_catalog`, then the session's schemas that exist.
    pub search_path: &'a [String],
    /// Prepared statements of the session by name, for `EXECUTE`. Cursors are [`PreparedLookup::cursor`].
    pub prepared: &'a dyn PreparedLookup,
}

/// What only the session knows: its named statements and cursors, and relations that it has not committed yet.
pub trait PreparedLookup {
    /// The analysis of the prepared statement of that name, made by SQL `PREPARE` or protocol Parse.
    fn prepared(&self, name: &str) -> Option<&StatementAnalysis>;
    /// The analysis of the query behind the cursor of that name.
    fn cursor(&self, name: &str) -> Option<&StatementAnalysis>;
    /// Whether the session has created a table of that name in its open transaction, where the catalog cannot see it. An
    /// analysis that rests on this must not be kept for other sessions.
    fn created_table(&self, _name: &str) -> bool {
        false
    }
}

/// No named statements: what a stateless caller such as `explain` passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingPrepared;

impl PreparedLookup for NothingPrepared {
    fn prepared(&self, _name: &str) -> Option<&StatementAnalysis> {
        None
    }

    fn cursor(&self, _name: &str) -> Option<&StatementAnalysis> {
        None
    }
}

/// Whether a function of the server of that name may do harm whatever its volatility says.
pub(crate) fn is_dangerous_built_in(name: &str) -> bool {
    builtins::is_dangerous(name) || matches!(name, "set_config" | "pg_notify")
}

/// Analyses a text that may hold several statements, or none.
///
/// `text` is the statement exactly as it would be forwarded. The result says for each statement what it does; whatever
/// is not understood is a [`NotUnderstood`] in it, never an error and never silence.
#[must_use]
pub fn analyze(text: &str, context: &AnalysisContext<'_>) -> Analysis {
    read(text, context, BUDGET).analysis
}

/// The same, where it takes no more than a brief look; `None` where it takes longer than others should have to wait.
#[must_use]
pub fn analyze_briefly(text: &str, context: &AnalysisContext<'_>) -> Option<Analysis> {
    let reading = read(text, context, BRIEF_BUDGET);
    reading.is_whole.then_some(reading.analysis)
}

/// An analysis, and for what else it holds under the same search path and catalog.
struct Reading {
    analysis: Analysis,
    holds_for: Reach,
    /// The budget sufficed.
    is_whole: bool,
}

/// How far an analysis reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// For this session at this moment only.
    Session,
    /// For this text.
    Text,
    /// For every text of the same shape.
    Shape,
}

impl Reading {
    fn refused(why: NotUnderstood) -> Self {
        Self { analysis: Analysis::refused(why), holds_for: Reach::Text, is_whole: true }
    }
}

fn read(text: &str, context: &AnalysisContext<'_>, budget: u32) -> Reading {
    let measure = guard::measure(text).and_then(|measure| {
        dialect::check_numbers(&measure, context.catalog)?;
        Ok(measure)
    });
    let mut reading = match measure {
        Ok(measure) => {
            let read = || match grammar::parse(text) {
                Ok(_) if !measure.is_complete => {
                    Reading::refused(NotUnderstood::Guard("a comment or string does not end"))
                }
                Ok(tree) => read_tree(text, &tree, Walker::new(context, budget)),
                Err(why) => Reading::refused(why),
            };
            stacker::maybe_grow(measure.stack_bytes, measure.stack_bytes, read)
        }
        Err(why) => Reading::refused(why),
    };
    reading.analysis.may_run_when_parsed(text, context.catalog);
    reading
}

fn read_tree(text: &str, tree: &grammar::Tree, mut walker: Walker<'_>) -> Reading {
    // What is left on this thread by another text is none of this one's.
    lineage::take_work();
    let mut analysis = Analysis::default();
    for statement in tree.statements() {
        walker.outermost = matches!(grammar::kind(statement), Some(pg_query::NodeEnum::SelectStmt(_)));
        walker.row_writes = 0;
        walker.out.outputs = walker.statement(statement);
        let is_copy = grammar::copies_rows_in(statement) && walker.row_writes == 0;
        walker.out.rows_counted = is_copy || (walker.row_writes == 1 && grammar::writes_rows(statement));
        analysis.statements.push(walker.finish());
    }
    let is_whole = walker.budget > 0;
    let objection = match is_whole {
        true => second_opinion::objection(text, tree, &analysis).map(NotUnderstood::SecondReader),
        false => Some(NotUnderstood::Guard(TOO_COMPLEX)),
    };
    if let Some(why) = objection
        && analysis.not_understood().is_none()
    {
        analysis.object(why);
    }
    let holds_for = reach(tree, &walker, &analysis);
    Reading { analysis, holds_for, is_whole }
}

/// See [`cache`] for why.
fn reach(tree: &grammar::Tree, walker: &Walker<'_>, analysis: &Analysis) -> Reach {
    if walker.session_dependent {
        return Reach::Session;
    }
    let shared = !walker.literals.were_opened()
        && analysis.not_understood().is_none()
        && !analysis.statements.is_empty()
        && tree.statements().all(grammar::is_query_or_plain_transaction);
    if shared { Reach::Shape } else { Reach::Text }
}

/// The analysis of one text, which may hold several statements (or none).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// One entry per statement, in order. A text that does not parse has one entry with `not_understood` set.
    pub statements: Vec<StatementAnalysis>,
}

/// The analysis of one statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatementAnalysis {
    /// Everything the statement does; holds [`Effect::Unknown`] exactly when `not_understood` is set.
    pub effects: Effects,
    /// Relations it names or reaches, each with how.
    pub relations: Vec<RelationUse>,
    /// Functions it calls, by resolved name; schema is empty when the name did not resolve.
    pub functions: Vec<QualifiedName>,
    /// An UPDATE or DELETE that no WHERE clause restricts (absent, or the same for every row of its target), anywhere in it;
    /// also as what a MERGE does.
    pub no_where: bool,
    /// Columns of the result the statement returns, in order; of `COPY … TO STDOUT` the columns it sends.
    pub outputs: Outputs,
    /// What those columns are exactly, as far as that is known: one entry for each of `outputs`, or none at all.
    pub forms: Vec<Option<Form>>,
    /// How a COPY writes what it sends; `None` of other statements, and when that is not known.
    pub copy: Option<CopyFormat>,
    /// Why it is not fully understood.
    pub not_understood: Option<NotUnderstood>,
    /// What it changes in the session that later statements depend on, in order.
    pub session_changes: Vec<SessionChange>,
    /// Roles that it alters, renames, drops, or takes what they own from.
    pub changed_roles: Vec<ChangedRole>,
    /// Columns whose values decide which rows come back or in which order (WHERE, JOIN, GROUP BY, ORDER BY, …), or whether
    /// the statement fails.
    pub predicates: Lineage,
    /// Stored columns that the outermost query compares with one value each, of the statement or bound to it, and that
    /// decide in no other way.
    pub lookups: Lineage,
    /// Columns whose values are stored or sent elsewhere (INSERT … SELECT, SET, CREATE TABLE AS, a file, a notification).
    pub stores: Lineage,
    /// Columns it refers to anywhere, of tables and of views; attribute number 0 stands for all of a relation. What is
    /// done to a relation as a whole (`alter`, …) is in [`Self::relations`] only.
    pub reads: Lineage,
    /// Columns that INSERT, UPDATE, MERGE and COPY … FROM name as their targets, and those computed from them; attribute
    /// number 0 stands for all of a relation. A relation that is written and is not here is written as a whole.
    pub writes: Vec<BaseColumn>,
    /// Whether its command tag counts the rows that its text writes: it is an INSERT, UPDATE, DELETE or MERGE, holds no
    /// other in a WITH query, and no rule rewrites it; or it is a COPY … FROM. What triggers, cascades and functions write is
    /// not in that number.
    pub rows_counted: bool,
    /// What in it makes one row of many.
    pub collects: Collects,
    /// Parsing it may already run functions that write: those in checks of domains, when a literal is read as a row, an array
    /// or a range with a part of such a domain.
    pub runs_when_parsed: bool,
    /// How it begins or ends the transaction block, if it does.
    pub transaction_bound: Option<TransactionBound>,
    /// The definitions that all this rests on.
    pub footing: Arc<Footing>,
}

/// How a statement begins or ends a transaction block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionBound {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END, PREPARE TRANSACTION; also AND CHAIN.
    Commit,
    /// ROLLBACK, ABORT; also AND CHAIN.
    Rollback,
}

impl TransactionBound {
    /// Whether it ends a block.
    #[must_use]
    pub fn is_end(self) -> bool {
        match self {
            Self::Begin => false,
            Self::Commit | Self::Rollback => true,
        }
    }
}

/// The columns a statement returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outputs {
    /// Returns no rows.
    #[default]
    None,
    /// Returns these columns.
    Columns(Vec<Lineage>),
    /// Returns rows whose columns the analysis cannot enumerate; everything it reads may be in any of them.
    Opaque(Lineage),
}

/// Which stored values may reach an output column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// Values of exactly these base columns may reach it; none means the column is clear of stored values.
    Columns(Vec<BaseColumn>),
    /// Cannot be told; any masked column may be in it. The reason is a short phrase without literals.
    Unknown(&'static str),
}

impl Lineage {
    /// Nothing stored reaches the column.
    pub const CLEAR: Self = Self::Columns(Vec::new());
}

/// What a result column is, when it is not computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// This column as it is stored; of a view, as the view shows it.
    Column(BaseColumn),
}

/// A column of a stored relation (table, partition, materialized or foreign table).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BaseColumn {
    /// OID of the relation.
    pub relation: Oid,
    /// Attribute number; 0 stands for the whole row.
    pub attnum: i16,
}

/// A relation that a statement touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationUse {
    /// OID, when the name resolved.
    pub oid: Option<Oid>,
    /// Name as resolved; as written (folded) when it did not resolve.
    pub name: QualifiedName,
    /// Effects the statement has on it: `select` for a relation that is read, `update`, … for one that is written.
    pub effects: Effects,
    /// Whether what changes it also looks at its columns: in WHERE, SET, RETURNING, a key of ON CONFLICT. PostgreSQL asks
    /// for the privilege to SELECT then.
    pub is_consulted: bool,
}

impl RelationUse {
    /// Whether it is read: its rows, or columns of rows that are changed.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.is_consulted || self.effects.contains(Effect::Select)
    }

    /// Whether it is written, defined, or otherwise changed.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.effects.without(Effects::of(&[Effect::Select, Effect::CopyOut, Effect::Lock])).is_empty()
    }
}

/// A change of session state that decides how later statements are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// SQL `PREPARE name AS …`, with the analysis of the inner statement.
    Prepare(String, Box<StatementAnalysis>),
    /// `DEALLOCATE name`.
    Deallocate(String),
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DECLARE name CURSOR FOR …`, with the analysis of its query.
    DeclareCursor(String, Box<StatementAnalysis>),
    /// `CLOSE name`.
    CloseCursor(String),
    /// `DISCARD ALL`.
    DiscardAll,
    /// The search path may be different afterwards (`SET`, `RESET`, `ROLLBACK`, `CREATE TEMP`, a function that may set it).
    SearchPath,
    /// The role may be different afterwards.
    Role,
    /// The catalog is different afterwards (DDL).
    Catalog,
    /// What expressions run without naming it (casts, operators, checks of domains) may be something else afterwards, in
    /// statements with these effects.
    Expressions(Effects),
    /// Definitions may set off an event trigger afterwards that the catalog does not have.
    EventTrigger,
    /// A transaction block begins, or a savepoint in it is set or released.
    TransactionBegun,
    /// A transaction, or a part of it, may end (`COMMIT`, `ROLLBACK`, …), and with it the portals.
    Transaction,
    /// What only the proxy reads (`countersign.reason`, `countersign.mode`, …) may be something else afterwards.
    OfTheProxy,
    /// A setting whose name begins with `countersign.`, in lower case, gets this value.
    Choice(String, String),
    /// Texts like `'01/02/2026'` may stand for other values afterwards (`DateStyle`, `TimeZone`, …).
    Values,
    /// A setting of this name that decides how texts are read gets another value than the pinned one.
    Reading(&'static str),
}

/// Why a statement is not understood. Its text holds no literal of the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotUnderstood {
    /// PostgreSQL's grammar rejects the text.
    Syntax,
    /// A guard in front of the parser gave up: too long, too deep, NUL, not UTF-8.
    Guard(&'static str),
    /// The extractor met a node it does not know, named as in PostgreSQL's tree.
    Node(&'static str),
    /// A relation does not resolve in the catalog.
    Relation(QualifiedName),
    /// A function does not resolve in the catalog.
    Function(QualifiedName),
    /// A prepared statement or cursor is not known to this session.
    Name(String),
    /// The second reader sees a statement or an effect that the first does not.
    SecondReader(&'static str),
    /// Anything else, as a short phrase.
    Other(&'static str),
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("the text is not valid for PostgreSQL's grammar"),
            Self::Guard(why) | Self::Other(why) => f.write_str(why),
            Self::Node(node) => write!(f, "the analysis does not know {node}"),
            Self::Relation(name) => write!(f, "relation \"{name}\" is not in the catalog"),
            Self::Function(name) => write!(f, "function \"{name}\" is not in the catalog"),
            Self::Name(name) => write!(f, "\"{name}\" is not a prepared statement or cursor of this session"),
            Self::SecondReader(why) => write!(f, "a second parser reads it differently: {why}"),
        }
    }
}

impl Analysis {
    /// A text of which nothing is understood.
    fn refused(why: NotUnderstood) -> Self {
        let mut refused = Self::default();
        refused.object(why);
        refused
    }

    /// Marks the text as not understood as a whole.
    fn object(&mut self, why: NotUnderstood) {
        if self.statements.is_empty() {
            self.statements.push(StatementAnalysis {
                outputs: Outputs::Opaque(Lineage::Unknown("the text is not understood")),
                ..StatementAnalysis::default()
            });
        }
        for statement in &mut self.statements {
            statement.effects.insert(Effect::Unknown);
            statement.not_understood.get_or_insert_with(|| why.clone());
        }
    }

    /// The union of all statements' effects.
    #[must_use]
    pub fn effects(&self) -> Effects {
        let mut all = Effects::NONE;
        self.statements.iter().for_each(|statement| all.extend(statement.effects));
        all
    }

    /// The first reason why something in the text is not understood.
    #[must_use]
    pub fn not_understood(&self) -> Option<&NotUnderstood> {
        self.statements.iter().find_map(|statement| statement.not_understood.as_ref())
    }
}

#[cfg(test)]
pub(crate) mod tests;
