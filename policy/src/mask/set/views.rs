//! Views: which masks reach their columns.
//!
//! Never reads a definition; whoever compiles masks knows the lineage of views. Invariant: a column of a view of unknown
//! lineage is masked as soon as anything is, and only one that is shown unchanged keeps the mask of its original.

use super::{FIRST_USER_OID, MaskSet, Masking};
use crate::analysis::{BaseColumn, Lineage};
use crate::catalog::{Catalog, Oid, RelationKind};
use crate::mask::{MaskKind, Predicates};

/// How many views may show a column one through the other.
const VIEW_DEPTH_MAX: usize = 16;

/// Which base columns reach the columns of a view.
pub trait ViewLineage {
    /// One lineage per column of the view, in order; `None` when it is not known.
    fn columns(&self, view: Oid) -> Option<&[Lineage]>;
    /// The column of a relation that the view shows unchanged at that position, from 0; `None` when it computes one.
    fn original(&self, view: Oid, position: usize) -> Option<BaseColumn>;
}

/// No view's lineage is known, so that every view is masked whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewsUnknown;

impl ViewLineage for ViewsUnknown {
    fn columns(&self, _view: Oid) -> Option<&[Lineage]> {
        None
    }

    fn original(&self, _view: Oid, _position: usize) -> Option<BaseColumn> {
        None
    }
}

impl MaskSet {
    /// A view, and a materialized view whose definition is known, shows what its columns are made of.
    pub(super) fn add_views(&mut self, catalog: &Catalog, views: &dyn ViewLineage) {
        if !self.touches_database() {
            return;
        }
        self.until_stable(catalog, |set, relation| {
            let lineages = match relation.kind {
                RelationKind::View | RelationKind::MaterializedView => views.columns(relation.oid),
                _ => return false,
            };
            let known = lineages.filter(|lineages| lineages.len() == relation.columns.len());
            if known.is_none() && relation.kind == RelationKind::MaterializedView && lineages.is_none() {
                return false;
            }
            let open = relation.oid >= FIRST_USER_OID;
            let mut changed = false;
            for (position, column) in relation.columns.iter().enumerate() {
                let own = BaseColumn { relation: relation.oid, attnum: column.attnum };
                let masking = match known.and_then(|lineages| lineages.get(position)) {
                    None | Some(Lineage::Unknown(_)) => open.then_some(set.redacting(set.strictest)),
                    Some(lineage) => {
                        let original = original(views, relation.oid, position);
                        set.shown(own, lineage, original, catalog)
                    }
                };
                if let Some(masking) = masking {
                    changed |= set.add(relation.oid, column.attnum, masking);
                }
            }
            changed
        });
    }

    fn redacting(&self, predicates: Predicates) -> Masking {
        Masking::derived(MaskKind::Redact, predicates)
    }

    /// What holds for the column of a view: for one that is shown unchanged, what holds for the original.
    fn shown(
        &mut self,
        own: BaseColumn,
        lineage: &Lineage,
        original: Option<BaseColumn>,
        catalog: &Catalog,
    ) -> Option<Masking> {
        let predicates = self.deciding(lineage, catalog)?;
        let (Some(original), Lineage::Columns(columns)) = (original.filter(|column| self.conceals(*column)), lineage)
        else {
            return Some(self.redacting(predicates));
        };
        self.copies.insert(own, original);
        let known = columns.iter().chain([&original]).filter_map(|column| self.columns.get(column).cloned());
        known.reduce(Masking::stricter)
    }
}

/// The column of a table that a view shows unchanged, perhaps through other views.
fn original(views: &dyn ViewLineage, view: Oid, position: usize) -> Option<BaseColumn> {
    let mut found = views.original(view, position)?;
    for _ in 0..VIEW_DEPTH_MAX {
        let place = usize::try_from(found.attnum).ok().and_then(|attnum| attnum.checked_sub(1));
        match place.and_then(|place| views.original(found.relation, place)) {
            Some(next) => found = next,
            None => return Some(found),
        }
    }
    None
}
