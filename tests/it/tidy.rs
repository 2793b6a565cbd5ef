//! House rules that no other tool checks: sizes, walls between packages, words that must not stay, links to documents.
//!
//! Never changes a file. Invariant: every finding is reported at once, with its file and line.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file: above the first it must say why, above the second it is split.
const LINES_UNEXPLAINED_MAX: usize = 500;
const LINES_MAX: usize = 800;
/// What a file says in its first lines when it is long for a reason.
const EXPLANATION: &str = "This file is long because";
/// ARCHITECTURE.md is read in one sitting.
const ARCHITECTURE_LINES_MAX: usize = 300;

struct File {
    /// Path from the root of the repository, with `/`.
    path: String,
    text: String,
}

/// All text files of the repository that are ours, in order of their paths.
fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("directory of the repository").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if ["target", ".git", "corpus"].iter().any(|skipped| name == *skipped) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(path);
            } else if let Some(file) = read(root, path) {
                found.push(file);
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(found.len() > 20, "the repository was not found");
    found
}

fn read(root: &Path, path: PathBuf) -> Option<File> {
    let known = ["rs", "md", "toml", "sql", "sh", "json", "html", "css"];
    let by_extension = path.extension().is_some_and(|extension| known.iter().any(|known| extension == *known));
    let script =
        path.parent().is_some_and(|parent| parent.file_name().is_some_and(|name| name == "scripts" || name == ".ci"));
    if !by_extension && !script {
        return None;
    }
    let relative = path.strip_prefix(root).ok()?.to_str()?.replace('\\', "/");
    Some(File { path: relative, text: fs::read_to_string(&path).ok()? })
}

/// Reports all findings of one rule.
#[track_caller]
fn check(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// `path:line` of each line that one of the words stands in.
fn lines_with(files: &[File], concerned: impl Fn(&str) -> bool, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| concerned(&file.path)) {
        for (number, line) in file.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                findings.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    findings
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

#[test]
fn source_files_are_short_or_say_why_not() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| is_rust(&file.path)) {
        let lines = file.text.lines().count();
        let explained = file.text.lines().take(20).any(|line| line.contains(EXPLANATION));
        if lines > LINES_MAX || (lines > LINES_UNEXPLAINED_MAX && !explained) {
            findings.push(format!("{}: {lines} lines", file.path));
        }
    }
    check("split the file, or explain it in its head", &findings);
}

#[test]
fn modules_open_with_their_documentation_and_none_is_called_mod() {
    let files = files();
    let is_unit_test = |path: &str| path.ends_with("/tests.rs");
    let bare = |file: &&File| is_rust(&file.path) && !is_unit_test(&file.path) && !file.text.starts_with("//!");
    let findings: Vec<_> = files.iter().filter(bare).map(|file| file.path.clone()).collect();
    check("say what the module is for", &findings);
    let named = |file: &&File| file.path.ends_with("/mod.rs");
    let findings: Vec<_> = files.iter().filter(named).map(|file| file.path.clone()).collect();
    check("foo.rs and foo/, not foo/mod.rs", &findings);
}

#[test]
fn nothing_unfinished_or_silenced_stays() {
    // Put together here, so that this file does not find itself.
    let words = ["[al|low(", "to|do!(", "db|g!(", "unimple|mented!(", "TO|DO", "FIX|ME", "#[ign|ore"]
        .map(|word| word.replace('|', ""));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    check("finish it; use expect with a reason", &lines_with(&files(), is_rust, &words));
}

#[test]
fn lines_have_no_white_space_at_their_end_and_files_end_with_a_newline() {
    let mut findings = Vec::new();
    for file in files() {
        for (number, line) in file.text.split('\n').enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                findings.push(format!("{}:{}", file.path, number + 1));
            }
        }
        if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
            findings.push(format!("{}: end of file", file.path));
        }
    }
    check("white space", &findings);
}

#[test]
fn packages_keep_to_their_side_of_the_wall() {
    let files = files();
    let protocol = |path: &str| is_rust(path) && path.starts_with("protocol/src/");
    let policy = |path: &str| is_rust(path) && path.starts_with("policy/src/");
    let program = |path: &str| is_rust(path) && path.starts_with("src/");
    let either = |path: &str| protocol(path) || policy(path);
    let outside =
        ["Instant::now", "SystemTime", "std::fs", "TcpStream", "UdpSocket", "std::thread", "tokio::", "rand::"];
    check("no clock, chance or IO in protocol and policy", &lines_with(&files, either, &outside));
    let sql = ["sqlparser::", "pg_query::", "countersign_policy"];
    check("no SQL in protocol", &lines_with(&files, protocol, &sql));
    check(
        "no wire in policy",
        &lines_with(&files, policy, &["pgwire::", "postgres_protocol::", "countersign_protocol"]),
    );
    // A literal that is looked into elsewhere would not be noticed, and analyses shared that must not be.
    let walker = |path: &str| policy(path) && path.contains("/analysis/") && !path.ends_with("/analysis/constant.rs");
    let contents = ["a_const", "Val::Sval", "Val::Ival", "Val::Fval", "Val::Bsval"];
    check("only constant.rs opens literals", &lines_with(&files, walker, &contents));
    check("the program does not parse", &lines_with(&files, program, &["sqlparser::", "pg_query::"]));
    let but_console = |path: &str| program(path) && !path.starts_with("src/console/");
    check("only the console has pgwire's server", &lines_with(&files, but_console, &["pgwire::"]));
}

#[test]
fn tests_wait_for_events_not_for_time() {
    let is_test = |path: &str| is_rust(path) && path.starts_with("tests/");
    let word = ["sle", "ep("].concat();
    check("wait for what you expect", &lines_with(&files(), is_test, &[&word]));
}

/// That pages can be found is checked in `documents::links`.
#[test]
fn the_map_is_read_in_one_sitting() {
    let files = files();
    let map = files.iter().find(|file| file.path == "ARCHITECTURE.md").expect("the map");
    let lines = map.text.lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}

/// Every SQLSTATE that the proxy can raise has its row on the page of errors.
#[test]
fn every_sqlstate_is_documented() {
    let files = files();
    let page = files.iter().find(|file| file.path == "docs/errors.md").expect("the page of errors");
    let raised = |path: &str| {
        is_rust(path)
            && !path.contains("tests")
            && (path == "protocol/src/sqlstate.rs"
                || path.starts_with("src/session")
                || path.starts_with("src/upstream"))
    };
    let mut missing = Vec::new();
    for file in files.iter().filter(|file| raised(&file.path)) {
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for quoted in code.split('"').skip(1).step_by(2) {
            let looks_like_one = quoted.len() == 5
                && quoted.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
                && quoted.bytes().any(|byte| byte.is_ascii_digit());
            if looks_like_one && !page.text.contains(quoted) {
                missing.push(format!("{}: {quoted}", file.path));
            }
        }
    }
    check("document it in docs/errors.md", &missing);
}
