//! The card of a request on its page: relations with their sizes, what it sets off, the plan, the open transaction.
//!
//! Never shows a name or a condition raw. Invariant: what is missing is told with its reason.

use jiff::Timestamp;

use super::shown::{EffectShown, age, by_harm, effect, seconds};
use super::sql;
use crate::card::{Blocked, Card, Piece, Plan, PlanNode, RelationFacts, SetsOff, Transaction};
use crate::store::Past;
use crate::units::{bytes, count};
use crate::web::Details;

/// What the page shows of it.
#[derive(Default)]
pub(super) struct CardShown {
    pub(super) runs_as: String,
    pub(super) relations: Vec<RelationShown>,
    pub(super) sets_off: Vec<String>,
    pub(super) plan: Vec<PlanLine>,
    pub(super) omitted: u32,
    pub(super) transaction: Vec<String>,
    pub(super) blocked: Vec<String>,
    pub(super) past: Option<String>,
    /// What is not shown, and why.
    pub(super) missing: Vec<(&'static str, String)>,
    /// Whether that may still come.
    pub(super) gathering: bool,
}

pub(super) struct RelationShown {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) effects: Vec<EffectShown>,
    pub(super) rows: Option<String>,
    pub(super) size: Option<String>,
}

/// One node of the plan, or one of its conditions.
pub(super) struct PlanLine {
    /// Branches of the tree.
    pub(super) prefix: String,
    pub(super) text: String,
    pub(super) figures: Option<String>,
    pub(super) costliest: bool,
}

impl CardShown {
    pub(super) fn of(details: &Details, now: Timestamp) -> Self {
        let mut shown = Self { past: past(details.past), ..Self::default() };
        let Some(card) = &details.card else { return shown };
        shown.gathering = !card.complete;
        shown.runs_as = sql::line(&card.runs_as());
        shown.take(card, now);
        if shown.gathering {
            shown.missing.clear();
        }
        shown
    }

    fn take(&mut self, card: &Card, now: Timestamp) {
        match &card.relations {
            Piece::Shown(relations) => self.relations = relations.iter().map(relation).collect(),
            Piece::NotShown(why) => self.missing.push(("Relations", sql::line(why))),
        }
        match &card.sets_off {
            Piece::Shown(sets_off) => self.sets_off = set_off(sets_off),
            Piece::NotShown(why) => self.missing.push(("What it sets off", sql::line(why))),
        }
        match &card.plan {
            Piece::Shown(plan) => (self.plan, self.omitted) = (lines(plan), plan.omitted),
            Piece::NotShown(why) => self.missing.push(("Plan", sql::line(why))),
        }
        match &card.transaction {
            Piece::Shown(open) if open.open => {
                self.transaction = transaction(open, now);
                self.blocked = open.blocked.iter().map(blocked).collect();
            }
            Piece::Shown(_) => {}
            Piece::NotShown(why) => self.missing.push(("Transaction", sql::line(why))),
        }
    }
}

fn relation(facts: &RelationFacts) -> RelationShown {
    RelationShown {
        name: sql::line(&facts.name),
        kind: facts.kind.clone(),
        effects: by_harm(facts.effects.iter().map(|name| effect(name)).collect()),
        rows: facts.rows.map(count),
        size: facts.bytes.map(bytes),
    }
}

fn set_off(sets_off: &SetsOff) -> Vec<String> {
    let triggers = sets_off.triggers.iter().map(|trigger| {
        let (name, relation) = (sql::line(&trigger.name), sql::line(&trigger.relation));
        format!("Trigger {name} on {relation}, {} it, calls {}", trigger.when, sql::line(&trigger.function))
    });
    let cascades = sets_off.cascades.iter().map(|cascade| {
        let (from, to) = (sql::line(&cascade.from), sql::line(&cascade.to));
        format!("{} on {to}, by a foreign key to {from}", cascade.effect)
    });
    triggers.chain(cascades).collect()
}

fn transaction(open: &Transaction, now: Timestamp) -> Vec<String> {
    let since = open.since.map(|since| format!("Began {}", age(since, now)));
    let written = if open.has_written { "has written" } else { "has written nothing" };
    let head = format!("{}, {written}", since.unwrap_or_else(|| "Open".to_owned()));
    let locks = open.locks.iter().map(|lock| format!("Holds {} on {}", lock.mode, sql::line(&lock.on)));
    std::iter::once(head).chain(locks).collect()
}

fn blocked(waiting: &Blocked) -> String {
    let Blocked { pid, role, application, waits_for, seconds: time } = waiting;
    let who = if application.is_empty() { role.clone() } else { format!("{role}, {application}") };
    let time = time.map(|time| format!(" for {}", seconds(i64::try_from(time).unwrap_or(i64::MAX))));
    sql::line(&format!("Process {pid} ({who}) waits for {waits_for}{}", time.unwrap_or_default()))
}

fn past(past: Past) -> Option<String> {
    let Past { approved, rejected, undecided } = past;
    (past != Past::default()).then(|| format!("{approved} approved, {rejected} rejected, {undecided} not decided"))
}

fn lines(plan: &Plan) -> Vec<PlanLine> {
    let mut lines = Vec::new();
    node(&plan.root, "", "", &mut lines);
    lines
}

/// A node behind `first`, and everything below it behind `rest`.
fn node(of: &PlanNode, first: &str, rest: &str, lines: &mut Vec<PlanLine>) {
    let on = of.on.as_deref().map(|on| format!(" on {}", sql::line(on))).unwrap_or_default();
    let part = of.part.as_deref().map(|part| format!("{}: ", sql::line(part))).unwrap_or_default();
    let rows = if of.rows == 1 { "row" } else { "rows" };
    lines.push(PlanLine {
        prefix: first.to_owned(),
        text: format!("{part}{}{on}", sql::line(&of.node)),
        figures: Some(format!("{} {rows}, cost {:.1}", count(of.rows), of.cost)),
        costliest: of.costliest,
    });
    let below = if of.inputs.is_empty() { "   " } else { "│  " };
    for detail in &of.details {
        let prefix = format!("{rest}{below}");
        lines.push(PlanLine { prefix, text: sql::line(detail), figures: None, costliest: false });
    }
    let last = of.inputs.len().saturating_sub(1);
    for (index, input) in of.inputs.iter().enumerate() {
        let (branch, stem) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        node(input, &format!("{rest}{branch}"), &format!("{rest}{stem}"), lines);
    }
}
