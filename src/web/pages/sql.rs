//! Statements as they are shown: highlighted, and with everything spelt out that could deceive.
//!
//! Never changes a text. Invariant: the spans of all lines, without what is spelt out, are the text.

use std::ops::Range;

use countersign_policy::highlight::{self, Word};

pub(super) use crate::visible::line;
use crate::visible::{self, Piece};

/// Characters alike, in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// Spans of one line.
pub(super) type Line = Vec<Span>;

/// The lines of a statement.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let text = text.trim_end_matches([' ', '\n', '\r', '\t']);
    let mut classes = Classes { words: highlight::words(text).into_iter(), now: None };
    let mut lines = vec![Line::new()];
    for (at, piece) in visible::pieces(text) {
        let class = classes.at(at);
        match piece {
            Piece::Plain('\n') => lines.push(Line::new()),
            Piece::Plain(c) => push(&mut lines, class, c),
            Piece::Hidden('\r') if text[at..].starts_with("\r\n") => {}
            Piece::Hidden(c) => mark(&mut lines, c),
            Piece::Disguised(c) => {
                push(&mut lines, class, c);
                mark(&mut lines, c);
            }
        }
    }
    lines
}

/// The first lines, for lists.
pub(super) fn first_lines(text: &str, count: usize) -> Vec<Line> {
    // Enough of the text to fill the lines, so that long ones cost no more than short ones.
    const BYTES_MAX: usize = 600;
    let head = visible::head(text, BYTES_MAX);
    let mut lines = lines(head.trim_start());
    let is_cut = lines.len() > count || head.len() < text.len();
    lines.truncate(count);
    if let (true, Some(last)) = (is_cut, lines.last_mut()) {
        last.push(Span { class: "c", text: " …".to_owned() });
    }
    lines
}

/// Whether anything in it is spelt out.
pub(super) fn is_deceptive(text: &str) -> bool {
    let deceives = |(at, piece)| match piece {
        Piece::Plain(_) => false,
        Piece::Hidden('\r') => !text[at..].starts_with("\r\n"),
        Piece::Hidden(_) | Piece::Disguised(_) => true,
    };
    visible::pieces(text).any(deceives)
}

fn push(lines: &mut [Line], class: &'static str, c: char) {
    let Some(line) = lines.last_mut() else { return };
    match line.last_mut() {
        Some(span) if span.class == class => span.text.push(c),
        Some(_) | None => line.push(Span { class, text: c.to_string() }),
    }
}

fn mark(lines: &mut [Line], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(Span { class: "mark", text: visible::spelt(c) });
    }
}

/// The class of each word, asked for in the order of the text.
struct Classes<I> {
    words: I,
    now: Option<(Range<usize>, Word)>,
}

impl<I: Iterator<Item = (Range<usize>, Word)>> Classes<I> {
    fn at(&mut self, offset: usize) -> &'static str {
        while self.now.as_ref().is_none_or(|(range, _)| range.end <= offset) {
            self.now = match self.words.next() {
                Some(word) => Some(word),
                None => return "",
            };
        }
        match &self.now {
            Some((range, word)) if range.contains(&offset) => class(*word),
            Some(_) | None => "",
        }
    }
}

fn class(word: Word) -> &'static str {
    match word {
        Word::Keyword => "k",
        Word::Text => "t",
        Word::Number => "n",
        Word::Parameter => "p",
        Word::Comment => "c",
        Word::Name | Word::Sign => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let shown: Vec<String> = lines(text)
            .iter()
            .map(|line| line.iter().map(|span| format!("{}[{}]", span.class, span.text)).collect())
            .collect();
        assert_eq!(shown.join("\n"), want);
    }

    #[test]
    fn words_have_classes_and_what_deceives_is_spelt_out() {
        check("SELECT 1 -- x\r\nFROM t\n", "k[SELECT][ ]n[1][ ]c[-- x]\nk[FROM][ t]");
        check("SET x = '<b>'", "k[SET][ x = ]t['<b>']");
        check("SELECT '\u{202e}a'", "k[SELECT][ ]t[']mark[<U+202E>]t[a']");
        check("a\rb", "[a]mark[\\r][b]");
        check("", "");
        check("SELECT 'unterminated", "[SELECT 'unterminated]");
        assert!(is_deceptive("a\u{a0}b") && !is_deceptive("a\r\n'ü'"));
    }

    #[test]
    fn lists_show_the_beginning() {
        let lines = first_lines("\n SELECT 1,\n2,\n3", 2);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].last().map(|span| span.text.as_str()), Some(" …"));
        assert!(first_lines(&"x".repeat(10_000), 2)[0][0].text.len() <= 600);
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost(text in "[ -~\n\u{202e}\u{430}ü]{0,80}") {
            let shown = lines(&text);
            let without = |span: &Span| if span.class == "mark" { String::new() } else { span.text.clone() };
            let joined: Vec<String> = shown.iter().map(|line| line.iter().map(without).collect()).collect();
            let wanted = text.trim_end_matches([' ', '\n', '\r', '\t']).replace('\u{202e}', "");
            proptest::prop_assert_eq!(joined.join("\n"), wanted);
        }
    }
}
