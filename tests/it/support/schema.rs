//! The audit trail against `docs/audit.schema.json`: as much of JSON Schema as that file uses.
//!
//! Never passes over a keyword that it does not know. Invariant: a record that is `valid` has every key that it must have and
//! no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use countersign::audit::{Question, search};
use regex::Regex;
use serde_json::Value;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/audit.schema.json")).expect("a JSON Schema"));

/// The kinds that the schema knows.
pub fn kinds() -> BTreeSet<String> {
    let name = |one: &Value| one["$ref"].as_str().expect("a reference").trim_start_matches("#/$defs/").to_owned();
    SCHEMA["oneOf"].as_array().expect("a list of kinds").iter().map(name).collect()
}

/// The keys that it knows of each kind.
pub fn keys() -> BTreeMap<String, BTreeSet<String>> {
    let of = |kind: &String| SCHEMA["$defs"][kind]["properties"].as_object().expect("keys").keys().cloned().collect();
    kinds().into_iter().map(|kind| (kind.clone(), of(&kind))).collect()
}

/// What is wrong with a record.
pub fn flaw(record: &Value) -> Option<String> {
    let Some(kind) = record["kind"].as_str().filter(|kind| kinds().contains(*kind)) else {
        return Some(format!("{record} is of no kind that is known"));
    };
    // That it is only of its own kind follows from the constant in each.
    check(&SCHEMA["$defs"][kind], record).err().map(|why| format!("{why} in {record}"))
}

/// Fails if a record of the trail in that directory is not as the schema says.
#[track_caller]
pub fn check_trail(dir: &Path) {
    if !dir.exists() {
        return;
    }
    let mut flaws = Vec::new();
    let read = search(dir, &Question::default(), |entry| {
        flaws.extend(flaw(&Value::Object(entry.fields)));
        true
    });
    // A test may have taken the segments away.
    if read.is_ok() {
        assert!(flaws.is_empty(), "records that docs/audit.schema.json does not describe: {flaws:#?}");
    }
}

fn check(schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, wanted) in schema.as_object().expect("a schema") {
        let fits = match keyword.as_str() {
            "description" => true,
            "$ref" => {
                let name = wanted.as_str().expect("a reference").trim_start_matches("#/$defs/");
                check(&SCHEMA["$defs"][name], value)?;
                true
            }
            "oneOf" => {
                let alternatives = wanted.as_array().expect("alternatives");
                alternatives.iter().filter(|one| check(one, value).is_ok()).count() == 1
            }
            "type" => is_of_type(wanted, value),
            "const" => value == wanted,
            "enum" => wanted.as_array().expect("values").contains(value),
            "minimum" => value.as_u64() >= wanted.as_u64(),
            "pattern" => {
                let pattern = Regex::new(wanted.as_str().expect("a pattern")).expect("a pattern");
                value.as_str().is_some_and(|text| pattern.is_match(text))
            }
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| check(wanted, item))?;
                true
            }
            "properties" => properties(wanted, value)?,
            "required" => {
                wanted.as_array().expect("names").iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
            }
            "additionalProperties" => others(schema, wanted, value)?,
            other => panic!("the keyword {other} is not known here"),
        };
        if !fits {
            return Err(format!("{value} does not fit \"{keyword}\": {wanted}"));
        }
    }
    Ok(())
}

fn properties(wanted: &Value, value: &Value) -> Result<bool, String> {
    for (name, schema) in wanted.as_object().expect("properties") {
        if let Some(value) = value.get(name) {
            check(schema, value).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(true)
}

fn others(schema: &Value, wanted: &Value, value: &Value) -> Result<bool, String> {
    let mut others =
        value.as_object().into_iter().flatten().filter(|(name, _)| schema["properties"].get(name).is_none());
    if wanted == &Value::Bool(false) {
        return Ok(others.next().is_none());
    }
    others.try_for_each(|(_, value)| check(wanted, value))?;
    Ok(true)
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    };
    match wanted {
        Value::Array(names) => names.iter().any(|name| is(name.as_str().expect("a type"))),
        one => is(one.as_str().expect("a type")),
    }
}
