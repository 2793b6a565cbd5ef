//! Which columns of one database are masked for one subject.
//!
//! Never looks at a result; [`super::MaskPlan`] does. Invariant: a column is in the set when a mask names it, or when
//! reading it shows values of a column in the set: through inheritance in either direction, a generated column, or a
//! view. What is masked by such a derivation is redacted whole, except inherited columns, which hold the same values.
//! A column that holds rows of a masked relation is masked inside, and whatever is made of it is masked whole.

mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use self::views::{ViewLineage, ViewsUnknown};
use super::nested::Maskers;
use super::{MaskKind, MaskRule, Predicates};
use crate::analysis::{BaseColumn, Lineage, StatementAnalysis};
use crate::catalog::{Catalog, Oid, Relation, RelationKind};
use crate::rule::{Action, Policy};
use crate::subject::Subject;

/// OIDs below are given by the server itself (`FirstNormalObjectId`): relations that hold no user's rows.
pub(super) const FIRST_USER_OID: Oid = 16_384;

/// Columns of the server's own relations that hold values of users' columns all the same: planner statistics, large
/// objects, defaults added to existing rows.
const SYSTEM_VALUE_COLUMNS: &[&str] = &[
    "attmissingval",
    "data",
    "histogram_bounds",
    "most_common_elems",
    "most_common_vals",
    "range_bounds_histogram",
    "stavalues1",
    "stavalues2",
    "stavalues3",
    "stavalues4",
    "stavalues5",
    "stxdexpr",
    "stxdmcv",
];

/// The masked columns of one database for one subject. Good for one policy revision, catalog version and subject.
#[derive(Debug, Default)]
pub struct MaskSet {
    applies: bool,
    key: [u8; 32],
    /// Names of the rules that apply.
    names: Vec<Arc<str>>,
    columns: HashMap<BaseColumn, Masking>,
    relations: HashMap<Oid, Predicates>,
    /// Columns that are not masked but hold rows of masked relations, and the relations they are in.
    holders: HashSet<BaseColumn>,
    /// Foreign tables that no mask speaks of: what they hold may come from anywhere.
    foreign: HashSet<Oid>,
    /// Columns of views that show a column of another relation unchanged.
    copies: HashMap<BaseColumn, BaseColumn>,
    /// The strictest of all masks' `predicates`.
    strictest: Predicates,
}

/// What holds for one masked column.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Masking {
    kind: MaskKind,
    /// What a statement gets in which it decides.
    predicates: Predicates,
    /// Which of the rules it is, when it is one.
    rule: Option<usize>,
}

impl Masking {
    fn of(rule: &MaskRule, number: usize) -> Self {
        Self { kind: rule.mask.clone(), predicates: rule.predicates, rule: Some(number) }
    }

    /// What follows from other columns.
    fn derived(kind: MaskKind, predicates: Predicates) -> Self {
        Self { kind, predicates, rule: None }
    }

    fn stricter(self, other: Self) -> Self {
        let kind = self.kind.clone().stricter(other.kind);
        let rule = if kind == self.kind { self.rule.or(other.rule) } else { other.rule.or(self.rule) };
        Self { kind, predicates: self.predicates.max(other.predicates), rule }
    }
}

impl MaskSet {
    /// Resolves the masks that apply to the subject against a catalog.
    #[must_use]
    pub fn compile(policy: &Policy, catalog: &Catalog, subject: &Subject, views: &dyn ViewLineage) -> Self {
        Self::of_rules(policy.masks.iter().filter(|rule| rule.applies_to(subject)), catalog, views)
    }

    /// Resolves these masks, whoever they apply to.
    #[must_use]
    pub fn of_rules<'a>(
        rules: impl IntoIterator<Item = &'a MaskRule>,
        catalog: &Catalog,
        views: &dyn ViewLineage,
    ) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        let Some(first) = rules.first() else { return Self::default() };
        let looks_into_foreign = rules.iter().any(|rule| rule.looks_into_foreign);
        let strictest = rules.iter().map(|rule| rule.predicates).max().unwrap_or_default();
        let names = rules.iter().map(|rule| rule.name.as_str().into()).collect();
        let mut set = Self { applies: true, key: first.key, strictest, names, ..Self::default() };
        for relation in catalog.relations() {
            for (number, rule) in rules.iter().enumerate() {
                for glob in rule.columns.iter().filter(|glob| glob.matches_relation(&relation.schema, &relation.name)) {
                    for column in relation.columns.iter().filter(|column| glob.matches_column(&column.name)) {
                        set.add(relation.oid, column.attnum, Masking::of(rule, number));
                    }
                }
            }
        }
        set.inherit_downwards(catalog);
        set.add_generated(catalog);
        set.inherit_upwards(catalog);
        set.add_generated(catalog);
        set.add_system_columns(catalog);
        set.add_holders(catalog);
        set.add_views(catalog, views);
        set.add_holders(catalog);
        if set.touches_database() && looks_into_foreign {
            let foreign = catalog.relations().filter(|relation| relation.kind == RelationKind::ForeignTable);
            set.foreign = foreign.map(|relation| relation.oid).collect();
        }
        set
    }

    /// Whether no mask applies to the subject at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.applies
    }

    /// Whether some column of this database is masked for the subject.
    #[must_use]
    pub fn touches_database(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Whether some column of the relation is masked, so that its whole row is.
    #[must_use]
    pub fn touches_relation(&self, relation: Oid) -> bool {
        self.relations.contains_key(&relation)
    }

    /// The mask of a column; attribute number 0 is the whole row.
    #[must_use]
    pub fn mask_of(&self, column: BaseColumn) -> Option<MaskKind> {
        if column.attnum == 0 {
            return self.touches_relation(column.relation).then_some(MaskKind::Redact);
        }
        self.columns.get(&column).map(|masking| masking.kind.clone())
    }

    /// Whether what is made of the column may show a masked value: it is masked, or holds rows of a masked relation.
    pub(super) fn conceals(&self, column: BaseColumn) -> bool {
        self.columns.contains_key(&column)
            || (column.attnum == 0 && self.touches_relation(column.relation))
            || self.holders.contains(&column)
    }

    /// Whether values of a foreign table may be in a column of that origin or lineage.
    pub(super) fn is_foreign(&self, origin: Oid, lineage: &Lineage) -> bool {
        self.foreign.contains(&origin)
            || match lineage {
                Lineage::Columns(columns) => columns.iter().any(|column| self.foreign.contains(&column.relation)),
                Lineage::Unknown(_) => false,
            }
    }

    /// The column that a view shows unchanged as this one.
    pub(super) fn original(&self, column: BaseColumn) -> Option<BaseColumn> {
        self.copies.get(&column).copied()
    }

    /// The columns that a view shows unchanged.
    pub(super) fn originals(&self, view: Oid) -> impl Iterator<Item = BaseColumn> {
        self.copies.iter().filter(move |(copy, _)| copy.relation == view).map(|(_, original)| *original)
    }

    /// The rule that masks the column, when one names it.
    pub(super) fn rule_of(&self, column: BaseColumn) -> Option<&Arc<str>> {
        self.names.get(self.columns.get(&column)?.rule?)
    }

    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Whether values of a masked column may be in a column of that lineage.
    pub(super) fn reaches(&self, lineage: &Lineage, catalog: &Catalog) -> bool {
        match lineage {
            Lineage::Unknown(_) => self.touches_database(),
            Lineage::Columns(columns) => columns.iter().any(|column| {
                let unheard_of = || column.relation >= FIRST_USER_OID && catalog.relation(column.relation).is_none();
                self.conceals(*column) || (self.applies && unheard_of())
            }),
        }
    }

    /// Whether a masked column decides which rows of the statement come back, or in which order, whatever its mask says
    /// to that.
    #[must_use]
    pub fn decided_by_masked(&self, statement: &StatementAnalysis, catalog: &Catalog) -> bool {
        self.reaches(&statement.predicates, catalog)
            || self.reaches(&statement.lookups, catalog)
            || self.exposure(statement, catalog).predicates != Action::Allow
    }

    /// What a statement gets in which a column of that lineage decides; `None` when no masked column is in it.
    pub(super) fn deciding(&self, lineage: &Lineage, catalog: &Catalog) -> Option<Predicates> {
        if !self.reaches(lineage, catalog) {
            return None;
        }
        let Lineage::Columns(columns) = lineage else { return Some(self.strictest) };
        let own = |column: &BaseColumn| match column.attnum {
            0 => self.relations.get(&column.relation).copied(),
            _ => self.columns.get(column).map(|masking| masking.predicates),
        };
        // A relation that is not in the catalog counts as the strictest, and so do rows of several relations.
        let unheard_of =
            columns.iter().any(|column| catalog.relation(column.relation).is_none() || self.holders.contains(column));
        let known = columns.iter().filter_map(own).max();
        known.max(unheard_of.then_some(self.strictest))
    }

    /// Adds a mask; `true` when that changed anything.
    fn add(&mut self, relation: Oid, attnum: i16, masking: Masking) -> bool {
        let column = BaseColumn { relation, attnum };
        let before = self.columns.get(&column).cloned();
        let after = match &before {
            Some(known) => known.clone().stricter(masking),
            None => masking,
        };
        let whole = self.relations.entry(relation).or_insert(after.predicates);
        *whole = (*whole).max(after.predicates);
        let changed = before.as_ref() != Some(&after);
        self.columns.insert(column, after);
        changed
    }

    fn inherit_downwards(&mut self, catalog: &Catalog) {
        self.until_stable(catalog, |set, relation| {
            let parents = relation.parents.iter().filter_map(|oid| catalog.relation(*oid));
            let inherited: Vec<_> = parents.flat_map(|parent| set.shared(parent, relation)).collect();
            inherited.into_iter().fold(false, |any, (attnum, masking)| set.add(relation.oid, attnum, masking) || any)
        });
    }

    fn inherit_upwards(&mut self, catalog: &Catalog) {
        self.until_stable(catalog, |set, relation| {
            let mut changed = false;
            for parent in relation.parents.iter().filter_map(|oid| catalog.relation(*oid)) {
                let shown: Vec<_> = set.shared(relation, parent).collect();
                for (attnum, masking) in shown {
                    changed |= set.add(parent.oid, attnum, masking);
                }
            }
            changed
        });
    }

    /// Masked columns of `from` that `to` has by name, as attribute numbers of `to`.
    fn shared(&self, from: &Relation, to: &Relation) -> impl Iterator<Item = (i16, Masking)> {
        from.columns.iter().filter_map(move |column| {
            let masking = self.columns.get(&BaseColumn { relation: from.oid, attnum: column.attnum }).cloned()?;
            Some((to.column_named(&column.name)?.attnum, masking))
        })
    }

    fn add_generated(&mut self, catalog: &Catalog) {
        for relation in catalog.relations() {
            if !self.touches_relation(relation.oid) {
                continue;
            }
            let masked: Vec<&str> = relation
                .columns
                .iter()
                .filter(|column| {
                    self.columns.contains_key(&BaseColumn { relation: relation.oid, attnum: column.attnum })
                })
                .map(|column| column.name.as_str())
                .collect();
            let derived = relation.columns.iter().filter(|column| {
                column.generated.as_ref().is_some_and(|expression| masked.iter().any(|name| mentions(expression, name)))
            });
            let predicates = self.relations.get(&relation.oid).copied().unwrap_or(self.strictest);
            for column in derived {
                self.add(relation.oid, column.attnum, Masking::derived(MaskKind::Redact, predicates));
            }
        }
    }

    fn add_system_columns(&mut self, catalog: &Catalog) {
        if !self.touches_database() {
            return;
        }
        let strictest = self.strictest;
        for relation in catalog.relations() {
            let kind_of = |name: &str| match (relation.schema.as_str(), relation.name.as_str(), name) {
                // What other people's statements look for, or write.
                ("pg_catalog", "pg_stat_activity", "query") => Some(MaskKind::Statement),
                // Parts of large values of a table.
                ("pg_toast", _, "chunk_data") => Some(MaskKind::Redact),
                _ if relation.oid < FIRST_USER_OID && SYSTEM_VALUE_COLUMNS.contains(&name) => Some(MaskKind::Redact),
                _ => None,
            };
            for column in &relation.columns {
                if let Some(kind) = kind_of(&column.name) {
                    self.add(relation.oid, column.attnum, Masking::derived(kind, strictest));
                }
            }
        }
    }

    /// Columns of a composite type, or of one made of such, that is the row of a masked relation.
    fn add_holders(&mut self, catalog: &Catalog) {
        if !self.touches_database() {
            return;
        }
        let maskers = Maskers { catalog, key: &[0; 32], binary: false };
        let mut holders = HashSet::new();
        for relation in catalog.relations().filter(|relation| relation.oid >= FIRST_USER_OID) {
            let user_made = relation.columns.iter().filter(|column| column.type_oid >= FIRST_USER_OID);
            for column in user_made.filter(|column| maskers.inside(column.type_oid, self).is_some()) {
                holders.insert(BaseColumn { relation: relation.oid, attnum: column.attnum });
                holders.insert(BaseColumn { relation: relation.oid, attnum: 0 });
            }
        }
        self.holders = holders;
    }

    /// Repeats a step over all relations until nothing changes; a chain is no longer than there are relations.
    fn until_stable(&mut self, catalog: &Catalog, mut step: impl FnMut(&mut Self, &Relation) -> bool) {
        for _ in 0..=catalog.relations().count() {
            let mut changed = false;
            for relation in catalog.relations() {
                changed |= step(self, relation);
            }
            if !changed {
                return;
            }
        }
    }
}

/// Whether an expression of the catalog names the column, bare or quoted. A word in a literal counts too.
fn mentions(expression: &str, column: &str) -> bool {
    let quoted = column.replace('"', "\"\"");
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    expression.match_indices(&quoted).any(|(start, found)| {
        let before = expression.get(..start).and_then(|text| text.chars().next_back());
        let after = expression.get(start + found.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[track_caller]
    fn check(masks: &[(&str, MaskKind)], column: (Oid, i16), expected: Option<MaskKind>) {
        let set = compile(masks, &[]);
        assert_eq!(set.mask_of(BaseColumn { relation: column.0, attnum: column.1 }), expected, "{masks:?} {column:?}");
    }

    #[test]
    fn globs_name_columns() {
        let masks = &[("public.customers.email", MaskKind::Email)];
        check(masks, (CUSTOMERS, 2), Some(MaskKind::Email));
        check(masks, (CUSTOMERS, 1), None);
        check(masks, (CUSTOMERS, 0), Some(MaskKind::Redact));
        check(masks, (ORDERS, 0), None);
        check(&[("*.*.ssn", MaskKind::Last4)], (CUSTOMERS, 3), Some(MaskKind::Last4));
        check(&[("sales.customers.email", MaskKind::Email)], (CUSTOMERS, 2), None);
    }

    #[test]
    fn of_two_masks_the_stricter_wins() {
        check(&[("*.*.email", MaskKind::Email), ("*.*.email", MaskKind::Null)], (CUSTOMERS, 2), Some(MaskKind::Null));
        check(&[("*.*.email", MaskKind::Hash), ("*.*.email", MaskKind::Email)], (CUSTOMERS, 2), Some(MaskKind::Hash));
        check(
            &[("*.*.email", MaskKind::Last4), ("*.*.email", MaskKind::First1)],
            (CUSTOMERS, 2),
            Some(MaskKind::Redact),
        );
    }

    #[test]
    fn inheritance_spreads_masks_by_column_name() {
        check(&[("public.events.ip", MaskKind::Ip)], (EVENTS_2024, 1), Some(MaskKind::Ip));
        check(&[("public.events_2024.ip", MaskKind::Ip)], (EVENTS, 2), Some(MaskKind::Ip));
        check(&[("public.events_2024.ip", MaskKind::Ip)], (EVENTS_2025, 2), None);
    }

    #[test]
    fn a_generated_column_that_mentions_a_masked_one_is_redacted() {
        check(&[("*.customers.email", MaskKind::Email)], (CUSTOMERS, 4), Some(MaskKind::Redact));
        check(&[("*.customers.ssn", MaskKind::Last4)], (CUSTOMERS, 4), None);
        assert!(mentions("lower(\"E\"\"x\")", "E\"x"));
        assert!(!mentions("lower(email_hash)", "email"));
    }

    #[test]
    fn a_view_is_masked_where_its_lineage_reaches_a_masked_column() {
        check(&[("*.customers.email", MaskKind::Email)], (CONTACTS, 1), None);
        // These two show it unchanged.
        check(&[("*.customers.email", MaskKind::Email)], (CONTACTS, 2), Some(MaskKind::Email));
        check(&[("*.customers.email", MaskKind::Email)], (CONTACTS_OF_CONTACTS, 1), Some(MaskKind::Email));
        check(&[("*.customers.email", MaskKind::Email)], (SNAPSHOT, 1), Some(MaskKind::Redact));
    }

    #[test]
    fn statistics_are_masked_when_anything_is_and_other_system_views_are_not() {
        check(&[("*.customers.email", MaskKind::Email)], (PG_STATS, 1), None);
        check(&[("*.customers.email", MaskKind::Email)], (PG_STATS, 2), Some(MaskKind::Redact));
        check(&[("*.nothing.email", MaskKind::Email)], (PG_STATS, 2), None);
    }

    #[test]
    fn what_other_places_of_the_server_hold_is_masked() {
        check(&[("*.customers.email", MaskKind::Email)], (PG_STAT_ACTIVITY, 1), None);
        check(&[("*.customers.email", MaskKind::Email)], (PG_STAT_ACTIVITY, 2), Some(MaskKind::Statement));
        check(&[("*.customers.email", MaskKind::Email)], (CHUNKS, 1), None);
        check(&[("*.customers.email", MaskKind::Email)], (CHUNKS, 2), Some(MaskKind::Redact));
        check(&[("*.nothing.email", MaskKind::Email)], (CHUNKS, 2), None);
    }

    #[test]
    fn a_view_of_unknown_lineage_is_masked_whole_when_anything_is() {
        check(&[("*.customers.email", MaskKind::Email)], (OPAQUE, 1), Some(MaskKind::Redact));
        check(&[("*.nothing.email", MaskKind::Email)], (OPAQUE, 1), None);
    }

    #[test]
    fn what_is_made_of_a_row_of_a_masked_relation_is_masked() {
        let set = compile(&[("*.customers.email", MaskKind::Email)], &[]);
        let reaches =
            |relation, attnum| set.reaches(&Lineage::Columns(vec![BaseColumn { relation, attnum }]), &catalog());
        assert!(reaches(VISITS, 2) && reaches(VISITS, 0));
        assert!(!reaches(VISITS, 1) && !set.touches_relation(VISITS));
    }

    #[test]
    fn exempt_groups_see_everything() {
        let set = compile(&[("*.*.*", MaskKind::Redact)], &["privacy"]);
        assert!(set.is_empty() && !set.touches_database());
    }
}
