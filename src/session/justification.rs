//! The requester's reason for a statement: its leading comment, or what the session has set.
//!
//! Never asks whether a reason is a good one; people do. Invariant: what is returned is not empty, and bounded.

/// Longest reason that is kept, in characters.
const LEN_MAX: usize = 1_000;
/// What a comment begins with that is a reason.
const MARK: &str = "reason:";

/// The reason in the comments that a text begins with: `/* reason: … */` or `-- reason: …`.
pub(crate) fn in_comment(text: &str) -> Option<String> {
    let mut rest = text.trim_start();
    loop {
        let (comment, behind) = if let Some(line) = rest.strip_prefix("--") {
            line.split_once(['\n', '\r']).unwrap_or((line, ""))
        } else {
            block(rest)?
        };
        if let Some(reason) = marked(comment) {
            return Some(reason);
        }
        rest = behind.trim_start();
    }
}

/// The inside of the block comment that a text begins with, and what is behind it. Comments nest.
fn block(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("/*")?;
    let mut depth = 1_usize;
    let mut from = 0;
    loop {
        let at = from + inside.get(from..)?.find(['*', '/'])?;
        from = match inside.get(at..at + 2) {
            Some("/*") => {
                depth += 1;
                at + 2
            }
            Some("*/") => {
                depth -= 1;
                at + 2
            }
            Some(_) | None => at + 1,
        };
        if depth == 0 {
            return Some((inside.get(..from - 2)?, inside.get(from..)?));
        }
    }
}

fn marked(comment: &str) -> Option<String> {
    let comment = comment.trim();
    let mark = comment.get(..MARK.len())?;
    if mark.eq_ignore_ascii_case(MARK) { kept(comment.get(MARK.len()..)?) } else { None }
}

/// A reason as it is kept; `None` when there is nothing in it.
pub(crate) fn kept(reason: &str) -> Option<String> {
    let reason = reason.trim();
    (!reason.is_empty()).then(|| reason.chars().take(LEN_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(in_comment(text).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_leading_comment_is_read() {
        check("/* reason: ticket 17 */ DELETE FROM t", Some("ticket 17"));
        check("/*REASON:ticket 17*/DELETE FROM t", Some("ticket 17"));
        check("  -- Reason: ticket 17\n DELETE FROM t", Some("ticket 17"));
        check("/* app:shop */ /* reason: a /* b */ c */ DELETE FROM t", Some("a /* b */ c"));
        check("/* reason: é * / ** */ DELETE", Some("é * / **"));
        check("/* reason: first */ /* reason: second */ DELETE", Some("first"));
        check("-- reason: all there is", Some("all there is"));
    }

    #[test]
    fn other_comments_are_no_reason() {
        for text in [
            "DELETE FROM t /* reason: x */",
            "DELETE FROM t -- reason: x",
            "/* reason: */ DELETE FROM t",
            "/* no reason: x */ DELETE FROM t",
            "/* reason: x DELETE FROM t",
            "/* reaso */ DELETE",
            "/*/ reason: x */ DELETE",
            "/* é",
            "",
            "-",
            "/",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_reason_is_bounded() {
        let long = format!("/* reason: {} */ SELECT 1", "é".repeat(5_000));
        assert_eq!(in_comment(&long).map(|reason| reason.chars().count()), Some(LEN_MAX));
        assert_eq!(kept(" \n "), None);
    }
}
