//! What a COPY sends, and how it writes it.

use super::fixture::analysis;
use crate::analysis::{CopyFormat, ForceQuote, Form};

#[track_caller]
fn check(text: &str, expected: Option<CopyFormat>) {
    assert_eq!(analysis(text).statements[0].copy, expected, "{text}");
}

fn text(delimiter: u8, null: &str, header: bool) -> Option<CopyFormat> {
    Some(CopyFormat::Text { delimiter, null: null.to_owned(), header })
}

#[test]
fn options_are_read_in_both_spellings() {
    check("COPY customers TO STDOUT", text(b'\t', "\\N", false));
    check("COPY customers TO STDOUT WITH DELIMITER '|' NULL 'x'", text(b'|', "x", false));
    check("COPY customers TO STDOUT (FORMAT text, HEADER on, ENCODING 'UTF-8')", text(b'\t', "\\N", true));
    check("COPY customers TO STDOUT (HEADER 0)", text(b'\t', "\\N", false));
    check("COPY BINARY customers TO STDOUT", Some(CopyFormat::Binary));
    check("COPY customers TO STDOUT (FORMAT binary)", Some(CopyFormat::Binary));
    let csv = |header, escape, force_quote| {
        let (delimiter, null, quote) = (b',', String::new(), b'"');
        Some(CopyFormat::Csv { delimiter, null, header, quote, escape, force_quote })
    };
    check("COPY customers TO STDOUT CSV HEADER", csv(true, b'"', ForceQuote::Columns(vec![])));
    check("COPY customers TO STDOUT CSV ESCAPE '\\' FORCE QUOTE *", csv(false, b'\\', ForceQuote::All));
    check(
        "COPY customers (id, email) TO STDOUT (FORMAT csv, FORCE_QUOTE (email))",
        csv(false, b'"', ForceQuote::Columns(vec![1])),
    );
}

#[test]
fn what_is_not_known_leaves_the_format_open() {
    for options in [
        "ENCODING 'LATIN1'",
        "FORMAT json",
        "FORMAT 'CSV'",
        "HEADER match",
        "DELIMITER 'ab'",
        "FORMAT csv, FORCE_QUOTE (none)",
        "anything 1",
    ] {
        check(&format!("COPY customers TO STDOUT ({options})"), None);
    }
    check("SELECT 1", None);
}

/// By output column, whether it is a stored column as it is.
#[track_caller]
fn forms(text: &str, expected: &[bool]) {
    let found = analysis(text);
    let plain = |form: &Option<Form>| matches!(form, Some(Form::Column(_)));
    assert_eq!(found.statements[0].forms.iter().map(plain).collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn columns_that_are_not_computed_are_told_from_others() {
    forms("COPY (SELECT id, c.email, upper(ssn), ssn::text FROM customers c) TO STDOUT", &[true, true, false, false]);
    forms("SELECT x.a, b FROM (SELECT id AS a, email AS b FROM customers) x", &[true, true]);
    forms("WITH x AS (SELECT email FROM customers) SELECT * FROM x", &[true]);
    forms("SELECT email FROM customers UNION ALL SELECT 'x'", &[false]);
    forms("SELECT (SELECT email FROM customers LIMIT 1)", &[false]);
    forms("SELECT email FROM customers a JOIN customers b USING (email)", &[false]);
    forms("UPDATE customers SET email = 'x' RETURNING email, ssn", &[false, true]);
    forms("SELECT v.e FROM (VALUES (1), (2)) AS v(e)", &[false]);
    forms("SELECT CASE WHEN true THEN email END FROM customers", &[false]);
}
