//! The scan of literals, against PostgreSQL's own scanner.

use pg_query::protobuf::Token;

use super::corpus::{self, Mutator};
use crate::analysis::shape::{self, BITS, FLOAT, HEX, INTEGER, SMALL, TEXT};

const LITERALS: &[Token] = &[Token::Sconst, Token::Iconst, Token::Fconst, Token::Bconst, Token::Xconst];
const COMMENTS: &[Token] = &[Token::SqlComment, Token::CComment];

/// The shape of a text with `§i` for an integer, and so on.
fn shape_of(text: &str) -> Option<String> {
    let mut shape = Vec::new();
    shape::scan(text, &mut shape)?;
    let visible = shape.iter().flat_map(|byte| match *byte {
        TEXT => b"<t>".to_vec(),
        SMALL | INTEGER => b"<i>".to_vec(),
        FLOAT => b"<f>".to_vec(),
        BITS => b"<b>".to_vec(),
        HEX => b"<x>".to_vec(),
        other => vec![other],
    });
    Some(String::from_utf8(visible.collect()).unwrap())
}

#[track_caller]
fn check(text: &str, expected: Option<&str>) {
    assert_eq!(shape_of(text).as_deref(), expected, "{text}");
    agrees(text);
}

/// The tokens that PostgreSQL's scanner sees; literals without their values.
fn tokens(text: &str) -> Vec<(i32, &str)> {
    let scanned = pg_query::scan(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let place = |offset: i32| usize::try_from(offset).unwrap();
    let tokens = scanned.tokens.iter().map(|token| {
        let literal = LITERALS.iter().any(|kind| *kind as i32 == token.token);
        (token.token, if literal { "" } else { &text[place(token.start)..place(token.end)] })
    });
    tokens.filter(|(kind, _)| !COMMENTS.iter().any(|comment| *comment as i32 == *kind)).collect()
}

/// A text has the tokens of its shape with any other literals in it. Yields whether it has a shape.
#[track_caller]
fn agrees(text: &str) -> bool {
    let mut shape = Vec::new();
    let Some(seen) = shape::scan(text, &mut shape) else { return false };
    assert_eq!(seen.literals, shape.iter().any(|byte| (TEXT..=SMALL).contains(byte)), "{text}");
    assert!(shape.len() <= text.len(), "{text}");
    let other = shape.iter().flat_map(|byte| match *byte {
        TEXT => b" 'it' ".to_vec(),
        SMALL => b" 7 ".to_vec(),
        INTEGER => b" 10000 ".to_vec(),
        FLOAT => b" 2.5 ".to_vec(),
        BITS => b" B'1' ".to_vec(),
        HEX => b" X'F' ".to_vec(),
        other => vec![other],
    });
    let other = String::from_utf8(other.collect()).unwrap();
    assert_eq!(tokens(text), tokens(&other), "{text}");
    true
}

#[test]
fn small_numbers_are_a_kind_of_their_own() {
    let kind = |number: &str| {
        let mut shape = Vec::new();
        shape::scan(number, &mut shape).and_then(|_| shape.last().copied())
    };
    let kinds = [
        (SMALL, ["0", "9999", "0009999", "00000000000007"]),
        (INTEGER, ["10000", "0010000", "2147483647", "00000000010000"]),
        (FLOAT, ["2147483648", "1.", "7e1", "99999999999999999999"]),
    ];
    for (expected, numbers) in kinds {
        numbers.iter().for_each(|number| assert_eq!(kind(number), Some(expected), "{number}"));
    }
}

#[test]
fn literals_are_taken_out() {
    check("SELECT abalance FROM accounts WHERE aid = 4711", Some("SELECT abalance FROM accounts WHERE aid = <i>"));
    check("SELECT 'it''s', '', $$x$$, $q$ $$ $q1$ $q$, E'\\\\ \\n'''", Some("SELECT <t>, <t>, <t>, <t>, <t>"));
    check("SELECT 0, 007, 2147483647, 0000000000001", Some("SELECT <i>, <i>, <i>, <i>"));
    check(
        "SELECT 2147483648, 1.5, .5, 1., 1e10, 1.e5, 1E-5, 99999999999999999999999",
        Some("SELECT <f>, <f>, <f>, <f>, <f>, <f>, <f>, <f>"),
    );
    check("SELECT b'01', X'ff', date'2020-01-01'", Some("SELECT <b>, <x>, date<t>"));
    check("SELECT -1, @-1, a-1, a=-1, x.5", Some("SELECT -<i>, @-<i>, a-<i>, a=-<i>, x<f>"));
    check("SELECT 'a'e'b'", Some("SELECT <t><t>"));
    check("SELECT 'a'b", Some("SELECT <t>b"));
}

#[test]
fn everything_else_stays() {
    for text in [
        "SELECT $1, a$b$, \"A\"\"b 'c' 1\", été, a1, t.c",
        "SELECT a ->> b, a <= b, a ? b, a::text, f(a => b), a[$1:$2]",
        "SELECT e, b, x, n, u & v; COMMIT",
        "SELECT x::float, float8(y)",
    ] {
        check(text, Some(text));
    }
}

#[test]
fn white_space_and_comments_are_one_space() {
    check("SELECT\t\r\n\x0c a\n", Some("SELECT a "));
    check("SELECT/* 'x' */a--1\r,b -- it's\n\n,c", Some("SELECT a ,b ,c"));
    check("a*/* $$ */*b", Some("a* *b"));
    check("a/***/b/*/ */c/**/", Some("a b c "));
    check("/* traceparent='00-1' */ SELECT 1 /* x */", Some(" SELECT <i> "));
    check("", Some(""));
}

#[test]
fn what_is_not_sure_has_no_shape() {
    for text in [
        "SELECT 'a\\b'",
        "SELECT 'a\\'",
        "SELECT '\\'' ; DELETE FROM t -- '",
        "SELECT E'\\x41'",
        "SELECT E'\\u0041'",
        "SELECT E'\\101'",
        "SELECT E'\\''",
        "SELECT E'\\",
        "SELECT U&'\\0041'",
        "SELECT u&\"\\0041\"",
        "SELECT N'a'",
        "SELECT 'a'\n'b'",
        "SELECT 'a' 'b'",
        "SELECT 'a' -- x\n 'b'",
        "SELECT E'a'\n'b'",
        "SELECT b'1''0'",
        "SELECT 1a",
        "SELECT 0x1F",
        "SELECT 0b1",
        "SELECT 1_000",
        "SELECT 1e",
        "SELECT 1e+",
        "SELECT 1..2",
        "SELECT a..b",
        "SELECT 1.a",
        "SELECT 1.5.6",
        "SELECT 1$1",
        "SELECT 1$$a$$",
        "SELECT $1a",
        "SELECT $1$2",
        "SELECT $",
        "SELECT $a",
        "SELECT $é$x$é$",
        "SELECT $$x",
        "SELECT $a$x$b$",
        "SELECT 'a",
        "SELECT \"a",
        "SELECT /* a",
        "SELECT /* /* */ */ 1",
        "SELECT \\d",
        "SELECT a\x0bb",
        "SELECT \x01",
        "SELECT '\x00'",
        "SELECT \"\x02\"",
        "SELECT {d}",
        "SELECT 1::float(24)",
        "SELECT 1::FLOAT /**/ (24)",
        "SELECT 1::float--\n(24)",
    ] {
        assert_eq!(shape_of(text), None, "{text}");
    }
    assert_eq!(shape_of(&format!("SELECT '{}'", "x".repeat(20_000))), None);
}

#[test]
fn shapes_are_what_postgresql_scans() {
    let mut with_shape = 0;
    for text in corpus::all() {
        let mut mutator = Mutator::new(text.len());
        for text in [mutator.mutant(&text), mutator.mutant(&text), text] {
            if pg_query::scan(&text).is_ok() {
                with_shape += usize::from(agrees(&text));
            }
        }
    }
    assert!(with_shape > 2_000, "{with_shape}");
}

#[test]
fn without_its_literals_a_text_tells_no_value() {
    let shown = |text: &str| crate::analysis::without_literals(text);
    for (text, expected) in [
        ("SELECT 1", "SELECT …"),
        (
            " UPDATE \"Tab\" SET v = 'sëcret', n = 12345.5 -- of 4711\n WHERE id = $1",
            "UPDATE \"Tab\" SET v = '…', n = … WHERE id = $1",
        ),
        ("ALTER ROLE x PASSWORD $q$sëcret$q$", "ALTER ROLE x PASSWORD '…'"),
        ("SELECT B'1010', X'ff', 99999", "SELECT '…', '…', …"),
        ("SELECT /* reason: 4711 */ v", "SELECT v"),
    ] {
        assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
    }
    for text in
        [r"SELECT 'a\' OR 1=1 --'", "SELECT 1a", "SELECT U&'\\0041'", "SELECT 'open", "SELECT 'a'\n'b'", "SELECT \u{1}"]
    {
        assert_eq!(shown(text), None, "{text}");
    }
}
