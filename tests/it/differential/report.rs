//! Counts: how many texts were equal, conceded, wrong.
//!
//! Never judges. Invariant: every text is counted once.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;

use super::read_only::Read;

/// What became of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// PostgreSQL did nothing that the analysis does not carry.
    Equal,
    /// The analysis says that it does not understand, and why.
    Conceded(String),
    /// PostgreSQL refused the text.
    Refused,
    /// It was not run.
    Skipped,
    /// PostgreSQL did something that the analysis does not carry.
    Wrong(Vec<String>),
}

/// The counts of one corpus.
#[derive(Debug, Default)]
pub struct Report {
    pub name: String,
    pub equal: usize,
    pub refused: usize,
    pub skipped: usize,
    pub conceded: BTreeMap<String, usize>,
    /// What was wrong, with the text.
    pub wrong: Vec<String>,
    /// Texts of which the analysis carries what PostgreSQL shows that it cannot do.
    pub too_much: usize,
    /// Texts that only read, and what of them a policy for reading stops.
    pub reads: usize,
    pub stopped: Vec<String>,
    /// Gets what is to be looked at: wrong, conceded and too much, with the text.
    findings: Option<File>,
}

impl Report {
    /// Counts from nought; findings are appended to the file of that name.
    pub fn new(name: &str, findings: Option<&str>) -> Self {
        let open = |path| OpenOptions::new().create(true).append(true).open(path).expect("findings");
        Self { name: name.to_owned(), findings: findings.map(open), ..Self::default() }
    }

    fn find(&mut self, finding: &str) {
        if let Some(file) = &mut self.findings {
            writeln!(file, "=== {}: {finding}", self.name).expect("findings");
        }
    }

    /// Counts one text.
    pub fn count(&mut self, text: &str, verdict: Verdict, too_much: Option<String>) {
        if let Some(what) = too_much {
            self.too_much += 1;
            self.find(&format!("too much: {what}\n{text}"));
        }
        match verdict {
            Verdict::Equal => self.equal += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Skipped => self.skipped += 1,
            Verdict::Conceded(why) => {
                self.find(&format!("conceded: {why}\n{text}"));
                *self.conceded.entry(class(&why)).or_default() += 1;
            }
            Verdict::Wrong(what) => {
                let finding = format!("WRONG: {}\n{text}", what.join("; "));
                self.find(&finding);
                self.wrong.push(finding);
            }
        }
    }

    /// Counts a text that only reads.
    pub fn count_read(&mut self, text: &str, read: Read) {
        self.reads += 1;
        if let Read::Stopped(what) = read {
            let finding = format!("stopped: {what}\n{text}");
            self.find(&finding);
            self.stopped.push(finding);
        }
    }

    pub fn conceded(&self) -> usize {
        self.conceded.values().sum()
    }

    /// Texts that PostgreSQL ran.
    pub fn ran(&self) -> usize {
        self.equal + self.conceded() + self.wrong.len()
    }

    /// Conceded texts in a hundred of those that PostgreSQL ran.
    pub fn conceded_percent(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of texts are far below 2^52")]
        let share = |part: usize, whole: usize| 100.0 * part as f64 / (whole.max(1)) as f64;
        share(self.conceded(), self.ran())
    }
}

/// The reason without names.
fn class(why: &str) -> String {
    let mut words = why.split('"');
    let mut class = words.next().unwrap_or_default().to_owned();
    while words.next().is_some() {
        class.push('…');
        class.push_str(words.next().unwrap_or_default());
    }
    class
}

/// One row of the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {} | {} | {} ({:.2} %) | {} | {} | {} |",
            self.name,
            self.ran() + self.refused + self.skipped,
            self.ran(),
            self.equal,
            self.conceded(),
            self.conceded_percent(),
            self.wrong.len(),
            self.too_much,
            self.refused
        )
    }
}
