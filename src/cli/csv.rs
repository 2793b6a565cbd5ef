//! Tables for spreadsheets (RFC 4180).
//!
//! Never lets a spreadsheet compute what a requester wrote: a cell that would be a formula begins with an apostrophe.
//! Invariant: no cell holds a control character but line feed and tab.

/// One record with its line end.
pub(super) fn record(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
    format!("{}\r\n", cells.join(","))
}

/// A quoted cell (RFC 4180).
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    // What spreadsheets take for the beginning of a formula, also behind white space.
    let begins = |c: char| matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '|' | '%');
    if text.starts_with(['\t', '\r', '\n']) || text.trim_start().starts_with(begins) {
        out.push('\'');
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\"\""),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(cell(text), want);
    }

    #[test]
    fn no_cell_is_a_formula() {
        check("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\"");
        check("+1", "\"'+1\"");
        check("-- a comment\nDELETE", "\"'-- a comment\nDELETE\"");
        check("@SUM(A1)", "\"'@SUM(A1)\"");
        check("  =1", "\"'  =1\"");
        check("\u{a0}=1", "\"'\u{a0}=1\"");
        check("\t=1", "\"'\t=1\"");
        check("\n1", "\"'\n1\"");
        check("＝1", "\"'＝1\"");
        check("|calc", "\"'|calc\"");
    }

    #[test]
    fn other_cells_are_what_they_are() {
        check("", "\"\"");
        check("DELETE FROM t WHERE a = -1, b", "\"DELETE FROM t WHERE a = -1, b\"");
        check("it's \"quoted\"", "\"it's \"\"quoted\"\"\"");
        check("a\r\nb\u{1b}[2K", "\"a\u{fffd}\nb\u{fffd}[2K\"");
    }
}
