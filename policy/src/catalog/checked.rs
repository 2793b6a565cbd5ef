//! Types whose values are made by functions that may write: checks of domains, and of what is made of them.
//!
//! Never follows a type further than the server did: rows, arrays and ranges of such types are listed by themselves.
//! Invariant: a type that is not listed makes values without calling anybody.

use super::{Catalog, Oid};

impl Catalog {
    /// Whether making values of some type may write.
    pub(crate) fn has_checked_types(&self) -> bool {
        !self.checked_types.is_empty()
    }

    /// Whether making a value of that type may write.
    pub(crate) fn is_checked(&self, oid: Oid) -> bool {
        self.checked_types.contains(&oid)
    }

    /// The same of the parts of a value: whether reading it from a text may write. The check of a domain itself is made later.
    pub(crate) fn is_checked_inside(&self, oid: Oid) -> bool {
        let mut base = oid;
        while let Some(domain) = self.types.get(&base).filter(|known| known.kind == 'd' && known.base != base) {
            base = domain.base;
        }
        self.is_checked(base)
    }
}
