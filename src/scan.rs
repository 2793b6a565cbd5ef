//! Which columns of a database look like personal data: from their names, their types, and a sample of their values.
//!
//! Never keeps a value: a sample is counted where it is read, and what goes on is how many values looked like what.
//! Invariant: a proposal says why it was made, and is a `[[masks]]` entry that `countersign check` accepts.

mod names;
mod sample;

use std::fmt;

use countersign_policy::mask::{Detected, MaskKind};
use serde::Serialize;

pub use sample::{ScanError, Scanner};

/// Values of a column that were looked at, and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sampled {
    /// Values that are not NULL or empty.
    pub values: u32,
    /// How many of them are, as a whole, one of a kind.
    pub whole: Vec<(Detected, u32)>,
    /// How many hold something of that kind somewhere.
    pub holding: u32,
}

/// A column as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Schema, as stored.
    pub schema: String,
    /// Relation, as stored.
    pub relation: String,
    /// Name, as stored.
    pub name: String,
    /// What kind of type it has, domains seen through.
    pub class: TypeClass,
    /// What a sample showed; `None` when none could be taken.
    pub sampled: Option<Sampled>,
}

/// What a type can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeClass {
    /// Text of any kind.
    Text,
    /// Numbers.
    Number,
    /// Dates and times.
    Date,
    /// Network addresses.
    Network,
    /// Anything else.
    Other,
}

/// How sure a proposal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Name and values do not agree, or few values look like it.
    Low,
    /// The name says so, or most values do.
    Medium,
    /// Nearly all values do.
    High,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        })
    }
}

/// A column that should be masked, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// `schema.relation.column`, as `columns` of `[[masks]]` has it.
    pub column: String,
    /// The mask.
    pub mask: &'static str,
    /// How sure.
    pub confidence: Confidence,
    /// Why, for people.
    pub why: String,
}

/// Fewest values from which anything is concluded.
const VALUES_MIN: u32 = 5;

/// What to propose for a column; `None` when nothing speaks for a mask.
#[must_use]
pub fn propose(column: &ColumnFacts) -> Option<Proposal> {
    let (mask, confidence, why) = match (names::meaning(&column.name, column.class), column.sampled.as_ref()) {
        (by_name, Some(sampled)) if sampled.values >= VALUES_MIN => by_values(by_name, sampled)?,
        (Some(meaning), Some(_)) => {
            (meaning.mask.clone(), Confidence::Medium, format!("{}; too few values", meaning.named()))
        }
        (Some(meaning), None) => (meaning.mask.clone(), Confidence::Medium, meaning.named()),
        (None, _) => return None,
    };
    let parts = [&column.schema, &column.relation, &column.name];
    let [schema, relation, name] = parts.map(|part| pattern(part));
    Some(Proposal { column: format!("{schema}.{relation}.{name}"), mask: mask.as_str(), confidence, why })
}

fn by_values(by_name: Option<names::Meaning>, sampled: &Sampled) -> Option<(MaskKind, Confidence, String)> {
    let most = sampled.whole.iter().max_by_key(|(_, count)| *count).copied();
    let share = |count: u32| count.saturating_mul(100) / sampled.values.max(1);
    let told = |count: u32, what: &str| format!("{count} of {} sampled values {what}", sampled.values);
    match (by_name, most) {
        (named, Some((kind, count))) if share(count) >= 60 => {
            let confidence = if share(count) >= 90 { Confidence::High } else { Confidence::Medium };
            let values = told(count, &format!("are {}", words(kind)));
            let why = named.map_or_else(|| values.clone(), |named| format!("{}; {values}", named.named()));
            Some((mask_of(kind), confidence, why))
        }
        // What the name means has no form of its own.
        (Some(named), _) if named.form.is_none() => Some((named.mask.clone(), Confidence::Medium, named.named())),
        (Some(named), _) => {
            let count =
                sampled.whole.iter().filter(|(kind, _)| Some(*kind) == named.form).map(|(_, count)| count).sum();
            let values = told(count, "look like it");
            // A mask of that form would show `***` for what has another one, which is safe.
            Some((named.mask.clone(), Confidence::Low, format!("{}, but only {values}", named.named())))
        }
        (None, _) if share(sampled.holding) >= 2 => {
            let confidence = if share(sampled.holding) >= 20 { Confidence::Medium } else { Confidence::Low };
            Some((MaskKind::Detect, confidence, told(sampled.holding, "hold personal data among other text")))
        }
        (None, _) => None,
    }
}

fn mask_of(kind: Detected) -> MaskKind {
    match kind {
        Detected::Email => MaskKind::Email,
        Detected::Card => MaskKind::Card,
        Detected::Iban => MaskKind::Iban,
        Detected::Ssn => MaskKind::Last4,
        Detected::Phone => MaskKind::Phone,
        Detected::Ip => MaskKind::Ip,
        Detected::Jwt | Detected::AwsKey => MaskKind::Redact,
    }
}

fn words(kind: Detected) -> &'static str {
    match kind {
        Detected::Email => "e-mail addresses",
        Detected::Card => "card numbers",
        Detected::Iban => "IBANs",
        Detected::Ssn => "US social security numbers",
        Detected::Phone => "phone numbers",
        Detected::Ip => "IP addresses",
        Detected::Jwt => "JSON web tokens",
        Detected::AwsKey => "ids of AWS keys",
    }
}

/// A name as a pattern that fits it alone. A dot cannot be written in every place; any character stands for it.
fn pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '.' => pattern.push('?'),
            '*' | '?' | '[' | ']' | '{' | '}' | '\\' => pattern.extend(['\\', letter]),
            letter => pattern.push(letter),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use countersign_policy::rule::ColumnGlob;

    use super::*;

    fn column(name: &str, class: TypeClass, sampled: Option<Sampled>) -> ColumnFacts {
        ColumnFacts { schema: "public".to_owned(), relation: "t".to_owned(), name: name.to_owned(), class, sampled }
    }

    fn sampled(values: u32, whole: &[(Detected, u32)], holding: u32) -> Option<Sampled> {
        Some(Sampled { values, whole: whole.to_vec(), holding })
    }

    #[track_caller]
    fn check(name: &str, class: TypeClass, sampled: Option<Sampled>, expected: Option<(&str, Confidence)>) {
        let found = propose(&column(name, class, sampled));
        assert_eq!(found.as_ref().map(|found| (found.mask, found.confidence)), expected, "{name}: {found:?}");
    }

    #[test]
    fn values_decide_where_there_are_some() {
        use Confidence::{High, Low, Medium};
        use TypeClass::{Date, Number, Text};
        check("email", Text, None, Some(("email", Medium)));
        check("email", Text, sampled(100, &[(Detected::Email, 98)], 98), Some(("email", High)));
        check("contact", Text, sampled(100, &[(Detected::Email, 70)], 70), Some(("email", Medium)));
        check("ref", Text, sampled(100, &[(Detected::Ssn, 100)], 100), Some(("last4", High)));
        check("phone", Text, sampled(100, &[], 0), Some(("phone", Low)));
        check("note", Text, sampled(100, &[(Detected::Email, 3)], 30), Some(("detect", Medium)));
        check("note", Text, sampled(100, &[], 0), None);
        check("email", Text, sampled(2, &[(Detected::Email, 2)], 2), Some(("email", Medium)));
        check("birth_date", Date, sampled(0, &[], 0), Some(("date_year", Medium)));
        check("salary", Number, None, Some(("zero", Medium)));
        check("id", Number, None, None);
        check("password_hash", Text, sampled(100, &[], 0), Some(("redact", Medium)));
    }

    #[test]
    fn columns_are_patterns_that_fit_them() {
        for name in ["email", "e.mail", "we*ird[mail]", "a\\email"] {
            let found = propose(&column(&format!("{name}_email"), TypeClass::Text, None)).unwrap();
            let glob = ColumnGlob::new(&found.column).unwrap();
            assert!(glob.matches_relation("public", "t") && glob.matches_column(&format!("{name}_email")), "{name}");
        }
    }
}
