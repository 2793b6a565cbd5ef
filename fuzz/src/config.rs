//! The text of `countersign.toml`.
//!
//! Checked: a text is a configuration or a list of problems, each of them at a place in the text; reading it again says
//! the same.

use std::path::Path;

use countersign::config::{Config, ConfigProblems};

/// See the module documentation.
///
/// # Panics
/// A promise is broken.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What stands in files and in the environment is not the text's.
    if text.contains("file") || text.contains("env") {
        return;
    }
    let read = || Config::parse(Path::new("countersign.toml"), text);
    match (read(), read()) {
        (Ok(one), Ok(two)) => assert_eq!(one.warnings, two.warnings),
        (Err(one), Err(two)) => {
            assert_eq!(one.to_string(), two.to_string());
            has_places(&one, text);
        }
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("a text is valid or not"),
    }
}

fn has_places(problems: &ConfigProblems, text: &str) {
    assert!(!problems.0.is_empty(), "a reason");
    for problem in &problems.0 {
        assert!(!problem.message.is_empty());
        assert!(problem.line >= 1 && problem.line <= text.split('\n').count(), "line {}", problem.line);
    }
}
