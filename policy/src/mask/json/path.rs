//! Paths into a JSON document, in the notation of PostgreSQL's `jsonpath`.
//!
//! Never reads a document. Invariant: a path is read completely or refused with the place that is wrong.
//! Source: PostgreSQL manual, "The SQL/JSON Path Language"; lax mode.

use thiserror::Error;

/// Most steps of one path.
const STEPS_MAX: usize = 32;

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `.name`, `."any name"`: the members of that name; of an array, those of its elements.
    Key(Box<str>),
    /// `.*`: every member.
    AnyKey,
    /// `[*]`: every element; what is no array is its own element.
    Elements,
    /// `.**`: the value, and everything in it at any depth.
    Deep,
}

/// Where in a JSON document a mask applies: `$.cards[*].number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    steps: Box<[Step]>,
}

/// The text is no path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadPath(String);

impl JsonPath {
    /// Reads `$`, followed by steps: `.name`, `."any name"`, `.*`, `.**`, `[*]`.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn new(text: &str) -> Result<Self, BadPath> {
        let Some(mut rest) = text.strip_prefix('$') else {
            return Err(BadPath("a path begins with $".to_owned()));
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step = step(rest).ok_or_else(|| BadPath(format!("there is no step at \"{rest}\"")))?;
            steps.push(step.0);
            rest = step.1;
        }
        if steps.len() > STEPS_MAX {
            return Err(BadPath(format!("a path has at most {STEPS_MAX} steps")));
        }
        Ok(Self { steps: steps.into() })
    }

    /// The step at that place, from 0; `None` behind the last.
    pub(super) fn step(&self, place: usize) -> Option<&Step> {
        self.steps.get(place)
    }
}

/// The first step and what is behind it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix("[*]") {
        return Some((Step::Elements, rest));
    }
    let member = text.strip_prefix('.')?;
    if let Some(rest) = member.strip_prefix("**") {
        return Some((Step::Deep, rest));
    }
    if let Some(rest) = member.strip_prefix('*') {
        return Some((Step::AnyKey, rest));
    }
    if let Some(quoted) = member.strip_prefix('"') {
        return quoted_name(quoted);
    }
    let length = member.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(member.len());
    let (name, rest) = member.split_at_checked(length)?;
    (!name.is_empty()).then(|| (Step::Key(name.into()), rest))
}

/// A name up to its closing quote; a backslash makes the next character part of it.
fn quoted_name(text: &str) -> Option<(Step, &str)> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((Step::Key(name.into()), text.get(at.checked_add(1)?..)?)),
            (_, '\\') => name.push(letters.next()?.1),
            (_, other) => name.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Step]) {
        assert_eq!(JsonPath::new(text).map(|path| path.steps.to_vec()), Ok(expected.to_vec()), "{text}");
    }

    #[test]
    fn paths_are_read_as_postgresql_writes_them() {
        let key = |name: &str| Step::Key(name.into());
        check("$", &[]);
        check("$.a.b_1", &[key("a"), key("b_1")]);
        check("$[*].cards[*].number", &[Step::Elements, key("cards"), Step::Elements, key("number")]);
        check("$.*.x", &[Step::AnyKey, key("x")]);
        check("$.**.ssn", &[Step::Deep, key("ssn")]);
        check("$.\"e mail\".\"a\\\"b\\\\\"", &[key("e mail"), key("a\"b\\")]);
        check("$.größe", &[key("größe")]);
    }

    #[test]
    fn what_is_no_path_says_where() {
        for (text, told) in [
            ("a.b", "a path begins with $"),
            ("", "a path begins with $"),
            ("$.a.", "there is no step at \".\""),
            ("$a", "there is no step at \"a\""),
            ("$.a[0]", "there is no step at \"[0]\""),
            ("$.a ? (@ > 1)", "there is no step at \" ? (@ > 1)\""),
            ("$.\"a", "there is no step at \".\"a\""),
        ] {
            assert_eq!(JsonPath::new(text), Err(BadPath(told.to_owned())), "{text}");
        }
        assert!(JsonPath::new(&format!("${}", ".a".repeat(33))).is_err());
    }
}
