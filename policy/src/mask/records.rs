//! Composite values: the text and the binary form, rebuilt field by field.
//!
//! Never keeps a field that the change does not keep. Invariant: as many fields come out as went in; what does not read as
//! a composite value with the expected fields is not rebuilt at all.
//! Source: PostgreSQL manual, "Composite Type Input and Output Syntax"; `record_out` and `record_send` of the server.

use bytes::{BufMut, BytesMut};

use super::Masked;
use super::arrays::{put_value, read_i32};
use crate::catalog::Oid;

/// Appends the new value of the field with that index; `None` keeps the field as it is.
pub(super) type Change<'a> = &'a mut dyn FnMut(usize, &[u8], &mut BytesMut) -> Option<Masked>;

/// A composite value of so many fields in text form; `None` when it is none.
pub(super) fn text(record: &[u8], fields: usize, out: &mut BytesMut, change: Change<'_>) -> Option<()> {
    let mut rest = record.strip_prefix(b"(")?;
    out.put_u8(b'(');
    let (mut field, mut masked) = (Vec::new(), BytesMut::new());
    let mut index: usize = 0;
    loop {
        let is_null;
        (rest, is_null) = take_field(rest, &mut field)?;
        // The row of a table without columns is `()`.
        if index < fields && !is_null {
            masked.clear();
            match change(index, &field, &mut masked) {
                None => put_field(&field, out),
                Some(Masked::Value) => put_field(&masked, out),
                Some(Masked::Null) => {}
            }
        }
        let (byte, behind) = rest.split_first()?;
        out.put_u8(*byte);
        rest = behind;
        if *byte == b')' {
            let complete = index.checked_add(1) == Some(fields) || (fields == 0 && index == 0 && is_null);
            return (complete && rest.is_empty()).then_some(());
        }
        index = index.checked_add(1).filter(|index| *index < fields)?;
    }
}

/// Reads one field, without its quotes and escapes; yields what is behind it, and whether it is NULL.
fn take_field<'a>(text: &'a [u8], field: &mut Vec<u8>) -> Option<(&'a [u8], bool)> {
    field.clear();
    let mut in_quotes = false;
    let mut rest = text;
    loop {
        let (byte, behind) = rest.split_first()?;
        match *byte {
            b',' | b')' if !in_quotes => return Some((rest, rest.len() == text.len())),
            b'\\' => {
                let (escaped, behind) = behind.split_first()?;
                field.push(*escaped);
                rest = behind;
                continue;
            }
            b'"' if in_quotes && behind.first() == Some(&b'"') => {
                field.push(b'"');
                rest = behind.get(1..)?;
                continue;
            }
            b'"' => in_quotes = !in_quotes,
            other => field.push(other),
        }
        rest = behind;
    }
}

/// Appends a field, quoted where `record_out` would quote it.
fn put_field(field: &[u8], out: &mut BytesMut) {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',' | b' ' | b'\t'..=b'\r');
    if !field.is_empty() && !field.iter().any(is_special) {
        out.put_slice(field);
        return;
    }
    out.put_u8(b'"');
    for byte in field {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(*byte);
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// A composite value of fields of these types in binary form; `None` when it is none.
pub(super) fn binary(
    record: &[u8],
    types: impl ExactSizeIterator<Item = Oid>,
    out: &mut BytesMut,
    change: Change<'_>,
) -> Option<()> {
    let (count, mut rest) = read_i32(record)?;
    if usize::try_from(count).ok()? != types.len() {
        return None;
    }
    out.put_i32(count);
    for (index, expected) in types.enumerate() {
        let (own_type, behind) = read_i32(rest)?;
        let (length, behind) = read_i32(behind)?;
        if own_type.to_be_bytes() != expected.to_be_bytes() {
            return None;
        }
        out.put_i32(own_type);
        rest = behind;
        if length == -1 {
            out.put_i32(-1);
            continue;
        }
        let field;
        (field, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        put_value(out, |out| {
            change(index, field, out).unwrap_or_else(|| {
                out.put_slice(field);
                Masked::Value
            })
        })?;
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first field stays, the second becomes `*, *`, all others NULL.
    fn second(index: usize, _field: &[u8], out: &mut BytesMut) -> Option<Masked> {
        match index {
            0 => None,
            1 => {
                out.put_slice(b"*, *");
                Some(Masked::Value)
            }
            _ => Some(Masked::Null),
        }
    }

    #[track_caller]
    fn check(record: &str, fields: usize, expected: Option<&str>) {
        let mut out = BytesMut::new();
        let done = text(record.as_bytes(), fields, &mut out, &mut second);
        assert_eq!(done.map(|()| String::from_utf8(out.to_vec()).unwrap()).as_deref(), expected, "{record}");
    }

    #[test]
    fn fields_change_one_by_one() {
        check("(1,a,b)", 3, Some("(1,\"*, *\",)"));
        check("(\"x \"\"y\"\" \\\\\",,)", 3, Some("(\"x \"\"y\"\" \\\\\",,)"));
        check("(,\"\",\"()\")", 3, Some("(,\"*, *\",)"));
        check("()", 0, Some("()"));
        check("()", 1, Some("()"));
        check("(\"\")", 1, Some("(\"\")"));
    }

    #[test]
    fn what_is_no_such_record_is_not_rebuilt() {
        for (other, fields) in
            [("", 1), ("1", 1), ("(1", 1), ("(1)x", 1), ("(1,2)", 1), ("(1)", 2), ("(\"1)", 1), ("(1\\", 1), ("(x)", 0)]
        {
            check(other, fields, None);
        }
    }

    fn packed(fields: &[Option<String>]) -> Vec<u8> {
        let mut out = BytesMut::new();
        out.put_i32(i32::try_from(fields.len()).unwrap());
        for field in fields {
            out.put_u32(25);
            match field {
                Some(field) => {
                    out.put_i32(i32::try_from(field.len()).unwrap());
                    out.put_slice(field.as_bytes());
                }
                None => out.put_i32(-1),
            }
        }
        out.to_vec()
    }

    fn spelled(fields: &[Option<String>]) -> Vec<u8> {
        let mut out = BytesMut::from(&b"("[..]);
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            if let Some(field) = field {
                put_field(field.as_bytes(), &mut out);
            }
        }
        out.put_u8(b')');
        out.to_vec()
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back_byte_by_byte(
            fields in prop::collection::vec(prop::option::of("[a-z\"\\\\(), é]{0,6}"), 2..6),
        ) {
            let (record, mut out) = (spelled(&fields), BytesMut::new());
            text(&record, fields.len(), &mut out, &mut |_, _, _| None).unwrap();
            prop_assert_eq!(&out[..], &record[..]);
            let (record, mut out) = (packed(&fields), BytesMut::new());
            binary(&record, std::iter::repeat_n(25, fields.len()), &mut out, &mut |_, _, _| None).unwrap();
            prop_assert_eq!(&out[..], &record[..]);
        }

        #[test]
        fn nothing_of_a_changed_field_is_left(length in 0_usize..80, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let fields = [Some("id".to_owned()), Some("secret-1".to_owned()), Some("secret-2".to_owned())];
            for record in [packed(&fields), spelled(&fields), bytes] {
                let cut = record.get(..length).unwrap_or(&record);
                let mut out = BytesMut::new();
                let _ = text(cut, 3, &mut out, &mut second);
                let _ = binary(cut, std::iter::repeat_n(25, 3), &mut out, &mut second);
                prop_assert!(!String::from_utf8_lossy(&out).contains("secret"));
            }
        }
    }
}
