//! The card of a request in a terminal: what it would do, and the plan as a tree.
//!
//! Never prints a name or a condition raw, and no line wider than the terminal. Invariant: what is missing is told with
//! its reason.

use std::fmt::Write as _;

use countersign_policy::verdict::ReviewerDemand;
use jiff::Timestamp;

use super::view::{duration, time};
use crate::card::{Blocked, Card, Piece, Plan, PlanNode, RelationFacts, SetsOff, Transaction};
use crate::cli::explain::text::tell_reach;
use crate::cli::output::{Colour, visible_line};
use crate::store::Past;
use crate::units::bytes;
use crate::web::Details;

/// Everything but the plan.
pub(super) fn tell(details: &Details, asked: &[ReviewerDemand], field: &mut impl FnMut(&str, String), colour: Colour) {
    if !details.still_needed.is_empty() && details.still_needed != asked {
        field("still needs", visible_line(&demands(&details.still_needed), colour));
    }
    if details.past != Past::default() {
        field("before", past(details.past));
    }
    let Some(card) = &details.card else { return };
    field("role", visible_line(&card.runs_as(), colour));
    card.statements.iter().for_each(|statement| tell_reach(statement, field, colour));
    each(&card.relations, "relation", field, |relations, field| {
        relations.iter().for_each(|one| field("relation", relation(one, colour)));
    });
    each(&card.sets_off, "sets off", field, |sets_off, field| tell_set_off(sets_off, field, colour));
    each(&card.transaction, "transaction", field, |open, field| tell_transaction(open, field, colour));
}

/// A piece, or why it is missing.
fn each<T, F: FnMut(&str, String)>(piece: &Piece<T>, name: &str, field: &mut F, tell: impl Fn(&T, &mut F)) {
    match piece {
        Piece::Shown(shown) => tell(shown, field),
        Piece::NotShown(why) => field(name, format!("not shown: {}", visible_line(why, Colour::Off))),
    }
}

fn demands(demands: &[ReviewerDemand]) -> String {
    let one = |demand: &ReviewerDemand| match demand.approvals {
        0 | 1 => demand.group.clone(),
        people => format!("{people} of {}", demand.group),
    };
    demands.iter().map(one).collect::<Vec<_>>().join(" and ")
}

fn past(past: Past) -> String {
    let Past { approved, rejected, undecided } = past;
    format!("the same shape: {approved} approved, {rejected} rejected, {undecided} not decided")
}

fn relation(facts: &RelationFacts, colour: Colour) -> String {
    let mut size = Vec::new();
    size.extend(facts.rows.map(|rows| format!("about {rows} rows")));
    size.extend(facts.bytes.map(bytes));
    let size = if size.is_empty() { String::new() } else { format!(", {}", size.join(", ")) };
    format!("{} ({}{size}): {}", visible_line(&facts.name, colour), facts.kind, facts.effects.join(", "))
}

fn tell_set_off(sets_off: &SetsOff, field: &mut impl FnMut(&str, String), colour: Colour) {
    let line = |text: &str| visible_line(text, colour);
    for trigger in &sets_off.triggers {
        let (name, relation, function) = (line(&trigger.name), line(&trigger.relation), line(&trigger.function));
        field("sets off", format!("trigger {name} on {relation}, {} it: {function}", trigger.when));
    }
    for cascade in &sets_off.cascades {
        let text = format!("{} on {}, by a foreign key to {}", cascade.effect, line(&cascade.to), line(&cascade.from));
        field("sets off", text);
    }
}

fn tell_transaction(transaction: &Transaction, field: &mut impl FnMut(&str, String), colour: Colour) {
    if !transaction.open {
        return;
    }
    let since = transaction.since.map(|since| {
        let seconds = Timestamp::now().duration_since(since).as_secs().max(0);
        format!("open since {} ({})", time(since), duration(seconds))
    });
    let written = if transaction.has_written { "has written" } else { "has written nothing" };
    let since = since.unwrap_or_else(|| "open".to_owned());
    field("transaction", format!("{since}, {written}"));
    for lock in &transaction.locks {
        field("has locked", format!("{} ({})", visible_line(&lock.on, colour), lock.mode));
    }
    for waiting in &transaction.blocked {
        field("blocks", colour.red(&blocked(waiting)));
    }
}

fn blocked(waiting: &Blocked) -> String {
    let Blocked { pid, role, application, waits_for, seconds } = waiting;
    let who = if application.is_empty() { role.clone() } else { format!("{role}, {application}") };
    let time = seconds.map(|seconds| format!(" for {}", duration(seconds.try_into().unwrap_or(i64::MAX))));
    let text = format!("process {pid} ({who}) waits for {waits_for}{}", time.unwrap_or_default());
    visible_line(&text, Colour::Off)
}

/// The plan as a tree, with a heading.
pub(super) fn plan(card: &Card, colour: Colour, width: Option<usize>) -> String {
    match &card.plan {
        Piece::Shown(plan) => tree(plan, colour, width),
        Piece::NotShown(why) => format!("\nplan not shown: {}\n", visible_line(why, Colour::Off)),
    }
}

fn tree(plan: &Plan, colour: Colour, width: Option<usize>) -> String {
    let mut out = format!("\n{}\n", colour.dim("plan"));
    let mut branch = Branch { out: &mut out, colour, width: width.unwrap_or(usize::MAX) };
    branch.node(&plan.root, "", "");
    if plan.omitted > 0 {
        let _ok = writeln!(out, "… and {} nodes more", plan.omitted);
    }
    out
}

struct Branch<'a> {
    out: &'a mut String,
    colour: Colour,
    width: usize,
}

impl Branch<'_> {
    /// One node behind `first`, and everything below it behind `rest`.
    fn node(&mut self, node: &PlanNode, first: &str, rest: &str) {
        let on = node.on.as_deref().map(|on| format!(" on {on}")).unwrap_or_default();
        let part = node.part.as_deref().map(|part| format!("{part}: ")).unwrap_or_default();
        let rows = if node.rows == 1 { "row" } else { "rows" };
        let mark = if node.costliest { "  ◄ costs most" } else { "" };
        let text = format!("{part}{}{on}  ({} {rows}, cost {:.1}){mark}", node.node, node.rows, node.cost);
        let paint = |text: &str| if node.costliest { self.colour.yellow(text) } else { text.to_owned() };
        let line = self.cut(first, &text, paint);
        self.out.push_str(&line);
        let below = if node.inputs.is_empty() { "   " } else { "│  " };
        for detail in &node.details {
            let line = self.cut(&format!("{rest}{below}"), detail, |text| self.colour.dim(text));
            self.out.push_str(&line);
        }
        let last = node.inputs.len().saturating_sub(1);
        for (index, input) in node.inputs.iter().enumerate() {
            let (branch, stem) = if index == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.node(input, &format!("{rest}{branch}"), &format!("{rest}{stem}"));
        }
    }

    /// A line of the terminal's width.
    fn cut(&self, before: &str, text: &str, paint: impl Fn(&str) -> String) -> String {
        let shown = visible_line(text, Colour::Off);
        let room = self.width.saturating_sub(before.chars().count()).max(8);
        let text = if shown.chars().count() <= room {
            shown
        } else {
            shown.chars().take(room.saturating_sub(1)).chain(['…']).collect()
        };
        format!("{before}{}\n", paint(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, details: &[&str], inputs: Vec<PlanNode>) -> PlanNode {
        PlanNode {
            node: name.to_owned(),
            on: Some("orders".to_owned()),
            part: None,
            details: details.iter().map(|detail| (*detail).to_owned()).collect(),
            rows: 7,
            cost: 1.25,
            costliest: name == "Seq Scan",
            inputs,
        }
    }

    #[test]
    fn a_plan_is_a_tree_that_fits() {
        let scan = node("Seq Scan", &["Filter: (note = 'x\u{202e}'::text)"], vec![]);
        let join = node("Hash Join", &["Hash Cond: (a = b)"], vec![scan, node("Hash", &[], vec![])]);
        let plan = Plan { root: node("Update", &[], vec![join]), omitted: 2 };
        let wide = tree(&plan, Colour::Off, None);
        let want = "\nplan\n\
            Update on orders  (7 rows, cost 1.2)\n\
            └─ Hash Join on orders  (7 rows, cost 1.2)\n   \
               │  Hash Cond: (a = b)\n   \
               ├─ Seq Scan on orders  (7 rows, cost 1.2)  ◄ costs most\n   \
               │     Filter: (note = 'x<U+202E>'::text)\n   \
               └─ Hash on orders  (7 rows, cost 1.2)\n\
            … and 2 nodes more\n";
        assert_eq!(wide, want);
        let narrow = tree(&plan, Colour::Off, Some(30));
        assert!(narrow.lines().all(|line| line.chars().count() <= 30), "{narrow}");
    }
}
