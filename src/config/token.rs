//! `tokens` of `[[users]]`: bearer tokens of the API, by their digests, with what they are for and until when.
//!
//! Never holds a token. Invariant: a token that names no scope is for nothing.

use std::ops::Range;

use jiff::Timestamp;

use super::keys::{self, Form, Keys};
use super::reader::{Entry, Section};
use crate::identity::{Scope, Scopes};

pub(super) static TOKEN_KEYS: Keys = Keys {
    table: "tokens",
    known: &[
        keys::required("sha256", Form::Text),
        keys::optional("name", Form::Text),
        keys::optional("scopes", Form::WordList(scope_words)),
        keys::optional("expires", Form::Moment),
    ],
    unavailable: &[],
};

fn scope_words() -> Vec<&'static str> {
    Scope::ALL.iter().map(|scope| scope.as_str()).collect()
}

/// A bearer token, by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// SHA-256 of the token, hexadecimal.
    pub digest: String,
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl TokenConfig {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// Reads the tokens of a user.
pub(super) fn tokens(user: &Section<'_>) -> Vec<TokenConfig> {
    let read = |entry| match entry {
        Entry::Table(section) => table(user, &section),
        Entry::Text(text) => digest(user, &text.value, &text.at).map(|digest| {
            user.report.warn(format!(
                "{} has a token without scopes, which can do nothing: write {{ sha256 = \"...\", scopes = [...] }}.",
                user.title
            ));
            TokenConfig { digest, name: None, scopes: Scopes::default(), expires_at: None }
        }),
    };
    user.entries("tokens", &TOKEN_KEYS).into_iter().filter_map(read).collect()
}

fn table(user: &Section<'_>, section: &Section<'_>) -> Option<TokenConfig> {
    let scopes = section.list("scopes").unwrap_or_default();
    let known: Vec<_> = Scope::ALL.iter().map(|scope| (scope.as_str(), *scope)).collect();
    let scopes: Scopes = scopes.iter().filter_map(|text| section.pick("scopes", text, &known)).collect();
    if scopes.is_empty() {
        user.report.warn(format!("{} has a token without scopes, which can do nothing.", user.title));
    }
    let name = section.text("name").map(|text| text.value);
    let expires_at = expiry(section);
    let text = section.required("sha256", section.text("sha256"))?;
    let digest = digest(user, &text.value, &text.at)?;
    Some(TokenConfig { digest, name, scopes, expires_at: expires_at? })
}

/// The outer `None` is a problem that was reported.
fn expiry(section: &Section<'_>) -> Option<Option<Timestamp>> {
    let Some(text) = section.moment("expires") else { return (!section.has("expires")).then_some(None) };
    let parsed = text.value.parse();
    if parsed.is_err() {
        let hint = "write it as 2027-01-31T00:00:00Z".to_owned();
        section.report.problem(&text.at, "expires", format!("\"{}\" is not a time", text.value), Some(hint));
    }
    parsed.ok().map(Some)
}

fn digest(user: &Section<'_>, text: &str, at: &Range<usize>) -> Option<String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_digest = digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_digest {
        let message = format!("a token in {} is not \"sha256:\" and 64 hexadecimal digits", user.title);
        let hint = "make one with `countersign users token`".to_owned();
        user.report.problem(at, "tokens", message, Some(hint));
    }
    is_digest.then(|| digits.to_owned())
}
