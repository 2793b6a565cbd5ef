//! The words of PostgreSQL's grammar about a text that it rejects.
//!
//! Never used to decide. Invariant: the words quote nothing but the text itself, which its author may read.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_named_as_the_server_names_it() {
        assert_eq!(syntax_error("SELEC 1").as_deref(), Some("syntax error at or near \"SELEC\""));
        assert_eq!(syntax_error("SELECT 'a").as_deref(), Some("unterminated quoted string at or near \"'a\""));
        assert_eq!(syntax_error("SELECT 1"), None);
    }
}
