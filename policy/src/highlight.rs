//! The words of a text as PostgreSQL's own scanner sees them, for people who read it.
//!
//! Never used to decide. Invariant: ranges are in order, do not overlap and end at character boundaries of the text.

use std::ops::Range;

use pg_query::protobuf::{KeywordKind, ScanToken, Token};

use crate::analysis::guard;

/// Longest text that is looked at, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// A keyword that cannot be a column's name unquoted.
    Keyword,
    /// A name, or a keyword that could be one.
    Name,
    /// A string or bit string.
    Text,
    /// A number.
    Number,
    /// `$1`.
    Parameter,
    /// A comment.
    Comment,
    /// An operator or punctuation.
    Sign,
}

/// The words of a text; none when it is long or cannot be scanned.
#[must_use]
pub fn words(text: &str) -> Vec<(Range<usize>, Word)> {
    if text.len() > TEXT_BYTES_MAX || guard::measure(text).is_err() {
        return Vec::new();
    }
    // Its faster sister `scan_tokens` makes a slice of a null pointer when there is no token.
    let Ok(scanned) = pg_query::scan(text) else { return Vec::new() };
    let mut end = 0;
    let mut words = Vec::with_capacity(scanned.tokens.len());
    for token in scanned.tokens {
        let (Ok(from), Ok(to)) = (usize::try_from(token.start), usize::try_from(token.end)) else { return Vec::new() };
        let fits = from >= end && to >= from && text.is_char_boundary(from) && text.is_char_boundary(to);
        if !fits {
            return Vec::new();
        }
        end = to;
        words.push((from..to, word(&token)));
    }
    words
}

fn word(token: &ScanToken) -> Word {
    match token.token() {
        Token::SqlComment | Token::CComment => Word::Comment,
        Token::Sconst | Token::Usconst | Token::Bconst | Token::Xconst => Word::Text,
        Token::Iconst | Token::Fconst => Word::Number,
        Token::Param => Word::Parameter,
        Token::Ident | Token::Uident => Word::Name,
        _ => match token.keyword_kind() {
            KeywordKind::NoKeyword => Word::Sign,
            KeywordKind::UnreservedKeyword | KeywordKind::ColNameKeyword => name_or_verb(token.token()),
            KeywordKind::TypeFuncNameKeyword | KeywordKind::ReservedKeyword => Word::Keyword,
        },
    }
}

/// Verbs and their company could be names in PostgreSQL, and yet nobody reads them so.
fn name_or_verb(token: Token) -> Word {
    match token {
        Token::Update
        | Token::DeleteP
        | Token::Insert
        | Token::Set
        | Token::Values
        | Token::By
        | Token::BeginP
        | Token::Commit
        | Token::Rollback
        | Token::Drop
        | Token::Alter
        | Token::Truncate
        | Token::Copy
        | Token::Merge
        | Token::Matched
        | Token::Execute
        | Token::Prepare
        | Token::Explain
        | Token::Cascade
        | Token::Restrict
        | Token::Call
        | Token::LockP
        | Token::Revoke
        | Token::Schema
        | Token::View
        | Token::Index
        | Token::Function
        | Token::Vacuum
        | Token::Over
        | Token::Partition
        | Token::Recursive
        | Token::Key
        | Token::AddP
        | Token::Declare
        | Token::Fetch
        | Token::Refresh
        | Token::Materialized
        | Token::Reset
        | Token::Show => Word::Keyword,
        _ => Word::Name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let shown = words(text).into_iter().map(|(range, word)| {
            let letter = match word {
                Word::Keyword => 'k',
                Word::Name => 'n',
                Word::Text => 't',
                Word::Number => '1',
                Word::Parameter => 'p',
                Word::Comment => 'c',
                Word::Sign => 's',
            };
            format!("{letter}:{}", &text[range])
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), want);
    }

    #[test]
    fn words_are_those_of_the_scanner() {
        check("UPDATE t SET v = 'ü' WHERE id = $1", "k:UPDATE n:t k:SET n:v s:= t:'ü' k:WHERE n:id s:= p:$1");
        check("SELECT 1.5 -- 'x'\n/* a /* b */ */", "k:SELECT 1:1.5 c:-- 'x' c:/* a /* b */ */");
        check("SELECT $$a -- b$$, \"select\"", "k:SELECT t:$$a -- b$$ s:, n:\"select\"");
        check("INSERT INTO käse VALUES (1)", "k:INSERT k:INTO n:käse k:VALUES s:( 1:1 s:)");
    }

    #[test]
    fn what_cannot_be_scanned_has_no_words() {
        for text in
            ["", " \n", "SELECT 'a", "/* a", "SELECT \0", &"/*".repeat(20), &format!("SELECT {}", "1 ".repeat(40_000))]
        {
            check(text, "");
        }
    }

    proptest::proptest! {
        #[test]
        fn ranges_are_in_order(text in "[ a-zü'\"$/*;()-]{0,60}") {
            let mut end = 0;
            for (range, _) in words(&text) {
                proptest::prop_assert!(range.start >= end && text.get(range.clone()).is_some());
                end = range.end;
            }
        }
    }
}
