//! Whether what many share is another thing than what one of them knows.
//!
//! Never counts a reference when nothing has changed: every session asks at every turn.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// What is there now, unless it is what is known.
pub(crate) fn newer<T>(now: &ArcSwap<T>, known: &Arc<T>) -> Option<Arc<T>> {
    let now = now.load();
    (!Arc::ptr_eq(&now, known)).then(|| Guard::into_inner(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_its_place_is_newer() {
        let (shared, one) = (ArcSwap::from_pointee(1), Arc::new(1));
        assert_eq!(newer(&shared, &one).as_deref(), Some(&1), "it is equal, and another");
        let known = shared.load_full();
        assert!(newer(&shared, &known).is_none());
        shared.store(Arc::new(2));
        assert_eq!(newer(&shared, &known).as_deref(), Some(&2));
    }
}
