//! Texts of statements without their literals.
//!
//! Never needs to know the settings of the session that sent it: where those decide where a literal ends, everything behind
//! its beginning is hidden. Invariant: no byte of a literal or a comment is shown; what is shown are keywords, names,
//! operators and parameters.

use bytes::{BufMut, BytesMut};

/// Appends the text with `?` for each literal, and without comments. A text that ends within a literal was cut off.
pub(super) fn without_literals(text: &str, out: &mut BytesMut) -> Option<()> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = bytes.get(at..)?;
        let length = match rest {
            [b'\'', ..] => literal(out, string(bytes, at)),
            [b'$', b'0'..=b'9', ..] => keep(out, rest, 1 + run(rest, 1, |byte| byte.is_ascii_digit())),
            [b'$', ..] => match dollar_quoted(rest) {
                Some(length) => literal(out, length),
                None => keep(out, rest, 1),
            },
            [b'-', b'-', ..] => blank(out, run(rest, 0, |byte| byte != b'\n' && byte != b'\r')),
            [b'/', b'*', ..] => blank(out, comment(rest)),
            [b'"', ..] => keep(out, rest, quoted_name(rest)),
            [b'0'..=b'9', ..] => literal(out, run(rest, 0, |byte| is_name(byte) || byte == b'.')),
            _ if is_name(*byte) => keep(out, rest, run(rest, 0, is_name)),
            _ => keep(out, rest, 1),
        };
        at = at.checked_add(length.max(1))?;
    }
    Some(())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || !byte.is_ascii()
}

fn run(bytes: &[u8], at: usize, of: impl Fn(u8) -> bool) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|byte| of(**byte)).count()
}

fn literal(out: &mut BytesMut, length: usize) -> usize {
    out.put_u8(b'?');
    length
}

fn blank(out: &mut BytesMut, length: usize) -> usize {
    out.put_u8(b' ');
    length
}

fn keep(out: &mut BytesMut, rest: &[u8], length: usize) -> usize {
    out.put_slice(rest.get(..length).unwrap_or(rest));
    length
}

/// The length of a string constant; all there is where it has no end, or where a backslash could be an escape.
fn string(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut end = 1;
    loop {
        match rest.get(end..) {
            Some([b'\'', b'\'', ..]) => end += 2,
            Some([b'\'', ..]) => return end + 1,
            Some([b'\\', ..] | []) | None => return rest.len(),
            Some(_) => end += 1,
        }
    }
}

fn dollar_quoted(rest: &[u8]) -> Option<usize> {
    let tag = 1 + run(rest, 1, |byte| is_name(byte) && byte != b'$');
    if rest.get(tag) != Some(&b'$') {
        return None;
    }
    let quote = rest.get(..=tag)?;
    let inside = rest.get(quote.len()..)?;
    let end = inside.windows(quote.len()).position(|window| window == quote);
    Some(end.map_or(rest.len(), |end| end + 2 * quote.len()))
}

fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        match rest.get(at..) {
            Some([b'/', b'*', ..]) => {
                depth += 1;
                at += 2;
            }
            Some([b'*', b'/', ..]) => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            Some([]) | None => return rest.len(),
            Some(_) => at += 1,
        }
    }
}

fn quoted_name(rest: &[u8]) -> usize {
    rest.iter().skip(1).position(|byte| *byte == b'"').map_or(rest.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        let mut out = BytesMut::new();
        without_literals(text, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn literals_and_comments_are_taken_out() {
        check("SELECT * FROM t1 WHERE ssn = '721' AND id = 5", "SELECT * FROM t1 WHERE ssn = ? AND id = ?");
        check("SELECT 'it''s', $1, $x$a 'b'$x$, -1.5e10, a.b", "SELECT ?, $1, ?, -?, a.b");
        check("SELECT 1 -- secret\nFROM \"a 'b\" /* x /* y */ z */ c", "SELECT ?  \nFROM \"a 'b\"   c");
        check("SELECT E'a\\'b secret', 'x'", "SELECT E?");
        check("SELECT 'a\\' secret', 'x'", "SELECT ?");
        check("SELECT x'ff', $$cut off", "SELECT x?, ?");
        check("SELECT 'cut off at the lim", "SELECT ?");
        check("SELECT U&'\\0041', é", "SELECT U&?");
    }

    proptest! {
        #[test]
        fn no_literal_is_shown(
            before in "[a-z0-9 ,=(]{0,12}", quote in "'|\\$\\$|\\$q\\$|--|/\\*", inside in "[A-Z' \\\\$*/-]{0,8}", after in "[a-z '$*/\\\\-]{0,12}",
        ) {
            let text = format!("{before} {quote}CANARY{inside}{after}");
            prop_assert!(!shown(&text).contains("CANARY"), "{}", shown(&text));
        }

        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            shown(&text);
        }
    }
}
