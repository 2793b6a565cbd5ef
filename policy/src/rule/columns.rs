//! Whether the columns a statement reads or writes fit a rule's globs.
//!
//! Never asks where a value goes. Invariant: a relation of which it is not known which columns are meant stands for all of
//! its columns, and one that is not in the catalog for columns of any name.

use crate::analysis::{BaseColumn, Lineage, RelationUse, StatementAnalysis};
use crate::catalog::{Catalog, Oid, Relation};
use crate::effect::{Effect, Effects};

use super::matching::Scope;
use super::{ColumnGlob, Matcher, RelationAccess};

/// Effects on a relation whose columns the analysis names.
const NAMING: Effects = Effects::of(&[
    Effect::Insert,
    Effect::Update,
    Effect::Merge,
    Effect::CopyIn,
    Effect::Select,
    Effect::CopyOut,
    Effect::Lock,
]);
/// Effects on a relation that may look at any column of its rows: a new constraint, an index, a policy.
const CHECKING: Effects = Effects::of(&[Effect::Alter, Effect::Create]);

/// Something that has to fit.
#[derive(Clone, Copy, Debug)]
enum Item<'a> {
    Column(&'a Relation, &'a str),
    /// Columns, of any name, of a relation that the catalog does not have.
    Of(&'a RelationUse),
    /// Any column of any relation.
    Any,
}

/// Which columns of one relation are meant.
enum Meant<'a> {
    Nothing,
    These(Vec<&'a str>),
    All,
}

impl Matcher {
    /// Whether the rule's `columns` speak of what the statement reads or writes.
    pub(crate) fn fits_columns(&self, statement: &StatementAnalysis, catalog: &Catalog, scope: Scope) -> bool {
        let Some(globs) = &self.columns else { return true };
        let mut touched = Touched { statement, catalog, asked: self.effects, scope, items: Vec::new() };
        match self.access {
            RelationAccess::Write => touched.add_written(),
            RelationAccess::Read => touched.add_read(),
            RelationAccess::Any => {
                touched.add_written();
                touched.add_read();
            }
        }
        scope.over(touched.items.into_iter(), |item| fits(item, globs, scope))
    }
}

fn fits(item: Item<'_>, globs: &[ColumnGlob], scope: Scope) -> bool {
    let any = scope == Scope::Any;
    match item {
        Item::Column(relation, column) => globs
            .iter()
            .any(|glob| glob.matches_relation(&relation.schema, &relation.name) && glob.matches_column(column)),
        Item::Of(used) => any && globs.iter().any(|glob| glob.matches_relation(&used.name.schema, &used.name.name)),
        Item::Any => any,
    }
}

struct Touched<'a> {
    statement: &'a StatementAnalysis,
    catalog: &'a Catalog,
    asked: Option<Effects>,
    scope: Scope,
    items: Vec<Item<'a>>,
}

impl<'a> Touched<'a> {
    fn add_written(&mut self) {
        for used in &self.statement.relations {
            if !(used.is_written() || used.effects.is_empty()) || !self.meets(used) {
                continue;
            }
            let Some(relation) = used.oid.and_then(|oid| self.catalog.relation(oid)) else {
                self.items.push(Item::Of(used));
                continue;
            };
            let counted = match self.asked {
                Some(asked) if self.scope == Scope::Any => used.effects.without(used.effects.without(asked)),
                Some(_) | None => used.effects,
            };
            let whole = counted.is_empty() || !counted.without(NAMING).is_empty();
            match if whole { Meant::All } else { self.columns_of(relation, &self.statement.writes, true) } {
                Meant::Nothing => self.add(relation, Meant::All),
                meant @ (Meant::These(_) | Meant::All) => self.add(relation, meant),
            }
        }
    }

    fn add_read(&mut self) {
        let Lineage::Columns(reads) = &self.statement.reads else { return self.items.push(Item::Any) };
        for used in &self.statement.relations {
            let rows = used.is_read() || used.effects.is_empty();
            match used.oid.and_then(|oid| self.catalog.relation(oid)) {
                None if rows && self.meets(used) => self.items.push(Item::Of(used)),
                Some(relation) if self.meets(used) => {
                    let open = used.effects.is_empty() || used.effects.intersects(CHECKING);
                    match if open { Meant::All } else { self.columns_of(relation, reads, false) } {
                        // Where all has to fit, that there are rows is something, too.
                        Meant::Nothing if rows && self.scope == Scope::All => self.add(relation, Meant::All),
                        meant => self.add(relation, meant),
                    }
                }
                None | Some(_) => {}
            }
        }
        // What is read behind a materialized view, or of a parent, is not among the relations.
        for column in reads {
            if self.use_of(column.relation).is_some() {
                continue;
            }
            match self.catalog.relation(column.relation) {
                Some(relation) => {
                    let meant = self.columns_of(relation, std::slice::from_ref(column), false);
                    self.add(relation, meant);
                }
                None => self.items.push(Item::Any),
            }
        }
    }

    fn use_of(&self, oid: Oid) -> Option<&'a RelationUse> {
        self.statement.relations.iter().find(|used| used.oid == Some(oid))
    }

    /// Whether the effects on the relation are those the rule speaks of.
    fn meets(&self, used: &RelationUse) -> bool {
        let have = if used.effects.is_empty() { self.statement.effects } else { used.effects };
        self.asked.is_none_or(|asked| self.scope.effects(have, asked))
    }

    /// The relation's columns among those of the list, which may be given by an ancestor's or a descendant's. Written ones of
    /// an ancestor bring generated columns along.
    fn columns_of(&self, relation: &'a Relation, list: &[BaseColumn], written: bool) -> Meant<'a> {
        let (mut found, mut related) = (Vec::new(), false);
        for column in list {
            let Some(of) = self.catalog.relation(column.relation) else { continue };
            let own = of.oid == relation.oid;
            let inherited = !own && self.is_ancestor(of.oid, relation);
            if !(own || inherited || (written && self.is_ancestor(relation.oid, of))) {
                continue;
            }
            related = true;
            if column.attnum == 0 {
                return Meant::All;
            }
            let name = of.column(column.attnum).map(|column| column.name.as_str());
            found.extend(relation.columns.iter().map(|column| column.name.as_str()).filter(|own| Some(*own) == name));
            if written && inherited {
                let generated = relation.columns.iter().filter(|column| column.generated.is_some());
                found.extend(generated.map(|column| column.name.as_str()));
            }
        }
        if related { Meant::These(found) } else { Meant::Nothing }
    }

    fn is_ancestor(&self, oid: Oid, of: &Relation) -> bool {
        self.catalog.ancestors(of.oid).contains(&oid)
    }

    fn add(&mut self, relation: &'a Relation, meant: Meant<'a>) {
        match meant {
            Meant::Nothing => {}
            Meant::These(names) => self.items.extend(names.into_iter().map(|name| Item::Column(relation, name))),
            Meant::All => self.items.extend(relation.columns.iter().map(|column| Item::Column(relation, &column.name))),
        }
    }
}
