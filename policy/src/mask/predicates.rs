//! What statements get in which masked columns decide.
//!
//! Never looks at a statement; [`super::Exposure`] does. Invariant: the order of [`Predicates`] is that of strictness, so
//! that of two masks on one column the stricter one counts.

use crate::rule::Action;

/// `predicates` of one `[[masks]]` entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Predicates {
    /// Every use passes.
    Allow,
    /// `column = value` in the WHERE clause of the outermost query passes, with one value of the statement or bound to it;
    /// other uses are held.
    AllowEquality,
    /// Every use is held.
    #[default]
    Hold,
    /// Every use is denied.
    Deny,
}

impl Predicates {
    /// Every value and its name in the configuration, from lenient to strict.
    pub const ALL: [(&'static str, Self); 4] =
        [("allow", Self::Allow), ("allow_equality", Self::AllowEquality), ("hold", Self::Hold), ("deny", Self::Deny)];

    /// The name used in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowEquality => "allow_equality",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }

    /// What a statement gets in which the column decides.
    pub(super) fn of_deciding(self) -> Action {
        match self {
            Self::Allow => Action::Allow,
            Self::AllowEquality | Self::Hold => Action::Hold,
            Self::Deny => Action::Deny,
        }
    }

    /// What a statement gets that looks rows up by the column.
    pub(super) fn of_looked_up(self) -> Action {
        match self {
            Self::Allow | Self::AllowEquality => Action::Allow,
            Self::Hold => Action::Hold,
            Self::Deny => Action::Deny,
        }
    }
}
