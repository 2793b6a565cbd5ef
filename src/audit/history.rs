//! What the trails of all proxies together tell of requests and grants, checked without anything but the trails.
//!
//! Never looks at a store or a configuration. Invariant: the order of records within a trail and between trails does not
//! matter; what must come before what is told by states and times.

mod entry;
mod grant;
mod request;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use self::entry::{Entry, What};
use self::grant::GrantStory;
use self::request::RequestStory;
use super::segment;

/// How much later a proxy may hear that another one has taken a grant back, and how far its reading of the time may be off.
const HEARD_LATE_MS: i64 = 2_000;

/// Something that should not have happened, or that should have been told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Flaw {
    /// The request or grant.
    pub of: String,
    /// What it is.
    pub kind: FlawKind,
    /// One sentence for people.
    pub detail: String,
}

/// Whether something is wrong or only not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FlawKind {
    /// A step between two that are told is not: the trail of a proxy is not here, or its end was lost.
    Missing,
    /// It contradicts what must always be true.
    Broken,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// Access requests that are told of.
    pub requests: usize,
    /// Held statements that were released.
    pub intents: usize,
    /// Of those, how many ended in which way: EXECUTED, FAILED, UNKNOWN.
    pub ended: BTreeMap<String, usize>,
    /// Votes on requests.
    pub votes: usize,
    /// Grants that are told of.
    pub grants: usize,
    /// Statements whose hold a grant has lifted.
    pub lifted: usize,
    /// What is wrong; empty when it is one history.
    pub flaws: Vec<Flaw>,
}

impl History {
    /// What contradicts itself, as opposed to what is missing.
    pub fn broken(&self) -> impl Iterator<Item = &Flaw> {
        self.flaws.iter().filter(|flaw| flaw.kind == FlawKind::Broken)
    }
}

/// Everything that is told, by what it is about.
#[derive(Default)]
struct Told {
    requests: BTreeMap<String, RequestStory>,
    grants: BTreeMap<String, GrantStory>,
}

impl Told {
    fn take(&mut self, entry: Entry) {
        let at = entry.at;
        match entry.what {
            What::Transition(step) => self.requests.entry(step.request.clone()).or_default().steps.push((at, step)),
            What::Vote(vote) => self.requests.entry(vote.request.clone()).or_default().votes.push((at, vote)),
            What::Intent(intent) => self.requests.entry(intent.request.clone()).or_default().intents.push((at, intent)),
            What::Outcome(outcome) => {
                if let Some(request) = outcome.request.clone() {
                    self.requests.entry(request).or_default().outcomes.push(outcome);
                }
            }
            What::Verdict(verdict) => {
                if let Some(grant) = verdict.grant.clone() {
                    self.grants.entry(grant).or_default().used.push((at, verdict));
                }
            }
            What::Grant(step) => self.grants.entry(step.grant.clone()).or_default().steps.push((at, step)),
            What::GrantVote(vote) => self.grants.entry(vote.grant.clone()).or_default().votes.push((at, vote)),
            What::Other => {}
        }
    }

    fn history(self) -> History {
        let mut history = History { requests: self.requests.len(), grants: self.grants.len(), ..History::default() };
        for (id, story) in self.requests {
            let story = story.without_echoes();
            history.intents += story.intents.len();
            history.votes += story.votes.len();
            if let (false, Some(end)) = (story.intents.is_empty(), story.end()) {
                *history.ended.entry(end.to_string()).or_default() += 1;
            }
            story.check(&mut Finder { of: &id, flaws: &mut history.flaws });
        }
        for (id, story) in self.grants {
            let story = story.without_echoes();
            history.lifted += story.used.len();
            story.check(&mut Finder { of: &id, flaws: &mut history.flaws });
        }
        history
    }
}

/// Stores keep microseconds, and what is told in time has more digits.
fn same_moment(one: Timestamp, other: Timestamp) -> bool {
    one.as_microsecond() == other.as_microsecond()
}

/// Leaves out what was told late and is told by another as well: a proxy that is gone may have told it in its own trail, and
/// two others may have found that it had not.
fn told_once<T>(told: &mut Vec<T>, is_late: fn(&T) -> bool, is_same: fn(&T, &T) -> bool) {
    let mut kept: Vec<T> = Vec::with_capacity(told.len());
    // What was told in time comes first.
    told.sort_by_key(is_late);
    for one in told.drain(..) {
        if !is_late(&one) || !kept.iter().any(|other| is_same(other, &one)) {
            kept.push(one);
        }
    }
    *told = kept;
}

/// Collects flaws of one request or grant.
struct Finder<'a> {
    of: &'a str,
    flaws: &'a mut Vec<Flaw>,
}

impl Finder<'_> {
    fn missing(&mut self, detail: impl Into<String>) {
        self.flaw(FlawKind::Missing, detail.into());
    }

    fn broken(&mut self, detail: impl Into<String>) {
        self.flaw(FlawKind::Broken, detail.into());
    }

    fn flaw(&mut self, kind: FlawKind, detail: String) {
        self.flaws.push(Flaw { of: self.of.to_owned(), kind, detail });
    }
}

/// Reads all trails and checks what they tell: each release has one approval by enough distinct people, each approval is used
/// once, no request ends twice, no person votes twice, and what a grant let pass it let pass while it was in force.
///
/// Whether the trails themselves are unchanged, [`super::verify`] says.
///
/// # Errors
/// When a trail cannot be read, or has a line that is no record.
pub fn history<'a>(trails: impl IntoIterator<Item = &'a Path>) -> io::Result<History> {
    let mut told = Told::default();
    for dir in trails {
        read(dir, &mut told)?;
    }
    Ok(told.history())
}

/// As [`history()`], of records that are not in files.
#[cfg(test)]
pub(crate) fn history_of<'a>(lines: impl IntoIterator<Item = &'a str>) -> History {
    let mut told = Told::default();
    lines.into_iter().for_each(|line| told.take(serde_json::from_str(line).unwrap()));
    told.history()
}

fn read(dir: &Path, told: &mut Told) -> io::Result<()> {
    for number in segment::list(dir)? {
        let (name, reader) = segment::reader(dir, number)?;
        for (index, line) in reader.split(b'\n').enumerate() {
            let entry = serde_json::from_slice(&line?).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{name}:{}: {error}", index + 1))
            })?;
            told.take(entry);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
