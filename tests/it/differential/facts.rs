//! What PostgreSQL says, or shows afterwards, that a text did.
//!
//! Never holds what our analysis thinks. Invariant: a fact is evidence; what left no trace is absent, not denied.

use countersign_policy::catalog::Oid;
use serde::Deserialize;

/// How a text ended.
pub enum Outcome {
    /// PostgreSQL took it, and did this.
    Ran(Box<Facts>),
    /// PostgreSQL refused it; the columns of the result when it had described them before.
    Refused(Option<Vec<Origin>>),
    /// It was not run, because it would have harmed the server or the run.
    Skipped,
}

/// Where a result column comes from, as RowDescription says: a relation and attribute number, or 0 and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub relation: Oid,
    pub attnum: i16,
}

/// What a text did.
#[derive(Debug, Default)]
pub struct Facts {
    /// Columns of the result; `None` when the text could not be described, empty when it returns none.
    pub columns: Option<Vec<Origin>>,
    /// Command tags, without counts.
    pub tags: Vec<String>,
    /// Number of columns of a COPY TO STDOUT.
    pub copied: Option<usize>,
    pub before: Trace,
    /// `None` when it could not run within a transaction, so that only the tags are known.
    pub after: Option<Trace>,
}

/// What can be seen of a session within its transaction.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Trace {
    pub written: Vec<Written>,
    pub called: Vec<Called>,
    pub locks: Vec<Lock>,
    pub advisory: i64,
    /// Whether the transaction has written anything.
    pub xid: bool,
    pub role: String,
    pub session_role: String,
    pub path: Vec<String>,
    pub reading: String,
    pub commands: Vec<Command>,
}

/// Rows written to a relation so far.
#[derive(Clone, Debug, Deserialize)]
pub struct Written {
    pub oid: Oid,
    pub name: String,
    pub inserted: i64,
    pub updated: i64,
    pub deleted: i64,
}

/// Calls of a function so far.
#[derive(Clone, Debug, Deserialize)]
pub struct Called {
    pub oid: Oid,
    pub name: String,
    pub is_volatile: bool,
    pub calls: i64,
}

/// A lock on a relation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Lock {
    pub oid: Oid,
    pub name: String,
    pub mode: String,
}

/// What an event trigger saw.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Command {
    pub tag: String,
    pub kind: String,
    pub oid: Oid,
    pub name: String,
}

impl Facts {
    fn trace(&self) -> &Trace {
        self.after.as_ref().unwrap_or(&self.before)
    }

    /// What this text wrote.
    pub fn written(&self) -> Vec<Written> {
        let before = |oid: Oid| self.before.written.iter().find(|known| known.oid == oid);
        let since = |now: &Written| {
            let (inserted, updated, deleted) =
                before(now.oid).map_or((0, 0, 0), |known| (known.inserted, known.updated, known.deleted));
            Written {
                inserted: now.inserted - inserted,
                updated: now.updated - updated,
                deleted: now.deleted - deleted,
                ..now.clone()
            }
        };
        let all = self.trace().written.iter().map(since);
        all.filter(|written| written.inserted + written.updated + written.deleted > 0).collect()
    }

    /// Which users' functions it called.
    pub fn called(&self) -> Vec<&Called> {
        let before = |oid: Oid| self.before.called.iter().find(|known| known.oid == oid).map_or(0, |known| known.calls);
        self.trace().called.iter().filter(|now| now.calls > before(now.oid)).collect()
    }

    /// Which relations it locked.
    pub fn locked(&self) -> Vec<&Lock> {
        self.trace().locks.iter().filter(|lock| !self.before.locks.contains(lock)).collect()
    }

    /// Which definitions it changed.
    pub fn commands(&self) -> Vec<&Command> {
        self.trace().commands.iter().skip(self.before.commands.len()).collect()
    }

    /// Whether it was the first of its transaction to write anything.
    pub fn wrote(&self) -> bool {
        self.trace().xid && !self.before.xid
    }

    /// Whether it took an advisory lock.
    pub fn took_advisory_lock(&self) -> bool {
        self.trace().advisory > self.before.advisory
    }

    /// What of the session is different afterwards.
    pub fn role_changed(&self) -> bool {
        let after = self.trace();
        (&after.role, &after.session_role) != (&self.before.role, &self.before.session_role)
    }

    pub fn path_changed(&self) -> bool {
        self.trace().path != self.before.path
    }

    /// Whether texts are read as they always are.
    pub fn reads_as_pinned(&self) -> bool {
        self.trace().reading == "on/UTF8/safe_encoding"
    }

    pub fn reading_changed(&self) -> bool {
        self.trace().reading != self.before.reading
    }
}
