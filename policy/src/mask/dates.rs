//! Dates and timestamps cut to the first of January of their year.
//!
//! Never shows month, day, time or zone. Invariant: a form that is not read completely yields `None`, and the cell
//! becomes NULL: other DateStyles than ISO, BC, infinity. Encodings: days or microseconds since 2000-01-01, PostgreSQL
//! manual, appendix B and `src/include/datatype/timestamp.h`.

use bytes::{BufMut, BytesMut};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Days from 0000-03-01 to 2000-01-01 in the proleptic Gregorian calendar.
const EPOCH_SHIFT: i64 = 730_425;

/// `2024-05-17` → `2024-01-01`.
pub(super) fn date_text(value: &[u8], out: &mut BytesMut) -> Option<()> {
    let (year, rest) = leading_date(value)?;
    if !rest.is_empty() {
        return None;
    }
    out.put_slice(year);
    out.put_slice(b"-01-01");
    Some(())
}

/// `2024-05-17 10:11:12.5` → `2024-01-01 00:00:00`.
pub(super) fn timestamp_text(value: &[u8], out: &mut BytesMut) -> Option<()> {
    let (year, rest) = leading_date(value)?;
    is_time(rest).then_some(())?;
    out.put_slice(year);
    out.put_slice(b"-01-01 00:00:00");
    Some(())
}

/// `2024-05-17 10:11:12.5+02` → `2024-01-01 00:00:00+00`.
pub(super) fn timestamptz_text(value: &[u8], out: &mut BytesMut) -> Option<()> {
    timestamp_text(value, out)?;
    out.put_slice(b"+00");
    Some(())
}

/// Days since 2000-01-01, four bytes.
pub(super) fn date_binary(value: &[u8], out: &mut BytesMut) -> Option<()> {
    let days = i32::from_be_bytes(value.try_into().ok()?);
    if days == i32::MAX || days == i32::MIN {
        return None;
    }
    out.put_i32(i32::try_from(january_first(i64::from(days))?).ok()?);
    Some(())
}

/// Microseconds since 2000-01-01, eight bytes.
pub(super) fn timestamp_binary(value: &[u8], out: &mut BytesMut) -> Option<()> {
    let micros = i64::from_be_bytes(value.try_into().ok()?);
    if micros == i64::MAX || micros == i64::MIN {
        return None;
    }
    out.put_i64(january_first(micros.div_euclid(MICROS_PER_DAY))?.checked_mul(MICROS_PER_DAY)?);
    Some(())
}

/// Splits `YYYY-MM-DD` off; the year has four to six digits.
fn leading_date(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (year, rest) = value.split_at_checked(digits)?;
    let (month_day, rest) = rest.split_at_checked(6)?;
    let [b'-', m1, m2, b'-', d1, d2] = month_day else { return None };
    ((4..=6).contains(&digits) && [m1, m2, d1, d2].into_iter().all(u8::is_ascii_digit)).then_some((year, rest))
}

/// Whether it is a time of day as ISO output writes it, with or without a zone.
fn is_time(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"T"));
    rest.is_some_and(|rest| {
        rest.first().is_some_and(u8::is_ascii_digit)
            && rest.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'+' | b'-'))
    })
}

/// The first of January of the year that holds the day; both count from 2000-01-01.
fn january_first(day: i64) -> Option<i64> {
    let shifted = day.checked_add(EPOCH_SHIFT)?;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years counted from March: January and February, from day 306 on, belong to the next calendar year.
    let year = era * 400 + year_of_era + i64::from(of_year >= 306);
    let march_based = year - 1;
    let era = march_based.div_euclid(400);
    let in_era = march_based.rem_euclid(400);
    let first_of_march = era * 146_097 + 365 * in_era + in_era / 4 - in_era / 100;
    Some(first_of_march + 306 - EPOCH_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Form = fn(&[u8], &mut BytesMut) -> Option<()>;

    #[track_caller]
    fn check(form: Form, value: &[u8], expected: Option<&[u8]>) {
        let mut out = BytesMut::new();
        let shown = form(value, &mut out).map(|()| out.to_vec());
        assert_eq!(shown.as_deref(), expected, "{}", String::from_utf8_lossy(value));
    }

    #[test]
    fn iso_text_keeps_the_year() {
        check(date_text, b"2024-05-17", Some(b"2024-01-01"));
        check(date_text, b"10024-05-17", Some(b"10024-01-01"));
        check(timestamp_text, b"2024-05-17 10:11:12.123", Some(b"2024-01-01 00:00:00"));
        check(timestamptz_text, b"2024-05-17 10:11:12-05:30", Some(b"2024-01-01 00:00:00+00"));
    }

    #[test]
    fn other_forms_are_not_read() {
        for other in
            [&b"05/17/2024"[..], b"17 May 2024", b"0044-03-15 BC", b"infinity", b"", b"2024-05-17x", b"24-05-17"]
        {
            check(date_text, other, None);
            check(timestamp_text, other, None);
        }
        check(timestamp_text, b"2024-05-17 secret", None);
        check(timestamp_text, b"0044-03-15 00:00:00 BC", None);
    }

    #[test]
    fn binary_days_keep_the_year() {
        for (day, expected) in [
            (0, 0),
            (365, 0),
            (366, 366),
            (-1, -365),
            (59, 0),
            (60, 0),
            (8_903, 8_766),     // 2024-05-17 → 2024-01-01
            (-10_957, -10_957), // 1970-01-01
            (-36_500, -36_524), // 1900-01-25 → 1900-01-01
        ] {
            check(date_binary, &i32::to_be_bytes(day), Some(&i32::to_be_bytes(expected)));
        }
        check(date_binary, &i32::to_be_bytes(i32::MAX), None);
        check(date_binary, &[0; 3], None);
        check(timestamp_binary, &i64::to_be_bytes(-1), Some(&i64::to_be_bytes(-365 * MICROS_PER_DAY)));
        check(timestamp_binary, &i64::to_be_bytes(i64::MIN), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(value in prop::collection::vec(any::<u8>(), 0..12)) {
            for form in [date_text, timestamp_text, timestamptz_text, date_binary, timestamp_binary] as [Form; 5] {
                form(&value, &mut BytesMut::new());
            }
        }

        #[test]
        fn the_first_of_january_is_at_most_a_year_earlier(day in -700_000..3_000_000_i64) {
            let first = january_first(day).unwrap();
            prop_assert!((0..=365).contains(&(day - first)));
            prop_assert_eq!(january_first(first), Some(first));
        }
    }
}
