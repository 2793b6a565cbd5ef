//! Looking into a trail: the records that a question is about, oldest first.
//!
//! Never checks the chain; that is what [`super::verify()`] is for. Never holds more than one record, or as many as were asked for.
//! Invariant: records come in the order of their numbers.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::segment::{self, Link, Time};
use super::{NO_HASH, line_hash};

/// A record as it was written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its line, without line feed.
    pub line: String,
    /// The same, read.
    pub fields: Map<String, Value>,
}

impl Entry {
    /// Reads a line without its line feed; `None` when it is no record.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
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

    /// A field in one text; `None` when the record has none, or an empty list.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<String> {
        let value = self.fields.get(key).filter(|value| !value.is_null())?;
        let empty = value.as_array().is_some_and(Vec::is_empty);
        (!empty).then(|| plain(value))
    }

    /// SHA-256 of its line, hexadecimal: what the record behind it carries.
    #[must_use]
    pub fn hash(&self) -> String {
        hex::encode(line_hash(self.line.as_bytes()))
    }

    /// When what it tells of happened.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        self.text("at").parse().ok()
    }
}

/// A value in one text, lists with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
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
    /// With a lower number.
    pub before: Option<u64>,
}

impl Question {
    /// Whether the record is wanted.
    #[must_use]
    pub fn fits(&self, entry: &Entry) -> bool {
        let is = |key: &str, wanted: &Option<String>| wanted.as_deref().is_none_or(|wanted| entry.text(key) == wanted);
        let at = entry.at();
        entry.seq() > self.after
            && self.before.is_none_or(|before| entry.seq() < before)
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
    Ok(newest(dir, question, count, || true)?.entries)
}

/// The newest records that fit, and where to go on for older ones.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The records, oldest first.
    pub entries: Vec<Entry>,
    /// `before` of a question for the rest; `None` when there is none.
    pub rest: Option<u64>,
    /// Whether the search ended because it was to go on no longer, and not because it had found enough.
    pub cut_short: bool,
}

/// The newest `count` records that fit. Before each older segment, which takes up to a second to read, `go_on` says
/// whether it is to be read.
///
/// # Errors
/// As [`search`].
pub fn newest(dir: &Path, question: &Question, count: usize, mut go_on: impl FnMut() -> bool) -> io::Result<Newest> {
    let mut newest = VecDeque::new();
    let mut unread = None;
    let segments = in_question(dir, question)?;
    // One more than asked for shows whether there are older ones.
    let enough = count.saturating_add(1);
    for (index, &number) in segments.iter().enumerate().rev() {
        let wanted = enough - newest.len();
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
        if newest.len() >= enough {
            break;
        }
        if index > 0 && !go_on() {
            unread = first(dir, number)?.map(|first| first.seq);
            break;
        }
    }
    let more = newest.len() > count;
    if more {
        newest.pop_front();
    }
    let oldest = newest.front().map(Entry::seq).filter(|_| more);
    Ok(Newest { entries: newest.into(), rest: oldest.or(unread), cut_short: unread.is_some() })
}

/// One record and those beside it in the chain.
#[derive(Clone, Debug)]
pub struct InChain {
    /// The record.
    pub entry: Entry,
    /// The one before it, where it is still kept.
    pub before: Option<Entry>,
    /// The one behind it, once there is one.
    pub after: Option<Entry>,
}

impl InChain {
    /// Whether the record carries the hash of the one before it; `None` when that is not there.
    #[must_use]
    pub fn follows(&self) -> Option<bool> {
        match &self.before {
            Some(before) => Some(self.entry.text("prev") == before.hash()),
            None => (self.entry.text("prev") == hex::encode(NO_HASH)).then_some(true),
        }
    }

    /// Whether the one behind it carries its hash; `None` when there is none yet.
    #[must_use]
    pub fn is_followed(&self) -> Option<bool> {
        self.after.as_ref().map(|after| after.text("prev") == self.entry.hash())
    }
}

/// The record of that number, if the trail has it.
///
/// # Errors
/// As [`search`].
pub fn in_chain(dir: &Path, seq: u64) -> io::Result<Option<InChain>> {
    let around = Question { before: seq.checked_add(1), ..Question::default() };
    let mut up_to = last(dir, &around, 2)?;
    let Some(entry) = up_to.pop().filter(|entry| entry.seq() == seq) else { return Ok(None) };
    let mut after = None;
    search(dir, &Question { after: seq, ..Question::default() }, |entry| {
        after = Some(entry);
        false
    })?;
    Ok(Some(InChain { entry, before: up_to.pop(), after }))
}

/// How far records may be from their place in time: a record is told when it happened, not when it was written.
const OUT_OF_PLACE: SignedDuration = SignedDuration::from_mins(10);

/// Gives records of these kinds at the end of the trail to `each`: all that were made at that moment or later, and others.
///
/// # Errors
/// As [`search`]; a trail that is not there has no records.
pub fn tail(dir: &Path, since: Timestamp, kinds: &[&str], mut each: impl FnMut(Entry)) -> io::Result<()> {
    let marks: Vec<String> = kinds.iter().map(|kind| format!("\"kind\":\"{kind}\"")).collect();
    let since = since.checked_sub(OUT_OF_PLACE).unwrap_or(Timestamp::MIN);
    for number in segment::list(dir)?.into_iter().rev() {
        let mut lines = segment::reader(dir, number)?.1;
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
            // Few lines are of these kinds; what only looks like one is looked at closer.
            let text = std::str::from_utf8(&line).unwrap_or_default();
            if marks.iter().any(|mark| text.contains(mark)) {
                Entry::read(text.trim_end().as_bytes()).into_iter().for_each(&mut each);
            }
            line.clear();
        }
        if began(dir, number)?.is_some_and(|began| began < since) {
            return Ok(());
        }
    }
    Ok(())
}

/// Segments that can hold records in question: not those that ended before, or begin after.
fn in_question(dir: &Path, question: &Question) -> io::Result<Vec<u32>> {
    let numbers = segment::list(dir)?;
    if numbers.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no audit trail in it"));
    }
    let asks_begin = question.since.is_some() || question.until.is_some();
    if !asks_begin && question.after == 0 && question.before.is_none() {
        return Ok(numbers);
    }
    let firsts = numbers.iter().map(|number| first(dir, *number)).collect::<io::Result<Vec<_>>>()?;
    let mut wanted = Vec::new();
    for (index, number) in numbers.into_iter().enumerate() {
        let next = firsts.get(index + 1).and_then(Option::as_ref);
        let ended_before = next.is_some_and(|next| {
            question.since.is_some_and(|since| next.at < since) || next.seq <= question.after.saturating_add(1)
        });
        let begins_after = firsts[index].as_ref().is_some_and(|first| {
            question.until.is_some_and(|until| first.at >= until)
                || question.before.is_some_and(|before| first.seq >= before)
        });
        if begins_after {
            break;
        }
        if !ended_before {
            wanted.push(number);
        }
    }
    Ok(wanted)
}

/// Number and time of the first record of a segment.
struct First {
    seq: u64,
    at: Timestamp,
}

fn first(dir: &Path, number: u32) -> io::Result<Option<First>> {
    let mut line = Vec::new();
    segment::reader(dir, number)?.1.read_until(b'\n', &mut line)?;
    let (link, time) = (serde_json::from_slice::<Link>(&line), serde_json::from_slice::<Time>(&line));
    Ok(link.ok().zip(time.ok()).map(|(link, time)| First { seq: link.seq, at: time.at }))
}

/// When the first record of a segment was made.
pub(super) fn began(dir: &Path, number: u32) -> io::Result<Option<Timestamp>> {
    Ok(first(dir, number)?.map(|first| first.at))
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
