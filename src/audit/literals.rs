//! How much of a statement a record keeps: all of it, or its shape without the values in it.
//!
//! Never lets a value through that it cannot tell from the rest: a text that PostgreSQL's scanner does not read is left out
//! whole. Invariant: with anything but [`Literals::Full`] no string, number, comment or parameter value of a statement is in
//! what [`LiteralsKey::told`] returns, and the digest is of exactly the text and the values that were given.

use std::borrow::Cow;
use std::fmt;

use countersign_policy::highlight::{Word, words};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::review::Parameter;

/// What stands in the place of a value that is left out.
const LEFT_OUT: &str = "?";
/// Bytes of a value's hash that are kept: enough that two values do not share one by accident.
const HASH_BYTES: usize = 12;
/// Longest value that the verdict on a statement keeps, in bytes; the intent of a held one keeps all.
const VALUE_BYTES_MAX: usize = 4096;

/// What is kept of the literals and parameters of statements on a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Literals {
    /// All of them.
    #[default]
    Full,
    /// None: the shape of the text, and the types of the parameters.
    Redacted,
    /// A keyed hash of each, so that equal values can be matched.
    Hashed,
}

/// The key of hashes and digests.
#[derive(Clone)]
pub struct LiteralsKey(Hmac<Sha256>);

impl fmt::Debug for LiteralsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiteralsKey")
    }
}

impl Default for LiteralsKey {
    /// A key that nobody has: what is hashed with it can be matched only while the process runs.
    fn default() -> Self {
        Self::new(rand::random())
    }
}

/// A statement as a record tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Its text.
    pub statement: Cow<'a, str>,
    /// Its parameters.
    pub parameters: Cow<'a, [Parameter]>,
    /// HMAC-SHA256 of text and values, hexadecimal; none where they are kept as they are.
    pub digest: Option<String>,
}

impl<'a> Told<'a> {
    /// A statement as it is.
    #[must_use]
    pub fn full(statement: &'a str, parameters: &'a [Parameter]) -> Self {
        Self { statement: Cow::Borrowed(statement), parameters: Cow::Borrowed(parameters), digest: None }
    }

    /// Cuts long values.
    #[must_use]
    pub fn briefly(mut self) -> Self {
        let is_long =
            |parameter: &Parameter| parameter.value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX);
        if self.parameters.iter().any(is_long) {
            self.parameters.to_mut().iter_mut().for_each(cut);
        }
        self
    }
}

fn cut(parameter: &mut Parameter) {
    if let Some(value) = parameter.value.as_mut().filter(|value| value.len() > VALUE_BYTES_MAX) {
        let bytes = value.len();
        let end = (0..=VALUE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
        value.truncate(end);
        value.push_str(&format!("… ({bytes} bytes)"));
    }
}

impl LiteralsKey {
    /// Hashes with this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        // HMAC takes keys of any length: there is no other error.
        Self(Hmac::new_from_slice(&key).unwrap_or_else(|_length| Hmac::new(&[0; 64].into())))
    }

    /// What a record tells of a statement.
    #[must_use]
    pub fn told<'a>(&self, literals: Literals, statement: &'a str, parameters: &'a [Parameter]) -> Told<'a> {
        let hidden: fn(&Self, &str) -> String = match literals {
            Literals::Full => return Told::full(statement, parameters),
            Literals::Redacted => |_, _| LEFT_OUT.to_owned(),
            Literals::Hashed => Self::hash,
        };
        let digest = self.digest(statement, parameters.iter().map(|parameter| parameter.value.as_deref()));
        let is_hashed = literals == Literals::Hashed;
        let parameters = parameters.iter().map(|parameter| Parameter {
            type_name: parameter.type_name.clone(),
            // Whether a value is NULL is a value, too.
            value: match &parameter.value {
                Some(value) => Some(hidden(self, value)),
                None => (!is_hashed).then(|| LEFT_OUT.to_owned()),
            },
        });
        Told {
            statement: Cow::Owned(self.shape(statement, hidden)),
            parameters: Cow::Owned(parameters.collect()),
            digest: Some(digest),
        }
    }

    /// HMAC-SHA256, hexadecimal, of a text and the values of its parameters, each with its length in front (8 bytes, big
    /// endian; all ones for NULL).
    #[must_use]
    pub fn digest<'a>(&self, statement: &'a str, values: impl IntoIterator<Item = Option<&'a str>>) -> String {
        let mut mac = self.0.clone();
        mac.update(b"countersign statement\0");
        for part in std::iter::once(Some(statement)).chain(values) {
            match part {
                Some(part) => {
                    mac.update(&(part.len() as u64).to_be_bytes());
                    mac.update(part.as_bytes());
                }
                None => mac.update(&u64::MAX.to_be_bytes()),
            }
        }
        hex::encode(mac.finalize().into_bytes())
    }

    /// The hash of one value: the same for a literal and for a parameter.
    fn hash(&self, value: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(b"countersign value\0");
        mac.update(value.as_bytes());
        format!("hmac:{}", hex::encode(&mac.finalize().into_bytes()[..HASH_BYTES]))
    }

    /// The text with its literals hidden and without its comments.
    fn shape(&self, text: &str, hidden: fn(&Self, &str) -> String) -> String {
        let words = words(text);
        if words.is_empty() {
            return if text.trim().is_empty() { String::new() } else { format!("… ({} bytes)", text.len()) };
        }
        let mut shape = String::with_capacity(text.len());
        let mut end = 0;
        for (range, word) in words {
            // Between words there is white space only.
            if range.start > end {
                shape.push(' ');
            }
            end = range.end;
            let token = &text[range];
            match word {
                Word::Comment => {}
                Word::Text => {
                    shape.push('\'');
                    shape.push_str(&hidden(self, &value_of(token)));
                    shape.push('\'');
                }
                Word::Number => shape.push_str(&hidden(self, token)),
                Word::Keyword | Word::Name | Word::Parameter | Word::Sign => shape.push_str(token),
            }
        }
        shape.trim().to_owned()
    }
}

/// The value of a string constant where its quotes are all there is to it, and its spelling where not.
fn value_of(token: &str) -> Cow<'_, str> {
    if let Some(inner) = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return if inner.contains("''") { Cow::Owned(inner.replace("''", "'")) } else { Cow::Borrowed(inner) };
    }
    let fence = token.strip_prefix('$').and_then(|rest| rest.find('$')).and_then(|at| token.get(..at + 2));
    let inner = fence.and_then(|fence| token.strip_prefix(fence)?.strip_suffix(fence));
    Cow::Borrowed(inner.unwrap_or(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> LiteralsKey {
        LiteralsKey::new([7; 32])
    }

    fn parameter(value: Option<&str>) -> Parameter {
        Parameter { type_name: "text".to_owned(), value: value.map(str::to_owned) }
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(key().told(Literals::Redacted, text, &[]).statement, want);
        let hashed = key().told(Literals::Hashed, text, &[]).statement.into_owned();
        assert!(!hashed.contains("canary"), "{hashed}");
    }

    #[test]
    fn no_value_of_a_text_is_kept() {
        check("SELECT * FROM t WHERE a = 'canary' AND b=17", "SELECT * FROM t WHERE a = '?' AND b=?");
        check("SELECT 'it''s a canary', $$canary$$, $x$canary$x$", "SELECT '?', '?', '?'");
        check(r"SELECT E'can\'ary', U&'canary', B'1', X'FF', 1e5", "SELECT '?', '?', '?', '?', ?");
        check("/* canary */ SELECT 1 -- canary", "SELECT ?");
        check("SELECT \"canary's\" FROM t".replace("canary", "name").as_str(), "SELECT \"name's\" FROM t");
        check("SELECT $1", "SELECT $1");
        check("SELECT 'canary", "… (14 bytes)");
        check("\n", "");
        let long = format!("SELECT '{}'", "canary".repeat(20_000));
        check(&long, &format!("… ({} bytes)", long.len()));
    }

    #[test]
    fn equal_values_have_equal_hashes_wherever_they_stand() {
        let told = |text, value| key().told(Literals::Hashed, text, &[parameter(Some(value))]).parameters[0].clone();
        let hash = told("SELECT $1", "o'neill").value.unwrap();
        assert!(hash.starts_with("hmac:") && hash.len() == 5 + 2 * HASH_BYTES);
        let literal = key().told(Literals::Hashed, "SELECT 'o''neill', $$o'neill$$", &[]).statement.into_owned();
        assert_eq!(literal, format!("SELECT '{hash}', '{hash}'"));
        assert_ne!(told("SELECT $1", "other").value.unwrap(), hash);
        let other_key = LiteralsKey::default().told(Literals::Hashed, "SELECT 'o''neill'", &[]).statement.into_owned();
        assert!(!other_key.contains(&hash));
    }

    #[test]
    fn parameters_keep_their_types_alone() {
        let given = [parameter(Some("canary")), parameter(None)];
        let redacted = key().told(Literals::Redacted, "SELECT $1, $2", &given).parameters.into_owned();
        assert_eq!(redacted, [parameter(Some("?")), parameter(Some("?"))]);
        let hashed = key().told(Literals::Hashed, "SELECT $1, $2", &given).parameters.into_owned();
        assert_eq!(hashed[1], parameter(None));
        assert!(hashed[0].value.as_ref().is_some_and(|value| !value.contains("canary")));
    }

    #[test]
    fn the_digest_is_of_text_and_values_and_their_places() {
        let digest = |text: &str, values: &[Option<&str>]| key().digest(text, values.iter().copied());
        let one = digest("SELECT $1", &[Some("a")]);
        // Computed with Python's hmac module.
        assert_eq!(one, "770ce5104d9080b83af1de5ab80181bf4c83ca990c8860a889286d2001b3ccda");
        for (text, values) in
            [("SELECT $2", &[Some("a")][..]), ("SELECT $1", &[Some("b")]), ("SELECT $1", &[None]), ("SELECT $1a", &[])]
        {
            assert_ne!(digest(text, values), one);
        }
        assert_ne!(digest("a", &[Some("b"), Some("")]), digest("a", &[Some(""), Some("b")]));
        assert_ne!(digest("a", &[None]), digest("a", &[Some("")]));
        let told = key().told(Literals::Redacted, "SELECT $1", &[parameter(Some("a"))]).digest;
        assert_eq!(told, Some(one));
        assert_eq!(key().told(Literals::Full, "SELECT $1", &[parameter(Some("a"))]).digest, None);
    }

    #[test]
    fn a_verdict_keeps_the_beginning_of_a_long_value() {
        let long = "é".repeat(VALUE_BYTES_MAX);
        let given = [parameter(Some(&long)), parameter(Some("short"))];
        let brief = Told::full("SELECT $1, $2", &given).briefly();
        let value = brief.parameters[0].value.clone().unwrap();
        assert!(value.ends_with("é… (8192 bytes)") && value.len() < VALUE_BYTES_MAX + 30);
        assert_eq!(brief.parameters[1], given[1]);
    }
}
