//! How commands speak to people and machines.
//!
//! Never lets a terminal interpret what a requester wrote: every character that does not show, turns the direction of
//! text, or looks like another one is spelt out. Invariant: [`visible()`] lets no control character but line feed and tab through.

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::visible::{self, Piece};

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
    /// Not yet: the same will do once it is approved.
    Temporary = 75,
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
    let mut out = String::with_capacity(text.len());
    for (_, piece) in visible::pieces(text) {
        push_piece(&mut out, piece, colour);
    }
    out
}

/// As [`visible()`], on one line: line feeds and tabs are spelt out too.
#[must_use]
pub fn visible_line(text: &str, colour: Colour) -> String {
    let mut out = String::with_capacity(text.len());
    for (_, piece) in visible::pieces(text) {
        match piece {
            Piece::Plain(c @ ('\n' | '\t')) => push_piece(&mut out, Piece::Hidden(c), colour),
            Piece::Plain(_) | Piece::Hidden(_) | Piece::Disguised(_) => push_piece(&mut out, piece, colour),
        }
    }
    out
}

fn push_piece(out: &mut String, piece: Piece, colour: Colour) {
    match piece {
        Piece::Plain(c) => out.push(c),
        Piece::Hidden(c) => out.push_str(&colour.wrap("7", &visible::spelt(c))),
        Piece::Disguised(c) => {
            out.push(c);
            out.push_str(&colour.wrap("7", &visible::spelt(c)));
        }
    }
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
            proptest::prop_assert!(!shown.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || visible::is_hidden(c) && !" \n\t".contains(c)));
            proptest::prop_assert!(!visible_line(&text, Colour::Off).chars().any(char::is_control));
        }
    }
}
