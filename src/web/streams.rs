//! Room for streams of events: so many in all, and so many of one person.
//!
//! Never lets one person take the room of all others. Invariant: a place is taken from [`Streams::take`] until its [`Place`]
//! is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Streams that may be open at a time.
const ALL_MAX: usize = 1024;
/// Of these, by one person: more pages than anybody has open.
const PER_PERSON_MAX: usize = 64;

/// Who has how many streams open. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// The place of one stream, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<HashMap<String, usize>>>,
    person: String,
}

impl Streams {
    /// A place for that person; `None` when all are taken, or as many as one person may have.
    pub(super) fn take(&self, person: &str) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(person).copied().unwrap_or(0);
        if own >= PER_PERSON_MAX || open.values().sum::<usize>() >= ALL_MAX {
            return None;
        }
        open.insert(person.to_owned(), own + 1);
        Some(Place { open: Arc::clone(&self.open), person: person.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(&self.person) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(open.remove(&self.person)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_the_room_of_others_and_places_come_back() {
        let streams = Streams::default();
        let mut places: Vec<_> = (0..PER_PERSON_MAX).map(|_| streams.take("alice").unwrap()).collect();
        assert!(streams.take("alice").is_none());
        let bob = streams.take("bob").unwrap();
        places.pop();
        assert!(streams.take("alice").is_some(), "it is given back at once");
        drop((places, bob));
        assert!(streams.open.lock().unwrap().is_empty());
    }

    #[test]
    fn there_is_an_end_in_all() {
        let streams = Streams::default();
        let places: Vec<_> = (0..2 * ALL_MAX).filter_map(|n| streams.take(&format!("person {}", n % 100))).collect();
        assert_eq!(places.len(), ALL_MAX);
    }
}
