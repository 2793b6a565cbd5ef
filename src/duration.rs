//! Durations in the words people use.
//!
//! Never rounds: the unit is the largest that divides the duration. Invariant: what is read is at least a second and at
//! most ten years.

use std::time::Duration;

use jiff::Timestamp;

const LONGEST: u64 = 3650 * 86_400;

/// Reads `90s`, `30m`, `1h`, `400d`.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=LONGEST).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// How people write a moment, for who gets it wrong.
pub const MOMENTS: &str = "2026-01-02T03:04:05Z, or like 2h for two hours ago";

/// Reads `2026-01-02T03:04:05Z`, or `2h`: so long before `now`.
#[must_use]
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    match parse(text) {
        Some(ago) => now.checked_sub(ago).ok(),
        None => text.parse().ok(),
    }
}

/// `30 minutes`, `1 hour`, `45 seconds`: the largest unit that divides the duration.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0 => (0, "second"),
        _ if seconds.is_multiple_of(86_400) => (seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3600) => (seconds / 3600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: Option<u64>) {
        assert_eq!(parse(text), seconds.map(Duration::from_secs), "{text}");
    }

    #[test]
    fn durations_have_one_number_and_one_unit() {
        check("90s", Some(90));
        check("30m", Some(1800));
        check("1h", Some(3600));
        check("400d", Some(34_560_000));
        for bad in ["", "m", "30", "1.5h", "-1m", "+1m", "1 h", "0s", "1w", "1h30m", "99999999999999999999d", "5é", "é"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let said = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(said(1800), "30 minutes");
        assert_eq!(said(3600), "1 hour");
        assert_eq!(said(90), "90 seconds");
        assert_eq!(said(172_800), "2 days");
    }
}
