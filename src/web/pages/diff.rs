//! Two texts line by line: what stays, what goes, what comes.
//!
//! Never takes longer than texts of a few hundred lines need: longer ones are shown as replaced whole.

use super::sql;

/// Cells of the table that is worked out.
const CELLS_MAX: usize = 250_000;

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiffLine {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) text: String,
}

#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Gone,
    Come,
}

/// The lines of both texts in order.
pub(super) fn diff(before: &str, after: &str) -> Vec<DiffLine> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.trim_end().lines().collect(), after.trim_end().lines().collect());
    if old.len().saturating_mul(new.len()) > CELLS_MAX {
        let gone = old.iter().map(|line| shown(Fate::Gone, line));
        return gone.chain(new.iter().map(|line| shown(Fate::Come, line))).collect();
    }
    let common = common(&old, &new);
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(old.len() + new.len());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(shown(Fate::Kept, old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(shown(Fate::Gone, old[i]));
            i += 1;
        } else {
            lines.push(shown(Fate::Come, new[j]));
            j += 1;
        }
    }
    lines
}

/// How many lines the rests of both texts have in common, from each pair of lines on.
fn common(old: &[&str], new: &[&str]) -> Vec<Vec<u32>> {
    let mut table = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            table[i][j] = if old[i] == new[j] { table[i + 1][j + 1] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
        }
    }
    table
}

fn shown(fate: Fate, line: &str) -> DiffLine {
    let (class, sign) = match fate {
        Fate::Kept => ("", " "),
        Fate::Gone => ("gone", "−"),
        Fate::Come => ("come", "+"),
    };
    DiffLine { class, sign, text: sql::line(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str, want: &str) {
        let lines: Vec<_> = diff(before, after).into_iter().map(|line| format!("{}{}", line.sign, line.text)).collect();
        assert_eq!(lines.join("|"), want);
    }

    #[test]
    fn lines_stay_go_and_come() {
        check("a\nb\nc", "a\nx\nc", " a|−b|+x| c");
        check("a", "a\nb", " a|+b");
        check("a\nb", "b", "−a| b");
        check("", "a", "+a");
        check("a\u{202e}", "a", "−a<U+202E>|+a");
        let long = "x\n".repeat(1000);
        assert_eq!(diff(&long, &long).len(), 2000);
    }
}
