//! Arrays: the text and the binary form, rebuilt element by element.
//!
//! Never copies what is not structure: every element goes through the change it is given. Invariant: dimensions, bounds
//! and NULL elements stay; what does not read as an array is not rebuilt at all.
//! Source: PostgreSQL manual, "Array Input and Output Syntax"; `array_out` and `array_send` of the server.

use bytes::{BufMut, BytesMut};

use super::Masked;
use crate::catalog::Oid;

/// Deepest nesting of braces (`MAXDIM`).
const DIMENSIONS_MAX: usize = 6;

/// Appends the masked form of one element.
pub(super) type Change<'a> = &'a mut dyn FnMut(&[u8], &mut BytesMut) -> Masked;

/// An array in text form; `None` when it is none. What was appended by then is of no use.
pub(super) fn text(array: &[u8], delimiter: u8, out: &mut BytesMut, change: Change<'_>) -> Option<()> {
    let mut rest = array;
    if rest.first() == Some(&b'[') {
        let bounds = rest.iter().position(|byte| *byte == b'=')?.checked_add(1)?;
        let (bounds, behind) = rest.split_at_checked(bounds)?;
        let is_bound = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'[' | b']' | b':' | b'-' | b'=');
        if !bounds.iter().all(is_bound) {
            return None;
        }
        out.put_slice(bounds);
        rest = behind;
    }
    let mut depth: usize = 0;
    let (mut element, mut masked) = (Vec::new(), BytesMut::new());
    while let Some((byte, behind)) = rest.split_first() {
        match *byte {
            b'{' => depth = depth.checked_add(1).filter(|depth| *depth <= DIMENSIONS_MAX)?,
            b'}' => depth = depth.checked_sub(1)?,
            other if other == delimiter && depth > 0 => {}
            _ => {
                if depth == 0 {
                    return None;
                }
                let is_quoted;
                (rest, is_quoted) = take_element(rest, delimiter, &mut element)?;
                if !is_quoted && element.eq_ignore_ascii_case(b"NULL") {
                    out.put_slice(b"NULL");
                    continue;
                }
                masked.clear();
                match change(&element, &mut masked) {
                    Masked::Value => put_element(&masked, delimiter, out),
                    Masked::Null => out.put_slice(b"NULL"),
                }
                continue;
            }
        }
        out.put_u8(*byte);
        rest = behind;
        if depth == 0 {
            break;
        }
    }
    (depth == 0 && rest.is_empty() && array.ends_with(b"}")).then_some(())
}

/// Reads one element, without its quotes and escapes; yields what is behind it, and whether it was quoted.
fn take_element<'a>(text: &'a [u8], delimiter: u8, element: &mut Vec<u8>) -> Option<(&'a [u8], bool)> {
    element.clear();
    let quoted = text.strip_prefix(b"\"");
    let mut rest = quoted.unwrap_or(text);
    loop {
        let (byte, behind) = rest.split_first()?;
        match *byte {
            b'\\' => {
                let (escaped, behind) = behind.split_first()?;
                element.push(*escaped);
                rest = behind;
                continue;
            }
            b'"' if quoted.is_some() => return Some((behind, true)),
            b'"' | b'{' if quoted.is_none() => return None,
            b'}' if quoted.is_none() => return Some((rest, false)),
            other if other == delimiter && quoted.is_none() => return Some((rest, false)),
            other => element.push(other),
        }
        rest = behind;
    }
}

/// Appends an element, quoted where `array_out` would quote it.
fn put_element(element: &[u8], delimiter: u8, out: &mut BytesMut) {
    let is_special =
        |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b' ' | b'\t'..=b'\r') || *byte == delimiter;
    if !element.is_empty() && !element.eq_ignore_ascii_case(b"NULL") && !element.iter().any(is_special) {
        out.put_slice(element);
        return;
    }
    out.put_u8(b'"');
    for byte in element {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// An array in binary form, of elements of that type; `None` when it is none.
pub(super) fn binary(array: &[u8], element_type: Oid, out: &mut BytesMut, change: Change<'_>) -> Option<()> {
    let (dimensions, rest) = read_i32(array)?;
    let (_has_null, rest) = read_i32(rest)?;
    let (own_type, rest) = read_i32(rest)?;
    let dimensions = usize::try_from(dimensions).ok().filter(|count| *count <= DIMENSIONS_MAX)?;
    if own_type.to_be_bytes() != element_type.to_be_bytes() {
        return None;
    }
    let (sizes, mut rest) = rest.split_at_checked(dimensions.checked_mul(8)?)?;
    let mut count: usize = usize::from(dimensions > 0);
    for size in sizes.chunks_exact(8) {
        count = count.checked_mul(usize::try_from(read_i32(size)?.0).ok()?)?;
    }
    out.put_slice(array.get(..4)?);
    // A masked element may become NULL: the flag only says that there may be some.
    let flag = out.len();
    out.put_i32(0);
    out.put_slice(&element_type.to_be_bytes());
    out.put_slice(sizes);
    let mut has_null = false;
    for _ in 0..count {
        let (length, behind) = read_i32(rest)?;
        rest = behind;
        if length == -1 {
            has_null = true;
            out.put_i32(-1);
            continue;
        }
        let element;
        (element, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        has_null |= put_value(out, |out| change(element, out))? == Masked::Null;
    }
    if has_null && let Some(last) = out.get_mut(flag..).and_then(|tail| tail.get_mut(3)) {
        *last = 1;
    }
    rest.is_empty().then_some(())
}

/// Appends an Int32 length and the value that `put` appends, or -1 for NULL.
pub(super) fn put_value(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut) -> Masked) -> Option<Masked> {
    let at = out.len();
    out.put_i32(-1);
    let start = out.len();
    let masked = put(out);
    match masked {
        Masked::Null => out.truncate(start),
        Masked::Value => {
            let length = i32::try_from(out.len().checked_sub(start)?).ok()?;
            *out.get_mut(at..)?.first_chunk_mut::<4>()? = length.to_be_bytes();
        }
    }
    Some(masked)
}

/// An Int32 and what is behind it.
pub(super) fn read_i32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (field, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*field), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Elements become `***`, those that begin with `n` NULL.
    fn stars(element: &[u8], out: &mut BytesMut) -> Masked {
        if element.starts_with(b"n") {
            return Masked::Null;
        }
        out.put_slice(b"***");
        Masked::Value
    }

    #[track_caller]
    fn check(array: &str, expected: Option<&str>) {
        let mut out = BytesMut::new();
        let done = text(array.as_bytes(), b',', &mut out, &mut stars);
        assert_eq!(done.map(|()| String::from_utf8(out.to_vec()).unwrap()).as_deref(), expected, "{array}");
    }

    #[test]
    fn elements_change_and_the_shape_stays() {
        check("{}", Some("{}"));
        check("{a,NULL,\"b \\\"c\\\" d\",\"\"}", Some("{***,NULL,***,***}"));
        check("{{a,b},{\"NULL\",n}}", Some("{{***,***},{***,NULL}}"));
        check("[3:4][-1:0]={{a,b},{c,d}}", Some("[3:4][-1:0]={{***,***},{***,***}}"));
        check("{null}", Some("{NULL}"));
    }

    #[test]
    fn what_is_no_array_is_not_rebuilt() {
        for other in
            ["", "a", "1 2 3", "{a", "{a}}", "{a}b", "[secret]={a}", "{\"a", "{a\"b}", "{{{{{{{a}}}}}}}", "=", "[="]
        {
            check(other, None);
        }
    }

    #[test]
    fn new_elements_are_quoted_as_the_server_would() {
        let mut out = BytesMut::new();
        let mut quote = |_: &[u8], out: &mut BytesMut| {
            out.put_slice(b"x, \"\\");
            Masked::Value
        };
        text(b"{a;b}", b';', &mut out, &mut quote).unwrap();
        assert_eq!(out, &b"{\"x, \\\"\\\\\";\"x, \\\"\\\\\"}"[..]);
    }

    fn spelled(elements: &[Option<String>]) -> String {
        let mut out = BytesMut::new();
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            match element {
                Some(element) => put_element(element.as_bytes(), b',', &mut out),
                None => out.put_slice(b"NULL"),
            }
        }
        format!("{{{}}}", std::str::from_utf8(&out).unwrap())
    }

    fn packed(elements: &[Option<String>]) -> Vec<u8> {
        let mut out = BytesMut::new();
        out.put_i32(1);
        out.put_i32(i32::from(elements.iter().any(Option::is_none)));
        out.put_u32(25);
        out.put_i32(i32::try_from(elements.len()).unwrap());
        out.put_i32(1);
        for element in elements {
            match element {
                Some(element) => {
                    out.put_i32(i32::try_from(element.len()).unwrap());
                    out.put_slice(element.as_bytes());
                }
                None => out.put_i32(-1),
            }
        }
        out.to_vec()
    }

    /// What the change leaves as it is comes out as it went in.
    fn same(element: &[u8], out: &mut BytesMut) -> Masked {
        out.put_slice(element);
        Masked::Value
    }

    proptest! {
        #[test]
        fn every_element_is_seen_once_and_put_back(
            elements in prop::collection::vec(prop::option::of("[a-zN\"\\\\{}, é]{0,6}|null"), 1..6),
        ) {
            let (mut seen, mut out) = (Vec::new(), BytesMut::new());
            let array = spelled(&elements);
            text(array.as_bytes(), b',', &mut out, &mut |element, out| {
                seen.push(String::from_utf8(element.to_vec()).unwrap());
                same(element, out)
            }).unwrap();
            prop_assert_eq!(&out[..], array.as_bytes());
            prop_assert_eq!(seen, elements.iter().flatten().cloned().collect::<Vec<_>>());
            let (array, mut out) = (packed(&elements), BytesMut::new());
            binary(&array, 25, &mut out, &mut same).unwrap();
            prop_assert_eq!(&out[..], &array[..]);
        }

        #[test]
        fn nothing_of_an_element_is_left(bytes in prop::collection::vec(any::<u8>(), 0..48), length in 0_usize..60) {
            let array = packed(&[Some("secret-1".to_owned()), None, Some("secret-2".to_owned())]);
            let cut = array.get(..length).unwrap_or(&array);
            for input in [bytes.as_slice(), cut] {
                let mut out = BytesMut::new();
                let _ = binary(input, 25, &mut out, &mut stars);
                let _ = text(input, b',', &mut out, &mut stars);
                prop_assert!(!String::from_utf8_lossy(&out).contains("secret"));
            }
            prop_assert!(binary(&array, 23, &mut BytesMut::new(), &mut stars).is_none());
        }
    }
}
