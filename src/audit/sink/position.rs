//! How far a sink is in the files of a trail, kept in `sink-NAME` beside them.
//!
//! Never reads past what is on stable storage. Invariant: what is kept lies between two records.

use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::Line;
use crate::audit::segment;

/// What was read at once.
pub(in crate::audit) struct Read {
    pub(in crate::audit) lines: Vec<Line>,
    /// How many records before them are not in the files any more.
    pub(in crate::audit) lost: u64,
}

/// A place in the trail, and what is read from it.
pub(in crate::audit) struct Tail {
    dir: PathBuf,
    file: PathBuf,
    number: u32,
    offset: u64,
    next_seq: u64,
    /// Whether segments have gone since the last line.
    has_jumped: bool,
    open: Option<Box<dyn BufRead + Send>>,
}

impl Tail {
    /// Where the sink of that name was; of a new one, the beginning of the segment that is written to.
    pub(in crate::audit) fn resume(dir: &Path, name: &str) -> Self {
        let file = dir.join(format!("sink-{name}"));
        let kept = fs::read_to_string(&file).ok().and_then(|text| parse(&text));
        let current = || segment::list(dir).ok().and_then(|numbers| numbers.last().copied()).unwrap_or(1);
        let (number, offset, next_seq) = kept.unwrap_or_else(|| (current(), 0, 0));
        Self { dir: dir.to_owned(), file, number, offset, next_seq, has_jumped: false, open: None }
    }

    /// Number of the record that comes next; 0 before the first was read.
    pub(in crate::audit) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Notes how far it is.
    pub(in crate::audit) fn keep(&self) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        io::Write::write_all(&mut file, format!("{} {} {}\n", self.number, self.offset, self.next_seq).as_bytes())?;
        file.persist(&self.file)?;
        Ok(())
    }

    /// The records from here up to that number, but not many more than so many or so many bytes.
    pub(in crate::audit) fn read(&mut self, up_to: u64, records: usize, bytes: usize) -> io::Result<Read> {
        let mut read = Read { lines: Vec::new(), lost: 0 };
        let mut size = 0;
        while self.next_seq <= up_to && read.lines.len() < records && size < bytes {
            let Some(text) = self.line()? else {
                if !self.next_segment()? {
                    break;
                }
                continue;
            };
            size += text.len();
            // Damage is for `verify` to find; nobody is helped by a sink that stops at it.
            let Some(line) = Line::read(text) else { continue };
            if std::mem::take(&mut self.has_jumped) && self.next_seq > 0 {
                read.lost = line.seq.saturating_sub(self.next_seq);
            }
            self.next_seq = line.seq.saturating_add(1);
            read.lines.push(line);
        }
        Ok(read)
    }

    /// The next line of this segment; `None` at its end, or when it is gone.
    fn line(&mut self) -> io::Result<Option<String>> {
        let reader = match &mut self.open {
            Some(reader) => reader,
            closed @ None => match segment::reader_from(&self.dir, self.number, self.offset) {
                Ok((_, reader)) => closed.insert(reader),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.has_jumped = true;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            },
        };
        let mut line = Vec::new();
        let length = reader.read_until(b'\n', &mut line)? as u64;
        if line.pop() != Some(b'\n') {
            // Where it ended may be in the middle of a line, and a plain file may have become a compressed one.
            self.open = None;
            return Ok(None);
        }
        self.offset += length;
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }

    /// Goes on to the next segment there is; whether there is one.
    fn next_segment(&mut self) -> io::Result<bool> {
        let Some(next) = segment::list(&self.dir)?.into_iter().find(|number| *number > self.number) else {
            return Ok(false);
        };
        self.has_jumped |= next > self.number + 1;
        (self.number, self.offset, self.open) = (next, 0, None);
        Ok(true)
    }
}

fn parse(text: &str) -> Option<(u32, u64, u64)> {
    let mut words = text.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}
