//! Looking into a trail: the records that a question is about, oldest first.
//!
//! Never checks the chain; that is what [`super::verify()`] is for. Never holds more than one record, or as many as were asked for.
//! Invariant: records come in the order of their numbers.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::segment::{self, Time};

/// A record as it was written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its line, without line feed.
    pub line: String,
    /// The same, read.
    pub fields: Map<String, Value>,
}

impl Entry {
    fn read(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8(line.to_vec()).ok()?;
        let fields = serde_json::from_str(&line).ok()?;
        Some(Self { line, fields })
    }

    /// Its number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.fields.get("seq").and_then(Value::as_u64).unwrap_or(0)
    }

    /// A field that holds text; empty when there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or("")
    }

    fn at(&self) -> Option<Timestamp> {
        self.text("at").parse().ok()
    }
}

/// Which records are wanted: those that fit everything that is given.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Of one of these kinds.
    pub kinds: Vec<String>,
    /// Of a session of this user, or made by them.
    pub user: Option<String>,
    /// On this database.
    pub database: Option<String>,
    /// About this access request.
    pub request: Option<String>,
    /// With this in the statement, whatever the case.
    pub text: Option<String>,
    /// Made at this time or later.
    pub since: Option<Timestamp>,
    /// Made before this time.
    pub until: Option<Timestamp>,
    /// With a higher number.
    pub after: u64,
}

impl Question {
    /// Whether the record is wanted.
    #[must_use]
    pub fn fits(&self, entry: &Entry) -> bool {
        let is = |key: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| entry.text(key) == wanted);
        let at = entry.at();
        entry.seq() > self.after
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == entry.text("kind")))
            && (is("user", &self.user) || is("by", &self.user))
            && is("database", &self.database)
            && is("request", &self.request)
            && self.text.as_deref().is_none_or(|text| contains(entry.text("statement"), text))
            && self.since.is_none_or(|since| at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at.is_some_and(|at| at < until))
    }
}

fn contains(statement: &str, text: &str) -> bool {
    statement.to_lowercase().contains(&text.to_lowercase())
}

/// Gives every record that fits to `each`, oldest first, until it returns `false`.
///
/// A last line that is not complete yet, and lines that are no records, are passed over.
///
/// # Errors
/// When the directory or a segment cannot be read.
pub fn search(dir: &Path, question: &Question, mut each: impl FnMut(Entry) -> bool) -> io::Result<()> {
    for number in in_question(dir, question)? {
        if !in_segment(dir, number, question, &mut each)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The newest `count` records that fit, oldest first.
///
/// # Errors
/// As [`search`].
pub fn last(dir: &Path, question: &Question, count: usize) -> io::Result<Vec<Entry>> {
    let mut newest = VecDeque::new();
    for number in in_question(dir, question)?.into_iter().rev() {
        let wanted = count - newest.len();
        let mut here = VecDeque::new();
        in_segment(dir, number, question, &mut |entry| {
            if here.len() == wanted {
                here.pop_front();
            }
            here.push_back(entry);
            true
        })?;
        here.extend(newest);
        newest = here;
        if newest.len() >= count {
            break;
        }
    }
    Ok(newest.into())
}

/// Segments that can hold records in question: not those that ended before, or begin after.
fn in_question(dir: &Path, question: &Question) -> io::Result<Vec<u32>> {
    let numbers = segment::list(dir)?;
    if numbers.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no audit trail in it"));
    }
    let mut wanted = Vec::new();
    for (index, &number) in numbers.iter().enumerate() {
        let next = match (question.since, numbers.get(index + 1)) {
            (Some(_), Some(next)) => began(dir, *next)?,
            _ => None,
        };
        let ended_before = question.since.zip(next).is_some_and(|(since, next)| next < since);
        if !ended_before {
            wanted.push(number);
        }
        let began = if question.until.is_some() { began(dir, number)? } else { None };
        if question.until.zip(began).is_some_and(|(until, began)| began >= until) {
            break;
        }
    }
    Ok(wanted)
}

/// When the first record of a segment was made.
pub(super) fn began(dir: &Path, number: u32) -> io::Result<Option<Timestamp>> {
    let mut line = Vec::new();
    segment::reader(dir, number)?.1.read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice::<Time>(&line).ok().map(|time| time.at))
}

fn in_segment(dir: &Path, number: u32, question: &Question, each: &mut dyn FnMut(Entry) -> bool) -> io::Result<bool> {
    let mut lines = segment::reader(dir, number)?.1;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if line.pop() != Some(b'\n') {
            break;
        }
        if let Some(entry) = Entry::read(&line).filter(|entry| question.fits(entry))
            && !each(entry)
        {
            return Ok(false);
        }
        line.clear();
    }
    Ok(true)
}

/// Reads on where it stopped: what is written to the trail from now on.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    question: Question,
    /// The segment that was read last, and how much of it.
    number: u32,
    offset: u64,
}

impl Follower {
    /// Follows the trail from the end of what is there now.
    ///
    /// # Errors
    /// When the directory or the last segment cannot be read.
    pub fn from_end(dir: &Path, question: Question) -> io::Result<Self> {
        let number = segment::list(dir)?.last().copied().unwrap_or(1);
        let mut follower = Self { dir: dir.to_owned(), question, number, offset: 0 };
        follower.read_on()?;
        Ok(follower)
    }

    /// What has come since the last call.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn read_on(&mut self) -> io::Result<Vec<Entry>> {
        let mut come = Vec::new();
        let numbers = segment::list(&self.dir)?;
        let begun = self.number;
        for number in numbers.into_iter().filter(|number| *number >= begun) {
            if number > self.number {
                (self.number, self.offset) = (number, 0);
            }
            let mut lines = segment::reader_from(&self.dir, number, self.offset)?.1;
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
                self.offset += line.len() as u64;
                line.pop();
                come.extend(Entry::read(&line).filter(|entry| self.question.fits(entry)));
                line.clear();
            }
        }
        Ok(come)
    }
}
