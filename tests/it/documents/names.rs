//! Names that documents repeat: tests, metrics, messages. Each is that of something.

use std::collections::BTreeSet;
use std::path::PathBuf;

use regex::Regex;

use super::{in_repository, page};

/// Where a test may be: `proxy::mask::cells` in `tests/it/proxy/mask.rs` as `cells`, and in each of our packages likewise.
fn places(test: &str) -> Vec<(PathBuf, Vec<&str>)> {
    let parts: Vec<&str> = test.split("::").collect();
    let mut found = Vec::new();
    for root in ["tests/it", "src", "policy/src", "protocol/src"] {
        for kept in 1..parts.len() {
            let path = in_repository(&format!("{root}/{}.rs", parts[..kept].join("/")));
            found.extend(path.exists().then(|| (path, parts[kept..].to_vec())));
        }
    }
    found
}

/// Whether there is such a test.
fn is_test(test: &str) -> bool {
    places(test).into_iter().any(|(path, mut left)| {
        let text = std::fs::read_to_string(path).expect("a module");
        if left.first() == Some(&"tests") && text.contains("mod tests {") {
            left.remove(0);
        }
        let [name] = left.as_slice() else { return false };
        let attributed = format!(r"#\[(?:tokio::)?test(?:\([^)]*\))?\]\s*(?:async\s+)?fn\s+{name}\b");
        Regex::new(&attributed).expect("a pattern").is_match(&text)
    })
}

/// What stands in backticks in the column of that title, of every table of the page.
fn column(text: &str, title: &str) -> Vec<String> {
    let names = Regex::new("`([^`]+)`").expect("a pattern");
    let (mut found, mut at) = (Vec::new(), None);
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        if !line.starts_with('|') {
            at = None;
        } else if let Some(place) = cells.iter().position(|cell| *cell == title) {
            at = Some(place);
        } else if let Some(cell) = at.and_then(|at| cells.get(at)) {
            found.extend(names.captures_iter(cell).map(|name| name[1].to_owned()));
        }
    }
    found
}

#[track_caller]
fn check_tests(path: &str, least: usize) {
    let named = column(&page(path), "test");
    let missing: Vec<_> = named.iter().filter(|test| !is_test(test)).collect();
    assert!(missing.is_empty(), "{path} names tests that are not there: {missing:#?}");
    assert!(named.len() >= least, "{path}: only {} tests", named.len());
}

#[test]
fn tests_that_documents_name_are_there() {
    check_tests("docs/masking.md", 30);
    check_tests("docs/threat-model.md", 40);
    assert!(is_test("documents::names::tests_that_documents_name_are_there"));
    for nothing in
        ["documents::names::is_test", "documents::names", "documents::nothing", "nothing", "mask::json::tests"]
    {
        assert!(!is_test(nothing), "{nothing}");
    }
}

#[test]
fn claims_of_the_readme_lead_to_their_tests() {
    let text = page("README.md");
    let link = Regex::new(r"\[`(\w+)`\]\(((?:tests|src|policy|protocol)/[^)]+\.rs)\)").expect("a pattern");
    let mut count = 0;
    for found in link.captures_iter(&text) {
        let source = page(&found[2]);
        let test = Regex::new(&format!(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:async\s+)?fn\s+{}\b", &found[1]))
            .expect("a pattern");
        assert!(test.is_match(&source), "{} has no test {}", &found[2], &found[1]);
        count += 1;
    }
    assert!(count >= 8, "only {count} claims lead to a test");
}

/// Source without the line breaks of long texts.
fn source() -> String {
    let mut waiting = vec![in_repository("src"), in_repository("protocol/src"), in_repository("policy/src")];
    let mut text = String::new();
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).expect("sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &std::fs::read_to_string(path).expect("a source");
            }
        }
    }
    Regex::new(r"\\\n\s*").expect("a pattern").replace_all(&text, "").into_owned()
}

#[test]
fn messages_of_the_questions_are_those_of_the_program() {
    let (text, source) = (page("docs/faq.md"), source());
    let marker = Regex::new("<!-- message: (.+?) -->").expect("a pattern");
    let mut count = 0;
    for found in marker.captures_iter(&text) {
        let message = &found[1];
        assert!(source.contains(message), "the program never says: {message}");
        assert!(text.replace(&found[0], "").contains(message), "the page does not quote: {message}");
        count += 1;
    }
    assert!(count >= 25, "only {count} messages");
}

#[test]
fn messages_of_the_page_of_errors_are_those_of_the_program() {
    let source = source().replace("\\\"", "\"");
    let rest = r#"NAME|VALUE|…|\bID\b|bob|\(?dba-team\)?|security-team|EXECUTED|30 minutes|\b\d+\b|"x"|0x|\$2"#;
    let rest = Regex::new(rest).expect("a pattern");
    let text = page("docs/errors.md");
    let (mut missing, mut count) = (Vec::new(), 0);
    for message in column(&text, "message") {
        for piece in rest.split(&message).map(|piece| piece.trim_matches([' ', '"'])).filter(|piece| piece.len() > 8) {
            count += 1;
            if !source.contains(piece) {
                missing.push(format!("{message}: {piece}"));
            }
        }
    }
    assert!(missing.is_empty(), "the program never says: {missing:#?}");
    assert!(count > 60, "only {count} messages");
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let rules = page("docs/alerts.yml");
    let metrics: BTreeSet<String> = column(&page("docs/metrics.md"), "name").into_iter().collect();
    let name = Regex::new(r"countersign_[a-z_]+").expect("a pattern");
    let expressions: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    for used in expressions.iter().flat_map(|expression| name.find_iter(expression)) {
        assert!(metrics.contains(used.as_str()), "there is no metric {}", used.as_str());
    }
    let runbook = page("docs/runbook.md");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), expressions.len());
    for alert in &alerts {
        assert!(runbook.contains(&format!("`{alert}`")), "docs/runbook.md says nothing of {alert}");
    }
    assert!(alerts.len() >= 8);
}
