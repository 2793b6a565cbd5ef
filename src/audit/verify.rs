//! Proves from the files alone that no record was changed, dropped or reordered, and says where if one was.
//!
//! Never writes, never trusts a file name or a number in a line beyond what the hashes confirm.
//! Invariant: a trail without findings is one unbroken chain from its first line to its last.

mod signatures;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::{self, BufRead};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::segment::{self, Head};
use super::signing::PublicKey;
use super::{LineHash, NO_HASH, line_hash};
use signatures::Signatures;

/// After so many findings the rest is not listed.
const FINDINGS_MAX: usize = 100;

/// Missing records that are remembered one by one, to tell "reordered" from "repeated".
const MISSING_MAX: u64 = 100_000;

/// Hashes of records that are remembered.
const RECENT_MAX: usize = 10_000;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Its bytes are not the ones that were written.
    Changed,
    /// Records before it are missing.
    Dropped,
    /// It stands in another place than it was written, or twice.
    Reordered,
    /// It, or what followed it, was cut off.
    Truncated,
    /// Another record with the same number stands before it.
    Forked,
    /// No trusted key has signed what has to be signed.
    Unsigned,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Reordered => "reordered",
            Self::Truncated => "truncated",
            Self::Forked => "forked",
            Self::Unsigned => "unsigned",
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// File name of the segment.
    pub segment: String,
    /// Line in it, from 1; 0 when the file as a whole is meant.
    pub line: u64,
    /// Sequence number of the record, if it can be told.
    pub seq: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
    /// In words.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment, self.line)?;
        if let Some(seq) = self.seq {
            write!(f, " record {seq}")?;
        }
        write!(f, " {}: {}", self.fault, self.detail)
    }
}

/// A record whose hash is known from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    seq: u64,
    hash: LineHash,
}

impl std::str::FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "an anchor is SEQ:HASH, as printed by \"audit verify\"".to_owned();
        let (seq, hash) = text.split_once(':').ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).map_err(|_error| wrong())?;
        Ok(Self { seq: seq.parse().map_err(|_error| wrong())?, hash: bytes })
    }
}

impl Anchor {
    /// Reads a list of anchors: lines of `SEQ:HASH`, or records as they were written, in any order.
    ///
    /// # Errors
    /// The number of the first line that is neither.
    pub fn read_list(text: &str) -> Result<Vec<Self>, usize> {
        let read = |(index, line): (usize, &str)| {
            let record = || {
                let seq = serde_json::from_str::<segment::Link>(line).ok()?.seq;
                Some(Self { seq, hash: line_hash(line.as_bytes()) })
            };
            line.parse().ok().or_else(record).ok_or(index + 1)
        };
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(read).collect()
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Segments read.
    pub segments: usize,
    /// Records read.
    pub records: u64,
    /// Sequence number of the first record.
    pub first_seq: Option<u64>,
    /// Sequence number of the last record.
    pub last_seq: Option<u64>,
    /// Hash of the last record, hexadecimal: with `last_seq` an anchor for later.
    pub last_hash: Option<String>,
    /// Gaps the proxy itself wrote down, one sentence each.
    pub gaps: Vec<String>,
    /// What could not be checked, one sentence each.
    pub notes: Vec<String>,
    /// What is wrong; empty when the trail is intact.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, place: (&str, u64), seq: Option<u64>, fault: Fault, detail: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { segment: place.0.to_owned(), line: place.1, seq, fault, detail });
        }
    }
}

/// What is known of a trail from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Records that must still be there, unchanged, as far as they were not removed because of their age.
    pub anchors: Vec<Anchor>,
    /// Keys of which one has to have signed, or handed over to the key that has. None: the first in the trail is believed.
    pub keys: Vec<PublicKey>,
}

/// Reads the trail in `dir` and checks every link, every signature, and what is known of it from elsewhere.
///
/// # Errors
/// When the directory or a segment cannot be read.
pub fn verify(dir: &Path, known: Known) -> io::Result<Report> {
    let signatures = Signatures::trusting(known.keys);
    let mut walk = Walk { signatures, ..Walk::default() };
    for anchor in known.anchors {
        walk.anchors.entry(anchor.seq).or_default().insert(anchor.hash);
    }
    let numbers = segment::list(dir)?;
    let head = Head::read(dir);
    if numbers.is_empty() && head.is_none() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no audit trail in it"));
    }
    for (index, &number) in numbers.iter().enumerate() {
        if let Some(before) = index.checked_sub(1).map(|before| numbers[before])
            && number != before + 1
        {
            let missing = segment::name(before + 1);
            walk.report.find((&missing, 0), None, Fault::Dropped, "the segment is missing".to_owned());
        }
        walk.segment(dir, number)?;
    }
    walk.finish(head);
    Ok(walk.report)
}

#[derive(Deserialize)]
struct Line<'a> {
    seq: u64,
    prev: &'a str,
    #[serde(default)]
    kind: &'a str,
    #[serde(default)]
    reason: Option<String>,
}

/// The first record, when it is not the first that was written.
struct First {
    segment: String,
    seq: u64,
    prev: String,
}

/// Says which records were removed.
#[derive(Deserialize)]
struct Retired {
    last_seq: u64,
    last_hash: String,
}

/// The highest record so far.
#[derive(Clone, Debug)]
struct Last {
    head: Head,
    segment: String,
    line: u64,
    /// Already reported, so a hash that does not fit says nothing new.
    reported: bool,
}

#[derive(Default)]
struct Walk {
    report: Report,
    last: Option<Last>,
    first: Option<First>,
    retired: Vec<Retired>,
    missing: BTreeSet<u64>,
    /// Hashes known from elsewhere, by number; those that were seen go.
    anchors: BTreeMap<u64, BTreeSet<LineHash>>,
    anchors_seen: u64,
    signatures: Signatures,
    /// The last records and their hashes, to tell a repeated record from a forked one.
    recent: VecDeque<Head>,
}

impl Walk {
    fn segment(&mut self, dir: &Path, number: u32) -> io::Result<()> {
        let (name, mut reader) = segment::reader(dir, number)?;
        self.report.segments += 1;
        let (mut line, mut line_number) = (Vec::new(), 0);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            line_number += 1;
            let place = (name.as_str(), line_number);
            if line.pop() != Some(b'\n') {
                let seq = self.last.as_ref().map(|last| last.head.seq + 1);
                self.report.find(place, seq, Fault::Truncated, "the line is not complete".to_owned());
                return Ok(());
            }
            self.report.records += 1;
            self.line(place, &line);
        }
    }

    fn line(&mut self, place: (&str, u64), bytes: &[u8]) {
        let hash = line_hash(bytes);
        let Ok(line) = serde_json::from_slice::<Line<'_>>(bytes) else {
            let seq = self.last.as_ref().map_or(1, |last| last.head.seq + 1);
            self.report.find(place, Some(seq), Fault::Changed, "the line is not an audit record".to_owned());
            self.advance(place, Head { seq, hash }, true);
            return;
        };
        self.check_anchor(place, line.seq, hash);
        let gap = line.kind == "gap";
        if gap {
            let reason = line.reason.as_deref().unwrap_or("unknown");
            self.report.gaps.push(format!("{}:{} record {}: {reason}", place.0, place.1, line.seq));
        }
        let reported = match self.last.clone() {
            None => self.first_line(place, &line),
            Some(last) if line.seq <= last.head.seq => {
                return self.misplaced(place, Head { seq: line.seq, hash }, &last);
            }
            Some(last) => self.next_line(place, &line, &last),
        };
        if line.kind == "retired" {
            self.retired(bytes);
        }
        if line.kind == "checkpoint"
            && let Some((fault, detail)) = self.signatures.checkpoint(line.seq, bytes)
        {
            self.report.find(place, Some(line.seq), fault, detail);
        }
        self.advance(place, Head { seq: line.seq, hash }, reported);
    }

    fn first_line(&mut self, place: (&str, u64), line: &Line<'_>) -> bool {
        self.report.first_seq = Some(line.seq);
        self.signatures.begin(line.seq);
        if line.seq > 1 {
            self.first = Some(First { segment: place.0.to_owned(), seq: line.seq, prev: line.prev.to_owned() });
        } else if line.prev != hex::encode(NO_HASH) {
            self.report.find(place, Some(line.seq), Fault::Changed, "the first record names one before it".to_owned());
        }
        false
    }

    /// Takes note of records that were removed because of their age.
    fn retired(&mut self, bytes: &[u8]) {
        if let Ok(retired) = serde_json::from_slice::<Retired>(bytes) {
            self.retired.push(retired);
        }
    }

    /// Whether the trail itself says what became of the records before the first that is there.
    fn check_beginning(&mut self) {
        let Some(first) = self.first.take() else { return };
        let said = |retired: &Retired| retired.last_seq + 1 == first.seq && retired.last_hash == first.prev;
        if self.retired.iter().any(said) {
            let note = format!("records 1 to {} were removed because of their age", first.seq - 1);
            self.report.notes.push(note);
        } else {
            self.jump((&first.segment, 1), 1, first.seq);
        }
    }

    fn next_line(&mut self, place: (&str, u64), line: &Line<'_>, last: &Last) -> bool {
        let linked = line.prev == hex::encode(last.head.hash);
        if line.seq > last.head.seq + 1 {
            // The proxy jumps only with a record that says so and is linked to what is left.
            if !(line.kind == "gap" && linked) {
                self.jump(place, last.head.seq + 1, line.seq);
            }
        } else if !linked && !last.reported {
            let detail = "its hash is not the one the next record carries".to_owned();
            self.report.find((&last.segment, last.line), Some(last.head.seq), Fault::Changed, detail);
        }
        false
    }

    fn jump(&mut self, place: (&str, u64), from: u64, to: u64) {
        self.missing.extend(from..to.min(from.saturating_add(MISSING_MAX)));
        let detail = if to - from == 1 {
            format!("record {from} is missing before it")
        } else {
            format!("records {from} to {} are missing before it", to - 1)
        };
        self.report.find(place, Some(to), Fault::Dropped, detail);
    }

    fn misplaced(&mut self, place: (&str, u64), head: Head, last: &Last) {
        let seq = head.seq;
        if self.recent.iter().any(|before| before.seq == seq && before.hash != head.hash) {
            let detail = "another record with this number stands before it".to_owned();
            return self.report.find(place, Some(seq), Fault::Forked, detail);
        }
        let detail = if self.missing.remove(&seq) {
            // It is there after all: what was reported as dropped is one finding, not two.
            let jumped = |finding: &Finding| {
                finding.fault == Fault::Dropped && finding.detail == format!("record {seq} is missing before it")
            };
            self.report.findings.retain(|finding| !jumped(finding));
            format!("it stands behind record {}", last.head.seq)
        } else {
            format!("a record with this number stands before it; the last was {}", last.head.seq)
        };
        self.report.find(place, Some(seq), Fault::Reordered, detail);
    }

    fn check_anchor(&mut self, place: (&str, u64), seq: u64, hash: LineHash) {
        let Some(hashes) = self.anchors.remove(&seq) else { return };
        self.anchors_seen += 1;
        if !hashes.contains(&hash) {
            self.report.find(place, Some(seq), Fault::Changed, "its hash is not the anchor's".to_owned());
        } else if hashes.len() > 1 {
            let detail = "there are anchors of two records with this number".to_owned();
            self.report.find(place, Some(seq), Fault::Forked, detail);
        }
    }

    fn advance(&mut self, place: (&str, u64), head: Head, reported: bool) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(head);
        self.last = Some(Last { head, segment: place.0.to_owned(), line: place.1, reported });
    }

    fn finish(&mut self, head: Option<Head>) {
        self.check_beginning();
        let (place, seq, hash) = match &self.last {
            Some(last) => ((last.segment.clone(), last.line), last.head.seq, last.head.hash),
            None => ((segment::name(1), 0), 0, NO_HASH),
        };
        if self.last.is_some() {
            self.report.last_seq = Some(seq);
            self.report.last_hash = Some(hex::encode(hash));
        }
        let here = (place.0.as_str(), place.1);
        if let Some(detail) = self.signatures.finish(seq) {
            self.report.find(here, Some(seq), Fault::Unsigned, detail);
        }
        self.report.notes.append(&mut self.signatures.notes);
        match head {
            None => {
                self.report.notes.push("there is no head file; whether the end was cut off is not known".to_owned())
            }
            Some(head) if head.seq > seq => {
                let detail = format!("records {} to {} are missing at the end", seq + 1, head.seq);
                self.report.find(here, Some(seq), Fault::Truncated, detail);
            }
            Some(head) if head.seq == seq && head.hash != hash => {
                self.report.find(
                    here,
                    Some(seq),
                    Fault::Changed,
                    "its hash is not the one in the head file".to_owned(),
                );
            }
            Some(_) => {}
        }
        let removed = self.report.first_seq.map_or(0, |first| self.anchors.range(..first).count());
        if removed > 0 {
            self.report.notes.push(format!("{removed} anchors are of records that were removed"));
        }
        for missing in self.anchors.keys().skip(removed) {
            let detail = format!("the anchored record {missing} is not there");
            self.report.find(here, Some(*missing), Fault::Truncated, detail);
        }
        if self.anchors_seen > 0 {
            self.report.notes.push(format!("{} anchored records are there", self.anchors_seen));
        }
    }
}
