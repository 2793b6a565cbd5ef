//! How many sessions there may be: in all, of one database, of one user; and how many strangers.
//!
//! Never queues: who finds no place is told so. Invariant: a place is counted from [`Places::take`] until its
//! [`Place`] is dropped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use countersign_protocol::response::{ErrorFields, error_response};
use countersign_protocol::sqlstate;

use crate::config::Config;

/// The places of one proxy. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    taken: Arc<Mutex<Taken>>,
    strangers: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    databases: HashMap<String, u32>,
    users: HashMap<String, u32>,
}

/// The limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Full {
    /// `[limits] sessions`.
    All(u32),
    /// `sessions` of the database of that name.
    Database(String, u32),
    /// `sessions` of the user of that name, or `[limits] sessions_per_user`.
    User(String, u32),
    /// `[limits] unauthenticated`.
    Strangers(u32),
}

impl Places {
    /// Takes a place for a session of that user on that database.
    ///
    /// # Errors
    /// The limit that leaves none.
    pub fn take(&self, config: &Config, user: &str, database: &str) -> Result<Place, Full> {
        let own = config.user(user).and_then(|user| user.sessions);
        let of_user = own.or(config.limits.sessions_per_user).unwrap_or(u32::MAX);
        let of_database = config.database(database).and_then(|database| database.sessions).unwrap_or(u32::MAX);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |of: &HashMap<String, u32>, name: &str| of.get(name).copied().unwrap_or(0);
        if taken.all >= config.limits.sessions {
            return Err(Full::All(config.limits.sessions));
        }
        if count(&taken.databases, database) >= of_database {
            return Err(Full::Database(database.to_owned(), of_database));
        }
        if count(&taken.users, user) >= of_user {
            return Err(Full::User(user.to_owned(), of_user));
        }
        taken.all += 1;
        *taken.databases.entry(database.to_owned()).or_default() += 1;
        *taken.users.entry(user.to_owned()).or_default() += 1;
        Ok(Place { taken: Arc::clone(&self.taken), user: user.to_owned(), database: database.to_owned() })
    }

    /// Takes a place for a connection that has not authenticated yet.
    ///
    /// # Errors
    /// When there are as many as the configuration allows.
    pub fn take_stranger(&self, config: &Config) -> Result<Stranger, Full> {
        let limit = config.limits.unauthenticated;
        let next = |now: u32| (now < limit).then(|| now + 1);
        match self.strangers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(Stranger { strangers: Arc::clone(&self.strangers) }),
            Err(_) => Err(Full::Strangers(limit)),
        }
    }
}

/// The place of a session, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    taken: Arc<Mutex<Taken>>,
    user: String,
    database: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        give_back(&mut taken.databases, &self.database);
        give_back(&mut taken.users, &self.user);
    }
}

fn give_back(counts: &mut HashMap<String, u32>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// The place of a connection that has not authenticated yet, given back when it is dropped.
#[derive(Debug)]
pub struct Stranger {
    strangers: Arc<AtomicU32>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Full {
    /// The FATAL ErrorResponse for who finds no place.
    #[must_use]
    pub fn message(&self) -> Bytes {
        let (message, detail) = match self {
            Self::All(limit) => {
                let detail = format!("The proxy serves {limit} sessions at a time.");
                ("sorry, too many clients already".to_owned(), detail)
            }
            Self::Database(name, limit) => {
                let detail = format!("The proxy serves {limit} sessions on it at a time.");
                (format!("too many connections for database \"{name}\""), detail)
            }
            Self::User(name, limit) => {
                let detail = format!("The proxy serves {limit} sessions of one user at a time.");
                (format!("too many connections for user \"{name}\""), detail)
            }
            // A stranger learns no number.
            Self::Strangers(_) => {
                let detail = "Too many connections have not authenticated yet.".to_owned();
                ("sorry, too many clients already".to_owned(), detail)
            }
        };
        let mut out = BytesMut::new();
        let sqlstate = sqlstate::TOO_MANY_CONNECTIONS;
        let fields = ErrorFields { severity: "FATAL", sqlstate, message: &message, detail: Some(&detail), hint: None };
        error_response(&mut out, &fields);
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::fixture::config;

    fn limited() -> Config {
        let mut config = config("alice:a bob:a carol:a");
        config.limits.sessions = 4;
        config.limits.sessions_per_user = Some(2);
        config.users[1].sessions = Some(1);
        config
    }

    #[test]
    fn each_limit_is_told_by_its_name_and_a_place_comes_back() {
        let (places, config) = (Places::default(), limited());
        let take = |user: &str| places.take(&config, user, "shop");
        let first = take("alice").unwrap();
        let _second = take("alice").unwrap();
        assert_eq!(take("alice").unwrap_err(), Full::User("alice".to_owned(), 2));
        let _third = take("bob").unwrap();
        assert_eq!(take("bob").unwrap_err(), Full::User("bob".to_owned(), 1), "the user's own limit counts");
        let _fourth = take("carol").unwrap();
        assert_eq!(take("carol").unwrap_err(), Full::All(4));
        drop(first);
        let _again = take("alice").unwrap();
    }

    #[test]
    fn strangers_are_counted_apart() {
        let (places, mut config) = (Places::default(), limited());
        config.limits.unauthenticated = 1;
        let stranger = places.take_stranger(&config).unwrap();
        assert_eq!(places.take_stranger(&config).unwrap_err(), Full::Strangers(1));
        drop(stranger);
        places.take_stranger(&config).unwrap();
    }
}
