//! Real statements from clients, and hand-made hard ones: nothing panics, and nothing but names is unknown.

use pg_query::protobuf::Token;

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

/// Every text of every file.
pub fn all() -> Vec<String> {
    [PSQL, ORM, ADVERSARIAL].into_iter().flat_map(corpus).collect()
}

/// What a string may hold: ends of strings and comments, SQL, names of objects and settings, values that decide.
const STRINGS: &[&str] = &[
    "",
    "x",
    "it's",
    "''",
    "\\",
    "\\'; DELETE FROM orders; --",
    "-- ",
    "/* ",
    "*/",
    "'; DROP TABLE orders; --",
    "DELETE FROM orders",
    "orders",
    "customers",
    "search_path",
    "role",
    "standard_conforming_strings",
    "off",
    "t",
    "f",
    "%",
    "%%",
    "$$",
    "$q$",
    "$1",
    "\"",
    "U&'x'",
    "E'x'",
    "\n",
    "\r\n'y'",
    "\u{1}",
    "é\u{a0}ß",
    "1",
    "1 day",
    "NULL",
    "{1,2}",
    "{\"a\": 1}",
    "2020-01-01",
    "x'01",
    "a very long text that goes on and on, so that it is longer than any of the others in this list of texts",
];
const INTEGERS: &[&str] = &["0", "1", "2", "3", "5", "007", "99", "2147483647"];
const FLOATS: &[&str] = &["2147483648", "1.5", ".5", "1.", "1e10", "1.e5", "0.0", "99999999999999999999"];

/// Texts with other literals in the place of their own, from a seed.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: usize) -> Self {
        Self(seed as u64 ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit
    }

    fn one_of(&mut self, list: &[&str]) -> String {
        list[self.below(list.len())].to_owned()
    }

    /// The text with some of its literals replaced; as it is when PostgreSQL's scanner rejects it.
    pub fn mutant(&mut self, text: &str) -> String {
        let Ok(scanned) = pg_query::scan(text) else { return text.to_owned() };
        let (mut mutant, mut at) = (String::new(), 0);
        for token in &scanned.tokens {
            let (start, end) = (usize::try_from(token.start).unwrap(), usize::try_from(token.end).unwrap());
            let kind = Token::try_from(token.token).unwrap_or(Token::Nul);
            if start >= at
                && self.below(4) > 0
                && let Some(literal) = self.literal(kind, &text[start..end])
            {
                mutant.push_str(&text[at..start]);
                mutant.push_str(&literal);
                at = end;
            }
        }
        mutant.push_str(&text[at..]);
        mutant
    }

    fn literal(&mut self, kind: Token, own: &str) -> Option<String> {
        let literal = match kind {
            Token::Sconst => self.string(own.starts_with('$')),
            Token::Iconst | Token::Fconst => {
                let same = self.below(5) > 0;
                let number = self.one_of(if same == (kind == Token::Iconst) { INTEGERS } else { FLOATS });
                if self.below(8) == 0 { format!(" -{number}") } else { number }
            }
            Token::Bconst => self.one_of(&["B'0'", "b'1011'", "B''"]),
            Token::Xconst => self.one_of(&["X'0'", "x'fF'", "X''"]),
            _ => return None,
        };
        Some(literal)
    }

    fn string(&mut self, dollars: bool) -> String {
        let value = self.one_of(STRINGS);
        match self.below(6) {
            0 => format!(" E'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
            1 if !value.contains("$q$") => format!(" $q${value}$q$"),
            2 if !value.contains('$') => format!(" $${value}$$"),
            _ if dollars => format!(" '{}'", value.replace('\'', "''")),
            _ => format!("'{}'", value.replace('\'', "''")),
        }
    }
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
