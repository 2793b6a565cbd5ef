//! `docs/countersign.schema.json`: made of the tables of keys that the reader goes by, and of what docs/configuration.md says of each.
//!
//! Never describes a key by itself. Invariant: every kind of table has one table of the page with just its keys.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::super::keys::{Form, Keys, Words};
use super::super::resolve::TOP_KEYS;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Keys, and what is said of each.
type Rows = BTreeMap<String, String>;

/// Every kind of table, found from the file downwards.
pub(super) fn tables() -> Vec<&'static Keys> {
    let mut found: Vec<&'static Keys> = vec![&TOP_KEYS];
    let mut next = 0;
    while let Some(keys) = found.get(next) {
        next += 1;
        for below in keys.known.iter().flat_map(|key| below(key.form)) {
            if found.iter().all(|known| known.table != below.table) {
                found.push(below);
            }
        }
    }
    found
}

fn below(form: Form) -> Vec<&'static Keys> {
    match form {
        Form::Table(keys) | Form::OneKey(keys) | Form::Named(keys) | Form::Repeated(keys) | Form::Entries(keys) => {
            vec![keys]
        }
        Form::Either(forms) => forms.iter().flat_map(|form| below(*form)).collect(),
        Form::Text | Form::Texts | Form::FilledTexts | Form::OneOrMore | Form::Flag | Form::Number(..) => Vec::new(),
        Form::Duration | Form::DurationOrNever | Form::Moment | Form::TextMap => Vec::new(),
        Form::Word(_) | Form::WordList(_) | Form::WordMap(_) => Vec::new(),
    }
}

/// What the page says of keys: each of its tables, as the keys of the rows and what stands behind them.
fn documented() -> Vec<Rows> {
    let mut found = Vec::new();
    let mut rows: Option<Rows> = None;
    for line in PAGE.lines().chain([""]) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match (&mut rows, cells.first().copied()) {
            (None, Some("key" | "table")) => rows = Some(Rows::new()),
            (Some(_), _) if !line.starts_with('|') => found.extend(rows.take()),
            (Some(rows), Some(names)) => {
                let said = cells.get(1).copied().unwrap_or_default();
                let default = cells.get(2).copied().filter(|default| !default.is_empty());
                let text = match default {
                    Some("required") | None => said.to_owned(),
                    Some(default) => format!("{said}. Default: {default}"),
                };
                for name in names.split(", ").filter(|name| name.starts_with('`')) {
                    rows.insert(name.trim_matches('`').to_owned(), plain(&text));
                }
            }
            (None, _) | (Some(_), None) => {}
        }
    }
    found
}

/// Without the marks of Markdown.
fn plain(text: &str) -> String {
    let links = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let bare = links.replace_all(text, "$1").replace('`', "");
    if text.starts_with('`') {
        return bare;
    }
    let mut letters = bare.trim_end_matches([',', ' ']).chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What the page says of the keys of a kind of table.
fn said_of(keys: &Keys, pages: &[Rows]) -> Rows {
    let fits = |rows: &&Rows| rows.keys().all(|key| keys.key(key).is_some());
    let chosen: Vec<&Rows> = match keys.table {
        // The file itself has two tables: of its values, and of its tables.
        "the file" => pages.iter().filter(fits).take(2).collect(),
        // A secret's ways, and one more.
        "password" | "web_password" => {
            pages.iter().filter(|rows| fits(rows) && rows.keys().all(|key| key != "name")).collect()
        }
        _ => pages.iter().filter(|rows| fits(rows) && rows.len() == keys.known.len()).collect(),
    };
    let said: Rows = chosen.into_iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
    assert_eq!(
        said.len(),
        keys.known.len(),
        "docs/configuration.md needs a table with just the keys of {}",
        keys.table
    );
    said
}

fn schema() -> Value {
    let pages = documented();
    let mut definitions = Map::new();
    for keys in tables().into_iter().skip(1) {
        definitions.insert(id(keys), table(keys, &said_of(keys, &pages)));
    }
    let mut top = table(&TOP_KEYS, &said_of(&TOP_KEYS, &pages));
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "countersign.toml",
        "description": "The configuration of Countersign. What cannot be said here (names that must exist, keys that need each other, \
                        patterns) is said by `countersign check`.",
        "definitions": definitions,
    });
    if let (Some(top), Value::Object(head)) = (top.as_object_mut(), head) {
        top.extend(head);
    }
    top
}

fn id(keys: &Keys) -> String {
    keys.table.replace(['[', ']'], "").replace(' ', "_")
}

fn table(keys: &Keys, said: &Rows) -> Value {
    let mut properties = Map::new();
    for key in keys.known {
        let text =
            said.get(key.name).unwrap_or_else(|| panic!("nothing is said of \"{}\" of {}", key.name, keys.table));
        let mut value = form(key.form);
        value["description"] = Value::from(text.as_str());
        properties.insert(key.name.to_owned(), value);
    }
    let mut made = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let required: Vec<&str> = keys.known.iter().filter(|key| key.is_required).map(|key| key.name).collect();
    if !required.is_empty() {
        made["required"] = json!(required);
    }
    made
}

fn form(form: Form) -> Value {
    const DURATION: &str = "[0-9]+[smhd]";
    let text = || json!({"type": "string", "minLength": 1});
    let refer = |keys: &Keys| json!({"$ref": format!("#/definitions/{}", id(keys))});
    let word = |words: Words| json!({"type": "string", "enum": words()});
    match form {
        Form::Text | Form::Moment => text(),
        Form::Texts => json!({"type": "array", "items": text()}),
        Form::FilledTexts => json!({"type": "array", "items": text(), "minItems": 1}),
        Form::OneOrMore => json!({"anyOf": [text(), {"type": "array", "items": text()}]}),
        Form::Flag => json!({"type": "boolean"}),
        Form::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Form::Duration => json!({"type": "string", "pattern": format!("^{DURATION}$")}),
        Form::DurationOrNever => json!({"type": "string", "pattern": format!("^({DURATION}|never)$")}),
        Form::Word(words) => word(words),
        Form::WordList(words) => json!({"type": "array", "items": word(words)}),
        Form::TextMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Form::WordMap(words) => json!({"type": "object", "additionalProperties": word(words), "minProperties": 1}),
        // Beside a $ref nothing counts in this draft, hence allOf.
        Form::Table(keys) => json!({"allOf": [refer(keys)]}),
        Form::OneKey(keys) => json!({"allOf": [refer(keys)], "minProperties": 1, "maxProperties": 1}),
        Form::Named(keys) => json!({"type": "object", "additionalProperties": refer(keys)}),
        Form::Repeated(keys) => json!({"type": "array", "items": refer(keys)}),
        Form::Entries(keys) => json!({"type": "array", "items": {"anyOf": [{"type": "string"}, refer(keys)]}}),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(|one| self::form(*one)).collect::<Vec<_>>()}),
    }
}

#[test]
fn the_committed_schema_is_that_of_the_reader() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/countersign.schema.json");
    let made = format!("{:#}\n", schema());
    if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "write it anew: COUNTERSIGN_WRITE_DOCS=1 cargo test --lib config::");
}

#[test]
fn every_table_of_keys_on_the_page_is_one_of_the_file() {
    for rows in documented() {
        let is_known = tables().iter().any(|keys| rows.keys().all(|key| keys.key(key).is_some()));
        assert!(is_known, "no table of the file has all of {:?}", rows.keys());
    }
}
