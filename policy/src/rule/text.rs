//! The text a rule's `text` pattern reads: the statement with its comments removed.
//!
//! Never decides anything and never sends what it makes anywhere. Invariant: literals, quoted identifiers and
//! dollar-quoted bodies stay byte for byte; a comment becomes one space, as PostgreSQL reads it; a text that ends inside
//! a literal or comment is returned as it came. Lexical rules: PostgreSQL manual, section 4.1, with
//! `standard_conforming_strings = on`, which the proxy pins.

use std::borrow::Cow;
use std::ops::Range;

/// A request's text without comments, and where its statements are.
#[derive(Debug)]
pub(crate) struct PlainText<'a> {
    whole: Cow<'a, str>,
    pieces: Vec<Range<usize>>,
}

impl<'a> PlainText<'a> {
    /// Removes the comments of a text and cuts it at the semicolons outside parentheses.
    pub(crate) fn of(text: &'a str) -> Self {
        Scanner { text, at: 0, kept_to: 0, depth: 0, out: None, cuts: Vec::new() }
            .run()
            .unwrap_or_else(|| Self { whole: Cow::Borrowed(text), pieces: std::iter::once(0..text.len()).collect() })
    }

    /// The whole text, trimmed.
    pub(crate) fn whole(&self) -> &str {
        self.whole.trim()
    }

    /// The pieces between semicolons, trimmed. A statement is one piece or several (`BEGIN ATOMIC` bodies), never less:
    /// when there are as many pieces as statements, the pieces are the statements.
    pub(crate) fn pieces(&self) -> impl ExactSizeIterator<Item = &str> {
        self.pieces.iter().map(|range| self.whole.get(range.clone()).unwrap_or("").trim())
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Everything before is copied to `out`, when there is one.
    kept_to: usize,
    depth: u32,
    out: Option<String>,
    /// Offsets of top-level semicolons in what is kept.
    cuts: Vec<usize>,
}

impl<'a> Scanner<'a> {
    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// `None` when a literal or comment is not closed.
    fn run(mut self) -> Option<PlainText<'a>> {
        while let Some(byte) = self.byte(0) {
            match (byte, self.byte(1)) {
                (b'-', Some(b'-')) => self.drop_comment(Self::skip_line),
                (b'/', Some(b'*')) => self.drop_comment(Self::skip_block)?,
                (b'\'', _) => self.skip_quoted(b'\'')?,
                (b'"', _) => self.skip_quoted(b'"')?,
                (b'e' | b'E', Some(b'\'')) => self.skip_escape_string()?,
                (b'$', _) => self.skip_dollar_quoted()?,
                (b';', _) => self.cut(),
                (b'(', _) => self.parenthesis(true),
                (b')', _) => self.parenthesis(false),
                (other, _) if is_identifier_start(other) => self.skip_identifier(),
                _ => self.at += 1,
            }
        }
        Some(self.finish())
    }

    fn parenthesis(&mut self, opens: bool) {
        self.depth = if opens { self.depth.saturating_add(1) } else { self.depth.saturating_sub(1) };
        self.at += 1;
    }

    fn cut(&mut self) {
        if self.depth == 0 {
            let kept = self.out.as_ref().map_or(0, String::len) + (self.at - self.kept_to);
            self.cuts.push(kept);
        }
        self.at += 1;
    }

    /// Replaces what `skip` passes over by one space.
    fn drop_comment<R>(&mut self, skip: fn(&mut Self) -> R) -> R {
        let kept = self.text.get(self.kept_to..self.at).unwrap_or("");
        let out = self.out.get_or_insert_with(|| String::with_capacity(self.text.len()));
        out.push_str(kept);
        out.push(' ');
        let result = skip(self);
        self.kept_to = self.at;
        result
    }

    fn skip_line(&mut self) {
        while self.byte(0).is_some_and(|byte| byte != b'\n' && byte != b'\r') {
            self.at += 1;
        }
    }

    fn skip_block(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match (self.byte(0)?, self.byte(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A literal or identifier in which only the doubled quote is special.
    fn skip_quoted(&mut self, quote: u8) -> Option<()> {
        self.at += 1;
        loop {
            let byte = self.byte(0)?;
            self.at += 1;
            if byte == quote {
                if self.byte(0) != Some(quote) {
                    return Some(());
                }
                self.at += 1;
            }
        }
    }

    /// `E'…'`, and its continuations on later lines, in which the backslash is still special.
    fn skip_escape_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += 1;
            loop {
                match (self.byte(0)?, self.byte(1)) {
                    (b'\\', _) | (b'\'', Some(b'\'')) => self.at += 2,
                    (b'\'', _) => break,
                    _ => self.at += 1,
                }
            }
            self.at += 1;
            let end = self.at;
            if !self.continues() {
                self.at = end;
                return Some(());
            }
        }
    }

    /// Passes white space with a newline in it, and line comments, up to the quote that continues a literal.
    /// Those comments stay in the text: they are inside what PostgreSQL reads as one literal.
    fn continues(&mut self) -> bool {
        let mut newline = false;
        loop {
            match (self.byte(0), self.byte(1)) {
                (Some(b'\n' | b'\r'), _) => {
                    newline = true;
                    self.at += 1;
                }
                (Some(b' ' | b'\t' | 0x0b | 0x0c), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) => self.skip_line(),
                (Some(b'\''), _) => return newline,
                _ => return false,
            }
        }
    }

    /// `$tag$…$tag$`; a dollar sign that opens nothing is passed.
    fn skip_dollar_quoted(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let tag_end = rest.bytes().skip(1).position(|byte| !is_tag(byte)).map(|length| length + 1);
        let tag = tag_end.filter(|end| rest.as_bytes().get(*end) == Some(&b'$')).and_then(|end| rest.get(..=end));
        let Some(tag) = tag.filter(|tag| !tag.as_bytes().get(1).is_some_and(u8::is_ascii_digit)) else {
            self.at += 1;
            return Some(());
        };
        let body = rest.get(tag.len()..)?;
        let end = body.find(tag)?;
        self.at += tag.len() + end + tag.len();
        Some(())
    }

    fn skip_identifier(&mut self) {
        while self.byte(0).is_some_and(|byte| is_tag(byte) || byte == b'$') {
            self.at += 1;
        }
    }

    fn finish(mut self) -> PlainText<'a> {
        let rest = self.text.get(self.kept_to..).unwrap_or("");
        let whole = match self.out.take() {
            Some(mut out) => {
                out.push_str(rest);
                Cow::Owned(out)
            }
            None => Cow::Borrowed(self.text),
        };
        let mut pieces = Vec::with_capacity(self.cuts.len() + 1);
        let mut start = 0;
        for cut in self.cuts.drain(..).chain([whole.len()]) {
            if whole.get(start..cut).is_some_and(|piece| !piece.trim().is_empty()) {
                pieces.push(start..cut);
            }
            start = cut + 1;
        }
        PlainText { whole, pieces }
    }
}

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_tag(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(PlainText::of(text).whole(), expected);
    }

    #[track_caller]
    fn check_pieces(text: &str, expected: &[&str]) {
        assert_eq!(PlainText::of(text).pieces().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn comments_become_one_space() {
        check("select 1", "select 1");
        check("drop/**/table t", "drop table t");
        check("drop -- x\ntable t", "drop  \ntable t");
        check("/* a /* b */ c */ drop table t -- end", "drop table t");
        check("select 1 --x\rfrom t", "select 1  \rfrom t");
        check("select 1+/* x */2", "select 1+ 2");
        check("select 1 -- 'x", "select 1");
    }

    #[test]
    fn literals_are_kept() {
        for same in [
            "select '-- no' , '/* no */'",
            "select 'it''s -- no'",
            r"select 'a\' , 'b -- no'",
            r"select E'a\' -- no', 1",
            r"select e'\\' , 'x -- no'",
            "select E'a'\n'b\\' -- no'",
            "select \"a -- b\", \"c\"\" /* d\"",
            "select $$ -- no $$, $x$ /* $$ no */ $x$",
            "select U&'\\0061 -- no'",
        ] {
            check(same, same);
        }
    }

    #[test]
    fn what_only_looks_like_a_literal_hides_no_comment() {
        check("select a$x$ from t -- y $x$", "select a$x$ from t");
        check("select note'x' -- e'", "select note'x'");
        check("select $1 -- $1", "select $1");
        check(r"select 'a\' -- gone", r"select 'a\'");
        check("select e'a' 'b\\' -- gone", "select e'a' 'b\\'");
    }

    #[test]
    fn an_unterminated_text_stays_as_it_is() {
        for same in ["select 'a -- b", "select /* a /* b */", "select $x$ -- b", "select \"a -- b"] {
            check(same, same);
        }
    }

    #[test]
    fn statements_are_cut_at_semicolons() {
        check_pieces("select 1; drop table t;", &["select 1", "drop table t"]);
        check_pieces("select ';' ; -- ;\n ; select 2", &["select ';'", "select 2"]);
        check_pieces(
            "create rule r as on insert to t do also (select 1; select 2)",
            &["create rule r as on insert to t do also (select 1; select 2)"],
        );
        check_pieces("/* a */ select 1 /* ; */ ; /* b */", &["select 1"]);
        check_pieces("", &[]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"[-/*'"$;()eEx\\ \né]{0,40}"#) {
            let plain = PlainText::of(&text);
            prop_assert!(plain.whole().len() <= text.len() + 1);
            for piece in plain.pieces() {
                prop_assert!(plain.whole().contains(piece));
            }
        }

        #[test]
        fn a_comment_in_front_changes_nothing(text in "[a-z ';]{0,30}") {
            let commented = format!("/* x */{text}");
            prop_assert!(
                PlainText::of(&commented).whole() == PlainText::of(&text).whole()
                    || PlainText::of(&commented).whole() == commented.trim()
            );
        }
    }
}
