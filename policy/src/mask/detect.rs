//! Personal data in a text of unknown origin, found by its form and its check digits.
//!
//! Never decides where it is looked for; [`super::MaskSet`] does. Invariant: one pass, with bounded work at each place,
//! and what is found begins and ends where a word does.
//!
//! | kind | what is taken for it |
//! |---|---|
//! | e-mail | `local@domain.tld`, ASCII |
//! | card | 13 to 19 digits that begin like a card's and fit Luhn's check digit, in one run or in groups |
//! | IBAN | country, check digits and account that fit mod 97 (ISO 13616), in one run or in groups of four |
//! | SSN | `ddd-dd-dddd` with no part all zeros |
//! | phone | `+` and 8 to 15 digits, or a North American number with its punctuation |
//! | IP | four decimal octets, or an IPv6 address |
//! | JWT | three parts of base64url, the first one a JSON object |
//! | AWS key | `AKIA` or `ASIA` and 16 letters and digits |

use std::net::Ipv6Addr;
use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::values::HIDDEN;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detected {
    /// An e-mail address.
    Email,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A US social security number.
    Ssn,
    /// A phone number.
    Phone,
    /// An IP address.
    Ip,
    /// A JSON web token.
    Jwt,
    /// The id of an access key of AWS.
    AwsKey,
}

/// Longest run of digits, letters and punctuation that is looked at as one number.
const NUMBER_BYTES_MAX: usize = 48;
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 253;

/// What the whole text is, white space around it aside.
#[must_use]
pub fn detect_whole(text: &str) -> Option<Detected> {
    let text = text.trim().as_bytes();
    let (kind, place) = next(text, 0)?;
    (place == (0..text.len())).then_some(kind)
}

/// The first thing in the text that looks like personal data.
#[must_use]
pub fn detect_any(text: &str) -> Option<Detected> {
    next(text.as_bytes(), 0).map(|(kind, _)| kind)
}

/// Appends the text with everything that was found replaced by `***`.
pub(super) fn hide(text: &str, out: &mut BytesMut) -> Option<()> {
    let bytes = text.as_bytes();
    let mut at = 0;
    if !may_hold(text) {
        out.put_slice(bytes);
        return Some(());
    }
    while let Some((_, place)) = next(bytes, at) {
        out.put_slice(bytes.get(at..place.start)?);
        out.put_slice(HIDDEN);
        at = place.end;
    }
    out.put_slice(bytes.get(at..)?);
    Some(())
}

/// Whether anything can be found at all: most texts need no closer look.
fn may_hold(text: &str) -> bool {
    let begins =
        |three: &[u8]| matches!(three, [b':', b':', _] | [b'e', b'y', b'J'] | [b'A', b'K', b'I'] | [b'A', b'S', b'I']);
    text.bytes().any(|byte| byte.is_ascii_digit() || byte == b'@') || text.as_bytes().windows(3).any(begins)
}

/// The first finding that begins at `from` or later.
fn next(text: &[u8], from: usize) -> Option<(Detected, Range<usize>)> {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        let found = match byte {
            b'@' => email(text, from, at),
            b'0'..=b'9' | b'+' | b'(' | b':' | b'a'..=b'f' | b'A'..=b'Z' if begins_word(text, from, at) => {
                let number = if goes_on(text, from, at) { None } else { number(text, at) };
                number.or_else(|| word(text, at))
            }
            b'e' if begins_word(text, from, at) => word(text, at),
            _ => None,
        };
        match found {
            Some(found) => return Some(found),
            // Nothing within a word begins one.
            None if is_word(*byte) => at += run(text, at, is_word).max(1),
            None => at += 1,
        }
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn begins_word(text: &[u8], from: usize, at: usize) -> bool {
    at <= from || at.checked_sub(1).and_then(|before| text.get(before)).is_none_or(|before| !is_word(*before))
}

/// Whether a number that begins here is a later group of another one.
fn goes_on(text: &[u8], from: usize, at: usize) -> bool {
    let before = text.get(from..at).unwrap_or_default();
    matches!(before, [.., b'0'..=b'9', b'-' | b'.' | b'/'])
}

fn ends_word(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|next| !is_word(*next))
}

/// How many bytes from `at` on are of that kind.
fn run(text: &[u8], at: usize, of: impl Fn(u8) -> bool) -> usize {
    text.get(at..).unwrap_or_default().iter().take_while(|byte| of(**byte)).count()
}

fn email(text: &[u8], from: usize, at: usize) -> Option<(Detected, Range<usize>)> {
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(byte);
    let before = text.get(from..at)?;
    let local = before.iter().rev().take(LOCAL_BYTES_MAX).take_while(|byte| is_local(byte)).count();
    let start = at.checked_sub(local)?;
    let rest = text.get(at.checked_add(1)?..)?;
    let domain = rest
        .iter()
        .take(DOMAIN_BYTES_MAX)
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        .count();
    let mut name = rest.get(..domain)?;
    // A full stop behind it ends a sentence.
    while let Some((b'.' | b'-', shorter)) = name.split_last() {
        name = shorter;
    }
    let (_, top) = name.rsplit_once_byte(b'.')?;
    let is_name = local > 0 && top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic) && !name.starts_with(b".");
    is_name.then(|| (Detected::Email, start..at.saturating_add(1).saturating_add(name.len())))
}

trait SplitByte {
    fn rsplit_once_byte(&self, byte: u8) -> Option<(&[u8], &[u8])>;
}

impl SplitByte for [u8] {
    fn rsplit_once_byte(&self, byte: u8) -> Option<(&[u8], &[u8])> {
        let at = self.iter().rposition(|own| *own == byte)?;
        Some((self.get(..at)?, self.get(at.checked_add(1)?..)?))
    }
}

/// A run of digits, hexadecimal digits and punctuation.
fn number(text: &[u8], at: usize) -> Option<(Detected, Range<usize>)> {
    let place = |length: usize| at..at.saturating_add(length);
    let rest = text.get(at..)?;
    let rest = rest.get(..NUMBER_BYTES_MAX.min(rest.len()))?;
    if rest.first().is_some_and(u8::is_ascii_alphabetic) {
        let length = ip(rest).filter(|length| ends_word(text, at.saturating_add(*length)))?;
        return Some((Detected::Ip, place(length)));
    }
    if let Some(length) = ssn(rest).filter(|length| ends(text, at, *length)) {
        return Some((Detected::Ssn, place(length)));
    }
    if let Some(length) = card(rest).filter(|length| ends(text, at, *length)) {
        return Some((Detected::Card, place(length)));
    }
    if let Some(length) = phone(rest).filter(|length| ends(text, at, *length)) {
        return Some((Detected::Phone, place(length)));
    }
    let length = ip(rest).filter(|length| ends_word(text, at.saturating_add(*length)))?;
    Some((Detected::Ip, place(length)))
}

/// Whether nothing goes on behind it, as the next group of a longer number would.
fn ends(text: &[u8], at: usize, length: usize) -> bool {
    let end = at.saturating_add(length);
    let goes_on = matches!(text.get(end..), Some([b'-' | b'.' | b'/' | b':', next, ..]) if is_word(*next));
    ends_word(text, end) && !goes_on
}

fn ssn(text: &[u8]) -> Option<usize> {
    let (area, group, serial) = (text.get(..3)?, text.get(4..6)?, text.get(7..11)?);
    let is_number = |part: &[u8]| part.iter().all(u8::is_ascii_digit) && part.iter().any(|digit| *digit != b'0');
    let is_separated = text.get(3) == Some(&b'-') && text.get(6) == Some(&b'-');
    (is_separated && is_number(area) && is_number(group) && is_number(serial)).then_some(11)
}

/// The digits at the beginning, in groups of at least two that one kind of separator stands between.
fn groups(text: &[u8], separator: u8) -> (Vec<u8>, usize) {
    let (mut digits, mut length) = (Vec::with_capacity(20), 0);
    loop {
        let group = run(text, length, |byte| byte.is_ascii_digit());
        let start = if digits.is_empty() { length } else { length.saturating_add(1) };
        let group = if digits.is_empty() { group } else { run(text, start, |byte| byte.is_ascii_digit()) };
        let joined = digits.is_empty() || text.get(length) == Some(&separator);
        if group < 2 || !joined || digits.len() > 19 {
            return (digits, length);
        }
        digits.extend_from_slice(text.get(start..start.saturating_add(group)).unwrap_or_default());
        length = start.saturating_add(group);
    }
}

fn card(text: &[u8]) -> Option<usize> {
    // Shorter runs are most numbers.
    if !text.first()?.is_ascii_digit() || run(text, 0, |byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'-')) < 13
    {
        return None;
    }
    let (digits, length) = [b' ', b'-'].into_iter().map(|by| groups(text, by)).max_by_key(|(_, length)| *length)?;
    let begins = |list: &[&str]| list.iter().any(|beginning| digits.starts_with(beginning.as_bytes()));
    let of_issuer = match digits.len() {
        13 | 19 => begins(&["4", "62", "6"]),
        14 => begins(&["30", "36", "38", "39"]),
        15 => begins(&["34", "37"]),
        16 => begins(&[
            "4", "51", "52", "53", "54", "55", "22", "23", "24", "25", "26", "27", "35", "6011", "62", "64", "65",
        ]),
        17 | 18 => begins(&["62"]),
        _ => false,
    };
    (of_issuer && luhn(&digits)).then_some(length)
}

/// Luhn's check digit (ISO/IEC 7812-1).
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, digit)| {
            let value = u32::from(digit & 0x0f);
            let doubled = if position % 2 == 1 { value * 2 } else { value };
            if doubled > 9 { doubled - 9 } else { doubled }
        })
        .sum();
    sum.is_multiple_of(10)
}

fn phone(text: &[u8]) -> Option<usize> {
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    if text.first() == Some(&b'+') {
        let length = run(text, 0, |byte| byte.is_ascii_digit() || b"+ -.()/".contains(&byte));
        let mut number = text.get(..length)?;
        while let Some((_, shorter)) = number.split_last().filter(|(last, _)| !last.is_ascii_digit()) {
            number = shorter;
        }
        let digits = number.iter().filter(|byte| byte.is_ascii_digit()).count();
        return (is_digit(1) && (8..=15).contains(&digits)).then_some(number.len());
    }
    // (ddd) ddd-dddd, ddd-ddd-dddd, ddd.ddd.dddd
    let bracketed = text.first() == Some(&b'(');
    let patterns: &[&[u8]] =
        if bracketed { &[b"(ddd) ddd-dddd", b"(ddd)ddd-dddd"] } else { &[b"ddd-ddd-dddd", b"ddd.ddd.dddd"] };
    let fits = |pattern: &&&[u8]| {
        pattern.iter().enumerate().all(|(at, of)| if *of == b'd' { is_digit(at) } else { text.get(at) == Some(of) })
    };
    patterns.iter().find(fits).map(|pattern| pattern.len())
}

fn ip(text: &[u8]) -> Option<usize> {
    let length = run(text, 0, |byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
    if length < 4 {
        return None;
    }
    let candidate = std::str::from_utf8(text.get(..length)?).ok()?.trim_end_matches('.');
    let is_v4 = || {
        let octets = || candidate.split('.');
        octets().count() == 4 && octets().all(|octet| octet.len() <= 3 && octet.parse::<u8>().is_ok())
    };
    let is_v6 = || {
        let colons = candidate.bytes().filter(|byte| *byte == b':').count();
        colons >= 2 && candidate.len() >= colons + 4 && candidate.parse::<Ipv6Addr>().is_ok()
    };
    (is_v4() || is_v6()).then_some(candidate.len())
}

/// What begins with letters.
fn word(text: &[u8], at: usize) -> Option<(Detected, Range<usize>)> {
    let rest = text.get(at..)?;
    let place = |length: usize| at..at.saturating_add(length);
    if rest.starts_with(b"eyJ") {
        return jwt(rest).map(|length| (Detected::Jwt, place(length)));
    }
    if rest.starts_with(b"AKIA") || rest.starts_with(b"ASIA") {
        let length = run(rest, 0, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        return (length == 20 && ends_word(rest, length)).then(|| (Detected::AwsKey, place(length)));
    }
    iban(rest).map(|length| (Detected::Iban, place(length)))
}

fn jwt(text: &[u8]) -> Option<usize> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let header = run(text, 0, is_base64);
    let payload = run(text, header.checked_add(1)?, is_base64);
    let signature_at = header.checked_add(payload)?.checked_add(2)?;
    let dots = text.get(header) == Some(&b'.') && text.get(signature_at.checked_sub(1)?) == Some(&b'.');
    let signature = run(text, signature_at, is_base64);
    (dots && header >= 10 && payload >= 10).then(|| signature_at.saturating_add(signature))
}

/// 15 to 34 letters and digits, in one run or in groups of four.
fn iban(text: &[u8]) -> Option<usize> {
    let [a, b, c, d, ..] = text else { return None };
    if !(a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_digit() && d.is_ascii_digit()) {
        return None;
    }
    let mut account = Vec::with_capacity(34);
    let mut length = 0;
    loop {
        let group = run(text, length, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        account.extend(text.get(length..length.saturating_add(group))?.iter().take(35));
        length = length.saturating_add(group);
        if group != 4 || text.get(length) != Some(&b' ') || account.len() > 34 {
            break;
        }
        let next = run(text, length.saturating_add(1), |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        let after = text.get(length.saturating_add(1).saturating_add(next));
        // A word behind the number is none of its groups.
        if !(1..=4).contains(&next) || after.is_some_and(|byte| is_word(*byte)) {
            break;
        }
        length = length.saturating_add(1);
    }
    ((15..=34).contains(&account.len()) && ends_word(text, length) && is_mod_97(&account)).then_some(length)
}

/// ISO 7064, mod 97-10: the first four characters go to the end, letters count from 10.
pub(super) fn is_mod_97(account: &[u8]) -> bool {
    let (head, tail) = account.split_at_checked(4).unwrap_or_default();
    let remainder = tail.iter().chain(head).try_fold(0_u32, |remainder, letter| {
        let value = char::from(*letter).to_digit(36)?;
        Some((remainder * if value > 9 { 100 } else { 10 } + value) % 97)
    });
    remainder == Some(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hidden(text: &str) -> String {
        let mut out = BytesMut::new();
        hide(text, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(hidden(text), expected, "{text}");
    }

    /// Nothing is found in it.
    #[track_caller]
    fn free(text: &str) {
        check(text, text);
        assert_eq!(detect_whole(text), None, "{text}");
    }

    #[test]
    fn personal_data_is_found_inside_a_text() {
        check("write to ada.q+x@mail.example.org, or call", "write to ***, or call");
        check("<ada@example.com>; bob@example.com.", "<***>; ***.");
        check("a@example.comb@example.com", "***@example.com");
        check("ref-721-07-4426 1,4111111111111111", "ref-*** 1,***");
        check("card 4111 1111 1111 1111 ok", "card *** ok");
        check("4111111111111111", "***");
        check("amex 3782-822463-10005", "amex ***");
        check("pay DE89 3704 0044 0532 0130 00 today", "pay *** today");
        check("GB29NWBK60161331926819", "***");
        check("ssn=721-07-4426;", "ssn=***;");
        check("(721-07-4426)", "(***)");
        check("+49 30 123456-78, +1 (212) 555-0100.", "***, ***.");
        check("(212) 555-0100 or 212-555-0100 or 212.555.0100", "*** or *** or ***");
        check("from 10.1.2.3 to 2001:db8::1, and ::ffff:10.0.0.1.", "from *** to ***, and ***.");
        check("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "***");
        check("key AKIAIOSFODNN7EXAMPLE!", "key ***!");
        check("{\"mail\":\"ada@example.com\",\"n\":1}", "{\"mail\":\"***\",\"n\":1}");
        check("é@x.org 日本ada@example.com", "é@x.org 日本***");
    }

    #[test]
    fn everyday_texts_are_left_alone() {
        for text in [
            "",
            "order 4111111111111112, invoice 2024-05-17/0042",
            "00000000-0000-4000-8000-000000000001",
            "12345678-1234-1234-1234-123456789012",
            "550e8400-e29b-41d4-a716-446655440000",
            "2024-05-17 12:34:56.789012+02",
            "2024-05-17T12:34:56Z",
            "1716000000000",
            "1716000000123456789",
            "12:34:56 aa:bb:cc:dd:ee:ff",
            "v1.2.3, 1.2.3.4.5, 300.1.2.3",
            "SKU-0042-1234, r17, 0123456789",
            "user@localhost, @handle, a @ b.c, name@",
            "DE89370400440532013001",
            "AB12CDEF",
            "AKIAIOSFODNN7",
            "eyJ.x.y",
            "000-12-3456 721-00-4426 721-07-0000 1721-07-4426 721-07-44261",
            "price 1,234.50 EUR + 20 %, (10)",
            "0x4111111111111111",
            "std::vec, a::b, ::",
            "100-200-300",
        ] {
            free(text);
        }
    }

    #[test]
    fn a_whole_value_is_told_by_its_kind() {
        for (text, kind) in [
            ("ada@example.com", Detected::Email),
            (" 4111 1111 1111 1111 ", Detected::Card),
            ("FR14 2004 1010 0505 0001 3M02 606", Detected::Iban),
            ("721-07-4426", Detected::Ssn),
            ("+4930123456", Detected::Phone),
            ("192.168.0.1", Detected::Ip),
            ("fe80::1", Detected::Ip),
        ] {
            assert_eq!(detect_whole(text), Some(kind), "{text}");
        }
        assert_eq!(detect_whole("ada@example.com, bob@example.com"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            hidden(&text);
        }

        #[test]
        fn what_is_planted_is_found(
            before in "[a-z ,;()]{0,20}[ ,;]", after in "[ ,;)][a-z ,;()]{0,20}",
            planted in prop::sample::select(vec!["721-07-4426", "4111111111111111", "DE89370400440532013000", "ada@example.com", "AKIAIOSFODNN7EXAMPLE"]),
        ) {
            prop_assert_eq!(hidden(&format!("{before}{planted}{after}")), format!("{before}***{after}"));
        }

        #[test]
        fn uuids_and_times_are_left_alone(text in "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}|20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]") {
            prop_assert_eq!(hidden(&text), text);
        }
    }
}
