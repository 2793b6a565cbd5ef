//! What is looked at before any parser is: length, NUL, comment depth, and how deep and how large a parse tree could get.
//!
//! Never decides what a statement means. Invariant: a text that passes needs at most [`Measure::stack_bytes`] of stack in
//! either parser, because a tree cannot be deeper than the tokens that could nest.

use super::NotUnderstood;

/// Longest text that is analysed, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Deepest nesting of `/* */` comments; PostgreSQL's own scanner needs quadratic time beyond.
pub const COMMENT_DEPTH_MAX: usize = 16;
/// Most tokens that may nest into each other.
const NESTING_MAX: usize = 20_000;
/// Deepest nesting of parentheses and brackets.
const PARENTHESES_MAX: usize = 1_000;
/// Most memory that the trees of a text may take together, in KiB, by the estimates below.
const TREES_KIB_MAX: usize = 720 << 10;
/// What one query is taken to cost besides its other tokens, in KiB.
const QUERY_KIB: usize = 14;
/// What one name, keyword, operator or end of a statement is taken to cost, in KiB.
const TOKEN_KIB: usize = 4;
/// What one opening parenthesis or bracket is taken to cost, in KiB.
const PARENTHESIS_KIB: usize = 3;
/// What one constant, parameter, comma or colon is taken to cost, in KiB.
const SMALL_KIB: usize = 1;
/// Stack that one level of the tree may cost in a parser, its output or its destructor.
const LEVEL_BYTES: usize = 2_048;
/// Stack that a flat statement may cost; unoptimised builds have large frames.
const BASE_BYTES: usize = 768 * 1024;

/// What the scan found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Bytes of stack that both readings need.
    pub stack_bytes: usize,
    /// Whether the text ends outside of comments and strings. If not, the grammar must reject it.
    pub is_complete: bool,
    /// Whether a number has letters or underscores in it (`0x1F`, `1_000`, `1a`, `$1a`), which servers read differently.
    pub has_marked_number: bool,
}

/// Scans the text once.
///
/// # Errors
/// [`NotUnderstood::Guard`] when a limit is exceeded.
pub fn measure(text: &str) -> Result<Measure, NotUnderstood> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(NotUnderstood::Guard("the text is too long"));
    }
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(NotUnderstood::Guard("the text contains a NUL byte"));
    }
    let mut scan = Scan {
        rest: text.as_bytes(),
        levels: vec![0],
        chain: 0,
        total: 0,
        deepest: 0,
        trees_kib: 0,
        is_complete: true,
        has_marked_number: false,
    };
    while scan.token()? {}
    Ok(Measure {
        stack_bytes: BASE_BYTES + scan.deepest * LEVEL_BYTES,
        is_complete: scan.is_complete,
        has_marked_number: scan.has_marked_number,
    })
}

struct Scan<'a> {
    rest: &'a [u8],
    /// Tokens since the last comma, per open parenthesis.
    levels: Vec<usize>,
    /// Set operations, which nest across commas.
    chain: usize,
    total: usize,
    deepest: usize,
    /// What the trees of all that was scanned may cost.
    trees_kib: usize,
    is_complete: bool,
    has_marked_number: bool,
}

impl Scan<'_> {
    /// Consumes one token; false at the end.
    fn token(&mut self) -> Result<bool, NotUnderstood> {
        let Some((&first, after)) = self.rest.split_first() else { return Ok(false) };
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.rest = after,
            b'-' if after.first() == Some(&b'-') => self.skip_line(),
            b'/' if after.first() == Some(&b'*') => self.skip_comment()?,
            b'\'' => self.skip_quoted(b'\'', false)?,
            b'"' => self.skip_quoted(b'"', false)?,
            b'$' => self.dollar()?,
            b'(' | b'[' => {
                self.rest = after;
                self.open()?;
            }
            b')' | b']' => {
                self.rest = after;
                self.close();
            }
            b',' => {
                self.rest = after;
                self.pay(SMALL_KIB)?;
                self.reset_level();
            }
            b';' => {
                self.rest = after;
                self.levels = vec![0];
                self.chain = 0;
                self.total = 0;
                self.pay(TOKEN_KIB)?;
            }
            byte if is_word(byte) => self.word()?,
            _ => {
                self.rest = after;
                self.pay(if first == b':' { SMALL_KIB } else { TOKEN_KIB })?;
                self.count()?;
            }
        }
        Ok(true)
    }

    fn count(&mut self) -> Result<(), NotUnderstood> {
        if let Some(last) = self.levels.last_mut() {
            *last += 1;
        }
        self.total += 1;
        self.deepest = self.deepest.max(self.total + self.chain);
        if self.total + self.chain > NESTING_MAX {
            return Err(NotUnderstood::Guard("the statement may nest too deeply"));
        }
        Ok(())
    }

    fn pay(&mut self, kib: usize) -> Result<(), NotUnderstood> {
        self.trees_kib += kib;
        if self.trees_kib > TREES_KIB_MAX { Err(NotUnderstood::Guard("the text has too many parts")) } else { Ok(()) }
    }

    fn open(&mut self) -> Result<(), NotUnderstood> {
        self.pay(PARENTHESIS_KIB)?;
        self.count()?;
        self.levels.push(0);
        if self.levels.len() > PARENTHESES_MAX {
            return Err(NotUnderstood::Guard("parentheses nest too deeply"));
        }
        Ok(())
    }

    fn close(&mut self) {
        if self.levels.len() > 1 {
            self.total -= self.levels.pop().unwrap_or(0);
        }
    }

    fn reset_level(&mut self) {
        if let Some(last) = self.levels.last_mut() {
            self.total -= *last;
            *last = 0;
        }
    }

    fn skip_line(&mut self) {
        let end = memchr::memchr2(b'\n', b'\r', self.rest).unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
    }

    fn skip_comment(&mut self) -> Result<(), NotUnderstood> {
        let mut depth = 0_usize;
        loop {
            match self.rest {
                [b'/', b'*', tail @ ..] => {
                    depth += 1;
                    self.rest = tail;
                }
                [b'*', b'/', tail @ ..] => {
                    depth -= 1;
                    self.rest = tail;
                }
                [_, tail @ ..] => self.rest = tail,
                [] => {
                    self.is_complete = false;
                    return Ok(());
                }
            }
            if depth == 0 {
                return Ok(());
            }
            if depth > COMMENT_DEPTH_MAX {
                return Err(NotUnderstood::Guard("comments nest too deeply"));
            }
        }
    }

    /// Skips a quoted piece. Without escapes a doubled quote, and a string that goes on in another line, read as two pieces,
    /// which is the same here; with them they are one, because a backslash means something in the second too.
    fn skip_quoted(&mut self, quote: u8, escapes: bool) -> Result<(), NotUnderstood> {
        self.pay(if quote == b'"' { TOKEN_KIB } else { SMALL_KIB })?;
        self.count()?;
        let mut at = 1;
        loop {
            match self.rest.get(at) {
                None => {
                    self.is_complete = false;
                    break;
                }
                Some(b'\\') if escapes => at += 2,
                Some(byte) if *byte == quote => match self.rest.get(at + 1..).and_then(continuation) {
                    Some(skipped) if escapes => at += 1 + skipped,
                    Some(_) | None => break,
                },
                Some(_) => at += 1,
            }
        }
        self.rest = self.rest.get(at + 1..).unwrap_or_default();
        Ok(())
    }

    fn dollar(&mut self) -> Result<(), NotUnderstood> {
        self.pay(SMALL_KIB)?;
        self.count()?;
        let digits = self.rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            self.rest = self.rest.get(1 + digits..).unwrap_or_default();
            self.has_marked_number |= self.rest.first().is_some_and(|byte| is_word(*byte));
            return Ok(());
        }
        let tag = self.rest.iter().skip(1).take_while(|byte| is_word(**byte)).count();
        if self.rest.get(tag + 1) != Some(&b'$') {
            self.rest = self.rest.get(1..).unwrap_or_default();
            return Ok(());
        }
        let (fence, body) = self.rest.split_at_checked(tag + 2).unwrap_or_default();
        let end = memchr::memmem::find(body, fence);
        self.is_complete &= end.is_some();
        self.rest = end.and_then(|end| body.get(end + fence.len()..)).unwrap_or_default();
        Ok(())
    }

    fn word(&mut self) -> Result<(), NotUnderstood> {
        let length = self.rest.iter().take_while(|byte| is_word(**byte) || **byte == b'$').count();
        let (word, after) = self.rest.split_at_checked(length).unwrap_or_default();
        if word.eq_ignore_ascii_case(b"e") && after.first() == Some(&b'\'') {
            self.rest = after;
            return self.skip_quoted(b'\'', true);
        }
        if [&b"union"[..], b"intersect", b"except"].iter().any(|operator| word.eq_ignore_ascii_case(operator)) {
            self.chain += 1;
        }
        self.has_marked_number |= is_marked_number(word);
        self.rest = after;
        self.pay(cost_of(word))?;
        self.count()
    }
}

/// How many bytes behind a closing quote its string goes on, with the quote that opens it again: none when it is doubled,
/// else white space with a new line in it, and comments that end with a line.
fn continuation(behind: &[u8]) -> Option<usize> {
    let (mut at, mut has_line) = (0, false);
    loop {
        match behind.get(at..)? {
            [b'\'', ..] if at == 0 || has_line => return Some(at + 1),
            [b'\n' | b'\r', ..] => has_line = true,
            [b' ' | b'\t' | 0x0b | 0x0c, ..] => {}
            [b'-', b'-', comment @ ..] => at += 1 + memchr::memchr2(b'\n', b'\r', comment).unwrap_or(comment.len()),
            _ => return None,
        }
        at += 1;
    }
}

/// What a word is taken to cost, in KiB.
fn cost_of(word: &[u8]) -> usize {
    let is = |keyword: &[u8]| word.eq_ignore_ascii_case(keyword);
    match word.first() {
        Some(first) if first.is_ascii_digit() => SMALL_KIB,
        _ if is(b"null") || is(b"true") || is(b"false") || is(b"default") => SMALL_KIB,
        _ if is(b"select") => QUERY_KIB,
        _ => TOKEN_KIB,
    }
}

/// Whether a word that begins with a digit is more than digits and an exponent.
fn is_marked_number(word: &[u8]) -> bool {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match word.get(digits..) {
        Some([] | [b'e' | b'E']) | None => false,
        Some([b'e' | b'E', exponent @ ..]) => digits > 0 && !exponent.iter().all(u8::is_ascii_digit),
        Some(_) => digits > 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
