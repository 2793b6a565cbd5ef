//! What PostgreSQL's grammar says about a text as such: where a statement begins, and why it rejects one.
//!
//! Never used to decide. Invariant: the words quote nothing but the text itself, which its author may read.

use super::grammar;

/// Stack for the parser, in bytes: it recurses as deep as the text nests.
const STACK_LEN: usize = 64 << 20;

/// The primary message of the syntax error in this text (`syntax error at or near "SELEC"`); `None` when there is none.
///
/// Only for a text whose analysis is [`super::NotUnderstood::Syntax`]: such a text has passed the guards.
#[must_use]
pub fn syntax_error(text: &str) -> Option<String> {
    match stacker::grow(STACK_LEN, || pg_query::parse(text, 0)) {
        Err(pg_query::Error::Parse(message)) => Some(message),
        Ok(_) | Err(_) => None,
    }
}

/// The text up to its last statement, and that statement; `None` when there are not several.
///
/// Only for a text that has been analysed: such a text has passed the guards.
#[must_use]
pub fn split_last(text: &str) -> Option<(&str, &str)> {
    let tree = stacker::grow(STACK_LEN, || grammar::parse(text)).ok()?;
    text.split_at_checked(tree.last_begins_at()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_statement_is_split_off_behind_the_semicolon() {
        let check = |before, last| {
            assert_eq!(split_last(&format!("{before}{last}")), Some((before, last)));
        };
        check("BEGIN; DELETE FROM a;", "COMMIT");
        check("BEGIN;\n-- ä; b\nSELECT ';é', $$;$$ ;", "COMMIT; ");
        check("BEGIN; DELETE FROM a -- all\n;;\n", "COMMIT -- all;");
        check("SELECT 1;", "SELECT 2");
        for text in ["COMMIT", "; COMMIT;", "COMMIT;", "", "SELEC 1; COMMIT"] {
            assert_eq!(split_last(text), None, "{text}");
        }
    }

    #[test]
    fn the_token_is_named_as_the_server_names_it() {
        assert_eq!(syntax_error("SELEC 1").as_deref(), Some("syntax error at or near \"SELEC\""));
        assert_eq!(syntax_error("SELECT 'a").as_deref(), Some("unterminated quoted string at or near \"'a\""));
        assert_eq!(syntax_error("SELECT 1"), None);
    }
}
