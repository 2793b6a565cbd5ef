//! Statements that real clients and PostgreSQL's own tests have sent, in the order in which they sent them.
//!
//! Never changes a statement. Invariant: every line of a file is one text, and texts that share a database stay together.

use std::path::{Path, PathBuf};

/// What a corpus is, which decides how much of it may be conceded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everyday traffic of tools, drivers and ORMs.
    Traffic,
    /// PostgreSQL's regression tests: every corner of the language.
    Regression,
    /// Made by hand to be hard.
    Adversarial,
}

/// Files of the regression tests that make what the others use, in the order in which they are run.
const BASE: &[&str] = &[
    "test_setup.sql",
    "create_function_c.sql",
    "create_misc.sql",
    "create_operator.sql",
    "create_procedure.sql",
    "create_type.sql",
    "create_index.sql",
    "create_view.sql",
];

/// Extensions that more than one file of the contrib tests uses.
pub const EXTENSIONS: &[&str] =
    &["btree_gin", "btree_gist", "pg_trgm", "pgcrypto", "hstore", "citext", "ltree", "cube"];

/// Texts that run one after the other in one session.
pub struct Scene {
    /// Where they come from.
    pub name: String,
    /// Whether the scenes behind it are played in a copy of what it leaves.
    pub is_base: bool,
    pub texts: Vec<String>,
}

/// One file.
pub struct Corpus {
    pub name: String,
    pub kind: Kind,
    pub scenes: Vec<Scene>,
}

impl Corpus {
    /// Reads JSON lines with `sql` and `src`.
    pub fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&name, &text)
    }

    /// As [`Self::read`], of a file's content.
    pub fn parse(name: &str, text: &str) -> Self {
        let kind = match name.split('_').next() {
            Some("a" | "regression") => Kind::Regression,
            Some("z" | "adversarial") => Kind::Adversarial,
            _ => Kind::Traffic,
        };
        let mut scenes: Vec<Scene> = Vec::new();
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            let field = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            // Tools share one database; each file of the regression tests has its own.
            let source = if kind == Kind::Regression { field("src") } else { name.to_owned() };
            match scenes.last_mut().filter(|scene| scene.name == source) {
                Some(scene) => scene.texts.push(field("sql")),
                None => {
                    scenes.push(Scene { is_base: base(&source).is_some(), name: source, texts: vec![field("sql")] })
                }
            }
        }
        scenes.sort_by_key(|scene| base(&scene.name).unwrap_or(BASE.len()));
        Self { name: name.to_owned(), kind, scenes }
    }
}

fn base(source: &str) -> Option<usize> {
    BASE.iter().position(|name| source.rsplit('/').next() == Some(*name))
}

/// Fills a table that the regression tests load from a file that is not there.
pub fn rows_for(text: &str) -> Option<String> {
    let line = text.lines().last()?;
    let table = line.strip_prefix("COPY ")?.strip_suffix(" FROM :'filename'")?;
    let filled = match table {
        "onek" | "tenk1" => {
            "i, (i * 7) % 200, i % 2, i % 4, i % 10, i % 20, i % 100, i, i, i, i, i % 100, i % 100,
             i || 'AAAA', i || 'BBBB', 'AAAAxx'"
        }
        "person" => "'p' || i, i, point(i, i)",
        "emp" => "'e' || i, i, point(i, i), i * 100, 'p1'",
        "student" => "'s' || i, i, point(i, i), 3.5",
        "stud_emp" => "'x' || i, i, point(i, i), i * 100, 'p1', 3.5, 50",
        "road" => "'I- ' || i, path '((0,0),(1,1))'",
        _ => return None,
    };
    Some(format!("INSERT INTO {table} SELECT {filled} FROM generate_series(0, 199) AS i"))
}

/// All files of a directory, in order of their names.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    found.sort();
    found
}
