//! How commands speak to people and machines.
//!
//! Never lets a terminal interpret what a requester wrote: every character that does not show, turns the direction of
//! text, or looks like another one is spelt out. Invariant: [`visible`] lets no control character but line feed and tab through.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Format of a command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// How a command ended, as sysexits name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything went well.
    Ok = 0,
    /// The command line or what it asks for is wrong.
    Usage = 64,
    /// The data does not allow it: no such request, decided already, or the trail is not intact.
    Data = 65,
    /// The proxy cannot be reached or cannot answer.
    Unavailable = 69,
    /// Reading or writing failed.
    Io = 74,
    /// Not signed in, or not allowed.
    Permission = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI sequences.
    On,
    /// Plain.
    Off,
}

impl Colour {
    /// On when standard output is a terminal and `NO_COLOR` is not set.
    #[must_use]
    pub fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && std::io::stdout().is_terminal() { Self::On } else { Self::Off }
    }

    /// `text` in bold.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// `text` dimmed.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// `text` in the colour of things that wait.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// `text` in the colour of things that went well.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// `text` in the colour of things that were refused or failed.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// Characters of a line of the terminal that standard output is; `None` when it is none.
#[must_use]
pub fn width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Text of several lines with everything that could deceive spelt out as `<U+202E>`; line feeds and tabs stay.
#[must_use]
pub fn visible(text: &str, colour: Colour) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut start = 0;
    while start < chars.len() {
        let is_word = |c: &&char| c.is_alphanumeric() || **c == '_';
        let length = chars[start..].iter().take_while(is_word).count().max(1);
        let piece = &chars[start..start + length];
        let deceives = is_deceptive_word(piece);
        for &c in piece {
            push_visible(&mut out, c, deceives, colour);
        }
        start += length;
    }
    out
}

/// As [`visible`], on one line: line feeds and tabs are spelt out too.
#[must_use]
pub fn visible_line(text: &str, colour: Colour) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive(['\n', '\t']) {
        let (body, end) = match part.strip_suffix('\n') {
            Some(body) => (body, Some('\n')),
            None => part.strip_suffix('\t').map_or((part, None), |body| (body, Some('\t'))),
        };
        out.push_str(&visible(body, colour));
        if let Some(end) = end {
            out.push_str(&mark(end, colour));
        }
    }
    out
}

fn push_visible(out: &mut String, c: char, in_deceptive_word: bool, colour: Colour) {
    match c {
        '\n' | '\t' | ' '..='~' => out.push(c),
        _ if is_hidden(c) => out.push_str(&mark(c, colour)),
        _ if is_disguise(c) || (in_deceptive_word && is_look_alike(c)) => {
            out.push(c);
            out.push_str(&mark(c, colour));
        }
        _ => out.push(c),
    }
}

fn mark(c: char, colour: Colour) -> String {
    let text = match c {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        _ => format!("<U+{:04X}>", u32::from(c)),
    };
    colour.wrap("7", &text)
}

/// Shows nothing, moves or turns what is around it, or is a blank that PostgreSQL does not take for one.
fn is_hidden(c: char) -> bool {
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
fn is_deceptive_word(word: &[char]) -> bool {
    let mut letters = word.iter().filter(|c| c.is_alphabetic()).peekable();
    if letters.peek().is_none() || !word.iter().any(|c| is_look_alike(*c)) {
        return false;
    }
    word.iter().any(char::is_ascii_alphabetic) || letters.all(|c| is_look_alike(*c))
}

/// Rows under a heading, columns as wide as their content.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

/// One cell: what is measured and what is printed.
#[derive(Debug)]
pub struct Cell {
    width: usize,
    text: String,
}

impl Cell {
    /// A plain cell, cut to `width_max` characters; what a requester wrote is made visible.
    #[must_use]
    pub fn new(text: &str, width_max: usize) -> Self {
        let shown = visible_line(text, Colour::Off);
        let width = shown.chars().count();
        if width <= width_max {
            return Self { width, text: shown };
        }
        let cut: String = shown.chars().take(width_max.saturating_sub(1)).chain(['…']).collect();
        Self { width: width_max, text: cut }
    }

    /// The same cell, painted.
    #[must_use]
    pub fn painted(self, paint: impl FnOnce(&str) -> String) -> Self {
        Self { text: paint(&self.text), width: self.width }
    }
}

impl Table {
    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let last = index + 1 == row.len();
                let pad = if last { 0 } else { width - cell.width + 2 };
                write!(f, "{}{:pad$}", cell.text, "")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(visible(text, Colour::Off), want);
    }

    #[test]
    fn what_deceives_is_spelt_out() {
        check("DELETE\u{a0}FROM t", "DELETE<U+00A0>FROM t");
        check("SELECT 1 \u{202e}-- x\u{2066}", "SELECT 1 <U+202E>-- x<U+2066>");
        check("\x1b[2Kfine\r\x07\0", "<U+001B>[2Kfine\\r<U+0007><U+0000>");
        check("pr\u{200b}od", "pr<U+200B>od");
        check("us\u{0435}rs", "us\u{0435}<U+0435>rs");
        check("\u{0441}\u{043e}\u{0440}", "\u{0441}<U+0441>\u{043e}<U+043E>\u{0440}<U+0440>");
        check("’ OR 1=1", "’<U+2019> OR 1=1");
        check("ＤＲＯＰ", "Ｄ<U+FF24>Ｒ<U+FF32>Ｏ<U+FF2F>Ｐ<U+FF30>");
        check("e\u{301}", "e<U+0301>");
        check("a\u{e0041}", "a<U+E0041>");
    }

    #[test]
    fn ordinary_text_of_any_language_stays() {
        for text in ["SELECT 'Grüße', 'привет мир', 'Ελλάδα', '東京', '안녕'", "a\n\tb", "naïve café", "price € 5", "✓"]
        {
            check(text, text);
        }
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(visible_line("a\nb\tc", Colour::Off), "a\\nb\\tc");
        assert_eq!(visible_line("\u{1b}", Colour::On), "\u{1b}[7m<U+001B>\u{1b}[0m");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::default();
        table.push(vec![Cell::new("id", 9), Cell::new("user", 9)]);
        table.push(vec![Cell::new("a\nb", 9).painted(|text| Colour::On.red(text)), Cell::new("somebody else", 6)]);
        assert_eq!(table.to_string(), "id    user\n\u{1b}[31ma\\nb\u{1b}[0m  someb…\n");
    }

    proptest::proptest! {
        #[test]
        fn no_control_character_reaches_the_terminal(text in "\\PC*|[\\x00-\\x{3000}]*") {
            let shown = visible(&text, Colour::Off);
            proptest::prop_assert!(!shown.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || is_hidden(c) && !" \n\t".contains(c)));
            proptest::prop_assert!(!visible_line(&text, Colour::Off).chars().any(char::is_control));
        }
    }
}
