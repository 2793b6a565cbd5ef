//! Typed, strict access to one table of the file.
//!
//! Never guesses a type and never skips a key: opening a [`Section`] reports every key it does not know. Invariant: a
//! read that yields `None` for a key that is present has reported a problem.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml_edit::{Item, TableLike};

use super::keys::{Form, Keys};
use super::problem::{Report, did_you_mean};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
}

/// An entry of an array.
pub(super) enum Entry<'a> {
    /// A string.
    Text(Spanned<String>),
    /// A table.
    Table(Section<'a>),
}

/// One table of the file.
pub(super) struct Section<'a> {
    pub(super) report: &'a Report<'a>,
    pub(super) title: String,
    pub(super) at: Range<usize>,
    table: &'a dyn TableLike,
    keys: &'static Keys,
}

impl<'a> Section<'a> {
    /// Opens a table and reports keys that do not belong there.
    pub(super) fn open(
        report: &'a Report<'a>,
        table: &'a dyn TableLike,
        at: Range<usize>,
        title: String,
        keys: &'static Keys,
    ) -> Self {
        let section = Self { report, title, at, table, keys };
        for (key, _) in table.iter() {
            if keys.key(key).is_some() {
                continue;
            }
            let at = section.key_at(key);
            if keys.unavailable.contains(&key) {
                let message = format!("key \"{key}\" in {} is not available in this version", section.title);
                report.problem(&at, key, message, Some("remove it, nothing would enforce it".to_owned()));
            } else {
                let message = format!("unknown key \"{key}\" in {}", section.title);
                report.problem(&at, key, message, did_you_mean(key, keys.names()));
            }
        }
        section
    }

    /// Where a key stands; the table when it is absent.
    pub(super) fn key_at(&self, key: &str) -> Range<usize> {
        let spelled = self.table.get_key_value(key).and_then(|(key, item)| key.span().or_else(|| item.span()));
        spelled.unwrap_or_else(|| self.at.clone())
    }

    /// Whether the key is present.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key holds a plain string.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Item::is_str)
    }

    /// Reports a problem with a key.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>, hint: Option<String>) {
        self.report.problem(&self.key_at(key), key, message, hint);
    }

    /// A debug build fails where a key is read as something else than the table of keys says.
    fn declared(&self, key: &str, fits: &dyn Fn(Form) -> bool) {
        let fits = || self.keys.key(key).is_some_and(|key| key.form.may_be(fits));
        debug_assert!(fits(), "\"{key}\" of {} is declared as something else, or not at all", self.keys.table);
    }

    fn item(&self, key: &str) -> Option<(&'a Item, Range<usize>)> {
        debug_assert!(self.keys.key(key).is_some(), "{key} is not documented for {}", self.keys.table);
        let item = self.table.get(key)?;
        Some((item, item.span().unwrap_or_else(|| self.key_at(key))))
    }

    fn read<T>(&self, key: &str, expected: &str, read: impl Fn(&'a Item) -> Option<T>) -> Option<Spanned<T>> {
        let (item, at) = self.item(key)?;
        if let Some(value) = read(item) {
            return Some(Spanned { value, at });
        }
        let message = format!("\"{key}\" in {} must be {expected}, not {}", self.title, article(item.type_name()));
        self.report.problem(&at, key, message, None);
        None
    }

    pub(super) fn text(&self, key: &str) -> Option<Spanned<String>> {
        self.declared(key, &|form| form.is_string());
        self.read(key, "a string", |item| item.as_str().map(str::to_owned)).filter(|text| {
            let empty = text.value.is_empty();
            if empty {
                self.report.problem(&text.at, key, format!("\"{key}\" in {} is empty", self.title), None);
            }
            !empty
        })
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.declared(key, &|form| matches!(form, Form::Flag));
        self.read(key, "true or false", Item::as_bool).map(|flag| flag.value)
    }

    pub(super) fn count(&self, key: &str) -> Option<u32> {
        self.number(key, 1..=1000)
    }

    pub(super) fn number(&self, key: &str, valid: RangeInclusive<u32>) -> Option<u32> {
        self.declared(
            key,
            &|form| matches!(form, Form::Number(least, most) if least == *valid.start() && most == *valid.end()),
        );
        let number = self.read(key, "a number", Item::as_integer)?;
        let found = u32::try_from(number.value).ok().filter(|found| valid.contains(found));
        if found.is_none() {
            let (least, most) = (valid.start(), valid.end());
            let message = format!("\"{key}\" in {} must be from {least} to {most}", self.title);
            self.report.problem(&number.at, key, message, None);
        }
        found
    }

    /// An array of strings.
    pub(super) fn list(&self, key: &str) -> Option<Vec<Spanned<String>>> {
        self.declared(key, &|form| {
            matches!(form, Form::Texts | Form::FilledTexts | Form::OneOrMore | Form::WordList(_))
        });
        let (item, at) = self.item(key)?;
        let Some(array) = item.as_array() else {
            let found = article(item.type_name());
            let message = format!("\"{key}\" in {} must be an array of strings, not {found}", self.title);
            let hint = item.as_str().map(|text| format!("write [{text:?}]"));
            self.report.problem(&at, key, message, hint);
            return None;
        };
        let mut texts = Vec::with_capacity(array.len());
        for value in array {
            let at = value.span().unwrap_or_else(|| at.clone());
            match value.as_str() {
                Some(text) if !text.is_empty() => texts.push(Spanned { value: text.to_owned(), at }),
                _ => {
                    let message = format!("\"{key}\" in {} must hold strings that are not empty", self.title);
                    self.report.problem(&at, key, message, None);
                }
            }
        }
        Some(texts)
    }

    /// The string of a key, for a second look: what is wrong with it is reported by [`Section::text`].
    pub(super) fn text_quietly(&self, key: &str) -> Option<Spanned<String>> {
        let item = self.table.get(key)?;
        let at = item.span().unwrap_or_else(|| self.key_at(key));
        Some(Spanned { value: item.as_str()?.to_owned(), at })
    }

    /// The strings of an array, for a second look: what is wrong with it is reported by [`Section::list`].
    pub(super) fn list_quietly(&self, key: &str) -> Vec<Spanned<String>> {
        let values = self.table.get(key).and_then(Item::as_array).into_iter().flatten();
        let at = |value: &toml_edit::Value| value.span().unwrap_or_else(|| self.key_at(key));
        values.filter_map(|value| Some(Spanned { value: value.as_str()?.to_owned(), at: at(value) })).collect()
    }

    /// A string, or an array of strings.
    pub(super) fn one_or_more(&self, key: &str) -> Option<Vec<Spanned<String>>> {
        self.declared(key, &|form| matches!(form, Form::OneOrMore));
        match self.item(key)?.0.as_str() {
            Some(_) => self.text(key).map(|text| vec![text]),
            None => self.list(key),
        }
    }

    /// An array of strings, without their places.
    pub(super) fn strings(&self, key: &str) -> Option<Vec<String>> {
        Some(self.list(key)?.into_iter().map(|text| text.value).collect())
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        self.declared(key, &|form| matches!(form, Form::Duration | Form::DurationOrNever));
        let text = self.text(key)?;
        let duration = crate::duration::parse(&text.value);
        if duration.is_none() {
            let message = format!("\"{}\" is not a duration", text.value);
            self.report.problem(
                &text.at,
                key,
                message,
                Some("write it like \"90s\", \"30m\", \"1h\" or \"7d\"".into()),
            );
        }
        duration
    }

    /// A duration, or `"never"` for none at all.
    pub(super) fn duration_or_none(&self, key: &str) -> Option<Duration> {
        self.declared(key, &|form| matches!(form, Form::DurationOrNever));
        let never = self.text_quietly(key).is_some_and(|text| text.value == "never");
        if never { Some(Duration::ZERO) } else { self.duration(key) }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.declared(key, &|form| matches!(form, Form::Word(_)));
        let text = self.text(key)?;
        self.pick(key, &text, choices)
    }

    /// Looks a word up among the valid ones, or reports it.
    pub(super) fn pick<T: Copy>(&self, key: &str, text: &Spanned<String>, choices: &[(&str, T)]) -> Option<T> {
        if self.keys.key(key).is_some() {
            self.declared(key, &|form| form.has_words(choices.iter().map(|(word, _)| *word)));
        }
        let found = choices.iter().find(|(word, _)| *word == text.value).map(|(_, choice)| *choice);
        if found.is_none() {
            let words = || choices.iter().map(|(word, _)| *word);
            let message = format!("\"{}\" is not a value of \"{key}\" in {}", text.value, self.title);
            let all =
                || format!("valid are {}", words().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "));
            self.report.problem(&text.at, key, message, did_you_mean(&text.value, words()).or_else(|| Some(all())));
        }
        found
    }

    /// A path, relative to the directory of the configuration file.
    pub(super) fn path(&self, key: &str, directory: &Path) -> Option<PathBuf> {
        self.text(key).map(|text| directory.join(text.value))
    }

    /// A table under a key.
    pub(super) fn section(&self, key: &str, title: String, keys: &'static Keys) -> Option<Section<'a>> {
        self.declared(key, &|form| form.is_table(keys));
        let table = self.read(key, "a table", Item::as_table_like)?;
        let at = if table.at.is_empty() { self.key_at(key) } else { table.at };
        Some(Section::open(self.report, table.value, at, title, keys))
    }

    /// The tables of `[key.NAME]`, by name.
    pub(super) fn named(&self, key: &str, keys: &'static Keys) -> Vec<(String, Section<'a>)> {
        self.declared(key, &|form| matches!(form, Form::Named(own) if own.table == keys.table));
        let Some(tables) = self.read(key, "a table of tables", Item::as_table_like) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, item) in tables.value.iter() {
            let title = format!("[{key}.{name}]");
            let at = item.span().unwrap_or_else(|| tables.at.clone());
            match item.as_table_like() {
                Some(table) => named.push((name.to_owned(), Section::open(self.report, table, at, title, keys))),
                None => self.report.problem(&at, name, format!("{title} must be a table"), None),
            }
        }
        named
    }

    /// A table of strings, under keys of any name.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<(String, Spanned<String>)>> {
        self.declared(key, &|form| matches!(form, Form::TextMap | Form::WordMap(_)));
        let table = self.read(key, "a table of strings", Item::as_table_like)?;
        let mut texts = Vec::new();
        for (name, item) in table.value.iter() {
            let at = item.span().unwrap_or_else(|| table.at.clone());
            match item.as_str() {
                Some(text) => texts.push((name.to_owned(), Spanned { value: text.to_owned(), at })),
                None => {
                    let found = article(item.type_name());
                    let message = format!("\"{name}\" in {} must be a string, not {found}", self.title);
                    self.report.problem(&at, name, message, None);
                }
            }
        }
        Some(texts)
    }

    /// The tables of `[[key]]`, each titled by its `name`.
    pub(super) fn repeated(&self, key: &str, keys: &'static Keys) -> Vec<Section<'a>> {
        self.declared(key, &|form| matches!(form, Form::Repeated(own) if own.table == keys.table));
        let expected = format!("written as [[{key}]]");
        let Some(tables) = self.read(key, &expected, Item::as_array_of_tables) else { return Vec::new() };
        let open = |table: &'a toml_edit::Table| {
            let name = table.get("name").and_then(Item::as_str);
            let title = name.map_or_else(|| keys.table.to_owned(), |name| format!("{} \"{name}\"", keys.table));
            Section::open(self.report, table, table.span().unwrap_or_default(), title, keys)
        };
        tables.value.iter().map(open).collect()
    }

    /// The entries of an array of strings and tables.
    pub(super) fn entries(&self, key: &str, keys: &'static Keys) -> Vec<Entry<'a>> {
        self.declared(key, &|form| matches!(form, Form::Entries(own) if own.table == keys.table));
        let Some(array) = self.read(key, "an array of tables", Item::as_array) else { return Vec::new() };
        let mut entries = Vec::new();
        for value in array.value {
            let at = value.span().unwrap_or_else(|| array.at.clone());
            let title = format!("\"{key}\" of {}", self.title);
            match (value.as_str(), value.as_inline_table()) {
                (Some(text), _) => entries.push(Entry::Text(Spanned { value: text.to_owned(), at })),
                (None, Some(table)) => entries.push(Entry::Table(Section::open(self.report, table, at, title, keys))),
                (None, None) => {
                    self.report.problem(&at, key, format!("{title} must hold tables, as {{ ... }}"), None);
                }
            }
        }
        entries
    }

    /// A point in time, as TOML has it or in quotes.
    pub(super) fn moment(&self, key: &str) -> Option<Spanned<String>> {
        self.declared(key, &|form| matches!(form, Form::Moment));
        let text =
            |item: &Item| item.as_datetime().map(ToString::to_string).or_else(|| item.as_str().map(str::to_owned));
        self.read(key, "a time such as 2027-01-31T00:00:00Z", text)
    }

    /// A value that must be there.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        debug_assert!(self.keys.key(key).is_some_and(|key| key.is_required), "\"{key}\" is declared optional");
        self.needed(key, value)
    }

    /// A value that must be there because of what else stands in the table.
    pub(super) fn needed<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.report.problem(&self.at, key, format!("{} lacks \"{key}\"", self.title), None);
        }
        value
    }
}

fn article(type_name: &str) -> String {
    let vowel = type_name.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {type_name}", if vowel { "an" } else { "a" })
}
