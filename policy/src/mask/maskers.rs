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
//! | json, jsonb | `json`: with its paths masked; else `"***"` | `"***"` | `null` | NULL |
//! | ranges, multiranges | empty | empty | empty | NULL |
//! | arrays | each element as its type | each element | each element | NULL |
//! | composite types | each field as its type | each field | each field | NULL |
//! | domains | as the base type | | | NULL |
//! | everything else | NULL | NULL | NULL | NULL |

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, BytesMut};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::json::{self, Documents};
use super::nested::{Maskers, Nested};
use super::values::{self, HIDDEN, TextMask};
use super::{MaskKind, dates, detect, network, statements};
use crate::catalog::{Catalog, Oid};

/// What `jsonb` begins with in binary form (`jsonb_send`).
const JSONB_VERSION: u8 = 1;

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
    Fixed(Cow<'static, [u8]>),
    /// The mask's text, `***` where it shows nothing.
    Text(TextMask),
    Hash(Box<Hmac<Sha256>>),
    /// A text form that becomes NULL where the mask does not read it.
    TextOrNull(TextMask),
    /// Any form that becomes NULL where the mask does not read it.
    BytesOrNull(fn(&[u8], &mut BytesMut) -> Option<()>),
    /// Documents, and what stands for one that cannot be read; of `jsonb` in binary form.
    Documents {
        documents: Box<Documents>,
        unread: &'static [u8],
        is_jsonb_binary: bool,
    },
    /// A value made of values.
    Nested(Box<Nested>),
}

impl Cell {
    fn fixed(value: &'static [u8]) -> Self {
        Self::Fixed(Cow::Borrowed(value))
    }

    fn documents(documents: Documents, unread: &'static [u8], is_jsonb_binary: bool) -> Self {
        Self::Documents { documents: Box::new(documents), unread, is_jsonb_binary }
    }
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
        Maskers { catalog, key, binary: format == 1 }.whole(&kind, type_oid)
    }

    /// The masker of a value that is not made of values; `base_type` is no domain.
    pub(super) fn scalar(kind: MaskKind, maskers: Maskers<'_>, base_type: Oid) -> Self {
        let class = Class::of(base_type, maskers.catalog, maskers.binary);
        let cell = cell(&kind, maskers, &class);
        Self { kind, cell }
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
        Self { kind, cell: Cell::Fixed(value.into()) }
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
            Cell::Documents { documents, unread, is_jsonb_binary } => {
                if put_document(documents, cell, *is_jsonb_binary, out).is_none() {
                    out.truncate(start);
                    out.put_slice(unread);
                }
                Masked::Value
            }
            Cell::Nested(nested) => nested.mask_cell(cell, out),
        }
    }

    /// The mask it carries out.
    #[must_use]
    pub fn kind(&self) -> &MaskKind {
        &self.kind
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

/// Appends a document with what stands at the paths masked.
fn put_document(documents: &Documents, cell: &[u8], is_jsonb_binary: bool, out: &mut BytesMut) -> Option<()> {
    let text = if is_jsonb_binary { cell.strip_prefix(&[JSONB_VERSION])? } else { cell };
    if is_jsonb_binary {
        out.put_u8(JSONB_VERSION);
    }
    documents.rewrite(text, out)
}

fn cell(kind: &MaskKind, maskers: Maskers<'_>, class: &Class) -> Cell {
    let binary = maskers.binary;
    match (class, kind) {
        (_, MaskKind::Null) | (Class::Other, _) => Cell::Null,
        (Class::Text, _) => text_cell(kind, maskers),
        (Class::Char, MaskKind::Zero) => Cell::fixed(b""),
        (Class::Char, _) => Cell::fixed(b"*"),
        (Class::Number(zero), _) => Cell::fixed(zero),
        (Class::Json, _) => json_cell(kind, maskers, false),
        (Class::Jsonb, _) => json_cell(kind, maskers, binary),
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

fn text_cell(kind: &MaskKind, maskers: Maskers<'_>) -> Cell {
    match kind {
        MaskKind::Email => Cell::Text(values::email),
        MaskKind::Phone => Cell::Text(values::phone),
        MaskKind::Card => Cell::Text(values::card),
        MaskKind::Last4 => Cell::Text(values::last4),
        MaskKind::First1 => Cell::Text(values::first1),
        MaskKind::Redact => Cell::fixed(HIDDEN),
        MaskKind::Null => Cell::Null,
        MaskKind::Hash => {
            Hmac::new_from_slice(maskers.key).map_or(Cell::fixed(HIDDEN), |keyed| Cell::Hash(Box::new(keyed)))
        }
        MaskKind::DateYear => Cell::Text(|text, out| {
            let bytes = text.as_bytes();
            dates::date_text(bytes, out).or_else(|| dates::timestamp_text(bytes, out))
        }),
        MaskKind::Ip => Cell::Text(network::address_text),
        MaskKind::Zero => Cell::fixed(b""),
        MaskKind::Iban => Cell::Text(values::iban),
        MaskKind::Detect => Cell::Text(detect::hide),
        MaskKind::Statement => Cell::Text(statements::without_literals),
        MaskKind::Text(text) => Cell::Fixed(text.as_bytes().to_vec().into()),
        MaskKind::Json(mask) => Cell::documents(Documents::new(mask, maskers), HIDDEN, false),
    }
}

fn json_cell(kind: &MaskKind, maskers: Maskers<'_>, is_jsonb_binary: bool) -> Cell {
    let or_binary = |text: &'static [u8], binary: &'static [u8]| if is_jsonb_binary { binary } else { text };
    let hidden = or_binary(b"\"***\"", b"\x01\"***\"");
    match kind {
        MaskKind::Zero => Cell::fixed(or_binary(b"null", b"\x01null")),
        MaskKind::Text(text) => {
            let mut value = BytesMut::from(or_binary(b"", &[JSONB_VERSION]));
            json::encode(text.as_bytes(), &mut value);
            Cell::Fixed(value.to_vec().into())
        }
        MaskKind::Json(mask) => Cell::documents(Documents::new(mask, maskers), hidden, is_jsonb_binary),
        MaskKind::Email
        | MaskKind::Phone
        | MaskKind::Card
        | MaskKind::Last4
        | MaskKind::First1
        | MaskKind::Redact
        | MaskKind::Null
        | MaskKind::Hash
        | MaskKind::DateYear
        | MaskKind::Ip
        | MaskKind::Iban
        | MaskKind::Detect
        | MaskKind::Statement => Cell::fixed(hidden),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::catalog;
    use super::super::{JsonMask, JsonPath};
    use super::*;

    const GUIDE: &str = include_str!("../../../docs/masking.md");

    fn named(name: &str) -> MaskKind {
        MaskKind::ALL.iter().find(|kind| kind.as_str() == name).cloned().expect("a mask")
    }

    /// The mask as the guide writes it.
    fn kind_of(written: &str) -> MaskKind {
        let quoted: Vec<&str> = written.split('"').skip(1).step_by(2).collect();
        match *quoted {
            [] => named(written),
            [text] => MaskKind::Text(text.into()),
            [path, mask] => MaskKind::Json(Arc::new(JsonMask::new(vec![(JsonPath::new(path).unwrap(), named(mask))]))),
            _ => panic!("{written}"),
        }
    }

    fn type_of(name: &str) -> Oid {
        let known = [
            ("text", 25),
            ("integer", 23),
            ("numeric", 1700),
            ("boolean", 16),
            ("date", 1082),
            ("timestamp", 1114),
            ("timestamptz", 1184),
            ("inet", 869),
            ("cidr", 650),
            ("uuid", 2950),
            ("json", 114),
            ("jsonb", 3802),
            ("text[]", 1009),
            ("int4range", 3904),
        ];
        known.iter().find(|(known, _)| *known == name).expect("a type").1
    }

    #[test]
    fn every_mask_shows_what_the_guide_says() {
        let rows: Vec<Vec<&str>> = GUIDE
            .lines()
            .skip_while(|line| !line.starts_with("| mask | type |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
            .collect();
        let catalog = catalog();
        for row in &rows {
            let [mask, type_name, value, shown] = row[..] else { panic!("{row:?}") };
            let mut out = BytesMut::new();
            let masker = Masker::new(kind_of(mask), &[7; 32], type_of(type_name), 0, &catalog);
            let found = match masker.mask_cell(value.as_bytes(), &mut out) {
                Masked::Value => std::str::from_utf8(&out).unwrap(),
                Masked::Null => "NULL",
            };
            assert_eq!(found, shown, "{mask} of {value}");
        }
        let names: Vec<&str> = rows.iter().map(|row| kind_of(row[0]).as_str()).collect();
        let all = MaskKind::ALL.iter().map(MaskKind::as_str).chain(["text", "json"]);
        all.for_each(|name| assert!(names.contains(&name), "{name} has no example"));
    }
}
