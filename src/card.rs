//! What a reviewer is shown of a request besides its record: sizes, what it sets off, the plan, the open transaction.
//!
//! Never decides, and never delays a hold: the request is there at once, and what has to be asked of the database comes
//! later. Invariant: a piece that is missing says why. What stands here may hold literals of the statement: it is as
//! secret as the text.

mod desk;
mod gather;
mod inquiry;
mod plan;
mod session;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use desk::{CardDesk, Case};
pub use inquiry::{Inquiry, Subjects};
pub(crate) use plan::read as read_plan;

use crate::report::StatementReport;

/// The form in which cards are written from now on.
pub const FORMAT: u32 = 1;

/// Why a piece is missing that nobody has had the time to ask for.
pub const GATHERING: &str = "it is still being gathered";

/// See the module documentation.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Card {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// Whether everything has been asked for. Until then pieces are missing for the reason [`GATHERING`].
    pub complete: bool,
    /// The role that would execute the statement.
    pub role: String,
    /// The effective search path.
    pub search_path: Vec<String>,
    /// Custom settings that the statement can read, and their values; `None` is one that was never set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(String, Option<String>)>,
    /// What each statement of the text does, as `countersign explain` tells it; of the first hundred.
    pub statements: Vec<StatementReport>,
    /// Relations that it reads or writes, what it sets off included: those it writes first.
    pub relations: Piece<Vec<RelationFacts>>,
    /// Triggers and foreign keys that act because of what it writes.
    pub sets_off: Piece<SetsOff>,
    /// How PostgreSQL would execute it.
    pub plan: Piece<Plan>,
    /// The transaction in which it would be executed.
    pub transaction: Piece<Transaction>,
}

/// A part of the card, or why it is not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Piece<T> {
    /// It is there.
    Shown(T),
    /// It is not; the reason is a phrase.
    NotShown(String),
}

/// One relation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RelationFacts {
    /// `schema.name`.
    pub name: String,
    /// `table`, `partitioned table`, `view`, ….
    pub kind: String,
    /// What the statement does to it.
    pub effects: Vec<String>,
    /// Rows by the last VACUUM or ANALYZE, of all partitions; `None` when there was none, or it has no rows of its own.
    pub rows: Option<u64>,
    /// Bytes on disk with indexes and TOAST, of all partitions; `None` when it has none or is locked.
    pub bytes: Option<u64>,
}

/// What a statement sets off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SetsOff {
    /// Triggers that fire.
    pub triggers: Vec<Trigger>,
    /// Foreign keys that act.
    pub cascades: Vec<Cascade>,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trigger {
    /// Its table.
    pub relation: String,
    /// Its name.
    pub name: String,
    /// `before`, `after` or `instead of`.
    pub when: String,
    /// `schema.name` of the function that it calls.
    pub function: String,
}

/// A foreign key that acts on the rows that refer to others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cascade {
    /// The relation that is written.
    pub from: String,
    /// What happens to the other one: `delete`, `update`, `truncate`.
    pub effect: String,
    /// The relation that is written because of it.
    pub to: String,
}

/// A plan, cut to what a person reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The top of the tree.
    pub root: PlanNode,
    /// Nodes that were left out.
    pub omitted: u32,
}

/// A node of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlanNode {
    /// `Seq Scan`, `Update`, `Hash Left Join`, ….
    pub node: String,
    /// The relation, index, function or CTE that it reads or writes.
    pub on: Option<String>,
    /// How it is fed to the node above, where that is not plain: `SubPlan 1`, `InitPlan 1 (returns $0)`.
    pub part: Option<String>,
    /// Conditions and keys, as `Filter: (id = 7)`.
    pub details: Vec<String>,
    /// Rows that it yields; for what writes, rows that are written.
    pub rows: u64,
    /// Cost of it and what is below it, in the planner's units.
    pub cost: f64,
    /// Whether no other node costs more by itself.
    pub costliest: bool,
    /// What feeds it.
    #[schema(no_recursion, value_type = Vec<PlanNode>)]
    pub inputs: Vec<Self>,
}

/// The open transaction of the session, when the request was held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// Whether one was open.
    pub open: bool,
    /// When it began, by the database's clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Whether it has written.
    pub has_written: bool,
    /// What it has locked.
    pub locks: Vec<Lock>,
    /// Sessions that wait for it.
    pub blocked: Vec<Blocked>,
}

/// A lock that the transaction holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lock {
    /// `schema.name` of a relation, or what else it is.
    pub on: String,
    /// Lock mode, as `RowExclusiveLock`.
    pub mode: String,
}

/// A session that waits for the transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// Process id of its backend.
    pub pid: i32,
    /// Its role.
    pub role: String,
    /// Its `application_name`, as far as it may be seen.
    pub application: String,
    /// What it waits for, in the words of [`Lock::on`].
    pub waits_for: String,
    /// For how many seconds; `None` before PostgreSQL 14.
    pub seconds: Option<u64>,
}

impl<T> Default for Piece<T> {
    fn default() -> Self {
        Self::NotShown(GATHERING.to_owned())
    }
}

impl<T> Piece<T> {
    /// Missing for that reason.
    #[must_use]
    pub fn missing(why: impl Into<String>) -> Self {
        Self::NotShown(why.into())
    }
}

impl Default for Card {
    fn default() -> Self {
        Self {
            format: FORMAT,
            complete: false,
            role: String::new(),
            search_path: Vec::new(),
            settings: Vec::new(),
            statements: Vec::new(),
            relations: Piece::default(),
            sets_off: Piece::default(),
            plan: Piece::default(),
            transaction: Piece::default(),
        }
    }
}

impl Card {
    /// Under which names and settings the statement would be executed, in a line.
    #[must_use]
    pub fn runs_as(&self) -> String {
        let mut line = format!("{}, search path {}", self.role, self.search_path.join(", "));
        for (name, value) in &self.settings {
            line += &match value {
                Some(value) => format!(", {name} = '{value}'"),
                None => format!(", {name} not set"),
            };
        }
        line
    }

    /// The same card with every piece that is not there missing for that reason, for good.
    #[must_use]
    pub fn given_up(self, why: &str) -> Self {
        fn settle<T>(piece: Piece<T>, why: &str) -> Piece<T> {
            match piece {
                Piece::NotShown(reason) if reason == GATHERING => Piece::missing(why),
                settled @ (Piece::NotShown(_) | Piece::Shown(_)) => settled,
            }
        }
        Self {
            complete: true,
            relations: settle(self.relations, why),
            sets_off: settle(self.sets_off, why),
            plan: settle(self.plan, why),
            transaction: settle(self.transaction, why),
            ..self
        }
    }
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Card").field("complete", &self.complete).finish_non_exhaustive()
    }
}
