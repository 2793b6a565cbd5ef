//! What the documentation says is so: configurations are valid, transcripts are what commands print, messages exist.
//!
//! Never repeats a document: what is tested is read from its page.

mod architecture;
mod cookbook;
mod links;
mod names;
mod schema;
mod transcripts;

use std::path::{Path, PathBuf};

/// A path of the repository.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A document, by its path in the repository.
#[track_caller]
fn page(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Markdown page for users: README.md and those below docs, but for decisions, which stay as they were.
fn pages() -> Vec<(String, String)> {
    let mut found = vec![("README.md".to_owned(), page("README.md"))];
    for entry in std::fs::read_dir(in_repository("docs")).expect("docs").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            found.push((format!("docs/{name}"), page(&format!("docs/{name}"))));
        }
    }
    found.sort();
    found
}

/// What stands in the fenced blocks of that language, each with the line that it begins on.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info == language, number + 1, String::new())),
            (Some(_), Some(_)) => found.extend(open.take().filter(|block| block.0).map(|block| (block.1, block.2))),
            (Some((_, _, block)), None) => *block += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    found
}
