//! What in a text could deceive its reader: characters that do not show, turn the direction of writing, or look like others.
//!
//! Never changes a text; surfaces show what is found in their own way. Invariant: the pieces of a text, put together, are the
//! text, and no piece that is plain is a control character but line feed and tab.

/// One character and how it has to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Plain(char),
    /// By its number only: it shows nothing, or moves what is around it.
    Hidden(char),
    /// As it is, and by its number: it looks like another.
    Disguised(char),
}

/// The characters of a text with the offset of each, in bytes.
pub fn pieces(text: &str) -> impl Iterator<Item = (usize, Piece)> {
    words(text).flat_map(|(offset, word)| {
        let deceives = is_deceptive_word(word);
        word.char_indices().map(move |(at, c)| (offset + at, piece(c, deceives)))
    })
}

/// The beginning of a text, at most so many bytes of it.
#[must_use]
pub fn head(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// A character by its number: `<U+202E>`; line feed, tab and carriage return as in C.
#[must_use]
pub fn spelt(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        _ => format!("<U+{:04X}>", u32::from(c)),
    }
}

/// Runs of letters, digits and underscores, and every other character alone.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &text[start..];
        let first = rest.chars().next()?;
        let length = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let word = (start, &rest[..length]);
        start += length;
        Some(word)
    })
}

fn piece(c: char, in_deceptive_word: bool) -> Piece {
    match c {
        '\n' | '\t' | ' '..='~' => Piece::Plain(c),
        _ if is_hidden(c) => Piece::Hidden(c),
        _ if is_disguise(c) || (in_deceptive_word && is_look_alike(c)) => Piece::Disguised(c),
        _ => Piece::Plain(c),
    }
}

/// A text on one line, everything that could deceive spelt out.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (_, piece) in pieces(text) {
        match piece {
            Piece::Plain(c @ ('\n' | '\t')) | Piece::Hidden(c) => out.push_str(&spelt(c)),
            Piece::Plain(c) => out.push(c),
            Piece::Disguised(c) => {
                out.push(c);
                out.push_str(&spelt(c));
            }
        }
    }
    out
}

/// Shows nothing, moves or turns what is around it, or is a blank that PostgreSQL does not take for one.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c,
            '\u{00AD}' | '\u{0300}'..='\u{036F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{20D0}'..='\u{20FF}' | '\u{2800}' | '\u{3164}'
            | '\u{E000}'..='\u{F8FF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FE20}'..='\u{FE2F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{FFF0}'..='\u{FFFF}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{10FFFF}')
}

/// Stands for an ASCII character it is not: quotes, signs, full-width and mathematical letters.
fn is_disguise(c: char) -> bool {
    matches!(c,
        '\u{00B4}' | '\u{02B9}'..='\u{02BC}' | '\u{037E}' | '\u{05F3}' | '\u{2010}'..='\u{2015}' | '\u{2018}'..='\u{201F}'
        | '\u{2024}' | '\u{2032}'..='\u{2036}' | '\u{2044}' | '\u{204E}' | '\u{2100}'..='\u{214F}' | '\u{2212}'
        | '\u{2215}' | '\u{2217}' | '\u{2236}' | '\u{2329}' | '\u{232A}' | '\u{FE50}'..='\u{FE6B}'
        | '\u{FF01}'..='\u{FF5E}' | '\u{1D400}'..='\u{1D7FF}')
}

/// Letters of other scripts that are drawn like Latin ones.
fn is_look_alike(c: char) -> bool {
    "аАВсСԁеЕНһіІјЈКМоОрРѕЅТуУхХԛԝѵΑΒΕΖΗΙΚΜΝΟΡΤΥΧαγικνορυχϲϳոօսցհᴏᴠᴡıȷɑɡɩƖǀοօଠ൦".contains(c)
}

/// Mixes look-alikes with ASCII letters, or has no other letter at all.
fn is_deceptive_word(word: &str) -> bool {
    let mut letters = word.chars().filter(|c| c.is_alphabetic()).peekable();
    if letters.peek().is_none() || !word.chars().any(is_look_alike) {
        return false;
    }
    word.chars().any(|c| c.is_ascii_alphabetic()) || letters.all(is_look_alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_a_character() {
        assert_eq!((head("aü", 2), head("aü", 3), head("aü", 9), head("ü", 0)), ("a", "aü", "aü", ""));
    }

    proptest::proptest! {
        #[test]
        fn pieces_are_the_text(text in "\\PC*|[\\x00-\\x{3000}]*") {
            let of = |(_, piece): (usize, Piece)| match piece {
                Piece::Plain(c) | Piece::Hidden(c) | Piece::Disguised(c) => c,
            };
            proptest::prop_assert_eq!(pieces(&text).map(of).collect::<String>(), text.clone());
            proptest::prop_assert!(pieces(&text).all(|(at, _)| text.is_char_boundary(at)));
        }
    }
}
