//! The files of a trail: `000001.jsonl.gz`, …, `000009.jsonl`, and `head`, the place and hash of the last line.
//!
//! Never repairs silently: what is torn off the end is kept beside the segment and becomes a `gap` record.
//! Invariant: after [`open`] the last segment ends with a line feed, or is empty.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use serde::Deserialize;

use super::{AuditError, LineHash, NO_HASH, Record, line_hash};

/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// The two fields every line begins with.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) prev: String,
}

/// When a record was made.
#[derive(Debug, Deserialize)]
pub(super) struct Time {
    pub(super) at: Timestamp,
}

/// Place and hash of the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: LineHash,
}

impl Head {
    /// Fixed width, so that it can be overwritten in place.
    pub(super) fn to_line(self) -> String {
        format!("{:020} {}\n", self.seq, hex::encode(self.hash))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (seq, hash) = text.trim_end().split_once(' ')?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some(Self { seq: seq.parse().ok()?, hash: bytes })
    }

    pub(super) fn read(dir: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(dir.join("head")).ok()?)
    }
}

/// Something missing or damaged at the end of the trail.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) reason: String,
    pub(super) segment: String,
    bytes: u64,
    sha256: String,
    kept_as: String,
}

impl Gap {
    /// Records that were accepted and not written.
    pub(super) fn of_lost(reason: &str, number: u32) -> Self {
        let (sha256, kept_as) = (String::new(), String::new());
        Self { reason: reason.to_owned(), segment: name(number), bytes: 0, sha256, kept_as }
    }

    pub(super) fn record(&self) -> Record<'_> {
        Record::Gap {
            reason: &self.reason,
            segment: &self.segment,
            bytes: self.bytes,
            sha256: &self.sha256,
            kept_as: &self.kept_as,
        }
    }
}

/// A trail ready to be appended to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: u32,
    pub(super) file: File,
    pub(super) size: u64,
    /// When its first record was made; `None` while it has none.
    pub(super) began: Option<Timestamp>,
    pub(super) head_file: File,
    pub(super) next_seq: u64,
    pub(super) last_hash: LineHash,
    pub(super) gaps: Vec<Gap>,
    pub(super) lock: File,
}

pub(super) fn name(number: u32) -> String {
    format!("{number:06}.jsonl")
}

pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(name(number))
}

/// Where the segment is once it is closed and compressed.
pub(super) fn packed_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:06}.jsonl.gz"))
}

/// Numbers of the segments in `dir`, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let file_name = entry?.file_name();
        let plain = file_name.to_str().map(|name| name.strip_suffix(".gz").unwrap_or(name));
        let number = plain.and_then(|name| name.strip_suffix(".jsonl")).and_then(|stem| stem.parse().ok());
        numbers.extend(number.filter(|number| plain == Some(name(*number).as_str())));
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// The lines of a segment, and the name of the file that holds them: the plain one while both are there, because only then
/// it is known to be whole.
pub(super) fn reader(dir: &Path, number: u32) -> io::Result<(String, Box<dyn BufRead + Send>)> {
    reader_from(dir, number, 0)
}

/// As [`reader`], behind the first `offset` bytes of text.
pub(super) fn reader_from(dir: &Path, number: u32, offset: u64) -> io::Result<(String, Box<dyn BufRead + Send>)> {
    match File::open(path(dir, number)) {
        Ok(mut file) => {
            file.seek(SeekFrom::Start(offset))?;
            Ok((name(number), Box::new(BufReader::with_capacity(READ_BYTES, file))))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = File::open(packed_path(dir, number))?;
            let mut lines = BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(file));
            io::copy(&mut (&mut lines).take(offset), &mut io::sink())?;
            Ok((format!("{}.gz", name(number)), Box::new(lines)))
        }
        Err(error) => Err(error),
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Locks the trail, checks its end and moves aside what is torn.
pub(super) fn open(dir: &Path) -> Result<Opened, AuditError> {
    let failed = |source| AuditError::Open { path: dir.to_owned(), source };
    fs::create_dir_all(dir).map_err(failed)?;
    let private = |name: &str| {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(name))
    };
    let lock = private("lock").map_err(failed)?;
    match crate::lock::lock(&lock) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(AuditError::InUse(dir.to_owned())),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let head_file = private("head").map_err(failed)?;
    open_locked(dir, head_file, lock).map_err(failed)
}

pub(super) fn open_locked(dir: &Path, head_file: File, lock: File) -> io::Result<Opened> {
    let segments = list(dir)?;
    let last = segments.last().copied();
    // A segment that is compressed already is closed.
    let closed = last.is_some_and(|last| packed_path(dir, last).exists() && !path(dir, last).exists());
    let number = last.map_or(1, |last| last + u32::from(closed));
    let before = segments.iter().copied().rfind(|before| *before < number);
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path(dir, number))?;
    let mut gaps = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    let mut end = read_end(BufReader::with_capacity(READ_BYTES, &mut file), &name(number), &mut gaps)?;
    gaps.extend(cut_torn(dir, &mut file, number, &end)?);
    // A crash right after a rotation leaves an empty segment: the chain goes on from the one before.
    if end.last.is_none()
        && let Some(before) = before
    {
        let (name, lines) = reader(dir, before)?;
        end.last = read_end(lines, &name, &mut gaps)?.last;
    }
    let head = Head::read(dir);
    let last = end.last.unwrap_or(Head { seq: 0, hash: NO_HASH });
    // Numbers that were given out before are not given out again: what is missing stays missing.
    let highest = head.map_or(last.seq, |head| head.seq.max(last.seq));
    if highest > last.seq {
        gaps.push(Gap {
            reason: format!("records {} to {highest} are missing at the end", last.seq + 1),
            segment: name(number),
            bytes: 0,
            sha256: String::new(),
            kept_as: String::new(),
        });
    }
    sync_dir(dir)?;
    let size = file.metadata()?.len();
    Ok(Opened {
        number,
        file,
        size,
        began: end.began,
        head_file,
        next_seq: highest + 1,
        last_hash: last.hash,
        gaps,
        lock,
    })
}

struct End {
    last: Option<Head>,
    /// Time of the first line that has one.
    began: Option<Timestamp>,
    /// Where the last complete line ends.
    complete: u64,
}

/// Reads a segment through, checking the chain inside it.
fn read_end(mut reader: impl BufRead, segment: &str, gaps: &mut Vec<Gap>) -> io::Result<End> {
    let mut end = End { last: None, began: None, complete: 0 };
    let (mut line, mut number, mut damaged) = (Vec::new(), 0_u64, false);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Ok(end);
        }
        line.pop();
        number += 1;
        let hash = line_hash(&line);
        let link = serde_json::from_slice::<Link>(&line).ok();
        let sound = link
            .as_ref()
            .is_some_and(|link| end.last.is_none_or(|last| link.seq > last.seq && link.prev == hex::encode(last.hash)));
        if !sound && !damaged {
            damaged = true;
            gaps.push(Gap {
                reason: format!("the chain is broken at line {number}"),
                segment: segment.to_owned(),
                bytes: 0,
                sha256: String::new(),
                kept_as: String::new(),
            });
        }
        let before = end.last.map_or(0, |last| last.seq);
        end.last = Some(Head { seq: link.map_or(before + 1, |link| link.seq.max(before)), hash });
        end.began = end.began.or_else(|| serde_json::from_slice::<Time>(&line).ok().map(|time| time.at));
        end.complete += read;
    }
}

/// Moves what stands behind the last complete line into a file of its own.
fn cut_torn(dir: &Path, file: &mut File, number: u32, end: &End) -> io::Result<Option<Gap>> {
    let mut torn = Vec::new();
    file.seek(SeekFrom::Start(end.complete))?;
    file.read_to_end(&mut torn)?;
    if torn.is_empty() {
        return Ok(None);
    }
    let sha256 = hex::encode(line_hash(&torn));
    let kept_as = format!("{number:06}.torn-{}", &sha256[..16]);
    let mut aside = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join(&kept_as))?;
    io::Write::write_all(&mut aside, &torn)?;
    aside.sync_all()?;
    file.set_len(end.complete)?;
    file.sync_all()?;
    Ok(Some(Gap {
        reason: "the last line was not complete".to_owned(),
        segment: name(number),
        bytes: torn.len() as u64,
        sha256,
        kept_as,
    }))
}
