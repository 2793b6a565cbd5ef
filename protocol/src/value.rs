//! Parameter values in the form a person can read.
//!
//! Never used on the way of a value to the upstream: what is forwarded are the client's own bytes.
//! Invariant: a binary value without a decoder here is shown in hexadecimal, never guessed.
//! Source: the `…recv` functions of PostgreSQL's built-in types.

use std::fmt::Write as _;

/// A parameter value as text: the text format as it is, the binary format decoded by type.
#[must_use]
pub fn display(type_oid: u32, format: i16, value: &[u8]) -> String {
    if format == 0 {
        return match std::str::from_utf8(value) {
            Ok(text) => text.to_owned(),
            Err(_) => hexadecimal(value),
        };
    }
    binary(type_oid, value).unwrap_or_else(|| hexadecimal(value))
}

/// The name of a built-in type, for people; `None` for others.
#[must_use]
pub fn type_name(type_oid: u32) -> Option<&'static str> {
    Some(match type_oid {
        16 => "boolean",
        17 => "bytea",
        18 => "\"char\"",
        19 => "name",
        20 => "bigint",
        21 => "smallint",
        23 => "integer",
        25 => "text",
        26 => "oid",
        114 => "json",
        700 => "real",
        701 => "double precision",
        705 => "unknown",
        1042 => "character",
        1043 => "character varying",
        1082 => "date",
        1083 => "time",
        1114 => "timestamp",
        1184 => "timestamp with time zone",
        1700 => "numeric",
        2950 => "uuid",
        3802 => "jsonb",
        _ => return None,
    })
}

fn binary(type_oid: u32, value: &[u8]) -> Option<String> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    match type_oid {
        16 => match value {
            [0] => Some("false".to_owned()),
            [1] => Some("true".to_owned()),
            _ => None,
        },
        18 | 19 | 25 | 114 | 705 | 1042 | 1043 => text(value),
        20 => value.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
        21 => value.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
        23 => value.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
        26 => value.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).to_string()),
        700 => value.try_into().ok().map(|bytes| f32::from_be_bytes(bytes).to_string()),
        701 => value.try_into().ok().map(|bytes| f64::from_be_bytes(bytes).to_string()),
        1082 => value.try_into().ok().map(|bytes| date(i64::from(i32::from_be_bytes(bytes)))),
        1083 => value.try_into().ok().map(|bytes| time_of_day(i64::from_be_bytes(bytes))),
        1114 => timestamp(value, ""),
        1184 => timestamp(value, "+00"),
        1700 => numeric(value),
        2950 => uuid(value),
        3802 => value.split_first().filter(|(version, _)| **version == 1).and_then(|(_, json)| text(json)),
        _ => None,
    }
}

fn hexadecimal(value: &[u8]) -> String {
    let mut out = String::from("\\x");
    for byte in value {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn uuid(value: &[u8]) -> Option<String> {
    let bytes: [u8; 16] = value.try_into().ok()?;
    let mut out = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    Some(out)
}

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Microseconds since 2000-01-01, as `2000-01-01 00:00:00[.ffffff]` and the suffix.
fn timestamp(value: &[u8], suffix: &str) -> Option<String> {
    let microseconds = i64::from_be_bytes(value.try_into().ok()?);
    Some(match microseconds {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        _ => {
            let (days, rest) =
                (microseconds.div_euclid(MICROSECONDS_PER_DAY), microseconds.rem_euclid(MICROSECONDS_PER_DAY));
            format!("{} {}{suffix}", date(days), time_of_day(rest))
        }
    })
}

fn time_of_day(microseconds: i64) -> String {
    let (seconds, fraction) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    let (hours, minutes) = (seconds.div_euclid(3600), seconds.rem_euclid(3600).div_euclid(60));
    let mut out = format!("{hours:02}:{minutes:02}:{:02}", seconds.rem_euclid(60));
    if fraction != 0 {
        let _ = write!(out, ".{fraction:06}");
    }
    out
}

/// Days since 2000-01-01 as a date of the proleptic Gregorian calendar.
fn date(days: i64) -> String {
    match days {
        2_147_483_647 => return "infinity".to_owned(),
        -2_147_483_648 => return "-infinity".to_owned(),
        _ => {}
    }
    // Counted in eras of 400 years from 0000-03-01, so that the leap day is the last day of its year.
    let shifted = days.saturating_add(730_425);
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let leap_days = day_of_era.div_euclid(1460) - day_of_era.div_euclid(36_524) + day_of_era.div_euclid(146_096);
    let year_of_era = (day_of_era - leap_days).div_euclid(365);
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era.div_euclid(4) - year_of_era.div_euclid(100));
    let month_from_march = (5 * day_of_year + 2).div_euclid(153);
    let day = day_of_year - (153 * month_from_march + 2).div_euclid(5) + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era.saturating_mul(400).saturating_add(year_of_era).saturating_add(i64::from(month <= 2));
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1_i64.saturating_sub(year))
    }
}

/// `numeric_recv`: digit count, weight, sign, display scale, then digits of base 10,000.
fn numeric(value: &[u8]) -> Option<String> {
    let mut fields = value.chunks_exact(2).map(|pair| pair.try_into().map_or(0, u16::from_be_bytes));
    let (count, weight, sign, scale) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let digits: Vec<u16> = fields.collect();
    if digits.len() != usize::from(count) || digits.iter().any(|digit| *digit > 9999) || scale > 0x3fff {
        return None;
    }
    let weight = i32::from(i16::from_be_bytes(weight.to_be_bytes()));
    let mut out = match sign {
        0x0000 => String::new(),
        0x4000 => String::from("-"),
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let group = |position: i32| {
        let index = usize::try_from(weight.saturating_sub(position)).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let _ = write!(out, "{}", group(weight.max(0)));
    for position in (0..weight.max(0)).rev() {
        let _ = write!(out, "{:04}", group(position));
    }
    if scale > 0 {
        let mut fraction = String::new();
        let mut position = -1;
        while fraction.len() < usize::from(scale) {
            let _ = write!(fraction, "{:04}", group(position));
            position -= 1;
        }
        fraction.truncate(usize::from(scale));
        out.push('.');
        out.push_str(&fraction);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(type_oid: u32, value: &[u8], shown: &str) {
        assert_eq!(display(type_oid, 1, value), shown);
    }

    #[test]
    fn binary_values_read_as_postgresql_prints_them() {
        check(16, &[1], "true");
        check(23, &(-7_i32).to_be_bytes(), "-7");
        check(20, &i64::MAX.to_be_bytes(), "9223372036854775807");
        check(25, "päper".as_bytes(), "päper");
        check(1082, &0_i32.to_be_bytes(), "2000-01-01");
        check(1082, &(-1_i32).to_be_bytes(), "1999-12-31");
        check(1082, &8825_i32.to_be_bytes(), "2024-02-29");
        check(1082, &(-730_425_i32).to_be_bytes(), "0001-03-01 BC");
        check(1114, &86_401_500_000_i64.to_be_bytes(), "2000-01-02 00:00:01.500000");
        check(1184, &(-1_000_000_i64).to_be_bytes(), "1999-12-31 23:59:59+00");
        check(3802, b"\x01{\"a\":1}", "{\"a\":1}");
        check(2950, &[0xab; 16], "abababab-abab-abab-abab-abababababab");
        check(1700, &[0, 2, 0, 0, 0, 0, 0, 2, 0, 12, 0x0b, 0xb8], "12.30");
        check(1700, &[0, 1, 0, 1, 0x40, 0, 0, 0, 0, 5], "-50000");
        check(1700, &[0, 1, 0xff, 0xff, 0, 0, 0, 4, 0, 1], "0.0001");
        check(1700, &[0, 0, 0, 0, 0xC0, 0, 0, 0], "NaN");
    }

    #[test]
    fn what_has_no_decoder_is_shown_in_hexadecimal() {
        check(600, &[1, 2, 255], "\\x0102ff");
        check(23, &[1, 2], "\\x0102");
        check(25, &[0xff], "\\xff");
    }

    proptest! {
        #[test]
        fn no_value_panics(oid in 0_u32..4000, format in 0_i16..2, value in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = display(oid, format, &value);
        }

        #[test]
        fn no_timestamp_panics(value in any::<i64>(), days in any::<i32>()) {
            let _ = display(1114, 1, &value.to_be_bytes());
            let _ = display(1082, 1, &days.to_be_bytes());
        }
    }
}
