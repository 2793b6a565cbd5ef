//! What is wrong with a configuration, and where.
//!
//! Never stops at the first: everything found in one file is reported at once, by line. Invariant: no message repeats a
//! value that may be a secret.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub path: PathBuf,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The key it is about, empty when none is.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// Everything wrong with one configuration, by line; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<Problem>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}

/// Collects problems and warnings while a file is read.
pub(super) struct Report<'a> {
    path: &'a Path,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl<'a> Report<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: RefCell::default(), warnings: RefCell::default() }
    }

    /// Adds a problem at a place of the text.
    pub(super) fn problem(&self, at: &Range<usize>, key: &str, message: impl Into<String>, hint: Option<String>) {
        let (line, column) = self.place(at.start);
        let problem =
            Problem { path: self.path.to_owned(), line, column, key: key.to_owned(), message: message.into(), hint };
        self.problems.borrow_mut().push(problem);
    }

    /// Adds a sentence about what weakens protection, or has no effect yet.
    pub(super) fn warn(&self, sentence: impl Into<String>) {
        self.warnings.borrow_mut().push(sentence.into());
    }

    /// The warnings, or the problems if there are any.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigProblems> {
        let mut problems = self.problems.into_inner();
        if problems.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(ConfigProblems(problems))
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// The nearest of the valid words, when one is near.
pub(crate) fn nearest<'w>(word: &str, valid: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let scored = valid.into_iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score >= 0.75).map(|(_, candidate)| candidate)
}

/// `did you mean "…"?` for it.
pub(super) fn did_you_mean<'w>(word: &str, valid: impl IntoIterator<Item = &'w str>) -> Option<String> {
    nearest(word, valid).map(|candidate| format!("did you mean \"{candidate}\"?"))
}
