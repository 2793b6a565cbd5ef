//! The plan for one result: which of its columns are masked, and how.
//!
//! Never looks at values. Invariant: a column is left clear only when PostgreSQL's own origin, or the statement's
//! lineage where PostgreSQL reports none, shows it to be clear. A row of a masked relation is masked inside.
//! There is always a plan: NULL serves every type, so no result is refused for masking.

use std::sync::Arc;

use super::maskers::base_type;
use super::nested::Maskers;
use super::set::FIRST_USER_OID;
use super::{MaskKind, MaskSet, Masker, TEXT_TYPE};
use crate::analysis::{BaseColumn, Form, Lineage, Outputs, StatementAnalysis};
use crate::catalog::{Catalog, Oid, Relation};

/// What RowDescription says of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldOrigin {
    /// OID of the relation, or 0.
    pub table_oid: Oid,
    /// Attribute number in it; 0 with a relation is the whole row.
    pub attnum: i16,
    /// OID of the type.
    pub type_oid: Oid,
    /// 0 text, 1 binary.
    pub format: i16,
}

/// Maskers for the columns of one result, by position.
#[derive(Clone, Debug, Default)]
pub struct MaskPlan {
    maskers: Vec<Option<Masker>>,
    rules: Arc<[Arc<str>]>,
}

/// In place of a rule's name, where it cannot be told which rule's columns are in a result column.
const NO_RULE: &str = "unknown origin";

impl MaskPlan {
    /// Makes the plan of a result: its fields as announced, and the analysis of the statement that returns it, `None`
    /// when there is none (columns without an origin are then of unknown lineage).
    #[must_use]
    pub fn for_result(
        masks: &MaskSet,
        fields: &[FieldOrigin],
        analysis: Option<&StatementAnalysis>,
        catalog: &Catalog,
    ) -> Self {
        if masks.is_empty() {
            return Self::default();
        }
        let planner = Planner { masks, catalog, own_tables: analysis.is_some_and(reads_own_tables) };
        let outputs = analysis.map(|analysis| &analysis.outputs);
        let mut any = false;
        let mut masker = |(position, field): (usize, &FieldOrigin)| {
            let masker = planner.masker(field, lineage_at(outputs, position, fields.len()));
            any |= masker.is_some();
            masker
        };
        let maskers: Vec<_> = fields.iter().enumerate().map(&mut masker).collect();
        if any { Self { rules: planner.rules(&maskers, fields, outputs), maskers } } else { Self::default() }
    }

    /// Makes the plan of a COPY TO STDOUT with so many columns, of which PostgreSQL reports neither origin nor type: both
    /// come from the analysis. A masked column whose type is not known becomes NULL. Yields the origins too.
    #[must_use]
    pub fn for_copy(
        masks: &MaskSet,
        statement: Option<&StatementAnalysis>,
        (count, format): (usize, i16),
        catalog: &Catalog,
    ) -> (Self, Vec<FieldOrigin>) {
        let planner = Planner { masks, catalog, own_tables: false };
        let outputs = statement.map(|statement| &statement.outputs);
        let forms = statement.map_or(&[][..], |statement| &statement.forms);
        let known = |position: usize| match forms.get(position)? {
            Some(Form::Column(origin)) if forms.len() == count => {
                let column = catalog.relation(origin.relation)?.column(origin.attnum)?;
                let (table_oid, attnum) = (origin.relation, origin.attnum);
                Some(FieldOrigin { table_oid, attnum, type_oid: column.type_oid, format })
            }
            Some(Form::Column(_)) | None => None,
        };
        let (mut maskers, mut origins) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for position in 0..count {
            let lineage = lineage_at(outputs, position, count);
            let origin = known(position);
            maskers.push(match &origin {
                Some(origin) => planner.masker(origin, lineage),
                None => planner.untyped(lineage, format),
            });
            origins.push(origin.unwrap_or(FieldOrigin { table_oid: 0, attnum: 0, type_oid: 0, format }));
        }
        if maskers.iter().any(Option::is_some) {
            (Self { rules: planner.rules(&maskers, &origins, outputs), maskers }, origins)
        } else {
            (Self::default(), origins)
        }
    }

    /// Whether no column is masked, so that rows pass as the bytes they are.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.maskers.is_empty()
    }

    /// The masker of the column at that position, from 0.
    #[must_use]
    pub fn masker(&self, position: usize) -> Option<&Masker> {
        self.maskers.get(position)?.as_ref()
    }

    /// For each masked column in order, the name of the rule that masks it. Of a column that is made of several, the first.
    #[must_use]
    pub fn rules(&self) -> &Arc<[Arc<str>]> {
        &self.rules
    }

    /// The masked positions and their maskers, in order.
    pub fn masked(&self) -> impl Iterator<Item = (usize, &Masker)> {
        self.maskers.iter().enumerate().filter_map(|(position, masker)| Some((position, masker.as_ref()?)))
    }
}

const UNKNOWN: &Lineage = &Lineage::Unknown("no lineage for this column");

pub(super) fn lineage_at(outputs: Option<&Outputs>, position: usize, count: usize) -> &Lineage {
    match outputs {
        Some(Outputs::Columns(columns)) if columns.len() == count => columns.get(position).unwrap_or(UNKNOWN),
        Some(Outputs::Opaque(lineage)) => lineage,
        Some(Outputs::Columns(_) | Outputs::None) | None => UNKNOWN,
    }
}

/// Whether all it reads are tables that the session created in its open transaction: the catalog does not have them.
fn reads_own_tables(analysis: &StatementAnalysis) -> bool {
    let built_in = |schema: &str| schema == "pg_catalog";
    analysis.not_understood.is_none()
        && analysis.relations.iter().all(|relation| relation.oid.is_none() || built_in(&relation.name.schema))
}

struct Planner<'a> {
    masks: &'a MaskSet,
    catalog: &'a Catalog,
    /// A relation that is not in the catalog is one whose lineage is known all the same.
    own_tables: bool,
}

impl Planner<'_> {
    fn masker(&self, field: &FieldOrigin, lineage: &Lineage) -> Option<Masker> {
        let maskers = Maskers { catalog: self.catalog, key: self.masks.key(), binary: field.format == 1 };
        let masker = match self.whole(field, lineage) {
            Some(kind) => Some(maskers.whole(&kind, field.type_oid)),
            None => maskers.inside(field.type_oid, self.masks).or_else(|| {
                let foreign = self.masks.is_foreign(field.table_oid, lineage);
                (foreign && self.is_text(field)).then(|| maskers.whole(&MaskKind::Detect, field.type_oid))
            }),
        }?;
        // Formats other than text and binary do not exist yet.
        Some(if matches!(field.format, 0 | 1) { masker } else { Masker::null(masker.kind().clone()) })
    }

    /// The masker of a column of which only the lineage is known.
    fn untyped(&self, lineage: &Lineage, format: i16) -> Option<Masker> {
        if self.masks.reaches(lineage, self.catalog) {
            return Some(Masker::null(MaskKind::Redact));
        }
        let maskers = Maskers { catalog: self.catalog, key: self.masks.key(), binary: format == 1 };
        self.masks.is_foreign(0, lineage).then(|| maskers.whole(&MaskKind::Detect, TEXT_TYPE))
    }

    /// See [`MaskPlan::rules`].
    fn rules(&self, maskers: &[Option<Masker>], origins: &[FieldOrigin], outputs: Option<&Outputs>) -> Arc<[Arc<str>]> {
        let rule = |(position, origin): (usize, &FieldOrigin)| {
            let own = BaseColumn { relation: origin.table_oid, attnum: origin.attnum };
            let by_lineage = || match lineage_at(outputs, position, origins.len()) {
                Lineage::Columns(columns) => columns.iter().find_map(|column| self.masks.rule_of(*column)),
                Lineage::Unknown(_) => None,
            };
            maskers.get(position)?.as_ref()?;
            Some(self.masks.rule_of(own).or_else(by_lineage).map_or_else(|| NO_RULE.into(), Arc::clone))
        };
        origins.iter().enumerate().filter_map(rule).collect()
    }

    /// The mask that hides all of the column, if it has to be hidden so.
    fn whole(&self, field: &FieldOrigin, lineage: &Lineage) -> Option<MaskKind> {
        let own = BaseColumn { relation: field.table_oid, attnum: field.attnum };
        let is_own = self.own_tables && self.catalog.relation(field.table_oid).is_none();
        let by_origin = if field.table_oid == 0 || is_own {
            self.masks.reaches(lineage, self.catalog).then_some(MaskKind::Redact)
        } else if self.is_row(field) {
            None
        } else {
            self.by_origin(own)
        };
        // Where PostgreSQL names an origin, the lineage may still name other masked columns: then it is not a plain copy.
        let elsewhere = match lineage {
            Lineage::Unknown(_) => false,
            Lineage::Columns(columns) => {
                columns.iter().any(|column| self.masks.conceals(*column) && !self.is_of(*column, own))
            }
        };
        [by_origin, elsewhere.then_some(MaskKind::Redact)].into_iter().flatten().reduce(MaskKind::stricter)
    }

    /// Whether it is a text, whose contents can be looked at.
    fn is_text(&self, field: &FieldOrigin) -> bool {
        matches!(base_type(field.type_oid, self.catalog), 25 | 1042 | 1043)
    }

    /// Whether PostgreSQL says that it is the whole row of a relation, of that relation's type.
    fn is_row(&self, field: &FieldOrigin) -> bool {
        let row_of = self.catalog.type_of(base_type(field.type_oid, self.catalog)).map_or(0, |item| item.relation);
        field.attnum == 0 && field.table_oid != 0 && row_of == field.table_oid
    }

    /// Whether the column is the origin, a part of it where that is a whole row, or the same column in another relation
    /// of its inheritance tree.
    fn is_of(&self, column: BaseColumn, origin: BaseColumn) -> bool {
        if origin.attnum == 0 {
            return column.relation == origin.relation
                || self.is_ancestor(origin.relation, column.relation, 0)
                || self.is_ancestor(column.relation, origin.relation, 0)
                || self.masks.originals(origin.relation).any(|original| self.is_stored_as(column, original));
        }
        let original = self.masks.original(origin).unwrap_or(origin);
        column == origin || self.is_stored_as(column, original)
    }

    /// Whether both are the same column of one inheritance tree.
    fn is_stored_as(&self, column: BaseColumn, original: BaseColumn) -> bool {
        column == original || self.inherits(original, column) || self.inherits(column, original)
    }

    fn by_origin(&self, origin: BaseColumn) -> Option<MaskKind> {
        // Attribute numbers below 0 are system columns.
        let has_column = |relation: &Relation| origin.attnum <= 0 || relation.column(origin.attnum).is_some();
        let known = self.catalog.relation(origin.relation).map_or(origin.relation < FIRST_USER_OID, has_column);
        if known { self.masks.mask_of(origin) } else { Some(MaskKind::Redact) }
    }

    /// Whether the second is the first in a table that inherits it.
    fn inherits(&self, parent: BaseColumn, child: BaseColumn) -> bool {
        let name = |column: BaseColumn| Some(&self.catalog.relation(column.relation)?.column(column.attnum)?.name);
        name(parent).is_some() && name(parent) == name(child) && self.is_ancestor(parent.relation, child.relation, 0)
    }

    fn is_ancestor(&self, ancestor: Oid, relation: Oid, depth: u8) -> bool {
        depth < 32
            && self.catalog.relation(relation).is_some_and(|relation| {
                relation
                    .parents
                    .iter()
                    .any(|parent| *parent == ancestor || self.is_ancestor(ancestor, *parent, depth + 1))
            })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::super::testing::*;
    use super::super::{MaskRule, MaskSet, Masked, ViewsUnknown};
    use super::*;
    use crate::analysis::NotUnderstood;

    fn field(table_oid: Oid, attnum: i16, type_oid: Oid) -> FieldOrigin {
        FieldOrigin { table_oid, attnum, type_oid, format: 0 }
    }

    fn columns(list: &[&[(Oid, i16)]]) -> Outputs {
        let base = |column: &(Oid, i16)| BaseColumn { relation: column.0, attnum: column.1 };
        Outputs::Columns(list.iter().map(|from| Lineage::Columns(from.iter().map(base).collect())).collect())
    }

    fn plan(masks: &MaskSet, fields: &[FieldOrigin], outputs: Option<Outputs>) -> MaskPlan {
        let analysis = outputs.map(|outputs| StatementAnalysis { outputs, ..StatementAnalysis::default() });
        MaskPlan::for_result(masks, fields, analysis.as_ref(), &catalog())
    }

    /// One field under `*.customers.email = email`.
    #[track_caller]
    fn check(field: FieldOrigin, outputs: Option<Outputs>, expected: Option<MaskKind>) {
        let set = compile(&[("*.customers.email", MaskKind::Email)], &[]);
        let plan = plan(&set, &[field], outputs);
        assert_eq!(plan.masker(0).map(Masker::kind).cloned(), expected);
        assert_eq!(plan.is_clear(), expected.is_none());
    }

    #[test]
    fn an_exact_origin_decides() {
        check(field(CUSTOMERS, 2, TEXT), Some(columns(&[&[(CUSTOMERS, 2)]])), Some(MaskKind::Email));
        check(field(CUSTOMERS, 1, INT4), Some(columns(&[&[(CUSTOMERS, 1)]])), None);
        check(field(CUSTOMERS, 1, INT4), None, None);
        check(field(CUSTOMERS, -1, 27), None, None);
        check(field(CUSTOMERS, 2, TEXT), Some(Outputs::Opaque(Lineage::Unknown("x"))), Some(MaskKind::Email));
    }

    #[test]
    fn where_origin_and_lineage_differ_the_stricter_wins() {
        check(field(CUSTOMERS, 1, INT4), Some(columns(&[&[(CUSTOMERS, 2)]])), Some(MaskKind::Redact));
        check(field(CUSTOMERS, 2, TEXT), Some(columns(&[&[]])), Some(MaskKind::Email));
    }

    #[test]
    fn whole_rows_of_masked_relations_are_masked() {
        check(field(CUSTOMERS, 0, CUSTOMERS_ROW), None, Some(MaskKind::Redact));
        check(field(ORDERS, 0, ORDERS_ROW), None, None);
        check(field(0, 0, CUSTOMERS_ROW), Some(columns(&[&[]])), Some(MaskKind::Redact));
        check(field(0, 0, CUSTOMERS_ROWS), Some(columns(&[&[]])), Some(MaskKind::Redact));
        check(field(ORDERS, 1, CUSTOMERS_ROWS), None, Some(MaskKind::Redact));
        check(field(0, 0, ORDERS_ROW), Some(columns(&[&[]])), None);
    }

    #[test]
    fn each_masked_column_names_its_rule() {
        let set = compile(&[("*.customers.email", MaskKind::Email)], &[]);
        let lineage = columns(&[&[(CUSTOMERS, 1)], &[(CUSTOMERS, 2)], &[(ORDERS, 1), (CUSTOMERS, 2)], &[(99_999, 1)]]);
        let plan = plan(
            &set,
            &[field(CUSTOMERS, 1, INT4), field(CUSTOMERS, 2, TEXT), field(0, 0, TEXT), field(0, 0, TEXT)],
            Some(lineage),
        );
        assert_eq!(plan.rules().iter().map(|name| &**name).collect::<Vec<_>>(), ["m", "m", NO_RULE]);
        assert_eq!(plan.masked().count(), plan.rules().len());
    }

    #[test]
    fn texts_of_foreign_tables_are_looked_into() {
        check(field(REMOTE, 2, TEXT), None, Some(MaskKind::Detect));
        check(field(REMOTE, 1, INT4), None, None);
        check(field(0, 0, TEXT), Some(columns(&[&[(REMOTE, 2)]])), Some(MaskKind::Detect));
        check(field(0, 0, TEXT), Some(columns(&[&[(REMOTE, 2), (CUSTOMERS, 2)]])), Some(MaskKind::Redact));
        let named = compile(&[("*.customers.email", MaskKind::Email), ("*.remote.ref", MaskKind::Null)], &[]);
        let plan = plan(&named, &[field(REMOTE, 2, TEXT)], None);
        assert_eq!(plan.masker(0).map(Masker::kind), Some(&MaskKind::Null));
        let email = MaskRule { looks_into_foreign: false, ..mask_rule("*.customers.email", MaskKind::Email, &[]) };
        let off = MaskSet::of_rules([&email], &catalog(), &ViewsUnknown);
        assert!(self::plan(&off, &[field(REMOTE, 2, TEXT)], None).is_clear());
    }

    #[test]
    fn without_an_origin_lineage_decides() {
        check(field(0, 0, TEXT), Some(columns(&[&[]])), None);
        check(field(0, 0, TEXT), Some(columns(&[&[(ORDERS, 1), (CUSTOMERS, 2)]])), Some(MaskKind::Redact));
        check(field(0, 0, TEXT), Some(columns(&[&[(CUSTOMERS, 0)]])), Some(MaskKind::Redact));
        check(field(0, 0, TEXT), Some(columns(&[&[(ORDERS, 1)]])), None);
        check(field(0, 0, TEXT), Some(columns(&[&[(99_999, 1)]])), Some(MaskKind::Redact));
    }

    #[test]
    fn what_is_not_known_is_masked() {
        check(field(0, 0, TEXT), None, Some(MaskKind::Redact));
        check(field(0, 0, TEXT), Some(Outputs::None), Some(MaskKind::Redact));
        check(field(0, 0, TEXT), Some(columns(&[&[], &[]])), Some(MaskKind::Redact));
        check(field(0, 0, TEXT), Some(Outputs::Opaque(Lineage::Unknown("x"))), Some(MaskKind::Redact));
        check(field(0, 0, TEXT), Some(Outputs::Opaque(Lineage::CLEAR)), None);
        check(field(99_999, 1, TEXT), None, Some(MaskKind::Redact));
        check(field(CUSTOMERS, 77, TEXT), None, Some(MaskKind::Redact));
        check(field(0, 0, 99_999), Some(columns(&[&[]])), Some(MaskKind::Redact));
        check(field(1259, 1, 19), None, None);
    }

    #[test]
    fn a_view_column_is_shown_in_part_only_where_the_view_shows_it_unchanged() {
        check(field(CONTACTS, 2, TEXT), Some(columns(&[&[(CUSTOMERS, 2)]])), Some(MaskKind::Email));
        check(field(CONTACTS, 2, TEXT), Some(columns(&[&[(CUSTOMERS, 2), (CUSTOMERS, 4)]])), Some(MaskKind::Redact));
        check(field(SNAPSHOT, 1, TEXT), Some(columns(&[&[(CUSTOMERS, 2)]])), Some(MaskKind::Redact));
        check(field(CONTACTS, 1, INT4), Some(columns(&[&[(CUSTOMERS, 1)]])), None);
    }

    #[test]
    fn a_partitioned_table_keeps_the_mask_of_its_partitions() {
        let set = compile(&[("public.events.ip", MaskKind::Ip)], &[]);
        let lineage = columns(&[&[(EVENTS, 2), (EVENTS_2024, 1), (EVENTS_2025, 2)]]);
        let plan = plan(&set, &[field(EVENTS, 2, 869)], Some(lineage));
        assert_eq!(plan.masker(0).map(Masker::kind), Some(&MaskKind::Ip));
    }

    #[test]
    fn without_masks_for_the_subject_everything_is_clear() {
        let set = compile(&[("*.*.*", MaskKind::Redact)], &["privacy"]);
        assert!(plan(&set, &[field(CUSTOMERS, 2, TEXT), field(0, 0, 99_999)], None).is_clear());
    }

    #[test]
    fn a_statement_that_is_not_understood_keeps_exact_origins() {
        let set = compile(&[("*.customers.email", MaskKind::Email)], &[]);
        let analysis =
            StatementAnalysis { not_understood: Some(NotUnderstood::Syntax), ..StatementAnalysis::default() };
        let fields = [field(CUSTOMERS, 1, INT4), field(0, 0, INT4)];
        let plan = MaskPlan::for_result(&set, &fields, Some(&analysis), &catalog());
        assert_eq!(plan.masked().map(|(position, _)| position).collect::<Vec<_>>(), [1]);
    }

    /// Whether the bytes are a value of the type, as a client would read them.
    fn decodes(type_oid: Oid, format: i16, value: &[u8]) -> bool {
        let text = std::str::from_utf8(value);
        let number = || text.is_ok_and(|text| text.parse::<f64>().is_ok());
        match (type_oid, format) {
            (21, 1) => value.len() == 2,
            (23 | 26 | 700 | 1082, 1) => value.len() == 4,
            (20 | 701 | 790 | 1700 | 1114 | 1184, 1) => value.len() == 8,
            (869 | 650, 1) => matches!(value.len(), 8 | 20),
            (21 | 23 | 26 | 700 | 20 | 701 | 790 | 1700, 0) => number(),
            (1082, 0) => text.is_ok_and(|text| text.ends_with("-01-01")),
            (1114 | 1184, 0) => text.is_ok_and(|text| text.contains("-01-01 00:00:00")),
            (869 | 650, 0) => {
                text.is_ok_and(|text| text.split('/').next().unwrap().parse::<std::net::IpAddr>().is_ok())
            }
            (18, _) => value.len() <= 1,
            _ => text.is_ok(),
        }
    }

    const TYPES: [Oid; 24] = [
        16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 600, 650, 700, 701, 790, 869, 1042, 1043, 1082, 1114, 1184, 1700,
        2950, 3802,
    ];

    /// The masks that keep nothing of a word they do not know.
    fn hiding() -> Vec<MaskKind> {
        let keeps = |kind: &MaskKind| matches!(kind, MaskKind::Detect | MaskKind::Statement);
        MaskKind::ALL.iter().filter(|kind| !keeps(kind)).cloned().collect()
    }

    proptest! {
        #[test]
        fn a_masked_cell_is_a_value_of_its_type_without_the_canary(
            kind in prop::sample::select(hiding()),
            type_oid in prop::sample::select(TYPES.to_vec()),
            format in 0..3_i16,
            cell in prop::collection::vec(any::<u8>(), 0..40),
            canary in "CANARY[a-z]{8}",
        ) {
            let catalog = catalog();
            let masker = Masker::new(kind.clone(), &[7; 32], type_oid, format, &catalog);
            for cell in [cell.as_slice(), canary.as_bytes()] {
                let mut out = BytesMut::from(&b"before"[..]);
                let masked = masker.mask_cell(cell, &mut out);
                let value = out.strip_prefix(b"before").unwrap();
                prop_assert!(!value.windows(canary.len()).any(|window| window == canary.as_bytes()));
                match masked {
                    Masked::Null => prop_assert!(value.is_empty()),
                    Masked::Value => prop_assert!(decodes(type_oid, format, value), "{kind:?} {type_oid} {value:?}"),
                }
            }
        }
    }

    #[track_caller]
    fn check_cell(kind: MaskKind, type_oid: Oid, format: i16, cell: &[u8], expected: Option<&[u8]>) {
        let mut out = BytesMut::new();
        let masker = Masker::new(kind.clone(), &[7; 32], type_oid, format, &catalog());
        let masked = masker.mask_cell(cell, &mut out);
        let value = (masked == Masked::Value).then_some(&out[..]);
        assert_eq!(value, expected, "{kind:?} on {type_oid}");
    }

    #[test]
    fn the_type_is_kept() {
        check_cell(MaskKind::Email, TEXT, 0, b"alice@example.com", Some(b"a***@example.com"));
        check_cell(MaskKind::Email, TEXT, 1, b"alice@example.com", Some(b"a***@example.com"));
        check_cell(MaskKind::Email, TEXT, 0, b"\xff\xfe@\xff.com", Some(b"***"));
        check_cell(MaskKind::Email, EMAIL_DOMAIN, 0, b"alice@example.com", Some(b"a***@example.com"));
        check_cell(MaskKind::Last4, INT4, 0, b"12345678", Some(b"0"));
        check_cell(MaskKind::Last4, INT4, 1, &[1, 2, 3, 4], Some(&[0; 4]));
        check_cell(MaskKind::Hash, 1700, 1, &[0, 1, 2], Some(&[0; 8]));
        check_cell(MaskKind::Redact, 16, 0, b"t", None);
        check_cell(MaskKind::Redact, 3802, 1, b"\x01{}", Some(b"\x01\"***\""));
        check_cell(MaskKind::Zero, 114, 0, b"{}", Some(b"null"));
        check_cell(MaskKind::Zero, TEXT, 0, b"x", Some(b""));
        check_cell(MaskKind::Null, TEXT, 0, b"x", None);
        check_cell(MaskKind::DateYear, TEXT, 0, b"2024-05-17", Some(b"2024-01-01"));
        check_cell(MaskKind::DateYear, 1082, 0, b"17.05.2024", None);
        check_cell(MaskKind::Ip, TEXT, 0, b"host 10.1.2.3", Some(b"***"));
        check_cell(MaskKind::Ip, 869, 1, &[2, 32, 0, 4, 10, 1, 2, 3], Some(&[2, 32, 0, 4, 10, 1, 2, 0]));
        check_cell(MaskKind::Redact, CUSTOMERS_ROW, 0, b"(1,a@b.org)", None);
        check_cell(MaskKind::Redact, CUSTOMERS_ROW, 0, b"(1,a@b.org,7,a)", Some(b"(0,***,***,***)"));
    }

    #[test]
    fn hashes_are_keyed_and_equal_for_equal_values() {
        let hash = |key: u8, cell: &[u8]| {
            let mut out = BytesMut::new();
            Masker::new(MaskKind::Hash, &[key; 32], TEXT, 0, &catalog()).mask_cell(cell, &mut out);
            out
        };
        assert_eq!(hash(1, b"alice"), hash(1, b"alice"));
        assert_ne!(hash(1, b"alice"), hash(2, b"alice"));
        assert_eq!(hash(1, b"alice").len(), 64);
        let debug = format!("{:?}", Masker::new(MaskKind::Hash, &[9; 32], TEXT, 0, &catalog()));
        assert_eq!(debug, "Masker(Hash)");
    }
}
