//! Whether a rule's [`Matcher`] fits a subject and a statement.
//!
//! Never looks at an action's consequences. Invariant: what an analysis leaves open can only make a rule that restricts
//! match more, and a rule that allows match less.

use crate::analysis::{Lineage, RelationUse, StatementAnalysis};
use crate::catalog::Catalog;
use crate::effect::{Effect, Effects};
use crate::mask::MaskSet;
use crate::moment::{Moment, Window};
use crate::name::QualifiedName;
use crate::subject::Subject;

use super::{Action, Glob, Matcher, NameGlob, PlainText, RelationAccess};

/// How much of a statement has to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Any part: for rules that hold or deny.
    Any,
    /// All of it: for rules that allow.
    All,
}

impl Scope {
    /// The scope that is safe for the action.
    pub(crate) fn of(action: Action) -> Self {
        match action {
            Action::Allow => Self::All,
            Action::Hold | Action::Deny => Self::Any,
        }
    }

    pub(super) fn effects(self, have: Effects, asked: Effects) -> bool {
        have.intersects(asked) && (self == Self::Any || have.without(asked).is_empty())
    }

    pub(super) fn over<T>(self, mut items: impl Iterator<Item = T>, fits: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Any => items.any(fits),
            Self::All => {
                let mut some = false;
                items.all(|item| {
                    some = true;
                    fits(item)
                }) && some
            }
        }
    }
}

impl Matcher {
    /// Whether any statement of a text that carries these effects could fit.
    pub(crate) fn may_fit(&self, carried: Effects) -> bool {
        self.effects.is_none_or(|asked| asked.intersects(carried))
    }

    /// Whether the rule speaks of this subject on its database.
    pub(crate) fn fits_subject(&self, subject: &Subject) -> bool {
        self.fits_database_and_user(subject) && fits_name(self.applications.as_deref(), &subject.application)
    }

    /// The same, whatever program the subject uses.
    pub(crate) fn fits_database_and_user(&self, subject: &Subject) -> bool {
        fits_name(self.databases.as_deref(), &subject.database)
            && fits_name(self.users.as_deref(), &subject.user)
            && self.groups.as_deref().is_none_or(|globs| fits_group(globs, subject))
            && !fits_group(&self.except_groups, subject)
    }

    /// Whether the rule speaks of this moment.
    pub(crate) fn fits_moment(&self, moment: Moment, scope: Scope) -> bool {
        let unknown = scope == Scope::Any;
        let in_window = |windows: &[Window]| {
            moment.local.map_or(unknown, |local| windows.iter().any(|window| window.contains(local)))
        };
        self.in_transaction.is_none_or(|asked| moment.in_transaction.map_or(unknown, |open| open == asked))
            && self.hours.as_deref().is_none_or(in_window)
    }

    /// Whether the rule speaks of this statement, leaving [`Matcher::text`] aside.
    pub(crate) fn fits_statement(&self, statement: &StatementAnalysis, scope: Scope) -> bool {
        self.effects.is_none_or(|asked| scope.effects(statement.effects, asked))
            && self.relations.as_deref().is_none_or(|globs| self.fits_relations(globs, statement, scope))
            && self.functions.as_deref().is_none_or(|globs| fits_functions(globs, &statement.functions, scope))
            && self.no_where.is_none_or(|asked| statement.no_where == asked)
    }

    /// Whether the rule speaks of what the statement does with columns that are masked for the requester.
    pub(crate) fn fits_masks(
        &self,
        statement: &StatementAnalysis,
        masks: &MaskSet,
        catalog: &Catalog,
        scope: Scope,
    ) -> bool {
        self.masked_predicate.is_none_or(|asked| {
            let may_decide = masks.decided_by_masked(statement, catalog);
            let open = may_decide && matches!(statement.predicates, Lineage::Unknown(_));
            if open { scope == Scope::Any } else { may_decide == asked }
        })
    }

    /// Whether the rule's pattern is in the text of statement `index` of `count`.
    pub(crate) fn fits_text(&self, text: &PlainText<'_>, index: usize, count: usize, scope: Scope) -> bool {
        let Some(pattern) = &self.text else { return true };
        let mut pieces = text.pieces();
        let aligned = pieces.len() == count;
        match (scope, aligned) {
            (_, true) => {
                pieces.nth(index).is_some_and(|piece| pattern.is_match(piece))
                    || (scope == Scope::Any && count == 1 && pattern.is_match(text.whole()))
            }
            (Scope::All, false) => false,
            (Scope::Any, false) => pattern.is_match(text.whole()) || pieces.any(|piece| pattern.is_match(piece)),
        }
    }

    fn fits_relations(&self, globs: &[NameGlob], statement: &StatementAnalysis, scope: Scope) -> bool {
        let named = |used: &RelationUse| globs.iter().any(|glob| glob.matches(&used.name.schema, &used.name.name));
        let open = statement.not_understood.is_some()
            && self.effects.is_some_and(|asked| scope == Scope::Any && asked.contains(Effect::Unknown));
        let fits = |used: &RelationUse| {
            // A use whose effects are not known may carry any effect of the statement.
            let have = if used.effects.is_empty() { statement.effects } else { used.effects };
            let certain = scope == Scope::Any || self.access != RelationAccess::Read || !is_open(used, statement);
            certain && named(used) && (open || self.effects.is_none_or(|asked| scope.effects(have, asked)))
        };
        scope.over(statement.relations.iter().filter(|used| self.access.covers(used)), fits)
    }
}

impl RelationAccess {
    /// Whether the use counts; one whose effects are not known counts always.
    fn covers(self, used: &RelationUse) -> bool {
        match self {
            Self::Write => used.is_written() || used.effects.is_empty(),
            Self::Read => used.is_read() || used.effects.is_empty(),
            Self::Any => true,
        }
    }
}

/// Whether it cannot be told if the relation is read.
fn is_open(used: &RelationUse, statement: &StatementAnalysis) -> bool {
    used.is_consulted && (used.oid.is_none() || matches!(statement.reads, Lineage::Unknown(_)))
}

fn fits_functions(globs: &[NameGlob], functions: &[QualifiedName], scope: Scope) -> bool {
    scope.over(functions.iter(), |called| globs.iter().any(|glob| glob.matches(&called.schema, &called.name)))
}

fn fits_name(globs: Option<&[Glob]>, name: &str) -> bool {
    globs.is_none_or(|globs| globs.iter().any(|glob| glob.matches(name)))
}

fn fits_group(globs: &[Glob], subject: &Subject) -> bool {
    globs.iter().any(|glob| subject.groups.iter().any(|group| glob.matches(group)))
}
