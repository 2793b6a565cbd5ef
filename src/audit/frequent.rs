//! The records that a busy proxy writes most of, put into bytes without an encoder in between.
//!
//! Never writes anything else than serde would: the tests compare both. Invariant: what stands between quotes has no quote, no
//! backslash and no control character but in an escape.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Record;
use crate::review::Parameter;

/// Bytes of a time up to its seconds: `2026-01-02T03:04:05`.
const SECONDS_LEN: usize = 19;

thread_local! {
    /// The second that was written last, and how.
    static SECOND: Cell<Option<(i64, [u8; SECONDS_LEN])>> = const { Cell::new(None) };
}

/// Appends the record, without the brace in front, if it is one of these; whether it is.
///
/// # Errors
/// When a value cannot be encoded.
pub(super) fn encode(at: Timestamp, record: &Record<'_>, out: &mut Vec<u8>) -> Result<bool, serde_json::Error> {
    match record {
        Record::Verdict { .. } => verdict(at, record, out)?,
        Record::Outcome { verdict: Some(_), output: None, .. } => outcome(at, record, out)?,
        _ => return Ok(false),
    }
    out.push(b'}');
    Ok(true)
}

fn verdict(at: Timestamp, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let Record::Verdict {
        session,
        number,
        user,
        database,
        statement,
        parameters,
        digest,
        effects,
        verdict,
        rules,
        observed,
        request,
        not_opened,
        grant,
        unmasked_by,
    } = record
    else {
        return Ok(());
    };
    begin(at, "verdict", out);
    text(r#","session":"#, session, out);
    count(r#","number":"#, *number, out);
    text(r#","user":"#, user, out);
    text(r#","database":"#, database, out);
    text(r#","statement":"#, statement, out);
    for (index, Parameter { type_name, value }) in parameters.iter().enumerate() {
        text(if index == 0 { r#","parameters":[{"type":"# } else { r#",{"type":"# }, type_name, out);
        match value {
            Some(value) => text(r#","value":"#, value, out),
            None => out.extend_from_slice(br#","value":null"#),
        }
        out.push(b'}');
    }
    if !parameters.is_empty() {
        out.push(b']');
    }
    if let Some(digest) = digest {
        text(r#","digest":"#, digest, out);
    }
    texts(r#","effects":"#, effects.iter().map(countersign_policy::Effect::as_str), out);
    text(r#","verdict":"#, verdict, out);
    texts(r#","rules":"#, rules.iter().map(String::as_str), out);
    texts(r#","observed":"#, observed.iter().map(String::as_str), out);
    match request {
        Some(request) => other(r#","request":"#, request, out)?,
        None => out.extend_from_slice(br#","request":null"#),
    }
    if let Some(not_opened) = not_opened {
        text(r#","not_opened":"#, not_opened, out);
    }
    if let Some(grant) = grant {
        text(r#","grant":"#, grant, out);
    }
    if !unmasked_by.is_empty() {
        texts(r#","unmasked_by":"#, unmasked_by.iter().map(String::as_str), out);
    }
    Ok(())
}

fn outcome(at: Timestamp, record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let Record::Outcome {
        request,
        verdict: Some(id),
        user,
        database,
        outcome,
        detail,
        rows,
        duration_ms,
        masked_columns,
        masked_cells,
        output: _none,
        told_at,
    } = record
    else {
        return Ok(());
    };
    begin(at, "outcome", out);
    match request {
        Some(request) => other(r#","request":"#, request, out)?,
        None => out.extend_from_slice(br#","request":null"#),
    }
    text(r#","session":"#, id.session, out);
    count(r#","number":"#, id.number, out);
    text(r#","user":"#, user, out);
    text(r#","database":"#, database, out);
    text(r#","outcome":"#, outcome, out);
    match detail {
        Some(detail) => text(r#","detail":"#, detail, out),
        None => out.extend_from_slice(br#","detail":null"#),
    }
    count(r#","rows":"#, *rows, out);
    count(r#","duration_ms":"#, *duration_ms, out);
    texts(r#","masked_columns":"#, masked_columns.iter().map(String::as_str), out);
    for (index, (name, cells)) in masked_cells.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#","masked_cells":{"# } else { b"," });
        string(name, out);
        count(":", *cells, out);
    }
    if !masked_cells.is_empty() {
        out.push(b'}');
    }
    if let Some(told_at) = told_at {
        out.extend_from_slice(br#","told_at":"#);
        time(*told_at, out);
    }
    Ok(())
}

fn begin(at: Timestamp, kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#""at":"#);
    time(at, out);
    text(r#","kind":"#, kind, out);
}

/// What is rare here may take longer.
fn other(key: &str, value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    out.extend_from_slice(key.as_bytes());
    serde_json::to_writer(out, value)
}

fn text(key: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    string(value, out);
}

fn texts<'a>(key: &str, values: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    let start = out.len();
    for value in values {
        out.push(if out.len() == start { b'[' } else { b',' });
        string(value, out);
    }
    if out.len() == start {
        out.push(b'[');
    }
    out.push(b']');
}

fn count(key: &str, value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A JSON string.
fn string(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = value.as_bytes();
    loop {
        let (plain, escaped) = rest.split_at(plain_len(rest).min(rest.len()));
        out.extend_from_slice(plain);
        let Some((byte, behind)) = escaped.split_first() else { break };
        escape(*byte, out);
        rest = behind;
    }
    out.push(b'"');
}

/// How many bytes pass before one that must be escaped: eight at a time, as long as none of them is.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES.wrapping_mul(limit.into())) & !word & HIGH;
    let is = |word: u64, byte: u8| below(word ^ ONES.wrapping_mul(byte.into()), 1);
    let (words, _) = bytes.as_chunks();
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        below(word, b' ') | is(word, b'"') | is(word, b'\\') == 0
    };
    let passed = words.iter().take_while(|word| is_plain(word)).count() * 8;
    let rest = bytes.get(passed..).unwrap_or_default();
    passed + rest.iter().position(|byte| is_escaped(*byte)).unwrap_or(rest.len())
}

fn is_escaped(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// A time in UTC, as [`Timestamp`] is displayed. The calendar is looked at once a second.
fn time(at: Timestamp, out: &mut Vec<u8>) {
    let (second, nanoseconds) = (at.as_second(), at.subsec_nanosecond());
    out.push(b'"');
    let known = SECOND.get().filter(|(known, _)| *known == second).map(|(_, text)| text);
    match (known, nanoseconds) {
        // Before 1970 a fraction counts down; there is none of these but in tests.
        (_, ..0) => out.extend_from_slice(at.to_string().as_bytes()),
        (known, nanoseconds) => {
            match known.or_else(|| remember(at, second)) {
                Some(text) => out.extend_from_slice(&text),
                None => return out.extend_from_slice(format!("{at}\"").as_bytes()),
            }
            fraction(nanoseconds.unsigned_abs(), out);
            out.push(b'Z');
        }
    }
    out.push(b'"');
}

/// How the second is written, unless its year has more than four digits.
fn remember(at: Timestamp, second: i64) -> Option<[u8; SECONDS_LEN]> {
    let whole = at.checked_sub(SignedDuration::from_nanos(at.subsec_nanosecond().into())).ok()?.to_string();
    let text = whole.strip_suffix('Z')?.as_bytes().try_into().ok()?;
    SECOND.set(Some((second, text)));
    Some(text)
}

/// Nine digits behind a point, without the zeros at the end.
fn fraction(nanoseconds: u32, out: &mut Vec<u8>) {
    if nanoseconds == 0 {
        return;
    }
    let mut digits = *b".000000000";
    let mut rest = nanoseconds;
    for digit in digits.iter_mut().skip(1).rev() {
        // One digit.
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.extend_from_slice(digits.get(..end).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_policy::{Effect, Effects};
    use proptest::prelude::*;

    use super::super::VerdictId;
    use super::super::record::encode_slowly;
    use super::*;
    use crate::review::RequestId;

    fn same(at: Timestamp, record: &Record<'_>) -> Result<(), TestCaseError> {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        prop_assert!(encode(at, record, &mut here).unwrap());
        encode_slowly(at, record, &mut there).unwrap();
        prop_assert_eq!(String::from_utf8(here).unwrap(), String::from_utf8(there).unwrap());
        Ok(())
    }

    fn strings() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(any::<String>(), 0..3)
    }

    proptest! {
        #[test]
        fn a_verdict_is_what_serde_makes_of_it(
            (second, nanosecond) in (-62_000_000_000_i64..253_000_000_000, -999_999_999_i32..1_000_000_000),
            words in prop::array::uniform5(any::<String>()),
            (rules, observed, unmasked_by) in (strings(), strings(), strings()),
            (digest, grant, number) in (any::<Option<String>>(), any::<Option<String>>(), any::<u64>()),
            values in prop::collection::vec(any::<Option<String>>(), 0..2),
            requested in any::<bool>(),
        ) {
            let at = Timestamp::from_second(second).unwrap() + SignedDuration::from_nanos(nanosecond.into());
            let [session, user, database, statement, verdict] = &words;
            let type_name = "text".to_owned();
            let parameters: Vec<_> =
                values.into_iter().map(|value| Parameter { type_name: type_name.clone(), value }).collect();
            same(at, &Record::Verdict {
                session,
                number,
                user,
                database,
                statement,
                parameters: &parameters,
                digest: digest.as_deref(),
                effects: if requested { [Effect::Delete, Effect::Select].into_iter().collect() } else { Effects::of(&[]) },
                verdict,
                rules: &rules,
                observed: &observed,
                request: requested.then(|| RequestId(ulid::Ulid::from_parts(1_767_323_045_120, 7))),
                not_opened: digest.as_deref(),
                grant: grant.as_deref(),
                unmasked_by: &unmasked_by,
            })?;
        }

        #[test]
        fn an_outcome_is_what_serde_makes_of_it(
            words in prop::array::uniform4(any::<String>()),
            (detail, masked_columns) in (any::<Option<String>>(), strings()),
            (number, rows, duration_ms) in any::<(u64, u64, u64)>(),
            cells in prop::collection::vec((any::<String>(), any::<u64>()), 0..3),
            told in any::<bool>(),
        ) {
            let at = Timestamp::from_microsecond(1_767_323_045_120_000).unwrap();
            let [session, user, database, outcome] = &words;
            let masked_cells: Vec<(Arc<str>, u64)> = cells.into_iter().map(|(name, cells)| (name.into(), cells)).collect();
            same(at, &Record::Outcome {
                request: told.then(|| RequestId(ulid::Ulid::from_parts(1_767_323_045_120, 7))),
                verdict: Some(VerdictId { session, number }),
                user,
                database,
                outcome,
                detail: detail.as_deref(),
                rows,
                duration_ms,
                masked_columns: &masked_columns,
                masked_cells: &masked_cells,
                output: None,
                told_at: told.then_some(at),
            })?;
        }
    }

    #[test]
    fn every_byte_that_must_be_is_escaped() {
        let text: String = (0..=0x80_u8).map(char::from).collect();
        let mut out = Vec::new();
        string(&text, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
    }
}
