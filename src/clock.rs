//! The time of day as rules see it, and waiting for a moment.
//!
//! Never reads the clock for a rule: an instant goes in. Invariant: the time zone is that of the machine the proxy runs on.

use std::time::Duration;

use countersign_policy::moment::{LocalTime, Moment};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Weekday and time of day.
#[must_use]
pub fn local_time(at: Timestamp) -> LocalTime {
    in_zone(at, TimeZone::system())
}

/// A moment outside of transactions.
#[must_use]
pub fn outside_of_transactions(at: Timestamp) -> Moment {
    Moment { in_transaction: Some(false), local: Some(local_time(at)) }
}

fn in_zone(at: Timestamp, zone: TimeZone) -> LocalTime {
    let local = at.to_zoned(zone);
    let unsigned = |number: i8| u16::try_from(number).unwrap_or(0);
    let weekday = u8::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0);
    LocalTime { weekday, minute: unsigned(local.hour()) * 60 + unsigned(local.minute()) }
}

/// Completes when that moment has come; never when nothing is due.
///
/// # Cancel safety
/// Cancel safe: nothing but time passes.
pub(crate) async fn reached(deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => {
            let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
            tokio::time::sleep(left).await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_the_local_one() {
        let at: Timestamp = "2026-01-04T23:30:00Z".parse().unwrap();
        assert_eq!(in_zone(at, TimeZone::UTC), LocalTime { weekday: 6, minute: 23 * 60 + 30 });
        let east = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(in_zone(at, east), LocalTime { weekday: 0, minute: 30 });
    }
}
