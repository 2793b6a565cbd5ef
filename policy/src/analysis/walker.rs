//! The walk over one text: what has been found so far, and what earlier statements of the same text changed.
//!
//! Never skips silently: [`Walker::give_up`] is the only way to leave something unread. Invariant: the walk ends, because
//! every step spends from a budget.

use std::collections::HashMap;
use std::sync::Arc;

use super::constant::Literals;
use super::footing::Footing;
use super::lineage::{Columns, take_work};
use super::parsing::Values;
use super::{AnalysisContext, Lineage, NotUnderstood, Outputs, RelationUse, SessionChange, StatementAnalysis, columns};
use crate::catalog::{Catalog, Oid, Relation};
use crate::effect::{Effect, Effects};
use crate::name::QualifiedName;

/// Steps that one text may cost; a step is a node of the tree.
pub const BUDGET: u32 = 400_000;
/// Steps of a brief look: about 10 ms. Of 7,900 texts that clients send, none takes more than 4,100.
pub const BRIEF_BUDGET: u32 = 8_000;
/// Why a text is not understood that costs more.
pub const TOO_COMPLEX: &str = "the statement is too complex";
/// Work with columns that costs as much as a step.
const WORK_PER_STEP: usize = 128;

/// What earlier statements of the same text did to names. Names are without schema: a match is a match in any schema.
#[derive(Debug, Default)]
pub struct Overlay {
    pub relations: HashMap<String, Changed>,
    /// What was dropped, by name; without the full name when the catalog does not have it.
    pub dropped: HashMap<String, Option<QualifiedName>>,
    /// Relations of which a use with these effects does more than the catalog says.
    pub redefined: HashMap<String, Effects>,
    /// What the statement at hand adds to them.
    pub redefining: Vec<(String, Effects)>,
    /// The statement at hand names them without using what is behind them.
    pub only_defines: bool,
    /// A schema has another name now.
    pub schema_renamed: bool,
    /// The statement at hand gives a schema another name.
    pub schema_renaming: bool,
    /// Names of functions and operators that were made or changed.
    pub functions: Vec<String>,
    /// The statement at hand reaches one of them through a definition.
    pub reaches_function: bool,
    /// Effects of statements whose expressions may call something else now.
    pub rebound: Effects,
    /// What the statement at hand adds to them.
    pub rebinding: Effects,
    /// An event trigger was made or enabled.
    pub event_trigger: bool,
    pub prepared: HashMap<String, Option<StatementAnalysis>>,
    pub all_deallocated: bool,
    pub cursors: HashMap<String, Option<StatementAnalysis>>,
    /// The search path is not the context's any more.
    pub path_changed: bool,
}

/// What happened to a relation earlier in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Created,
    Altered,
    Gone,
}

pub struct Walker<'a> {
    pub context: &'a AnalysisContext<'a>,
    /// What is known about the statement at hand.
    pub out: StatementAnalysis,
    pub overlay: Overlay,
    /// Whether the result depends on what only this session has: prepared statements, cursors, relations it has not
    /// committed, or on other sessions' temporary objects, which the key of the cache does not know.
    pub session_dependent: bool,
    /// The text's literals, which notice when one of them decides.
    pub literals: Literals,
    /// How many definitions of views and functions this walk is inside of.
    pub view_depth: usize,
    /// The search path that is in force when the text runs, where that is not the context's: in the definition of a view
    /// names have been resolved when it was made.
    pub run_path: Option<&'a [String]>,
    /// Whether the result depends on [`Self::run_path`].
    pub path_dependent: bool,
    /// Definitions of this walk that were not understood. A statement that uses one is not understood either.
    pub readings: HashMap<Oid, Arc<StatementAnalysis>>,
    /// Names of the parameters of the function whose body this walk is inside of.
    pub parameters: Vec<String>,
    /// The next SELECT is the statement itself.
    pub outermost: bool,
    /// How many INSERT, UPDATE, DELETE and MERGE the statement at hand holds, with those of the rules that rewrite it.
    pub row_writes: usize,
    /// What the statement at hand has to do with values being read.
    pub values: Values,
    /// It calls a function with checks in its signature that may write.
    pub calls_with_checks: bool,
    pub(super) budget: u32,
    /// Work that is not a whole step yet.
    work: usize,
    /// Positions of relations in the statement's list, by OID.
    positions: HashMap<Oid, usize>,
    /// What that rests on which the statement at hand includes.
    footing: Footing,
}

impl<'a> Walker<'a> {
    pub fn new(context: &'a AnalysisContext<'a>, budget: u32) -> Self {
        Self {
            context,
            out: StatementAnalysis::default(),
            overlay: Overlay::default(),
            session_dependent: false,
            literals: Literals::default(),
            view_depth: 0,
            run_path: None,
            path_dependent: false,
            readings: HashMap::new(),
            parameters: Vec::new(),
            outermost: false,
            row_writes: 0,
            values: Values::default(),
            calls_with_checks: false,
            budget,
            work: 0,
            positions: HashMap::new(),
            footing: Footing::default(),
        }
    }

    pub fn catalog(&self) -> &'a Catalog {
        self.context.catalog
    }

    /// Takes the finished analysis of the statement at hand.
    pub fn finish(&mut self) -> StatementAnalysis {
        self.check_redefined();
        let mut done = std::mem::take(&mut self.out);
        self.positions.clear();
        self.reads_values(&mut done);
        self.values = Values { is_stored: self.values.is_stored, ..Values::default() };
        self.calls_with_checks = false;
        columns::mark_consulted(&mut done, self.context.catalog);
        if done.not_understood.is_some() {
            done.effects.insert(Effect::Unknown);
        }
        let mut footing = std::mem::take(&mut self.footing);
        footing.absorb(&Footing::of(&done, self.context));
        done.footing = Arc::new(footing);
        done
    }

    /// Records that something is not understood; the first reason stays.
    pub fn give_up(&mut self, why: NotUnderstood) {
        self.out.not_understood.get_or_insert(why);
    }

    /// Spends one step; false when the budget is gone and the walk must stop.
    pub fn spend(&mut self) -> bool {
        self.spend_many(1)
    }

    /// Spends so many steps at once, and what the work done since the last step costs.
    pub fn spend_many(&mut self, steps: usize) -> bool {
        self.work = self.work.saturating_add(take_work());
        let steps = steps.saturating_add(self.work / WORK_PER_STEP);
        self.work %= WORK_PER_STEP;
        self.budget = self.budget.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.budget == 0 {
            self.give_up(NotUnderstood::Guard(TOO_COMPLEX));
        }
        self.budget > 0
    }

    pub fn effect(&mut self, effect: Effect) {
        self.out.effects.insert(effect);
    }

    /// A value decides which rows come back, or in which order.
    pub fn decides(&mut self, lineage: &Lineage) {
        self.out.predicates.absorb(lineage);
    }

    /// A value is stored, or sent elsewhere.
    pub fn stores(&mut self, lineage: &Lineage) {
        self.out.stores.absorb(lineage);
    }

    pub fn changes(&mut self, change: SessionChange) {
        if !self.out.session_changes.contains(&change) {
            self.out.session_changes.push(change);
        }
    }

    /// The search path and the role may be different afterwards.
    pub fn path_and_role_change(&mut self) {
        self.changes(SessionChange::SearchPath);
        self.changes(SessionChange::Role);
        self.overlay.path_changed = true;
    }

    pub fn relation(&mut self, oid: Option<Oid>, name: QualifiedName, effects: Effects) {
        let list = &mut self.out.relations;
        let position = match oid {
            Some(oid) => self.positions.get(&oid).copied(),
            None => {
                self.work += list.len();
                list.iter().position(|known| known.oid.is_none() && known.name == name)
            }
        };
        if let Some(known) = position.and_then(|position| list.get_mut(position)) {
            known.effects.extend(effects);
            return;
        }
        if let Some(oid) = oid {
            self.positions.insert(oid, list.len());
        }
        list.push(RelationUse { oid, name, effects, is_consulted: false });
    }

    /// The same of a relation that the catalog has.
    pub fn known_relation(&mut self, known: &Relation, effects: Effects) {
        let position = self.positions.get(&known.oid).copied();
        match position.and_then(|position| self.out.relations.get_mut(position)) {
            Some(used) => used.effects.extend(effects),
            None => self.relation(Some(known.oid), QualifiedName::new(&known.schema, &known.name), effects),
        }
    }

    pub fn function(&mut self, schema: &str, name: &str) {
        self.work += self.out.functions.len();
        if !self.out.functions.iter().any(|known| known.schema == schema && known.name == name) {
            self.out.functions.push(QualifiedName::new(schema, name));
        }
    }

    /// Walks something as a statement of its own and returns what was found, leaving the statement at hand as it was.
    pub fn apart(&mut self, walk: impl FnOnce(&mut Self) -> Outputs) -> StatementAnalysis {
        let outer =
            (std::mem::take(&mut self.out), std::mem::take(&mut self.positions), std::mem::take(&mut self.footing));
        let values = (std::mem::take(&mut self.values), std::mem::take(&mut self.calls_with_checks));
        self.values.is_stored = values.0.is_stored;
        self.out.outputs = walk(self);
        let inner = self.finish();
        (self.out, self.positions, self.footing) = outer;
        (self.values, self.calls_with_checks) = values;
        inner
    }

    /// Adds everything that executing the inner statement does.
    pub fn include(&mut self, inner: &StatementAnalysis) {
        self.out.effects.extend(inner.effects);
        self.include_reads(inner, Effects::NONE);
        self.out.no_where |= inner.no_where;
        self.out.collects.absorb(&inner.collects);
        self.out.predicates.absorb(&inner.predicates);
        self.out.lookups.absorb(&inner.lookups);
        self.out.stores.absorb(&inner.stores);
        self.out.reads.absorb(&inner.reads);
        inner.writes.iter().for_each(|column| self.writes(*column));
        for change in &inner.session_changes {
            self.changes(change.clone());
        }
        inner.changed_roles.iter().for_each(|role| self.changes_role(role.clone()));
    }

    /// Adds what the inner statement names, without its effects on the statement. `instead`, when not empty, replaces
    /// its effects on relations.
    pub fn include_reads(&mut self, inner: &StatementAnalysis, instead: Effects) {
        for known in &inner.relations {
            let effects = if instead.is_empty() { known.effects } else { instead };
            self.relation(known.oid, known.name.clone(), effects);
        }
        for function in &inner.functions {
            self.overlay.reaches_function |= self.may_do_anew(function);
            self.function(&function.schema, &function.name);
        }
        self.footing.absorb(&inner.footing);
        if inner.runs_when_parsed {
            self.out.runs_when_parsed = true;
            self.effect(Effect::FunctionCall);
        }
        if let Some(why) = &inner.not_understood {
            self.give_up(why.clone());
        }
    }

    /// The prepared statement of that name, as of this point of the text.
    pub fn prepared(&mut self, name: &str) -> Option<StatementAnalysis> {
        self.session_dependent = true;
        match self.overlay.prepared.get(name) {
            Some(own) => own.clone(),
            None if self.overlay.all_deallocated => None,
            None => self.context.prepared.prepared(name).cloned(),
        }
    }

    /// The query behind the cursor of that name, as of this point of the text.
    pub fn cursor(&mut self, name: &str) -> Option<StatementAnalysis> {
        self.session_dependent = true;
        match self.overlay.cursors.get(name) {
            Some(own) => own.clone(),
            None => self.context.prepared.cursor(name).cloned(),
        }
    }

    /// The search path that is in force when the text runs.
    pub fn path_in_force(&self) -> &'a [String] {
        self.run_path.unwrap_or(self.context.search_path)
    }

    /// The search path to resolve unqualified names along.
    pub fn search_path(&mut self) -> Arc<[String]> {
        if self.overlay.path_changed {
            self.give_up(NotUnderstood::Other("the search path changes within the text"));
        }
        let path = self.context.search_path;
        if path.iter().any(|schema| schema == "pg_catalog") {
            return path.into();
        }
        std::iter::once("pg_catalog".to_owned()).chain(path.iter().cloned()).collect()
    }
}

/// The columns of a result known only by its statement analysis.
pub fn columns_of(outputs: &Outputs) -> Columns {
    match outputs {
        Outputs::None => Columns::default(),
        Outputs::Opaque(lineage) => Columns::opaque(lineage.clone()),
        Outputs::Columns(list) => {
            let mut columns = Columns::default();
            list.iter().for_each(|lineage| columns.push("?column?", lineage.clone()));
            columns
        }
    }
}
