//! What the name of a column says about its values.
//!
//! Never looks at a value. Invariant: a name is compared word by word, so that `shipping` is no `ip` and `company` no `pan`.

use countersign_policy::mask::{Detected, MaskKind};

use super::TypeClass;

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The mask for such values.
    pub(super) mask: MaskKind,
    /// The form by which such values can be told, if they have one.
    pub(super) form: Option<Detected>,
    what: &'static str,
}

impl Meaning {
    /// Why, for people.
    pub(super) fn named(&self) -> String {
        format!("named like {}", self.what)
    }
}

use TypeClass::{Date, Network, Number, Other, Text};

/// A group of words.
struct Words {
    /// Words that a name has to have, next to each other; any of these.
    any: &'static [&'static str],
    /// The types for which they count.
    of: &'static [TypeClass],
    meaning: Meaning,
}

const fn words_for(
    any: &'static [&'static str],
    of: &'static [TypeClass],
    mask: MaskKind,
    form: Option<Detected>,
    what: &'static str,
) -> Words {
    Words { any, of, meaning: Meaning { mask, form, what } }
}

/// The first that fits decides.
const WORDS: &[Words] = &[
    words_for(&["password", "passwd", "pwd", "passphrase"], &[Text, Other], MaskKind::Redact, None, "a password"),
    words_for(
        &["secret", "token", "api key", "apikey", "access key", "private key"],
        &[Text, Other],
        MaskKind::Redact,
        None,
        "a secret",
    ),
    words_for(
        &["email", "e mail", "mail", "mail address"],
        &[Text],
        MaskKind::Email,
        Some(Detected::Email),
        "an e-mail address",
    ),
    words_for(
        &["phone", "mobile", "telephone", "tel", "fax", "cell", "msisdn"],
        &[Text],
        MaskKind::Phone,
        Some(Detected::Phone),
        "a phone number",
    ),
    words_for(
        &["ssn", "social security", "sin"],
        &[Text],
        MaskKind::Last4,
        Some(Detected::Ssn),
        "a social security number",
    ),
    words_for(
        &["national id", "tax id", "tin", "passport", "driver license", "licence number", "nino", "personal number"],
        &[Text],
        MaskKind::Last4,
        None,
        "an identity document",
    ),
    words_for(&["iban"], &[Text], MaskKind::Iban, Some(Detected::Iban), "an IBAN"),
    words_for(&["account number", "bank account", "routing number"], &[Text], MaskKind::Last4, None, "a bank account"),
    words_for(
        &["card number", "credit card", "card", "cc number", "pan"],
        &[Text],
        MaskKind::Card,
        Some(Detected::Card),
        "a payment card",
    ),
    words_for(&["cvv", "cvc"], &[Text, Number], MaskKind::Null, None, "a card's security code"),
    words_for(
        &["ip", "ip address", "ip addr", "ipaddr", "remote addr", "client ip"],
        &[Text, Network],
        MaskKind::Ip,
        Some(Detected::Ip),
        "an IP address",
    ),
    words_for(
        &["dob", "birth date", "date of birth", "birthday", "birthdate", "born"],
        &[Date, Text],
        MaskKind::DateYear,
        None,
        "a date of birth",
    ),
    words_for(&["salary", "wage", "income", "compensation"], &[Number, Text], MaskKind::Zero, None, "an income"),
    words_for(
        &[
            "first name",
            "firstname",
            "given name",
            "last name",
            "lastname",
            "surname",
            "family name",
            "full name",
            "maiden name",
        ],
        &[Text],
        MaskKind::First1,
        None,
        "a person's name",
    ),
    words_for(
        &["street", "address line", "home address", "postal address", "postcode", "zip", "zipcode"],
        &[Text],
        MaskKind::Redact,
        None,
        "an address",
    ),
    words_for(&["diagnosis", "religion", "ethnicity", "blood type"], &[Text], MaskKind::Redact, None, "sensitive data"),
];

/// What the name means for a column of that kind of type; `None` when it means nothing.
pub(super) fn meaning(name: &str, class: TypeClass) -> Option<Meaning> {
    let name = words(name);
    let has = |wanted: &&str| format!(" {name} ").contains(&format!(" {wanted} "));
    let fits = |words: &&Words| words.of.contains(&class) && words.any.iter().any(has);
    WORDS.iter().find(fits).map(|words| words.meaning.clone())
}

/// The words of `snake_case`, `camelCase` and `kebab-case` names, in small letters.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for letter in name.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        before = letter;
        if letter.is_alphanumeric() { words.extend(letter.to_lowercase()) } else { words.push(' ') }
    }
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, class: TypeClass, expected: Option<MaskKind>) {
        assert_eq!(meaning(name, class).map(|meaning| meaning.mask), expected, "{name}");
    }

    #[test]
    fn names_are_read_word_by_word() {
        check("email", Text, Some(MaskKind::Email));
        check("customerEmail", Text, Some(MaskKind::Email));
        check("E-Mail", Text, Some(MaskKind::Email));
        check("home_phone", Text, Some(MaskKind::Phone));
        check("ssn_up", Text, Some(MaskKind::Last4));
        check("client_ip", Network, Some(MaskKind::Ip));
        check("date_of_birth", Date, Some(MaskKind::DateYear));
        check("access_token", Text, Some(MaskKind::Redact));
        check("last_name", Text, Some(MaskKind::First1));
        for name in
            ["shipping", "company", "singular", "name", "mailed_at", "product_name", "cardinality", "tokens_used", "id"]
        {
            check(name, Text, None);
        }
        check("email", Number, None);
        check("email_verified", Other, None);
    }
}
