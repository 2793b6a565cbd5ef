//! What has to be asked of the database for a card: made by the session when a request is held.
//!
//! Never asks. Invariant: what may not be planned is not in it ([`planning_obstacle`]), nor is what a plan would tell about
//! masked values.

use countersign_policy::analysis::{RelationUse, StatementAnalysis};
use countersign_policy::catalog::{Catalog, Oid, RelationKind, SetOff};
use countersign_policy::mask::MaskSet;
use countersign_policy::verdict::planning_obstacle;
use countersign_policy::{Analysis, Effect, Effects};

use super::{Card, Cascade, Piece};
use crate::estimate::Question;
use crate::report::StatementReport;

/// Relations that a card tells about at most.
const RELATIONS_MAX: usize = 40;

/// Statements of a text that a card tells about at most.
const STATEMENTS_MAX: usize = 100;

/// Why a plan is left out whose numbers depend on values that are masked.
const TELLS: &str = "its estimates would tell about masked values";

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Inquiry {
    /// What may be planned, or nothing.
    pub(super) question: Option<Question>,
    /// Relations in the order in which they are shown.
    pub(super) relations: Vec<Asked>,
    /// Attributes that an update assigns, where they are known.
    pub(super) assigned: Vec<(Oid, i16)>,
    /// Foreign keys that act.
    pub(super) cascades: Vec<Cascade>,
    /// Whether the session has a transaction open.
    pub(super) in_transaction: bool,
}

/// A relation to be asked about.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) oid: Oid,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) effects: Effects,
}

/// What an inquiry is about.
pub struct Subjects<'a> {
    /// What the statement does.
    pub analysis: &'a Analysis,
    /// The snapshot under which it was analysed.
    pub catalog: &'a Catalog,
    /// Masks of the requester, those that a grant lifts included: reviewers do not have it.
    pub masks: &'a MaskSet,
    /// The statement with its parameters, as the planner would be asked; or why that cannot be.
    pub question: Result<Question, &'static str>,
    /// Whether the session has a transaction open.
    pub in_transaction: bool,
}

impl Inquiry {
    /// What to ask, and the card as it is before anything was asked.
    #[must_use]
    pub fn of(subjects: Subjects<'_>, role: &str, search_path: &[String]) -> (Self, Card) {
        let Subjects { analysis, catalog, masks, question, in_transaction } = subjects;
        let mut card = Card {
            role: role.to_owned(),
            search_path: search_path.to_vec(),
            statements: StatementReport::first(STATEMENTS_MAX, analysis, catalog),
            ..Card::default()
        };
        // Then numbers of rows, and even the kind of scan, tell of the values.
        let tells = || analysis.statements.iter().any(|statement| masks.decided_by_masked(statement, catalog));
        let obstacle = planning_obstacle(analysis, catalog).or_else(|| tells().then_some(TELLS));
        let question = match obstacle.map_or(question, Err) {
            Ok(question) => Some(question),
            Err(why) => {
                card.plan = Piece::missing(why);
                None
            }
        };
        let inquiry = Self {
            question,
            relations: relations(analysis, catalog),
            assigned: analysis
                .statements
                .iter()
                .flat_map(|statement| &statement.writes)
                .map(|column| (column.relation, column.attnum))
                .collect(),
            cascades: analysis.statements.iter().flat_map(|statement| cascades(statement, catalog)).collect(),
            in_transaction,
        };
        (inquiry, card)
    }
}

/// Relations of users, each once: written ones first, in the order of the statement.
fn relations(analysis: &Analysis, catalog: &Catalog) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    for used in analysis.statements.iter().flat_map(|statement| &statement.relations) {
        let Some(oid) = used.oid else { continue };
        if let Some(known) = asked.iter_mut().find(|known| known.oid == oid) {
            known.effects.extend(used.effects);
            continue;
        }
        let Some(relation) = catalog.relation(oid) else { continue };
        let kind = kind(relation.kind);
        asked.push(Asked { oid, name: used.name.to_string(), kind, effects: used.effects });
    }
    asked.sort_by_key(|asked| asked.effects.without(Effects::of(&[Effect::Select])).is_empty());
    asked.truncate(RELATIONS_MAX);
    asked
}

fn kind(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "table",
        RelationKind::PartitionedTable => "partitioned table",
        RelationKind::View => "view",
        RelationKind::MaterializedView => "materialized view",
        RelationKind::ForeignTable => "foreign table",
        RelationKind::Sequence => "sequence",
        RelationKind::CompositeType => "composite type",
        RelationKind::Index => "index",
    }
}

/// Foreign keys between what it writes: the analysis has followed them.
fn cascades(statement: &StatementAnalysis, catalog: &Catalog) -> Vec<Cascade> {
    let mut found = Vec::new();
    for used in &statement.relations {
        let Some(relation) = used.oid.and_then(|oid| catalog.relation(oid)) else { continue };
        for consequence in relation.consequences.iter().filter(|consequence| consequence.on.intersects(used.effects)) {
            let SetOff::Write(effect, other) = consequence.what else { continue };
            let is_hit = |to: &&RelationUse| to.oid == Some(other) && to.effects.contains(effect);
            let Some(to) = statement.relations.iter().find(is_hit) else { continue };
            let (from, to) = (used.name.to_string(), to.name.to_string());
            let cascade = Cascade { from, effect: effect.as_str().to_owned(), to };
            if !found.contains(&cascade) && found.len() < RELATIONS_MAX {
                found.push(cascade);
            }
        }
    }
    found
}
