//! A small catalog for the tests of masks.

use super::{MaskKind, MaskRule, MaskSet, Predicates, ViewLineage};
use crate::analysis::{BaseColumn, Lineage};
use crate::catalog::{Catalog, Column, Oid, Relation, RelationKind, Type};
use crate::rule::{ColumnGlob, Glob, Policy};
use crate::subject::Subject;

pub(super) const TEXT: Oid = 25;
pub(super) const INT4: Oid = 23;
pub(super) const TEXT_ARRAY: Oid = 1009;
pub(super) const INT4_RANGE: Oid = 3904;

pub(super) const PG_STATS: Oid = 12_000;
pub(super) const PG_STAT_ACTIVITY: Oid = 12_001;
/// A foreign table.
pub(super) const REMOTE: Oid = 20_050;
/// A table of `pg_toast`.
pub(super) const CHUNKS: Oid = 20_051;
/// id, email, ssn, handle (generated from email).
pub(super) const CUSTOMERS: Oid = 20_000;
/// history: an array of customers' rows.
pub(super) const ORDERS: Oid = 20_001;
/// id, ip; partitions hold them in another order.
pub(super) const EVENTS: Oid = 20_002;
pub(super) const EVENTS_2024: Oid = 20_003;
pub(super) const EVENTS_2025: Oid = 20_004;
/// `SELECT id, email FROM customers`.
pub(super) const CONTACTS: Oid = 20_005;
/// `SELECT email FROM contacts`.
pub(super) const CONTACTS_OF_CONTACTS: Oid = 20_006;
/// A materialized view of customers' mail addresses.
pub(super) const SNAPSHOT: Oid = 20_007;
/// A view of unknown lineage.
pub(super) const OPAQUE: Oid = 20_008;
/// id, who: rows of customers.
pub(super) const VISITS: Oid = 20_009;

pub(super) const CUSTOMERS_ROW: Oid = 30_000;
pub(super) const ORDERS_ROW: Oid = 30_001;
pub(super) const CUSTOMERS_ROWS: Oid = 30_002;
pub(super) const EMAIL_DOMAIN: Oid = 30_003;

fn relation(oid: Oid, name: &str, kind: RelationKind, columns: &[(&str, Oid)], parents: &[Oid]) -> Relation {
    let columns = columns.iter().zip(1..).map(|((name, type_oid), attnum)| Column {
        attnum,
        name: (*name).to_owned(),
        type_oid: *type_oid,
        generated: (*name == "handle").then(|| "split_part(email, '@'::text, 1)".to_owned()),
    });
    Relation {
        oid,
        schema: if oid < 16_384 { "pg_catalog" } else { "public" }.to_owned(),
        name: name.to_owned(),
        kind,
        row_type: 0,
        columns: columns.collect(),
        definition: None,
        parents: parents.to_vec(),
        has_rules: false,
        consequences: Vec::new(),
    }
}

fn type_of(oid: Oid, name: &str, kind: char, category: char, points_to: [Oid; 3]) -> Type {
    let [relation, element, base] = points_to;
    Type { oid, schema: "public".to_owned(), name: name.to_owned(), kind, category, relation, element, base }
}

pub(super) fn catalog() -> Catalog {
    use RelationKind::{ForeignTable, MaterializedView, PartitionedTable, Table, View};
    let relations = vec![
        relation(PG_STATS, "pg_stats", View, &[("tablename", 19), ("most_common_vals", 2277)], &[]),
        relation(CUSTOMERS, "customers", Table, &[("id", INT4), ("email", TEXT), ("ssn", TEXT), ("handle", TEXT)], &[]),
        relation(ORDERS, "orders", Table, &[("note", TEXT)], &[]),
        relation(EVENTS, "events", PartitionedTable, &[("id", INT4), ("ip", 869)], &[]),
        relation(EVENTS_2024, "events_2024", Table, &[("ip", 869), ("id", INT4)], &[EVENTS]),
        relation(EVENTS_2025, "events_2025", Table, &[("id", INT4), ("ip", 869)], &[EVENTS]),
        relation(CONTACTS_OF_CONTACTS, "mails", View, &[("email", TEXT)], &[]),
        relation(CONTACTS, "contacts", View, &[("id", INT4), ("mail", TEXT)], &[]),
        relation(SNAPSHOT, "snapshot", MaterializedView, &[("mail", TEXT)], &[]),
        relation(VISITS, "visits", Table, &[("id", INT4), ("who", CUSTOMERS_ROWS)], &[]),
        relation(PG_STAT_ACTIVITY, "pg_stat_activity", View, &[("pid", INT4), ("query", TEXT)], &[]),
        relation(REMOTE, "remote", ForeignTable, &[("id", INT4), ("ref", TEXT)], &[]),
        Relation {
            schema: "pg_toast".to_owned(),
            ..relation(CHUNKS, "pg_toast_20000", Table, &[("chunk_id", 26), ("chunk_data", 17)], &[])
        },
        relation(OPAQUE, "opaque", View, &[("x", TEXT)], &[]),
    ];
    let types = vec![
        type_of(TEXT, "text", 'b', 'S', [0, 0, 0]),
        type_of(INT4, "int4", 'b', 'N', [0, 0, 0]),
        type_of(TEXT_ARRAY, "_text", 'b', 'A', [0, TEXT, 0]),
        type_of(CUSTOMERS_ROW, "customers", 'c', 'C', [CUSTOMERS, 0, 0]),
        type_of(ORDERS_ROW, "orders", 'c', 'C', [ORDERS, 0, 0]),
        type_of(CUSTOMERS_ROWS, "_customers", 'b', 'A', [0, CUSTOMERS_ROW, 0]),
        type_of(INT4_RANGE, "int4range", 'r', 'R', [0, 0, 0]),
        type_of(EMAIL_DOMAIN, "email", 'd', 'S', [0, 0, TEXT]),
    ];
    Catalog::new(1, relations, types, Vec::new())
}

struct Views(Vec<(Oid, Vec<Lineage>)>);

impl ViewLineage for Views {
    fn columns(&self, view: Oid) -> Option<&[Lineage]> {
        self.0.iter().find(|(oid, _)| *oid == view).map(|(_, columns)| columns.as_slice())
    }

    fn original(&self, view: Oid, position: usize) -> Option<BaseColumn> {
        match (view, position) {
            (CONTACTS_OF_CONTACTS, 0) => Some(BaseColumn { relation: CONTACTS, attnum: 2 }),
            (CONTACTS, 1) => Some(BaseColumn { relation: CUSTOMERS, attnum: 2 }),
            _ => None,
        }
    }
}

/// A mask of one column.
pub(super) fn mask_rule(columns: &str, mask: MaskKind, except_groups: &[&str]) -> MaskRule {
    MaskRule {
        name: "m".to_owned(),
        columns: vec![ColumnGlob::new(columns).unwrap()],
        mask,
        predicates: Predicates::Hold,
        except_groups: except_groups.iter().map(|group| Glob::new(group).unwrap()).collect(),
        reviewers: Vec::new(),
        key: [7; 32],
        looks_into_foreign: true,
    }
}

/// A subject in the group `privacy`.
pub(super) fn subject() -> Subject {
    Subject {
        user: "alice".to_owned(),
        groups: vec!["privacy".to_owned()],
        database: "shop".to_owned(),
        application: String::new(),
    }
}

/// Compiles masks for a subject in the group `privacy`.
pub(super) fn compile(masks: &[(&str, MaskKind)], except_groups: &[&str]) -> MaskSet {
    let masks = masks.iter().map(|(columns, mask)| mask_rule(columns, mask.clone(), except_groups));
    let policy = Policy { masks: masks.collect(), ..Policy::default() };
    let from = |relation, attnum| Lineage::Columns(vec![BaseColumn { relation, attnum }]);
    let views = Views(vec![
        (CONTACTS, vec![from(CUSTOMERS, 1), from(CUSTOMERS, 2)]),
        (CONTACTS_OF_CONTACTS, vec![from(CONTACTS, 2)]),
        (SNAPSHOT, vec![from(CUSTOMERS, 2)]),
    ]);
    MaskSet::compile(&policy, &catalog(), &subject(), &views)
}
