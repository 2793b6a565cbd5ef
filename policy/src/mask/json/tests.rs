//! Documents with values at paths masked.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::catalog;
use super::*;

const JSON: u32 = 114;
const JSONB: u32 = 3802;

fn mask(paths: &[(&str, MaskKind)]) -> MaskKind {
    let paths = paths.iter().map(|(path, kind)| (JsonPath::new(path).unwrap(), kind.clone()));
    MaskKind::Json(Arc::new(JsonMask::new(paths.collect())))
}

fn masked(kind: MaskKind, type_oid: u32, format: i16, cell: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    let masker = Masker::new(kind, &[7; 32], type_oid, format, &catalog());
    assert_eq!(masker.mask_cell(cell, &mut out), Masked::Value);
    out.strip_prefix(b"before").unwrap().to_vec()
}

#[track_caller]
fn check(paths: &[(&str, MaskKind)], document: &str, expected: &str) {
    let shown = masked(mask(paths), JSON, 0, document.as_bytes());
    assert_eq!(String::from_utf8(shown).unwrap(), expected, "{document}");
}

#[test]
fn what_stands_at_a_path_is_masked_and_the_rest_stays_as_it_was_written() {
    let email = &[("$.email", MaskKind::Email)];
    check(email, "{\"id\": 1e2 , \"email\":\"alice@example.com\"}", "{\"id\": 1e2 , \"email\":\"a***@example.com\"}");
    check(email, "{\"emails\":\"x\",\"a\":{\"email\":\"x\"}}", "{\"emails\":\"x\",\"a\":{\"email\":\"x\"}}");
    check(email, "{\"email\":null}", "{\"email\":null}");
    check(email, "[]", "[]");
    check(email, " 12 ", " 12 ");
    check(&[("$.a.b", MaskKind::Null)], "{\"a\":{\"b\":\"x\",\"c\":\"y\"}}", "{\"a\":{\"b\":null,\"c\":\"y\"}}");
}

#[test]
fn no_spelling_of_a_key_gets_around_its_mask() {
    let ssn = &[("$.ssn", MaskKind::Redact)];
    check(ssn, r#"{"ssn":"1","ssn":"2"}"#, r#"{"ssn":"***","ssn":"***"}"#);
    check(ssn, r#"{"\u0073\u0073n":"1"}"#, r#"{"\u0073\u0073n":"***"}"#);
    check(ssn, "{ \"ssn\" \n:\t\"1\" }", "{ \"ssn\" \n:\t\"***\" }");
    check(ssn, r#"{"a":"\\","ssn":"1"}"#, r#"{"a":"\\","ssn":"***"}"#);
    check(ssn, r#"{"a":"\"","ssn":"1\"2"}"#, r#"{"a":"\"","ssn":"***"}"#);
}

#[test]
fn arrays_are_gone_into() {
    let numbers = &[("$.cards[*].number", MaskKind::Card)];
    check(
        numbers,
        r#"{"cards":[{"number":"4111 1111 1111 1234"},{"number":"x"},7]}"#,
        r#"{"cards":[{"number":"**** **** **** 1234"},{"number":"***"},7]}"#,
    );
    // One that is not in an array, and some deeper than the path says.
    check(numbers, r#"{"cards":{"number":"x"}}"#, r#"{"cards":{"number":"***"}}"#);
    check(numbers, r#"[{"cards":[[{"number":"x"}]]}]"#, r#"[{"cards":[[{"number":"***"}]]}]"#);
    check(&[("$[*]", MaskKind::Redact)], r#"["a",1,true,{"b":"c"}]"#, r#"["***",0,null,"***"]"#);
    check(&[("$.tags[*]", MaskKind::First1)], r#"{"tags":["Alice","Bo"]}"#, r#"{"tags":["A***","***"]}"#);
}

#[test]
fn any_member_and_any_depth() {
    check(&[("$.*", MaskKind::Redact)], r#"{"a":"x","b":{"c":"y"}}"#, r#"{"a":"***","b":"***"}"#);
    check(
        &[("$.**.ssn", MaskKind::Redact)],
        r#"{"ssn":"x","a":[{"b":{"ssn":"y","c":"z"}}]}"#,
        r#"{"ssn":"***","a":[{"b":{"ssn":"***","c":"z"}}]}"#,
    );
    check(&[("$", MaskKind::Redact)], r#"{"a":1}"#, "\"***\"");
    check(&[("$", MaskKind::Last4)], r#""721-07-4426""#, r#""***4426""#);
}

#[test]
fn each_kind_of_value_becomes_something_of_its_kind() {
    let document = r#"{"v":["abc",-1.5e3,true,null,{"x":1},[1]]}"#;
    let by = |kind: MaskKind, expected: &str| check(&[("$.v[*]", kind)], document, expected);
    by(MaskKind::Redact, r#"{"v":["***",0,null,null,"***","***"]}"#);
    by(MaskKind::Null, r#"{"v":[null,null,null,null,null,null]}"#);
    by(MaskKind::Zero, r#"{"v":["",0,null,null,null,null]}"#);
    by(MaskKind::Text("a \"b\"".into()), r#"{"v":["a \"b\"",0,null,null,"***","***"]}"#);
}

#[test]
fn of_two_paths_to_one_value_the_stricter_mask_wins() {
    check(&[("$.a", MaskKind::Email), ("$.*", MaskKind::Null)], r#"{"a":"al@b.org"}"#, r#"{"a":null}"#);
    check(&[("$.*", MaskKind::Null), ("$.a", MaskKind::Email)], r#"{"a":"al@b.org"}"#, r#"{"a":null}"#);
    check(&[("$.a", MaskKind::Email), ("$.*", MaskKind::Last4)], r#"{"a":"al@b.org"}"#, r#"{"a":"***"}"#);
}

#[test]
fn what_cannot_be_read_is_hidden_whole() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for document in [
        "",
        "{",
        "{\"a\":\"secret\"",
        "secret",
        "{\"a\" \"secret\"}",
        "{\"a\":1}secret",
        "{\"a\":nul}",
        "{a:1}",
        "[1,]",
        "{\"a\":\"se\ncret\"}",
        "\"secret",
        "\"secret\\\"",
        "{\"\\ud800\":\"secret\"}",
        &deep,
    ] {
        check(&[("$.b", MaskKind::Email)], document, "\"***\"");
    }
    let lone = r#"{"b":"\ud800secret"}"#;
    check(&[("$.b", MaskKind::Email)], lone, r#"{"b":"***"}"#);
}

#[test]
fn every_type_that_holds_documents_is_taken_apart() {
    let kind = || mask(&[("$.a", MaskKind::Redact)]);
    assert_eq!(masked(kind(), JSONB, 1, b"\x01{\"a\": \"x\", \"b\": 2}"), b"\x01{\"a\": \"***\", \"b\": 2}");
    assert_eq!(masked(kind(), JSONB, 1, b"\x02{\"a\": \"x\"}"), b"\x01\"***\"");
    assert_eq!(masked(kind(), JSONB, 1, b""), b"\x01\"***\"");
    assert_eq!(masked(kind(), JSONB, 0, b"{\"a\": \"x\"}"), b"{\"a\": \"***\"}");
    assert_eq!(masked(kind(), JSON, 1, b"{\"a\": \"x\"}"), b"{\"a\": \"***\"}");
    assert_eq!(masked(kind(), TEXT_TYPE, 0, b"{\"a\": \"x\"}"), b"{\"a\": \"***\"}");
    assert_eq!(masked(kind(), TEXT_TYPE, 0, b"a: x"), b"***");
    assert_eq!(masked(kind(), 23, 0, b"17"), b"0");
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i32>().prop_map(|number| json!(number)),
        "CANARY[a-z\"\\\\é\\n]{0,4}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[ab\"\\\\é]{1,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What `redact` at `$.**.a` makes of a document.
fn model(value: &Value) -> Value {
    let hidden = |value: &Value| match value {
        Value::Null | Value::Bool(_) => json!(null),
        Value::Number(_) => json!(0),
        Value::String(_) | Value::Array(_) | Value::Object(_) => json!("***"),
    };
    match value {
        Value::Array(items) => Value::Array(items.iter().map(model).collect()),
        Value::Object(members) => {
            let member =
                |(key, value): (&String, &Value)| (key.clone(), if key == "a" { hidden(value) } else { model(value) });
            Value::Object(members.iter().map(member).collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn a_document_without_such_a_member_stays_as_it_is(document in documents(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let text = text.unwrap();
        let shown = masked(mask(&[("$.none.such[*]", MaskKind::Redact)]), JSON, 0, text.as_bytes());
        prop_assert_eq!(String::from_utf8(shown).unwrap(), text);
    }

    #[test]
    fn every_member_of_that_name_is_masked(document in documents()) {
        let shown = masked(mask(&[("$.**.a", MaskKind::Redact)]), JSON, 0, document.to_string().as_bytes());
        prop_assert_eq!(serde_json::from_slice::<Value>(&shown).unwrap(), model(&document));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[\\[\\]{}:,\"a1 \\\\tnu]{0,30}") {
        for document in [bytes.as_slice(), text.as_bytes()] {
            masked(mask(&[("$.**.a", MaskKind::Redact), ("$[*].a.*", MaskKind::Null)]), JSON, 0, document);
        }
    }
}
