//! `[[masks]]` of the file → the policy package's masks.
//!
//! Never accepts a mask that would show a value because of how it is written. Invariant: a mask that is made does what
//! each of its keys says.

use std::sync::Arc;

use countersign_policy::mask::{JsonMask, JsonPath, MaskKind, MaskRule, Predicates};
use countersign_policy::rule::{ColumnGlob, Glob};

use super::keys::{self, Form, Keys, words};
use super::reader::Section;
use super::rules::{Known, NO_REVIEWER, globs};

pub(super) static MASK_KEYS: Keys = Keys {
    table: "[[masks]]",
    known: &[
        keys::required("name", Form::Text),
        keys::required("columns", Form::FilledTexts),
        keys::required("mask", Form::Either(&[Form::Word(mask_words), Form::OneKey(&MASK_VALUE_KEYS)])),
        keys::optional("except_groups", Form::Texts),
        keys::optional("predicates", Form::Word(|| words(&Predicates::ALL))),
        keys::optional("reviewers", Form::Texts),
    ],
    unavailable: &[],
};
/// `mask` where it is a table: a mask with a parameter.
pub(super) static MASK_VALUE_KEYS: Keys = Keys {
    table: "mask of [[masks]]",
    known: &[keys::optional("text", Form::Text), keys::optional("json", Form::WordMap(mask_words))],
    unavailable: &[],
};

/// Longest fixed text, in bytes: that of a `name`, so that it fits every type of text.
const TEXT_BYTES_MAX: usize = 63;
/// Most paths of one mask.
const PATHS_MAX: usize = 64;

fn mask_words() -> Vec<&'static str> {
    MaskKind::ALL.iter().map(MaskKind::as_str).collect()
}

/// What `[masking]` says for all masks.
pub(super) struct Shared {
    pub(super) key: [u8; 32],
    /// Whether the key will be the same at the next start.
    pub(super) is_stable: bool,
    pub(super) looks_into_foreign: bool,
}

/// Reads one mask.
pub(super) fn mask(section: &Section<'_>, known: &Known<'_>, shared: &Shared) -> Option<MaskRule> {
    let name = section.required("name", section.text("name"));
    let columns = section.required("columns", globs(section, "columns", ColumnGlob::new));
    let kind = section.required("mask", kind(section));
    let except_groups = globs(section, "except_groups", Glob::new).unwrap_or_default();
    let predicates = section.choice("predicates", &Predicates::ALL).unwrap_or_default();
    let reviewers = section.list("reviewers").unwrap_or_default();
    known.warn_of_empty_groups(section, &reviewers, NO_REVIEWER);
    let reviewers = reviewers.into_iter().map(|group| group.value).collect();
    Some(MaskRule {
        name: name?.value,
        columns: columns?,
        mask: kind?,
        predicates,
        except_groups,
        reviewers,
        key: shared.key,
        looks_into_foreign: shared.looks_into_foreign,
    })
}

fn kind(section: &Section<'_>) -> Option<MaskKind> {
    if section.is_text("mask") {
        let word = section.text("mask")?;
        let hint = match word.value.as_str() {
            "text" => "write mask = { text = \"hidden\" }",
            "json" => "write mask = { json = { \"$.customer.email\" = \"email\" } }",
            _ => return section.pick("mask", &word, &named()).cloned(),
        };
        let message = format!("\"{}\" of \"mask\" in {} takes a parameter", word.value, section.title);
        section.problem("mask", message, Some(hint.to_owned()));
        return None;
    }
    let value = section.section("mask", format!("mask of {}", section.title), &MASK_VALUE_KEYS)?;
    match (value.has("text"), value.has("json")) {
        (true, false) => text(&value),
        (false, true) => json(&value),
        (true, true) | (false, false) => {
            let message = format!("\"mask\" in {} takes either \"text\" or \"json\"", section.title);
            section.problem("mask", message, None);
            None
        }
    }
}

fn named() -> Vec<(&'static str, &'static MaskKind)> {
    MaskKind::ALL.iter().map(|kind| (kind.as_str(), kind)).collect()
}

fn text(value: &Section<'_>) -> Option<MaskKind> {
    let text = value.text("text")?.value;
    let wrong = if text.len() > TEXT_BYTES_MAX {
        format!("\"text\" in {} is longer than {TEXT_BYTES_MAX} bytes", value.title)
    } else if text.chars().any(char::is_control) {
        format!("\"text\" in {} holds a control character", value.title)
    } else {
        return Some(MaskKind::Text(text.into()));
    };
    value.problem("text", wrong, None);
    None
}

fn json(value: &Section<'_>) -> Option<MaskKind> {
    let texts = value.texts("json")?;
    if texts.is_empty() || texts.len() > PATHS_MAX {
        let message = format!("\"json\" in {} must have from 1 to {PATHS_MAX} paths", value.title);
        value.problem("json", message, None);
        return None;
    }
    let mut paths = Vec::with_capacity(texts.len());
    for (path, mask) in &texts {
        let read = JsonPath::new(path);
        if let Err(error) = &read {
            let message = format!("\"{path}\" in {} is not a path: {error}", value.title);
            let hint = "write $.name, $.\"any name\", $.list[*].name, $.* or $.**.name".to_owned();
            value.report.problem(&mask.at, path, message, Some(hint));
        }
        let mask = value.pick(path, mask, &named()).cloned();
        paths.extend(read.ok().zip(mask));
    }
    Some(MaskKind::Json(Arc::new(JsonMask::new(paths))))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn with(mask: &str) -> Result<Config, String> {
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n\
            [databases.shop]\nupstream = \"postgres://app@127.0.0.1/shop\"\ngroups = [\"engineering\"]\n\
            [[masks]]\nname = \"m\"\ncolumns = [\"*.*.payload\"]\nmask = {mask}\n"
        );
        Config::parse("countersign.toml".as_ref(), &text).map_err(|problems| problems.to_string())
    }

    #[track_caller]
    fn check(mask: &str, expected: &str) {
        let told = with(mask).map(|_config| String::new()).unwrap_or_else(|problems| problems);
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn masks_with_a_parameter_are_read() {
        let kind = |mask: &str| with(mask).unwrap().policy.masks[0].mask.as_str();
        assert_eq!(kind("{ text = \"hidden\" }"), "text");
        assert_eq!(kind("{ json = { \"$.a\" = \"email\", \"$.b[*].c\" = \"null\" } }"), "json");
        assert!(with("{ json = { \"$.a\" = \"hash\" } }").unwrap().mask_key_missing);
        assert!(!with("{ json = { \"$.a\" = \"zero\" } }").unwrap().mask_key_missing);
    }

    #[test]
    fn wrong_parameters_are_named() {
        check("\"text\"", "\"text\" of \"mask\" in [[masks]] \"m\" takes a parameter");
        check("\"json\"", "write mask = { json = { \"$.customer.email\" = \"email\" } }");
        check("\"emial\"", "did you mean \"email\"");
        check("{}", "takes either \"text\" or \"json\"");
        check("{ text = \"a\", json = { \"$\" = \"null\" } }", "takes either \"text\" or \"json\"");
        check("{ txt = \"a\" }", "unknown key \"txt\" in mask of [[masks]] \"m\"");
        check("{ text = \"\" }", "is empty");
        check("{ text = \"a\\nb\" }", "holds a control character");
        check(&format!("{{ text = \"{}\" }}", "x".repeat(64)), "is longer than 63 bytes");
        check("{ json = {} }", "must have from 1 to 64 paths");
        check("{ json = [\"$.a\"] }", "must be a table of strings");
        check("{ json = { \"$.a\" = 1 } }", "must be a string");
        check(
            "{ json = { \"a.b\" = \"email\" } }",
            "\"a.b\" in mask of [[masks]] \"m\" is not a path: a path begins with $",
        );
        check("{ json = { \"$.a\" = \"text\" } }", "\"text\" is not a value of \"$.a\"");
        check("17", "must be");
    }
}
