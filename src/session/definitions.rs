//! What the session has defined in its open transaction, where the catalog cannot see it yet.
//!
//! Never resolves a name. Invariant: what the transaction may have made to mean something else is not understood until
//! the transaction has ended and the catalog has been loaded again.

use std::collections::HashSet;

use countersign_policy::analysis::StatementAnalysis;
use countersign_policy::catalog::Oid;
use countersign_policy::{Analysis, Effect, Effects};

const DEFINES: Effects = Effects::of(&[Effect::Create, Effect::Alter, Effect::Drop]);

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
    /// Names of relations whose writes do more than before: triggers fire, foreign keys cascade.
    firing: HashSet<String>,
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
        for relation in analysis.statements.iter().flat_map(|statement| &statement.relations) {
            let is_made = relation.effects.intersects(Effects::of(&[Effect::Create, Effect::Alter]));
            if (fires && is_made) || (refers && !is_made) {
                self.firing.insert(relation.name.name.clone());
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
            (self.everything && (calls || names)) || (self.calls && calls) || self.has_changed(statement)
        })
    }

    fn has_changed(&self, statement: &StatementAnalysis) -> bool {
        statement.relations.iter().any(|relation| {
            relation.oid.is_some_and(|oid| self.changed.contains(&oid))
                || self.hiding.contains(&relation.name.name)
                || (relation.effects.intersects(Effects::WRITES) && self.firing.contains(&relation.name.name))
                || (!self.renamed.is_empty() && words(&relation.name.name).all(|word| self.renamed.contains(&word)))
        })
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '$';
    text.split(move |character| !is_part(character)).filter(|word| !word.is_empty()).map(str::to_lowercase)
}
