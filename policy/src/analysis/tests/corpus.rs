//! Real statements from clients, and hand-made hard ones: nothing panics, and nothing but names is unknown.

use super::fixture::analysis;
use crate::analysis::NotUnderstood;

const PSQL: &str = include_str!("../../../../tests/corpus/benign/psql.jsonl");
const ORM: &str = include_str!("../../../../tests/corpus/benign/orm.jsonl");
const ADVERSARIAL: &str = include_str!("../../../../tests/corpus/adversarial.jsonl");

/// The statements of a file of JSON lines.
fn corpus(text: &str) -> Vec<String> {
    let sql = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["sql"].as_str().unwrap().to_owned()
    };
    text.lines().map(sql).collect()
}

/// Every text of a file of everyday traffic is understood but for names that the small catalog lacks.
#[track_caller]
fn check(file: &str) {
    let texts = corpus(file);
    assert!(!texts.is_empty());
    let odd: Vec<_> = texts
        .iter()
        .filter_map(|text| match analysis(text).not_understood() {
            None | Some(NotUnderstood::Relation(_) | NotUnderstood::Function(_) | NotUnderstood::Name(_)) => None,
            Some(why) => Some(format!("{why:?}: {text}")),
        })
        .collect();
    assert!(odd.is_empty(), "{} of {}:\n{}", odd.len(), texts.len(), odd.join("\n"));
}

#[test]
fn psql_is_understood() {
    check(PSQL);
}

#[test]
fn orms_are_understood() {
    check(ORM);
}

#[test]
fn hard_texts_do_no_harm() {
    let texts = corpus(ADVERSARIAL);
    assert!(texts.len() > 100);
    for text in &texts {
        let found = analysis(text);
        let unknown = found.effects().contains(crate::effect::Effect::Unknown);
        assert_eq!(unknown, found.not_understood().is_some(), "{text}");
    }
}
