//! JSON strings: their escapes read and written.
//!
//! Never guesses: an escape that stands for no character makes the string unreadable. Source: RFC 8259, section 7.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

/// The characters of a string, given without its quotes; `None` when it cannot be read.
pub(super) fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(raw).ok()?;
    let Some(first) = text.find('\\') else { return Some(Cow::Borrowed(text)) };
    let (before, mut rest) = text.split_at_checked(first)?;
    let mut decoded = String::with_capacity(text.len());
    decoded.push_str(before);
    while let Some(at) = rest.find('\\') {
        decoded.push_str(rest.get(..at)?);
        let (letter, behind) = escape(rest.get(at.checked_add(1)?..)?)?;
        decoded.push(letter);
        rest = behind;
    }
    decoded.push_str(rest);
    Some(Cow::Owned(decoded))
}

/// The character of an escape, given without its backslash, and what is behind it.
fn escape(text: &str) -> Option<(char, &str)> {
    let mut letters = text.chars();
    let letter = match letters.next()? {
        letter @ ('"' | '\\' | '/') => letter,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => return unicode(letters.as_str()),
        _ => return None,
    };
    Some((letter, letters.as_str()))
}

fn unicode(text: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(text)?;
    if let Some(letter) = char::from_u32(first) {
        return Some((letter, rest));
    }
    let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
    let both = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    let letter = char::decode_utf16(both).next()?.ok()?;
    Some((letter, rest))
}

fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?, rest))
}

/// Appends a string with its quotes. Bytes that are no UTF-8 are replaced.
pub(in crate::mask) fn encode(text: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    for letter in String::from_utf8_lossy(text).chars() {
        match letter {
            '"' => out.put_slice(b"\\\""),
            '\\' => out.put_slice(b"\\\\"),
            control if u32::from(control) < 0x20 => {
                out.put_slice(b"\\u00");
                out.put_slice(hex::encode([u8::try_from(u32::from(control)).unwrap_or_default()]).as_bytes());
            }
            other => out.put_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(raw: &str, expected: Option<&str>) {
        assert_eq!(decode(raw.as_bytes()).as_deref(), expected, "{raw}");
    }

    #[test]
    fn escapes_are_read() {
        check("plain é", Some("plain é"));
        check(r#"\"\\\/\b\f\n\r\t"#, Some("\"\\/\u{8}\u{c}\n\r\t"));
        check(r"\u0065mail\u00e9", Some("emailé"));
        check(r"\ud83d\ude00!", Some("😀!"));
        for bad in [r"\x", r"\", r"\u12", r"\u+123", r"\ud83d", r"\ud83dx", r"\ude00", r"\ud83dA"] {
            check(bad, None);
        }
        assert_eq!(decode(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in any::<String>()) {
            let mut out = BytesMut::new();
            encode(text.as_bytes(), &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            prop_assert_eq!(&decode(&out[1..out.len() - 1]).unwrap(), &text);
        }
    }
}
