//! A text with its literals taken out: what many texts of one program have in common.
//!
//! Never decides what may be shared; [`super::cache`] does. Invariant: **two texts of one shape are one sequence of tokens
//! to PostgreSQL, but for the values of their literals**, so they have one parse tree, but for those values.
//!
//! A literal becomes a control byte that says which token of PostgreSQL's scanner it is ([`TEXT`], [`SMALL`], [`INTEGER`],
//! [`FLOAT`], [`BITS`], [`HEX`]); white space and comments become one space; everything else stays byte for byte. The scan gives up
//! ([`scan`] yields `None`) wherever that could be untrue: where the server's version or settings decide (a backslash in
//! a plain string, `\v`, `1a`, `0x1F`, `1_000`, `1..2`), where literals are looked into by the grammar itself
//! (`U&'…'`, `float(24)`, `E'\x…'`), where white space has a meaning (`'a'` newline `'b'` is one string), and where it is
//! not worth it (`N'…'`, nested comments, tags of dollar quotes that are not ASCII, control bytes).
//!
//! The tests compare every shape with the tokens of PostgreSQL's own scanner.

/// A string constant, however it is quoted.
pub const TEXT: u8 = 1;
/// A larger number that PostgreSQL reads as an `int4`.
pub const INTEGER: u8 = 2;
/// Any other number.
pub const FLOAT: u8 = 3;
/// `B'…'`
pub const BITS: u8 = 4;
/// `X'…'`
pub const HEX: u8 = 5;
/// A number from 0 to [`SMALL_MAX`].
pub const SMALL: u8 = 6;

/// Largest number of the kind [`SMALL`].
pub const SMALL_MAX: u64 = 9999;

/// Longest text that is scanned, in bytes. So short a text has too few tokens for the limit on nesting of [`super::guard`],
/// whose counts literals take part in.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// What the scan saw besides the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether the text has any literal.
    pub literals: bool,
}

/// Writes the shape of the text into `shape`, which is cleared first; `None` when the text has no shape. A shape is not
/// longer than its text.
pub fn scan(text: &str, shape: &mut Vec<u8>) -> Option<Seen> {
    shape.clear();
    if text.len() > TEXT_BYTES_MAX || memchr::memchr(0, text.as_bytes()).is_some() {
        return None;
    }
    let mut scan = Scan { text: text.as_bytes(), at: 0, kept: 0, shape, literals: false, after_string: false };
    while let Some(first) = scan.peek(0) {
        scan.token(first)?;
    }
    scan.keep_until(scan.at);
    Some(Seen { literals: scan.literals })
}

/// The text for people who must not see its values: each literal is `…`, white space and comments are one space. `None` when
/// literals cannot be told for certain from the rest; the text is then not to be shown at all.
#[must_use]
pub fn without_literals(text: &str) -> Option<String> {
    let mut shape = Vec::with_capacity(text.len());
    scan(text, &mut shape)?;
    // Marks are ASCII, so what lies between them is whole.
    let shape = String::from_utf8(shape).ok()?;
    let mut shown = String::with_capacity(shape.len());
    for c in shape.trim().chars() {
        match u8::try_from(c) {
            Ok(TEXT | BITS | HEX) => shown.push_str("'…'"),
            Ok(INTEGER | FLOAT | SMALL) => shown.push('…'),
            _ => shown.push(c),
        }
    }
    Some(shown)
}

struct Scan<'a> {
    text: &'a [u8],
    /// Where the scan is.
    at: usize,
    /// What lies before is in the shape.
    kept: usize,
    shape: &'a mut Vec<u8>,
    literals: bool,
    /// Only white space and comments since a string constant.
    after_string: bool,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Moves past all bytes of these kinds.
    fn skip(&mut self, kinds: u8) {
        let rest = self.rest();
        self.at += rest.iter().position(|byte| kind(*byte) & kinds == 0).unwrap_or(rest.len());
    }

    fn keep_until(&mut self, end: usize) {
        self.shape.extend_from_slice(self.text.get(self.kept..end).unwrap_or_default());
    }

    /// Puts one byte in the place of what lies between `start` and here.
    fn replace(&mut self, start: usize, by: u8) {
        self.keep_until(start);
        self.shape.push(by);
        self.kept = self.at;
    }

    fn literal(&mut self, start: usize, token: u8) {
        self.replace(start, token);
        self.literals = true;
        self.after_string = !matches!(token, SMALL | INTEGER | FLOAT);
    }

    /// Consumes one token, or a run of white space and comments.
    fn token(&mut self, first: u8) -> Option<()> {
        match kind(first) & !NAMEABLE {
            PLAIN => {
                self.after_string = false;
                self.at += 1;
                Some(())
            }
            WORD => self.word(),
            DIGIT => self.number(),
            SPACE if first == b' ' && self.peek(1).is_some_and(ends_space) => {
                self.at += 1;
                Some(())
            }
            SPACE => self.space(),
            _ => self.special(first),
        }
    }

    /// What depends on the bytes after it.
    fn special(&mut self, first: u8) -> Option<()> {
        let next = self.peek(1);
        match (first, next) {
            (b'-', Some(b'-')) | (b'/', Some(b'*')) => return self.space(),
            (b'.', Some(b'0'..=b'9')) => return self.number(),
            (b'\'', _) if self.after_string => return None,
            (b'\'', _) => return self.quoted(self.at, TEXT, Backslash::GiveUp),
            (b'$', _) => return self.dollar(),
            _ => {}
        }
        self.after_string = false;
        match (first, next) {
            (b'"', _) => self.quoted_name(),
            (b'.', Some(b'.')) => None,
            (b'-' | b'/' | b'.', _) => {
                self.at += 1;
                Some(())
            }
            _ => None,
        }
    }

    fn space(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            match self.rest() {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0c, ..] => self.at += 1,
                [b'-', b'-', ..] => {
                    let rest = self.rest();
                    self.at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                }
                [b'/', b'*', ..] => self.comment()?,
                _ => break,
            }
        }
        if self.text.get(start..self.at) != Some(b" ") {
            self.replace(start, b' ');
        }
        Some(())
    }

    fn comment(&mut self) -> Option<()> {
        self.at += 2;
        loop {
            self.at += memchr::memchr2(b'*', b'/', self.rest())?;
            match self.rest() {
                [b'*', b'/', ..] => {
                    self.at += 2;
                    return Some(());
                }
                [b'/', b'*', ..] => return None,
                _ => self.at += 1,
            }
        }
    }

    /// A quoted constant from `start`; the scan is at its quote.
    fn quoted(&mut self, start: usize, token: u8, backslash: Backslash) -> Option<()> {
        self.at += 1;
        loop {
            self.at += memchr::memchr2(b'\'', b'\\', self.rest())?;
            match (self.peek(0)?, self.peek(1)) {
                // Elsewhere than in a text a doubled quote is two tokens.
                (b'\'', Some(b'\'')) if token == TEXT => self.at += 2,
                (b'\'', Some(b'\'')) => return None,
                (b'\'', _) => break,
                (_, Some(b'\\' | b'n' | b'r' | b't' | b'b' | b'f')) if backslash == Backslash::Escapes => self.at += 2,
                _ => return None,
            }
        }
        self.at += 1;
        self.literal(start, token);
        Some(())
    }

    /// An identifier or keyword, or the letter in front of a quoted constant.
    fn word(&mut self) -> Option<()> {
        let start = self.at;
        self.skip(WORD | DIGIT | DOLLAR);
        let word = self.text.get(start..self.at).unwrap_or_default();
        match (word, self.peek(0), self.peek(1)) {
            (b"e" | b"E", Some(b'\''), _) => return self.quoted(start, TEXT, Backslash::Escapes),
            (b"b" | b"B", Some(b'\''), _) => return self.quoted(start, BITS, Backslash::GiveUp),
            (b"x" | b"X", Some(b'\''), _) => return self.quoted(start, HEX, Backslash::GiveUp),
            (b"n" | b"N", Some(b'\''), _) | (b"u" | b"U", Some(b'&'), Some(b'\'' | b'"')) => return None,
            _ => {}
        }
        self.after_string = false;
        // The number in it decides whether the type is float4 or float8.
        if word.eq_ignore_ascii_case(b"float") && self.opens_parenthesis() { None } else { Some(()) }
    }

    /// Whether a parenthesis may come next.
    fn opens_parenthesis(&self) -> bool {
        let next = self.rest().iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c));
        matches!(next, Some(b'(' | b'-' | b'/'))
    }

    /// `"…"`, which stays as it is.
    fn quoted_name(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.skip(NAMEABLE);
            match (self.peek(0)?, self.peek(1)) {
                (b'"', Some(b'"')) => self.at += 2,
                (b'"', _) => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// `$1`, or a dollar-quoted constant.
    fn dollar(&mut self) -> Option<()> {
        let start = self.at;
        self.at += 1;
        if self.peek(0)?.is_ascii_digit() {
            self.skip(DIGIT);
            self.after_string = false;
            return if self.peek(0).is_some_and(|next| kind(next) & (WORD | DOLLAR) != 0) { None } else { Some(()) };
        }
        self.skip(WORD | DIGIT);
        if self.peek(0)? != b'$' {
            return None;
        }
        self.at += 1;
        let fence = self.text.get(start..self.at).filter(|fence| fence.is_ascii())?;
        self.at += memchr::memmem::find(self.rest(), fence)? + fence.len();
        self.literal(start, TEXT);
        Some(())
    }

    /// A number, which may begin with its decimal point.
    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.skip(DIGIT);
        let mut token = whole(self.text.get(start..self.at)?);
        if self.peek(0) == Some(b'.') {
            token = FLOAT;
            self.at += 1;
            self.skip(DIGIT);
        }
        match self.rest() {
            [b'e' | b'E', b'0'..=b'9', ..] | [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..] => {
                token = FLOAT;
                self.at += 2;
                self.skip(DIGIT);
            }
            _ => {}
        }
        if self.peek(0).is_some_and(|next| kind(next) & (WORD | DIGIT | DOLLAR) != 0 || next == b'.') {
            return None;
        }
        self.literal(start, token);
        Some(())
    }
}

/// What a backslash in a quoted constant is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    /// The beginning of an escape; those that may be wrong, or are not the same everywhere, are given up on.
    Escapes,
    GiveUp,
}

/// The kind of a whole number.
fn whole(digits: &[u8]) -> u8 {
    match digits {
        [_] | [_, _] | [_, _, _] | [_, _, _, _] => return SMALL,
        [b'1'..=b'9', ..] if digits.len() < 10 => return INTEGER,
        _ => {}
    }
    let value =
        digits.iter().fold(0_u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit & 0x0f)));
    match value {
        0..=SMALL_MAX => SMALL,
        value if value <= u64::from(i32::MAX.cast_unsigned()) => INTEGER,
        _ => FLOAT,
    }
}

/// Letters, `_` and everything that is not ASCII: what identifiers begin with.
const WORD: u8 = 1;
const DIGIT: u8 = 2;
const DOLLAR: u8 = 4;
/// White space.
const SPACE: u8 = 8;
/// A token, or part of an operator, whatever comes after it.
const PLAIN: u8 = 16;
/// Besides one of the others: may stand in a quoted name as it is.
const NAMEABLE: u8 = 32;

/// Whether white space and comments surely end with the byte before.
fn ends_space(next: u8) -> bool {
    kind(next) & SPACE == 0 && next != b'-' && next != b'/'
}

/// What a byte outside of literals can be.
fn kind(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or(0)
}

const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut rest: &mut [u8] = &mut kinds;
    let mut byte = 0_u8;
    while let [first, others @ ..] = rest {
        *first = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => WORD,
            b'0'..=b'9' => DIGIT,
            b'$' => DOLLAR,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => SPACE,
            b'(' | b')' | b',' | b';' | b'[' | b']' | b':' | b'+' | b'*' | b'<' | b'>' | b'=' => PLAIN,
            b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?' => PLAIN,
            _ => 0,
        };
        if byte >= b' ' && byte != b'"' && byte != 0x7f {
            *first |= NAMEABLE;
        }
        byte = byte.wrapping_add(1);
        rest = others;
    }
    kinds
};
