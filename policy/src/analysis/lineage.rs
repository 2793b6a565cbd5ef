//! Scopes: which columns a name can mean at one place of a query, and where their values come from.
//!
//! Never looks at the catalog; [`super::relations`] fills the sources. Invariant: a name that may mean several things has
//! the lineage of all of them, and one that means nothing known is [`Lineage::Unknown`]. Whatever takes longer for wider
//! relations or deeper queries is counted ([`take_work`]), so that the walk can pay for it.

use std::cell::Cell;

use pg_query::protobuf;

use super::{BaseColumn, Form, Lineage, Outputs};
use crate::catalog::Oid;

/// Work that copying a column costs; looking at one costs 1.
const COPY_WORK: usize = 16;

thread_local! {
    /// Work done on this thread and not yet taken.
    static WORK: Cell<usize> = const { Cell::new(0) };
}

/// Counts work.
pub fn work(units: usize) {
    WORK.set(WORK.get().saturating_add(units));
}

/// The work done with columns on this thread since it was asked last: a unit is about a comparison of two names.
pub fn take_work() -> usize {
    WORK.take()
}

impl Default for Lineage {
    fn default() -> Self {
        Self::CLEAR
    }
}

impl Lineage {
    /// The lineage of one base column.
    pub(super) fn of(relation: Oid, attnum: i16) -> Self {
        Self::Columns(vec![BaseColumn { relation, attnum }])
    }

    /// Whether no stored value can reach it.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        matches!(self, Self::Columns(columns) if columns.is_empty())
    }

    /// How many columns are in it.
    fn width(&self) -> usize {
        match self {
            Self::Columns(columns) => columns.len(),
            Self::Unknown(_) => 0,
        }
    }

    /// Adds everything that may reach the other.
    pub fn absorb(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Unknown(_), _) => {}
            (Self::Columns(_), Self::Unknown(why)) => *self = Self::Unknown(why),
            (Self::Columns(own), Self::Columns(others)) => {
                work(4 * others.len());
                for column in others {
                    if let Err(at) = own.binary_search(column) {
                        own.insert(at, *column);
                    }
                }
            }
        }
    }

    /// Both together.
    #[must_use]
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.absorb(other);
        self
    }
}

/// A named column of a source or of a query's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub lineage: Lineage,
    pub origin: Origin,
    /// Its values are those of one column of a table, as they are stored.
    pub stored: bool,
    /// What it is exactly, where that is known.
    pub form: Option<Form>,
}

/// What a reference to a column reads that was not noted elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// It is computed; what it is made of was noted where that was referred to.
    #[default]
    Computed,
    /// It is a relation's, and reading it reads its lineage.
    Stored(BaseColumn),
    /// It is a relation's, and what is in it is no column's value.
    Apart(BaseColumn),
}

impl Column {
    /// A column that is computed.
    pub fn computed(name: impl Into<String>, lineage: Lineage) -> Self {
        Self { name: name.into(), lineage, origin: Origin::Computed, stored: false, form: None }
    }

    /// Adds everything that may reach another value: it may hold that one too.
    pub fn absorb(&mut self, other: &Lineage) {
        self.lineage.absorb(other);
        self.stored = false;
        self.form = None;
    }

    /// What a reference to it reads.
    fn add_reads(&self, all: &mut Lineage) {
        match self.origin {
            Origin::Computed => {}
            Origin::Stored(own) => {
                all.absorb(&self.lineage);
                all.absorb(&Lineage::of(own.relation, own.attnum));
            }
            Origin::Apart(own) => all.absorb(&Lineage::of(own.relation, own.attnum)),
        }
    }
}

/// An ordered list of columns that may be incomplete.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub list: Vec<Column>,
    /// Set when there may be further columns, whose names are not known.
    pub rest: Option<Lineage>,
}

impl Clone for Columns {
    fn clone(&self) -> Self {
        copies(&self.list);
        Self { list: self.list.clone(), rest: self.rest.clone() }
    }
}

/// Counts the work of copying these.
fn copies(columns: &[Column]) {
    let widths: usize = columns.iter().map(|column| column.lineage.width()).sum();
    work(COPY_WORK * (1 + columns.len()) + widths);
}

impl Columns {
    /// Nothing is known but where the values may come from.
    pub fn opaque(lineage: Lineage) -> Self {
        Self { list: Vec::new(), rest: Some(lineage) }
    }

    pub fn unknown(why: &'static str) -> Self {
        Self::opaque(Lineage::Unknown(why))
    }

    pub fn push(&mut self, name: impl Into<String>, lineage: Lineage) {
        self.list.push(Column::computed(name, lineage));
    }

    /// What a reference to the columns of that name reads; `None` when there is none.
    pub fn reads_named(&self, name: &str) -> Option<Lineage> {
        let mut found = None;
        work(self.list.len());
        for column in self.list.iter().filter(|column| column.name == name) {
            column.add_reads(found.get_or_insert(Lineage::CLEAR));
        }
        found
    }

    /// What a reference to all of them reads.
    pub fn reads(&self) -> Lineage {
        let mut all = Lineage::CLEAR;
        self.list.iter().for_each(|column| column.add_reads(&mut all));
        all
    }

    /// Appends the columns of the other.
    pub fn append(&mut self, other: &Self) {
        copies(&other.list);
        self.list.extend(other.list.iter().cloned());
        self.absorb_rest(other.rest.as_ref());
    }

    pub fn absorb_rest(&mut self, other: Option<&Lineage>) {
        if let Some(other) = other {
            self.rest.get_or_insert(Lineage::CLEAR).absorb(other);
        }
    }

    /// The values of all columns together.
    pub fn union(&self) -> Lineage {
        let mut all = self.rest.clone().unwrap_or_default();
        self.list.iter().for_each(|column| all.absorb(&column.lineage));
        all
    }

    /// The lineage of a column by name; several of one name count together.
    pub fn named(&self, name: &str) -> Option<Lineage> {
        let mut found = None;
        work(self.list.len());
        for column in self.list.iter().filter(|column| column.name == name) {
            found.get_or_insert(Lineage::CLEAR).absorb(&column.lineage);
        }
        found
    }

    /// The lineage of the column at that position, from 0.
    pub fn at(&self, position: usize) -> Lineage {
        match (&self.rest, self.list.get(position)) {
            (None, Some(column)) => column.lineage.clone(),
            (None, None) => Lineage::Unknown("a column is missing"),
            (Some(_), _) => self.union(),
        }
    }

    /// Merges another arm of a set operation, by position.
    pub fn merge_arm(&mut self, arm: &Self) {
        if self.rest.is_some() || arm.rest.is_some() || self.list.len() != arm.list.len() {
            let all = self.union().and(&arm.union());
            *self = Self::opaque(all);
            return;
        }
        for (column, other) in self.list.iter_mut().zip(&arm.list) {
            let stored = column.stored && other.stored;
            column.absorb(&other.lineage);
            column.stored = stored;
        }
    }

    /// Renames the first columns, as `AS alias (a, b)` does.
    pub fn rename(&mut self, names: &[String]) {
        if self.rest.is_some() && names.len() > self.list.len() {
            let all = self.union();
            let missing = names.iter().skip(self.list.len()).map(|name| Column::computed(name, all.clone()));
            let missing: Vec<_> = missing.collect();
            self.list.extend(missing);
        }
        let incomplete = self.rest.is_some().then(|| self.union());
        for (column, name) in self.list.iter_mut().zip(names) {
            column.name.clone_from(name);
            if let Some(all) = &incomplete {
                column.lineage = all.clone();
                column.stored = false;
                column.form = None;
            }
        }
    }

    /// The forms of the columns of a statement's result, in order.
    pub fn forms(&self) -> Vec<Option<Form>> {
        match self.rest {
            Some(_) => Vec::new(),
            None => self.list.iter().map(|column| column.form.clone()).collect(),
        }
    }

    /// As the columns of a statement's result.
    pub fn into_outputs(self) -> Outputs {
        match self.rest {
            Some(_) => Outputs::Opaque(self.union()),
            None => Outputs::Columns(self.list.into_iter().map(|column| column.lineage).collect()),
        }
    }
}

/// An item of a FROM clause that columns can be qualified with.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Alias, or the relation's own name.
    pub name: String,
    /// Schema of a relation without alias; empty otherwise.
    pub schema: String,
    pub columns: Columns,
    /// What a whole-row reference yields.
    pub whole: Lineage,
    /// Relation it stands for, for row locks.
    pub relation: Option<Oid>,
    /// It is a function, whose columns may have names that are not known (of OUT parameters).
    pub function: bool,
}

impl Source {
    /// A source without a relation of its own.
    pub fn derived(name: impl Into<String>, columns: Columns) -> Self {
        let whole = columns.union();
        Self { name: name.into(), columns, whole, ..Self::default() }
    }
}

/// What the items of one FROM clause offer.
#[derive(Clone, Debug, Default)]
pub struct Level {
    /// For `alias.column`.
    pub sources: Vec<Source>,
    /// For `column` and `*`, in order.
    pub columns: Columns,
    /// What `name` is, where the rows are those of one setting (see [`super::settings`]).
    pub setting: Option<protobuf::Node>,
}

impl Level {
    /// The level of one source.
    pub fn of(source: Source) -> Self {
        Self { columns: source.columns.clone(), sources: vec![source], setting: None }
    }

    /// Puts another FROM item behind this one.
    pub fn append(&mut self, other: Self) {
        self.columns.append(&other.columns);
        self.sources.extend(other.sources);
    }
}

/// A place in a query: its own FROM items and WITH queries, inside those of the queries around it.
#[derive(Clone, Debug, Default)]
pub struct Scope<'p> {
    pub parent: Option<&'p Scope<'p>>,
    pub level: Level,
    /// Named WITH queries, latest first to be found.
    pub queries: Vec<(String, Columns)>,
}

/// What a column name turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Column(Lineage),
    /// The name of a source: the whole row.
    Row(Lineage),
    Nothing,
}

const SYSTEM_COLUMNS: [&str; 7] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"];

impl<'p> Scope<'p> {
    /// A place inside this one.
    pub fn child(&'p self) -> Self {
        Self { parent: Some(self), ..Self::default() }
    }

    /// A place inside this one with the given FROM items.
    pub fn with(&'p self, level: Level) -> Self {
        Self { parent: Some(self), level, queries: Vec::new() }
    }

    /// What a column reference is exactly, where one column alone can be meant.
    pub fn form(&self, parts: &[String]) -> Option<Form> {
        let (columns, name) = match parts {
            [name] => {
                let mut outward = self.outward().map(|scope| &scope.level.columns);
                (outward.find(|columns| columns.rest.is_some() || columns.named(name).is_some())?, name)
            }
            [source, name] => (&self.source("", source)?.columns, name),
            [schema, source, name] | [_, schema, source, name] => (&self.source(schema, source)?.columns, name),
            _ => return None,
        };
        let mut meant = columns.list.iter().filter(|column| column.name == *name);
        match (&columns.rest, meant.next(), meant.next()) {
            (None, Some(column), None) => column.form.clone(),
            _ => None,
        }
    }

    fn outward(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |scope| scope.parent)
    }

    /// The WITH query of that name.
    pub fn query(&self, name: &str) -> Option<&Columns> {
        self.outward()
            .inspect(|scope| work(1 + scope.queries.len()))
            .find_map(|scope| scope.queries.iter().rev().find(|(own, _)| own == name).map(|(_, columns)| columns))
    }

    /// The source of that name; the schema is empty when the reference has none.
    pub fn source(&self, schema: &str, name: &str) -> Option<&Source> {
        self.outward().find_map(|scope| {
            work(1 + scope.level.sources.len());
            scope
                .level
                .sources
                .iter()
                .find(|source| source.name == name && (schema.is_empty() || source.schema == schema))
        })
    }

    /// What an unqualified name means.
    pub fn column(&self, name: &str) -> Found {
        let mut maybe: Option<Lineage> = None;
        for scope in self.outward() {
            let columns = &scope.level.columns;
            if let Some(found) = columns.named(name) {
                return Found::Column(maybe.unwrap_or_default().and(&found));
            }
            if SYSTEM_COLUMNS.contains(&name) && scope.level.sources.iter().any(|source| source.relation.is_some()) {
                return Found::Column(maybe.unwrap_or_default());
            }
            if let Some(rest) = &columns.rest {
                maybe.get_or_insert(Lineage::CLEAR).absorb(rest);
            }
        }
        match (maybe, self.source("", name)) {
            (Some(maybe), Some(source)) => Found::Row(maybe.and(&source.whole)),
            (Some(maybe), None) => Found::Column(maybe),
            (None, Some(source)) => Found::Row(source.whole.clone()),
            (None, None) => self.function_column().map_or(Found::Nothing, Found::Column),
        }
    }

    /// What an unqualified name reads; `None` when it means nothing known.
    pub fn reads_of(&self, name: &str) -> Option<Lineage> {
        for scope in self.outward() {
            if let Some(found) = scope.level.columns.reads_named(name) {
                return Some(found);
            }
            if SYSTEM_COLUMNS.contains(&name) && scope.level.sources.iter().any(|source| source.relation.is_some()) {
                return Some(Lineage::CLEAR);
            }
        }
        let open = || self.outward().any(|scope| scope.level.columns.rest.is_some());
        match self.source("", name) {
            Some(source) => Some(source.columns.reads()),
            None => (open() || self.function_column().is_some()).then_some(Lineage::CLEAR),
        }
    }

    /// What reading everything in sight reads.
    pub fn reads(&self) -> Lineage {
        let mut all = Lineage::CLEAR;
        for source in self.outward().flat_map(|scope| &scope.level.sources) {
            all.absorb(&source.columns.reads());
            if let Some(relation) = source.relation {
                all.absorb(&Lineage::of(relation, 0));
            }
        }
        all
    }

    /// What a name that nothing else has can mean: a column of some function.
    fn function_column(&self) -> Option<Lineage> {
        let functions = self.outward().flat_map(|scope| &scope.level.sources).filter(|source| source.function);
        functions.map(|source| source.whole.clone()).reduce(|all, next| all.and(&next))
    }
}

impl Source {
    /// The lineage of one of its columns; `None` when it has no such column.
    pub fn column(&self, name: &str) -> Option<Lineage> {
        self.columns
            .named(name)
            .or_else(|| (self.relation.is_some() && SYSTEM_COLUMNS.contains(&name)).then_some(Lineage::CLEAR))
            .or_else(|| self.columns.rest.clone())
            .or_else(|| self.function.then(|| self.whole.clone()))
    }
}
