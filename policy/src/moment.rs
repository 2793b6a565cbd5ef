//! When a statement is judged: its place in a transaction and the time of day, for rules that ask.
//!
//! Never reads a clock; the caller does. Invariant: what is not known fits a rule that restricts and no rule that allows.

use std::fmt;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The circumstances of one judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Whether a transaction block is open; `None` while that is not known.
    pub in_transaction: Option<bool>,
    /// Local time; `None` when nobody looked at the clock.
    pub local: Option<LocalTime>,
}

/// A weekday and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 is Monday, 6 is Sunday.
    pub weekday: u8,
    /// Minutes since midnight, below 1440.
    pub minute: u16,
}

/// A window of time that comes back every week: `Mon-Fri 09:00-17:30`, `Sat`, `22:00-06:00`.
///
/// A range of days may run over Sunday, one of times over midnight; such a window belongs to the day it begins on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: [bool; 7],
    from: u16,
    until: u16,
}

/// A text that names no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowError;

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not a window of time")
    }
}

impl std::error::Error for WindowError {}

impl Window {
    /// Reads days, times, or both with a blank between them.
    ///
    /// # Errors
    /// [`WindowError`] when it is none of these, or no time at all.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        let (days, times) = match text.trim().split_once(' ') {
            Some((days, times)) => (Some(days), Some(times.trim())),
            None if text.contains(':') => (None, Some(text.trim())),
            None => (Some(text.trim()), None),
        };
        let days = days.map_or(Ok([true; 7]), parse_days)?;
        let (from, until) = times.map_or(Ok((0, DAY)), parse_times)?;
        if from == until { Err(WindowError) } else { Ok(Self { days, from, until }) }
    }

    /// Whether the time is in it.
    #[must_use]
    pub fn contains(&self, time: LocalTime) -> bool {
        let on = |weekday: u8| self.days.get(usize::from(weekday)).copied().unwrap_or(false);
        let yesterday = time.weekday.checked_sub(1).unwrap_or(6);
        if self.from < self.until {
            return on(time.weekday) && (self.from..self.until).contains(&time.minute);
        }
        (on(time.weekday) && time.minute >= self.from) || (on(yesterday) && time.minute < self.until)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let names = DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|(name, _)| *name);
            write!(f, "{} ", names.collect::<Vec<_>>().join(","))?;
        }
        let time = |minute: u16| (minute / 60, minute % 60);
        let ((hour, minute), (until_hour, until_minute)) = (time(self.from), time(self.until));
        write!(f, "{hour:02}:{minute:02}-{until_hour:02}:{until_minute:02}")
    }
}

fn parse_days(text: &str) -> Result<[bool; 7], WindowError> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name)).ok_or(WindowError);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let mut days = [false; 7];
    for (at, slot) in days.iter_mut().enumerate() {
        *slot = if first <= last { (first..=last).contains(&at) } else { at >= first || at <= last };
    }
    Ok(days)
}

fn parse_times(text: &str) -> Result<(u16, u16), WindowError> {
    let (from, until) = text.split_once('-').ok_or(WindowError)?;
    Ok((parse_time(from)?, parse_time(until)?))
}

/// `09:30`; `24:00` is the end of the day.
fn parse_time(text: &str) -> Result<u16, WindowError> {
    let (hour, minute) = text.split_once(':').ok_or(WindowError)?;
    let number = |digits: &str| match digits.len() {
        2 if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u16>().map_err(|_| WindowError),
        _ => Err(WindowError),
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let total = hour.saturating_mul(60).saturating_add(minute);
    if minute < 60 && total <= DAY { Ok(total) } else { Err(WindowError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(window: &str, weekday: u8, time: &str, inside: bool) {
        let minute = parse_time(time).unwrap();
        let window = Window::parse(window).unwrap();
        assert_eq!(window.contains(LocalTime { weekday, minute }), inside, "{window:?} {weekday} {time}");
    }

    #[test]
    fn windows_are_read_as_people_write_them() {
        check("Mon-Fri 09:00-17:30", 0, "09:00", true);
        check("Mon-Fri 09:00-17:30", 4, "17:29", true);
        check("Mon-Fri 09:00-17:30", 4, "17:30", false);
        check("Mon-Fri 09:00-17:30", 5, "12:00", false);
        check("sat", 5, "00:00", true);
        check("Sat", 6, "00:00", false);
        check("Fri-Mon", 6, "12:00", true);
        check("Fri-Mon", 1, "12:00", false);
        check("00:00-24:00", 3, "23:59", true);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_begins_on() {
        check("22:00-06:00", 2, "23:00", true);
        check("22:00-06:00", 2, "05:59", true);
        check("22:00-06:00", 2, "06:00", false);
        check("Fri 22:00-06:00", 4, "23:00", true);
        check("Fri 22:00-06:00", 5, "05:00", true);
        check("Fri 22:00-06:00", 4, "05:00", false);
        check("Sun 22:00-06:00", 0, "05:00", true);
    }

    #[test]
    fn a_window_is_shown_day_by_day() {
        for (window, shown) in [
            ("Mon-Fri 09:00-17:30", "mon,tue,wed,thu,fri 09:00-17:30"),
            ("22:00-06:00", "22:00-06:00"),
            ("Sat", "sat 00:00-24:00"),
        ] {
            assert_eq!(Window::parse(window).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_window_is_an_error() {
        for text in ["", "Mo", "Mon-", "9:00-17:00", "09:00", "25:00-26:00", "09:60-10:00", "10:00-10:00", "Mon 9-17"] {
            assert_eq!(Window::parse(text), Err(WindowError), "{text}");
        }
    }
}
