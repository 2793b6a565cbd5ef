//! Who is connected, and what operators want of them.
//!
//! Never ends a session: it is told, and leaves in good order. Invariant: a session that has entered learns of every order
//! that holds for it, given before or after.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::bell::Bell;
use crate::drain::Phase;

/// What a session is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// How far it is on its way out.
    pub(crate) phase: Phase,
    /// Whether it begins nothing new.
    pub(crate) is_paused: bool,
}

/// Who has a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connected {
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application: String,
    /// `ip:port`, or `local`.
    pub(crate) client_address: String,
    /// Process id of its backend upstream; none of a session of the console.
    pub(crate) process_id: Option<i32>,
    pub(crate) since: Timestamp,
}

/// The sessions of this proxy.
#[derive(Debug)]
pub(crate) struct Sessions {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    paused: HashSet<String>,
    sessions: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    who: Connected,
    orders: watch::Sender<Order>,
    bell: Arc<Bell>,
}

/// The place of a session on the list, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    sessions: Arc<Sessions>,
    name: String,
}

impl Sessions {
    /// Nobody.
    pub(crate) fn new() -> Arc<Self> {
        let state = State { phase: Phase::Serving, paused: HashSet::new(), sessions: BTreeMap::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Puts a session on the list; what it is to do is told from now on, with a ring of its bell.
    pub(crate) fn enter(
        self: &Arc<Self>,
        name: &str,
        who: Connected,
        bell: Arc<Bell>,
    ) -> (Entered, watch::Receiver<Order>) {
        let mut state = self.lock();
        let order = Order { phase: state.phase, is_paused: state.paused.contains(&who.database) };
        let (orders, receiver) = watch::channel(order);
        state.sessions.insert(name.to_owned(), Entry { who, orders, bell });
        (Entered { sessions: Arc::clone(self), name: name.to_owned() }, receiver)
    }

    /// Everybody, oldest first, with the order they have.
    pub(crate) fn list(&self) -> Vec<(String, Connected, Order)> {
        let state = self.lock();
        let all = state.sessions.iter();
        let mut all: Vec<_> =
            all.map(|(name, entry)| (name.clone(), entry.who.clone(), *entry.orders.borrow())).collect();
        drop(state);
        all.sort_by_key(|(_, who, _)| who.since);
        all
    }

    /// How many sessions a user has on a database.
    pub(crate) fn count(&self, database: &str, user: &str) -> usize {
        let state = self.lock();
        state.sessions.values().filter(|entry| entry.who.database == database && entry.who.user == user).count()
    }

    /// Tells everybody how far the proxy is on its way out.
    pub(crate) fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = phase;
        state.sessions.values().for_each(|entry| entry.become_at_least(phase));
    }

    /// Has the sessions of a database begin nothing new, or begin again.
    pub(crate) fn pause(&self, database: &str, is_paused: bool) {
        let mut state = self.lock();
        if is_paused {
            state.paused.insert(database.to_owned());
        } else {
            state.paused.remove(database);
        }
        for entry in state.sessions.values().filter(|entry| entry.who.database == database) {
            entry.orders.send_modify(|order| order.is_paused = is_paused);
            entry.bell.ring();
        }
    }

    /// Whether sessions of that database begin nothing new.
    pub(crate) fn is_paused(&self, database: &str) -> bool {
        self.lock().paused.contains(database)
    }

    /// Ends one session, cancelling what it runs; whether there is one of that name.
    pub(crate) fn kill(&self, name: &str) -> bool {
        let state = self.lock();
        let entry = state.sessions.get(name);
        if let Some(entry) = entry {
            entry.become_at_least(Phase::Ending);
        }
        entry.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn become_at_least(&self, phase: Phase) {
        self.orders.send_if_modified(|order| {
            let moves = order.phase < phase;
            order.phase = order.phase.max(phase);
            moves
        });
        self.bell.ring();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.sessions.lock().sessions.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(database: &str) -> Connected {
        Connected {
            user: "alice".to_owned(),
            database: database.to_owned(),
            application: String::new(),
            client_address: "local".to_owned(),
            process_id: None,
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn orders_reach_who_was_there_and_who_comes() {
        let sessions = Sessions::new();
        let (_one, mut early) = sessions.enter("1", on("shop"), Arc::default());
        assert_eq!(*early.borrow_and_update(), Order { phase: Phase::Serving, is_paused: false });
        sessions.pause("shop", true);
        assert!(early.has_changed().unwrap());
        let (_two, late) = sessions.enter("2", on("shop"), Arc::default());
        let (_three, elsewhere) = sessions.enter("3", on("other"), Arc::default());
        let paused = |orders: &watch::Receiver<Order>| orders.borrow().is_paused;
        assert!(paused(&early) && paused(&late) && !paused(&elsewhere));
        sessions.pause("shop", false);
        assert!(!paused(&early) && !paused(&late) && !sessions.is_paused("shop"));
        sessions.set_phase(Phase::Draining);
        let (_four, last) = sessions.enter("4", on("shop"), Arc::default());
        assert!([&early, &late, &elsewhere, &last].iter().all(|orders| orders.borrow().phase == Phase::Draining));
    }

    #[test]
    fn one_session_is_killed_and_stays_so() {
        let sessions = Sessions::new();
        let (one, first) = sessions.enter("1", on("shop"), Arc::default());
        let (_two, second) = sessions.enter("2", on("shop"), Arc::default());
        assert!(sessions.kill("1") && !sessions.kill("3"));
        sessions.set_phase(Phase::Draining);
        assert_eq!((first.borrow().phase, second.borrow().phase), (Phase::Ending, Phase::Draining));
        drop(one);
        assert!(!sessions.kill("1"));
        assert_eq!(sessions.list().len(), 1);
    }
}
