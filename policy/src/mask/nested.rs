//! Cells made of cells: arrays and composite values are masked inside, so that they keep their shape.
//!
//! Never lets a value through that it cannot take apart: that becomes NULL. Invariant: a part is kept only when it is a
//! field of a relation's row, the relation is known, and neither the field nor anything in its type is masked.

use bytes::BytesMut;

use super::maskers::{Masked, Masker, base_type};
use super::set::FIRST_USER_OID;
use super::{MaskKind, MaskSet, arrays, records};
use crate::analysis::BaseColumn;
use crate::catalog::{Catalog, Oid, Type};

/// How deep types are followed into each other before the value is hidden whole.
const DEPTH_MAX: u8 = 8;
/// `box`, whose arrays are the only built-in ones with another delimiter (`pg_type.typdelim`).
const BOX: Oid = 603;
/// Text and binary form of the empty range (`RANGE_EMPTY`).
const EMPTY_RANGE: (&[u8], &[u8]) = (b"empty", &[1]);
/// Text and binary form of a multirange of no ranges.
const EMPTY_MULTIRANGE: (&[u8], &[u8]) = (b"{}", &[0; 4]);

/// How the cells of such a column are taken apart.
#[derive(Clone)]
pub(super) struct Nested {
    binary: bool,
    parts: Parts,
}

#[derive(Clone)]
enum Parts {
    /// Of an array: the element type, the delimiter, and what becomes of each element.
    Elements(Oid, u8, Masker),
    /// Of a composite value: the type of each field, and what becomes of it; `None` keeps it.
    Fields(Vec<(Oid, Option<Masker>)>),
}

impl Nested {
    /// Appends the masked form of a cell.
    pub(super) fn mask_cell(&self, cell: &[u8], out: &mut BytesMut) -> Masked {
        let start = out.len();
        let done = match &self.parts {
            Parts::Elements(type_oid, delimiter, masker) => {
                let mut change = |element: &[u8], out: &mut BytesMut| masker.mask_cell(element, out);
                if self.binary {
                    arrays::binary(cell, *type_oid, out, &mut change)
                } else {
                    arrays::text(cell, *delimiter, out, &mut change)
                }
            }
            Parts::Fields(fields) => {
                let mut change = |index: usize, field: &[u8], out: &mut BytesMut| match fields.get(index) {
                    Some((_, Some(masker))) => Some(masker.mask_cell(field, out)),
                    Some((_, None)) => None,
                    None => Some(Masked::Null),
                };
                if self.binary {
                    records::binary(cell, fields.iter().map(|(type_oid, _)| *type_oid), out, &mut change)
                } else {
                    records::text(cell, fields.len(), out, &mut change)
                }
            }
        };
        if done.is_none() {
            out.truncate(start);
            return Masked::Null;
        }
        Masked::Value
    }
}

/// Makes the maskers of one result.
#[derive(Clone, Copy)]
pub(super) struct Maskers<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) key: &'a [u8; 32],
    pub(super) binary: bool,
}

impl Maskers<'_> {
    /// The masker that hides all of a value of that type.
    pub(super) fn whole(&self, kind: &MaskKind, type_oid: Oid) -> Masker {
        self.whole_at(kind, type_oid, 0)
    }

    fn whole_at(&self, kind: &MaskKind, type_oid: Oid, depth: u8) -> Masker {
        if *kind == MaskKind::Null || depth >= DEPTH_MAX {
            return Masker::null(kind.clone());
        }
        let base = base_type(type_oid, self.catalog);
        let Some(item) = self.catalog.type_of(base) else { return Masker::scalar(kind.clone(), *self, base) };
        if item.element != 0 {
            let element = self.whole_at(kind, item.element, depth.saturating_add(1));
            return self.array(kind.clone(), item, element);
        }
        if item.relation != 0 {
            let Some(relation) = self.catalog.relation(item.relation) else { return Masker::null(kind.clone()) };
            let field = |type_oid: Oid| (type_oid, Some(self.whole_at(kind, type_oid, depth.saturating_add(1))));
            let fields = relation.columns.iter().map(|column| field(column.type_oid));
            return self.nested(kind.clone(), Parts::Fields(fields.collect()));
        }
        let fixed = |(text, binary)| Masker::fixed(kind.clone(), if self.binary { binary } else { text });
        match item.kind {
            'r' => fixed(EMPTY_RANGE),
            'm' => fixed(EMPTY_MULTIRANGE),
            _ => Masker::scalar(kind.clone(), *self, base),
        }
    }

    /// The masker that hides what is masked inside of a value of that type; `None` when nothing is.
    pub(super) fn inside(&self, type_oid: Oid, masks: &MaskSet) -> Option<Masker> {
        self.inside_at(type_oid, masks, 0)
    }

    fn inside_at(&self, type_oid: Oid, masks: &MaskSet, depth: u8) -> Option<Masker> {
        if !masks.touches_database() {
            return None;
        }
        let Some(item) = self.catalog.type_of(base_type(type_oid, self.catalog)) else {
            return (type_oid >= FIRST_USER_OID).then(|| Masker::null(MaskKind::Redact));
        };
        if depth >= DEPTH_MAX {
            return Some(Masker::null(MaskKind::Redact));
        }
        let deeper = depth.saturating_add(1);
        if item.element != 0 {
            let element = self.inside_at(item.element, masks, deeper)?;
            return Some(self.array(MaskKind::Redact, item, element));
        }
        if item.relation == 0 {
            return None;
        }
        let Some(relation) = self.catalog.relation(item.relation) else {
            return Some(Masker::null(MaskKind::Redact));
        };
        let mut any = false;
        let mut fields = Vec::with_capacity(relation.columns.len());
        for column in &relation.columns {
            let own = BaseColumn { relation: relation.oid, attnum: column.attnum };
            let masker = match masks.mask_of(own) {
                Some(kind) => Some(self.whole_at(&kind, column.type_oid, deeper)),
                None => self.inside_at(column.type_oid, masks, deeper),
            };
            any |= masker.is_some();
            fields.push((column.type_oid, masker));
        }
        any.then(|| self.nested(MaskKind::Redact, Parts::Fields(fields)))
    }

    fn array(&self, kind: MaskKind, item: &Type, element: Masker) -> Masker {
        let delimiter = if base_type(item.element, self.catalog) == BOX { b';' } else { b',' };
        self.nested(kind, Parts::Elements(item.element, delimiter, element))
    }

    fn nested(&self, kind: MaskKind, parts: Parts) -> Masker {
        Masker::nested(kind, Nested { binary: self.binary, parts })
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::super::testing::*;
    use super::*;

    fn masker(kind: MaskKind, type_oid: Oid, binary: bool) -> Masker {
        let catalog = catalog();
        Maskers { catalog: &catalog, key: &[7; 32], binary }.whole(&kind, type_oid)
    }

    #[track_caller]
    fn check(masker: &Masker, cell: &[u8], expected: Option<&[u8]>) {
        let mut out = BytesMut::from(&b"before"[..]);
        let value = match masker.mask_cell(cell, &mut out) {
            Masked::Value => Some(&out[6..]),
            Masked::Null => None,
        };
        assert_eq!(value, expected);
        assert!(expected.is_some() || out.len() == 6);
    }

    #[test]
    fn arrays_keep_their_shape() {
        let last4 = masker(MaskKind::Last4, TEXT_ARRAY, false);
        check(&last4, b"{721-07-4426,NULL,x}", Some(b"{***4426,NULL,***}"));
        check(&last4, b"no array", None);
        check(&masker(MaskKind::Null, TEXT_ARRAY, false), b"{a}", None);
        let packed = |element: &[u8]| {
            let mut array = BytesMut::new();
            [1, 0, 25, 1, 1].into_iter().for_each(|field| array.put_i32(field));
            array.put_i32(i32::try_from(element.len()).unwrap());
            array.put_slice(element);
            array
        };
        check(&masker(MaskKind::Redact, TEXT_ARRAY, true), &packed(b"secret"), Some(&packed(b"***")));
    }

    #[test]
    fn rows_are_masked_field_by_field() {
        let catalog = catalog();
        let set = compile(&[("*.customers.email", MaskKind::Email)], &[]);
        let maskers = Maskers { catalog: &catalog, key: &[7; 32], binary: false };
        let row = maskers.inside(CUSTOMERS_ROW, &set).unwrap();
        check(&row, b"(1,alice@example.com,721-07-4426,alice)", Some(b"(1,a***@example.com,721-07-4426,***)"));
        check(&row, b"(1,alice@example.com)", None);
        let rows = maskers.inside(CUSTOMERS_ROWS, &set).unwrap();
        check(&rows, b"{\"(1,alice@example.com,721,alice)\",NULL}", Some(b"{\"(1,a***@example.com,721,***)\",NULL}"));
        assert!(maskers.inside(ORDERS_ROW, &set).is_none());
        assert!(maskers.inside(99_999, &set).is_some());
        let whole = maskers.whole(&MaskKind::Redact, CUSTOMERS_ROW);
        check(&whole, b"(1,alice@example.com,,alice)", Some(b"(0,***,,***)"));
    }
}
