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
    let (local, domain) = value.split_once('@')?;
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_local = |letter: char| !letter.is_whitespace() && !letter.is_control();
    let is_address = !local.is_empty()
        && local.len() <= 64
        && domain.len() <= 253
        && domain.contains('.')
        && local.chars().all(is_local)
        && domain.split('.').all(is_label);
    if !is_address {
        return None;
    }
    if local.chars().count() >= 3 {
        put_char(out, local.chars().next()?);
    }
    out.put_slice(HIDDEN);
    out.put_u8(b'@');
    out.put_slice(domain.as_bytes());
    Some(())
}

/// The last two of at least seven digits, and the punctuation.
pub(super) fn phone(value: &str, out: &mut BytesMut) -> Option<()> {
    last_digits(value, out, b"+-(). /", 7..=20, 2)
}

/// The last four of 12 to 19 digits, and spaces and hyphens.
pub(super) fn card(value: &str, out: &mut BytesMut) -> Option<()> {
    last_digits(value, out, b" -", 12..=19, 4)
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
    punctuation: &[u8],
    lengths: std::ops::RangeInclusive<usize>,
    shown: usize,
) -> Option<()> {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let known = |byte: u8| byte.is_ascii_digit() || punctuation.contains(&byte);
    if !lengths.contains(&digits) || value.len() > 64 || !value.bytes().all(known) {
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
