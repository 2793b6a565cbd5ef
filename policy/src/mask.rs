//! Masks: which columns are masked for whom ([`MaskSet`]), the plan for one result ([`MaskPlan`]), and the
//! transformation of one cell ([`Masker`]).
//!
//! Never looks at a column's result name: provenance and lineage decide. Invariant: a column that cannot be shown to be
//! clear of masked columns is masked whole. No result has to be refused for it, because NULL fits every type on the
//! wire.

mod arrays;
mod dates;
mod detect;
mod evidence;
mod exposure;
mod json;
mod maskers;
mod nested;
mod network;
mod plan;
mod predicates;
mod records;
mod set;
mod statements;
#[cfg(test)]
mod testing;
mod unmask;
mod values;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub use self::detect::{Detected, detect_any, detect_whole};
pub use self::exposure::Exposure;
pub use self::json::{BadPath, JsonMask, JsonPath};
pub use self::maskers::{Masked, Masker};
pub use self::plan::{FieldOrigin, MaskPlan};
pub use self::predicates::Predicates;
pub use self::set::{MaskSet, ViewLineage, ViewsUnknown};
pub use self::unmask::Unmask;
use crate::catalog::Oid;
use crate::rule::{ColumnGlob, Glob};
use crate::subject::Subject;

/// The type `text`.
const TEXT_TYPE: Oid = 25;

/// One `[[masks]]` entry.
pub struct MaskRule {
    /// Unique name.
    pub name: String,
    /// Globs over `schema.relation.column`.
    pub columns: Vec<ColumnGlob>,
    /// The transformation.
    pub mask: MaskKind,
    /// Groups that see the values in clear.
    pub except_groups: Vec<Glob>,
    /// What a statement gets in which a masked column decides which rows come back, or in which order.
    pub predicates: Predicates,
    /// Groups that must approve that somebody sees the values for a time; empty for those of the database.
    pub reviewers: Vec<String>,
    /// Key of `hash`; shared by all masks.
    pub key: [u8; 32],
    /// Whether personal data is looked for in the texts of foreign tables that no mask names; shared by all masks.
    pub looks_into_foreign: bool,
}

impl MaskRule {
    /// Whether the subject sees masked values.
    #[must_use]
    pub fn applies_to(&self, subject: &Subject) -> bool {
        !self.except_groups.iter().any(|glob| subject.groups.iter().any(|group| glob.matches(group)))
    }
}

impl fmt::Debug for MaskRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskRule")
            .field("name", &self.name)
            .field("columns", &self.columns)
            .field("mask", &self.mask)
            .field("predicates", &self.predicates)
            .field("except_groups", &self.except_groups)
            .finish_non_exhaustive()
    }
}

macro_rules! masks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The documented transformations. What each does to types that are not text: [`Masker`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum MaskKind {
            $($(#[$doc])* $variant,)+
            /// Replaces the value by this text (or the type's neutral value).
            Text(Arc<str>),
            /// Masks what stands at some paths of a JSON document, and keeps the rest.
            Json(Arc<JsonMask>),
        }

        impl MaskKind {
            /// Every transformation that takes no parameter, in the documented order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in the configuration.
            #[must_use]
            pub const fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Text(_) => "text",
                    Self::Json(_) => "json",
                }
            }
        }
    };
}

masks! {
    /// Keeps the first character of the local part and the domain: `a***@example.com`.
    Email = "email",
    /// Keeps the last two digits, hides the others, keeps punctuation.
    Phone = "phone",
    /// Keeps the last four digits of a card number.
    Card = "card",
    /// Keeps the last four characters.
    Last4 = "last4",
    /// Keeps the first character.
    First1 = "first1",
    /// Replaces the value by `***` (or the type's neutral value).
    Redact = "redact",
    /// NULL.
    Null = "null",
    /// Keyed HMAC-SHA-256, in hexadecimal.
    Hash = "hash",
    /// Keeps the year of a date or timestamp.
    DateYear = "date_year",
    /// Keeps the network part of an IP address.
    Ip = "ip",
    /// Zero, or the empty string.
    Zero = "zero",
    /// Keeps the country and the last four characters of an account number.
    Iban = "iban",
    /// Replaces what looks like personal data in a text, and keeps the rest.
    Detect = "detect",
    /// Replaces the literals in the text of a statement, and keeps the rest.
    Statement = "statement",
}

impl MaskKind {
    /// The mask for a column that two masks speak of: the one that shows less; of two that show different parts, neither.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        match self.strictness().cmp(&other.strictness()) {
            _ if self == other => self,
            Ordering::Equal => Self::Redact,
            Ordering::Greater => self,
            Ordering::Less => other,
        }
    }

    /// Whether what it shows depends on the key of hashes.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        match self {
            Self::Hash => true,
            Self::Json(mask) => mask.kinds().any(Self::is_keyed),
            Self::Email
            | Self::Phone
            | Self::Card
            | Self::Last4
            | Self::First1
            | Self::Redact
            | Self::Null
            | Self::DateYear
            | Self::Ip
            | Self::Zero
            | Self::Iban
            | Self::Detect
            | Self::Statement
            | Self::Text(_) => false,
        }
    }

    /// 0 for a mask that shows part of the value; more for one that shows less of it.
    fn strictness(&self) -> u8 {
        match self {
            Self::Email
            | Self::Phone
            | Self::Card
            | Self::Last4
            | Self::First1
            | Self::DateYear
            | Self::Ip
            | Self::Iban
            | Self::Detect
            | Self::Statement
            | Self::Json(_) => 0,
            Self::Hash => 1,
            Self::Zero => 2,
            Self::Text(_) => 3,
            Self::Redact => 4,
            Self::Null => 5,
        }
    }
}
