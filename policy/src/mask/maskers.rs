//! The transformation of one cell, chosen by mask, type and format.
//!
//! Never emits the original beyond what the mask documents. Invariant: the result is a value of the column's type in the
//! format that was announced, or NULL.
//!
//! | type | partial masks, `hash` | `redact` | `zero` | `null` |
//! |---|---|---|---|---|
//! | text, varchar, char, name, citext | the mask's text, or `***` | `***` | empty string | NULL |
//! | integers, float, numeric, oid, money | 0 | 0 | 0 | NULL |
//! | date, timestamp | `date_year`: first of January; else NULL | NULL | NULL | NULL |
//! | inet, cidr | `ip`: the network; else NULL | NULL | NULL | NULL |
//! | json, jsonb | `"***"` | `"***"` | `null` | NULL |
//! | ranges, multiranges | empty | empty | empty | NULL |
//! | arrays | each element as its type | each element | each element | NULL |
//! | composite types | each field as its type | each field | each field | NULL |
//! | domains | as the base type | | | NULL |
//! | everything else | NULL | NULL | NULL | NULL |

use std::fmt;

use bytes::{BufMut, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::nested::{Maskers, Nested, put_hidden_json};
use super::values::{self, HIDDEN, TextMask};
use super::{MaskKind, dates, detect, network, statements};
use crate::catalog::{Catalog, Oid};

/// What became of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masked {
    /// The bytes appended to the buffer are the new value.
    Value,
    /// The new value is NULL; nothing was appended.
    Null,
}

/// The transformation of the cells of one result column.
#[derive(Clone)]
pub struct Masker {
    kind: MaskKind,
    cell: Cell,
}

#[derive(Clone)]
enum Cell {
    Null,
    Fixed(&'static [u8]),
    /// The mask's text, `***` where it shows nothing.
    Text(TextMask),
    Hash(Box<Hmac<Sha256>>),
    /// A text form that becomes NULL where the mask does not read it.
    TextOrNull(TextMask),
    /// Any form that becomes NULL where the mask does not read it.
    BytesOrNull(fn(&[u8], &mut BytesMut) -> Option<()>),
    /// This JSON text; of `jsonb` in binary form.
    Json(&'static [u8], bool),
    /// A value made of values.
    Nested(Box<Nested>),
}

/// What a type can carry.
enum Class {
    Text,
    Char,
    Number(&'static [u8]),
    Date,
    Timestamp { zoned: bool },
    Address { cidr: bool },
    Json,
    Jsonb,
    Other,
}

impl Masker {
    /// The masker of a column: `type_oid` and `format` (0 text, 1 binary) as in RowDescription.
    #[cfg(test)]
    pub(super) fn new(kind: MaskKind, key: &[u8; 32], type_oid: Oid, format: i16, catalog: &Catalog) -> Self {
        Maskers { catalog, key, binary: format == 1 }.whole(kind, type_oid)
    }

    /// The masker of a value that is not made of values; `base_type` is no domain.
    pub(super) fn scalar(kind: MaskKind, maskers: Maskers<'_>, base_type: Oid) -> Self {
        let class = Class::of(base_type, maskers.catalog, maskers.binary);
        Self { kind, cell: cell(kind, maskers.key, &class, maskers.binary) }
    }

    /// The masker of a value that is taken apart.
    pub(super) fn nested(kind: MaskKind, nested: Nested) -> Self {
        Self { kind, cell: Cell::Nested(Box::new(nested)) }
    }

    /// NULL for every value.
    pub(super) fn null(kind: MaskKind) -> Self {
        Self { kind, cell: Cell::Null }
    }

    /// These bytes for every value.
    pub(super) fn fixed(kind: MaskKind, value: &'static [u8]) -> Self {
        Self { kind, cell: Cell::Fixed(value) }
    }

    /// Appends the masked form of a cell that is not NULL to `out`. A NULL cell stays NULL and does not come here.
    pub fn mask_cell(&self, cell: &[u8], out: &mut BytesMut) -> Masked {
        let start = out.len();
        let or_null = |shown: Option<()>, out: &mut BytesMut| {
            if shown.is_some() {
                return Masked::Value;
            }
            out.truncate(start);
            Masked::Null
        };
        match &self.cell {
            Cell::Null => Masked::Null,
            Cell::Fixed(value) => {
                out.put_slice(value);
                Masked::Value
            }
            Cell::Hash(keyed) => {
                let mut keyed = keyed.as_ref().clone();
                keyed.update(cell);
                out.put_slice(hex::encode(keyed.finalize().into_bytes()).as_bytes());
                Masked::Value
            }
            Cell::Text(mask) => {
                if std::str::from_utf8(cell).ok().and_then(|text| mask(text, out)).is_none() {
                    out.truncate(start);
                    out.put_slice(HIDDEN);
                }
                Masked::Value
            }
            Cell::TextOrNull(mask) => or_null(std::str::from_utf8(cell).ok().and_then(|text| mask(text, out)), out),
            Cell::BytesOrNull(mask) => or_null(mask(cell, out), out),
            Cell::Json(value, is_jsonb_binary) => {
                put_hidden_json(*is_jsonb_binary, value, out);
                Masked::Value
            }
            Cell::Nested(nested) => nested.mask_cell(cell, out),
        }
    }

    /// The mask it carries out.
    #[must_use]
    pub fn kind(&self) -> MaskKind {
        self.kind
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Masker").field(&self.kind).finish()
    }
}

impl Class {
    /// The class of a type that is no domain. OIDs: `pg_type.dat`.
    fn of(base_type: Oid, catalog: &Catalog, binary: bool) -> Self {
        const ZERO: &[u8] = &[0; 8];
        let number = |length: usize| Self::Number(if binary { ZERO.get(..length).unwrap_or(ZERO) } else { b"0" });
        match base_type {
            25 | 1042 | 1043 | 19 | 705 => Self::Text,
            18 => Self::Char,
            21 => number(2),
            23 | 26 | 700 => number(4),
            20 | 701 | 790 | 1700 => number(8),
            1082 => Self::Date,
            1114 => Self::Timestamp { zoned: false },
            1184 => Self::Timestamp { zoned: true },
            869 => Self::Address { cidr: false },
            650 => Self::Address { cidr: true },
            114 => Self::Json,
            3802 => Self::Jsonb,
            other => match catalog.type_of(other) {
                // citext and its like: text in, text out; their binary form is not known.
                Some(item) if item.category == 'S' && item.kind == 'b' && !binary => Self::Text,
                _ => Self::Other,
            },
        }
    }
}

/// Follows domains to their base type.
pub(super) fn base_type(type_oid: Oid, catalog: &Catalog) -> Oid {
    let mut current = type_oid;
    for _ in 0..16 {
        match catalog.type_of(current) {
            Some(item) if item.kind == 'd' && item.base != 0 => current = item.base,
            _ => break,
        }
    }
    current
}

fn cell(kind: MaskKind, key: &[u8; 32], class: &Class, binary: bool) -> Cell {
    match (class, kind) {
        (_, MaskKind::Null) | (Class::Other, _) => Cell::Null,
        (Class::Text, _) => text_cell(kind, key),
        (Class::Char, MaskKind::Zero) => Cell::Fixed(b""),
        (Class::Char, _) => Cell::Fixed(b"*"),
        (Class::Number(zero), _) => Cell::Fixed(zero),
        (Class::Json, MaskKind::Zero) => Cell::Json(b"null", false),
        (Class::Json, _) => Cell::Json(b"\"***\"", false),
        (Class::Jsonb, MaskKind::Zero) => Cell::Json(b"null", binary),
        (Class::Jsonb, _) => Cell::Json(b"\"***\"", binary),
        (Class::Date, MaskKind::DateYear) => {
            Cell::BytesOrNull(if binary { dates::date_binary } else { dates::date_text })
        }
        (Class::Timestamp { zoned }, MaskKind::DateYear) => Cell::BytesOrNull(match (binary, zoned) {
            (true, _) => dates::timestamp_binary,
            (false, true) => dates::timestamptz_text,
            (false, false) => dates::timestamp_text,
        }),
        (Class::Address { .. }, MaskKind::Ip) if binary => Cell::BytesOrNull(network::binary),
        (Class::Address { cidr: true }, MaskKind::Ip) => Cell::TextOrNull(network::cidr_text),
        (Class::Address { cidr: false }, MaskKind::Ip) => Cell::TextOrNull(network::address_text),
        (Class::Date | Class::Timestamp { .. } | Class::Address { .. }, _) => Cell::Null,
    }
}

fn text_cell(kind: MaskKind, key: &[u8; 32]) -> Cell {
    match kind {
        MaskKind::Email => Cell::Text(values::email),
        MaskKind::Phone => Cell::Text(values::phone),
        MaskKind::Card => Cell::Text(values::card),
        MaskKind::Last4 => Cell::Text(values::last4),
        MaskKind::First1 => Cell::Text(values::first1),
        MaskKind::Redact => Cell::Fixed(HIDDEN),
        MaskKind::Null => Cell::Null,
        MaskKind::Hash => Hmac::new_from_slice(key).map_or(Cell::Fixed(HIDDEN), |keyed| Cell::Hash(Box::new(keyed))),
        MaskKind::DateYear => Cell::Text(|text, out| {
            let bytes = text.as_bytes();
            dates::date_text(bytes, out).or_else(|| dates::timestamp_text(bytes, out))
        }),
        MaskKind::Ip => Cell::Text(network::address_text),
        MaskKind::Zero => Cell::Fixed(b""),
        MaskKind::Iban => Cell::Text(values::iban),
        MaskKind::Detect => Cell::Text(detect::hide),
        MaskKind::Statement => Cell::Text(statements::without_literals),
    }
}
