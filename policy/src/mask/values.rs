//! Partial masks over text.
//!
//! Never shows more than each function's first line says. Invariant: a value that is too short, or not of the shape the
//! mask is made for, is hidden whole, so that a mask put on the wrong column shows nothing.

use bytes::{BufMut, BytesMut};

use super::detect::is_mod_97;

/// What stands for a hidden text.
pub(super) const HIDDEN: &[u8] = b"***";

/// A mask that shows part of a text, or nothing: `None` hides the value whole.
pub(super) type TextMask = fn(&str, &mut BytesMut) -> Option<()>;

/// First character of the local part, when that has at least three, and the domain.
pub(super) fn email(value: &str, out: &mut BytesMut) -> Option<()> {
    let at = memchr::memchr(b'@', value.as_bytes())?;
    let (local, host) = value.split_at_checked(at)?;
    if !is_local(local) || !is_domain(host.as_bytes().get(1..)?) {
        return None;
    }
    match local.as_bytes() {
        // Almost every address: one look for room.
        [first, _, _, ..] if local.is_ascii() => out.put_slice(&[*first, b'*', b'*', b'*']),
        _ => {
            if local.chars().count() >= 3 {
                put_char(out, local.chars().next()?);
            }
            out.put_slice(HIDDEN);
        }
    }
    out.put_slice(host.as_bytes());
    Some(())
}

fn is_local(local: &str) -> bool {
    let is_shown = |byte: u8| (0x21..0x7f).contains(&byte);
    let any_script = |letter: char| !letter.is_whitespace() && !letter.is_control();
    (1..=64).contains(&local.len()) && (local.bytes().all(is_shown) || local.chars().all(any_script))
}

/// At least two labels of letters, digits and hyphens.
fn is_domain(domain: &[u8]) -> bool {
    let (mut label, mut labels) = (0_u32, 1_u32);
    for byte in domain {
        match byte {
            b'.' if (1..=63).contains(&label) => (label, labels) = (0, labels.saturating_add(1)),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => label = label.saturating_add(1),
            _ => return false,
        }
    }
    (1..=63).contains(&label) && labels >= 2 && domain.len() <= 253
}

/// The last two of at least seven digits, and the punctuation.
pub(super) fn phone(value: &str, out: &mut BytesMut) -> Option<()> {
    last_digits(value, out, |byte| matches!(byte, b'+' | b'-' | b'(' | b')' | b'.' | b' ' | b'/'), 7..=20, 2)
}

/// The last four of 12 to 19 digits, and spaces and hyphens.
pub(super) fn card(value: &str, out: &mut BytesMut) -> Option<()> {
    last_digits(value, out, |byte| matches!(byte, b' ' | b'-'), 12..=19, 4)
}

/// The country and the last four characters of an account number that fits its check digits, and spaces.
pub(super) fn iban(value: &str, out: &mut BytesMut) -> Option<()> {
    let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
    if value.len() > 64 || !value.bytes().all(known) {
        return None;
    }
    let account: Vec<u8> = value.bytes().filter(|byte| *byte != b' ').collect();
    let has_country = account.iter().take(2).all(u8::is_ascii_uppercase);
    if !(15..=34).contains(&account.len()) || !has_country || !is_mod_97(&account) {
        return None;
    }
    let mut position = 0;
    for byte in value.bytes() {
        let shown = byte == b' ' || position < 2 || position + 4 >= account.len();
        out.put_u8(if shown { byte } else { b'*' });
        position += usize::from(byte != b' ');
    }
    Some(())
}

fn last_digits(
    value: &str,
    out: &mut BytesMut,
    is_punctuation: impl Fn(u8) -> bool,
    lengths: std::ops::RangeInclusive<usize>,
    shown: usize,
) -> Option<()> {
    let bytes = value.as_bytes();
    if bytes.len() > 64 {
        return None;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let others = bytes.iter().filter(|byte| is_punctuation(**byte)).count();
    if !lengths.contains(&digits) || digits.saturating_add(others) != bytes.len() {
        return None;
    }
    let start = out.len();
    out.put_slice(value.as_bytes());
    let copied = out.get_mut(start..).unwrap_or_default();
    let hidden = copied.iter_mut().filter(|byte| byte.is_ascii_digit()).take(digits.saturating_sub(shown));
    hidden.for_each(|byte| *byte = b'*');
    Some(())
}

/// The last four of at least eight characters.
pub(super) fn last4(value: &str, out: &mut BytesMut) -> Option<()> {
    if value.is_ascii() {
        let last: &[u8; 4] = value.as_bytes().get(4..)?.last_chunk()?;
        let [a, b, c, d] = *last;
        out.put_slice(&[b'*', b'*', b'*', a, b, c, d]);
        return Some(());
    }
    let start = value.char_indices().rev().nth(3)?.0;
    if value.chars().take(8).count() < 8 {
        return None;
    }
    out.put_slice(HIDDEN);
    out.put_slice(value.get(start..)?.as_bytes());
    Some(())
}

/// The first of at least four characters.
pub(super) fn first1(value: &str, out: &mut BytesMut) -> Option<()> {
    let mut letters = value.chars();
    let first = letters.next()?;
    letters.nth(2)?;
    put_char(out, first);
    out.put_slice(HIDDEN);
    Some(())
}

fn put_char(out: &mut BytesMut, letter: char) {
    out.put_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(mask: TextMask, value: &str, expected: Option<&str>) {
        let mut out = BytesMut::new();
        let shown = mask(value, &mut out).map(|()| String::from_utf8(out.to_vec()).unwrap());
        assert_eq!(shown.as_deref(), expected, "{value}");
    }

    #[test]
    fn email_shows_one_letter_and_the_domain() {
        check(email, "alice@example.com", Some("a***@example.com"));
        check(email, "élise@example.com", Some("é***@example.com"));
        check(email, "al@example.com", Some("***@example.com"));
        for other in [
            "alice",
            "@example.com",
            "a@b@example.com",
            "alice@localhost",
            "alice smith@x.org",
            "a@x..y",
            "721-07-4426",
        ] {
            check(email, other, None);
        }
        check(email, "x@secret value.example.com", None);
    }

    #[test]
    fn phone_shows_two_digits_and_the_punctuation() {
        check(phone, "+49 (30) 123-4567", Some("+** (**) ***-**67"));
        check(phone, "5551234", Some("*****34"));
        check(phone, "555123", None);
        check(phone, "call 5551234", None);
    }

    #[test]
    fn card_shows_four_digits() {
        check(card, "4111 1111 1111 1234", Some("**** **** **** 1234"));
        check(card, "4111-1111-1111-1234", Some("****-****-****-1234"));
        check(card, "41111111111", None);
        check(card, "alice@example.com", None);
    }

    #[test]
    fn iban_shows_the_country_and_four_characters() {
        check(iban, "DE89 3704 0044 0532 0130 00", Some("DE** **** **** **** **30 00"));
        check(iban, "GB29NWBK60161331926819", Some("GB****************6819"));
        check(iban, "DE89 3704 0044 0532 0130 01", None);
        check(iban, "de89370400440532013000", None);
        check(iban, "721-07-4426", None);
        check(iban, "", None);
    }

    #[test]
    fn last4_and_first1_hide_short_values() {
        check(last4, "721-07-4426", Some("***4426"));
        check(last4, "1234567", None);
        check(last4, "ééééüüüü", Some("***üüüü"));
        check(first1, "Alice", Some("A***"));
        check(first1, "日本語です", Some("日***"));
        check(first1, "Ann", None);
        check(first1, "", None);
    }

    proptest! {
        #[test]
        fn no_mask_repeats_the_value(value in "[a-z0-9@. é日+-]{1,24}|[a-z]{1,9}@[a-z]{1,9}\\.[a-z]{2,3}|[0-9 ]{7,25}") {
            for mask in [email, phone, card, iban, last4, first1] as [TextMask; 6] {
                let mut out = BytesMut::new();
                if mask(&value, &mut out).is_some() {
                    let shown = std::str::from_utf8(&out).unwrap();
                    prop_assert!(!shown.contains(&value), "{value:?} in {shown:?}");
                }
            }
        }

        #[test]
        fn any_text_is_survived(value in any::<String>()) {
            for mask in [email, phone, card, iban, last4, first1] as [TextMask; 6] {
                mask(&value, &mut BytesMut::new());
            }
        }
    }
}
