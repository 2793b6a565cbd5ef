//! Durations in the words people use.
//!
//! Never rounds: the unit is the largest that divides the duration.

use std::time::Duration;

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

    #[test]
    fn durations_read_as_people_say_them() {
        let said = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(said(1800), "30 minutes");
        assert_eq!(said(3600), "1 hour");
        assert_eq!(said(90), "90 seconds");
        assert_eq!(said(172_800), "2 days");
    }
}
