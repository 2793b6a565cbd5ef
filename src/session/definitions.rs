//! What the session has defined in its open transaction, where the catalog cannot see it yet.
//!
//! Never resolves a name. Invariant: what the transaction may have made to mean something else is not understood until
//! the transaction has ended and the catalog has been loaded again.

use std::collections::{HashMap, HashSet};

use countersign_policy::analysis::{SessionChange, StatementAnalysis};
use countersign_policy::catalog::Oid;
use countersign_policy::{Analysis, Effect, Effects};

const DEFINES: Effects = Effects::of(&[Effect::Create, Effect::Alter, Effect::Drop]);

/// What sets off event triggers.
const FIRES: Effects = Effects::of(&[
    Effect::Create,
    Effect::Alter,
    Effect::Drop,
    Effect::Grant,
    Effect::Revoke,
    Effect::Comment,
    Effect::SecurityLabel,
    Effect::Maintenance,
]);
/// What row security is asked for.
const ROWS: Effects = Effects::of(&[
    Effect::Select,
    Effect::CopyOut,
    Effect::Insert,
    Effect::Update,
    Effect::Delete,
    Effect::Merge,
    Effect::CopyIn,
]);
/// What a default or a check can do besides computing.
const DOES: Effects = Effects::of(&[
    Effect::FunctionCall,
    Effect::Insert,
    Effect::Update,
    Effect::Delete,
    Effect::Merge,
    Effect::Truncate,
]);

/// Words of definitions after which calls may do something else.
const CALLS: &[&str] = &["function", "procedure", "routine", "aggregate", "operator", "cast"];
/// Words of definitions of what shows the rows of other relations.
const SHOWS_OTHERS: &[&str] = &["view", "rule", "inherit", "inherits", "inheritance", "partition", "of"];

/// See the module documentation.
#[derive(Default)]
pub(super) struct Definitions {
    /// Names of tables that are new and stand for themselves only.
    created: HashSet<String>,
    /// Relations that are not what the catalog says any more.
    changed: HashSet<Oid>,
    /// Every word of a text that gave something another name.
    renamed: HashSet<String>,
    /// Names of views and the like that are new: what the catalog has under such a name may be hidden by it.
    hiding: HashSet<String>,
    /// Names of relations of which a use with these effects does more than before: triggers fire, foreign keys cascade,
    /// defaults and policies call functions.
    firing: HashMap<String, Effects>,
    /// What expressions run without naming it may be something else in statements with these effects.
    expressions: Effects,
    /// There is an event trigger that the catalog does not have.
    event_trigger: bool,
    /// Calls may do something else.
    calls: bool,
    /// Anything may mean something else.
    everything: bool,
}

impl Definitions {
    /// Whether nothing has been defined.
    pub(super) fn is_empty(&self) -> bool {
        self.created.is_empty()
            && self.changed.is_empty()
            && self.renamed.is_empty()
            && self.hiding.is_empty()
            && self.firing.is_empty()
            && self.expressions.is_empty()
            && !self.event_trigger
            && !self.calls
            && !self.everything
    }

    /// Notes that a text was forwarded.
    pub(super) fn forwarded(&mut self, text: &str, analysis: &Analysis) {
        if !analysis.effects().intersects(DEFINES) {
            return;
        }
        let words: HashSet<String> = words(text).collect();
        let has = |wanted: &[&str]| wanted.iter().any(|word| words.contains(*word));
        // A foreign table has a server or options; a foreign key has neither.
        let shows_others = has(SHOWS_OTHERS) || (has(&["foreign"]) && has(&["server", "options"]));
        let fires = has(&["trigger"]) && (has(&["create", "enable"]) || !has(&["disable"]));
        let refers = has(&["references"]) && has(&["cascade", "set"]);
        let mut relations = analysis.statements.iter().flat_map(|statement| &statement.relations);
        // What refers to another table and is new has no rows that could be lost.
        let refers = refers && relations.any(|known| known.oid.is_some() && known.effects.contains(Effect::Alter));
        self.calls |= has(CALLS);
        let secures = has(&["policy"]) || (has(&["row"]) && has(&["security"]));
        let computes = has(&["default", "check", "index", "exclude"]);
        analysis.statements.iter().for_each(|statement| self.note(statement, computes));
        for relation in analysis.statements.iter().flat_map(|statement| &statement.relations) {
            let is_made = relation.effects.intersects(Effects::of(&[Effect::Create, Effect::Alter]));
            if (fires && is_made) || (refers && !is_made) {
                self.fires(&relation.name.name, Effects::WRITES);
            }
            if secures && is_made && relation.oid.is_some() {
                self.fires(&relation.name.name, ROWS);
            }
            match relation.oid {
                Some(oid) if shows_others && relation.effects.intersects(DEFINES) => drop(self.changed.insert(oid)),
                None if !shows_others && relation.effects.contains(Effect::Create) => {
                    self.created.insert(relation.name.name.clone());
                }
                None if shows_others && relation.effects.contains(Effect::Create) => {
                    self.created.remove(&relation.name.name);
                    self.hiding.insert(relation.name.name.clone());
                }
                Some(_) | None => {}
            }
        }
        // Names with a schema mean something else when schemas change places.
        self.everything |= has(&["rename"]) && has(&["schema"]);
        if has(&["rename"]) || (has(&["set"]) && has(&["schema"])) {
            // A name may be written with escapes.
            self.everything |= text.contains('\\');
            self.renamed.extend(words);
        }
    }

    /// Notes what a statement has made to run without being named; whether its text has expressions for rows to come.
    fn note(&mut self, statement: &StatementAnalysis, computes: bool) {
        for change in &statement.session_changes {
            if let SessionChange::Expressions(effects) = change {
                self.expressions.extend(*effects);
            }
            self.event_trigger |= *change == SessionChange::EventTrigger;
        }
        // A default or a check that does something does it with every row.
        let does = computes && statement.effects.intersects(DOES);
        for relation in statement.relations.iter().filter(|_| does) {
            if relation.effects.intersects(Effects::of(&[Effect::Create, Effect::Alter])) {
                self.fires(&relation.name.name, Effects::WRITES);
            }
        }
    }

    fn fires(&mut self, name: &str, effects: Effects) {
        self.firing.entry(name.to_owned()).or_insert(Effects::NONE).extend(effects);
    }

    /// Notes that the catalog has been loaded with everything that was committed.
    pub(super) fn loaded(&mut self) {
        *self = Self::default();
    }

    /// Whether a table of that name is new.
    pub(super) fn created(&self, name: &str) -> bool {
        self.created.contains(name)
    }

    /// Whether the analysis rests on what may not be so any more.
    pub(super) fn contradict(&self, analysis: &Analysis) -> bool {
        analysis.statements.iter().any(|statement| {
            let (calls, names) = (!statement.functions.is_empty(), !statement.relations.is_empty());
            (self.everything && (calls || names))
                || (self.calls && calls)
                || statement.effects.intersects(self.expressions)
                || (self.event_trigger && statement.effects.intersects(FIRES))
                || self.has_changed(statement)
        })
    }

    fn has_changed(&self, statement: &StatementAnalysis) -> bool {
        statement.relations.iter().any(|relation| {
            relation.oid.is_some_and(|oid| self.changed.contains(&oid))
                || self.hiding.contains(&relation.name.name)
                || self.firing.get(&relation.name.name).is_some_and(|fires| relation.effects.intersects(*fires))
                || (!self.renamed.is_empty() && words(&relation.name.name).all(|word| self.renamed.contains(&word)))
        })
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    text.split(move |character| !is_part(character)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}
